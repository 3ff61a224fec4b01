"""Stamps of what comes in: their range, time that is set back, clocks that are off."""

import os
import re
import signal
import socket
import time
from contextlib import ExitStack

import numpy as np
import pytest
from pyigtl import TransformMessage

from tests.dds_support import own_domain, peer, wait_until
from tests.session_support import record_of, run_small, small_ct, small_document

# isort: split

from fluoro.config import CarmConfig, DdsConfig, DdsPoses
from fluoro.geometry.carm import CarmPose
from fluoro.geometry.from_config import make_limits
from fluoro.interop.dds import qos
from fluoro.interop.dds.node import DdsNode
from fluoro.interop.dds.pose_messages import pose_message
from fluoro.interop.dds.ros_geometry import PoseStamped

pytestmark = pytest.mark.dds

ORIGIN = (0.0, 0.0, 0.0)
FRAMES = 12
REFUSED = {"header.stamp.sec", "header.stamp.nanosec"}
NANOSECONDS = r"nanosec must be below 1000000000, got (1000000000|4294967295)"
"""Either is sent first; one line is logged for each reason and second."""


def document(folder, **pose_source):
    source = {"kind": "dds", "watchdog_ms": 60_000, **pose_source}
    dds = {"domain": own_domain(), "frames": {"protocol": "ros2"}, "bag": True}
    found = small_document(small_ct(folder), folder, pose_source=source, dds=dds)
    found["run"]["frames"] = FRAMES
    return found


@pytest.mark.parametrize("kind", ["pose", "joints"])
def test_stamps_out_of_range_are_refused_by_field_and_the_run_goes_on(tmp_path, caplog, kind):
    message = {"pose": "pose_stamped", "joints": "joint_state"}[kind]
    with peer("extremes", kind):
        outcome = run_small(document(tmp_path, message=message))
    assert (outcome.summary["frames"], outcome.summary["completed"]) == (FRAMES, True)
    dropped = outcome.summary["dropped"]
    assert all(dropped[f"poses refused: {field}"] > 0 for field in REFUSED)
    assert re.search(NANOSECONDS, caplog.text)
    assert "header.stamp.sec must be 0 to 2147483647, got -" in caplog.text


def test_times_on_clock_out_of_range_are_refused_by_field_and_the_run_goes_on(tmp_path, caplog):
    settings = document(tmp_path, trigger="clock")
    settings["dds"]["clock"] = "ros"
    settings["run"] |= {"frames": None, "fps": 40}

    def each(frames):
        return frames >= FRAMES and bool(re.search(NANOSECONDS, caplog.text))

    with peer("extremes", "clock"), peer("poses", "3"):
        outcome = run_small(settings, each)
    assert outcome.summary["frames"] >= FRAMES
    assert outcome.summary["dropped"]["clock refused: clock.nanosec"] > 0
    assert re.search(NANOSECONDS, caplog.text)


def transform(timestamp):
    return bytes(
        TransformMessage(np.eye(4), timestamp=timestamp, device_name="CarmToPatient").pack()
    )


def test_transform_of_2106_is_refused_and_the_run_goes_on(tmp_path, caplog):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings = document(tmp_path)
    settings["pose_source"] = {"kind": "igtl", "watchdog_ms": 60_000}
    settings["igtl"] = {"enabled": True, "port": port}
    clients = []

    def each(_frames):
        if not clients:
            clients.append(socket.create_connection(("127.0.0.1", port)))
            clients[0].sendall(transform(2**32 - 1))
        for tick in range(4):
            clients[0].sendall(transform(time.time() + tick * 1e-3))

    with ExitStack() as stack:
        outcome = run_small(settings, each)
        stack.enter_context(clients[0])
    assert (outcome.summary["frames"], outcome.summary["completed"]) == (FRAMES, True)
    assert outcome.summary["dropped"]["poses refused: timestamp"] == 1
    assert "timestamp must be below 2147483648 s, got 4294967295 s" in caplog.text


HANG_S = 80
"""A run that has not ended by then hangs."""


def interrupt_after(seconds):
    """What a reporter calls: it interrupts a run that does not end by itself."""
    end_s = [time.monotonic() + seconds]

    def each(_frames):
        if time.monotonic() > end_s[0]:
            end_s[0] = np.inf
            os.kill(os.getpid(), signal.SIGINT)

    return each


YEAR_2038 = f"{2**31 - 1}.0"


@pytest.mark.parametrize(
    "stamps",
    [["100", "101", "50"], ["100", "101", YEAR_2038, "102"], ["0.5", "5000", "1"]],
    ids=["restart", "one stamp of 2038", "jump and return"],
)
def test_lockstep_begins_again_when_the_publishers_time_is_set_back(tmp_path, stamps):
    settings = document(tmp_path, trigger="lockstep", watchdog_ms=300)
    with peer("stamps", "pose", "0.05", *stamps):
        outcome = run_small(settings, interrupt_after(HANG_S))
    assert (outcome.summary["frames"], outcome.summary["completed"]) == (FRAMES, True)
    assert outcome.summary["dropped"]["poses refused: old stamp"] > 0


@pytest.fixture
def node():
    node = DdsNode(DdsConfig(domain=own_domain()))
    yield node
    node.close()


@pytest.mark.parametrize("trigger", ["lockstep", "pose", "clock"])
def test_after_the_watchdog_time_the_next_pose_of_the_same_publisher_leads(node, trigger):
    """Its stamp is older and it jumps; before the watchdog's time it is refused for that."""
    from fluoro.interop.dds.dds_pose_feed import (
        DdsPoseFeed,  # here: earlier revisions have it elsewhere
    )

    config = DdsPoses(kind="dds", trigger=trigger, watchdog_ms=200)
    feed = DdsPoseFeed(node, config, ORIGIN, make_limits(CarmConfig()))
    writer = node.writer("rt/carm/pose", PoseStamped, qos.reliable())
    wait_until(lambda: writer.readers() == 1)
    writer.write(pose_message(CarmPose(), ORIGIN, 10**12))
    wait_until(lambda: feed.latest() is not None)
    writer.write(pose_message(CarmPose(lao_deg=80.0), ORIGIN, 10**9))
    wait_until(lambda: feed.counts().get("refused: old stamp") == 1)
    wait_until(feed.silent)
    writer.write(pose_message(CarmPose(lao_deg=80.0), ORIGIN, 10**9 + 1))
    wait_until(lambda: feed.latest().pose.lao_deg == pytest.approx(80.0))
    assert feed.at(10**9 + 1).pose.lao_deg == pytest.approx(80.0)  # not one of the time before
    assert feed.at(10**12).pose.lao_deg == pytest.approx(80.0)


@pytest.mark.parametrize("offset_s", [-0.6, 0.6])
def test_sender_whose_clock_is_off_is_named_once_and_in_the_diagnostics(tmp_path, caplog, offset_s):
    settings = document(tmp_path)
    settings["run"]["frames"] = None
    said = "the clock of the sender of rt/carm/pose is off: its stamps are "
    ended, give_up = [], interrupt_after(HANG_S)

    def each(frames):
        give_up(frames)
        if said in caplog.text and not ended:
            ended.append(time.monotonic() + 1.5)
        if ended and time.monotonic() > ended[0]:
            ended[0] = np.inf
            os.kill(os.getpid(), signal.SIGINT)

    with peer("status") as status, peer("poses", "7", str(offset_s)):
        run_small(settings, each)
        assert caplog.text.count(said) == 1
        lines = []
        while not any("the sender's clock is off" in line for line in lines):
            lines.append(status.stdout.readline())
    assert ("before" if offset_s < 0 else "after") in caplog.text.split(said)[1].splitlines()[0]
    assert record_of(tmp_path / "run")["frames"] > 0


def test_clock_that_is_right_and_simulated_time_are_not_reported(tmp_path, caplog):
    settings = document(tmp_path, trigger="clock")
    settings["run"] |= {"frames": 40, "fps": 25}
    with peer("poses", "7"):
        run_small(settings)
    simulated = tmp_path / "simulated"
    simulated.mkdir()
    settings = document(simulated, trigger="clock")
    settings["run"] |= {"frames": 40, "fps": 25}
    settings["dds"]["clock"] = "ros"
    with peer("clock", "1700000000"):
        run_small(settings)
    assert "clock of the sender" not in caplog.text

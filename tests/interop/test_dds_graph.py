"""The whole graph with DDS: lockstep, watchdog, what is in the record."""

import os
import signal
import threading
import time
from contextlib import ExitStack

import numpy as np
import pytest
from rosbags.highlevel import AnyReader

from tests.dds_support import own_domain, peer, robot, wait_until
from tests.session_support import (
    images_of,
    record_of,
    run_small,
    small_ct,
    small_document,
)

# isort: split

from fluoro.config import Config, DdsConfig
from fluoro.console.controls import LiveControls
from fluoro.errors import DeviceError, InputError
from fluoro.geometry.carm import CarmPose
from fluoro.interop.bag.mcap_bag import read_poses
from fluoro.interop.dds import qos
from fluoro.interop.dds.node import DdsNode
from fluoro.interop.dds.remote_controls import RelayedControls, RemoteControls, control_sender
from fluoro.interop.dds.ros_diagnostic import KeyValue

pytestmark = pytest.mark.dds

POSES = 6


def document(folder, **pose_source):
    source = {"kind": "dds", "watchdog_ms": 60_000, **pose_source}
    dds = {"domain": own_domain(), "frames": {"protocol": "ros2"}}
    found = small_document(small_ct(folder), folder, pose_source=source, dds=dds)
    found["run"]["frames"] = POSES
    return found


@pytest.fixture
def sender():
    """A process that sends the pose LAO 7 a hundred times a second."""
    with peer("poses", "7") as process:
        threading.Thread(target=process.stdout.read, daemon=True).start()
        yield process


def test_lockstep_makes_one_frame_for_each_pose_and_the_same_images_each_time(tmp_path):
    """The second time the robot speaks of its joints instead of its pose."""
    kinds = {"pose_stamped": ("/carm/pose", []), "joint_state": ("/carm/joints", ["--joints"])}
    images, seen = [], []
    for message, (topic, options) in kinds.items():
        folder = tmp_path / message
        folder.mkdir()
        settings = document(folder, trigger="lockstep", message=message, topic=topic)
        config = Config.model_validate(settings)
        with robot(config, "--lockstep", POSES, "--rate", "3", *options) as process:
            outcome = run_small(settings)
            told, _ = process.communicate(timeout=60)
        assert f"{POSES} poses, {POSES} frames" in told
        seen.append(told)
        assert outcome.summary["dropped"]["dds"] == 0
        images.append(images_of(outcome.folder))
        assert [frame["number"] for frame in record_of(outcome.folder)["per_frame"]] == [*range(6)]
    assert seen[0] == seen[1]
    np.testing.assert_array_equal(*images)
    assert len(np.unique(images[0].reshape(POSES, -1), axis=0)) == POSES


def test_frames_show_the_newest_pose_and_the_record_has_its_stamps(tmp_path, sender):
    outcome = run_small(document(tmp_path))
    frames = record_of(outcome.folder)["per_frame"]
    assert {round(frame["pose"]["lao_deg"], 6) for frame in frames} == {7}
    assert list(frames[0]["stamps_ns"])[:3] == ["received", "pose", "render_start"]
    assert outcome.summary["completed"]


def test_clock_holds_the_newest_pose_between_messages(tmp_path, sender):
    outcome = run_small(document(tmp_path, trigger="clock", interpolation_delay_ms=30.0))
    assert outcome.summary["frames"] == POSES


def test_frames_of_the_clock_are_stamped_and_interpolated_in_simulated_time(tmp_path):
    """Poses turn by 0.1 degree a millisecond of that time; each frame shows the one of 1 ms ago."""
    settings = document(tmp_path, trigger="clock", interpolation_delay_ms=1.0)
    settings["run"] |= {"frames": 12, "fps": 20}
    settings["dds"] |= {"clock": "ros", "bag": True}
    with peer("clock", "5000"):
        outcome = run_small(settings)
    _, poses = read_poses(outcome.folder / "bag", "/fluoro/carm_pose", (0.0, 0.0, 0.0))
    with AnyReader([outcome.folder / "bag"]) as reader:
        topics = [c for c in reader.connections if c.topic == "/fluoro/carm_pose"]
        stamps = [
            reader.deserialize(data, connection.msgtype).header.stamp
            for connection, _, data in reader.messages(topics)
        ]
    assert all(5000 <= stamp.sec < 5010 for stamp in stamps)
    times_s = [stamp.sec + 1e-9 * stamp.nanosec for stamp in stamps]
    assert 0 < times_s[-1] - times_s[0] < 0.5  # not the machine's time, in which it took 0.6 s
    shown = {round(pose.lao_deg, 6): time_s for time_s, pose in zip(times_s, poses, strict=True)}
    angles = np.array(sorted(shown))
    moving = angles[1:] - angles[:-1] > 0.02  # the first frames may wait for the first pose
    rate = np.diff([shown[angle] for angle in angles])[moving] / np.diff(angles)[moving]
    np.testing.assert_allclose(np.median(rate), 0.01, rtol=0.3)


def test_silence_ends_the_run_where_that_is_wanted(tmp_path, sender):
    settings = document(tmp_path, on_silence="stop", watchdog_ms=300)
    settings["run"]["frames"] = None

    def each(frames):
        if frames >= 3:
            sender.kill()

    with pytest.raises(DeviceError, match=r"no pose on rt/carm/pose for 300 ms \(watchdog_ms\)"):
        run_small(settings, each)
    assert "on_silence is stop" in record_of(tmp_path / "run")["stopped_by"]


@pytest.mark.parametrize("on_silence", ["hold", "blank"])
def test_silence_is_reported_and_the_stream_goes_on_when_poses_are_back(
    tmp_path, sender, caplog, on_silence
):
    settings = document(tmp_path, on_silence=on_silence, watchdog_ms=300)
    settings["run"]["frames"] = None
    stages, back_at = [], []

    def each(frames):
        if frames >= 3 and not stages:
            stages.append("frozen")
            sender.send_signal(signal.SIGSTOP)
        elif stages == ["frozen"] and f"(watchdog_ms): {on_silence}" in caplog.text:
            stages.append("back")
            back_at.append(frames)
            sender.send_signal(signal.SIGCONT)
        return back_at and frames > back_at[0] + 10

    outcome = run_small(settings, each)
    assert stages == ["frozen", "back"]
    assert "poses are back" in caplog.text
    assert outcome.summary["frames"] > back_at[0] + 10


def test_lockstep_without_frames_out_is_refused(tmp_path):
    settings = document(tmp_path, trigger="lockstep")
    del settings["dds"]["frames"]
    with pytest.raises(ValueError, match=r"lockstep needs dds\.frames"):
        Config.model_validate(settings)


def test_waiting_without_a_sender_gives_a_hint_and_can_be_stopped(tmp_path, caplog, monkeypatch):
    import fluoro.poses.received as module

    monkeypatch.setattr(module, "HINT_AFTER_S", 0.2)
    settings = document(tmp_path)
    stopper = threading.Thread(target=interrupt_once, args=(caplog,))
    stopper.start()
    outcome = run_small(settings)
    stopper.join()
    assert "no one else in domain" in caplog.text
    assert outcome.summary["frames"] == 0


def interrupt_once(caplog):
    wait_until(lambda: "no pose yet" in caplog.text)
    os.kill(os.getpid(), signal.SIGINT)


CONTROLS = {
    "source_to_detector_mm": "1150",
    "window_level": "2.5",
    "window_width": "3.5",
    "dose_ngy": "40.5",
    "table_z_mm": "12",
    "polarity": "bone_bright",
}


def test_distance_window_dose_and_table_over_dds_reach_the_stream(tmp_path, sender):
    settings = document(tmp_path)
    settings["dds"]["control_topic"] = "/fluoro/control"
    settings["run"]["frames"] = None
    pairs = [f"{key}={value}" for key, value in CONTROLS.items()]
    seen, steps, set_at = [], [], []

    def wait_until_set(process):
        process.stdout.readline()
        set_at.append(seen[-1])

    def each(frames):
        seen.append(frames)
        if not steps and frames >= 3:
            steps.append(stack.enter_context(peer("control", *pairs)))
            threading.Thread(target=wait_until_set, args=steps, daemon=True).start()
        elif len(steps) == 1 and set_at and frames > set_at[0] + 20:
            steps.append(os.kill(os.getpid(), signal.SIGINT))

    with ExitStack() as stack:
        outcome = run_small(settings, each)
    first, last = (record_of(outcome.folder)["per_frame"][at] for at in (0, -1))
    assert first["source_to_detector_mm"] != 1150
    assert last["source_to_detector_mm"] == 1150
    assert last["pose"]["lao_deg"] == pytest.approx(7)  # taken over where the stream stood
    assert last["pose"]["translation_mm"] == pytest.approx([0, 0, -12])
    images = images_of(outcome.folder)
    assert np.abs(images[-1] - images[0]).mean() > 0.05


def test_pedal_over_dds_stops_the_frames_and_brings_them_back(tmp_path, sender):
    settings = document(tmp_path)
    settings["dds"]["control_topic"] = "/fluoro/control"
    settings["run"]["frames"] = None
    seen, steps = [], []

    def each(frames):
        seen.append(frames)
        if not steps and frames >= 3:
            steps.append(stack.enter_context(peer("control", "beam_on=false")))
        elif len(steps) == 1 and len(seen) > 5 and len(set(seen[-5:])) == 1:
            steps.append(stack.enter_context(peer("control", "beam_on=true")))
            stopped_at.append(frames)
        elif len(steps) == 2 and frames > stopped_at[0] + 3:
            steps.append(os.kill(os.getpid(), signal.SIGINT))

    stopped_at = []
    with ExitStack() as stack:
        outcome = run_small(settings, each)
    assert len(steps) == 3
    assert outcome.summary["frames"] > stopped_at[0] >= 3


def test_status_says_ready_before_the_first_frame_then_streaming_then_the_watchdog(tmp_path):
    settings = document(tmp_path, trigger="clock", watchdog_ms=300)
    settings["run"]["frames"] = None
    lines, sent = [], []

    def each(_frames):
        if any("fluoro: simulator: ready (frames 0)" in line for line in lines) and not sent:
            sent.append(stack.enter_context(peer("poses", "7")))
        if any("streaming" in line for line in lines):
            sent[0].kill()
        if any("watchdog: no pose comes" in line for line in lines) and len(sent) == 1:
            sent.append(os.kill(os.getpid(), signal.SIGINT))

    with peer("status") as status, ExitStack() as stack:
        reader = threading.Thread(target=lambda: lines.extend(iter(status.stdout.readline, "")))
        reader.start()
        outcome = run_small(settings, each)
        status.kill()
        reader.join()
    assert lines[0].startswith("fluoro: simulator: ready (frames 0)")
    assert any(line.startswith("fluoro: poses: waiting: ") for line in lines)
    assert any(line.startswith("fluoro: frames: sent") for line in lines)
    assert outcome.summary["frames"] > 0


def remote_and_writer(node, controls):
    remote = RemoteControls(node, "/fluoro/control", controls, lambda: CarmPose(lao_deg=20.0))
    writer = node.writer("rt/fluoro/control", KeyValue, qos.reliable(100))
    wait_until(lambda: writer.readers() == 1)
    return remote, writer


@pytest.fixture
def node():
    node = DdsNode(DdsConfig(domain=own_domain()))
    yield node
    node.close()


def test_control_that_does_not_fit_is_refused_and_counted(tmp_path, node):
    controls = LiveControls.from_config(Config.model_validate(document(tmp_path)))
    remote, writer = remote_and_writer(node, controls)
    good = {"beam_on": "false", "dose_ngy": "40.5", "table_z_mm": "12", "polarity": "bone_dark"}
    bad = {"dose_ngy": "-1", "window_level": "nan", "foo": "1", "polarity": "x" * 1000}
    for key, value in [*good.items(), *bad.items(), ("last_image_hold", "3"), ("press", "mask")]:
        writer.write(KeyValue(key=key, value=value))
    wait_until(lambda: remote.applied + remote.refused == 10)
    state = controls.snapshot()
    assert (remote.applied, remote.refused) == (4, 6)
    assert (state.beam_on, state.dose_ngy) == (False, 40.5)
    assert (state.pose.lao_deg, state.pose.translation_mm[2]) == (20.0, -12.0)


def test_pedal_over_dds_is_a_dead_mans_switch(tmp_path, node):
    controls = LiveControls.from_config(Config.model_validate(document(tmp_path)))
    controls.update(beam_on=False)
    remote, writer = remote_and_writer(node, controls)
    writer.write(KeyValue(key="pedal", value="down"))
    wait_until(lambda: controls.snapshot().beam_on)
    for _ in range(15):
        writer.write(KeyValue(key="pedal", value="held"))
        time.sleep(0.1)
        assert controls.snapshot().beam_on
    wait_until(lambda: not controls.snapshot().beam_on)  # it is silent
    writer.write(KeyValue(key="pedal", value="held"))
    writer.write(KeyValue(key="pedal", value="1"))
    wait_until(lambda: remote.refused == 1)
    assert not controls.snapshot().beam_on
    writer.write(KeyValue(key="pedal", value="down"))
    wait_until(lambda: controls.snapshot().beam_on)
    writer.write(KeyValue(key="pedal", value="up"))
    wait_until(lambda: not controls.snapshot().beam_on)


def test_pedal_of_a_display_elsewhere_ends_the_beam_when_the_display_is_gone(tmp_path, node):
    config = Config.model_validate(document(tmp_path))
    there, here = LiveControls.from_config(config), RelayedControls.from_config(config)
    there.update(beam_on=False)
    remote_and_writer(node, there)
    here.send = control_sender(node, "/fluoro/control")
    wait_until(lambda: here.hold("a page", "down") and there.snapshot().beam_on)
    for _ in range(15):
        assert here.hold("a page", "held")
        time.sleep(0.1)
        assert there.snapshot().beam_on
    here.send = lambda _key, _value: None  # the display's machine is gone
    wait_until(lambda: not there.snapshot().beam_on)


def test_display_elsewhere_relays_its_controls(tmp_path, node):
    config = Config.model_validate(document(tmp_path))
    there, here = LiveControls.from_config(config), RelayedControls.from_config(config)
    with pytest.raises(InputError, match=r"dds\.control_topic"):
        here.apply({"dose_ngy": 7.0}, stream_pose=None)
    remote, _ = remote_and_writer(node, there)
    here.send = control_sender(node, "/fluoro/control")
    wait_until(lambda: remote.applied or here.apply({"dose_ngy": 7.0}, stream_pose=None) is None)
    here.apply({"beam_on": False, "lao_deg": 33.0}, stream_pose=CarmPose(cra_deg=5.0))
    wait_until(lambda: there.snapshot().beam_on is False and there.snapshot().pose.cra_deg == 5.0)
    wait_until(lambda: there.snapshot().pose == here.snapshot().pose)
    assert there.snapshot().manual_pose

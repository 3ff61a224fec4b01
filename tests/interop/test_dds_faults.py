"""What goes wrong on a bus: dead and frozen peers, hostile samples, memory over time."""

import os
import signal
import socket
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from cyclonedds._clayer import ddspy_write

from fluoro.config import CarmConfig, DdsConfig, DdsFramesConfig, DdsPoses
from fluoro.errors import InputError
from fluoro.geometry.carm import CarmGeometry, CarmPose
from fluoro.geometry.from_config import make_limits
from fluoro.geometry.limits import CarmLimits
from fluoro.imaging.frame import FluoroFrame
from fluoro.interop.dds import qos
from fluoro.interop.dds.dds_pose_feed import DdsPoseFeed
from fluoro.interop.dds.image_messages import image_message, image_of
from fluoro.interop.dds.joints import Joint, joint_pose, joint_values
from fluoro.interop.dds.node import DdsNode
from fluoro.interop.dds.pose_messages import FARTHEST_MM, pose_message, pose_of
from fluoro.interop.dds.ros_geometry import PoseStamped
from fluoro.interop.dds.ros_sensor import Image, JointState
from fluoro.interop.dds.timestamps import header_of
from fluoro.interop.frame_publisher import FrameSink
from fluoro.interop.pose_filter import PoseFilter, SentPose
from tests.dds_support import own_domain, peer, wait_until

pytestmark = pytest.mark.dds

ORIGIN = (0.0, 0.0, 0.0)
MB = 2**20
GROWTH_MB = 48
"""More than Cyclone may keep for a reader that is behind (16 MB) and what allocators hold on to."""
HANG_S = 5.0
"""No write may take so long; the graph's frame would have waited for it."""


@pytest.fixture
def node():
    node = DdsNode(DdsConfig(domain=own_domain()))
    yield node
    node.close()


@contextmanager
def streaming(sink, side_px, period_s=0.01):
    """Frames sent from a thread; yields the time that each took [s]."""
    geometry = CarmGeometry(detector_width_px=side_px, detector_height_px=side_px)
    image = np.zeros((side_px, side_px), np.float32)
    took_s, ended = [], threading.Event()

    def run():
        number = 0
        while not ended.wait(period_s):
            frame = FluoroFrame(
                image=image, number=number, pose=CarmPose(), geometry=geometry, stamps_ns={}
            )
            start_s = time.monotonic()
            sink.send(frame)
            took_s.append(time.monotonic() - start_s)
            number += 1

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield took_s
    finally:
        ended.set()
        thread.join()


def memory_mb():
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / MB


def make_sink(node):
    return FrameSink(node, DdsFramesConfig(), ORIGIN, time.time_ns)


def make_feed(node, **config):
    return DdsPoseFeed(node, DdsPoses(kind="dds", **config), ORIGIN, make_limits(CarmConfig()))


def test_listener_that_is_killed_is_served_again_when_it_is_back(node):
    sink = make_sink(node)
    with streaming(sink, 64) as took_s:
        for _ in range(2):
            with peer("listen") as process:
                assert process.stdout.readline() == "images 10\n"
                process.send_signal(signal.SIGKILL)
    assert max(took_s) < HANG_S
    assert sink.sent == len(took_s)


def test_sender_that_is_killed_is_heard_again_when_it_is_back(node):
    feed = make_feed(node, watchdog_ms=300)
    with peer("poses", "5") as process:
        wait_until(lambda: feed.latest() is not None)
        process.send_signal(signal.SIGKILL)
        wait_until(feed.silent)
    with peer("poses", "-60"):  # a jump from where the first one was
        wait_until(lambda: feed.latest().pose.lao_deg == pytest.approx(-60))
    wait_until(lambda: not feed.silent())


def test_frozen_listener_neither_slows_the_sender_nor_grows_its_memory(node):
    sink = make_sink(node)
    with peer("listen") as process, streaming(sink, 1024) as took_s:
        process.stdout.readline()
        process.send_signal(signal.SIGSTOP)
        time.sleep(0.5)
        before_mb, before = memory_mb(), len(took_s)
        time.sleep(1.0)
        wait_until(lambda: len(took_s) > before + 20)
        assert memory_mb() - before_mb < GROWTH_MB
        process.send_signal(signal.SIGCONT)
        count = sink.sent
        process.stdout.readline()
        wait_until(lambda: sink.sent > count)
    assert max(took_s) < HANG_S
    assert sink.sent + sink.lost == len(took_s)


def test_two_senders_on_one_topic_do_not_fight_over_the_c_arm(node):
    feed = make_feed(node)
    with peer("poses", "5"):
        wait_until(lambda: feed.latest() is not None)
        with peer("poses", "8"):
            wait_until(lambda: feed.counts().get("refused: second writer", 0) > 20)
            assert feed.latest().pose.lao_deg == pytest.approx(5)


def test_another_domain_is_not_heard_and_the_hint_names_ours(node):
    other = DdsNode(DdsConfig(domain=(own_domain() + 1) % 230))
    try:
        feed = make_feed(node)
        writer = other.writer("rt/carm/pose", PoseStamped, qos.reliable())
        time.sleep(0.3)
        assert writer.readers() == 0
        assert f"no one else in domain {node.config.domain}" in feed.hint()
    finally:
        other.close()


def mangled(payload, random):
    """A copy with bytes flipped, cut off, repeated, or a length made huge."""
    found = bytearray(payload)
    for _ in range(random.integers(1, 6)):
        place = int(random.integers(4, len(found)))
        match random.integers(4):
            case 0:
                found[place] = random.integers(256)
            case 1:
                del found[place:]
                found += b"\0" * (4 - len(found) % 4)
            case 2:
                place -= place % 4
                found[place : place + 4] = random.integers(2**32, dtype=np.uint32).tobytes()
            case 3:
                found[place:place] = random.bytes(8)
    return bytes(found)


LIMITS = CarmLimits(lao_deg=(-120.0, 120.0))
CHAIN = [Joint(name="lao", kind="revolute", axis=(0, 0, 1))]
IMAGE = image_message(np.zeros((8, 8), np.float32), "mono8", 5).serialize()
POSE = pose_message(CarmPose(lao_deg=10.0), ORIGIN, 5).serialize()
JOINTS = JointState(header_of(5, ""), ["lao"], [0.2], [], []).serialize()


@pytest.mark.parametrize("share", [0.1, pytest.param(1.0, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("kind", "payload", "read", "whole"),
    [
        (PoseStamped, POSE, lambda m: pose_of(m, ORIGIN), 60_000),
        (JointState, JOINTS, lambda m: joint_pose(CHAIN, joint_values(m), ORIGIN), 20_000),
        (Image, IMAGE, image_of, 20_000),
    ],
    ids=["pose", "joints", "image"],
)
def test_fuzzed_payload_is_refused_or_is_a_sound_value(kind, payload, read, whole, share):
    """All of 100,000 with the slow tests, a tenth of them each time."""
    count = round(whole * share)
    random = np.random.default_rng(7)
    pose_filter = PoseFilter(LIMITS, max_jump_deg=360.0, max_jump_mm=1e9, memory_ns=10**9)
    refused = 0
    for number in range(count):
        try:
            message = kind.deserialize(mangled(payload, random))
        except Exception:  # noqa: BLE001  (the listener's own net, see DdsNode)
            refused += 1
            continue
        if kind is Image:
            refused += not is_sound_image(read, message)
            continue
        try:
            pose = pose_filter.admit(
                lambda message=message: SentPose(pose=read(message)), number
            ).pose
        except InputError:
            refused += 1
            continue
        assert max(map(abs, pose.translation_mm)) <= FARTHEST_MM
        assert abs(pose.lao_deg) <= 120.0 + 1e-6
    assert 0 < refused < count


def is_sound_image(read, message):
    try:
        image = read(message)
    except InputError:
        return False
    assert np.isfinite(image).all()
    return True


def test_mangled_samples_through_dds_leave_listener_and_feed_alive(node):
    random, feed = np.random.default_rng(3), make_feed(node, watchdog_ms=20)
    writer = node.writer("rt/carm/pose", PoseStamped, qos.reliable(1000))
    wait_until(lambda: writer.readers() == 1)
    for _ in range(3000):
        ddspy_write(writer._writer._ref, mangled(POSE, random))
    wait_until(feed.silent)
    writer.write(pose_message(CarmPose(lao_deg=3.0), ORIGIN, 0))
    wait_until(lambda: feed.latest().pose.lao_deg == pytest.approx(3.0))
    assert feed.counts()["malformed"] > 0
    assert feed.refusals.counts().keys() & {"header.frame_id", "pose.position", "pose.orientation"}


def test_mangled_packets_on_the_ports_leave_the_link_alive(node):
    random, feed = np.random.default_rng(4), make_feed(node, watchdog_ms=20)
    writer = node.writer("rt/carm/pose", PoseStamped, qos.reliable())
    wait_until(lambda: writer.readers() == 1)
    first_port = 7400 + 250 * node.config.domain
    header = b"RTPS\x02\x01\x01\x10" + bytes(range(12))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        for _ in range(2000):
            packet = header * int(random.integers(2)) + random.bytes(int(random.integers(4, 400)))
            udp.sendto(packet, ("127.0.0.1", first_port + int(random.integers(10, 14))))
    writer.write(pose_message(CarmPose(lao_deg=4.0), ORIGIN, 0))
    wait_until(lambda: feed.latest() is not None)
    assert feed.latest().pose.lao_deg == pytest.approx(4.0)


def soak(node, seconds):
    """Poses in and frames out with a listener in another process; memory before and after [MB].

    tools/check/soak.py has the whole simulator and minutes.
    """
    sink, feed = make_sink(node), make_feed(node)
    with peer("listen") as listener, peer("poses", "5"), streaming(sink, 512):
        listener.stdout.readline()
        threading.Thread(target=listener.stdout.read, daemon=True).start()
        time.sleep(1)
        before_mb = memory_mb()
        time.sleep(seconds)
        wait_until(lambda: feed.counts()["received"] > 20 * seconds)
        return before_mb, memory_mb()


def test_memory_is_flat_over_seconds(node):
    before_mb, after_mb = soak(node, 2)
    assert after_mb - before_mb < 8

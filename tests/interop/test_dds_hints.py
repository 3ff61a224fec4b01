"""What keeps two endpoints apart is named; floods and losses are counted and logged once."""

import subprocess
import sys
import time

import numpy as np
import pytest

from fluoro.config import CarmConfig, DdsConfig, DdsFramesConfig, DdsPoses
from fluoro.geometry.carm import CarmGeometry, CarmPose
from fluoro.geometry.from_config import make_limits
from fluoro.imaging.frame import FluoroFrame
from fluoro.interop.dds import discovery, qos
from fluoro.interop.dds.dds_pose_feed import DdsPoseFeed
from fluoro.interop.dds.discovery import domains_of_ports
from fluoro.interop.dds.node import DdsNode
from fluoro.interop.dds.pose_messages import pose_message
from fluoro.interop.dds.ros_geometry import PoseStamped
from fluoro.interop.dds.ros_sensor import Image
from fluoro.interop.flood_watch import MOST_PER_SECOND, FloodWatch
from fluoro.interop.frame_publisher import FrameSink
from tests.dds_support import ROOT, own_domain, peer, wait_until

pytestmark = pytest.mark.dds

ORIGIN = (0.0, 0.0, 0.0)
SECOND_NS = 1_000_000_000


@pytest.fixture
def node():
    node = DdsNode(DdsConfig(domain=own_domain()))
    yield node
    node.close()


@pytest.fixture
def feed(node):
    return DdsPoseFeed(node, DdsPoses(kind="dds"), ORIGIN, make_limits(CarmConfig()))


def send_a_frame(sink, size_px):
    image = np.zeros((size_px, size_px), np.float32)
    geometry = CarmGeometry(detector_width_px=size_px, detector_height_px=size_px)
    header = {"number": 0, "pose": CarmPose(), "geometry": geometry}
    sink.send(FluoroFrame(image=image, stamps_ns={}, origin=None, **header))


def test_sender_of_another_type_is_named(feed):
    with peer("stamps", "joints", "0.1", "1.0"):
        wait_until(lambda: "has the type" in feed.hint(), 60)
    assert "sensor_msgs::msg::dds_::JointState_, must be geometry_msgs::msg::dds_::" in feed.hint()


@pytest.mark.parametrize("name", ["a\nb", "\x1b[2J", "x" * 10_000, "", "\u202e"])
def test_names_of_strangers_stay_in_one_short_line(feed, monkeypatch, name):
    monkeypatch.setattr(feed._node.discovery, "types_written", lambda _topic: {name})
    assert feed.hint().isprintable()
    assert len(feed.hint()) < 600


def test_sender_whose_poses_are_refused_is_named_with_the_reason(node, feed):
    writer = node.writer("rt/carm/pose", PoseStamped, qos.reliable())
    wait_until(lambda: writer.readers() == 1)
    writer.write(pose_message(CarmPose(), ORIGIN, time.time_ns(), frame_id="base_link"))
    wait_until(lambda: "frame_id" in feed.hint())
    assert "but no good pose yet: header.frame_id must be patient, got 'base_link'" in feed.hint()
    assert feed.counts()["refused: header.frame_id"] == 1


def test_poses_of_which_some_are_refused_say_why_in_diagnostics(node, feed):
    from operators.link_states import _pose_state

    writer = node.writer("rt/carm/pose", PoseStamped, qos.reliable())
    wait_until(lambda: writer.readers() == 1)
    writer.write(pose_message(CarmPose(), ORIGIN, time.time_ns(), frame_id="patient"))
    wait_until(lambda: feed.latest() is not None)
    assert _pose_state(feed).message == "poses come"
    writer.write(pose_message(CarmPose(), ORIGIN, time.time_ns(), frame_id="base_link"))
    wait_until(lambda: feed.refusals.last())
    message = _pose_state(feed).message
    assert "some are refused; the last: header.frame_id must be patient, got 'base_link'" in message


def test_a_second_simulator_in_the_domain_is_noticed_once(caplog):
    from contextlib import ExitStack

    from fluoro.config import Config
    from fluoro.recording.run_record import RunRecord
    from operators.link_states import states
    from operators.links import SIMULATOR, Links
    from operators.monitor import StreamMonitor

    config = Config.model_validate(
        {
            "volume": {"phantom": "thorax"},
            "pose_source": {"kind": "static"},
            "dds": {"domain": own_domain()},
        }
    )
    monitor = StreamMonitor(RunRecord(config={}, device="", seed=0), None, "a device")
    with ExitStack() as stack:
        links = Links(config, ORIGIN, monitor, None, stack)
        links.dds("a test")
        assert states(links)[0].message == "ready"
        script = (
            "import time\nfrom fluoro.config import DdsConfig\n"
            "from fluoro.interop.dds.node import DdsNode\n"
            f"node = DdsNode(DdsConfig(domain={own_domain()}), {SIMULATOR!r})\ntime.sleep(60)\n"
        )
        other = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT)
        try:
            wait_until(links.rivals, 30)
            assert "another simulator is in the domain: process" in states(links)[0].message
            assert f"process {other.pid} on" in states(links)[0].message
        finally:
            other.kill()
            other.wait()
    assert caplog.text.count("another simulator is in DDS domain") == 1


def test_reader_that_asks_for_more_than_is_offered_is_named(node, caplog):
    sink = FrameSink(node, DdsFramesConfig(), ORIGIN, time.time_ns)
    node.listen("rt/fluoro/image_raw", Image, qos.latched(), print)
    wait_until(lambda: "asks for more than is offered: durability" in sink.hint())
    sink.hint()
    assert caplog.text.count("asks for more than is offered") == 1


@pytest.mark.parametrize(("size_px", "hinted"), [(256, False), (1024, True)])
def test_best_effort_reader_of_large_images_is_named(node, size_px, hinted, monkeypatch):
    monkeypatch.setattr(node.discovery, "best_effort_readers", lambda _topic: 2)
    sink = FrameSink(node, DdsFramesConfig(), ORIGIN, time.time_ns)
    send_a_frame(sink, size_px)
    assert ("best-effort readers (2) lose some" in sink.hint()) == hinted


def test_best_effort_readers_are_counted_in_other_programs_alone(node):
    node.listen("rt/fluoro/image_raw", Image, qos.sensor_data(), print)
    assert node.discovery.best_effort_readers("rt/fluoro/image_raw") == 0


@pytest.mark.parametrize(
    ("ports", "domains"),
    [
        ({7400, 7410, 7411}, [0]),
        ({7400 + 250 * 42 + 13}, [42]),
        ({17900, 18150}, [42, 43]),
        ({7401, 7475, 80, 53}, []),
        ({7400 + 250 * 120}, []),  # above 32767 a port may be anyone's
        (set(), []),
    ],
)
def test_domains_are_known_by_their_ports(ports, domains):
    assert domains_of_ports(ports) == domains


def test_any_ports_give_domains_that_there_are():
    for port in range(65536):
        assert all(0 <= domain <= 101 for domain in domains_of_ports({port}))


def test_machine_without_linuxs_lists_gives_no_domains(monkeypatch, tmp_path):
    monkeypatch.setattr(discovery, "Path", lambda _name: tmp_path / "none")
    assert discovery.domains_on_this_machine() == []
    assert discovery.best_effort_bytes() == 106_496


def test_flood_is_counted_by_seconds_and_logged_every_10_s(caplog):
    watch = FloodWatch("poses on rt/carm/pose")
    for second in range(12):
        for number in range(2 * MOST_PER_SECOND):
            watch.note(second * SECOND_NS + number * 400_000)
    assert watch.seconds == 12
    assert caplog.text.count("poses on rt/carm/pose flood: more than 1000 in a second") == 2


def test_as_many_poses_as_a_robot_sends_are_no_flood(caplog):
    watch = FloodWatch("poses")
    for number in range(3 * MOST_PER_SECOND):
        watch.note(number * SECOND_NS // MOST_PER_SECOND)
    assert watch.seconds == 0
    assert not caplog.text

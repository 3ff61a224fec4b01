"""Through DDS itself: each protocol there and back, stamps, status, who may be heard."""

import re
import time

import numpy as np
import pytest
from cyclonedds.builtin import (
    BuiltinDataReader,
    BuiltinTopicDcpsPublication,
    BuiltinTopicDcpsSubscription,
)
from cyclonedds.qos import Policy

from fluoro.config import CarmConfig, DdsConfig, DdsFramesConfig, DdsPoses, LimitsConfig
from fluoro.errors import DeviceError, InputError
from fluoro.geometry.carm import CarmGeometry, CarmPose
from fluoro.geometry.from_config import make_limits
from fluoro.imaging.frame import FluoroFrame, PoseOrigin, to_uint8
from fluoro.interop.dds import i4h, qos
from fluoro.interop.dds.dds_pose_feed import DdsPoseFeed
from fluoro.interop.dds.diagnostics_publisher import StatusPublisher, status_message
from fluoro.interop.dds.holohub import VideoFrame
from fluoro.interop.dds.image_messages import image_of
from fluoro.interop.dds.network import cyclone_xml, is_local
from fluoro.interop.dds.node import DdsNode
from fluoro.interop.dds.outgoing_clock import make_clock
from fluoro.interop.dds.pose_messages import pose_message, pose_of, probe_message
from fluoro.interop.dds.remote_controls import RemoteControls
from fluoro.interop.dds.ros_diagnostic import DiagnosticArray, Level
from fluoro.interop.dds.ros_geometry import PoseStamped
from fluoro.interop.dds.ros_sensor import CameraInfo, CompressedImage, Image, JointState
from fluoro.interop.dds.ros_std import Clock
from fluoro.interop.dds.timestamps import header_of, stamp_ns, stamp_of
from fluoro.interop.estimate_publisher import EstimateSink
from fluoro.interop.frame_publisher import FrameSink
from tests.dds_support import Heard, own_domain, wait_until

pytestmark = pytest.mark.dds

ISOCENTER = (12.0, -34.0, 56.0)
POSE = CarmPose(lao_deg=-37.0, cra_deg=21.5, roll_deg=8.0, translation_mm=(10.0, -20.0, 30.0))
GEOMETRY = CarmGeometry(detector_width_px=12, detector_height_px=7)


@pytest.fixture
def node():
    node = DdsNode(DdsConfig(domain=own_domain()))
    yield node
    node.close()


def make_frame(number=5, origin=None):
    image = np.linspace(0, 0.5, 12 * 7, dtype=np.float32).reshape(7, 12)
    image[0, 0] = 1.0  # a mirror or a turn would move it
    stamps = {"received": 10, "pose": 20, "render_start": 30, "render_end": 40, "chain_end": 50}
    return FluoroFrame(
        image=image, number=number, pose=POSE, geometry=GEOMETRY, stamps_ns=stamps, origin=origin
    )


def make_sink(node, **config):
    return FrameSink(node, DdsFramesConfig(**config), ISOCENTER, lambda: 777)


def make_feed(node, **config):
    limits = make_limits(CarmConfig(limits=LimitsConfig(lao_deg=(-120.0, 120.0))))
    return DdsPoseFeed(node, DdsPoses(kind="dds", **config), ISOCENTER, limits)


def test_ros_2_frame_arrives_with_camera_pose_number_and_all_stamps(node):
    names = {
        "image_raw": Image,
        "image_raw/compressed": CompressedImage,
        "camera_info": CameraInfo,
        "carm_pose": PoseStamped,
        "frame_info": DiagnosticArray,
    }
    heard = {name: Heard(node, f"rt/lab/{name}", kind) for name, kind in names.items()}
    sink = make_sink(node, prefix="/lab", encoding="mono16", jpeg_quality=90)
    wait_until(lambda: sink.readers() == 1)
    frame = make_frame(
        origin=PoseOrigin(stamp_ns=123_000_000_456, sequence=9, time_ns=123_000_000_456)
    )
    sink.send(frame)
    got = {name: samples.one() for name, samples in heard.items()}
    assert {stamp_ns(sample.header.stamp) for sample in got.values()} == {123_000_000_456}
    np.testing.assert_allclose(image_of(got["image_raw"]), frame.image, atol=1e-5)
    assert got["camera_info"].width == 12
    back = pose_of(got["carm_pose"], ISOCENTER)
    assert back.lao_deg == pytest.approx(POSE.lao_deg)
    assert back.translation_mm == pytest.approx(POSE.translation_mm)
    values = {pair.key: pair.value for pair in got["frame_info"].status[0].values}
    assert values == {
        "number": "5",
        "sequence": "9",
        "pose_stamp_ns": "123000000456",
        "received_ns": "10",
        "pose_ns": "20",
        "render_start_ns": "30",
        "render_end_ns": "40",
        "chain_end_ns": "50",
    }


@pytest.mark.parametrize(
    ("config", "topic"),
    [
        ({"prefix": "/lab"}, "/lab/image_raw"),
        ({"protocol": "holohub"}, "VideoFrame"),
        ({"protocol": "i4h", "topic": "rtscope"}, "rtscope"),
    ],
)
def test_the_topic_of_frames_has_the_name_that_a_user_types(node, config, topic):
    assert make_sink(node, **config).topic == topic


def test_holohub_frame_arrives(node):
    heard, sink = Heard(node, "VideoFrame", VideoFrame), make_sink(node, protocol="holohub")
    wait_until(lambda: sink.readers() == 1)
    sink.send(make_frame())
    rgba = np.frombuffer(heard.one().data, np.uint8).reshape(7, 12, 4)
    np.testing.assert_array_equal(rgba[..., 0], to_uint8(make_frame().image))
    assert heard[0].frame_num == 5


def test_i4h_frame_arrives(node):
    heard = Heard(node, "scope", i4h.CameraInfo)
    sink = make_sink(node, protocol="i4h", topic="scope")
    wait_until(lambda: sink.readers() == 1)
    sink.send(make_frame())
    grey = np.frombuffer(heard.one().data, np.uint8).reshape(7, 12)
    np.testing.assert_array_equal(grey, to_uint8(make_frame().image))
    assert heard[0].focal_len == pytest.approx(2040.0)


def test_black_frame_follows_the_last_one(node):
    heard, sink = Heard(node, "rt/fluoro/image_raw", Image), make_sink(node)
    wait_until(lambda: sink.readers() == 1)
    sink.send_black()
    sink.send(make_frame())
    sink.send_black()
    wait_until(lambda: len(heard) == 2)
    assert image_of(heard[0]).max() == 1.0
    assert image_of(heard[1]).max() == 0.0


def send(node, topic, kind, samples, feed):
    writer = node.writer(topic, kind, qos.reliable(100))
    wait_until(lambda: writer.readers() == 1 and feed.counts()["writers"] > 0)
    before = feed.counts()["received"]
    for sample in samples:
        writer.write(sample)
    wait_until(lambda: feed.counts()["received"] == before + len(samples))
    return writer


def assert_pose(received, pose=POSE):
    assert received.pose.lao_deg == pytest.approx(pose.lao_deg)
    assert received.pose.cra_deg == pytest.approx(pose.cra_deg)
    assert received.pose.roll_deg == pytest.approx(pose.roll_deg)
    assert received.pose.translation_mm == pytest.approx(pose.translation_mm)


def test_pose_of_ros_2_arrives_with_its_own_stamp(node):
    feed = make_feed(node)
    send(node, "rt/carm/pose", PoseStamped, [pose_message(POSE, ISOCENTER, 123_456)], feed)
    received = feed.next(5.0)
    assert_pose(received)
    assert received.stamp_ns == 123_456
    assert received.received_ns == pytest.approx(time.time_ns(), abs=60e9)


def test_joints_of_ros_2_arrive_as_the_c_arms_pose(node):
    feed = make_feed(node, message="joint_state", topic="/joints")
    names = ["carm_lao", "carm_cra", "carm_roll", "carm_x", "carm_y", "carm_z"]
    values = [*np.radians([-37.0, 21.5, 8.0]).tolist(), 0.010, -0.020, 0.030]
    send(node, "rt/joints", JointState, [JointState(header_of(5, ""), names, values, [], [])], feed)
    assert_pose(feed.next(5.0))


def test_pose_of_i4h_arrives_in_the_unit_and_order_agreed_on(node):
    options = {"orientation": "wxyz"}
    feed = make_feed(node, message="i4h", topic="probe", position_unit="mm", **options)
    sample = probe_message(POSE, ISOCENTER, unit="mm", **options)
    send(node, "probe", i4h.ProbeInfo, [sample], feed)
    assert_pose(feed.next(5.0))


def turns(*angles_deg, start_ns=1_000):
    return [
        pose_message(CarmPose(lao_deg=angle), ISOCENTER, start_ns + number)
        for number, angle in enumerate(angles_deg)
    ]


def test_newest_pose_wins_and_what_it_replaced_is_counted(node):
    feed = make_feed(node)
    send(node, "rt/carm/pose", PoseStamped, turns(1, 2, 3, 4), feed)
    assert feed.next(1.0).pose.lao_deg == pytest.approx(4)
    assert feed.next(0.01) is None
    assert feed.counts()["superseded"] == 3
    assert feed.latest().sequence == 3


def test_lockstep_gives_each_pose_in_its_order(node):
    feed = make_feed(node, trigger="lockstep")
    send(node, "rt/carm/pose", PoseStamped, turns(*range(50)), feed)
    given = [feed.next(1.0) for _ in range(50)]
    assert [round(received.pose.lao_deg) for received in given] == list(range(50))
    assert [received.sequence for received in given] == list(range(50))


def test_what_is_refused_is_counted_by_its_reason(node):
    feed = make_feed(node)
    bad = pose_message(POSE, ISOCENTER, 3_000)
    bad.pose.orientation.w = float("nan")
    samples = [*turns(0, 1, 60), bad, *turns(5, start_ns=10), *turns(2, start_ns=9_000)]
    send(node, "rt/carm/pose", PoseStamped, samples, feed)
    counts = feed.counts()
    assert counts["refused: jump"] == 1
    assert counts["refused: pose.orientation"] == 1
    assert counts["refused: old stamp"] == 1
    assert feed.latest().pose.lao_deg == pytest.approx(2)
    assert feed.latest().sequence == 5


def test_second_publisher_is_not_heard_while_the_first_speaks_and_takes_over_after_it(node):
    feed = make_feed(node, watchdog_ms=300)
    first = send(node, "rt/carm/pose", PoseStamped, turns(1), feed)
    second = node.writer("rt/carm/pose", PoseStamped, qos.reliable())
    wait_until(lambda: feed.counts()["writers"] == 2)
    second.write(turns(-5)[0])
    wait_until(lambda: feed.counts().get("refused: second writer") == 1)
    assert feed.latest().pose.lao_deg == pytest.approx(1)
    wait_until(feed.silent)
    second.write(turns(-6)[0])
    wait_until(lambda: feed.latest().pose.lao_deg == pytest.approx(-6))
    assert not feed.silent()
    assert first.written == 1


def test_poses_are_interpolated_between_their_stamps_and_held_beyond(node):
    feed = make_feed(node, trigger="clock", interpolation_delay_ms=50.0)
    assert feed.at(0) is None
    samples = [pose_message(CarmPose(lao_deg=a), ISOCENTER, 1_000 * a) for a in (10, 20)]
    send(node, "rt/carm/pose", PoseStamped, samples, feed)
    angles = [feed.at(time_ns).pose.lao_deg for time_ns in (5_000, 12_500, 20_000, 99_000)]
    assert angles == pytest.approx([10, 12.5, 20, 20])


def test_simulated_time_comes_by_the_topic_clock():
    node = DdsNode(DdsConfig(domain=own_domain(), clock="ros"))
    try:
        clock = make_clock(node)
        writer = node.writer("rt/clock", Clock, qos.reliable())
        wait_until(lambda: writer.readers() == 1)
        assert clock() == 0
        writer.write(Clock(clock=stamp_of(12_345_678_901)))
        wait_until(lambda: clock() == 12_345_678_901)
    finally:
        node.close()


def test_status_is_reported_before_the_first_frame_and_once_more_at_the_end(node):
    heard, answers = Heard(node, "rt/diagnostics", DiagnosticArray), iter(["ready", "bye"])
    beacon = StatusPublisher(
        node, lambda: 5, lambda: [status_message("simulator", Level.OK, next(answers), {"n": 1})]
    )
    assert heard.one().status[0].message == "ready"
    beacon.close()
    assert heard[-1].status[0].name == "fluoro: simulator"
    assert heard[-1].status[0].message in ("ready", "bye")


def test_hint_says_that_the_domain_is_empty(node):
    hint = make_feed(node).hint()
    assert f"no one else in domain {node.config.domain}" in hint
    assert "ROS_DOMAIN_ID" in hint


def test_writer_that_offers_less_than_lockstep_asks_for_is_named(node):
    feed = make_feed(node, trigger="lockstep")
    writer = node.writer("rt/carm/pose", PoseStamped, qos.sensor_data())
    wait_until(lambda: "offers less reliability than the reader asks for" in feed.hint())
    assert writer.readers() == 0


def test_second_participant_in_one_process_is_refused_with_a_hint(node):
    with pytest.raises(DeviceError, match="open in this process already"):
        DdsNode(node.config)


def test_default_stays_on_this_machine():
    assert is_local(DdsConfig())
    assert 'name="lo"' in cyclone_xml(DdsConfig())
    assert "<AllowMulticast>spdp<" in cyclone_xml(DdsConfig())  # on lo


def test_peers_are_announced_to_often_and_never_given_up():
    xml = cyclone_xml(DdsConfig())
    assert "<SPDPInterval>500ms<" in xml
    assert "<InitialLocatorPruneDelay>inf<" in xml


@pytest.mark.parametrize(
    "wide", [{"interface": "192.0.2.7"}, {"peers": ["192.0.2.8"]}, {"peers": ["robot.example"]}]
)
def test_what_leaves_this_machine_is_logged_as_a_warning(wide, caplog):
    from fluoro.interop.dds.network import warn_if_wide

    warn_if_wide(DdsConfig(**wide))
    assert "DDS traffic is not limited to this host" in caplog.text


def test_interface_that_is_not_there_is_named():
    with pytest.raises(InputError, match=r"dds.interface must be .*lo.*, got 'nope0'"):
        cyclone_xml(DdsConfig(interface="nope0"))


XCDR1 = Policy.DataRepresentation(use_cdrv0_representation=True, use_xcdrv2_representation=False)
RMW_DEFAULT = ("Reliable", 10)
"""rmw_qos_profile_default of rmw/qos_profiles.h: reliable, volatile, the last 10."""
EXPECTED_WRITERS = {
    "rt/fluoro/image_raw": ("Reliable", 2),
    "rt/fluoro/image_raw/compressed": ("Reliable", 2),
    "rt/fluoro/camera_info": RMW_DEFAULT,
    "rt/fluoro/carm_pose": RMW_DEFAULT,
    "rt/fluoro/camera_pose": RMW_DEFAULT,
    "rt/fluoro/frame_info": RMW_DEFAULT,
    "rt/fluoro/registered_pose": RMW_DEFAULT,
    "rt/fluoro/registration": RMW_DEFAULT,
    "rt/diagnostics": RMW_DEFAULT,
}
EXPECTED_READERS = {
    "rt/carm/pose": ("BestEffort", 100),
    "rt/clock": ("BestEffort", 1),  # rclcpp::ClockQoS
    "rt/fluoro/control": ("Reliable", 100),
}


def endpoints(node, kind, count):
    """Topics of this participant by name: type, quality of service."""
    reader, found = BuiltinDataReader(node._participant, kind), {}
    wait_until(
        lambda: found.update({s.topic_name: s for s in reader.take(N=50)}) or len(found) >= count
    )
    return {name: sample for name, sample in found.items() if not name.startswith("DCPS")}


def test_endpoints_have_the_names_types_and_quality_of_service_that_rmw_gives_them():
    node = DdsNode(DdsConfig(domain=own_domain(), clock="ros"))
    try:
        frames = DdsFramesConfig(jpeg_quality=80)
        beacon = StatusPublisher(node, time.time_ns, list)
        parts = [  # kept: a writer without a reference is closed
            FrameSink(node, frames, ISOCENTER, time.time_ns),
            EstimateSink(node, frames, ISOCENTER, time.time_ns),
            make_clock(node),
            make_feed(node),
            RemoteControls(node, "/fluoro/control", None, None),
        ]
        writers = endpoints(node, BuiltinTopicDcpsPublication, len(EXPECTED_WRITERS))
        readers = endpoints(node, BuiltinTopicDcpsSubscription, len(EXPECTED_READERS))
        beacon.close()
        parts.clear()
    finally:
        node.close()
    for found, expected in ((writers, EXPECTED_WRITERS), (readers, EXPECTED_READERS)):
        assert found.keys() == expected.keys()
        for name, (reliability, depth) in expected.items():
            quality = found[name].qos
            assert str(quality[Policy.Reliability]).split("(")[0].endswith(reliability), name
            assert quality[Policy.History] == Policy.History.KeepLast(depth), name
            assert quality[Policy.Durability] == Policy.Durability.Volatile, name
            assert re.fullmatch(r"\w+::msg::dds_::\w+_", found[name].type_name)
    for sample in writers.values():
        assert sample.qos[Policy.DataRepresentation] == XCDR1

"""Fields of what comes in: each has a range, and a refusal names field, range and value."""

import logging
import math

import numpy as np
import pytest
from pyigtl import TransformMessage
from rosbags.rosbag2 import StoragePlugin
from rosbags.rosbag2 import Writer as BagFile
from rosbags.typesys import Stores, get_typestore

from fluoro.config import IgtlPoses
from fluoro.errors import InputError
from fluoro.geometry.carm import CarmPose
from fluoro.geometry.limits import CarmLimits
from fluoro.interop import refusals
from fluoro.interop.bag.mcap_bag import BagImages, read_poses
from fluoro.interop.dds.image_messages import image_message, image_of
from fluoro.interop.dds.joints import Joint, joint_pose, joint_values
from fluoro.interop.dds.pose_messages import pose_message, pose_of, probe_message, probe_pose
from fluoro.interop.dds.ros_sensor import JointState
from fluoro.interop.dds.ros_std import Time
from fluoro.interop.dds.timestamps import header_of, stamp_ns
from fluoro.interop.igtl.igtl_poses import HEADER, IgtlPoseFeed, Transform
from fluoro.interop.refusals import FieldError, Refusals, RefusedError

ORIGIN = (0.0, 0.0, 0.0)
CHAIN = [Joint(name="lao", kind="revolute", axis=(0, 0, 1))]


def with_fields(message, **fields):
    """The message with fields set by their path, `__` in the place of points."""
    for path, value in fields.items():
        *parents, name = path.split("__")
        holder = message
        for parent in parents:
            holder = getattr(holder, parent)
        setattr(holder, name, value)
    return message


def read_pose(**fields):
    message = with_fields(pose_message(CarmPose(), ORIGIN, 5), **fields)
    stamp_ns(message.header.stamp)
    return pose_of(message, ORIGIN)


def read_joints(**fields):
    message = with_fields(JointState(header_of(5, ""), ["lao"], [0.1], [], []), **fields)
    stamp_ns(message.header.stamp)
    return joint_pose(CHAIN, joint_values(message), ORIGIN)


def read_probe(**fields):
    return probe_pose(with_fields(probe_message(CarmPose(), ORIGIN), **fields), ORIGIN)


def read_clock(**fields):
    return stamp_ns(Time(**{"sec": 1, "nanosec": 0, **fields}), "clock")


def read_image(**fields):
    message = image_message(np.zeros((2, 3), np.float32), "mono8", 5)
    return image_of(with_fields(message, **fields))


def read_transform(matrix=None, timestamp=5.0, version=1, spoil=0, cut=0):
    matrix = np.eye(4) if matrix is None else matrix
    packed = bytearray(TransformMessage(matrix, timestamp=timestamp, device_name="C").pack())
    header = list(HEADER.unpack(packed[: HEADER.size]))
    header[0], header[-1] = version, header[-1] ^ spoil
    transform = Transform(header=HEADER.pack(*header), body=bytes(packed[HEADER.size + cut :]))
    feed = IgtlPoseFeed(IgtlPoses(kind="igtl"), ORIGIN, CarmLimits())
    return feed._sent(transform)


HUGE = 2**32 - 1


@pytest.mark.parametrize(
    ("read", "fields", "field", "text"),
    [
        (read_pose, {"header__stamp__sec": -1}, "header.stamp.sec", "must be 0 to 2147483647"),
        (read_pose, {"header__stamp__nanosec": HUGE}, "header.stamp.nanosec", "got 4294967295"),
        (read_pose, {"header__frame_id": "map"}, "header.frame_id", "must be patient, got 'map'"),
        (read_pose, {"pose__position__z": math.inf}, "pose.position", "3 finite numbers"),
        (read_pose, {"pose__position__z": 1e9}, "pose.position", "within 100000 mm"),
        (read_pose, {"pose__orientation__w": math.nan}, "pose.orientation", "4 finite numbers"),
        (read_pose, {"pose__orientation__w": 2.0}, "pose.orientation", "unit quaternion"),
        (read_joints, {"header__stamp__sec": -(2**31)}, "header.stamp.sec", "got -2147483648"),
        (read_joints, {"header__stamp__nanosec": 10**9}, "header.stamp.nanosec", "must be below"),
        (read_joints, {"name": ["cra"]}, "name", "must hold 'lao'"),
        (read_joints, {"name": ["x" * 257]}, "name", "at most 256 characters, got 257"),
        (read_joints, {"name": ["a"] * 1001}, "name", "at most 1000 joints, got 1001"),
        (read_joints, {"name": ["lao"] * 2, "position": [0.0] * 2}, "name", "named once"),
        (read_joints, {"position": []}, "position", "one position each"),
        (read_joints, {"position": [math.nan]}, "position", "got nan for 'lao'"),
        (read_joints, {"position": [-1001.0]}, "position", "within 1000, got -1001"),
        (read_joints, {"velocity": [0.0] * 2}, "velocity", "empty or have 1 values, got 2"),
        (read_joints, {"effort": [0.0] * 7}, "effort", "empty or have 1 values, got 7"),
        (read_probe, {"position": [0.0] * 4}, "position", "must be 3 finite numbers, got 4"),
        (read_probe, {"position": [0.0, 0.0, 1e300]}, "position", "within 100000 mm"),
        (read_probe, {"orientation": [0.0] * 4}, "orientation", "unit quaternion, got length 0"),
        (read_clock, {"sec": -1}, "clock.sec", "got -1"),
        (read_clock, {"nanosec": HUGE}, "clock.nanosec", "must be below 1000000000"),
        (
            read_image,
            {"encoding": "rgb8"},
            "encoding",
            "16UC1, 32FC1, got 'rgb8'",
        ),
        (read_image, {"width": 0}, "width", "must be 1 to 8192 pixels, got 0"),
        (read_image, {"height": HUGE}, "height", "got 4294967295"),
        (read_image, {"is_bigendian": 7}, "is_bigendian", "must be 0 or 1, got 7"),
        (read_image, {"step": 2}, "step", "must be at least 3 bytes, got 2"),
        (read_image, {"data": b"12345"}, "data", "must be 2 rows of 3 bytes, got 5"),
        (read_transform, {"timestamp": 2**32 - 1}, "timestamp", "must be below 2147483648 s"),
        (read_transform, {"version": 9}, "version", "must be 1 or 2, got 9"),
        (read_transform, {"spoil": 1}, "crc", "checksum"),
        (read_transform, {"matrix": np.full((4, 4), np.nan)}, "matrix", "finite"),
        (read_transform, {"matrix": 2 * np.eye(4)}, "matrix", "rotation"),
        (read_transform, {"matrix": np.eye(4) + 1e9 * np.eye(4, k=3)}, "matrix", "100000 mm"),
    ],
)
def test_field_outside_its_range_is_refused_by_its_name(read, fields, field, text):
    read()  # it is good without the change
    with pytest.raises(FieldError) as caught:
        read(**fields)
    assert caught.value.reason == field
    assert str(caught.value).startswith(f"{field} must ")
    assert text in str(caught.value)


@pytest.mark.parametrize("stamp", [Time(sec=2**31 - 1, nanosec=10**9 - 1), Time(sec=0, nanosec=0)])
def test_ends_of_the_range_of_a_stamp_are_good(stamp):
    assert stamp_ns(stamp) == stamp.sec * 10**9 + stamp.nanosec


def bag_of(folder, **kinds):
    """A bag that holds one message a topic, as another program may have written it."""
    with BagFile(folder, version=9, storage_plugin=StoragePlugin.MCAP) as bag:
        for topic, (name, message) in kinds.items():
            store = get_typestore(Stores.ROS2_JAZZY)
            bag.write(bag.add_connection(f"/{topic}", name, typestore=store), 5, message)
    return folder


def test_stamps_of_a_bag_have_the_same_range_and_the_bag_is_named(tmp_path):
    pose, image = pose_message(CarmPose(), ORIGIN, 5), image_message(np.zeros((2, 3)), "mono8", 5)
    pose.header.stamp.nanosec, image.header.stamp.sec = HUGE, -1
    bag = bag_of(
        tmp_path / "bag",
        bad=("geometry_msgs/msg/PoseStamped", pose.serialize()),
        good=("geometry_msgs/msg/PoseStamped", pose_message(CarmPose(), ORIGIN, 5).serialize()),
        image=("sensor_msgs/msg/Image", image.serialize()),
    )
    with pytest.raises(InputError, match=rf"{bag}: .*header.stamp.nanosec must be below"):
        read_poses(bag, "/bad", ORIGIN)
    with pytest.raises(InputError, match=rf"{bag}: .*header.stamp.sec must be 0 to"):
        BagImages(bag, "/image", "/good", ORIGIN, (2, 3))


# -- what is counted and logged ----------------------------------------------------------------


def test_refusals_are_counted_by_reason_and_logged_once_a_second_with_their_number(
    caplog, monkeypatch
):
    now_s = [100.0]
    monkeypatch.setattr(refusals.time, "monotonic", lambda: now_s[0])
    found = Refusals("a pose on rt/carm/pose")
    for number in range(1000):
        found.add(FieldError("header.stamp.sec", f"must be 0 to 9, got {-number}"))
        found.add(RefusedError("jump", "too far"))
    assert len(caplog.records) == 2
    now_s[0] += 1.0
    found.add(RefusedError("jump", "too far"))
    assert caplog.messages[2:] == [
        "a pose on rt/carm/pose is refused: too far (and 999 more for this reason)"
    ]
    found.close()
    assert caplog.messages[3:] == [
        "a pose on rt/carm/pose is refused: header.stamp.sec must be 0 to 9, got -999 "
        "(and 998 more for this reason)"
    ]
    assert found.counts() == {"header.stamp.sec": 1000, "jump": 1001}
    assert found.last() == "too far"


def test_text_of_a_stranger_is_one_short_line_of_the_log(caplog):
    Refusals("a control").add(InputError("bad\nWARNING forged line\r\x1b[2J" + "x" * 5000))
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert caplog.messages[0].isprintable()
    assert len(caplog.messages[0]) < 400

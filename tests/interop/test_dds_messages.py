"""Poses and images as messages: units, frames, order, and nothing mirrored."""

import io
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as PillowImage

from fluoro.errors import InputError
from fluoro.geometry.carm import CarmGeometry, CarmPose
from fluoro.geometry.projection import camera_matrices
from fluoro.imaging.frame import to_uint8
from fluoro.interop.dds.image_messages import (
    camera_info_message,
    compressed_message,
    i4h_image,
    image_message,
    image_of,
    video_frame,
)
from fluoro.interop.dds.joints import Joint, joint_pose, joint_values
from fluoro.interop.dds.pose_messages import (
    matrix_message,
    matrix_of,
    pose_message,
    pose_of,
    probe_message,
    probe_pose,
)
from fluoro.interop.dds.ros_geometry import PoseStamped
from fluoro.interop.dds.ros_sensor import Image, JointState
from fluoro.interop.dds.timestamps import header_of, stamp_ns, stamp_of

ISOCENTER = (12.0, -34.0, 56.0)
POSE = CarmPose(lao_deg=-37.0, cra_deg=21.5, roll_deg=8.0, translation_mm=(10.0, -20.0, 30.0))
STAMP_NS = 1_763_677_545_123_456_789
ROUNDING = 1e-9
"""Of double precision over metres, millimetres and a quaternion."""


def assert_same(pose, other):
    ours, theirs = (p.world_from_carm(ISOCENTER) for p in (pose, other))
    np.testing.assert_allclose(ours, theirs, atol=ROUNDING * 1000)


def mirror_shower():
    """An image in which a mirror, a turn or swapped axes shows: a bright left upper corner."""
    image = np.linspace(0, 0.5, 12 * 7, dtype=np.float32).reshape(7, 12)
    image[0, 0] = 1.0
    return image


def test_zero_pose_sits_at_the_isocentre_in_metres_with_the_patients_axes():
    message = pose_message(CarmPose(), ISOCENTER, STAMP_NS)
    p, q = message.pose.position, message.pose.orientation
    assert (p.x, p.y, p.z) == pytest.approx((0.012, -0.034, 0.056))
    assert (q.x, q.y, q.z, q.w) == (0.0, 0.0, 0.0, 1.0)
    assert message.header.frame_id == "patient"


def test_lao_is_a_right_handed_turn_about_z_with_the_scalar_last():
    q = pose_message(CarmPose(lao_deg=90.0), ISOCENTER, 0).pose.orientation
    half = math.sqrt(0.5)
    assert (q.x, q.y, q.z, q.w) == pytest.approx((0, 0, half, half))


def test_cranial_is_a_turn_about_minus_x():
    q = pose_message(CarmPose(cra_deg=60.0), ISOCENTER, 0).pose.orientation
    assert (q.x, q.y, q.z, q.w) == pytest.approx((-0.5, 0, 0, math.sqrt(0.75)))


def test_pose_comes_back_through_ros_2s_bytes():
    message = PoseStamped.deserialize(pose_message(POSE, ISOCENTER, STAMP_NS).serialize())
    assert_same(pose_of(message, ISOCENTER), POSE)
    assert stamp_ns(message.header.stamp) == STAMP_NS


@pytest.mark.parametrize("unit", ["m", "mm"])
@pytest.mark.parametrize("orientation", ["xyzw", "wxyz", "rpy_rad", "rpy_deg"])
def test_pose_comes_back_in_each_unit_and_order_of_i4h(unit, orientation):
    message = probe_message(POSE, ISOCENTER, unit=unit, orientation=orientation)
    assert_same(probe_pose(message, ISOCENTER, unit=unit, orientation=orientation), POSE)


def test_units_and_orders_of_i4h_differ_on_the_wire():
    metres = probe_message(POSE, ISOCENTER)
    millimetres = probe_message(POSE, ISOCENTER, unit="mm", orientation="wxyz")
    np.testing.assert_allclose(np.array(metres.position) * 1000, millimetres.position)
    x, y, z, w = metres.orientation
    assert millimetres.orientation == [w, x, y, z]
    assert millimetres.position == pytest.approx([22.0, -54.0, 86.0])


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda m: setattr(m.header, "frame_id", "map"), "frame_id must be patient, got 'map'"),
        (lambda m: setattr(m.pose.position, "x", math.nan), "position must be 3 finite numbers"),
        (lambda m: setattr(m.pose.position, "x", math.inf), "position must be 3 finite numbers"),
        (lambda m: setattr(m.pose.position, "x", 1e6), "position must be within 100000 mm"),
        (lambda m: setattr(m.pose.orientation, "w", math.nan), "orientation must be 4 finite"),
        (lambda m: setattr(m.pose.orientation, "w", 5.0), "must be a unit quaternion"),
    ],
)
def test_pose_that_is_none_is_refused_in_one_line(change, expected):
    message = pose_message(POSE, ISOCENTER, STAMP_NS)
    change(message)
    with pytest.raises(InputError, match=expected):
        pose_of(message, ISOCENTER)


def test_orientation_of_absurd_size_is_refused():
    message = probe_message(POSE, ISOCENTER, orientation="rpy_rad")
    message.orientation[1] = 1e300
    with pytest.raises(InputError, match="orientation must be within"):
        probe_pose(message, ISOCENTER, orientation="rpy_rad")


CHAIN = [
    Joint(name="slide", kind="prismatic", axis=(0, 0, 1)),
    Joint(name="lao", kind="revolute", axis=(0, 0, 1)),
    Joint(name="cra", kind="revolute", axis=(-1, 0, 0), zero=0.1),
]


def joints(**values):
    names, positions = list(values), list(values.values())
    header = header_of(0, "")
    return JointState(header=header, name=names, position=positions, velocity=[], effort=[])


def test_chain_of_joints_gives_the_pose_whatever_their_order_in_the_message():
    message = joints(cra=0.1 + math.radians(20), unknown=7.0, lao=math.radians(30), slide=0.04)
    pose = joint_pose(CHAIN, joint_values(message), ISOCENTER)
    assert_same(pose, CarmPose(lao_deg=30, cra_deg=20, translation_mm=(0, 0, 40)))


def test_joint_off_the_axis_swings_what_it_carries():
    arm = [
        Joint(name="lao", kind="revolute", axis=(0, 0, 2)),
        Joint(name="slide", kind="prismatic", axis=(1, 0, 0), offset_mm=(100, 0, 0)),
    ]
    pose = joint_pose(arm, {"lao": math.pi / 2, "slide": 0.05}, ISOCENTER)
    assert_same(pose, CarmPose(lao_deg=90, translation_mm=(0, 150, 0)))


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (joints(lao=0.0), "must hold 'slide'"),
        (joints(lao=math.nan), "finite positions"),
        (joints(lao=1e300), "finite positions within 1000"),
        (JointState(header_of(0, ""), ["a"], [], [], []), "one position each"),
        (JointState(header_of(0, ""), ["a", "a"], [0.0, 0.0], [], []), "named once"),
    ],
)
def test_joints_that_are_no_pose_are_refused(message, expected):
    with pytest.raises(InputError, match=expected):
        joint_pose(CHAIN, joint_values(message), ISOCENTER)


@pytest.mark.parametrize(
    ("encoding", "step"),
    [("mono8", 0.5 / 255), ("8UC1", 0.5 / 255), ("mono16", 1e-5), ("16UC1", 1e-5), ("32FC1", 0)],
)
def test_image_comes_back_unmirrored_in_each_encoding(encoding, step):
    image = mirror_shower()
    message = Image.deserialize(image_message(image, encoding, STAMP_NS).serialize())
    assert (message.width, message.height) == (12, 7)
    assert message.step * message.height == len(message.data)
    np.testing.assert_allclose(image_of(message), image, atol=step)


def test_big_endian_rows_with_padding_are_read():
    pixels = (np.arange(6) * 1000).astype(">u2").reshape(2, 3)
    rows = np.pad(pixels.view(np.uint8).reshape(2, 6), ((0, 0), (0, 2)))
    message = Image(header_of(0, ""), 2, 3, "mono16", 1, 8, rows.tobytes())
    np.testing.assert_allclose(image_of(message) * 65535, pixels, atol=1e-2)


@pytest.mark.parametrize(
    "change",
    [
        {"height": 0},
        {"width": 4_000_000_000, "step": 4_000_000_000},
        {"step": 3},
        {"encoding": "rgb8"},
        {"data": b""},
        {"data": b"x" * 1000},
    ],
)
def test_image_whose_sizes_do_not_fit_is_refused(change):
    message = image_message(mirror_shower(), "mono8", 0)
    for name, value in change.items():
        setattr(message, name, value)
    with pytest.raises(InputError):
        image_of(message)


def test_float_image_with_a_nan_is_refused():
    image = mirror_shower()
    image[3, 3] = np.nan
    with pytest.raises(InputError, match="finite"):
        image_of(image_message(image, "32FC1", 0))


def test_compressed_image_is_the_same_jpeg_for_any_reader():
    image = np.kron(mirror_shower(), np.ones((16, 16), np.float32))
    message = compressed_message(image, 95, STAMP_NS)
    seen = np.asarray(PillowImage.open(io.BytesIO(bytes(message.data))))
    assert np.abs(seen.astype(int) - to_uint8(image)).mean() < 2  # what JPEG at 95 loses
    assert message.format == "jpeg"


def test_holohub_frame_is_grey_in_rgba_row_by_row():
    frame = video_frame(mirror_shower(), 2**32 + 5)
    rgba = np.frombuffer(bytes(frame.data), np.uint8).reshape(frame.height, frame.width, 4)
    np.testing.assert_array_equal(rgba[..., 1], to_uint8(mirror_shower()))
    assert (rgba[..., 3] == 255).all()
    assert frame.frame_num == 5


def test_i4h_image_is_grey_row_by_row_with_its_number():
    frame = i4h_image(mirror_shower(), 17, 2040.0)
    grey = np.frombuffer(bytes(frame.data), np.uint8).reshape(frame.height, frame.width)
    np.testing.assert_array_equal(grey, to_uint8(mirror_shower()))
    assert (frame.frame_num, frame.focal_len) == (17, 2040.0)


def test_camera_info_and_camera_pose_say_where_a_bead_is_seen():
    geometry = CarmGeometry(source_to_detector_mm=1200.0, detector_width_px=300)
    view = geometry.view(POSE, ISOCENTER)
    _, camera_from_world = camera_matrices(view)
    info = camera_info_message(view, STAMP_NS)
    placed = matrix_message(np.linalg.inv(camera_from_world), STAMP_NS, "patient")
    bead = np.array([40.0, -60.0, 90.0, 1.0])
    in_camera = np.linalg.inv(matrix_of(placed, "patient")) @ bead
    uvw = np.array(info.p).reshape(3, 4) @ in_camera
    assert in_camera[2] > 0
    np.testing.assert_allclose(uvw[:2] / uvw[2], view.project(bead[:3], "integer"), atol=1e-6)


def test_camera_info_counts_pixels_from_their_centres_and_mirrors_the_columns():
    geometry = CarmGeometry(detector_width_px=300, detector_height_px=200)
    k = np.array(camera_info_message(geometry.view(CarmPose(), ISOCENTER), 0).k).reshape(3, 3)
    assert (k[0, 2], k[1, 2]) == pytest.approx((149.5, 99.5))
    assert (k[0, 0], k[1, 1]) == pytest.approx((-2040.0, 2040.0))


@given(st.integers(0, 2**31 * 10**9 - 1))
def test_stamps_keep_their_nanoseconds(time_ns):
    stamp = stamp_of(time_ns)
    assert 0 <= stamp.nanosec < 10**9
    assert stamp_ns(stamp) == time_ns

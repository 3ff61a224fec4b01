"""The image as a camera sees it, and the tree of frames: where ROS 2's own formulas put a point."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from fluoro.config import DdsFramesConfig
from fluoro.geometry.carm import CarmGeometry, CarmPose
from fluoro.imaging.frame import FluoroFrame
from fluoro.interop.dds.image_messages import camera_info_message, image_of
from fluoro.interop.dds.pose_messages import CARM_FRAME
from fluoro.interop.frame_publisher import FrameSink
from fluoro.interop.ros_transforms import LINKS, RosTransforms, carm_transforms, static_transforms

ISOCENTER = (12.0, -34.0, 56.0)
POSE = CarmPose(lao_deg=-37.0, cra_deg=21.5, roll_deg=8.0, translation_mm=(10.0, -20.0, 30.0))
GEOMETRY = CarmGeometry(
    detector_width_px=12,
    detector_height_px=7,
    detector_offset_mm=(1.0, -2.0),
    detector_tilt_deg=(3.0, -4.0),
)
VIEW = GEOMETRY.view(POSE, ISOCENTER)
POINT_XYZ_MM = np.array([15.0, -40.0, 100.0])


class Kept:
    """In a participant's place: keeps what is written, by topic."""

    def __init__(self):
        self.samples = {}

    def writer(self, topic, _kind, _qos):
        self.samples[topic] = samples = []
        return type("Writer", (), {"write": staticmethod(lambda s: samples.append(s) or True)})


def make_frame():
    image = np.linspace(0, 0.5, 12 * 7, dtype=np.float32).reshape(7, 12)
    image[0, 0] = 1.0
    return FluoroFrame(
        image=image, number=5, pose=POSE, geometry=GEOMETRY, stamps_ns={}, origin=None
    )


def sent(**config):
    kept = Kept()
    config = DdsFramesConfig(encoding="32FC1", **config)
    FrameSink(kept, config, ISOCENTER, lambda: 777, "FFP").send(make_frame())
    return kept.samples


def matrix_of(message):
    """parent_from_child [m], 4x4, as tf2 makes it."""
    t, q = message.transform.translation, message.transform.rotation
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_quat([q.x, q.y, q.z, q.w]).as_matrix()
    matrix[:3, 3] = t.x, t.y, t.z
    return matrix


def patient_from(frame, messages):
    """Where a frame stands in the patient, through the tree; the tree has one way to each frame."""
    above = {message.child_frame_id: message for message in messages}
    assert len(above) == len(messages)
    matrix = np.eye(4)
    while frame != "patient":
        matrix = matrix_of(above[frame]) @ matrix
        frame = above[frame].header.frame_id
    return matrix


@pytest.fixture(scope="module")
def tree():
    samples = sent(transforms=True)
    return samples["rt/tf_static"][0].transforms + samples["rt/tf"][0].transforms


def test_every_frame_hangs_at_the_patient(tree):
    children = {message.child_frame_id for message in tree}
    assert children == {"table", "carm_detector", "carm_camera", *LINKS}
    for child in children:
        patient_from(child, tree)


def test_carm_stands_where_its_pose_says(tree):
    expected = POSE.world_from_carm(ISOCENTER)
    expected[:3, 3] /= 1000
    np.testing.assert_allclose(patient_from(CARM_FRAME, tree), expected, atol=1e-12)


def test_detector_and_camera_stand_where_the_view_has_them(tree):
    detector, camera = (patient_from(name, tree) for name in ("carm_detector", "carm_camera"))
    np.testing.assert_allclose(camera[:3, 3] * 1000, VIEW.source_xyz_mm, atol=1e-9)
    corner = detector @ [-6 * 0.0005, -3.5 * 0.0005, 0, 1]
    np.testing.assert_allclose(corner[:3] * 1000, VIEW.corner_xyz_mm, atol=1e-9)
    assert (detector[:3, 2] @ (camera[:3, 3] - detector[:3, 3])) > 0
    np.testing.assert_allclose(camera[:3, 1], detector[:3, 1], atol=1e-12)


def test_table_has_the_rooms_axes_of_the_patients_position(tree):
    table = patient_from("table", tree)
    np.testing.assert_allclose(table[:3, 3] * 1000, ISOCENTER)
    np.testing.assert_allclose(table[:3, :3] @ [0, 1, 0], [0, -1, 0], atol=1e-12)  # prone
    np.testing.assert_allclose(table[:3, :3] @ [0, 0, 1], [0, 0, -1], atol=1e-12)  # feet first


def test_all_transforms_of_an_image_have_its_stamp():
    samples = sent(transforms=True)
    stamps = {(m.header.stamp.sec, m.header.stamp.nanosec) for m in samples["rt/tf"][0].transforms}
    assert stamps == {(0, 777)}
    assert samples["rt/fluoro/image_raw"][0].header.stamp.nanosec == 777


def test_camera_projects_a_point_to_its_pixel_as_image_geometry_does(tree):
    samples = sent(camera=True)
    info, image = (samples[f"rt/fluoro/camera/{n}"][0] for n in ("camera_info", "image_raw"))
    point_m = np.append(POINT_XYZ_MM / 1000, 1)
    in_camera = np.linalg.inv(patient_from(info.header.frame_id, tree)) @ point_m
    u, v, w = np.reshape(info.p, (3, 4)) @ in_camera
    column, row = VIEW.project(POINT_XYZ_MM, pixel_centers="integer")
    assert info.k[0] > 0
    assert w > 0
    assert (u / w, v / w) == pytest.approx((11 - column, row), abs=1e-9)
    np.testing.assert_array_equal(image_of(image), make_frame().image[:, ::-1])


def test_radiograph_and_camera_show_the_same_point_mirrored():
    usual, camera = camera_info_message(VIEW, 0), camera_info_message(VIEW.mirrored(), 0)
    assert camera.k[0] == pytest.approx(-usual.k[0])
    assert camera.k[2] == pytest.approx(11 - usual.k[2])
    assert camera.k[3:] == pytest.approx(usual.k[3:])


def test_neither_is_sent_unless_it_is_requested():
    names = {"image_raw", "camera_info", "carm_pose", "camera_pose", "frame_info"}
    assert set(sent()) == {f"rt/fluoro/{name}" for name in names}


@pytest.mark.parametrize("key", ["camera", "transforms"])
def test_other_protocols_have_neither(key):
    with pytest.raises(ValueError, match="has no effect with protocol: holohub"):
        DdsFramesConfig(protocol="holohub", **{key: True})


def test_static_frames_are_written_once_and_kept_for_late_readers():
    kept = Kept()
    transforms = RosTransforms(kept, ISOCENTER, "HFS", 5)
    for _ in range(3):
        transforms.send(POSE, VIEW, 6)
    assert [len(kept.samples[name]) for name in ("rt/tf_static", "rt/tf")] == [1, 3]
    assert len(list(static_transforms(ISOCENTER, "HFS"))) == 2
    assert len(list(carm_transforms(POSE, VIEW, ISOCENTER))) == 8

"""The patient's position turns the room about the patient, never the image."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from fluoro.console.scene_view import SceneModel, body_message, carm_message
from fluoro.errors import InputError
from fluoro.geometry.carm import CarmGeometry, CarmPose
from fluoro.geometry.carm_drawing import carm_scene
from fluoro.geometry.patient_position import ROOM_AXES, room_from_patient, turned_view
from fluoro.geometry.triangles import box
from fluoro.geometry.view_text import angle_label, orientation_letters
from tests.console.test_console import unpacked
from tests.console_support import make_frame

ISOCENTER = (10.0, -20.0, 30.0)
DOWN = {"HFS": "P", "HFP": "A", "FFS": "P", "FFP": "A", "HFDL": "L", "HFDR": "R"}
AXES = {"L": (0, 1), "R": (0, -1), "P": (1, 1), "A": (1, -1)}
SKIN = box(ISOCENTER, list(np.diag([150.0, 100.0, 300.0])))


@pytest.mark.parametrize("position", ROOM_AXES)
def test_the_room_is_a_rotation_with_the_right_side_down_and_end_first(position):
    turn = room_from_patient(position)
    assert np.linalg.det(turn) == pytest.approx(1)
    axis, sign = AXES[DOWN[position]]
    assert turn[1, axis] == sign
    assert turn[2, 2] == (1 if position.startswith("HF") else -1)


def test_a_supine_patient_lies_as_the_world_does():
    assert_allclose(room_from_patient("HFS"), np.eye(3))


def test_an_unknown_position_is_refused():
    with pytest.raises(InputError, match=r"must be one of HFS, HFP, FFS, .*got 'SITTING'"):
        room_from_patient("SITTING")


@pytest.mark.parametrize("position", ROOM_AXES)
def test_lao_30_sees_the_same_patient_and_a_prone_one_from_below(position):
    """The detector stands left and in front of the patient; prone, that is under the table."""
    pose = CarmPose(lao_deg=30, cra_deg=10)
    view = CarmGeometry().view(pose, ISOCENTER)
    turn = room_from_patient(position)
    in_room = turned_view(view, turn)
    assert orientation_letters(view) == ("RA", "LP", "H", "F")
    assert angle_label(pose) == "LAO 30 / CRA 10"
    toward_detector = in_room.pixel_centers_xyz_mm().mean(axis=(0, 1)) - in_room.source_xyz_mm
    expected = turn @ [np.sin(np.pi / 6), -np.cos(np.pi / 6), np.tan(np.radians(10))]
    assert_allclose(
        toward_detector / np.linalg.norm(toward_detector), expected / np.linalg.norm(expected),
        atol=1e-9,
    )  # fmt: skip
    if position in ("HFP", "FFP"):
        assert toward_detector[1] > 0
    if position == "HFS":
        assert toward_detector[1] < 0


@pytest.mark.parametrize("position", ROOM_AXES)
def test_the_table_lies_under_the_patient_and_the_arc_at_its_head_end(position):
    model = SceneModel(isocenter_xyz_mm=ISOCENTER, skin=SKIN, bone=None, patient_position=position)
    _, body = unpacked(body_message(model))
    skin = np.frombuffer(body, "<f4")[: 3 * len(SKIN.vertices_xyz_mm)].reshape(-1, 3)
    half = {"P": 100, "A": 100, "L": 150, "R": 150}[DOWN[position]]
    assert skin[:, 1].max() == pytest.approx(half, abs=1e-3)
    assert model.table_top_y_mm == pytest.approx(
        (room_from_patient(position) @ ISOCENTER)[1] + half, abs=1e-3
    )
    isocenter = room_from_patient(position) @ ISOCENTER
    view = turned_view(CarmGeometry().view(CarmPose(), ISOCENTER), room_from_patient(position))
    scene = carm_scene(view, isocenter.tolist(), table_top_y_mm=model.table_top_y_mm)
    assert scene.table.vertices_xyz_mm[:, 1].min() == pytest.approx(model.table_top_y_mm, abs=0.01)
    assert scene.arc_xyz_mm[:, 2].max() > isocenter[2] + 300


def test_a_shift_towards_the_patients_head_moves_a_feet_first_patient_the_other_way():
    pose = CarmPose(translation_mm=(0.0, 0.0, 50.0))
    for position, sign in (("HFS", -1), ("FFS", 1)):
        model = SceneModel(isocenter_xyz_mm=ISOCENTER, patient_position=position)
        fields, _ = unpacked(carm_message(model, make_frame(pose=pose)))
        assert_allclose(fields["patient_offset_mm"], (0, 0, sign * 50), atol=1e-9)

"""The drawn C-arm: where its parts are, and how they move with the pose."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from fluoro.geometry.carm import CarmGeometry, CarmPose
from fluoro.geometry.carm_drawing import CarmScene, carm_scene
from fluoro.geometry.projection import project_points
from fluoro.geometry.triangles import Surface

ISOCENTER = (10.0, -20.0, 30.0)
GEOMETRY = CarmGeometry(detector_width_px=300, detector_height_px=200)
POSES = [
    CarmPose(),
    CarmPose(lao_deg=40, cra_deg=-20),
    CarmPose(lao_deg=-90),
    CarmPose(lao_deg=15, cra_deg=25, roll_deg=30, translation_mm=(5, 6, -70)),
    CarmPose(cra_deg=90),
]


def scene_at(pose: CarmPose) -> CarmScene:
    return carm_scene(GEOMETRY.view(pose, ISOCENTER), ISOCENTER)


def enclosed_mm3(surface: Surface) -> float:
    a, b, c = surface.vertices_xyz_mm.astype(float)[surface.faces].transpose(1, 0, 2)
    return float(np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6)


def moved(points: NDArray[np.floating], pose: CarmPose) -> NDArray[np.float64]:
    """Points of the zero pose, taken along by the C-arm."""
    world_from_world = pose.world_from_carm(ISOCENTER) @ np.linalg.inv(
        CarmPose().world_from_carm(ISOCENTER)
    )
    return np.asarray(points @ world_from_world[:3, :3].T + world_from_world[:3, 3])


@pytest.mark.parametrize("pose", POSES)
def test_detector_corners_are_the_images_corners(pose: CarmPose) -> None:
    view, scene = GEOMETRY.view(pose, ISOCENTER), scene_at(pose)
    pixels = project_points(view.pixel_from_world, scene.detector_corners_xyz_mm)
    np.testing.assert_allclose(pixels, [(0, 0), (300, 0), (300, 200), (0, 200)], atol=1e-9)
    np.testing.assert_allclose(scene.beam_edges_xyz_mm[:, 1], scene.detector_corners_xyz_mm)
    np.testing.assert_allclose(scene.beam_edges_xyz_mm[:, 0] - view.source_xyz_mm, 0)


@pytest.mark.parametrize("pose", POSES)
def test_solids_are_turned_outward_and_hold_what_they_house(pose: CarmPose) -> None:
    scene = scene_at(pose)
    width, height, depth = 150 + 60, 100 + 60, 70
    assert enclosed_mm3(scene.detector) == pytest.approx(width * height * depth, rel=1e-3)
    for solid in (scene.tube, scene.arc, scene.table):
        assert enclosed_mm3(solid) > 1e6
    middle = scene.tube.vertices_xyz_mm.mean(axis=0)
    assert np.linalg.norm(middle - scene.source_xyz_mm) == pytest.approx(80, abs=1e-2)


@pytest.mark.parametrize("pose", POSES)
def test_everything_but_the_table_moves_rigidly_with_the_carm(pose: CarmPose) -> None:
    zero, scene = scene_at(CarmPose()), scene_at(pose)
    for name in ("source_xyz_mm", "detector_corners_xyz_mm"):
        np.testing.assert_allclose(
            getattr(scene, name), moved(getattr(zero, name), pose), atol=1e-6
        )
    detector = moved(zero.detector.vertices_xyz_mm, pose)
    np.testing.assert_allclose(scene.detector.vertices_xyz_mm, detector, atol=1e-3)
    without_roll = CarmPose(
        lao_deg=pose.lao_deg, cra_deg=pose.cra_deg, translation_mm=pose.translation_mm
    )
    np.testing.assert_allclose(scene.arc_xyz_mm, moved(zero.arc_xyz_mm, without_roll), atol=1e-6)
    np.testing.assert_allclose(scene.table.vertices_xyz_mm, zero.table.vertices_xyz_mm)


def test_arc_goes_round_the_head_from_the_tube_to_the_detector() -> None:
    arc = scene_at(CarmPose()).arc_xyz_mm - np.asarray(ISOCENTER)
    np.testing.assert_allclose(arc[:, 0], 0, atol=1e-9)
    assert arc[0, 1] > 510, "behind the focal spot, which is posterior"
    assert arc[-1, 1] < -510, "behind the detector, which is anterior"
    assert arc[len(arc) // 2, 2] > 500, "cranial"


def test_table_lies_under_the_patient_where_configured() -> None:
    view = GEOMETRY.view(CarmPose(translation_mm=(100, 100, 100)), ISOCENTER)
    table = carm_scene(view, ISOCENTER, table_top_y_mm=111.0).table.vertices_xyz_mm
    assert table[:, 1].min() == pytest.approx(111)
    assert table[:, 0].mean() == pytest.approx(ISOCENTER[0], abs=1e-3)
    assert scene_at(CarmPose()).table.vertices_xyz_mm[:, 1].min() == pytest.approx(-20 + 130)

"""Solids in a patient who moves: each is seen as a whole where the tissue around it has gone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fluoro.config import Config
from fluoro.physics.materials import material
from fluoro.physics.tissues import tissue_map
from fluoro.rendering.contrast_renderer import ContrastRenderer
from fluoro.rendering.devices.cpu.device import CpuDevice
from fluoro.rendering.material_renderer import MaterialRenderer
from fluoro.rendering.patient_reference import patient_reference
from fluoro.rendering.patient_renderer import make_patient
from fluoro.scene.assemble import displaced
from fluoro.scene.ball import BallInclusion
from fluoro.scene.rod import RodInclusion
from fluoro.volume.grid import VolumeGrid
from fluoro.volume.hu_to_mu import mu_from_hu
from fluoro.volume.material_volume import Inclusion, LabelledInclusion, MaterialVolume
from fluoro.volume.phantom.bolus import make_bolus
from fluoro.volume.phantom.thorax import make_thorax
from fluoro.volume.volumes import MuVolume
from tests import volumes

MOVED_MM = np.array([18.0, -15.0, 9.0])
"""Patient LPS, 25 mm, whole voxels of the block: what is seen at x lies at x + this at rest."""
NODES = VolumeGrid(shape_zyx=(2, 2, 2), spacing_xyz_mm=(200.0,) * 3)
FIELD = np.ascontiguousarray(np.broadcast_to(MOVED_MM.astype(np.float32), (2, 2, 2, 3)))
TURNED = ((0.6, 0.0, 0.8), (0.0, 1.0, 0.0), (-0.8, 0.0, 0.6))
CENTER_MM = volumes.GRID.center_xyz_mm + MOVED_MM / 2
VIEW = volumes.view(volumes.POSES["LAO 37 CRA 21"])
STEP_MM = 0.2
BLOCK = VolumeGrid(
    shape_zyx=(70, 70, 70),
    spacing_xyz_mm=(3.0,) * 3,
    origin_xyz_mm=tuple((volumes.GRID.center_xyz_mm - 103.5).tolist()),
)
"""A block of water of 210 mm."""


@pytest.fixture(scope="module")
def device():
    return CpuDevice()


def ball():
    given = {"kind": "ball", "center_mm": CENTER_MM.tolist(), "diameter_mm": 20.0}
    return BallInclusion(**given, material="titanium").solids()[0]


def rod():
    half = np.array([20.0, 14.0, -9.0])
    ends = {"from_mm": (CENTER_MM - half).tolist(), "to_mm": (CENTER_MM + half).tolist()}
    return RodInclusion(kind="rod", **ends, diameter_mm=9.0, material="titanium").solids()[0]


def turned_grid(count, edge_mm):
    at = VolumeGrid(shape_zyx=(count,) * 3, spacing_xyz_mm=(edge_mm,) * 3, direction=TURNED)
    return replace(at, origin_xyz_mm=tuple((CENTER_MM - at.center_xyz_mm).tolist()))


def box_of_iodine():
    """Full to its faces, which are those of its grid."""
    return Inclusion(
        material=material("iodine"),
        share_zyx=np.ones((16,) * 3, np.float32),
        grid=turned_grid(16, 1.25),
    )


def labels():
    voxels = np.ones((12,) * 3, np.uint8)
    voxels[:, :, 6:] = 2
    materials = (material("steel"), material("pmma"))
    return LabelledInclusion(materials=materials, label_zyx=voxels, grid=turned_grid(12, 1.5))


def placed_elsewhere(solid):
    """Where it is seen: 25 mm further."""
    origin = np.subtract(solid.grid.origin_xyz_mm, MOVED_MM)
    return replace(solid, grid=replace(solid.grid, origin_xyz_mm=tuple(origin.tolist())))


def of(volume, device):
    return MaterialRenderer(volume, device, step_mm=STEP_MM)


def in_water(solid):
    """Where the solid is there is no water."""
    tissues = tissue_map("tissues")
    mu = mu_from_hu(np.zeros(BLOCK.shape_zyx, np.float32), energy_kev=70.0)
    block = MuVolume(mu_zyx=mu, grid=BLOCK)
    volume = displaced(block, [solid])
    return MaterialVolume(volume=volume, tissues=tissues, inclusions=(solid,))


@pytest.mark.parametrize("make", [ball, rod, box_of_iodine, labels])
def test_solid_and_its_hole_are_seen_where_they_would_lie_moved(device, make):
    solid = make()
    placed = placed_elsewhere(solid)
    moved = of(in_water(solid), device).render_moved(VIEW, FIELD, NODES)
    expected = of(in_water(placed), device).render(VIEW)
    tissues, tolerance_mm = len(moved) - len(solid.materials), 1.5 * STEP_MM
    assert expected[tissues:].max() > 9
    assert np.abs(moved - expected).max() < tolerance_mm  # where a face falls between two samples
    rest = of(in_water(solid), device).render(VIEW)
    assert np.abs(rest - expected)[:tissues].max() > 5  # the hole, where it was


def test_a_solid_at_rest_is_seen_as_without_motion(device):
    renderer = of(in_water(rod()), device)
    found = renderer.render_moved(VIEW, np.zeros_like(FIELD), NODES)
    assert np.abs(found - renderer.render(VIEW)).max() < 1e-3


def test_contrast_leaves_the_box_of_its_vessels(device):
    """Patient and C-arm moved by the same give the same image."""
    bolus = make_bolus(patient_config({}).volume.contrast)
    contrast, center = ContrastRenderer(bolus, device), bolus.vessels.grid.center_xyz_mm
    pose = volumes.POSES["frontal"]
    still = contrast.render(volumes.DETECTOR.view(pose, center + MOVED_MM), 1.0).copy()
    moved = contrast.render(volumes.DETECTOR.view(pose, center), 1.0, FIELD, NODES)
    assert np.abs(moved - still).max() < 0.05 * still.max()
    assert moved.sum() == pytest.approx(still.sum(), rel=0.005)


def patient_config(beam, **volume):
    contrast = {"vessels": "aorta", "spacing_mm": 3.0, "spread_s": 0.2, "duration_s": 0.5}
    return Config.model_validate(
        {
            "volume": {"phantom": "thorax", "spacing_mm": 8.0, "contrast": contrast, **volume},
            "pose_source": {"kind": "static"},
            "renderer": {"step_mm": 3.0},
            "image_chain": beam,
        }
    )


@pytest.mark.parametrize("beam", [{}, {"xray": {}}], ids=["one energy", "many energies"])
def test_moving_solids_and_contrast_agree_with_the_reference(device, beam):
    hu = make_thorax(spacing_mm=8.0)
    volume = MuVolume(mu_zyx=mu_from_hu(hu.hu_zyx, energy_kev=70.0), grid=hu.grid)
    given = {"kind": "rod", "material": "steel", "diameter_mm": 30.0}
    oblique = {**given, "from_mm": [40.0, -30.0, -20.0], "to_mm": [90.0, 20.0, 30.0]}
    scene = {"materials": {"inclusions": [oblique]}} if beam else {}
    config = patient_config(beam, motion={"breath_mm": 30.0}, **scene)
    view = volumes.DETECTOR.view(volumes.POSES["LAO 37 CRA 21"], (60.0, 0.0, 0.0))
    found = make_patient(config, volume, device).render(view, 2.1, 1.0)
    expected = patient_reference(config, volume, view, 2.1, 1.0)
    largest = expected.max(axis=(-2, -1), keepdims=True)  # of each material
    assert (np.abs(found - expected) < 2e-4 * largest).all()

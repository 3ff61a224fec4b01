"""The pose of one object from two views: a K-wire in a patient, at a fluoroscopic dose."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fluoro.config import ImageChainConfig
from fluoro.config.scene import ToolInclusion
from fluoro.errors import InputError
from fluoro.geometry.carm import CarmGeometry, CarmPose
from fluoro.imaging.chain import ImageChain
from fluoro.physics.tissues import tissue_map
from fluoro.registration.instrument import InstrumentImage, InstrumentSearch
from fluoro.registration.rigid_motion import motion_about, moved_view
from fluoro.rendering.devices.cpu.device import CpuDevice
from fluoro.rendering.material_renderer import MaterialRenderer
from fluoro.scene.pose_track import pose_matrix
from fluoro.scene.setup import SceneSetup
from fluoro.volume.grid import VolumeGrid
from fluoro.volume.material_volume import MaterialVolume
from fluoro.volume.volumes import MuVolume

GEOMETRY = CarmGeometry(
    source_to_detector_mm=1000.0,
    source_to_isocenter_mm=650.0,
    detector_width_px=640,
    detector_height_px=400,
    pixel_spacing_mm=0.3,
)
CHAIN = ImageChainConfig.model_validate(
    {
        "dose_ngy": 20,
        "xray": {"tube_voltage_kv": 80},
        "window": {"level": 3.0, "width": 8.0},
    }
)
TRUE = pose_matrix((-55.0, 6.0, 4.0), (0, 0, 0), (1.0, 0.15, -0.1))
VIEWS = [GEOMETRY.view(CarmPose(lao_deg=lao), (0.0, 0.0, 0.0)) for lao in (-30, 30)]


def patient(bones=0):
    """A body of 180 mm with a dense block in it, and a number of small bones."""
    grid = VolumeGrid(
        shape_zyx=(30, 45, 60), spacing_xyz_mm=(4.0,) * 3, origin_xyz_mm=(-118.0, -88.0, -58.0)
    )
    mu = np.full(grid.shape_zyx, 0.0193, np.float32)
    mu[8:14, 10:22, 20:36] = 0.028
    for z, y, x in (
        np.random.default_rng(1).uniform((3, 6, 6), (26, 38, 52), (bones, 3)).astype(int)
    ):
        mu[z : z + 3, y : y + 3, x : x + 3] = 0.05
    (wire,) = ToolInclusion(kind="tool", preset="k_wire", name="wire").posed(SceneSetup())
    volume = MaterialVolume(
        volume=MuVolume(mu_zyx=mu, grid=grid),
        tissues=tissue_map("soft_and_bone", 70.0),
        posed=(wire,),
    )
    return MaterialRenderer(volume, CpuDevice(), projector="joseph"), wire


def taken(renderer, wire, pose, views, seed=3, geometry=GEOMETRY):
    wire.track.steer(pose)
    chain = ImageChain(renderer.device, seed, renderer.materials)
    return [
        InstrumentImage(
            image=np.array(
                chain.apply(
                    renderer.render(view), CHAIN, number, geometry.pixel_spacing_mm, geometry
                ),
                np.float32,
            ),
            view=view,
        )
        for number, view in enumerate(views)
    ]


def off(found, true):
    """Distance of the tip [mm] and angle between the axes [deg]."""
    cosine = float(found[:3, 2] @ true[:3, 2])
    return np.linalg.norm(found[:3, 3] - true[:3, 3]), np.degrees(np.arccos(min(cosine, 1.0)))


@pytest.mark.slow
def test_a_k_wire_is_found_from_two_views_60_degrees_apart():
    renderer, wire = patient()
    images = taken(renderer, wire, TRUE, VIEWS)
    start = motion_about([0.01, 0.03, -0.03, 1.0, 1.5, -1.0], (0.0, 0.0, 0.0)) @ TRUE
    assert off(start, TRUE)[0] > 1.5
    found = InstrumentSearch(renderer, wire, CHAIN, GEOMETRY, (8, 4)).find(images, start)
    entry_mm, angle_deg = off(found.matrix, TRUE)
    assert entry_mm < 0.3
    assert angle_deg < 0.3
    assert found.renderings < 300  # with differences 660
    assert found.assessment.converged, found.assessment
    assert not found.assessment.next_step


@pytest.mark.slow
def test_a_search_that_ends_elsewhere_says_so():
    renderer, wire = patient()
    geometry = GEOMETRY.binned(2)
    views = [geometry.view(CarmPose(lao_deg=lao), (0.0, 0.0, 0.0)) for lao in (-30, 30)]
    images = taken(renderer, wire, TRUE, views, geometry=geometry)
    start = motion_about([0.1, 0.2, -0.1, 10.0, 12.0, -10.0], (0.0, 0.0, 0.0)) @ TRUE
    found = InstrumentSearch(renderer, wire, CHAIN, geometry, (8, 4)).find(images, start)
    assert off(found.matrix, TRUE)[0] > 5.0
    assert not found.assessment.converged
    assert "\n" not in found.assessment.reason
    assert found.assessment.next_step.startswith("give a start that is closer")


@pytest.mark.slow
def test_one_view_does_not_tell_the_depth_of_a_k_wire():
    renderer, wire = patient()
    geometry = GEOMETRY.binned(2)
    views = [geometry.view(CarmPose(lao_deg=-30), (0.0, 0.0, 0.0))]
    images = taken(renderer, wire, TRUE, views, geometry=geometry)
    found = InstrumentSearch(renderer, wire, CHAIN, geometry, (4,)).find(images, TRUE)
    assert not found.assessment.converged
    assert found.assessment.cause == "uncertain"
    assert found.assessment.next_step.startswith("take a second view")


def test_default_levels_are_those_that_fit_the_detector():
    renderer, wire = patient()
    for size, levels in (
        ((640, 400), (32, 16, 8, 4, 2)),
        ((96, 72), (16, 8, 4, 2)),
        ((7, 9), (1,)),
    ):
        geometry = replace(GEOMETRY, detector_width_px=size[0], detector_height_px=size[1])
        assert InstrumentSearch(renderer, wire, CHAIN, geometry).levels == levels


def test_an_object_of_another_scene_and_an_image_of_another_size_are_refused():
    renderer, wire = patient()
    other = patient()[1]
    with pytest.raises(InputError, match="solid must be one of the renderer's, got wire"):
        InstrumentSearch(renderer, other, CHAIN, GEOMETRY)
    search = InstrumentSearch(renderer, wire, CHAIN, GEOMETRY)
    with pytest.raises(InputError, match="got none"):
        search.find([], TRUE)
    small = InstrumentImage(image=np.zeros((3, 4), np.float32), view=VIEWS[0])
    with pytest.raises(InputError, match=r"view's size \(400, 640\), got \(3, 4\)"):
        search.find([small], TRUE)


def test_derivatives_are_differences_where_the_chain_mixes_pixels():
    renderer, wire = patient()
    blurred = CHAIN.model_copy(update={"blur_sigma_mm": 0.3})
    assert InstrumentSearch(renderer, wire, CHAIN, GEOMETRY).exact
    assert not InstrumentSearch(renderer, wire, blurred, GEOMETRY).exact


@pytest.mark.slow
def test_the_c_arm_is_found_together_with_the_object():
    """Both views are off by one motion, which the bones show."""
    renderer, wire = patient(bones=40)
    geometry = GEOMETRY.binned(2)
    views = [geometry.view(CarmPose(lao_deg=lao), (0.0, 0.0, 0.0)) for lao in (-30, 30)]
    wire.track.steer(TRUE)
    chain = ImageChain(renderer.device, 5, renderer.materials)
    images = []
    for number, view in enumerate(views):
        shown = chain.apply(renderer.render(view), CHAIN, number, 0.6, geometry)
        images.append(np.array(shown, np.float32))
    motion = motion_about([0.004, -0.003, 0.004, 0.8, -0.6, 0.7], (0.0, 0.0, 0.0))
    taken_as = [moved_view(view, motion) for view in views]
    start = motion_about([0.01, 0.02, -0.02, 0.7, 0.8, -0.8], (0.0, 0.0, 0.0)) @ TRUE
    found = InstrumentSearch(renderer, wire, CHAIN, geometry, (8, 4)).find(
        [InstrumentImage(image=a, view=b) for a, b in zip(images, taken_as, strict=True)],
        start,
        with_carm=True,
    )
    entry_mm, angle_deg = off(found.matrix, TRUE)
    assert entry_mm < 0.5
    assert angle_deg < 0.5
    np.testing.assert_allclose(found.carm @ motion, np.eye(4), atol=0.5)
    assert np.linalg.norm((found.carm @ motion)[:3, 3]) < 0.6
    assert found.assessment.converged, found.assessment

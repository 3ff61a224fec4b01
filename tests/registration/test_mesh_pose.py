"""The pose of a mesh from two views."""

from __future__ import annotations

import numpy as np
import pytest

from fluoro.config import ImageChainConfig
from fluoro.geometry.carm import CarmGeometry, CarmPose
from fluoro.imaging.chain import ImageChain
from fluoro.physics.materials import material
from fluoro.physics.tissues import tissue_map
from fluoro.registration.instrument import InstrumentImage, InstrumentSearch
from fluoro.registration.rigid_motion import motion_about
from fluoro.rendering.devices.cpu.device import CpuDevice
from fluoro.rendering.material_renderer import MaterialRenderer
from fluoro.scene.outlines import outline
from fluoro.scene.pose_track import PoseTrack, pose_matrix
from fluoro.volume.grid import VolumeGrid
from fluoro.volume.material_volume import MaterialVolume
from fluoro.volume.rigid_solids import MeshSolid
from fluoro.volume.volumes import MuVolume

GEOMETRY = CarmGeometry(
    source_to_detector_mm=1000.0,
    source_to_isocenter_mm=650.0,
    detector_width_px=96,
    detector_height_px=72,
    pixel_spacing_mm=1.2,
)
CHAIN = ImageChainConfig.model_validate(
    {"dose_ngy": 20, "xray": {"tube_voltage_kv": 80}, "window": {"level": 3.0, "width": 8.0}}
)
TRUE = pose_matrix((5.0, -4.0, 3.0), (20, -30, 10), None)
VIEWS = [GEOMETRY.view(CarmPose(lao_deg=lao), (0.0, 0.0, 0.0)) for lao in (-30, 30)]


def bracket():
    """A plate with a foot, in a cube of water."""
    shape = np.zeros((30, 16, 20), np.float32)
    shape[:, 2:5, 4:16] = 1
    shape[2:8, 2:14, 4:16] = 1
    grid = VolumeGrid(
        shape_zyx=shape.shape, spacing_xyz_mm=(1.0, 1.0, 1.0), origin_xyz_mm=(-9.5, -7.5, -14.5)
    )
    solid = MeshSolid(
        "bracket",
        outline(shape, 0.5, grid),
        material("titanium"),
        PoseTrack("bracket", [0.0], [TRUE]),
    )
    water = VolumeGrid(
        shape_zyx=(20, 20, 20), spacing_xyz_mm=(5.0,) * 3, origin_xyz_mm=(-47.5,) * 3
    )
    volume = MaterialVolume(
        volume=MuVolume(mu_zyx=np.full(water.shape_zyx, 0.0193, np.float32), grid=water),
        tissues=tissue_map("soft_and_bone", 70.0),
        posed=(solid,),
    )
    return MaterialRenderer(volume, CpuDevice(2), projector="joseph"), solid


@pytest.mark.slow
def test_a_mesh_is_found_from_two_views():
    renderer, solid = bracket()
    chain = ImageChain(renderer.device, 4, renderer.materials)
    images = [
        InstrumentImage(
            image=np.array(chain.apply(renderer.render(view), CHAIN, n, 1.2, GEOMETRY), np.float32),
            view=view,
        )
        for n, view in enumerate(VIEWS)
    ]
    start = motion_about([0.05, -0.04, 0.06, 1.5, -1.0, 1.5], TRUE[:3, 3]) @ TRUE
    result = InstrumentSearch(renderer, solid, CHAIN, GEOMETRY, (4, 2)).find(images, start)
    assert result.assessment.converged, result.assessment
    found = result.matrix
    turn = found[:3, :3].T @ TRUE[:3, :3]
    assert np.linalg.norm(found[:3, 3] - TRUE[:3, 3]) < 0.1
    assert np.degrees(np.arccos(min((np.trace(turn) - 1) / 2, 1.0))) < 0.3

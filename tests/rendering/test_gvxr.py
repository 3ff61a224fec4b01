"""Paths and transmission of a cube and a ball beside gVirtualXray's.

tools/data/make_gvxr_reference.py made the reference.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fluoro.geometry.carm import CarmGeometry, CarmPose
from fluoro.geometry.triangles import Surface
from fluoro.physics.materials import material
from fluoro.physics.tissues import tissue_map
from fluoro.rendering.devices.cpu.device import CpuDevice
from fluoro.rendering.material_renderer import MaterialRenderer
from fluoro.scene.pose_track import PoseTrack, pose_matrix
from fluoro.volume.grid import VolumeGrid
from fluoro.volume.material_volume import Inclusion, MaterialVolume
from fluoro.volume.rigid_solids import MeshSolid
from fluoro.volume.volumes import MuVolume

REFERENCE = Path(__file__).parents[1] / "data" / "gvxr_reference.npz"
BALL_VOXEL_MM = 0.25


@pytest.fixture(scope="module")
def reference():
    """gVirtualXray's images; it writes them turned by 180 degrees against its own axes."""
    with np.load(REFERENCE) as file:
        found = {name: file[name] for name in file.files}
    for name in ("energy_left", "cube_length_mm", "ball_length_mm"):
        found[name] = found[name][::-1, ::-1].astype(float)
    return found


@pytest.fixture(scope="module")
def thicknesses(reference):
    """Aluminium and titanium [mm] from fluoro's march."""
    return rendered(reference, inclusions=(cube(reference), ball(reference)))


@pytest.fixture(scope="module")
def mesh_lengths(reference):
    """The same from fluoro's meshes; the ball has 20,480 facets."""
    creation = pytest.importorskip("trimesh").creation
    edge, radius = float(reference["cube_mm"]), float(reference["ball_radius_mm"])
    return rendered(
        reference,
        posed=(
            mesh(creation.box((edge,) * 3), "aluminium", reference["cube_at_mm"]),
            mesh(creation.icosphere(5, radius), "titanium", reference["ball_at_mm"]),
        ),
    )


def rendered(reference, **solids):
    """Thicknesses [mm] of what is in an empty volume."""
    count, pitch_mm = len(reference["energy_left"]), float(reference["pixel_spacing_mm"])
    carm = CarmGeometry(
        source_to_detector_mm=700.0,
        source_to_isocenter_mm=500.0,
        detector_width_px=count,
        detector_height_px=count,
        pixel_spacing_mm=pitch_mm,
    )
    air = MuVolume(
        mu_zyx=np.zeros((2, 2, 2), np.float32),
        grid=VolumeGrid(shape_zyx=(2, 2, 2), spacing_xyz_mm=(1.0, 1.0, 1.0)),
    )
    scene = MaterialVolume(
        volume=air,
        tissues=tissue_map("soft_and_bone"),
        **solids,
    )
    view = carm.view(CarmPose(), (0.0, 0.0, 0.0))
    return MaterialRenderer(scene, CpuDevice()).render(view)[3:].astype(float)


def cube(reference):
    """Voxels whose faces are the cube's."""
    edge = float(reference["cube_mm"]) / 8
    first = reference["cube_at_mm"] - float(reference["cube_mm"]) / 2 + edge / 2
    grid = VolumeGrid(
        shape_zyx=(8, 8, 8), spacing_xyz_mm=(edge,) * 3, origin_xyz_mm=tuple(map(float, first))
    )
    share = np.ones((8, 8, 8), np.float32)
    return Inclusion(material=material("aluminium"), share_zyx=share, grid=grid)


def ball(reference):
    radius, edge = float(reference["ball_radius_mm"]), BALL_VOXEL_MM
    count = int(2 * radius / edge) + 4
    at = (np.arange(count) - (count - 1) / 2) * edge
    away = np.sqrt(at[:, None, None] ** 2 + at[:, None] ** 2 + at**2)
    grid = VolumeGrid(
        shape_zyx=(count,) * 3,
        spacing_xyz_mm=(edge,) * 3,
        origin_xyz_mm=tuple(float(value) + at[0] for value in reference["ball_at_mm"]),
    )
    share = np.clip((radius - away) / edge + 0.5, 0, 1).astype(np.float32)
    return Inclusion(material=material("titanium"), share_zyx=share, grid=grid)


def mesh(found, made_of, at_mm):
    surface = Surface(
        vertices_xyz_mm=found.vertices.astype(np.float32), faces=found.faces.astype(np.int32)
    )
    poses = [pose_matrix(at_mm, (0, 0, 0), None)]
    return MeshSolid(made_of, surface, material(made_of), PoseTrack(made_of, [0.0], poses))


def inside(length_mm, margin_mm=1.0):
    """Pixels well within a body, where the edge's pixel does not decide."""
    return length_mm > margin_mm


def test_paths_through_the_cube_are_its_meshs(reference, thicknesses):
    expected, found = reference["cube_length_mm"], thicknesses[0]
    assert inside(expected).sum() > 200
    off = np.abs(found - expected)[inside(expected)]
    assert np.percentile(off, 90) < 1e-4
    assert off.max() < 0.3  # a ray along an edge
    assert np.abs(found - expected).mean() < 0.003


@pytest.mark.parametrize(
    ("number", "name", "limit_mm"),
    [(0, "cube_length_mm", 1e-4), (1, "ball_length_mm", 0.01)],  # the ball's: its facets' sagitta
)
def test_paths_through_meshes_are_theirs(reference, mesh_lengths, number, name, limit_mm):
    expected = reference[name]
    off = np.abs(mesh_lengths[number] - expected)
    deep = inside(expected, 6.0)
    assert deep.sum() > 60
    assert np.percentile(off[deep], 90) < limit_mm
    assert off.mean() < 3e-3


def test_paths_through_the_ball_are_its_meshs(reference, thicknesses):
    """Voxels of a quarter of a millimetre; the mesh has 600 x 600 facets."""
    expected, found = reference["ball_length_mm"], thicknesses[1]
    deep = inside(expected, 6.0)
    assert deep.sum() > 60
    assert np.abs(found - expected)[deep].max() < 0.1
    assert np.abs(found - expected).mean() < 0.01


def test_transmission_of_a_spectrum_is_theirs(reference, thicknesses):
    """Energy behind both bodies relative to the open beam; their attenuation is xraylib's."""
    energies, photons = reference["energies_kev"], reference["photons"]
    weight = photons * energies / (photons @ energies)
    metals = [material("aluminium"), material("titanium")]
    mu = np.stack([each.mu_per_mm(energies) for each in metals], axis=1)
    found = np.tensordot(weight, np.exp(-np.tensordot(mu, thicknesses, 1)), 1)
    expected = reference["energy_left"]
    paths = reference["cube_length_mm"], reference["ball_length_mm"]
    deep = inside(paths[0], 6.0) | inside(paths[1], 6.0)
    off = np.abs(np.log(found / expected)[deep])
    assert np.median(off) < 1e-3
    assert off.max() < 0.02

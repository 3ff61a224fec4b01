"""Derivatives with respect to poses of solids, points of wires, and view, against differences."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from fluoro.errors import InputError
from fluoro.geometry.carm import CarmGeometry, CarmPose
from fluoro.geometry.triangles import Surface
from fluoro.geometry.view_derivatives import rigid_motions
from fluoro.physics.materials import material
from fluoro.physics.tissues import tissue_map
from fluoro.registration.rigid_motion import motion_about, moved_view
from fluoro.rendering.devices.cpu.device import CpuDevice
from fluoro.rendering.material_renderer import MaterialRenderer
from fluoro.rendering.parts.slopes import SolidMotion
from fluoro.volume.grid import VolumeGrid
from fluoro.volume.material_volume import MaterialVolume
from fluoro.volume.posed_solid import Tubes, TubeSolid
from fluoro.volume.rigid_solids import MeshSolid, SampledSolid
from fluoro.volume.volumes import MuVolume

GRID = VolumeGrid(
    shape_zyx=(14, 15, 16), spacing_xyz_mm=(6.0,) * 3, origin_xyz_mm=(-45.0, -42.0, -39.0)
)
CARM = CarmGeometry(detector_width_px=19, detector_height_px=14, pixel_spacing_mm=2.6)
VIEW = CARM.view(CarmPose(lao_deg=23, cra_deg=17, roll_deg=8), (0.0, 0.0, 0.0))
CENTER = np.array([3.0, -2.0, 1.0])
STEP = 2e-2
"""Of central differences [mm], or of a turn at a lever of 10 mm."""
SCALE = np.array([0.1] * 3 + [1.0] * 3)
"""A turn of a unit is one of 0.1 rad: units of all parameters are alike."""
WIRE = np.array([(-14.0, 0, 3), (2, 1, 1), (12, 3, -8)])


class Bendable(TubeSolid):
    """A wire whose points may be set."""

    def __init__(self, points, radii_mm, materials, **given):
        self.name, self.materials, self.points = "wire", tuple(map(material, materials)), points
        self.radii_mm = radii_mm
        self.displaces, self.priority = given.get("displaces", True), given.get("priority", 0)

    def ends(self):
        return np.stack([self.points[:-1], self.points[1:]], axis=1)

    def tubes(self, time_s):
        shape = (len(self.points) - 1, 1)
        return Tubes(
            ends_xyz_mm=self.ends(),
            radii_mm=np.tile(self.radii_mm, shape),
            materials=np.tile(np.arange(len(self.radii_mm)), shape),
        )

    def put(self, motion):
        self.points = self.points @ motion[:3, :3].T + motion[:3, 3]


class Turnable:
    """A pose that may be set."""

    def __init__(self, matrix):
        self.matrix = matrix

    def at(self, time_s):
        return self.matrix


def put(solid, motion):
    if isinstance(solid, Bendable):
        solid.put(motion)
    else:
        solid.track.matrix = motion @ solid.track.matrix


def sphere(radius_mm):
    creation = pytest.importorskip("trimesh").creation
    mesh = creation.icosphere(2, radius_mm)
    return Surface(
        vertices_xyz_mm=mesh.vertices.astype(np.float32), faces=mesh.faces.astype(np.int32)
    )


def uneven():
    """Attenuation that changes from place to place, within the ramps of the tissues."""
    z, y, x = np.meshgrid(*(np.arange(n) for n in GRID.shape_zyx), indexing="ij")
    mu = 0.024 + 0.004 * np.sin(x / 3 + 0.3) * np.cos(y / 4) * np.sin(z / 5 + 0.2)
    return MuVolume(mu_zyx=mu.astype(np.float32), grid=GRID)


def pose():
    return motion_about([0.4, -0.2, 0.5, 1.0, 2.0, -3.0], np.zeros(3))


def wire_in_wire():
    inner = Bendable(WIRE, (1.6,), ["steel"], priority=1)
    return [Bendable(WIRE + 1.0, (4.0, 2.5), ["titanium", "blood"]), inner]


def mesh():
    return [MeshSolid("ball", sphere(11.0), material("titanium"), Turnable(pose()))]


def part_of_a_ct():
    dense = uneven()
    dense = MuVolume(mu_zyx=dense.mu_zyx + np.float32(0.012), grid=GRID)
    part = SampledSolid("part", sphere(11.0), dense, tissue_map("tissues"), Turnable(pose()))
    return [part, Bendable(WIRE, (3.0,), ["steel"], priority=1)]


def scene(solids, device):
    volume = MaterialVolume(volume=uneven(), tissues=tissue_map("tissues"), posed=tuple(solids))
    renderer = MaterialRenderer(volume, device, projector="march", step_mm=1.0)
    shape = (len(renderer.materials), VIEW.height_px, VIEW.width_px)
    return renderer, np.random.default_rng(2).uniform(0.5, 1.5, shape)


@pytest.fixture(scope="module")
def device():
    return CpuDevice(1)


def worth(renderer, weights, view=VIEW):
    return (weights * renderer.render(view)).sum(axis=0, dtype=float)


def require_slopes(found, at, share=0.01):
    """Compare with central differences where those to both sides agree: no kink lies between."""
    ahead, here, back = (at(step) for step in (STEP, 0.0, -STEP))
    slope, largest = (ahead - back) / (2 * STEP), np.abs(ahead - back).max() / (2 * STEP)
    smooth = np.abs(ahead - 2 * here + back) / STEP < 0.02 * largest
    assert largest > 0.3
    assert smooth.mean() > 0.75
    np.testing.assert_allclose(found[smooth], slope[smooth], rtol=0.01, atol=share * largest)


@pytest.mark.parametrize("make", [wire_in_wire, mesh, part_of_a_ct])
def test_derivatives_with_respect_to_the_pose_of_a_solid_and_the_view(device, make):
    solids = make()
    renderer, weights = scene(solids, device)
    motions = np.zeros((12, 4, 3))
    motions[6:] = SCALE[:, None, None] * rigid_motions(VIEW, CENTER)
    twists = np.concatenate([np.diag(SCALE), np.zeros((6, 6))])
    for number in range(len(solids)):
        moved = SolidMotion(solid=solids[number], twists=twists, center_xyz_mm=CENTER)
        total, jacobian = renderer.render_derivatives(VIEW, motions, weights, moved=[moved])
        np.testing.assert_allclose(total, worth(renderer, weights), rtol=1e-4)
        for k in (1, 2, 5, 7, 11):

            def at(step, k=k, solid=solids[number]):
                motion = motion_about(step * SCALE * np.eye(6)[k % 6], CENTER)
                if k >= 6:
                    return worth(renderer, weights, moved_view(VIEW, motion))
                put(solid, motion)
                found = worth(renderer, weights)
                put(solid, np.linalg.inv(motion))
                return found

            require_slopes(jacobian[k], at)


@pytest.mark.parametrize(("radius_mm", "share"), [(4.0, 0.01), (0.8, 0.03)], ids=["thick", "thin"])
def test_derivatives_with_respect_to_the_points_of_a_wire(device, radius_mm, share):
    """A thin wire's is that with the width held that it is averaged over."""
    (wire,) = solids = [Bendable(WIRE, (radius_mm,), ["steel"])]
    renderer, weights = scene(solids, device)
    directions = np.random.default_rng(5).normal(size=(4, *WIRE.shape))
    ends = np.stack([directions[:, :-1], directions[:, 1:]], axis=2)
    moved = SolidMotion(solid=wire, ends_xyz_mm=ends)
    _, jacobian = renderer.render_derivatives(VIEW, np.zeros((4, 4, 3)), weights, moved=[moved])
    for found, direction in zip(jacobian, directions, strict=True):

        def at(step, direction=direction):
            wire.points = WIRE + step * direction
            value = worth(renderer, weights)
            wire.points = WIRE
            return value

        require_slopes(found, at, share)


def test_impossible_motions_are_refused(device):
    (wire,) = solids = [Bendable(WIRE, (4.0,), ["steel"])]
    renderer, weights = scene(solids, device)
    still = np.zeros((2, 4, 3))
    stranger = SimpleNamespace(name="stranger")
    for given, line in (
        ({"solid": stranger}, "solid must be one of the renderer's, got stranger"),
        ({"solid": wire, "twists": np.zeros((2, 5))}, r"twists must be .* \(2, 6\), got \(2, 5\)"),
        ({"solid": wire, "ends_xyz_mm": np.zeros((1, 2, 2, 3))}, r"ends_xyz_mm must be"),
    ):
        with pytest.raises(InputError, match=line):
            renderer.render_derivatives(VIEW, still, weights, moved=[SolidMotion(**given)])


def test_other_devices_agree_with_the_cpu(device, other):
    solids = wire_in_wire()
    moved = SolidMotion(solid=solids[0], twists=np.diag(SCALE), center_xyz_mm=CENTER)
    found = []
    for each in (device, other):
        renderer, weights = scene(solids, each)
        still = np.zeros((6, 4, 3))
        found.append(
            each.to_host(renderer.render_derivatives(VIEW, still, weights, moved=[moved])[1])
        )
    np.testing.assert_allclose(found[1], found[0], atol=1e-3 * np.abs(found[0]).max())

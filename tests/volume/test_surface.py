"""Skin and bone as triangles: in the right place, closed, turned outward, within bounds."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from fluoro.errors import InputError
from fluoro.geometry.triangles import Surface, box, subdivided
from fluoro.volume.grid import IDENTITY_DIRECTION, VolumeGrid
from fluoro.volume.patient_surface import body_surface, bone_surface, skin_surface
from fluoro.volume.volumes import MuVolume

WATER = 0.02
DIRECTIONS = {
    "LPS": IDENTITY_DIRECTION,
    "RAS": ((-1.0, 0.0, 0.0), (0.0, -1.0, 0.0), (0.0, 0.0, 1.0)),
    "reflected": ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, -1.0)),
    "sagittal": ((0.0, 0.0, 1.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0)),
}


def make_volume(
    mu_zyx: NDArray[np.float32],
    spacing: tuple[float, float, float] = (1.0, 1.2, 1.5),
    direction: str = "LPS",
) -> MuVolume:
    grid = VolumeGrid(
        shape_zyx=mu_zyx.shape,
        spacing_xyz_mm=spacing,
        origin_xyz_mm=(50.0, -60.0, 70.0),
        direction=DIRECTIONS[direction],
    )
    return MuVolume(mu_zyx=np.ascontiguousarray(mu_zyx, np.float32), grid=grid)


def distances_mm(volume: MuVolume, center_xyz_mm: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distance of every voxel's centre from a point, shape (z, y, x)."""
    index = np.stack(np.meshgrid(*map(np.arange, volume.grid.shape_zyx), indexing="ij")[::-1], -1)
    matrix = volume.grid.world_from_index
    return np.linalg.norm(index @ matrix[:3, :3].T + matrix[:3, 3] - center_xyz_mm, axis=-1)


def ball(direction: str = "LPS", offset: float = 8.0) -> tuple[MuVolume, NDArray[np.float64]]:
    """A ball of water, radius 18 mm, and its centre."""
    empty = make_volume(np.zeros((44, 50, 60), np.float32), direction=direction)
    center = empty.grid.center_xyz_mm + [offset, 0, 0] * np.ones(3)
    soft_edge = np.clip(18.5 - distances_mm(empty, center), 0, 1)
    return make_volume((WATER * soft_edge).astype(np.float32), direction=direction), center


def enclosed_mm3(surface: Surface) -> float:
    """Volume inside; positive where the triangles are turned outward."""
    a, b, c = surface.vertices_xyz_mm.astype(float)[surface.faces].transpose(1, 0, 2)
    return float(np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6)


def is_closed(surface: Surface) -> bool:
    """Whether every edge is shared by two triangles that run along it in opposite directions."""
    edges = Counter((int(f[i]), int(f[i - 1])) for f in surface.faces for i in range(3))
    return all(edges[(b, a)] == count for (a, b), count in edges.items())


@pytest.mark.parametrize("direction", list(DIRECTIONS))
@pytest.mark.parametrize("max_voxels", [60, 30])
def test_ball_has_its_place_and_size_in_the_patient_at_any_direction(
    direction: str, max_voxels: int
) -> None:
    volume, center = ball(direction)
    surface = body_surface(volume, WATER / 2, max_voxels)
    points = surface.vertices_xyz_mm
    np.testing.assert_allclose((points.min(0) + points.max(0)) / 2, center, atol=0.3)
    np.testing.assert_allclose(np.linalg.norm(points - center, axis=1), 18, atol=0.9)
    assert enclosed_mm3(surface) == pytest.approx(4 / 3 * np.pi * 18**3, rel=0.03)
    assert points.dtype == np.float32
    assert surface.faces.dtype == np.int32
    assert is_closed(surface)


def test_blocks_that_do_not_divide_the_volume_shift_nothing() -> None:
    mu = np.zeros((31, 37, 43), np.float32)
    mu[10:21, 12:25, 16:31] = WATER
    volume = make_volume(mu, (1, 1, 1))
    points = body_surface(volume, WATER / 2, 11).vertices_xyz_mm
    np.testing.assert_allclose(points.min(0) - volume.grid.origin_xyz_mm, [15.5, 11.5, 9.5], atol=2)
    np.testing.assert_allclose(
        points.max(0) - volume.grid.origin_xyz_mm, [30.5, 24.5, 20.5], atol=2
    )


def test_a_body_that_leaves_the_volume_is_capped_within_a_block_of_the_face() -> None:
    volume = make_volume(np.full((10, 10, 10), WATER, np.float32), (2, 2, 2))
    surface = body_surface(volume, WATER / 2, 10)
    assert is_closed(surface)
    assert enclosed_mm3(surface) == pytest.approx(20**3, rel=0.05)


def test_memory_mapped_volume_gives_the_same_surface(tmp_path: Path) -> None:
    volume, _ = ball()
    np.save(tmp_path / "mu.npy", volume.mu_zyx)
    mapped = MuVolume(mu_zyx=np.load(tmp_path / "mu.npy", mmap_mode="r"), grid=volume.grid)
    expected, got = (body_surface(v, WATER / 2, 40) for v in (volume, mapped))
    np.testing.assert_array_equal(got.vertices_xyz_mm, expected.vertices_xyz_mm)


def test_the_number_of_triangles_is_bounded() -> None:
    volume, _ = ball()
    assert 100 < len(body_surface(volume, WATER / 2, 60, max_faces=1500).faces) <= 1500


def test_nothing_above_the_level_gives_no_triangles() -> None:
    volume, _ = ball()
    for surface in (body_surface(volume, 1.0), body_surface(volume, 1.0, envelope=True)):
        assert surface.faces.shape == (0, 3)
        assert surface.vertices_xyz_mm.shape == (0, 3)


def test_skin_leaves_out_lungs_and_couch_and_bone_is_what_is_dense() -> None:
    empty = make_volume(np.zeros((60, 60, 60), np.float32), (2, 2, 2))
    from_middle = distances_mm(empty, empty.grid.center_xyz_mm)
    mu = np.where(from_middle < 45, WATER, 0)
    mu[from_middle < 25] = 0.2 * WATER
    mu[from_middle < 10] = 1.6 * WATER
    mu[:, 52:54] = WATER
    volume = make_volume(mu.astype(np.float32), (2, 2, 2))
    skin, bone = skin_surface(volume, WATER), bone_surface(volume, WATER)
    radii = np.linalg.norm(skin.vertices_xyz_mm - volume.grid.center_xyz_mm, axis=1)
    assert radii.min() > 41, "no inner wall"
    assert radii.max() < 55, "no couch, which reaches 70 mm from the middle"
    assert enclosed_mm3(skin) == pytest.approx(4 / 3 * np.pi * 45**3, rel=0.06)
    assert enclosed_mm3(bone) == pytest.approx(4 / 3 * np.pi * 10**3, rel=0.15)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mu_per_mm": 0.0}, "mu_per_mm must be greater than 0, got 0.0"),
        ({"mu_per_mm": float("nan")}, "mu_per_mm must be greater than 0, got nan"),
        ({"mu_per_mm": 0.1, "max_voxels": 1}, "max_voxels must be at least 2, got 1"),
        ({"mu_per_mm": 0.1, "max_faces": 9}, "max_faces must be at least 100, got 9"),
    ],
)
def test_impossible_arguments_are_named(arguments: dict[str, float], message: str) -> None:
    volume, _ = ball()
    with pytest.raises(InputError, match=message):
        body_surface(volume, **arguments)  # type: ignore[arg-type]


def test_subdividing_keeps_the_solid_and_bounds_its_edges() -> None:
    solid = box((1, 2, 3), ((40, 0, 0), (0, 10, 0), (0, 0, 5)))
    fine = subdivided(solid, 12)
    corners = fine.vertices_xyz_mm[fine.faces]
    assert np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2).max() <= 12
    assert enclosed_mm3(fine) == pytest.approx(enclosed_mm3(solid)) == pytest.approx(16_000)

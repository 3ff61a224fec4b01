"""Cropping and resampling keep what lies where it lies, and how much of it there is."""

import itertools

import numpy as np
import pytest
from scipy import ndimage

from fluoro.errors import InputError
from fluoro.volume.grid import VolumeGrid
from fluoro.volume.resample import Resampling, cropped_grid, index_box

OBLIQUE = ((0.8, -0.6, 0.0), (0.6, 0.8, 0.0), (0.0, 0.0, -1.0))
GRID = VolumeGrid(
    shape_zyx=(24, 30, 36),
    spacing_xyz_mm=(0.7, 0.8, 1.5),
    origin_xyz_mm=(-11.0, 7.0, 40.0),
    direction=OBLIQUE,
)
SPACINGS = {
    "as before": (0.7, 0.8, 1.5),
    "twice": (1.4, 1.6, 3.0),
    "thrice and more": (2.3, 3.1, 5.2),
    "a little coarser": (0.75, 0.85, 1.6),
    "finer": (0.4, 0.5, 0.6),
    "isotropic": (1.0, 1.0, 1.0),
}


def resampled(values, spacing, grid=GRID):
    resampling = Resampling(grid, spacing)
    return np.stack([*resampling.planes(iter(values.astype(np.float32)))]), resampling.grid


def world(grid):
    """Patient coordinates of every voxel centre, (z, y, x, 3)."""
    z, y, x = np.indices(grid.shape_zyx)
    index = np.stack([x, y, z, np.ones_like(x)], axis=-1)
    return (index @ grid.world_from_index.T)[..., :3]


def linear(grid):
    return world(grid) @ [0.3, -0.2, 0.5] + 20


def blob(grid, sigma_mm=3.0):
    square = ((world(grid) - GRID.center_xyz_mm - [2.0, -1.0, 3.0]) ** 2).sum(axis=-1)
    return np.exp(-square / (2 * sigma_mm**2))


def volume_mm3(grid):
    return float(np.prod(grid.spacing_xyz_mm))


@pytest.mark.parametrize("spacing", SPACINGS.values(), ids=SPACINGS)
def test_the_new_box_holds_the_old_one_and_has_its_middle(spacing):
    grid = Resampling(GRID, spacing).grid
    assert grid.spacing_xyz_mm == spacing
    assert grid.direction == GRID.direction
    np.testing.assert_allclose(grid.center_xyz_mm, GRID.center_xyz_mm, atol=1e-9)
    excess = grid.size_xyz_mm - GRID.size_xyz_mm
    assert np.all(excess > -1e-4)
    assert np.all(excess < np.asarray(spacing))


@pytest.mark.parametrize("spacing", SPACINGS.values(), ids=SPACINGS)
def test_a_linear_field_stays_one(spacing):
    """Voxels within 1 old and 1 new voxel of a face see that the field ends."""
    values, grid = resampled(linear(GRID), spacing)
    inner = tuple(
        slice(margin, n - margin)
        for n, new, old in zip(
            grid.shape_zyx, spacing[::-1], GRID.spacing_xyz_mm[::-1], strict=True
        )
        for margin in [int(np.ceil(old / new)) + 1]
    )
    assert values[inner].size > 50
    np.testing.assert_allclose(values[inner], linear(grid)[inner], atol=2e-5)


@pytest.mark.parametrize("spacing", SPACINGS.values(), ids=SPACINGS)
def test_a_bodys_mass_and_centre_stay(spacing):
    values, grid = resampled(blob(GRID), spacing)
    assert values.sum() * volume_mm3(grid) == pytest.approx(
        blob(GRID).sum() * volume_mm3(GRID), rel=2e-3
    )
    before, after = (
        (world(g) * v[..., None]).sum(axis=(0, 1, 2)) / v.sum()
        for g, v in ((GRID, blob(GRID)), (grid, values))
    )
    np.testing.assert_allclose(after, before, atol=0.01)


@pytest.mark.parametrize("spacing", [SPACINGS["twice"], SPACINGS["thrice and more"]])
def test_coarser_voxels_keep_the_sum_of_any_volume(spacing):
    noise = np.random.default_rng(0).random(GRID.shape_zyx)
    values, grid = resampled(noise, spacing)
    assert values.sum() * volume_mm3(grid) == pytest.approx(
        noise.sum() * volume_mm3(GRID), rel=1e-6
    )


def test_the_same_spacing_changes_nothing():
    noise = np.random.default_rng(0).random(GRID.shape_zyx).astype(np.float32)
    values, grid = resampled(noise, GRID.spacing_xyz_mm)
    np.testing.assert_allclose(values, noise, atol=1e-6)
    np.testing.assert_allclose(grid.world_from_index, GRID.world_from_index, atol=1e-9)


def test_finer_voxels_are_the_trilinear_interpolant():
    """SciPy is the reference."""
    noise = np.random.default_rng(1).random(GRID.shape_zyx).astype(np.float32)
    values, grid = resampled(noise, SPACINGS["finer"])
    index = np.concatenate([world(grid), np.ones((*grid.shape_zyx, 1))], axis=-1)
    xyz = (index @ GRID.index_from_world.T)[..., :3]
    oracle = ndimage.map_coordinates(
        noise, np.moveaxis(xyz[..., ::-1], -1, 0), order=1, mode="nearest"
    )
    inner = (slice(1, -1),) * 3  # the outermost voxels reach beyond the old faces
    np.testing.assert_allclose(values[inner], oracle[inner], atol=1e-5)


def test_a_pattern_too_fine_for_the_new_voxels_vanishes():
    """Stripes of one voxel alias to nothing but their mean."""
    stripes = np.broadcast_to(np.arange(36) % 2, GRID.shape_zyx)
    values, _ = resampled(stripes, (2.1, 0.8, 1.5))
    np.testing.assert_allclose(values[2:-2, 2:-2, 2:-2], 0.5, atol=0.12)
    coarse, _ = resampled(stripes, (2.8, 0.8, 1.5))
    np.testing.assert_allclose(coarse[2:-2, 2:-2, 2:-2], 0.5, atol=1e-6)


def test_a_volume_of_one_plane_is_resampled():
    grid = VolumeGrid(shape_zyx=(1, 4, 4), spacing_xyz_mm=(1.0, 1.0, 5.0))
    values, new = resampled(np.ones((1, 4, 4)), (2.0, 2.0, 1.0), grid)
    assert new.shape_zyx == (5, 2, 2)
    np.testing.assert_allclose(values, 1)


def test_a_voxel_larger_than_the_volume_is_refused():
    with pytest.raises(InputError, match=r"^spacing_mm leaves no voxel: 40 mm along y, where "):
        Resampling(GRID, (1.0, 40.0, 1.0))


def test_planes_are_requested_as_they_are_needed_and_to_their_end():
    asked = []

    def planes():
        for z in range(24):
            asked.append(z)
            yield np.zeros((30, 36), np.float32)
        asked.append("end")

    new = Resampling(GRID, SPACINGS["twice"]).planes(planes())
    next(new)
    assert len(asked) <= 4
    assert len([*new]) == 11
    assert asked[-1] == "end"


# -- cropping -------------------------------------------------------------------------------------

STRAIGHT = VolumeGrid(
    shape_zyx=(10, 20, 30), spacing_xyz_mm=(1.0, 2.0, 3.0), origin_xyz_mm=(-15.0, 0.0, 100.0)
)
OPEN = (None, None, None)


def test_a_crop_keeps_the_voxels_whose_centres_lie_inside():
    box = index_box(STRAIGHT, (-10.0, 3.9, None), (-4.5, 8.0, None))
    grid = cropped_grid(STRAIGHT, box)
    assert box == (slice(0, 10), slice(2, 5), slice(5, 11))
    assert grid.shape_zyx == (10, 3, 6)
    assert grid.origin_xyz_mm == (-10, 4, 100)
    centers = world(STRAIGHT)
    inside = np.all((centers >= [-10, 3.9, -1e9]) & (centers <= [-4.5, 8, 1e9]), axis=-1)
    np.testing.assert_allclose(world(grid).reshape(-1, 3), centers[inside])


def test_a_crop_without_ends_keeps_all():
    assert cropped_grid(GRID, index_box(GRID, OPEN, OPEN)) == GRID


def test_a_crop_of_a_tilted_volume_keeps_all_that_lies_inside():
    half = np.array([4.0, 5.0, 6.0])
    low, high = GRID.center_xyz_mm - half, GRID.center_xyz_mm + half
    grid = cropped_grid(GRID, index_box(GRID, low, high))
    kept = {tuple(np.round(point, 6)) for point in world(grid).reshape(-1, 3)}
    inside = np.all((world(GRID) >= low) & (world(GRID) <= high), axis=-1)
    assert {tuple(np.round(point, 6)) for point in world(GRID)[inside]} <= kept
    assert len(kept) < 0.6 * GRID.shape_zyx[0] * GRID.shape_zyx[1] * GRID.shape_zyx[2]


@pytest.mark.parametrize(
    ("low", "high"),
    [
        ((50.0, None, None), OPEN),
        (OPEN, (-16.0, None, None)),
        ((-9.9, None, None), (-9.1, None, None)),
        ((None, 38.5, None), OPEN),
        ((200.0, 200.0, 200.0), (300.0, 300.0, 300.0)),
    ],
)
def test_a_crop_that_leaves_nothing_is_refused_with_what_there_is(low, high):
    with pytest.raises(InputError) as caught:
        index_box(STRAIGHT, low, high)
    assert str(caught.value).startswith("crop_mm holds no voxel, with min [")
    assert str(caught.value).endswith("x -15 to 14, y 0 to 38, z 100 to 127 mm")


@pytest.mark.parametrize("axes", [*itertools.permutations(range(3))])
def test_a_crop_is_in_patient_axes_however_they_are_stored(axes):
    direction = np.eye(3)[:, axes]
    grid = VolumeGrid(
        shape_zyx=(8, 9, 10),
        spacing_xyz_mm=(1.0, 1.0, 1.0),
        direction=tuple(tuple(row) for row in direction.tolist()),
    )
    cropped = cropped_grid(grid, index_box(grid, (2.0, None, None), (4.0, None, None)))
    xs = world(cropped)[..., 0]
    assert (xs.min(), xs.max()) == (2, 4)

"""Rays that pass where the CT ends within the patient do not count."""

from dataclasses import replace

import numpy as np
import pytest

from fluoro.geometry.carm import CarmPose
from fluoro.registration.register import Registrar
from fluoro.registration.rigid_motion import moved_view
from fluoro.registration.search.ct_ends import cut_rays, find_ct_ends, without_cut_rays
from fluoro.rendering.renderer import DrrRenderer
from fluoro.volume.grid import VolumeGrid
from fluoro.volume.volumes import MuVolume
from tests.registration_support import (
    POSE,
    SMALL,
    center,
    counted,
    device,
    displacement,
    error_mm,
    rendered,
    target,
    thorax,
    view_at,
)

WATER_PER_MM = 0.02


def middle(share):
    """The thorax without a share of its slices at each end."""
    whole = thorax()
    grid, out = whole.grid, round(share * whole.grid.shape_zyx[0])
    first = grid.world_from_index @ [0, 0, out, 1]
    shape = (grid.shape_zyx[0] - 2 * out, *grid.shape_zyx[1:])
    shorter = replace(grid, shape_zyx=shape, origin_xyz_mm=tuple(first[:3].tolist()))
    return MuVolume(mu_zyx=whole.mu_zyx[out:-out].copy(), grid=shorter, source=whole.source)


def block(air_below=0):
    """A block of water 120 mm wide, 80 mm deep and 200 mm long in air at its sides, centred at 0.

    Args:
        air_below: Slices of 4 mm of air at the end towards the feet.
    """
    mu = np.zeros((50, 40, 50), np.float32)
    mu[air_below:, 10:30, 10:40] = WATER_PER_MM
    grid = VolumeGrid(
        shape_zyx=mu.shape, spacing_xyz_mm=(4.0, 4.0, 4.0), origin_xyz_mm=(-98.0, -78.0, -98.0)
    )
    return MuVolume(mu_zyx=mu, grid=grid)


def block_view(pose=None):
    """A view of the block, 96 x 96 pixels of 4 mm."""
    return moved_view(view_at(pose or CarmPose()), _to_origin())


def _to_origin():
    motion = np.eye(4)
    motion[:3, 3] = -center()
    return motion


def turned(volume):
    """The same patient in a volume whose x index runs along z and whose z index runs along -x."""
    grid = volume.grid
    nz, ny, nx = grid.shape_zyx
    dx, dy, dz = grid.spacing_xyz_mm
    last = grid.world_from_index @ [nx - 1, 0, 0, 1]
    other = VolumeGrid(
        shape_zyx=(nx, ny, nz),
        spacing_xyz_mm=(dz, dy, dx),
        origin_xyz_mm=tuple(last[:3].tolist()),
        direction=((0.0, 0.0, -1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0)),
    )
    mu = np.ascontiguousarray(volume.mu_zyx.transpose(2, 1, 0)[::-1])
    return MuVolume(mu_zyx=mu, grid=other)


@pytest.mark.parametrize("seed", [3, 5])
def test_image_of_a_longer_patient_is_believed_where_the_ct_is_shorter(seed):
    """Where all rays count the principal point seems to be off: surprises of 19 and 27."""
    displaced = displacement(seed, 12.0)
    registrar = Registrar(middle(0.15), device(), SMALL, center_xyz_mm=center())
    image = counted(rendered(view_at()), seed, 1e5)
    result = registrar.register([target(image)], [moved_view(view_at(), displaced)])
    assert result.converged, result.reason
    assert error_mm(result, displaced) < 0.2


def test_cut_rays_are_those_that_lack_anatomy_and_few_others():
    view, short = view_at(), middle(0.25)
    shown = DrrRenderer(short, device(), projector="march").render(view)
    lacks = np.abs(rendered(view) - shown) > 0.02
    cut = cut_rays(find_ct_ends(short), view)
    assert lacks.mean() > 0.15
    assert cut[lacks].all()
    assert (cut & ~lacks).mean() < 0.05  # a margin of 4 mm, and half a square about the outline


def test_rays_of_a_frontal_view_are_cut_above_and_below_a_block():
    """The front, 40 mm from the isocentre, is crossed last: up to 4 mm from the block's end."""
    view = block_view()
    cut = cut_rays(find_ct_ends(block()), view)
    seen = np.flatnonzero(~cut[:, 48])
    assert seen[0] == len(cut) - 1 - seen[-1]
    sdd_mm, sod_mm = _lengths(view)
    assert (48 - seen[0]) * 4.0 == pytest.approx(96.0 * sdd_mm / (sod_mm + 40.0), abs=8.0)
    assert not cut[:, 0].any()


def _lengths(view):
    """Distances from the source to the detector and to the origin [mm]."""
    far = 0.5 * (view.column_step_xyz_mm * view.width_px + view.row_step_xyz_mm * view.height_px)
    return (
        float(np.linalg.norm(view.corner_xyz_mm + far - view.source_xyz_mm)),
        float(np.linalg.norm(view.source_xyz_mm)),
    )


def test_end_in_air_cuts_no_ray():
    ends = find_ct_ends(block(air_below=1))
    cut = cut_rays(ends, block_view())
    assert len(ends) == 1
    assert cut[:48].any()
    assert not cut[48:].any()


def test_ends_are_those_of_the_patient_whatever_axis_of_the_volume_runs_along_it():
    view = block_view(POSE)
    for volume in (block(), block(air_below=1)):
        straight, other = (cut_rays(find_ct_ends(v), view) for v in (volume, turned(volume)))
        assert straight.any()
        np.testing.assert_array_equal(other, straight)


def test_side_of_a_ct_that_cuts_the_body_is_no_end():
    volume = block(air_below=1)
    volume.mu_zyx[:-1] = WATER_PER_MM
    volume.mu_zyx[[0, -1]] = 0
    assert find_ct_ends(volume) == ()


def test_a_thin_table_at_an_end_is_no_body():
    volume = block()
    volume.mu_zyx[:] = 0
    volume.mu_zyx[:, 35, :] = 0.2 * WATER_PER_MM
    assert find_ct_ends(volume) == ()


def test_all_pixels_count_where_cut_rays_would_leave_less_than_half():
    ends, mask = find_ct_ends(block()), np.ones((96, 96), bool)
    mask[:, ::2] = False
    frontal, along = block_view(), block_view(CarmPose(cra_deg=90))
    left = without_cut_rays(mask, ends, frontal)
    np.testing.assert_array_equal(left, mask & ~cut_rays(ends, frontal))
    assert left.sum() < mask.sum()
    narrow = mask & cut_rays(ends, along)
    np.testing.assert_array_equal(without_cut_rays(narrow, ends, along), narrow)

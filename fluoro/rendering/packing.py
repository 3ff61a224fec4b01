"""Views as the kernels read them: rays in voxel index coordinates, folded in float64, then cast."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fluoro.geometry.projection import View
from fluoro.volume.grid import VolumeGrid

__all__ = [
    "FLOATS_PER_MOTION",
    "FLOATS_PER_VIEW",
    "leading_axes",
    "pack_motions",
    "pack_views",
    "x_never_leads",
]

FLOATS_PER_VIEW = 32
"""View::STRIDE in shaders/rays.slang."""

FLOATS_PER_MOTION = 12
"""Motion::STRIDE in shaders/ray_ends.slang."""


def pack_motions(motions: NDArray[np.float64], grid: VolumeGrid) -> NDArray[np.float32]:
    """Motions in world LPS [mm], shape (..., 4, 3), in index coordinates, shape (..., 12)."""
    turned = np.asarray(motions, float) @ grid.index_from_world[:3, :3].T
    return np.ascontiguousarray(turned.reshape(*turned.shape[:-2], FLOATS_PER_MOTION), np.float32)


def pack_views(views: Sequence[View], grid: VolumeGrid) -> NDArray[np.float32]:
    """Rays of each view in index coordinates of `grid`, shape (N, 32), as `View.load` reads them.

    The first half in single precision, the second what is left of each value beyond it.

    The anchor is the corner ray at the parameter where the central ray passes closest to the
    volume's centre: float32 coordinates there keep about 2e-5 voxels, where the source, a
    thousand voxels away, would leave 1e-4.
    """
    packed = np.zeros((len(views), FLOATS_PER_VIEW), np.float32)
    for row, view in zip(packed, views, strict=True):
        values = _pack_view(view, grid)
        row[:13] = values
        row[16:29] = values - row[:13]
    return packed


def _pack_view(view: View, grid: VolumeGrid) -> NDArray[np.float64]:
    index_from_world = grid.index_from_world
    turn = index_from_world[:3, :3]
    source = turn @ view.source_xyz_mm + index_from_world[:3, 3]
    direction = turn @ (view.corner_xyz_mm - view.source_xyz_mm)
    column_step, row_step = turn @ view.column_step_xyz_mm, turn @ view.row_step_xyz_mm
    central = direction + column_step * view.width_px / 2 + row_step * view.height_px / 2
    middle = (np.asarray(grid.shape_xyz) - 1) / 2
    closest = np.clip((middle - source) @ central / (central @ central), 0.0, 1.0)
    parameter = float(np.float32(closest))  # as the kernel will read it
    anchor = source + parameter * direction
    return np.concatenate([anchor, direction, column_step, row_step, [parameter]])


def x_never_leads(view: View, grid: VolumeGrid) -> bool:
    """Whether another index axis than x surely leads every ray of the view."""
    return 0 not in leading_axes([view], grid)


def leading_axes(views: Sequence[View], grid: VolumeGrid) -> set[int]:
    """Index axes (0: x) that may lead some ray of the views: along which it runs farthest."""
    return {axis for view in views for axis in range(3) if _may_lead(axis, view, grid)}


def _may_lead(axis: int, view: View, grid: VolumeGrid) -> bool:
    """Whether no other axis surely leads every ray of the view.

    Directions are linear in the pixel, so one component's extremes over the detector lie in its
    corners: another axis leads where it keeps its sign and is always larger than this.
    """
    turn = grid.index_from_world[:3, :3]
    corners = view.corner_xyz_mm + np.array(
        [
            u * view.width_px * view.column_step_xyz_mm + v * view.height_px * view.row_step_xyz_mm
            for u in (0, 1)
            for v in (0, 1)
        ]
    )
    components = ((corners - view.source_xyz_mm) @ turn.T).T
    reach = 1.001 * np.abs(components[axis]).max()
    return not any(
        abs(np.sign(other).sum()) == 4 and np.abs(other).min() > reach for other in components
    )

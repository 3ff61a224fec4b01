"""Views as the kernels read them: rays in voxel index coordinates, folded in float64, then cast."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import lru_cache

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

PADDING = (0.0, 0.0, 0.0)
"""Behind the 13 values of a view, and behind what is left of them beyond single precision."""

Vector = tuple[float, float, float]


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
    values = [value for view in views for value in _pack_view(view, grid)]
    return np.array(values, np.float32).reshape(len(views), FLOATS_PER_VIEW)


@lru_cache(maxsize=8)
def _pack_view(view: View, grid: VolumeGrid) -> list[float]:
    """Kept, as is what `_rays` returns: an image packs its view several times."""
    values = _values_of(view, grid)
    single = _in_single_precision(values)
    rest = [value - rounded for value, rounded in zip(values, single, strict=True)]
    return [*single, *PADDING, *rest, *PADDING]


def _in_single_precision(values: Sequence[float]) -> tuple[float, ...]:
    return struct.unpack(f"{len(values)}f", struct.pack(f"{len(values)}f", *values))


def _values_of(view: View, grid: VolumeGrid) -> list[float]:
    source, direction, column_step, row_step = _rays(view, grid)
    half_width, half_height = view.width_px / 2, view.height_px / 2
    central = [
        d + half_width * u + half_height * v
        for d, u, v in zip(direction, column_step, row_step, strict=True)
    ]
    to_middle = [(n - 1) / 2 - s for n, s in zip(grid.shape_xyz, source, strict=True)]
    closest = _dot(to_middle, central) / _dot(central, central)
    # as the kernel will read it
    (parameter,) = _in_single_precision([min(max(closest, 0.0), 1.0)])
    anchor = [s + parameter * d for s, d in zip(source, direction, strict=True)]
    return [*anchor, *direction, *column_step, *row_step, parameter]


@lru_cache(maxsize=8)
def _rays(view: View, grid: VolumeGrid) -> list[Vector]:
    """Source, corner ray and what a column and a row add to it, in index coordinates.

    In Python's own numbers: an image has the caches, and a few of these come back sooner than
    NumPy's ways to small matrices (0.1 ms of an image's 10).
    """
    turn, shift = _turn_and_shift(grid)
    source, corner = view.source_xyz_mm.tolist(), view.corner_xyz_mm.tolist()
    x, y, z = (_dot(row, source) + offset for row, offset in zip(turn, shift, strict=True))
    direction = [c - s for c, s in zip(corner, source, strict=True)]
    steps = view.column_step_xyz_mm.tolist(), view.row_step_xyz_mm.tolist()
    return [(x, y, z), *(_turned(turn, each) for each in (direction, *steps))]


def _dot(a: Sequence[float], b: Sequence[float]) -> float:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def _turned(turn: Sequence[Vector], vector: Sequence[float]) -> Vector:
    x, y, z = turn
    return _dot(x, vector), _dot(y, vector), _dot(z, vector)


@lru_cache(maxsize=32)
def _turn_and_shift(grid: VolumeGrid) -> tuple[tuple[Vector, ...], Vector]:
    """Rows and last column of `grid.index_from_world`, which takes an inversion."""
    rows = grid.index_from_world.tolist()
    return tuple((row[0], row[1], row[2]) for row in rows[:3]), (rows[0][3], rows[1][3], rows[2][3])


def x_never_leads(view: View, grid: VolumeGrid) -> bool:
    """Return whether another index axis than x surely leads every ray of the view."""
    return 0 not in leading_axes([view], grid)


def leading_axes(views: Sequence[View], grid: VolumeGrid) -> set[int]:
    """Index axes (0: x) that may lead some ray of the views: along which it runs farthest.

    Directions are linear in the pixel, so one component's extremes over the detector lie in its
    corners: another axis leads where it keeps its sign and is always larger than this.
    """
    return {axis for view in views for axis in _leading_axes_of(view, grid)}


def _leading_axes_of(view: View, grid: VolumeGrid) -> list[int]:
    _, direction, column_step, row_step = _rays(view, grid)
    least, most = [], []
    for d, u, v in zip(direction, column_step, row_step, strict=True):
        width, height = u * view.width_px, v * view.height_px
        corners = (d, d + width, d + height, d + width + height)
        low, high = min(corners), max(corners)
        least.append(max(low, -high, 0.0))  # 0 where the sign changes
        most.append(max(high, -low))
    return [axis for axis in range(3) if max(least) <= 1.001 * most[axis]]

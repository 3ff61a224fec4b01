"""Another grid for a volume: a part of it, or voxels of another size, plane by plane.

Each axis by itself. Finer voxels take the trilinear interpolant at their centre. Coarser ones
take its mean over themselves, so that nothing aliases and the sum over the volume stays. Both are
exact for linear fields. Beyond the old volume's faces there is nothing: what a new voxel has there
counts as 0.
"""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fluoro.errors import InputError
from fluoro.volume.grid import VolumeGrid

if TYPE_CHECKING:
    from scipy import sparse

__all__ = ["Resampling", "cropped_grid", "index_box"]

Plane = NDArray[np.float32]
Corner = Sequence[float | None]
IndexBox = tuple[slice, slice, slice]

SAME = 1e-6
"""Relative difference of two spacings, and distance in voxels, that count as none."""


def index_box(grid: VolumeGrid, low_xyz_mm: Corner, high_xyz_mm: Corner) -> IndexBox:
    """Voxels (z, y, x) whose centres lie in a box; of a tilted volume those around its corners.

    Args:
        grid: The volume's.
        low_xyz_mm: Lowest coordinates, patient LPS [mm]; None: as low as the volume.
        high_xyz_mm: Highest coordinates; None: as high as the volume.

    Raises:
        InputError: There are none.
    """
    last = np.asarray(grid.shape_xyz) - 1
    bounds = _extent(grid.world_from_index, np.zeros(3) - 0.5, last + 0.5)
    wanted = [
        [side if value is None else value for value, side in zip(corner, bound, strict=True)]
        for corner, bound in zip((low_xyz_mm, high_xyz_mm), bounds, strict=True)
    ]
    first, final = _extent(grid.index_from_world, np.array(wanted[0]), np.array(wanted[1]))
    start = np.maximum(np.ceil(first - SAME), 0).astype(int)
    stop = np.minimum(np.floor(final + SAME), last).astype(int) + 1
    if np.any(start >= stop):
        raise InputError(
            f"crop_mm holds no voxel, with min {_asked(low_xyz_mm)} and max {_asked(high_xyz_mm)}; "
            f"{_centers(grid)}"
        )
    x, y, z = (slice(int(a), int(b)) for a, b in zip(start, stop, strict=True))
    return z, y, x


def cropped_grid(grid: VolumeGrid, box: IndexBox) -> VolumeGrid:
    """Return the grid of the voxels in an index box (z, y, x) of another."""
    z, y, x = box
    corner = grid.world_from_index @ [x.start, y.start, z.start, 1.0]
    return replace(
        grid,
        shape_zyx=(z.stop - z.start, y.stop - y.start, x.stop - x.start),
        origin_xyz_mm=(float(corner[0]), float(corner[1]), float(corner[2])),
    )


class Resampling:
    """From one grid to another of the same box centre and direction.

    The new box holds the old one; it is less than a voxel larger along each axis.

    Args:
        grid: The volume's.
        spacing_xyz_mm: Edges of the new voxels along its x, y and z axis [mm].

    Attributes:
        grid: The new one.

    Raises:
        InputError: A voxel larger than the volume.
    """

    def __init__(self, grid: VolumeGrid, spacing_xyz_mm: tuple[float, float, float]) -> None:
        for axis, edge, size in zip("xyz", spacing_xyz_mm, grid.size_xyz_mm, strict=True):
            if edge > size * (1 + SAME):
                raise InputError(
                    f"spacing_mm leaves no voxel: {edge:g} mm along {axis}, "
                    f"where the volume is {size:g} mm long"
                )
        self.grid = _resampled_grid(grid, spacing_xyz_mm)
        self._z, self._y, self._x = (
            _weights(n_in, n_out, new / old)
            for n_in, n_out, new, old in zip(
                grid.shape_zyx,
                self.grid.shape_zyx,
                spacing_xyz_mm[::-1],
                grid.spacing_xyz_mm[::-1],
                strict=True,
            )
        )

    def planes(self, planes: Iterator[Plane]) -> Iterator[Plane]:
        """Yield the new planes, from the old ones; as many are held as a new one is made of."""
        held: deque[Plane] = deque()
        first = 0
        for row in range(self._z.shape[0]):
            start, stop = self._z.indptr[row : row + 2]
            indices, weights = self._z.indices[start:stop], self._z.data[start:stop]
            while held and first < indices[0]:
                held.popleft()
                first += 1
            while first + len(held) <= indices[-1]:
                held.append(self._in_plane(next(planes)))
            total = np.zeros(self.grid.shape_zyx[1:], np.float32)
            for index, weight in zip(indices, weights, strict=True):
                total += weight * held[index - first]
            yield total
        for _ in planes:  # to its end, where it may have something to say
            pass

    def _in_plane(self, plane: Plane) -> Plane:
        rows = self._y @ np.asarray(plane, np.float32)
        return np.ascontiguousarray((self._x @ rows.T).T)


def _resampled_grid(grid: VolumeGrid, spacing_xyz_mm: tuple[float, float, float]) -> VolumeGrid:
    x, y, z = (
        math.ceil(size / edge - SAME * max(1.0, size / edge))
        for size, edge in zip(grid.size_xyz_mm, spacing_xyz_mm, strict=True)
    )
    half = (np.array([x, y, z]) - 1) / 2 * np.asarray(spacing_xyz_mm)
    origin = grid.center_xyz_mm - np.asarray(grid.direction) @ half
    return replace(
        grid,
        shape_zyx=(z, y, x),
        spacing_xyz_mm=spacing_xyz_mm,
        origin_xyz_mm=(float(origin[0]), float(origin[1]), float(origin[2])),
    )


def _weights(n_in: int, n_out: int, ratio: float) -> sparse.csr_array:
    """Matrix (n_out, n_in) along one axis; `ratio` is the new voxel's edge in old ones."""
    from scipy import sparse

    centers = np.asarray((n_in - 1) / 2 + (np.arange(n_out) - (n_out - 1) / 2) * ratio, np.float64)
    low = np.clip(centers - ratio / 2, -0.5, n_in - 0.5)
    high = np.clip(centers + ratio / 2, -0.5, n_in - 0.5)
    if ratio > 1 + SAME:
        integral = _integrated_hats(high, n_in) - _integrated_hats(low, n_in)
        return sparse.csr_array((integral / ratio).astype(np.float32))
    covered = (high - low) / ratio
    return sparse.csr_array((_hats(centers, n_in) * covered[:, None]).astype(np.float32))


def _hats(at: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Share of each old voxel (columns) in the interpolant at some places (rows)."""
    inside = np.clip(at, 0, count - 1)[:, None]
    distance = np.abs(inside - np.arange(count))
    distance[distance < SAME] = 0
    return np.asarray(np.maximum(0, 1 - distance))


def _integrated_hats(upto: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Integral of `_hats` up to some places; beyond the outermost centres their value holds."""
    distance = np.clip(upto[:, None] - np.arange(-1, count + 1), -1, 1)
    integral = np.where(distance < 0, (1 + distance) ** 2 / 2, 1 - (1 - distance) ** 2 / 2)
    integral[:, 1] += integral[:, 0]
    integral[:, -2] += integral[:, -1]
    return integral[:, 1:-1]


def _extent(
    matrix: NDArray[np.float64], low: NDArray[np.float64], high: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Smallest and largest coordinates of a box's corners after a transform."""
    corners = np.array([*itertools.product(*zip(low, high, strict=True))])
    moved = corners @ matrix[:3, :3].T + matrix[:3, 3]
    return moved.min(axis=0), moved.max(axis=0)


def _asked(corner: Corner) -> str:
    return "[" + ", ".join("null" if c is None else f"{c:g}" for c in corner) + "]"


def _in_words(corners: Sequence[Sequence[float]]) -> str:
    spans = zip("xyz", *corners, strict=True)
    return ", ".join(f"{axis} {low:g} to {high:g}" for axis, low, high in spans) + " mm"


def _centers(grid: VolumeGrid) -> str:
    low, high = _extent(grid.world_from_index, np.zeros(3), np.asarray(grid.shape_xyz) - 1.0)
    return f"the volume's voxel centres span {_in_words((low.tolist(), high.tolist()))}"

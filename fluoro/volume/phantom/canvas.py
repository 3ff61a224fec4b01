"""The canvas a phantom is painted on: soft-edged shapes, one over the other."""

from __future__ import annotations

import itertools
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fluoro.volume.grid import VolumeGrid
from fluoro.volume.phantom.shapes import (
    Axes,
    Field,
    Points,
    Vector3,
    capsule,
    ellipsoid,
    flat_capsule,
    noise_at,
    smooth_min,
    smooth_patch,
    smooth_path,
    triangle,
)

__all__ = ["Block", "Canvas", "Union"]

AIR_HU = -1000.0
TRABECULA_MM = 2.5
"""Between the knots of trabecular mottle."""
Slices = tuple[slice, slice, slice]


@dataclass(frozen=True, kw_only=True, eq=False)
class Block:
    """A box of voxels: where it lies in an array, and the coordinates of its voxel centres.

    Attributes:
        slices: The box in the array it was cut from, in z, y, x.
        axes: x, y and z of the voxel centres [mm], shapes (1, 1, nx), (1, ny, 1), (nz, 1, 1).
    """

    slices: Slices
    axes: Axes

    @property
    def shape_zyx(self) -> tuple[int, int, int]:
        """Number of voxels along z, y and x."""
        x, y, z = self.axes
        return z.size, y.size, x.size

    @cached_property
    def _ticks(self) -> tuple[list[float], ...]:
        return tuple(axis.ravel().tolist() for axis in self.axes)

    def part(self, low: ArrayLike, high: ArrayLike) -> Block:
        """The voxels between two corners (x, y, z) [mm], as slices into an array of this block."""
        corners = zip(self._ticks, np.asarray(low).tolist(), np.asarray(high).tolist(), strict=True)
        i, j, k = (slice(bisect_left(t, lo), bisect_left(t, hi)) for t, lo, hi in corners)
        x, y, z = self.axes
        return Block(slices=(k, j, i), axes=(x[:, :, i], y[:, j], z[k]))


class Canvas:
    """CT numbers under construction.

    Every edge is a ramp one voxel wide, as the partial volume of a scanner would make it, or
    `ramp_voxels` wide: thin shells oblique to the voxels need 1.5, or their images show stripes.

    Attributes:
        part: Name of what is painted next; empty: nothing with a name.
        part_zyx: Number of the part that covers half of each voxel or more, from 1 in the order of
            `parts`; 0: none. None: parts are not noted.
    """

    def __init__(
        self, grid: VolumeGrid, *, note_parts: bool = False, ramp_voxels: float = 1.0
    ) -> None:
        """Air everywhere."""
        self.part = ""
        self.parts: list[str] = []
        self.part_zyx = np.zeros(grid.shape_zyx, np.uint8) if note_parts else None
        self.grid = grid
        self.edge_mm = np.float32(max(grid.spacing_xyz_mm) * ramp_voxels)
        self.hu_zyx: Field = np.full(grid.shape_zyx, AIR_HU, np.float32)
        self._whole = _whole(grid)

    def block(self, low: ArrayLike, high: ArrayLike) -> Block:
        """Return the voxels between two corners (x, y, z) [mm], clipped to the canvas."""
        return self._whole.part(low, high)

    def slabs(self, thickness: int = 16) -> list[Block]:
        """The whole canvas as slabs of a few slices, which keep intermediate fields small."""
        x, y, z = self._whole.axes
        _, rows, columns = self._whole.slices
        return [
            Block(
                slices=(slice(k, k + thickness), rows, columns), axes=(x, y, z[k : k + thickness])
            )
            for k in range(0, z.size, thickness)
        ]

    def coverage(self, distance: Field) -> Field:
        """Share of a voxel that lies inside a shape, from the distance [mm] to its surface."""
        return np.asarray(np.clip(np.float32(0.5) - distance / self.edge_mm, 0, 1))

    def paint(self, block: Block, distance: Field, hu: Field | float) -> None:
        """Lays a shape with CT number `hu` (a value or a field) over what is there."""
        view = self.hu_zyx[block.slices]
        view += self.coverage(distance) * (hu - view)
        self.note(block, distance)

    def note(self, block: Block, distance: Field) -> None:
        """Notes that a shape is of the canvas' part, without painting it."""
        if self.part_zyx is not None:
            self.part_zyx[block.slices][distance <= 0] = self.number_of_part()

    def number_of_part(self) -> int:
        """Return the number of the part that is painted."""
        if self.part and self.part not in self.parts:
            self.parts.append(self.part)
        return self.parts.index(self.part) + 1 if self.part else 0

    def union(self, low: ArrayLike, high: ArrayLike) -> Union:
        """Return an empty shape inside a box, to be drawn with strokes."""
        return Union(self, self.block(low, high))

    def union_around(self, points: ArrayLike, margin_mm: float) -> Union:
        """Return an empty shape inside the box around `points` (n, 3)."""
        p = np.asarray(points, float)[:, :3]
        return self.union(p.min(axis=0) - margin_mm, p.max(axis=0) + margin_mm)


class Union:
    """A shape made of many strokes, painted once so that their seams do not show."""

    def __init__(self, canvas: Canvas, block: Block) -> None:
        """Empty."""
        self.canvas = canvas
        self.block = block
        self.distance: Field = np.full(block.shape_zyx, 1e3, np.float32)

    def add(self, low: ArrayLike, high: ArrayLike, shape: Callable[[Axes], Field]) -> None:
        """Joins the shape whose distance is `shape(axes)` inside a box."""
        part = self.block.part(low, high)
        view = self.distance[part.slices]
        if view.size:
            np.minimum(view, shape(part.axes), out=view)

    def tube(self, points: ArrayLike, radii: ArrayLike, step_mm: float = 5.0) -> None:
        """Joins a round tube along a smooth curve through `points` (n, 3); one radius or n."""
        p = np.asarray(points, float)
        r = np.broadcast_to(np.asarray(radii, float), len(p))
        path = smooth_path(np.column_stack([p, r]), step_mm)
        for a, b in itertools.pairwise(path):
            self.segment(a, b)

    def segment(self, start: Vector3, end: Vector3) -> None:
        """Joins a straight round tube between two (x, y, z, radius)."""
        a, b = np.asarray(start, float), np.asarray(end, float)
        reach = max(a[3], b[3]) + 1.5 * self.canvas.edge_mm
        low, high = np.minimum(a, b)[:3] - reach, np.maximum(a, b)[:3] + reach
        self.add(low, high, lambda axes: capsule(axes, a[:3], b[:3], (a[3], b[3])))

    def ribbon(self, path: Points, normals: Points, half_mm: ArrayLike) -> None:
        """Joins a flat tube along `path` (n, 3).

        `normals` (n, 3) point out of its flat side, `half_mm` (2,) or (n, 2) are its half
        thickness along them and its half width.
        """
        half = np.broadcast_to(np.asarray(half_mm, float), (len(path), 2))
        for i in range(len(path) - 1):
            self._flat(path[i], path[i + 1], normals[i] + normals[i + 1], half[i])

    def _flat(self, a: Points, b: Points, normal: Vector3, half: Points) -> None:
        reach = float(half.max()) + 1.5 * float(self.canvas.edge_mm)
        low, high = np.minimum(a, b) - reach, np.maximum(a, b) + reach
        size = (float(half[0]), float(half[1]))
        self.add(low, high, lambda axes: flat_capsule(axes, a, b, normal, size))

    def sheet(self, first: Points, second: Points, half_mm: float) -> None:
        """Joins a plate between two curves of n points each, `half_mm` thick on both sides."""
        for (a, b), (c, d) in zip(
            itertools.pairwise(first), itertools.pairwise(second), strict=True
        ):
            for corners in ((a, b, c), (b, d, c)):
                self.triangle(np.array(corners), half_mm)

    def patch(self, net: ArrayLike, step_mm: float = 8.0) -> None:
        """Joins a curved plate through a net (m, n, 4) of x, y, z and half thickness [mm]."""
        fine = smooth_patch(net, step_mm)
        for upper, lower in itertools.pairwise(fine):
            for (a, b), (c, d) in zip(
                itertools.pairwise(upper), itertools.pairwise(lower), strict=True
            ):
                for corners in (np.array((a, b, c)), np.array((b, d, c))):
                    self.triangle(corners[:, :3], corners[:, 3].tolist())

    def triangle(self, corners: Points, half_mm: float | Sequence[float]) -> None:
        """Joins a triangular plate, `half_mm` thick on both sides, or so at each corner."""
        reach = float(np.max(half_mm)) + 1.5 * float(self.canvas.edge_mm)
        low, high = corners.min(axis=0) - reach, corners.max(axis=0) + reach
        self.add(low, high, lambda axes: triangle(axes, corners, half_mm))

    def ellipsoid(
        self, center: Vector3, radii: Vector3, frame: NDArray[np.float64] | None = None
    ) -> None:
        """Joins an ellipsoid, rows of `frame` being its axes."""
        reach = float(np.max(radii)) + 1.5 * float(self.canvas.edge_mm)
        low, high = np.subtract(center, reach), np.add(center, reach)
        self.add(low, high, lambda axes: ellipsoid(axes, center, radii, frame))

    def empty(self) -> Union:
        """Return an empty shape of the same box."""
        return Union(self.canvas, self.block)

    def join(self, other: Union, blend_mm: float) -> None:
        """Joins another shape of the same box, its seam rounded over `blend_mm`."""
        self.distance = smooth_min(self.distance, other.distance, blend_mm)

    def hollow(self, other: Union) -> None:
        """Takes another shape of the same box away."""
        np.maximum(self.distance, -other.distance, out=self.distance)

    def fill(self, *layers: tuple[float, float], mottle_hu: float = 0.0) -> None:
        """Paints the shape: each layer (depth below its surface [mm], CT number) in turn.

        Args:
            layers: Those of the surface first.
            mottle_hu: Standard deviation of trabecular mottle in the last layer.
        """
        near = np.nonzero(self.distance < self.canvas.edge_mm)
        if not near[0].size:
            return
        distance = self.distance[near]
        view = self.canvas.hu_zyx[self.block.slices]
        hu = view[near]
        for depth, value in layers:
            share = self.canvas.coverage(distance + np.float32(depth))
            hu += share * (np.float32(value) - hu)
        if mottle_hu:
            hu += share * np.float32(mottle_hu) * self._mottle(near)
        view[near] = hu
        self.note()

    def _mottle(self, near: tuple[NDArray[np.int64], ...]) -> Field:
        """Trabecular noise of unit variance at the voxels `near`."""
        places = [axis.ravel()[i] for axis, i in zip(self.block.axes, near[::-1], strict=True)]
        return noise_at(places, TRABECULA_MM, seed=7)

    def note(self) -> None:
        """Notes that the shape is of the canvas' part."""
        if self.canvas.part_zyx is not None:
            inside = self.distance <= 0
            self.canvas.part_zyx[self.block.slices][inside] = self.canvas.number_of_part()


def _whole(grid: VolumeGrid) -> Block:
    """All voxels of a grid whose axes run along patient L, P and S."""
    x, y, z = (
        (origin + spacing * np.arange(count)).astype(np.float32)
        for origin, spacing, count in zip(
            grid.origin_xyz_mm, grid.spacing_xyz_mm, grid.shape_xyz, strict=True
        )
    )
    return Block(
        slices=(slice(0, z.size), slice(0, y.size), slice(0, x.size)),
        axes=(x[None, None, :], y[None, :, None], z[:, None, None]),
    )

"""Boxes of structures that the image's border cuts: of the part that is in the image.

A convex hull does not do here: cut by the border, the hull of a curved rib has more in the image
than the rib.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fluoro.volume.labels.label_volume import LabelVolume

__all__ = ["Box", "SurfaceBlocks", "boxes_in_image", "surface_blocks"]

Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""

Floats = NDArray[np.float64]
Integers = NDArray[np.integer]

BLOCK = 4
"""Voxels along a block's side."""
FIRST_BLOCKS = 1
"""Blocks of a structure that the search looks into first, for each side of the box."""
CLOSE_PX = 0.01
"""A block that widens the box by less than this is left out [px]."""

CORNERS = np.array([[x, y, z] for z in (0, 1) for y in (0, 1) for x in (0, 1)])
"""Of a cube, (x, y, z)."""
EDGES = np.array([(a, b) for a in range(8) for b in range(a) if (a ^ b).bit_count() == 1]).T
"""Both ends of a cube's 12 edges, as numbers of its corners."""
SIGNS = np.array([-1, -1, 1, 1])
"""Of left, top, right and bottom in a box's reach."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SurfaceBlocks:
    """Voxels on the surfaces of structures, sorted into blocks of the grid.

    Attributes:
        voxels_xyz: Index (x, y, z) of each voxel, block after block, shape (N, 3), int16.
        starts: First voxel of each block, shape (B,).
        counts: Voxels of each block, shape (B,).
        owners: Structure of each block, ascending, from 0, shape (B,).
        low_xyz: Lowest index in each block, shape (B, 3).
        high_xyz: Highest index in each block, shape (B, 3).
    """

    voxels_xyz: Integers
    starts: NDArray[np.intp]
    counts: NDArray[np.intp]
    owners: NDArray[np.intp]
    low_xyz: Integers
    high_xyz: Integers

    def voxels_of(self, blocks: NDArray[np.intp]) -> Integers:
        """Return the voxels of some blocks, index (x, y, z), shape (N, 3)."""
        counts = self.counts[blocks]
        before = np.cumsum(counts) - counts
        rows = np.arange(counts.sum()) + np.repeat(self.starts[blocks] - before, counts)
        found: Integers = self.voxels_xyz[rows]
        return found


def surface_blocks(labels: LabelVolume) -> SurfaceBlocks:
    """Return the surfaces of all structures."""
    voxels, owners = [np.zeros((0, 3), np.int16)], [np.zeros(0, np.intp)]
    for number, box in enumerate(labels.boxes()):
        if box is not None:
            z, y, x = np.nonzero(_surface(labels.label_zyx[box] == number + 1))
            first = [side.start for side in reversed(box)]
            voxels.append((np.stack([x, y, z], 1) + first).astype(np.int16))
            owners.append(np.full(len(x), number))
    return _in_blocks(np.concatenate(voxels), np.concatenate(owners))


def _surface(inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Voxels of which a neighbour across a face is outside."""
    within = inside.copy()
    for axis in range(3):
        there, inner = np.moveaxis(inside, axis, 0), np.moveaxis(within, axis, 0)
        inner[1:] &= there[:-1]
        inner[:-1] &= there[1:]
        inner[0] = inner[-1] = False
    return inside & ~within


def _in_blocks(voxels_xyz: Integers, owners: NDArray[np.intp]) -> SurfaceBlocks:
    keys = np.concatenate([voxels_xyz // BLOCK, owners[:, None]], 1).astype(np.int16)
    order = np.lexsort(keys.T)
    voxels, keys = voxels_xyz[order], keys[order]
    new = np.ones(len(keys), bool)
    new[1:] = (keys[1:] != keys[:-1]).any(axis=1)
    starts = np.flatnonzero(new)
    return SurfaceBlocks(
        voxels_xyz=voxels,
        starts=starts,
        counts=np.diff(np.append(starts, len(voxels))),
        owners=owners[order][starts],
        low_xyz=np.minimum.reduceat(voxels, starts) if len(starts) else voxels,
        high_xyz=np.maximum.reduceat(voxels, starts) if len(starts) else voxels,
    )


def boxes_in_image(
    parts: Sequence[tuple[SurfaceBlocks, Floats]],
    wanted: NDArray[np.bool_],
    width_px: int,
    height_px: int,
) -> list[Box | None]:
    """Return the box of what the image shows of each structure [px]; None: nothing, or unwanted.

    Each voxel is projected as a cube and clipped to the rectangle between the centres of the
    outermost pixels, as no mask has what passes beside these. A box that reaches a side of the
    rectangle reaches that of the image. A voxel whose projection covers a whole side of the image
    is not found: its edges are all outside.

    Args:
        parts: Surfaces of each part, and the 3x4 matrix from its voxels' index to pixels (u, v, w),
            (0, 0) being the centre of the first pixel; w must be positive before the source.
        wanted: Whether each structure gets a box, shape (K,).
        width_px: Columns of the image.
        height_px: Rows of the image.
    """
    size = np.array([width_px - 1, height_px - 1], float)
    reach = np.full((len(wanted), 4), -np.inf)
    for surfaces, matrix in parts:
        _widen(reach, wanted, surfaces, matrix, size)
    whole = [0, 0, width_px, height_px]
    rows = np.where(reach >= _farthest(size) - CLOSE_PX, whole, reach * SIGNS + 0.5).tolist()
    return [(a, b, c, d) if a < c and b < d else None for a, b, c, d in rows]


def _farthest(size: Floats) -> Floats:
    """How far anything can reach in the image, as (-left, -top, right, bottom)."""
    return np.append(np.zeros(2), size)


def _widen(
    reach: Floats, wanted: NDArray[np.bool_], surfaces: SurfaceBlocks, matrix: Floats, size: Floats
) -> None:
    """Widen boxes, (-left, -top, right, bottom), so that they also hold surfaces.

    Blocks that reach farthest come first; what they find rules out most of the others.
    """
    source: Floats = -np.linalg.inv(matrix[:, :3]) @ matrix[:, 3]
    left, count = np.flatnonzero(wanted[surfaces.owners]), FIRST_BLOCKS
    bounds = _block_bounds(surfaces.low_xyz[left], surfaces.high_xyz[left], matrix, size)
    while True:
        owners = surfaces.owners[left]
        open_ = (bounds > reach[owners] + CLOSE_PX).any(axis=1)
        left, bounds, owners = left[open_], bounds[open_], owners[open_]
        if not left.size:
            return
        taken = _first_of_each(bounds, owners, count)
        found = _reach_of_voxels(surfaces.voxels_of(left[taken]), source, matrix, size)
        voxel_owners = np.repeat(owners[taken], surfaces.counts[left[taken]])
        np.maximum.at(reach, voxel_owners, found.T)
        left, bounds, count = left[~taken], bounds[~taken], 2 * count


def _first_of_each(bounds: Floats, owners: NDArray[np.intp], count: int) -> NDArray[np.bool_]:
    """Which blocks are among the first `count` of their owner, on any side."""
    rank = np.arange(len(owners)) - np.searchsorted(owners, owners)
    found = np.zeros(len(owners), bool)
    for side in bounds.T:
        found[np.lexsort((-side, owners))[rank < count]] = True
    return found


def _block_bounds(low_xyz: Integers, high_xyz: Integers, matrix: Floats, size: Floats) -> Floats:
    """How far each block can reach in the image, shape (B, 4); minus infinity: it is outside."""
    uvw = _boxes(low_xyz, high_xyz, matrix)
    with np.errstate(divide="ignore", invalid="ignore"):
        pixels = uvw[:2] / uvw[2]
    bounds = np.concatenate([-pixels.min(axis=1), pixels.max(axis=1)]).T
    bounds[(uvw[2] <= 0).any(axis=0)] = np.inf  # part of it is behind the source
    seen = (_margins(uvw, size).max(axis=1) >= 0).all(axis=0)
    return np.where(seen[:, None], np.minimum(bounds, _farthest(size)), -np.inf)


def _boxes(low_xyz: Integers, high_xyz: Integers, matrix: Floats) -> Floats:
    """Corners of boxes of voxels (u, v, w), shape (3, 8, N)."""
    low = low_xyz.T - 0.5
    along = matrix[:, :3, None] * (high_xyz.T + 0.5 - low)
    first = matrix[:, :3] @ low + matrix[:, 3:]
    return np.asarray(first[:, None] + np.einsum("ca,iax->icx", CORNERS, along))


def _margins(uvw: Floats, size: Floats) -> Floats:
    """How far inside each side of the image points are, shape (4, ...); all positive: in it.

    Points behind the source have a negative one.
    """
    u, v, w = uvw
    return np.stack([u, v, w * size[0] - u, w * size[1] - v])


def _reach_of_voxels(
    voxels_xyz: Integers, source_xyz: Floats, matrix: Floats, size: Floats
) -> Floats:
    """How far each voxel reaches in the image, shape (4, N); minus infinity: it is outside."""
    first = matrix[:, :3] @ (voxels_xyz.T - 0.5) + matrix[:, 3:]
    cubes = first[:, None] + (matrix[:, :3] @ CORNERS.T)[..., None]
    margins = _margins(cubes, size)
    whole = (margins.min(axis=0) >= 0).all(axis=0)
    cut = np.flatnonzero(~whole & (margins.max(axis=1) >= 0).all(axis=0))
    lead = np.abs(voxels_xyz[cut] - source_xyz).argmax(axis=1)
    cut = cut[_middles_reach(margins[:, :, cut], lead)]
    found = np.full((4, len(whole)), -np.inf)
    found[:, whole] = _reach(cubes[:, :, whole], size)
    found[:, cut] = _reach(_clipped(cubes[:, :, cut], margins[:, :, cut]), size)
    return found


def _middles_reach(margins: Floats, lead: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Whether the middle planes of voxels reach into the image, across the axis that leads the ray.

    Masks have their samples there, and none where a ray only passes through a voxel's edge.
    """
    halves = margins.reshape(4, 2, 2, 2, margins.shape[-1])  # along z, y, x
    found = [(halves.sum(axis=3 - axis).max(axis=(1, 2)) >= 0).all(axis=0) for axis in range(3)]
    return np.asarray(np.stack(found)[lead, np.arange(len(lead))])


def _clipped(cubes: Floats, margins: Floats) -> Floats:
    """Both ends of what the image has of each edge of cubes (u, v, w), shape (3, 24, N); or 0."""
    a, b = EDGES
    start, end = margins[:, a], margins[:, b]
    there = np.maximum(start, end).min(axis=0) >= 0
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(there, start / (start - end), 0.0)
    enter = np.where(start < 0, share, 0.0).max(axis=0)
    leave = np.where(end < 0, share, 1.0).min(axis=0)
    kept = there & (enter <= leave)
    first, along = cubes[:, a], cubes[:, b] - cubes[:, a]
    return np.concatenate([np.where(kept, first + at * along, 0.0) for at in (enter, leave)], 1)


def _reach(uvw: Floats, size: Floats) -> Floats:
    """How far points in the image reach, shape (4, N), of (3, M, N); those with w = 0 are none."""
    if not uvw.size:
        return np.full((4, uvw.shape[2]), -np.inf)
    u, v, w = uvw
    with np.errstate(divide="ignore", invalid="ignore"):
        pixels = [np.where(w > 0, sign * x / w, -np.inf) for sign in (-1, 1) for x in (u, v)]
    return np.asarray(np.minimum(np.stack(pixels).max(axis=1), _farthest(size)[:, None]))

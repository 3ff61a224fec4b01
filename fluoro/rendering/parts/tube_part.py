"""Draws tubes: lists them by tile of the image, and has the kernel follow the rays of the tiles."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fluoro.geometry.projection import View
from fluoro.rendering.devices.base import ComputeDevice
from fluoro.rendering.parts.base import Canvas, Part
from fluoro.volume.posed_solid import Tubes, TubeSolid

__all__ = ["TileLists", "TubePart", "tiles_of"]

TILE_COLUMNS, TILE_ROWS = 16, 8
"""Pixels of a tile: shaders/parts/tubes.slang."""
PER_TILE = 1.0 / np.array([[TILE_COLUMNS], [TILE_ROWS], [TILE_COLUMNS], [TILE_ROWS]])
TUBE_FLOATS, RADII, PLANES, BOX = 20, 8, 12, 16
"""Floats of a tube, and where some begin: shaders/parts/tubes.slang."""
MOST_PIECES = 4096
"""Pieces that a tube is listed in."""
THIN_PX = 2.0
"""Tubes of fewer pixels across are averaged over a pixel's width."""
FAR_PX = float(1 << 20)
"""Limit of the pixel numbers of boxes: beyond it everything counts as this far away."""

Floats = NDArray[np.float64]


class TubePart(Part):
    """Draws a `TubeSolid`."""

    def __init__(self, solid: TubeSolid, device: ComputeDevice) -> None:
        super().__init__(solid, device)
        self._tubes = solid

    def draw(self, canvas: Canvas) -> None:
        """Add the solid's thicknesses to its planes, and its spans to what is taken."""
        tubes = self._tubes.tubes(canvas.time_s)
        matrix = canvas.view.pixel_from_world
        boxes, depths = _boxes(tubes.ends_xyz_mm, tubes.radii_mm[:, 0], matrix)
        lists = _listed(tubes, boxes, canvas.view, matrix)
        if not len(lists.tiles):
            return
        to_device = self.device.to_device
        lanes = self.device.rays_per_thread
        threads = (TILE_COLUMNS // min(lanes, TILE_COLUMNS), TILE_ROWS * len(lists.tiles), 1)
        uniforms = {
            "tubes": to_device(_packed(tubes, boxes, depths, canvas)),
            "tiles": to_device(lists.tiles),
            "listed": to_device(lists.listed),
            "tile_count": len(lists.tiles),
        }
        kernel = canvas.kernel("tubes")
        self.device.launch(kernel, "add_tubes", threads, {**canvas.uniforms(), **uniforms})


def _packed(tubes: Tubes, boxes: Floats, depths: Floats, canvas: Canvas) -> NDArray[np.float32]:
    """The tubes as the kernel reads them, shape (N, 20), relative to the canvas's origin."""
    shells = tubes.radii_mm.shape[1]
    packed = np.zeros((len(tubes.radii_mm), TUBE_FLOATS), np.float32)
    start, end = tubes.ends_xyz_mm[:, 0], tubes.ends_xyz_mm[:, 1]
    way = end - start
    length = np.sqrt(np.einsum("ij,ij->i", way, way))
    flat = length <= 0
    axis = way / np.where(flat, 1.0, length)[:, None]
    axis[flat] = (1.0, 0.0, 0.0)
    packed[:, :3] = start - canvas.grid.origin_xyz_mm
    packed[:, 3:6], packed[:, 6] = axis, length
    packed[:, 7] = _widths_mm(start + way / 2, axis, depths, tubes.radii_mm[:, 0], canvas.view)
    packed[:, RADII : RADII + shells] = tubes.radii_mm
    packed[:, PLANES : PLANES + shells] = np.take(canvas.planes, tubes.materials)
    packed[:, BOX:] = np.floor(boxes).T
    return packed


def _widths_mm(
    points: Floats, axes: Floats, depths: Floats, radii_mm: Floats, view: View
) -> Floats | float:
    """A pixel's width across each thin tube [mm]; 0: it is thick.

    The ray's distance from the axis grows by the width from one column to the next, or from one row
    to the next where that is more: so the widths of a row's pixels, or a column's, leave no gap.
    """
    steps = np.stack([view.column_step_xyz_mm, view.row_step_xyz_mm])
    thin = 2 * radii_mm < THIN_PX * np.sqrt((steps * steps).sum(axis=1).min()) * depths
    if not thin.any():
        return 0.0
    width = np.zeros(len(points))
    ray = points[thin] - view.source_xyz_mm
    across = np.cross(axes[thin], ray)
    size = np.maximum(np.linalg.norm(across, axis=1), 1e-9 * np.linalg.norm(ray, axis=1))
    width[thin] = depths[thin] * np.abs(across @ steps.T).max(axis=1) / size
    return width


class TileLists(NamedTuple):
    """Which tubes may be seen in which tile.

    Attributes:
        tiles: First column, first row, first entry of `listed`, the last + 1, shape (tiles, 4).
        listed: Numbers of tubes, those of one tile in the order of the tubes.
    """

    tiles: NDArray[np.int32]
    listed: NDArray[np.int32]


def tiles_of(tubes: Tubes, view: View) -> TileLists:
    """Return the tiles of a view in which a tube may be seen, and which ones.

    A tube's outline lies in the boxes around the outlines of balls along it, a tile apart.
    """
    matrix = view.pixel_from_world
    boxes, _ = _boxes(tubes.ends_xyz_mm, tubes.radii_mm[:, 0], matrix)
    return _listed(tubes, boxes, view, matrix)


def _listed(tubes: Tubes, boxes: Floats, view: View, matrix: Floats) -> TileLists:
    """The same, from the tubes' own boxes."""
    boxes, tube = _in_pieces(tubes, boxes, view, matrix)
    across, down = -(-view.width_px // TILE_COLUMNS), -(-view.height_px // TILE_ROWS)
    numbers = np.floor(boxes * PER_TILE).astype(int)
    left, top = np.maximum(numbers[:2], 0)
    right, bottom = np.minimum(numbers[2:], [[across - 1], [down - 1]])
    wide = np.maximum(right - left + 1, 0)
    count = wide * np.maximum(bottom - top + 1, 0)
    box = np.repeat(np.arange(len(count)), count)
    number = np.arange(len(box)) - (np.cumsum(count) - count)[box]
    row, column = np.divmod(number, wide[box])
    tile = (top * across + left)[box] + row * across + column
    keys = np.sort(tile * len(tubes.radii_mm) + tube[box])
    if len(tube) > len(tubes.radii_mm):
        keys = keys[np.diff(keys, prepend=-1) > 0]
    tile, listed = np.divmod(keys, max(len(tubes.radii_mm), 1))
    entries = np.bincount(tile, minlength=across * down)
    seen = np.flatnonzero(entries)
    tiles = np.empty((len(seen), 4), np.int32)
    tiles[:, 1], tiles[:, 0] = np.divmod(seen, across)
    tiles[:, :2] *= (TILE_COLUMNS, TILE_ROWS)
    tiles[:, 3] = np.cumsum(entries[seen])
    tiles[:, 2] = tiles[:, 3] - entries[seen]
    return TileLists(tiles, listed.astype(np.int32))


def _in_pieces(
    tubes: Tubes, boxes: Floats, view: View, matrix: Floats
) -> tuple[Floats, NDArray[np.int_]]:
    """Boxes of pieces of the tubes, pixels, shape (4, M), and each one's tube.

    A long tube that lies obliquely in the image has a box of many pixels that do not see it. One
    beside the image stays in one piece: near the source's plane its box is huge.
    """
    sides = np.minimum(boxes[2] - boxes[0], boxes[3] - boxes[1])
    if not (sides > TILE_COLUMNS).any():
        return boxes, np.arange(len(sides))
    sides[(boxes[2:] < 0).any(axis=0)] = 0
    sides[(boxes[:2] >= [[view.width_px], [view.height_px]]).any(axis=0)] = 0
    pieces = np.ceil(np.clip(sides / TILE_COLUMNS, 1, MOST_PIECES)).astype(int)
    tube = np.repeat(np.arange(len(pieces)), pieces)
    number = np.arange(len(tube)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    share = np.stack([number, number + 1], axis=1) / pieces[tube][:, None]
    start, way = tubes.ends_xyz_mm[tube, 0], np.diff(tubes.ends_xyz_mm, axis=1)[tube, 0]
    ends = start[:, None] + share[..., None] * way[:, None]
    return _boxes(ends, tubes.radii_mm[tube, 0], matrix, wide=False)[0], tube


def _boxes(
    ends_xyz_mm: Floats, radii_mm: Floats, matrix: Floats, *, wide: bool = True
) -> tuple[Floats, Floats]:
    """Boxes of the pixels that see tubes: left, top, right, bottom, shape (4, N), and depths (N,).

    Args:
        ends_xyz_mm: Shape (N, 2, 3).
        radii_mm: Shape (N,).
        matrix: `View.pixel_from_world`.
        wide: A tube that reaches the source is everywhere; else it is nowhere. One that lies
            behind the source is nowhere.
    """
    turn = matrix[:, :3]
    squares = turn @ turn.T
    found = turn @ ends_xyz_mm.reshape(-1, 3).T + matrix[:, 3:]
    depth, reach = found[2], np.repeat(radii_mm, 2)
    near = depth - reach * np.sqrt(squares[2, 2])
    hidden = near <= 0
    ahead, near = np.where(hidden, 1.0, depth), np.where(hidden, 1.0, near)
    at = found[:2] / ahead
    of_axes, with_depth = squares.diagonal()[:2, None], squares[:2, 2:]
    half = reach / near * np.sqrt(of_axes + at * (squares[2, 2] * at - 2 * with_depth)) + 0.5
    low, high = at - half, at + half
    boxes = np.concatenate(
        [np.minimum(low[:, ::2], low[:, 1::2]), np.maximum(high[:, ::2], high[:, 1::2])]
    )
    if hidden.any():
        everywhere = np.array([[-FAR_PX], [-FAR_PX], [FAR_PX], [FAR_PX]])
        boxes[:, hidden[::2] | hidden[1::2]] = everywhere if wide else everywhere[::-1]
        behind = depth + reach * np.sqrt(squares[2, 2]) <= 0
        boxes[:, behind[::2] & behind[1::2]] = everywhere[::-1]
    np.minimum(np.maximum(boxes, -FAR_PX, out=boxes), FAR_PX, out=boxes)
    return boxes, np.maximum((depth[::2] + depth[1::2]) / 2, 0.0)

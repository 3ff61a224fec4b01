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
        boxes = _boxes(tubes.ends_xyz_mm, tubes.radii_mm[:, 0], canvas.view)
        lists = _listed(tubes, boxes, canvas.view)
        if not len(lists.tiles):
            return
        to_device = self.device.to_device
        lanes = self.device.rays_per_thread
        threads = (TILE_COLUMNS // min(lanes, TILE_COLUMNS), TILE_ROWS * len(lists.tiles), 1)
        uniforms = {
            "tubes": to_device(_packed(tubes, boxes, canvas)),
            "tiles": to_device(lists.tiles),
            "listed": to_device(lists.listed),
            "tile_count": len(lists.tiles),
        }
        kernel = canvas.kernel("tubes")
        self.device.launch(kernel, "add_tubes", threads, {**canvas.uniforms(), **uniforms})


def _packed(tubes: Tubes, boxes: Floats, canvas: Canvas) -> NDArray[np.float32]:
    """The tubes as the kernel reads them, shape (N, 20), relative to the canvas's origin."""
    shells = tubes.radii_mm.shape[1]
    packed = np.zeros((len(tubes.radii_mm), TUBE_FLOATS), np.float32)
    start, end = tubes.ends_xyz_mm[:, 0], tubes.ends_xyz_mm[:, 1]
    way = end - start
    length = np.sqrt(np.einsum("ij,ij->i", way, way))
    flat = length <= 0
    axis = np.where(flat[:, None], (1.0, 0.0, 0.0), way / np.where(flat, 1.0, length)[:, None])
    packed[:, :3] = start - canvas.grid.origin_xyz_mm
    packed[:, 3:6], packed[:, 6] = axis, length
    packed[:, 7] = _widths_mm(start + way / 2, axis, tubes.radii_mm[:, 0], canvas.view)
    packed[:, RADII : RADII + shells] = tubes.radii_mm
    packed[:, PLANES : PLANES + shells] = np.take(canvas.planes, tubes.materials)
    packed[:, BOX:] = np.floor(boxes).T
    return packed


def _widths_mm(points: Floats, axes: Floats, radii_mm: Floats, view: View) -> Floats:
    """A pixel's width across each thin tube [mm]; 0: it is thick.

    The ray's distance from the axis grows by the width from one column to the next, or from one row
    to the next where that is more: so the widths of a row's pixels, or a column's, leave no gap.
    """
    matrix = view.pixel_from_world
    depth = np.maximum(points @ matrix[2, :3] + matrix[2, 3], 0.0)
    steps = np.stack([view.column_step_xyz_mm, view.row_step_xyz_mm])
    thin = 2 * radii_mm < THIN_PX * depth * np.linalg.norm(steps, axis=1).min()
    width = np.zeros(len(points))
    if thin.any():
        ray = points[thin] - view.source_xyz_mm
        across = np.cross(axes[thin], ray)
        size = np.maximum(np.linalg.norm(across, axis=1), 1e-9 * np.linalg.norm(ray, axis=1))
        width[thin] = depth[thin] * np.abs(across @ steps.T).max(axis=1) / size
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
    return _listed(tubes, _boxes(tubes.ends_xyz_mm, tubes.radii_mm[:, 0], view), view)


def _listed(tubes: Tubes, boxes: Floats, view: View) -> TileLists:
    """The same, from the tubes' own boxes."""
    boxes, tube = _in_pieces(tubes, boxes, view)
    across = -(-view.width_px // TILE_COLUMNS)
    down = -(-view.height_px // TILE_ROWS)
    left, right = (np.floor(each / TILE_COLUMNS).astype(int) for each in (boxes[0], boxes[2]))
    top, bottom = (np.floor(each / TILE_ROWS).astype(int) for each in (boxes[1], boxes[3]))
    left, top = np.maximum(left, 0), np.maximum(top, 0)
    wide = np.maximum(np.minimum(right, across - 1) - left + 1, 0)
    count = wide * np.maximum(np.minimum(bottom, down - 1) - top + 1, 0)
    stops = np.cumsum(count)
    number = np.arange(stops[-1] if len(stops) else 0) - np.repeat(stops - count, count)
    row, column = np.divmod(number, np.repeat(wide, count))
    tile = np.repeat(top * across + left, count) + row * across + column
    keys = np.sort(tile * len(tubes.radii_mm) + np.repeat(tube, count))
    keys = keys[np.diff(keys, prepend=-1) > 0]
    tile, tube = np.divmod(keys, max(len(tubes.radii_mm), 1))
    starts = np.flatnonzero(np.diff(tile, prepend=-1))
    tiles = np.empty((len(starts), 4), np.int32)
    rows, columns = np.divmod(tile[starts], across)
    tiles[:, 0], tiles[:, 1] = columns * TILE_COLUMNS, rows * TILE_ROWS
    tiles[:, 2], tiles[:-1, 3], tiles[-1:, 3] = starts, starts[1:], len(tile)
    return TileLists(tiles, tube.astype(np.int32))


def _in_pieces(tubes: Tubes, boxes: Floats, view: View) -> tuple[Floats, NDArray[np.int_]]:
    """Boxes of pieces of the tubes, pixels, shape (4, M), and each one's tube.

    A long tube that lies obliquely in the image has a box of many pixels that do not see it.
    """
    long = np.minimum(boxes[2] - boxes[0], boxes[3] - boxes[1])
    pieces = np.ceil(np.clip(long / TILE_COLUMNS, 1, MOST_PIECES)).astype(int)
    if (pieces == 1).all():
        return boxes, np.arange(len(pieces))
    tube = np.repeat(np.arange(len(pieces)), pieces)
    number = np.arange(len(tube)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    share = np.stack([number, number + 1], axis=1) / pieces[tube][:, None]
    start, way = tubes.ends_xyz_mm[tube, 0], np.diff(tubes.ends_xyz_mm, axis=1)[tube, 0]
    ends = start[:, None] + share[..., None] * way[:, None]
    return _boxes(ends, tubes.radii_mm[tube, 0], view, wide=False), tube


def _boxes(ends_xyz_mm: Floats, radii_mm: Floats, view: View, *, wide: bool = True) -> Floats:
    """Boxes of the pixels that see tubes: left, top, right, bottom, shape (4, N).

    Args:
        ends_xyz_mm: Shape (N, 2, 3).
        radii_mm: Shape (N,).
        view: One view.
        wide: A tube that reaches the source is everywhere; else it is nowhere.
    """
    matrix = view.pixel_from_world
    turn, (square_u, square_v, square) = matrix[:, :3], (matrix[:, :3] ** 2).sum(axis=1)
    u, v, depth = turn @ ends_xyz_mm.reshape(-1, 3).T + matrix[:, 3:]
    reach = np.repeat(radii_mm, 2)
    near = depth - reach * np.sqrt(square)
    ahead = near > 0
    depth, near = np.where(ahead, depth, 1.0), np.where(ahead, near, 1.0)
    u, v, reach = u / depth, v / depth, reach / near
    du = reach * np.sqrt(square_u - 2 * u * (turn[0] @ turn[2]) + u * u * square) + 0.5
    dv = reach * np.sqrt(square_v - 2 * v * (turn[1] @ turn[2]) + v * v * square) + 0.5
    found = np.empty((4, len(radii_mm)))
    for at, low, centre, half in (
        (0, True, u, du),
        (1, True, v, dv),
        (2, False, u, du),
        (3, False, v, dv),
    ):
        value = (centre - half if low else centre + half).reshape(-1, 2)
        found[at] = (np.minimum if low else np.maximum)(value[:, 0], value[:, 1])
    hidden = ~ahead.reshape(-1, 2).all(axis=1)
    if hidden.any():
        everywhere = (-FAR_PX, -FAR_PX, FAR_PX, FAR_PX)
        found[:, hidden] = np.array(everywhere if wide else everywhere[::-1])[:, None]
    return np.clip(found, -FAR_PX, FAR_PX)

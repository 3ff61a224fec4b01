"""Draws tubes: lists them by tile of the image, and has the kernel follow the rays of the tiles."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fluoro.geometry.projection import View
from fluoro.rendering.devices.base import ComputeDevice
from fluoro.rendering.parts.base import Canvas, Part
from fluoro.volume.posed_solid import MOST_SHELLS, Tubes, TubeSolid

__all__ = ["TileLists", "TubePart", "tiles_of"]

TILE_COLUMNS, TILE_ROWS = 16, 8
"""Pixels of a tile: shaders/parts/tubes.slang."""
TUBE_FLOATS = 16
"""Floats of a tube: shaders/parts/tubes.slang."""
MOST_PIECES = 4096
"""Pieces that a tube is listed in."""


class TubePart(Part):
    """Draws a `TubeSolid`."""

    def __init__(self, solid: TubeSolid, device: ComputeDevice) -> None:
        super().__init__(solid, device)
        self._tubes = solid

    def draw(self, canvas: Canvas) -> None:
        """Add the solid's thicknesses to its planes, and its spans to what is taken."""
        tubes = self._tubes.tubes(canvas.time_s)
        lists = tiles_of(tubes, canvas.view)
        if not len(lists.tiles):
            return
        to_device = self.device.to_device
        lanes = self.device.rays_per_thread
        threads = (TILE_COLUMNS // min(lanes, TILE_COLUMNS), TILE_ROWS * len(lists.tiles), 1)
        uniforms = {
            "tubes": to_device(_packed(tubes, canvas)),
            "tiles": to_device(lists.tiles),
            "listed": to_device(lists.listed),
            "tile_count": len(lists.tiles),
        }
        self.device.launch("tubes", "add_tubes", threads, {**canvas.uniforms(), **uniforms})


def _packed(tubes: Tubes, canvas: Canvas) -> NDArray[np.float32]:
    """The tubes as the kernel reads them, shape (N, 16), relative to the canvas's origin."""
    shells = tubes.radii_mm.shape[1]
    packed = np.zeros((len(tubes.radii_mm), TUBE_FLOATS), np.float32)
    packed[:, :6] = (tubes.ends_xyz_mm - canvas.grid.origin_xyz_mm).reshape(-1, 6)
    packed[:, 6 : 6 + shells] = tubes.radii_mm
    first = 6 + MOST_SHELLS
    packed[:, first : first + shells] = np.take(canvas.planes, tubes.materials)
    return packed


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
    boxes, tube = _boxes(tubes, view)
    across = -(-view.width_px // TILE_COLUMNS)
    down = -(-view.height_px // TILE_ROWS)
    seen = (boxes[:, 2:] >= 0).all(axis=1) & (boxes[:, :2] < (across, down)).all(axis=1)
    boxes, tube = boxes[seen], tube[seen]
    low = np.maximum(boxes[:, :2], 0)
    wide, high = (np.minimum(boxes[:, 2:], (across - 1, down - 1)) - low + 1).T
    count = wide * high
    number = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    row, column = np.divmod(number, np.repeat(wide, count))
    tile = (np.repeat(low[:, 1], count) + row) * across + np.repeat(low[:, 0], count) + column
    keys = np.unique(tile * len(tubes.radii_mm) + np.repeat(tube, count))
    tile, tube = np.divmod(keys, max(len(tubes.radii_mm), 1))
    starts = np.flatnonzero(np.diff(tile, prepend=-1))
    ends = np.append(starts[1:], len(tile))
    places = tile[starts] % across * TILE_COLUMNS, tile[starts] // across * TILE_ROWS
    tiles = np.stack([*places, starts, ends[: len(starts)]], axis=1)
    return TileLists(tiles.astype(np.int32), tube.astype(np.int32))


def _boxes(tubes: Tubes, view: View) -> tuple[NDArray[np.int_], NDArray[np.int_]]:
    """Boxes in tiles (first column, first row, last column, last row), and each one's tube."""
    corners = _outlines(view, tubes.ends_xyz_mm.reshape(-1, 3), np.repeat(tubes.radii_mm[:, 0], 2))
    long = np.abs(np.diff(corners.reshape(-1, 2, 4), axis=1)[:, 0]).max(axis=1)
    pieces = np.where(np.isfinite(long), np.clip(long / TILE_COLUMNS, 1, MOST_PIECES), MOST_PIECES)
    pieces = np.ceil(pieces).astype(int)
    tube = np.repeat(np.arange(len(pieces)), pieces)
    number = np.arange(len(tube)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    share = np.stack([number, number + 1], axis=1) / pieces[tube][:, None]
    if len(tube) == len(pieces):
        found = corners.reshape(-1, 2, 4)
    else:
        start, way = tubes.ends_xyz_mm[tube, 0], np.diff(tubes.ends_xyz_mm, axis=1)[tube, 0]
        points = start[:, None] + share[..., None] * way[:, None]
        radii = np.repeat(tubes.radii_mm[tube, 0], 2)
        found = _outlines(view, points.reshape(-1, 3), radii).reshape(-1, 2, 4)
    there = np.isfinite(found).all(axis=(1, 2))
    low, high = found[there, :, :2].min(axis=1), found[there, :, 2:].max(axis=1)
    size = (TILE_COLUMNS, TILE_ROWS)
    limit = 1 << 20
    boxes = np.concatenate([low / size, high / size], axis=1).clip(-limit, limit)
    return np.floor(boxes).astype(int), tube[there]


def _outlines(
    view: View, centers_xyz_mm: NDArray[np.float64], radii_mm: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Boxes around balls, pixels (left, top, right, bottom), shape (N, 4); NaN: at the source."""
    matrix = view.pixel_from_world
    projected = centers_xyz_mm @ matrix[:, :3].T + matrix[:, 3]
    depth = projected[:, 2]
    near = depth - radii_mm * np.linalg.norm(matrix[2, :3])
    depth, near = (np.where(near > 0, each, np.nan) for each in (depth, near))
    uv = projected[:, :2] / depth[:, None]
    turned = matrix[:2, :3] - uv[:, :, None] * matrix[2, :3]
    reach = radii_mm[:, None] * np.linalg.norm(turned, axis=2) / near[:, None]
    return np.concatenate([uv - reach, uv + reach], axis=1)

"""Pixels that a collimator or a display shutter covers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fluoro.errors import InputError
from fluoro.volume.formats.dicom.tags import Tags

__all__ = ["open_pixels"]

Mask = NDArray[np.bool_]


def open_pixels(tags: Tags, columns: int, rows: int) -> Mask | None:
    """Return pixels that neither collimator nor shutter covers, shape (rows, columns); None: all.

    Both are in pixels of the stored image, the first one having number 1 (PS3.3 C.7.6.11,
    C.8.7.3).

    Raises:
        InputError: Edges that cannot be read, or that leave no pixel.
    """
    masks = [
        mask
        for name in ("Shutter", "Collimator")
        for shape in tags.text(f"{name}Shape").split("\\")
        if (mask := _shape(tags, name, shape, columns, rows)) is not None
    ]
    if not masks:
        return None
    mask = np.logical_and.reduce(masks)
    if not mask.any():
        raise InputError("its collimator or shutter covers every pixel")
    return np.asarray(mask)


def _shape(tags: Tags, name: str, shape: str, columns: int, rows: int) -> Mask | None:
    column, row = np.meshgrid(np.arange(1, columns + 1), np.arange(1, rows + 1))
    if shape == "RECTANGULAR":
        left, right = (tags.number(f"{name}{side}VerticalEdge") for side in ("Left", "Right"))
        top, bottom = (tags.number(f"{name}{side}HorizontalEdge") for side in ("Upper", "Lower"))
        inside = (column > left) & (column < right) & (row > top) & (row < bottom)
        return np.asarray(inside)
    if shape == "CIRCULAR":
        y, x = tags.numbers(f"CenterOfCircular{name}", 2)
        radius = tags.number(f"RadiusOfCircular{name}")
        return np.asarray(np.hypot(column - x, row - y) <= radius)
    if shape == "POLYGONAL":
        return _inside_polygon(tags, f"VerticesOfThePolygonal{name}", column, row)
    return None


def _inside_polygon(
    tags: Tags, keyword: str, column: NDArray[np.int64], row: NDArray[np.int64]
) -> Mask:
    """By the number of edges that a line to the right crosses."""
    count = tags.text(keyword).count("\\") + 1
    if count < 6 or count % 2:
        raise tags.wrong(keyword, "at least 3 vertices, row and column of each")
    y, x = np.reshape(tags.numbers(keyword, count), (-1, 2)).T
    inside = np.zeros(column.shape, bool)
    for x0, y0, x1, y1 in zip(x, y, np.roll(x, -1), np.roll(y, -1), strict=True):
        if y0 == y1:
            continue
        crossing = x0 + (row - y0) * (x1 - x0) / (y1 - y0)
        inside ^= ((y0 > row) != (y1 > row)) & (column < crossing)
    return inside

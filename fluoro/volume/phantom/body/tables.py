"""Measured midlines and surfaces of the chest, from files in `fluoro/volume/data`.

`tools/data/measure_chest.py` has made them from the labels of the chest CT.
"""

from __future__ import annotations

import csv
from functools import cache
from importlib.resources import files

import numpy as np

from fluoro.volume.phantom.shapes import Axes, Field, Points

__all__ = ["Polar", "Sheet", "rib_midline", "side_name", "vertebral_centers"]

MIDDLE_XY_MM = (-4.0, 10.0)
"""About which the pleura's radii are measured."""
HARMONICS = 8
"""Of the pleura's outline: edges of 45 degrees and wider."""


def _rows(name: str) -> tuple[list[str], list[list[str]]]:
    text = (files("fluoro.volume") / "data" / f"body_{name}.csv").read_text("utf-8")
    head, *rows = csv.reader(line for line in text.splitlines() if not line.startswith("#"))
    return head, rows


def side_name(side: int) -> str:
    """Return `left` for +1, `right` for -1."""
    return "left" if side > 0 else "right"


def rib_midline(number: int, side: int) -> Points:
    """Return the midline of a rib from the spine to its front end [mm], shape (n, 3)."""
    _, rows = _rows("ribs")
    found = [row[2:] for row in rows if row[:2] == [str(number), side_name(side)]]
    return np.array(found, float)


def vertebral_centers() -> dict[str, tuple[float, float, float]]:
    """Return the middles of the vertebral bodies T1 to L2 [mm]."""
    _, rows = _rows("vertebrae")
    return {row[0]: (float(row[1]), float(row[2]), float(row[3])) for row in rows}


class Polar:
    """A closed outline about `MIDDLE_XY_MM` that changes with height: the parietal pleura."""

    def __init__(self) -> None:
        """Reads the table."""
        from scipy.interpolate import CubicSpline

        head, rows = _rows("pleura")
        table = np.array(rows, float)
        angles = np.radians(np.array(head[1:], float))
        basis = _harmonics(angles)
        coefficients = np.linalg.lstsq(basis, table[:, 1:].T, rcond=None)[0]
        self._height = (table[0, 0], table[-1, 0])
        self._spline = CubicSpline(table[:, 0], coefficients.T)

    def distance(self, axes: Axes) -> Field:
        """Return the distance to the surface [mm], negative inside."""
        x, y, z = axes
        dx, dy = (axis - np.float32(c) for axis, c in zip((x, y), MIDDLE_XY_MM, strict=True))
        angle, radius = np.arctan2(dx, -dy), np.sqrt(dx * dx + dy * dy)
        shape = np.broadcast_shapes(angle.shape, z.shape)
        radii = self._at(z.ravel()) @ _harmonics(angle.ravel()).T
        if angle.ndim == 1:
            radii = np.einsum("ij,ij->i", self._at(z.ravel()), _harmonics(angle.ravel()))
        return np.asarray(radius - radii.reshape(shape), np.float32)

    def _at(self, height: Field) -> Field:
        clipped = np.clip(height, *self._height)
        return np.asarray(self._spline(clipped), np.float32)


def _harmonics(angle: Points | Field) -> Field:
    order = np.arange(1, HARMONICS + 1) * angle[:, None]
    return np.hstack([np.ones((len(angle), 1)), np.cos(order), np.sin(order)]).astype(np.float32)


class Sheet:
    """A smooth surface over two axes, w = f(u, v): the inner or the lower face of a lung.

    Args:
        name: Of the table.
        side: +1 left, -1 right.
    """

    def __init__(self, name: str, side: int) -> None:
        from scipy.interpolate import RectBivariateSpline

        head, rows = _rows(name)
        table = np.array([row[1:] for row in rows if row[0] == side_name(side)], float)
        across = np.array(head[2:], float)
        self._box = (table[0, 0], table[-1, 0], across[0], across[-1])
        self._spline = RectBivariateSpline(table[:, 0], across, table[:, 1:], s=len(table) * 30.0)

    def distance(self, first: Field, second: Field, third: Field) -> Field:
        """Return the distance to the surface [mm], positive where `third` is less than it.

        Args:
            first: Axis of the table's rows.
            second: Axis of its columns.
            third: Axis that it measures.
        """
        low, high, left, right = self._box
        a, b = np.broadcast_arrays(np.clip(first, low, high), np.clip(second, left, right))
        value = self._spline.ev(a.ravel(), b.ravel())
        slopes = [self._spline.ev(a.ravel(), b.ravel(), dx=i, dy=1 - i) for i in (0, 1)]
        flat = 1 / np.sqrt(1 + slopes[0] ** 2 + slopes[1] ** 2)
        return np.asarray(
            (value.reshape(a.shape) - third) * flat.reshape(a.shape), dtype=np.float32
        )


@cache
def pleura() -> Polar:
    """Return the outline of both lungs and the belly within the ribs."""
    return Polar()


@cache
def inner_face(side: int) -> Sheet:
    """Return x of a lung's inner face over z and y."""
    return Sheet("medial", side)


@cache
def lower_face(side: int) -> Sheet:
    """Return z of a lung's lower face over y and the way from `MIDDLE_XY_MM` to the side."""
    return Sheet("base", side)

"""Cubic splines through the points of a table, in NumPy alone: scipy takes long to import."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["CubicSpline"]

Points = NDArray[np.float64]
Ends = Literal["natural", "not-a-knot"]


@dataclass(frozen=True, kw_only=True, eq=False)
class CubicSpline:
    """A cubic spline; beyond its ends the outer pieces go on.

    Attributes:
        x: Ascending places of the knots, shape (n,), n at least 4.
        y: Values there, shape (n,).
        curvatures: Second derivatives there, shape (n,).
    """

    x: Points
    y: Points
    curvatures: Points

    @classmethod
    def through(cls, x: Points, y: Points, ends: Ends) -> CubicSpline:
        """Return the spline through points.

        Args:
            x: Ascending places, shape (n,), n at least 4.
            y: Values, shape (n,).
            ends: natural: no second derivative at the ends; not-a-knot: one polynomial over the
                first two steps, and one over the last two.
        """
        curvatures = (
            _natural_curvatures(x, y) if ends == "natural" else _not_a_knot_curvatures(x, y)
        )
        return cls(x=x, y=y, curvatures=curvatures)

    def __call__(self, at: float) -> float:
        """Return the value at a place."""
        x, y = self.x, self.y
        right = int(np.clip(np.searchsorted(x, at), 1, len(x) - 1))
        left, step = right - 1, x[right] - x[right - 1]
        a, b = (x[right] - at) / step, (at - x[left]) / step
        bend = (a**3 - a) * self.curvatures[left] + (b**3 - b) * self.curvatures[right]
        return float(a * y[left] + b * y[right] + bend * step**2 / 6)


def _natural_curvatures(x: Points, y: Points) -> Points:
    steps = np.diff(x)
    matrix = np.diag(2 * (steps[:-1] + steps[1:])) + np.diag(steps[1:-1], 1)
    matrix += np.diag(steps[1:-1], -1)
    inner = np.linalg.solve(matrix, 6 * np.diff(np.diff(y) / steps))
    return np.concatenate([[0.0], inner, [0.0]])


def _not_a_knot_curvatures(x: Points, y: Points) -> Points:
    """Of not-a-knot ends: the third derivative goes on at the second knot and the last but one."""
    steps = np.diff(x)
    matrix = np.zeros((len(x), len(x)))
    for row, (before, after) in enumerate(pairwise(steps), start=1):
        matrix[row, row - 1 : row + 2] = before, 2 * (before + after), after
    matrix[0, :3] = steps[1], -(steps[0] + steps[1]), steps[0]
    matrix[-1, -3:] = steps[-1], -(steps[-2] + steps[-1]), steps[-2]
    bends = np.concatenate([[0.0], 6 * np.diff(np.diff(y) / steps), [0.0]])
    return np.linalg.solve(matrix, bends)

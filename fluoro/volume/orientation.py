"""How a volume's axes lie in the patient, in letters and words; its voxels turned for display."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fluoro.volume.grid import VolumeGrid

__all__ = ["in_words", "orientation_code", "tilt_deg", "turned_to_lps"]

LETTERS = (("R", "L"), ("A", "P"), ("I", "S"))
"""Negative and positive end of the patient's x, y and z axis."""
WORDS = {"R": "right", "L": "left", "A": "front", "P": "back", "I": "feet", "S": "head"}


def orientation_code(direction: ArrayLike) -> str:
    """Return where the x, y and z index grow to, nearest patient axes: `LPS` for most CTs."""
    matrix = np.asarray(direction, float)
    axes = _nearest_axes(matrix)
    return "".join(LETTERS[axis][int(matrix[axis, index] > 0)] for index, axis in enumerate(axes))


def in_words(code: str) -> str:
    """`LPS` as `x to the left, y to the back, z to the head`."""
    return ", ".join(f"{index} to the {WORDS[to]}" for index, to in zip("xyz", code, strict=True))


def tilt_deg(direction: ArrayLike) -> float:
    """Return largest angle [degrees] between an axis of the volume and the nearest patient axis."""
    matrix = np.asarray(direction, float)
    cosines = [abs(matrix[axis, index]) for index, axis in enumerate(_nearest_axes(matrix))]
    return float(np.degrees(np.arccos(min(1.0, *cosines))))


def turned_to_lps(
    values_zyx: NDArray[np.generic], grid: VolumeGrid
) -> tuple[NDArray[np.generic], tuple[float, float, float]]:
    """A view of the voxels whose axes grow to the head, back and left, as nearly as they can.

    For display: an oblique volume is not resampled.

    Returns:
        The view, shape (z, y, x), and its spacing along z, y and x [mm].
    """
    matrix = np.asarray(grid.direction, float)
    axes = _nearest_axes(matrix)
    index_of = [axes.index(axis) for axis in range(3)]
    view = values_zyx.transpose([2 - index for index in reversed(index_of)])
    flipped = [axis for axis in range(3) if matrix[axis, index_of[axis]] < 0]
    x, y, z = (grid.spacing_xyz_mm[index] for index in index_of)
    return np.flip(view, tuple(2 - axis for axis in flipped)), (z, y, x)


def _nearest_axes(matrix: NDArray[np.float64]) -> tuple[int, ...]:
    """For each index of the volume another patient axis, all of them as near as can be."""
    return max(
        itertools.permutations(range(3)),
        key=lambda axes: sum(abs(matrix[axis, index]) for index, axis in enumerate(axes)),
    )

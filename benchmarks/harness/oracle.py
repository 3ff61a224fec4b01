"""Errors of pictures and gradients against the exact float64 integral, on some of the pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness.scene import moved, sparse_view
from fluoro.geometry.projection import View
from fluoro.rendering.reference import exact_integrals
from fluoro.volume.volumes import MuVolume

__all__ = ["GRADIENT_EVERY", "PICTURE_EVERY", "Truth", "find_truth"]

Array = NDArray[np.float64]

PICTURE_EVERY = 2
"""The picture is compared in each second column and row: 10000 of 40000 pixels."""
GRADIENT_EVERY = 5
"""The loss of the gradient task looks at each fifth column and row."""
RAYS_AT_ONCE = 2000
SHIFT_MM = 0.01
"""Of the central differences of the exact loss."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Truth:
    """What a view's picture and gradient should be.

    Attributes:
        integrals: Exact line integrals of each `PICTURE_EVERY`-th pixel.
        shift_gradient: Of the loss by a shift of the whole C-arm in world LPS [1/mm], shape (3,).
    """

    integrals: Array
    shift_gradient: Array

    def picture_errors(self, picture: NDArray[np.float32]) -> tuple[float, float]:
        """Root mean square and 99.9th percentile of the deviation, in line integrals."""
        off = np.abs(picture[::PICTURE_EVERY, ::PICTURE_EVERY] - self.integrals)
        return float(np.sqrt(np.mean(off**2))), float(np.quantile(off, 0.999))

    def gradient_error(self, shift_gradient: Array) -> float:
        """Length of the deviation as a part of the gradient's length."""
        off = np.linalg.norm(np.asarray(shift_gradient) - self.shift_gradient)
        return float(off / np.linalg.norm(self.shift_gradient))


def find_truth(volume: MuVolume, view: View) -> Truth:
    """The truth of a view; half a minute of one core for 200 x 200 pixels of the chest CT."""
    return Truth(
        integrals=exact_picture(volume, sparse_view(view, PICTURE_EVERY)),
        shift_gradient=np.array([_exact_slope(volume, view, axis) for axis in np.eye(3)]),
    )


def exact_picture(volume: MuVolume, view: View) -> Array:
    """Exact line integrals in blocks of rows, which bounds the memory."""
    rows = max(1, RAYS_AT_ONCE // view.width_px)
    blocks = [
        exact_integrals(
            volume, view.part((0, view.width_px), (first, min(first + rows, view.height_px)))
        )
        for first in range(0, view.height_px, rows)
    ]
    return np.concatenate(blocks)


def _exact_slope(volume: MuVolume, view: View, axis: Array) -> float:
    sparse = sparse_view(view, GRADIENT_EVERY)
    losses = [
        0.5 * np.sum(exact_picture(volume, moved(sparse, shift * axis)) ** 2)
        for shift in (SHIFT_MM, -SHIFT_MM)
    ]
    return float(losses[0] - losses[1]) / (2 * SHIFT_MM)

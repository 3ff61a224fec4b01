"""Mutual information by Parzen windows: for targets whose grey levels follow another law."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluoro.errors import InputError
from fluoro.registration.measures.similarity import Measure
from fluoro.registration.measures.tile_normalisation import Standardiser, Tiles

__all__ = ["MutualInformation"]

Image = NDArray[Any]

REACH_SIGMAS = 4.0
"""Standardised grey levels beyond this count as this: the histogram's range is fixed."""
MARGIN_BINS = 2
"""Bins beyond the range at either end, for the windows' feet."""


class MutualInformation(Measure):
    """Minus the mutual information [nats] of the joint histogram, cubic B-spline windows.

    Both images are standardised over the mask first, so that the bins' range is fixed and the
    derivative exact (Thevenaz et al. 2000).

    Args:
        target: Attenuation-like values, shape (height, width).
        mask: Pixels that count; None: all.
        bins: Grey levels a side, 8 to 128.

    Raises:
        InputError: See `Measure`; or a number of bins outside the range.
    """

    def __init__(
        self, target: Image, mask: NDArray[np.bool_] | None = None, *, bins: int = 32
    ) -> None:
        super().__init__(target, mask)
        if not 8 <= bins <= 128:
            raise InputError(f"bins must lie in [8, 128], got {bins}")
        self._bins = bins
        self._scale = (bins - 2 * MARGIN_BINS - 1) / (2 * REACH_SIGMAS)
        self._standardiser = Standardiser(Tiles.whole(self.mask), floor=0.0)
        score = self._standardiser.apply(self.target.astype(np.float64)).score[self.mask]
        self._rows, self._row_weights, _ = self._windows(score)

    def cost(self, image: Image) -> tuple[float, Image]:
        """Return minus the mutual information, and its derivative with respect to each pixel."""
        self._require_shape(image)
        state = self._standardiser.apply(image.astype(np.float64))
        columns, weights, slopes = self._windows(state.score[self.mask])
        joint = self._joint(columns, weights)
        marginal = joint.sum(axis=0)
        information, ratio = _information(joint, marginal)
        # d MI / d p(a, b) = log p(a, b) / p(b) + terms that sum to nothing over a window
        gain = np.zeros(len(columns))
        for i in range(4):
            for j in range(4):
                cell = ratio[self._rows + i, columns + j]
                gain += cell * self._row_weights[i] * slopes[j]
        upstream = np.zeros(image.shape)
        upstream[self.mask] = -gain * self._scale / len(columns)
        return -information, state.differential(upstream)

    def _joint(self, columns: NDArray[np.intp], weights: Image) -> Image:
        joint = np.zeros(self._bins * self._bins)
        for i in range(4):
            for j in range(4):
                cell = (self._rows + i) * self._bins + columns + j
                mass = self._row_weights[i] * weights[j]
                joint += np.bincount(cell, mass, minlength=joint.size)
        return (joint / len(columns)).reshape(self._bins, self._bins)

    def _windows(self, score: Image) -> tuple[NDArray[np.intp], Image, Image]:
        """First of four bins of each pixel, their weights and the weights' slopes, (4, N)."""
        held = np.clip(score, -REACH_SIGMAS, REACH_SIGMAS)
        position = (held + REACH_SIGMAS) * self._scale + MARGIN_BINS
        first = np.minimum(np.floor(position).astype(np.intp), self._bins - MARGIN_BINS - 1)
        t = position - first
        weights = [(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3]
        slopes = [-3 * (1 - t) ** 2, 9 * t**2 - 12 * t, -9 * t**2 + 6 * t + 3, 3 * t**2]
        inside = np.abs(score) < REACH_SIGMAS
        return first - 1, np.array(weights) / 6, np.where(inside, np.array(slopes) / 6, 0.0)


def _information(joint: Image, marginal: Image) -> tuple[float, Image]:
    """Mutual information, and log p(a, b) / p(b)."""
    rows = joint.sum(axis=1, keepdims=True)
    filled = joint > 0
    ratio = np.zeros_like(joint)
    np.divide(joint, marginal, out=ratio, where=filled)
    np.log(ratio, out=ratio, where=filled)
    row_log = np.log(rows, out=np.zeros_like(rows), where=rows > 0)
    return float((joint * (ratio - row_log))[filled].sum()), ratio

"""Mean squared difference in which dense places count less."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluoro.registration.measures.similarity import LeastSquaresMeasure, Residuals

Image = NDArray[Any]


class WeightedSquares(LeastSquaresMeasure):
    """Half the mean squared difference, weighted by exp(-target), as photons are."""

    def __init__(self, target: Image, mask: NDArray[np.bool_] | None = None) -> None:
        super().__init__(target, mask)
        self._share = np.exp(-np.clip(self.target, 0, 20) / 2) / np.sqrt(self.mask.sum())

    def residuals(self, image: Image, jacobian: Image | None) -> Residuals:
        """Return weighted differences in the mask."""
        self._require_shape(image)
        share, inside = self._share.astype(image.dtype), self.mask
        rows = np.zeros((6, 0)) if jacobian is None else (jacobian * share)[:, inside]
        return Residuals(values=((image - self.target) * share)[inside], jacobian=rows)

    def _pull_back(self, image: Image, residuals: Image) -> Image:
        upstream = np.zeros(image.shape, image.dtype)
        upstream[self.mask] = residuals * self._share[self.mask]
        return upstream

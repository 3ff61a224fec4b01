"""Robust weights: what a residual counts when some of the image is not in the volume."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fluoro.names import LossName

__all__ = ["Weighting", "weighting_for"]

Array = NDArray[np.float64]

MAD_TO_SIGMA = 1.4826
"""Standard deviation of a normal distribution over its median absolute deviation."""
HUBER_SIGMAS, TUKEY_SIGMAS = 1.345, 4.685
"""Where 95 % of the efficiency at normal residuals is kept (Holland and Welsch 1977)."""


@dataclass(frozen=True, kw_only=True)
class Weighting:
    """A robust loss with its scale.

    Attributes:
        loss: "squares" r^2/2; "huber": linear beyond 1.345 sigma; "tukey": constant beyond 4.685.
        sigma: Scale of the residuals.
    """

    loss: LossName = "squares"
    sigma: float = 1.0

    def of(self, residuals: Array) -> tuple[float, Array, Array | None]:
        """Sum of the losses, their derivatives psi(r), and weights psi(r)/r (None: all 1)."""
        if self.loss == "squares":
            return 0.5 * float(residuals @ residuals), residuals, None
        if self.loss == "huber":
            return self._huber(residuals)
        return self._tukey(residuals)

    def _huber(self, r: Array) -> tuple[float, Array, Array]:
        limit = HUBER_SIGMAS * self.sigma
        size = np.abs(r)
        loss = np.where(size <= limit, 0.5 * r**2, limit * (size - 0.5 * limit))
        weight = limit / np.maximum(size, limit)
        return float(loss.sum()), weight * r, weight

    def _tukey(self, r: Array) -> tuple[float, Array, Array]:
        limit = TUKEY_SIGMAS * self.sigma
        inside = np.maximum(1 - (r / limit) ** 2, 0.0)
        loss = limit**2 / 6 * (1 - inside**3)
        weight = inside**2
        return float(loss.sum()), weight * r, weight


def weighting_for(loss: LossName, residuals: Array) -> Weighting:
    """The loss with the residuals' robust standard deviation, 1.4826 x median |r|, as scale."""
    sigma = MAD_TO_SIGMA * float(np.median(np.abs(residuals))) if loss != "squares" else 1.0
    return Weighting(loss=loss, sigma=max(sigma, 1e-12))

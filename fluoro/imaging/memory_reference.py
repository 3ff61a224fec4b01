"""The oracle of the stages that look back: sums over all earlier frames, in float64."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluoro.config import LagConfig

__all__ = ["lag", "recursive_filter"]

Image = NDArray[Any]


def lag(config: LagConfig, exposures: Sequence[Image]) -> Image:
    """The signal of the last frame: direct + sum of b exp(-a k) of each frame k frames ago."""
    a, b = np.array(config.rates_per_frame), np.array(config.amplitudes)
    signal = (1 - np.sum(b / (1 - np.exp(-a)))) * np.asarray(exposures[-1], float)
    for ago, exposure in enumerate(reversed(exposures)):
        signal = signal + np.sum(b * np.exp(-a * ago)) * exposure
    return np.asarray(signal)


def recursive_filter(weight: float, images: Sequence[Image]) -> Image:
    """Weight a of the newest, a (1 - a)^k of that k frames ago, the rest of the first."""
    first, *later = images
    smoothed = (1 - weight) ** len(later) * np.asarray(first, float)
    for ago, image in enumerate(reversed(later)):
        smoothed = smoothed + weight * (1 - weight) ** ago * image
    return np.asarray(smoothed)

"""The oracle of the stages that look back: sums over all earlier frames, in float64."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluoro.config import DsaConfig, LagConfig

__all__ = ["lag", "moved", "recursive_filter", "subtracted"]

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


def moved(image: Image, columns: float, rows: float) -> Image:
    """The picture moved to the right and down; what is between pixels is bilinear."""
    for axis, shift in ((1, columns), (0, rows)):
        count = image.shape[axis]
        at = np.clip(np.arange(count) - shift, 0, count - 1)
        lower = at.astype(int)
        upper, share = np.minimum(lower + 1, count - 1), np.expand_dims(at - lower, 1 - axis)
        low, high = np.take(image, lower, axis), np.take(image, upper, axis)
        image = low + share * (high - low)
    return image


def subtracted(config: DsaConfig, series: Sequence[Image]) -> Image:
    """The last frame of a series less the mean of its first, and less the vessels' trace."""
    after = len(series) - config.mask_frames
    column, row = config.pixel_shift
    mask = np.mean(np.asarray(series[: config.mask_frames], float), axis=0)
    shown = np.asarray(series[-1] - moved(mask, column, row))
    if config.roadmap is None or after <= config.roadmap.frames:
        return shown
    traced = series[config.mask_frames : config.mask_frames + config.roadmap.frames]
    return np.asarray(
        shown - config.roadmap.opacity * (np.max(traced, axis=0) - moved(mask, column, row))
    )

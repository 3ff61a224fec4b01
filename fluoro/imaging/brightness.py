"""Automatic brightness control: from what the detector received to the next pulse's dose."""

from __future__ import annotations

import math
from collections.abc import Sequence

from fluoro.config import BrightnessConfig

__all__ = ["next_dose_ngy", "roi_box"]


def roi_box(roi: Sequence[float], shape: tuple[int, int]) -> tuple[int, int, int, int]:
    """First column and row of what is measured, and those after its last; at least one pixel.

    Args:
        roi: Left, top, right, bottom as shares of the picture.
        shape: The picture's rows and columns.
    """
    left, right = _span(roi[0], roi[2], shape[1])
    top, bottom = _span(roi[1], roi[3], shape[0])
    return left, top, right, bottom


def _span(low: float, high: float, count: int) -> tuple[int, int]:
    first = min(math.floor(low * count), count - 1)
    return first, max(math.ceil(high * count), first + 1)


def next_dose_ngy(config: BrightnessConfig, dose_ngy: float, measured_ngy: float) -> float:
    """Dose of the next pulse [nGy].

    Args:
        config: Target, limits, slew and dead band.
        dose_ngy: Of this pulse [nGy].
        measured_ngy: What reached the detector in it, mean over the region [nGy].

    Returns:
        dose x target / measured, by at most the slew in either direction, within the limits;
        the same dose where the error lies in the dead band.
    """
    wanted = config.target_ngy / max(measured_ngy, config.target_ngy * 1e-9)
    if abs(wanted - 1) > config.dead_band:
        dose_ngy *= min(max(wanted, 1 / config.slew), config.slew)
    return min(max(dose_ngy, config.least_dose_ngy), config.most_dose_ngy)

"""The rectangle that a collimator leaves open."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fluoro.registration.targets.preparation import Crop

__all__ = ["find_collimator_edges"]

EDGE_RATIO = 4.0
"""Brightness across a blade's edge rises at least by this: lead lets through less than 1 %, but
scatter reaches its shadow."""
PENUMBRA = 0.03
"""Width of the edge's blur, as a share of the image's side."""
LARGEST_SHARE = 0.45
"""No blade covers more of the image from one side."""
MARGIN_PX = 1
"""Left out beside the edge: it may be blurred."""


def find_collimator_edges(intensity: NDArray[np.float64], mask: NDArray[np.bool_]) -> Crop:
    """Return how many pixels the blades of a collimator cover at each side; 0 where there is none.

    Args:
        intensity: Raw detector values, shape (height, width); dark where a blade is.
        mask: Pixels that count.
    """
    values = np.where(mask, intensity, np.nan)
    rows, columns = _profile(values), _profile(values.T)
    top, bottom = _covered(rows), _covered(rows[::-1])
    left, right = _covered(columns), _covered(columns[::-1])
    return top, bottom, left, right


def _profile(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """A high percentile of each row's middle: what a row's brighter anatomy lets through."""
    third = values.shape[1] // 4
    middle = values[:, third : values.shape[1] - third]
    filled = np.where(np.isnan(middle), -np.inf, middle)
    return np.asarray(np.percentile(filled, 75, axis=1))


def _covered(profile: NDArray[np.float64]) -> int:
    """Entries from the start that lie in a blade's shadow."""
    reach = max(1, round(PENUMBRA * len(profile)))
    last = round(LARGEST_SHARE * len(profile))
    outside = np.maximum.accumulate(profile)[: last - reach]
    inside = profile[reach + 1 : last + 1]
    floor = 1e-6 * max(float(profile.max()), 1e-30)
    ratio = inside / np.maximum(outside, floor)
    best = int(np.argmax(ratio))
    if ratio[best] < EDGE_RATIO:
        return 0
    half_way = np.flatnonzero(profile >= 0.5 * inside[best])
    return int(half_way[0]) + MARGIN_PX

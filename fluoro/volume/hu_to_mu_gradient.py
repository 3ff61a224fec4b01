"""Derivative with respect to the parameters of the map from CT numbers to attenuation."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluoro.errors import InputError
from fluoro.volume.hu_to_mu import BONE_HU, HuToMu, LinearCurve

__all__ = ["curve_gradient"]


def curve_gradient(
    hu_zyx: NDArray[Any], by_voxel: NDArray[Any], mapping: HuToMu
) -> dict[str, float]:
    """Return derivatives of a function of the attenuation by the map that made it.

    Args:
        hu_zyx: CT numbers [HU], shape (z, y, x).
        by_voxel: Derivative with respect to each voxel's attenuation [mm], same shape, as
            `DrrRenderer.backproject` returns it.
        mapping: The map. Clipping and the flat ends of a line pass nothing on.

    Returns:
        By the parameter's name and unit: `water_mu_per_mm` of a physical curve,
        or `mu_min_per_mm`, `mu_max_per_mm`, `hu_min` and `hu_max` of a line; and
        `bone_multiplier` of both.

    Raises:
        InputError: Shapes that differ.
    """
    if hu_zyx.shape != by_voxel.shape:
        raise InputError(f"by_voxel must have shape {hu_zyx.shape}, got {by_voxel.shape}")
    total: dict[str, float] = {}
    for hu, weight in zip(hu_zyx, by_voxel, strict=True):  # a slice at a time
        for name, slope in _slopes(np.asarray(hu, float), mapping).items():
            total[name] = total.get(name, 0.0) + float((slope * weight).sum(dtype=float))
    return total


def _slopes(hu: NDArray[np.float64], mapping: HuToMu) -> dict[str, NDArray[np.float64]]:
    """Derivative of each voxel's attenuation by each number."""
    low = -np.inf if mapping.hu_clip_min is None else mapping.hu_clip_min
    high = np.inf if mapping.hu_clip_max is None else mapping.hu_clip_max
    clipped = np.clip(hu, low, high)
    bone = clipped > BONE_HU
    raised = np.where(bone, mapping.bone_multiplier * clipped, clipped)
    curve = mapping.curve
    if isinstance(curve, LinearCurve):
        found, by_hu = _line(raised, curve)
    else:
        shares = np.maximum(1 + raised / 1000, 0)
        found = {"water_mu_per_mm": shares}
        by_hu = np.where(shares > 0, curve.water_mu_per_mm / 1000, 0.0)
    return {**found, "bone_multiplier": np.where(bone, by_hu * clipped, 0.0)}


def _line(
    hu: NDArray[np.float64], curve: LinearCurve
) -> tuple[dict[str, NDArray[np.float64]], NDArray[np.float64]]:
    share = np.clip((hu - curve.hu_min) / curve.hu_span, 0, 1)
    rise = (curve.mu_max_per_mm - curve.mu_min_per_mm) / curve.hu_span
    inside = (share > 0) & (share < 1)
    slopes = {
        "mu_min_per_mm": 1 - share,
        "mu_max_per_mm": share,
        "hu_min": np.where(inside, -rise * (1 - share), 0.0),
        "hu_max": np.where(inside, -rise * share, 0.0),
    }
    return slopes, np.where(inside, rise, 0.0)

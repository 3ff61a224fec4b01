"""Blurs that are given by their modulation transfer: taps of a symmetric filter on pixels."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from fluoro.config import MtfConfig

__all__ = ["aperture_taps", "box_taps", "focal_spot_width_mm", "light_taps", "mtf_of"]

Array = NDArray[np.float64]

REACH_PX = 8
"""Taps beyond are left out."""

DECAYS = 8.5
"""Lengths over which the light falls to 1/e that the taps reach: to 0.01 of the transfer."""

FREQUENCIES = 4
"""At which a filter is fitted, for each of its taps; from 0 to Nyquist's."""

LEAST_TRANSFER = 0.05
"""Errors count relative to the transfer, or to this where it is smaller."""

INNER_PX, OUTER_WEIGHT = 0.45, 0.5
"""Beyond 0.9 of Nyquist's frequency errors count half: few taps cannot follow the bend there."""


def mtf_of(frequency_per_mm: Array, h_mm2: float, aperture_mm: float) -> Array:
    """Return the modulation transfer of a scintillator on pixels: 1 / (1 + H f^2) sinc(a f).

    Args:
        frequency_per_mm: Spatial frequency, along an axis of the pixels [1/mm].
        h_mm2: Spread of the light [mm2].
        aperture_mm: Edge of the part of a pixel that is sensitive [mm].
    """
    return np.asarray(
        np.sinc(aperture_mm * frequency_per_mm) / (1 + h_mm2 * frequency_per_mm**2), float
    )


@lru_cache(maxsize=16)
def light_taps(h_mm2: float, pixel_spacing_mm: float) -> NDArray[np.float32]:
    """Return taps of the light's spread from the middle outwards: a quarter of the filter.

    Args:
        h_mm2: Spread of the light [mm2].
        pixel_spacing_mm: Pixel pitch [mm].

    Returns:
        Shape (radius + 1, radius + 1); the radius is 4 to 8 pixels, as the light needs.
    """
    reach = DECAYS * np.sqrt(h_mm2) / (2 * np.pi * pixel_spacing_mm)
    radius = int(np.clip(np.ceil(reach), REACH_PX // 2, REACH_PX))
    f_px, waves, counts = _waves(radius)
    transfer = mtf_of(np.hypot(f_px[:, None], f_px) / pixel_spacing_mm, h_mm2, 0.0)
    both = np.einsum("ik,jl->ijkl", waves, waves).reshape(transfer.size, -1)
    counts = np.minimum(counts[:, None], counts)
    taps = _fitted(transfer.ravel(), both, counts.ravel()).reshape(radius + 1, radius + 1)
    return np.asarray(taps, np.float32)


def aperture_taps(config: MtfConfig, pixel_spacing_mm: float) -> NDArray[np.float32]:
    """Return taps of a pixel's sensitive part along one axis, from the middle outwards."""
    return box_taps((config.aperture_mm or pixel_spacing_mm) / pixel_spacing_mm)


def focal_spot_width_mm(
    focal_spot_mm: float, source_to_detector_mm: float, source_to_isocenter_mm: float
) -> float:
    """Width at the detector of a point at the isocentre, seen by an even spot: f (M - 1) [mm]."""
    return focal_spot_mm * (source_to_detector_mm / source_to_isocenter_mm - 1)


@lru_cache(maxsize=16)
def box_taps(width_px: float) -> NDArray[np.float32]:
    """Taps of a box of this width along one axis, from the middle outwards; they sum to 1."""
    reach = max(REACH_PX, int(np.ceil(4 * width_px)))
    f_px, waves, counts = _waves(reach)
    return np.asarray(_fitted(np.sinc(width_px * f_px), waves, counts), np.float32)


def _waves(reach: int) -> tuple[Array, Array, Array]:
    """Frequencies [1/pixel], what each tap and its mirror give there, and how errors count."""
    f_px = np.linspace(0, 0.5, FREQUENCIES * (reach + 1))
    taps = np.arange(reach + 1)
    waves = np.cos(2 * np.pi * np.outer(f_px, taps)) * np.where(taps > 0, 2.0, 1.0)
    return f_px, np.asarray(waves), np.where(f_px > INNER_PX, OUTER_WEIGHT, 1.0)


def _fitted(transfer: Array, waves: Array, counts: Array) -> Array:
    """Taps by least squares, which sum to 1: their first frequency is 0.

    Args:
        transfer: Wanted, shape (frequencies,).
        waves: What each tap gives, shape (frequencies, taps).
        counts: How errors count, shape (frequencies,).
    """
    at_zero = waves[0]
    free = waves[:, 1:] - np.outer(waves[:, 0], at_zero[1:] / at_zero[0])
    weights = counts / np.maximum(np.abs(transfer), LEAST_TRANSFER)
    wanted = (transfer - waves[:, 0] / at_zero[0]) * weights
    free = free * weights[:, None]
    taps = np.linalg.solve(free.T @ free, free.T @ wanted)
    return np.concatenate([[(1 - at_zero[1:] @ taps) / at_zero[0]], taps])

"""Blurs that are given by their modulation transfer: taps of a symmetric filter on pixels."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from fluoro.config import MtfConfig

__all__ = ["aperture_taps", "box_taps", "focal_spot_width_mm", "light_taps", "mtf_of"]

Array = NDArray[np.float64]

REACH_PX = 8
"""Taps beyond are left out; a smooth window ends them, so that the transfer has no ripple."""

DECAYS = 8.5
"""Lengths over which the light falls to 1/e that the taps reach: to 0.01 of the transfer."""

GRID = 256
"""Frequencies of one period along an axis."""


def mtf_of(frequency_per_mm: Array, h_mm2: float, aperture_mm: float) -> Array:
    """Modulation transfer of a scintillator on pixels: 1 / (1 + H f^2) sinc(a f).

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
    """Taps of the light's spread from the middle outwards: a quarter of the filter.

    Args:
        h_mm2: Spread of the light [mm2].
        pixel_spacing_mm: Pixel pitch [mm].

    Returns:
        Shape (radius + 1, radius + 1); the radius is 4 to 8 pixels, as the light needs.
    """
    f: Array = np.fft.fftfreq(GRID, pixel_spacing_mm).astype(float)
    reach = DECAYS * np.sqrt(h_mm2) / (2 * np.pi * pixel_spacing_mm)
    radius = int(np.clip(np.ceil(reach), REACH_PX // 2, REACH_PX))
    transfer = mtf_of(np.hypot(f[:, None], f), h_mm2, 0.0)
    taps = np.fft.ifft2(transfer).real[: radius + 1, : radius + 1]
    taps = taps * _window(np.hypot(*np.indices(taps.shape)) / (radius + 1))
    mirrored = np.where(np.arange(radius + 1) > 0, 2.0, 1.0)
    return np.asarray(taps / (mirrored @ taps @ mirrored), np.float32)


def aperture_taps(config: MtfConfig, pixel_spacing_mm: float) -> NDArray[np.float32]:
    """Taps of a pixel's sensitive part along one axis, from the middle outwards."""
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
    transfer = np.sinc(width_px * np.fft.fftfreq(max(GRID, 8 * reach)))
    taps = np.fft.ifft(transfer).real[: reach + 1]
    taps = taps * _window(np.arange(reach + 1) / (reach + 1))
    return np.asarray(taps / (taps[0] + 2 * taps[1:].sum()), np.float32)


def _window(share: Array) -> Array:
    """1 in the inner half, then smoothly to 0 at the end and beyond."""
    outer = np.clip(2 * share - 1, 0, 1)
    return np.asarray(np.cos(np.pi / 2 * outer) ** 2)

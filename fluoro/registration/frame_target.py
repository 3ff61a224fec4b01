"""A frame of our own stream as a registration target: the image chain's last steps undone."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluoro.config import ImageChainConfig
from fluoro.imaging.chain import NO_PHOTON
from fluoro.physics.dose import open_field_photons
from fluoro.registration.target import Target

__all__ = ["shown", "target_from_frame"]

Image = NDArray[np.float32]


def target_from_frame(
    image: NDArray[Any], config: ImageChainConfig, pixel_spacing_mm: float
) -> Target:
    """Line integrals, noise and all, from display values; what the window clipped is masked.

    Args:
        image: Display values in [0, 1], shape (height, width).
        config: Chain that made the picture, with the dose, window and polarity of that moment.
        pixel_spacing_mm: Pixel pitch [mm], which decides how many photons a pixel gets.

    Raises:
        InputError: A picture that is clipped or constant all over.
    """
    kept = (image > 0) & (image < 1)
    rising = np.float32(1) - image if _inverted(config) else image
    window = config.window
    values = np.float32(window.level - window.width / 2) + np.float32(window.width) * rising
    if config.beer_lambert and not config.log:
        photons = open_field_photons(config.dose_ngy, pixel_spacing_mm)
        values = -np.log(np.maximum(values, np.float32(NO_PHOTON / photons)))
    return Target(image=np.where(kept, values, np.float32(0)).astype(np.float32), mask=kept)


def shown(integrals: Image, config: ImageChainConfig) -> Image:
    """Line integrals as the chain's window would show them without noise and blur, [0, 1]."""
    values = np.exp(-integrals) if config.beer_lambert and not config.log else integrals
    lower = config.window.level - config.window.width / 2
    grey = np.clip((values - np.float32(lower)) / np.float32(config.window.width), 0, 1)
    return np.asarray(1 - grey if _inverted(config) else grey, np.float32)


def _inverted(config: ImageChainConfig) -> bool:
    """Whether the largest value before the window is shown black."""
    large_behind_bone = config.log or not config.beer_lambert
    return (config.polarity == "bone_bright") != large_behind_bone

"""A frame of our own stream as a registration target: the image chain's last steps undone."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluoro.config import ImageChainConfig
from fluoro.geometry.carm import CarmGeometry
from fluoro.imaging.stage import FactorStage, FrameContext
from fluoro.imaging.stages.logarithm import NO_PHOTON
from fluoro.imaging.stages.order import ORDER
from fluoro.imaging.stages.window import is_inverted
from fluoro.physics.dose import open_field_photons
from fluoro.registration.targets.target import Target

__all__ = ["shown", "target_from_frame"]

Image = NDArray[np.float32]
SHADERS = [each for each in ORDER if isinstance(each, FactorStage) and each.needs_signal]
"""Stages by which a pixel's share of the signal is known beforehand."""
SHADING = (*(key for stage in SHADERS for key in stage.keys), "gain")
"""Keys of the image chain by which a pixel's share of the signal is known beforehand."""
LEAST_SHARE = 0.05
"""A pixel that gets less than this share of the open field's signal is masked."""


def target_from_frame(
    image: NDArray[Any],
    config: ImageChainConfig,
    pixel_spacing_mm: float,
    geometry: CarmGeometry | None = None,
) -> Target:
    """Return line integrals, noise and all, from display values; what the window clipped is masked.

    What is known of the beam and the detector is undone besides: distance and slant, heel,
    collimator, wedge and bow tie (at 70 keV), an image intensifier's vignetting, gain and bias.

    Args:
        image: Display values in [0, 1], shape (height, width).
        config: Chain that made the image, with the dose, window and polarity of that moment.
        pixel_spacing_mm: Pixel pitch [mm], which decides how many photons a pixel gets.
        geometry: C-arm that the beam's field depends on; None: there is no such field.

    Raises:
        InputError: An image that is clipped or constant all over.
    """
    kept = (image > 0) & (image < 1)
    rising = np.float32(1) - image if is_inverted(config) else image
    window = config.window
    values = np.float32(window.level - window.width / 2) + np.float32(window.width) * rising
    share = _share(_shading(config), image.shape, pixel_spacing_mm, geometry)
    if config.beer_lambert and (share is not None or config.bias or not config.log):
        signal = (np.exp(-values) if config.log else values) - np.float32(config.bias)
        if share is not None:
            kept = kept & (share >= LEAST_SHARE)
            signal = signal / np.maximum(share, np.float32(LEAST_SHARE))
        photons = open_field_photons(config.dose_ngy, pixel_spacing_mm)
        values = -np.log(np.maximum(signal, np.float32(NO_PHOTON / photons)))
    return Target(image=np.where(kept, values, np.float32(0)).astype(np.float32), mask=kept)


def _shading(config: ImageChainConfig) -> ImageChainConfig:
    """The configuration with nothing in it but what shades the image."""
    return ImageChainConfig(**{name: getattr(config, name) for name in SHADING})


@lru_cache(maxsize=4)
def _share(
    config: ImageChainConfig,
    shape: tuple[int, int],
    pixel_spacing_mm: float,
    geometry: CarmGeometry | None,
) -> Image | None:
    """Signal of each pixel without a patient, relative to the open central ray; None: 1."""
    if config == ImageChainConfig():
        return None
    frame = FrameContext(
        config=config, shape=shape, pixel_spacing_mm=pixel_spacing_mm, geometry=geometry
    )
    share = np.full(shape, float(config.gain))
    for stage in SHADERS:
        if stage.is_on(config):
            share = share * stage.factor(frame)
    return np.asarray(share, np.float32)


def shown(integrals: Image, config: ImageChainConfig) -> Image:
    """Line integrals as the chain's window would show them without noise and blur, [0, 1]."""
    values = np.exp(-integrals) if config.beer_lambert and not config.log else integrals
    lower = config.window.level - config.window.width / 2
    grey = np.clip((values - np.float32(lower)) / np.float32(config.window.width), 0, 1)
    return np.asarray(1 - grey if is_inverted(config) else grey, np.float32)

"""The image chain backwards: from a derivative by display values to one by line integrals.

Noise is off in what is differentiated: the derivative of the expected picture. Beer-Lambert, blur,
gain and bias, logarithm, window and polarity are all in it, each where the configuration has it
on; where the window clips or the logarithm meets its floor the derivative is 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluoro.config import ImageChainConfig
from fluoro.imaging.chain import NO_PHOTON, blur_weights
from fluoro.physics.dose import open_field_photons

__all__ = ["blur_transpose", "chain_slope", "pull_back"]

Image = NDArray[Any]


def pull_back(
    integrals: Image, config: ImageChainConfig, pixel_spacing_mm: float, upstream: Image
) -> Image:
    """Derivative by the line integrals of a function of the display values.

    Args:
        integrals: Line integrals (dimensionless), shape (height, width).
        config: The chain; `poisson` and `electronic_noise_photons` are taken as off.
        pixel_spacing_mm: Pixel pitch [mm].
        upstream: The function's derivative by each display value, same shape.

    Returns:
        The derivative by each line integral, float64, same shape.
    """
    transmission, signal = _signal(integrals, config, pixel_spacing_mm)
    slope = upstream * _shown_slope(signal, config, pixel_spacing_mm)
    if not config.beer_lambert:
        return np.asarray(slope)
    slope = slope * config.gain
    if config.blur_sigma_mm > 0:
        slope = blur_transpose(slope, blur_weights(config.blur_sigma_mm / pixel_spacing_mm))
    return np.asarray(-transmission * slope)


def chain_slope(integrals: Image, config: ImageChainConfig, pixel_spacing_mm: float) -> Image:
    """Derivative of each display value by its own line integral, for a chain without blur."""
    return pull_back(integrals, config, pixel_spacing_mm, np.ones(np.shape(integrals)))


def _signal(
    integrals: Image, config: ImageChainConfig, pixel_spacing_mm: float
) -> tuple[Image, Image]:
    """Transmission, and the signal that is read out; without Beer-Lambert the integrals."""
    values = np.asarray(integrals, float)
    if not config.beer_lambert:
        return np.ones_like(values), values
    transmission = np.exp(-values)
    blurred = transmission
    if config.blur_sigma_mm > 0:
        blurred = _blur(transmission, blur_weights(config.blur_sigma_mm / pixel_spacing_mm))
    return transmission, blurred * config.gain + config.bias


def _shown_slope(signal: Image, config: ImageChainConfig, pixel_spacing_mm: float) -> Image:
    """Derivative of the display values by the signal."""
    logarithm = config.beer_lambert and config.log
    values, slope = signal, np.ones_like(signal)
    if logarithm:
        floor = NO_PHOTON / open_field_photons(config.dose_ngy, pixel_spacing_mm)
        held = np.maximum(signal, floor)
        values, slope = -np.log(held), np.where(signal > floor, -1.0 / held, 0.0)
    lower = config.window.level - config.window.width / 2
    shown = (values - lower) / config.window.width
    rising = (config.polarity == "bone_bright") == (logarithm or not config.beer_lambert)
    inside = (shown > 0) & (shown < 1)
    return np.asarray(np.where(inside, slope / config.window.width, 0.0) * (1 if rising else -1))


def _taps(weights: NDArray[np.float32]) -> NDArray[np.float64]:
    half = weights.astype(float)
    return np.concatenate([half[:0:-1], half])


def _blur(image: Image, weights: NDArray[np.float32]) -> Image:
    radius = len(weights) - 1
    for axis in (1, 0):
        pad = [(radius, radius) if a == axis else (0, 0) for a in (0, 1)]
        padded = np.pad(image, pad, mode="edge")
        image = np.apply_along_axis(np.convolve, axis, padded, _taps(weights), mode="valid")
    return image


def blur_transpose(image: Image, weights: NDArray[np.float32]) -> Image:
    """The transpose of the chain's blur: what a border pixel lent, it gets back.

    Args:
        image: Shape (height, width).
        weights: From the middle outwards, as `blur_weights` gives them.
    """
    radius = len(weights) - 1
    for axis in (0, 1):
        spread = np.apply_along_axis(np.convolve, axis, image, _taps(weights), mode="full")
        spread = np.moveaxis(spread, axis, 0)
        inner = spread[radius:-radius].copy()
        inner[0] += spread[:radius].sum(axis=0)
        inner[-1] += spread[-radius:].sum(axis=0)
        image = np.moveaxis(inner, 0, axis)
    return image

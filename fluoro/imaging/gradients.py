"""The image chain backwards: from a derivative by display values to one by line integrals.

Noise is off in what is differentiated: the derivative of the expected picture. Beer-Lambert, the
beam's field, blur, image intensifier, gain and bias, logarithm, edge enhancement, window and
polarity are all in it, each where the configuration has it on; where the window clips or the
logarithm meets its floor the derivative is 0. What depends on earlier frames, on the seed or on
whole steps is refused, and so is scatter.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluoro.config import ImageChainConfig
from fluoro.errors import InputError
from fluoro.geometry.carm import CarmGeometry
from fluoro.imaging import field_reference
from fluoro.imaging.chain import NO_PHOTON, blur_weights
from fluoro.imaging.field import field_stages
from fluoro.physics.dose import open_field_photons

__all__ = ["blur_transpose", "chain_slope", "pull_back"]

Image = NDArray[Any]


def pull_back(
    integrals: Image,
    config: ImageChainConfig,
    pixel_spacing_mm: float,
    upstream: Image,
    geometry: CarmGeometry | None = None,
) -> Image:
    """Derivative by the line integrals of a function of the display values.

    Args:
        integrals: Line integrals (dimensionless), shape (height, width).
        config: The chain; `poisson` and `electronic_noise_photons` are taken as off.
        pixel_spacing_mm: Pixel pitch [mm].
        upstream: The function's derivative by each display value, same shape.
        geometry: As for `ImageChain.apply`.

    Returns:
        The derivative by each line integral, float64, same shape.

    Raises:
        InputError: A stage without a derivative is on, or one needs a geometry.
    """
    _require_derivative(config)
    expected, signal = _signal(integrals, config, pixel_spacing_mm, geometry)
    slope = _processed_slope(signal, config, pixel_spacing_mm, upstream)
    if not config.beer_lambert:
        return np.asarray(slope)
    slope = slope * config.gain * _light(config, signal.shape, pixel_spacing_mm)
    if config.blur_sigma_mm > 0:
        slope = blur_transpose(slope, blur_weights(config.blur_sigma_mm / pixel_spacing_mm))
    return np.asarray(-expected * slope)


def chain_slope(
    integrals: Image,
    config: ImageChainConfig,
    pixel_spacing_mm: float,
    geometry: CarmGeometry | None = None,
) -> Image:
    """Derivative of each display value by its own line integral.

    For a chain without blur and edge enhancement, which mix pixels.
    """
    return pull_back(integrals, config, pixel_spacing_mm, np.ones(np.shape(integrals)), geometry)


def _require_derivative(config: ImageChainConfig) -> None:
    on = {
        "scatter": config.scatter,
        "lag": config.lag,
        "pixel_gain_spread": config.pixel_gain_spread > 0,
        "dead_pixel_fraction": config.dead_pixel_fraction > 0,
        "digitiser": config.digitiser,
        "recursive_filter_weight": config.recursive_filter_weight < 1,
        "dsa": config.dsa,
        "brightness": config.brightness,
        "lut": config.lut,
    }
    keys = [f"image_chain.{key}" for key, value in on.items() if value]
    if keys:
        raise InputError(f"the image chain's derivative must be taken without {', '.join(keys)}")


def _light(config: ImageChainConfig, shape: tuple[int, ...], pixel_spacing_mm: float) -> Image:
    """By how much an image intensifier's place multiplies the signal."""
    given, size = config.image_intensifier, (shape[0], shape[1])
    if not given:
        return np.ones(size)
    return field_reference.image_intensifier(given, size, pixel_spacing_mm)


def _signal(
    integrals: Image,
    config: ImageChainConfig,
    pixel_spacing_mm: float,
    geometry: CarmGeometry | None = None,
) -> tuple[Image, Image]:
    """Expected share of the photons, and the signal; without Beer-Lambert the integrals."""
    values = np.asarray(integrals, float)
    if not config.beer_lambert:
        return np.ones_like(values), values
    shape = (values.shape[0], values.shape[1])
    field_stages(config, shape, geometry)  # says what is missing
    expected = np.exp(-values) * field_reference.field(shape, config, geometry)
    light = expected
    if config.blur_sigma_mm > 0:
        light = _blur(light, blur_weights(config.blur_sigma_mm / pixel_spacing_mm))
    light = light * _light(config, shape, pixel_spacing_mm)
    return expected, light * config.gain + config.bias


def _processed_slope(
    signal: Image, config: ImageChainConfig, pixel_spacing_mm: float, upstream: Image
) -> Image:
    """Derivative by the signal, back through window, edge enhancement and logarithm."""
    logarithm = config.beer_lambert and config.log
    values, slope = signal, np.ones_like(signal)
    if logarithm:
        floor = NO_PHOTON / open_field_photons(config.dose_ngy, pixel_spacing_mm)
        held = np.maximum(signal, floor)
        values, slope = -np.log(held), np.where(signal > floor, -1.0 / held, 0.0)
    if not config.edge_enhancement:
        return upstream * _window_slope(values, config) * slope
    amount = config.edge_enhancement.amount
    weights = blur_weights(config.edge_enhancement.sigma_mm / pixel_spacing_mm)
    sharpened = values + amount * (values - _blur(values, weights))
    pulled = upstream * _window_slope(sharpened, config)
    return np.asarray(((1 + amount) * pulled - amount * blur_transpose(pulled, weights)) * slope)


def _window_slope(values: Image, config: ImageChainConfig) -> Image:
    """Derivative of the display values by what is windowed: 0 where the window clips."""
    lower = config.window.level - config.window.width / 2
    shown = (values - lower) / config.window.width
    rising = (config.polarity == "bone_bright") == (config.log or not config.beer_lambert)
    inside = (shown > 0) & (shown < 1)
    return np.asarray(np.where(inside, (1 if rising else -1) / config.window.width, 0.0))


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

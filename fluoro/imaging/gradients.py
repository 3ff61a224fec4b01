"""The image chain backwards: from a derivative by display values to one by line integrals.

Noise is off in what is differentiated: the derivative of the expected picture. Beer-Lambert, also
of many energies, the beam's field and filters, focal spot, blur and transfer, image intensifier and
glare, gain and bias, logarithm, edge enhancement, window and polarity are all in it, each where the
configuration has it on; where the window clips or the logarithm meets its floor the derivative is
0. What depends on earlier frames, on the seed or on whole steps is refused, and so is scatter.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluoro.config import ImageChainConfig
from fluoro.errors import InputError
from fluoro.geometry.carm import CarmGeometry
from fluoro.imaging.chain import NO_PHOTON, blur_weights
from fluoro.imaging.filters import beam_filters
from fluoro.imaging.linear_stages import blur, blur_transpose, linear_stages
from fluoro.imaging.xray import Beams, filter_mu, open_field_of
from fluoro.physics.beam import Beam
from fluoro.physics.materials import Material

__all__ = ["chain_slope", "expected_picture", "pull_back"]

Image = NDArray[Any]


def expected_picture(
    integrals: Image,
    config: ImageChainConfig,
    pixel_spacing_mm: float,
    geometry: CarmGeometry | None = None,
    materials: Sequence[Material] | Beams = (),
) -> Image:
    """Display values without noise, float64: what `pull_back` is the derivative of.

    Args:
        integrals: As for `pull_back`.
        config: The chain; `poisson` and `electronic_noise_photons` are taken as off.
        pixel_spacing_mm: Pixel pitch [mm].
        geometry: As for `ImageChain.apply`.
        materials: As for `pull_back`.

    Raises:
        InputError: As `pull_back`.
    """
    _require_derivative(config)
    beam = _beam(config, materials)
    _, signal = _signal(integrals, config, pixel_spacing_mm, geometry, beam)
    values = _log(signal, config, _floor(config, beam, pixel_spacing_mm, geometry))[0]
    if config.edge_enhancement:
        weights = blur_weights(config.edge_enhancement.sigma_mm / pixel_spacing_mm)
        values = values + config.edge_enhancement.amount * (values - blur(values, weights))
    lower = config.window.level - config.window.width / 2
    shown = np.clip((values - lower) / config.window.width, 0, 1)
    return np.asarray(shown if _rising(config) else 1 - shown)


def pull_back(
    integrals: Image,
    config: ImageChainConfig,
    pixel_spacing_mm: float,
    upstream: Image,
    geometry: CarmGeometry | None = None,
    materials: Sequence[Material] | Beams = (),
) -> Image:
    """Derivative by the line integrals of a function of the display values.

    Args:
        integrals: Line integrals (dimensionless), shape (height, width); with `xray` thicknesses
            [mm], shape (materials, height, width).
        config: The chain; `poisson` and `electronic_noise_photons` are taken as off.
        pixel_spacing_mm: Pixel pitch [mm].
        upstream: The function's derivative by each display value, shape (height, width).
        geometry: As for `ImageChain.apply`.
        materials: Whose thicknesses they are; or their `Beams`, which are fitted once.

    Returns:
        The derivative by each line integral or thickness, float64, shape of `integrals`.

    Raises:
        InputError: A stage without a derivative is on, or one needs a geometry.
    """
    _require_derivative(config)
    beam = _beam(config, materials)
    slope_of_expected, signal = _signal(integrals, config, pixel_spacing_mm, geometry, beam)
    floor = _floor(config, beam, pixel_spacing_mm, geometry)
    slope = _processed_slope(signal, config, pixel_spacing_mm, upstream, floor)
    if not config.beer_lambert:
        return np.asarray(slope)
    slope = slope * config.gain
    for stage in reversed(linear_stages(config, slope.shape, pixel_spacing_mm, geometry)):
        slope = stage.transpose(slope)
    return np.asarray(slope_of_expected * slope)


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


def _beam(config: ImageChainConfig, materials: Sequence[Material] | Beams) -> Beam | None:
    if config.xray is None:
        return None
    beams = materials if isinstance(materials, Beams) else Beams(materials)
    return beams.beam(config.xray)


def _floor(
    config: ImageChainConfig,
    beam: Beam | None,
    pixel_spacing_mm: float,
    geometry: CarmGeometry | None,
) -> float:
    """Signal that the logarithm takes for less."""
    opened = open_field_of(config.xray, beam, config.dose_ngy, pixel_spacing_mm, geometry)
    return NO_PHOTON / opened


def _signal(
    integrals: Image,
    config: ImageChainConfig,
    pixel_spacing_mm: float,
    geometry: CarmGeometry | None = None,
    beam: Beam | None = None,
) -> tuple[Image, Image]:
    """Derivative of the expected share of the photons by each integral, and the signal.

    Without Beer-Lambert the signal is the integrals.
    """
    values = np.asarray(integrals, float)
    if not config.beer_lambert:
        return np.ones_like(values), values
    shape = (values.shape[-2], values.shape[-1])
    if beam is None:
        light = np.exp(-values)
        slope = -light
    else:
        light, slope = _transmitted(values, config, pixel_spacing_mm, beam)
    for stage in linear_stages(config, shape, pixel_spacing_mm, geometry):
        light = stage.apply(light)
    return slope, light * config.gain + config.bias


def _transmitted(
    thicknesses: Image, config: ImageChainConfig, pixel_spacing_mm: float, beam: Beam
) -> tuple[Image, Image]:
    """Share of the open field's signal behind materials, and its derivative by thicknesses."""
    shape = (thicknesses.shape[-2], thicknesses.shape[-1])
    filters = beam_filters(config.wedge, config.bow_tie, shape, pixel_spacing_mm)
    exponent = np.tensordot(beam.mu_per_mm, thicknesses, 1)
    if filters:
        layers = np.stack([each for _, each in filters]).astype(float)
        exponent = exponent + np.tensordot(filter_mu(beam, filters), layers, 1)
    left = beam.quadrature.weights[:, None, None] * np.exp(-exponent)
    return left.sum(axis=0), -np.tensordot(beam.mu_per_mm.T, left, 1)


def _log(signal: Image, config: ImageChainConfig, floor: float) -> tuple[Image, Image]:
    """What comes after the logarithm, where it is on, and its slope."""
    if not (config.beer_lambert and config.log):
        return signal, np.ones_like(signal)
    held = np.maximum(signal, floor)
    return -np.log(held), np.where(signal > floor, -1.0 / held, 0.0)


def _rising(config: ImageChainConfig) -> bool:
    """Whether a larger value before the window is shown brighter."""
    return (config.polarity == "bone_bright") == (config.log or not config.beer_lambert)


def _processed_slope(
    signal: Image, config: ImageChainConfig, pixel_spacing_mm: float, upstream: Image, floor: float
) -> Image:
    """Derivative by the signal, back through window, edge enhancement and logarithm."""
    values, slope = _log(signal, config, floor)
    if not config.edge_enhancement:
        return upstream * _window_slope(values, config) * slope
    amount = config.edge_enhancement.amount
    weights = blur_weights(config.edge_enhancement.sigma_mm / pixel_spacing_mm)
    sharpened = values + amount * (values - blur(values, weights))
    pulled = upstream * _window_slope(sharpened, config)
    return np.asarray(((1 + amount) * pulled - amount * blur_transpose(pulled, weights)) * slope)


def _window_slope(values: Image, config: ImageChainConfig) -> Image:
    """Derivative of the display values by what is windowed: 0 where the window clips."""
    lower = config.window.level - config.window.width / 2
    shown = (values - lower) / config.window.width
    inside = (shown > 0) & (shown < 1)
    return np.asarray(np.where(inside, (1 if _rising(config) else -1) / config.window.width, 0.0))

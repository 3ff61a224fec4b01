"""The image chain backwards: from a derivative by display values to one by line integrals.

Noise is off in what is differentiated: the derivative of the expected picture. Every stage that is
on is in it but the digitiser, whose steps have no slope. Where the window clips or the logarithm
meets its floor the derivative is 0. What earlier frames have left (lag, temporal filter, mask and
roadmap, dose of the brightness control) is held: a `FrameState` says it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluoro.config import ImageChainConfig, WindowConfig
from fluoro.errors import InputError
from fluoro.geometry.carm import CarmGeometry
from fluoro.imaging import field_reference
from fluoro.imaging import gradient_steps as steps
from fluoro.imaging.chain import NO_PHOTON
from fluoro.imaging.exposure import pulse_of
from fluoro.imaging.field import required_geometry
from fluoro.imaging.frame_state import FrameState, first_state
from fluoro.imaging.gradient_steps import Pull, Step
from fluoro.imaging.linear_stages import detector_stages
from fluoro.imaging.memory import KeptNumbers
from fluoro.imaging.xray import Beams, detector_signal_of, open_field_of
from fluoro.physics.materials import Material

__all__ = ["chain_slope", "expected_picture", "pull_back"]

Image = NDArray[Any]


def expected_picture(
    integrals: Image,
    config: ImageChainConfig,
    pixel_spacing_mm: float,
    geometry: CarmGeometry | None = None,
    materials: Sequence[Material] | Beams = (),
    state: FrameState | None = None,
) -> Image:
    """Display values without noise, float64: what `pull_back` is the derivative of.

    Args:
        integrals: As for `pull_back`.
        config: The chain; `poisson` and `electronic_noise_photons` are taken as off.
        pixel_spacing_mm: Pixel pitch [mm].
        geometry: As for `ImageChain.apply`.
        materials: As for `pull_back`.
        state: As for `pull_back`.

    Raises:
        InputError: As `pull_back`.
    """
    return _run(integrals, config, pixel_spacing_mm, geometry, materials, state)[0]


def pull_back(
    integrals: Image,
    config: ImageChainConfig,
    pixel_spacing_mm: float,
    upstream: Image,
    geometry: CarmGeometry | None = None,
    materials: Sequence[Material] | Beams = (),
    state: FrameState | None = None,
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
        state: What earlier frames have left, as `ImageChain.state` tells; None: the first frame
            of a run with seed 0.

    Returns:
        The derivative by each line integral or thickness, float64, shape of `integrals`.

    Raises:
        InputError: The digitiser is on, or a stage needs a geometry.
    """
    pull = _run(integrals, config, pixel_spacing_mm, geometry, materials, state)[1]
    return pull(np.asarray(upstream, float))


def chain_slope(
    integrals: Image,
    config: ImageChainConfig,
    pixel_spacing_mm: float,
    geometry: CarmGeometry | None = None,
) -> Image:
    """Derivative of each display value by its own line integral.

    For a chain without blur, scatter and edge enhancement, which mix pixels.
    """
    return pull_back(integrals, config, pixel_spacing_mm, np.ones(np.shape(integrals)), geometry)


def _run(
    integrals: Image,
    config: ImageChainConfig,
    pixel_spacing_mm: float,
    geometry: CarmGeometry | None,
    materials: Sequence[Material] | Beams,
    state: FrameState | None,
) -> tuple[Image, Pull]:
    """The picture, and its way back."""
    if config.digitiser:
        raise InputError(
            "the image chain's derivative must be taken without image_chain.digitiser: its whole "
            "steps have the slope 0"
        )
    values = np.asarray(integrals, float)
    held = state or first_state(config)
    shape = (values.shape[-2], values.shape[-1])
    parts = [*_shown(config, pixel_spacing_mm, held), *_shuttered(config, shape, geometry)]
    if config.beer_lambert:
        signal = _signal(config, shape, pixel_spacing_mm, geometry, materials, held)
        parts = [*signal, *parts]
    return steps.chained(parts)(values)


def _signal(
    config: ImageChainConfig,
    shape: tuple[int, int],
    pixel_spacing_mm: float,
    geometry: CarmGeometry | None,
    materials: Sequence[Material] | Beams,
    state: FrameState,
) -> list[Step]:
    """From line integrals or thicknesses to the signal, or its logarithm where that is on."""
    pulse, config = pulse_of(config, KeptNumbers(state.numbers), geometry)
    beams = materials if isinstance(materials, Beams) else Beams(materials)
    beam = beams.beam(config.xray) if config.xray else None
    opened = open_field_of(config.xray, beam, pulse.dose_ngy, pixel_spacing_mm, geometry)
    reference = opened
    if config.brightness:
        per_ngy = detector_signal_of(beam, 1.0, pixel_spacing_mm)
        reference = per_ngy * config.brightness.target_ngy
    parts = [
        steps.exposure(config, pixel_spacing_mm, geometry, beam, beams.materials),
        steps.affine(opened / reference),
        *map(steps.linear, detector_stages(config, shape, pixel_spacing_mm)),
    ]
    if config.lag:
        parts.append(steps.lag(config.lag, state, reference))
    if config.pixel_gain_spread > 0 or config.dead_pixel_fraction > 0:
        parts.append(steps.pattern(config, state.seed))
    parts.append(steps.affine(config.gain, config.bias))
    return [*parts, steps.logarithm(NO_PHOTON / reference)] if config.log else parts


def _shown(config: ImageChainConfig, pixel_spacing_mm: float, state: FrameState) -> list[Step]:
    """What the console makes of the signal."""
    parts: list[Step] = []
    if config.recursive_filter_weight < 1:
        parts.append(steps.temporal_filter(config.recursive_filter_weight, state))
    subtracts = config.dsa is not None and state.subtraction is not None
    if config.dsa and state.subtraction:
        parts.append(steps.subtraction(state.subtraction, config.dsa.pixel_shift))
    if config.edge_enhancement:
        parts.append(steps.sharpening(config.edge_enhancement, pixel_spacing_mm))
    given: WindowConfig = config.dsa.window if config.dsa and subtracts else config.window
    lower = given.level - given.width / 2
    parts.append(steps.window(lower, given.width, rising=_rising(config)))
    return [*parts, steps.curve(config.lut)] if config.lut else parts


def _shuttered(
    config: ImageChainConfig, shape: tuple[int, int], geometry: CarmGeometry | None
) -> list[Step]:
    if config.shutter is None:
        return []
    given = required_geometry("shutter", geometry)
    return [steps.affine(field_reference.shutter(shape, given, config))]


def _rising(config: ImageChainConfig) -> bool:
    """Whether a larger value before the window is shown brighter."""
    return (config.polarity == "bone_bright") == (config.log or not config.beer_lambert)

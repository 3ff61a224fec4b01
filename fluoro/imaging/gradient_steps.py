"""The image chain without noise as steps of float64, each of which can be gone back.

A step gives its result and how a derivative by the result becomes one by what went in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluoro.config import EdgeEnhancementConfig, ImageChainConfig, LagConfig, LutConfig
from fluoro.geometry.carm import CarmGeometry
from fluoro.imaging.chain import blur_weights
from fluoro.imaging.curve import curve_table
from fluoro.imaging.filters import beam_filters
from fluoro.imaging.frame_state import FrameState, SubtractionState
from fluoro.imaging.lag import lag_shares
from fluoro.imaging.linear_stages import (
    LinearStage,
    beam_stages,
    blur,
    blur_transpose,
    moved_mask,
    scatter_stages,
)
from fluoro.imaging.reference import pixel_pattern
from fluoro.imaging.xray import SCATTER_KEV, filter_mu
from fluoro.physics.beam import Beam
from fluoro.physics.materials import Material
from fluoro.physics.scatter import INTEGRAL_STEP, amplitude_table

__all__ = [
    "Pull",
    "Step",
    "affine",
    "chained",
    "curve",
    "exposure",
    "lag",
    "linear",
    "logarithm",
    "pattern",
    "sharpening",
    "subtraction",
    "temporal_filter",
    "window",
]

Image = NDArray[Any]
Pull = Callable[[Image], Image]
Step = Callable[[Image], tuple[Image, Pull]]


def linear(stage: LinearStage) -> Step:
    """A linear stage."""
    return lambda x: (stage.apply(x), stage.transpose)


def affine(factor: Image | float, offset: Image | float = 0.0) -> Step:
    """A factor and an offset, of every pixel or of all."""
    return lambda x: (np.asarray(x * factor + offset), lambda y: np.asarray(y * factor))


def chained(steps: Iterable[Step]) -> Step:
    """One step after the other."""
    given = list(steps)

    def run(x: Image) -> tuple[Image, Pull]:
        pulls = []
        for step in given:
            x, pull = step(x)
            pulls.append(pull)

        def back(y: Image) -> Image:
            for pull in reversed(pulls):
                y = pull(y)
            return y

        return x, back

    return run


def exposure(
    config: ImageChainConfig,
    pixel_spacing_mm: float,
    geometry: CarmGeometry | None,
    beam: Beam | None,
    materials: tuple[Material, ...],
) -> Step:
    """From line integrals or thicknesses to the share of the open field's photons: all of them.

    Raises:
        InputError: A stage needs a geometry that is not given.
    """

    def run(integrals: Image) -> tuple[Image, Pull]:
        shape = (integrals.shape[-2], integrals.shape[-1])
        light, slope = _transmitted(integrals, config, pixel_spacing_mm, beam)
        shaping = beam_stages(config, shape, pixel_spacing_mm, geometry)
        primary, pull = chained(map(linear, shaping))(light)
        if config.scatter is None:
            return primary, lambda y: np.asarray(slope * pull(y))
        source = _scatter_source(config.scatter.air_gap_mm, beam, materials)
        stages = scatter_stages(config, config.scatter, shape, pixel_spacing_mm, geometry)
        scattered, pull_scatter = chained([source, *map(linear, stages)])(integrals)
        return primary + scattered, lambda y: np.asarray(slope * pull(y) + pull_scatter(y))

    return run


def _transmitted(
    integrals: Image, config: ImageChainConfig, pixel_spacing_mm: float, beam: Beam | None
) -> tuple[Image, Image]:
    """Share of the open field's signal behind the patient, and its derivative by the integrals."""
    if beam is None:
        light = np.exp(-integrals)
        return light, -light
    shape = (integrals.shape[-2], integrals.shape[-1])
    filters = beam_filters(config.wedge, config.bow_tie, shape, pixel_spacing_mm)
    exponent = np.tensordot(beam.mu_per_mm, integrals, 1)
    if filters:
        layers = np.stack([each for _, each in filters]).astype(float)
        exponent = exponent + np.tensordot(filter_mu(beam, filters), layers, 1)
    left = beam.quadrature.weights[:, None, None] * np.exp(-exponent)
    return left.sum(axis=0), -np.tensordot(beam.mu_per_mm.T, left, 1)


def _scatter_source(air_gap_mm: float, beam: Beam | None, materials: tuple[Material, ...]) -> Step:
    """What every pencil gives off per mm2, by the line integral at 70 keV that it went through."""
    table = amplitude_table(air_gap_mm, beam)
    amplitude = _table_step(table, INTEGRAL_STEP)
    if beam is None:
        return amplitude
    mu_per_mm = np.array([each.mu_per_mm(SCATTER_KEV) for each in materials], float)

    def as_water(thicknesses: Image) -> tuple[Image, Pull]:
        sums = np.tensordot(mu_per_mm, thicknesses, 1)
        return np.asarray(sums), lambda y: np.asarray(mu_per_mm[:, None, None] * y)

    return chained([as_water, amplitude])


def _table_step(table: NDArray[Any], spacing: float) -> Step:
    """Straight pieces between a table's values at 0, spacing, ...; beyond its ends they hold."""
    values = np.asarray(table, float)
    slopes = np.diff(values) / spacing
    last = len(slopes) - 1

    def run(x: Image) -> tuple[Image, Pull]:
        at = x / spacing
        piece = np.clip(at.astype(int), 0, last)
        part = np.clip(at - piece, 0, 1)
        inside = (at >= 0) & (at <= last + 1)
        slope = np.where(inside, slopes[piece], 0.0)
        return values[piece] + part * (spacing * slopes[piece]), lambda y: np.asarray(slope * y)

    return run


def lag(config: LagConfig, state: FrameState, reference_photons: float) -> Step:
    """What is read of the charge at once, and what earlier frames had trapped."""
    shares = lag_shares(config)
    keep, share = shares["keep"].astype(float), shares["share"].astype(float)
    factor = shares["direct"] + float(share @ (1 - keep))
    if state.trapped is None:
        return affine(factor)
    return affine(factor, np.tensordot(share * keep, state.trapped, 1) / reference_photons)


def pattern(config: ImageChainConfig, seed: int) -> Step:
    """Gains that differ; a dead pixel has none."""

    def run(x: Image) -> tuple[Image, Pull]:
        one = np.ones(x.shape, np.float32)
        spread, dead = config.pixel_gain_spread, config.dead_pixel_fraction
        return affine(pixel_pattern(one, spread, dead, seed).astype(float))(x)

    return run


def logarithm(floor: float) -> Step:
    """-ln, of nothing less than the floor, where the derivative is 0."""

    def run(x: Image) -> tuple[Image, Pull]:
        held = np.maximum(x, floor)
        slope = np.where(x > floor, -1.0 / held, 0.0)
        return -np.log(held), lambda y: np.asarray(slope * y)

    return run


def temporal_filter(weight: float, state: FrameState) -> Step:
    """The newest frame's weight and the rest of the mean so far; the first frame is the mean."""
    if state.smoothed is None:
        return affine(1.0)
    return affine(weight, (1 - weight) * state.smoothed.astype(float))


def subtraction(state: SubtractionState, pixel_shift: tuple[float, float]) -> Step:
    """Less the moved mask, which the frame may itself enter, and less a roadmap's vessels."""

    def run(x: Image) -> tuple[Image, Pull]:
        moved, weight = moved_mask((x.shape[0], x.shape[1]), *pixel_shift), state.mask_weight
        mask = x if state.mask is None else state.mask + weight * (x - state.mask)
        taken = moved.apply(mask) + (0.0 if state.overlay is None else state.overlay)
        return x - taken, lambda y: np.asarray(y - weight * moved.transpose(y))

    return run


def sharpening(config: EdgeEnhancementConfig, pixel_spacing_mm: float) -> Step:
    """What a blur takes away is added."""
    weights = blur_weights(config.sigma_mm / pixel_spacing_mm)
    more = 1 + config.amount
    return linear(
        LinearStage(
            apply=lambda x: more * x - config.amount * blur(x, weights),
            transpose=lambda y: more * y - config.amount * blur_transpose(y, weights),
        )
    )


def window(lower: float, width: float, *, rising: bool) -> Step:
    """Display values; where the window clips the derivative is 0."""

    def run(x: Image) -> tuple[Image, Pull]:
        shown = (x - lower) / width
        inside = (shown > 0) & (shown < 1)
        slope = np.where(inside, (1 if rising else -1) / width, 0.0)
        held = np.clip(shown, 0, 1)
        return np.asarray(held if rising else 1 - held), lambda y: np.asarray(slope * y)

    return run


def curve(config: LutConfig) -> Step:
    """The display's curve: the slopes of its straight pieces."""
    table = curve_table(config)
    return _table_step(table, 1 / (len(table) - 1))

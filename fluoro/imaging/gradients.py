"""The image chain's derivative: with respect to line integrals, from that of display values.

Noise is off in what is differentiated: the derivative of the expected image. Every stage that is
on is in it but the digitiser, whose steps have no slope. Where the window clips or the logarithm
meets its floor the derivative is 0. What earlier frames have left (lag, temporal filter, mask and
roadmap, dose of the brightness control) is held: a `FrameState` says it.

This is the reference implementation; `ImageChain.linearise` is the same by kernels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fluoro.config import ImageChainConfig
from fluoro.geometry.carm import CarmGeometry
from fluoro.imaging.configured_beam import Beams
from fluoro.imaging.frame_setup import StageSelection, begin_frame, require_derivative
from fluoro.imaging.frame_state import FrameState
from fluoro.imaging.reference import through_stages
from fluoro.imaging.stage import Image, Step
from fluoro.physics.materials import Material

__all__ = ["chain_slope", "expected_image", "pull_back"]


def expected_image(
    integrals: Image,
    config: ImageChainConfig,
    pixel_spacing_mm: float,
    geometry: CarmGeometry | None = None,
    materials: Sequence[Material] | Beams = (),
    state: FrameState | None = None,
) -> Image:
    """Return display values without noise, float64: what `pull_back` is the derivative of.

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
    """Return the derivative, with respect to line integrals, of a function of display values.

    Args:
        integrals: Line integrals (dimensionless), shape (height, width); with `xray` thicknesses
            [mm], shape (materials, height, width).
        config: The chain; `poisson` and `electronic_noise_photons` are taken as off.
        pixel_spacing_mm: Pixel pitch [mm].
        upstream: Derivative with respect to each display value, shape (height, width).
        geometry: As for `ImageChain.apply`.
        materials: Whose thicknesses they are; or their `Beams`, which are fitted once.
        state: Memory of earlier frames, as `ImageChain.state` returns it; None: the first frame
            of a run with seed 0.

    Returns:
        Derivative with respect to each line integral or thickness, float64, like `integrals`.

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
    """Return the derivative of each display value by its own line integral.

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
) -> Step:
    """The image, and its way back."""
    require_derivative(config)
    held = state or FrameState()
    frame = begin_frame(
        np.asarray(integrals, float),
        config,
        held.number,
        pixel_spacing_mm,
        geometry,
        selection=StageSelection(),
        memory=held.memory.copy(),
        beams=materials if isinstance(materials, Beams) else Beams(materials),
        seed=held.seed,
        noise=False,
    )
    return through_stages(frame)

"""Filters in the beam whose thickness depends on the place: a wedge, a bow tie."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluoro.config import BowTieConfig, WedgeConfig
from fluoro.imaging.kernel_run import KernelRun
from fluoro.imaging.stage import FactorStage, FrameContext, Image, Shape, Step, settings
from fluoro.physics.beam import Beam
from fluoro.physics.materials import Material, material

__all__ = ["Attenuate", "BeamFilter", "beam_filters", "filter_mu"]

FILTER_KEV = 70.0
"""Energy of the photons where there is no spectrum."""

Map = NDArray[np.float32]
BeamFilter = tuple[Material, Map]
"""A material and its thickness in each pixel's beam [mm], shape (height, width)."""


class Attenuate(FactorStage):
    """What filters do to photons of one energy; with a spectrum they are in its way."""

    keys = ("wedge", "bow_tie")
    example = settings(wedge={"side": "left", "thickness_mm": 2.0, "reach_mm": 100.0})
    text = "A wedge and a bow tie; with `xray` they filter the spectrum."

    def run(self, frame: FrameContext, kernels: KernelRun) -> None:
        """Multiply the image."""
        if frame.beam is not None:
            return
        given = frame.config.wedge, frame.config.bow_tie
        place = frame.shape, frame.pixel_spacing_mm
        for uniforms in kernels.tables.of(_uniforms, *given, *place):
            kernels.pixels("attenuate", **uniforms)

    def reference(self, x: Image, frame: FrameContext) -> Step:
        """Return the image behind the filters."""
        if frame.beam is None:
            return super().reference(x, frame)
        return x, lambda y: y

    def factor(self, frame: FrameContext) -> Image:
        """Return what the filters leave of photons of one energy."""
        left = np.ones(frame.shape)
        config = frame.config
        place = frame.shape, frame.pixel_spacing_mm
        for each, thickness in beam_filters(config.wedge, config.bow_tie, *place):
            left = left * np.exp(-each.mu_per_mm(FILTER_KEV) * thickness)
        return left


def filter_mu(beam: Beam, filters: Sequence[BeamFilter]) -> NDArray[np.float64]:
    """Return the attenuation [1/mm] of filters at a beam's energies, shape (energies, filters)."""
    energies = beam.quadrature.energies_kev
    return np.stack([each.mu_per_mm(energies) for each, _ in filters], axis=1)


@lru_cache(maxsize=8)
def beam_filters(
    wedge: WedgeConfig | None, bow_tie: BowTieConfig | None, shape: Shape, pixel_spacing_mm: float
) -> tuple[BeamFilter, ...]:
    """Return the configured filters for (height, width) pixels; lengths are at the detector."""
    found: list[BeamFilter] = []
    if wedge:
        found.append((material(wedge.material), _wedge(wedge, shape, pixel_spacing_mm)))
    if bow_tie:
        found.append((material(bow_tie.material), _bow_tie(bow_tie, shape, pixel_spacing_mm)))
    return tuple(found)


def _uniforms(
    wedge: WedgeConfig | None, bow_tie: BowTieConfig | None, shape: Shape, pixel_spacing_mm: float
) -> list[dict[str, Any]]:
    return [
        {"thickness_mm": thickness, "mu_per_mm": float(each.mu_per_mm(FILTER_KEV))}
        for each, thickness in beam_filters(wedge, bow_tie, shape, pixel_spacing_mm)
    ]


def _wedge(config: WedgeConfig, shape: Shape, pixel_spacing_mm: float) -> Map:
    """Full thickness up to `reach - ramp` from the border, thinning to nothing at `reach`."""
    rows, columns = (np.indices(shape) + 0.5) * pixel_spacing_mm
    height_mm, width_mm = (count * pixel_spacing_mm for count in shape)
    away_mm = {
        "left": columns,
        "right": width_mm - columns,
        "top": rows,
        "bottom": height_mm - rows,
    }[config.side]
    share = np.clip((config.reach_mm - away_mm) / max(config.ramp_mm, 1e-6), 0, 1)
    return np.asarray(config.thickness_mm * share, np.float32)


def _bow_tie(config: BowTieConfig, shape: Shape, pixel_spacing_mm: float) -> Map:
    """Nothing in the middle, growing with the square of the distance along columns."""
    across_mm = (np.arange(shape[1]) + 0.5 - shape[1] / 2) * pixel_spacing_mm
    share = np.minimum((across_mm / config.half_width_mm) ** 2, 1)
    return np.asarray(np.broadcast_to(config.thickness_mm * share, shape), np.float32).copy()

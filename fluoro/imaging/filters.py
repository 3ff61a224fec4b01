"""Filters in the beam whose thickness depends on the place: a wedge, a bow tie."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from fluoro.config import BowTieConfig, ImageChainConfig, WedgeConfig
from fluoro.imaging.field import Stage
from fluoro.physics.materials import Material, material

__all__ = ["FILTER_KEV", "BeamFilter", "beam_filters", "filter_stages"]

FILTER_KEV = 70.0
"""Energy of the photons where there is no spectrum, and for what a filter does to scatter."""

Map = NDArray[np.float32]
BeamFilter = tuple[Material, Map]
"""A material and its thickness in each pixel's beam [mm], shape (height, width)."""


@lru_cache(maxsize=8)
def beam_filters(
    wedge: WedgeConfig | None,
    bow_tie: BowTieConfig | None,
    shape: tuple[int, int],
    pixel_spacing_mm: float,
) -> tuple[BeamFilter, ...]:
    """The configured filters for a picture of (height, width); lengths are at the detector."""
    found: list[BeamFilter] = []
    if wedge:
        found.append((material(wedge.material), _wedge(wedge, shape, pixel_spacing_mm)))
    if bow_tie:
        found.append((material(bow_tie.material), _bow_tie(bow_tie, shape, pixel_spacing_mm)))
    return tuple(found)


def filter_stages(
    config: ImageChainConfig, shape: tuple[int, int], pixel_spacing_mm: float
) -> list[Stage]:
    """What the filters do to photons of one energy."""
    filters = beam_filters(config.wedge, config.bow_tie, shape, pixel_spacing_mm)
    return [
        Stage(
            "attenuate",
            {"thickness_mm": thickness, "mu_per_mm": float(each.mu_per_mm(FILTER_KEV))},
        )
        for each, thickness in filters
    ]


def _wedge(config: WedgeConfig, shape: tuple[int, int], pixel_spacing_mm: float) -> Map:
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


def _bow_tie(config: BowTieConfig, shape: tuple[int, int], pixel_spacing_mm: float) -> Map:
    """Nothing in the middle, growing with the square of the distance along columns."""
    across_mm = (np.arange(shape[1]) + 0.5 - shape[1] / 2) * pixel_spacing_mm
    share = np.minimum((across_mm / config.half_width_mm) ** 2, 1)
    return np.asarray(np.broadcast_to(config.thickness_mm * share, shape), np.float32).copy()

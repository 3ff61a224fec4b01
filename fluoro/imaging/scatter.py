"""Stages that add scatter: source, cells, spread, back to pixels."""

from __future__ import annotations

from typing import Any

import numpy as np

from fluoro.config import ScatterConfig
from fluoro.imaging.field import Stage
from fluoro.physics.beam import Beam
from fluoro.physics.scatter import INTEGRAL_STEP, amplitude_table, scatter_kernel

__all__ = ["add_stage", "cell_grid", "source_stage", "spread_stage"]

MOST_CELLS = 32
"""Along the longer side: scatter is smooth, its kernels are several cells wide."""

Shape = tuple[int, int]


def cell_grid(shape: Shape) -> tuple[int, Shape]:
    """Edge of a cell [pixels], and how many cells there are (rows, columns)."""
    block = -(-max(shape) // MOST_CELLS)
    return block, (-(-shape[0] // block), -(-shape[1] // block))


def source_stage(
    config: ScatterConfig, integrals: Any, open_field_photons: float, beam: Beam | None = None
) -> Stage:
    """What every pixel's beam gives off per mm2 of a pixel and mm2 of the detector."""
    amplitudes = amplitude_table(config.air_gap_mm, beam)
    return Stage(
        "scatter_source",
        {
            "integrals": integrals,
            "amplitudes": amplitudes.astype(np.float32),
            "last": len(amplitudes) - 1,
            "per_integral": 1 / INTEGRAL_STEP,
            "open_field_photons": open_field_photons,
        },
    )


def spread_stage(config: ScatterConfig, source: Any, cell_mm: float) -> Stage:
    """From what cells give off to what they receive."""
    kernel = scatter_kernel(config.air_gap_mm)
    apart_mm = np.arange(MOST_CELLS) * cell_mm
    narrow, wide = (
        np.exp(-0.5 * (apart_mm / width_mm) ** 2).astype(np.float32)
        for width_mm in (kernel.s1_mm, kernel.s2_mm)
    )
    uniforms = {"source": source, "narrow": narrow, "wide": wide, "wide_height": kernel.b}
    return Stage("scatter_spread", uniforms)


def add_stage(
    config: ScatterConfig, cells: Any, shape: Shape, block: int, pixel_spacing_mm: float
) -> Stage:
    """Scatter to the expected photons of every pixel."""
    return Stage(
        "scatter_add",
        {
            "cells": cells,
            "cells_size": (shape[1], shape[0], 1),
            "block": float(block),
            "factor": float(config.grid_factor * pixel_spacing_mm**2),
        },
    )

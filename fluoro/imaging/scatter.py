"""Stages that add scatter: source, cells, spread, back to pixels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fluoro.config import ScatterConfig, VeilingGlareConfig
from fluoro.imaging.field import Stage
from fluoro.physics.beam import Beam
from fluoro.physics.scatter import INTEGRAL_STEP, amplitude_table, scatter_kernel

__all__ = [
    "add_stage",
    "cell_grid",
    "glare_kernel",
    "line_uniforms",
    "most_cells",
    "source_uniforms",
    "spread_in_lines",
    "spread_uniforms",
]

MOST_CELLS, ACCURATE_CELLS = 32, 128
"""Along the longer side: scatter is smooth, its kernels are several cells wide."""

Shape = tuple[int, int]


def most_cells(config: ScatterConfig) -> int:
    """How many cells there are at most along a side."""
    return ACCURATE_CELLS if config.quality == "accurate" else MOST_CELLS


def cell_grid(shape: Shape, most: int = MOST_CELLS) -> tuple[int, Shape]:
    """Edge of a cell [pixels], and how many cells there are (rows, columns)."""
    block = -(-max(shape) // most)
    return block, (-(-shape[0] // block), -(-shape[1] // block))


def source_uniforms(config: ScatterConfig, beam: Beam | None = None) -> dict[str, Any]:
    """What every pixel's beam gives off per mm2 of a pixel and mm2 of the detector, by integral."""
    amplitudes = amplitude_table(config.air_gap_mm, beam)
    return {
        "amplitudes": amplitudes.astype(np.float32),
        "last": len(amplitudes) - 1,
        "per_integral": 1 / INTEGRAL_STEP,
    }


def spread_uniforms(config: ScatterConfig, cell_mm: float) -> dict[str, Any]:
    """What takes cells of this edge from what they give off to what they receive."""
    kernel = scatter_kernel(config.air_gap_mm)
    apart_mm = np.arange(MOST_CELLS) * cell_mm
    narrow, wide = (
        np.exp(-0.5 * (apart_mm / width_mm) ** 2).astype(np.float32)
        for width_mm in (kernel.s1_mm, kernel.s2_mm)
    )
    return {"narrow": narrow, "wide": wide, "wide_height": kernel.b}


def line_uniforms(config: ScatterConfig, cell_mm: float) -> list[dict[str, Any]]:
    """The same for `spread_in_lines`: its two Gaussians."""
    kernel = scatter_kernel(config.air_gap_mm)
    apart_mm = np.arange(ACCURATE_CELLS) * cell_mm
    return [
        {
            "weights": np.exp(-0.5 * (apart_mm / width_mm) ** 2).astype(np.float32),
            "height": float(height),
        }
        for width_mm, height in ((kernel.s1_mm, 1.0), (kernel.s2_mm, kernel.b))
    ]


def spread_in_lines(
    lines: Sequence[dict[str, Any]], source: Any, run: Callable[[Stage], Any]
) -> Any:
    """What cells receive, Gaussian by Gaussian and axis by axis: for many cells.

    Args:
        lines: As `line_uniforms` gives them.
        source: What cells give off.
        run: Runs a stage on cells and returns its picture.
    """
    total, share = source, 0.0
    for line in lines:
        along_rows = {**line, "height": 1.0, "base": total, "share": 0.0}
        rows = run(Stage("scatter_line", {**along_rows, "source": source, "along_rows": 1}))
        across = {**line, "base": total, "share": share}
        total = run(Stage("scatter_line", {**across, "source": rows, "along_rows": 0}))
        share = 1.0
    return total


def glare_kernel(config: VeilingGlareConfig, block: int, pixel_spacing_mm: float) -> dict[str, Any]:
    """Weights of a normalised Gaussian by distance in cells, for sums over cells."""
    apart = np.arange(MOST_CELLS) * block * pixel_spacing_mm / config.sigma_mm
    bell = np.exp(-0.5 * apart**2)
    area_px = (bell[0] + 2 * bell[1:].sum()) * block
    weights = np.asarray(bell / area_px, np.float32)
    return {"narrow": weights, "wide": np.zeros_like(weights), "wide_height": 0.0}


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

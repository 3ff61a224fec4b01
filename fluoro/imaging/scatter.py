"""Stages that add scatter: source, cells, spread, back to pixels."""

from __future__ import annotations

from collections.abc import Callable
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
    "glare_stages",
    "most_cells",
    "source_stage",
    "spread_in_lines",
    "spread_stage",
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


def spread_in_lines(
    config: ScatterConfig,
    source: Any,
    cell_mm: float,
    run: Callable[[Stage], Any],
) -> Any:
    """The same as `spread_stage`, Gaussian by Gaussian and axis by axis: for many cells.

    Args:
        config: Whose kernel.
        source: What cells give off.
        cell_mm: Edge of a cell [mm].
        run: Runs a stage on cells and returns its picture.
    """
    kernel = scatter_kernel(config.air_gap_mm)
    apart_mm = np.arange(ACCURATE_CELLS) * cell_mm
    total, share = source, 0.0
    for width_mm, height in ((kernel.s1_mm, 1.0), (kernel.s2_mm, kernel.b)):
        weights = np.exp(-0.5 * (apart_mm / width_mm) ** 2).astype(np.float32)
        line = {"weights": weights, "base": total}
        rows = run(
            Stage(
                "scatter_line",
                {**line, "source": source, "along_rows": 1, "height": 1.0, "share": 0.0},
            )
        )
        total = run(
            Stage(
                "scatter_line",
                {**line, "source": rows, "along_rows": 0, "height": float(height), "share": share},
            )
        )
        share = 1.0
    return total


def glare_stages(
    config: VeilingGlareConfig,
    cell_sums: Callable[[int, Shape], Any],
    on_cells: Callable[[Stage, Shape], Any],
    shape: Shape,
    pixel_spacing_mm: float,
) -> Stage:
    """Light that strays: the last stage, once sums over cells have been spread.

    Args:
        config: How much, and how far.
        cell_sums: Sums of the picture over blocks, by the block's edge and the number of cells.
        on_cells: Runs a stage on cells.
        shape: Of the picture.
        pixel_spacing_mm: Pixel pitch [mm].
    """
    block, cells = cell_grid(shape)
    uniforms = {"source": cell_sums(block, cells), **glare_kernel(config, block, pixel_spacing_mm)}
    spread = on_cells(Stage("scatter_spread", uniforms), cells)
    return Stage(
        "veiling_glare",
        {
            "cells": spread,
            "cells_size": (cells[1], cells[0], 1),
            "block": float(block),
            "fraction": float(config.fraction),
        },
    )


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

"""Scatter of the patient: source, cells, spread, back to pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fluoro.config import ScatterConfig
from fluoro.imaging.block_sums import (
    ACCURATE_CELLS,
    MOST_CELLS,
    block_sums,
    cell_grid,
    line_matrices,
    two_sided,
)
from fluoro.imaging.kernel_run import KernelRun
from fluoro.imaging.linear_maps import LinearMap, table_step
from fluoro.imaging.stage import (
    FactorStage,
    FrameContext,
    Image,
    Shape,
    Stage,
    Step,
    present,
    settings,
)
from fluoro.imaging.stages.attenuate import Attenuate
from fluoro.physics.beam import Beam
from fluoro.physics.materials import Material
from fluoro.physics.scatter import INTEGRAL_STEP, amplitude_table, scatter_kernel

__all__ = ["SCATTER_KEV", "Scatter", "most_cells", "scatter_map", "scatter_source"]

SCATTER_KEV = 70.0
"""At which line integrals are taken as so much water."""


class Scatter(Stage):
    """What the shaped beam scatters, computed on cells of many pixels and added."""

    keys = ("scatter",)
    example = settings(scatter={"grid_factor": 0.2})
    text = "Scatter of the patient, by kernels of water, with a grid."
    mixes_pixels = True

    def run(self, frame: FrameContext, kernels: KernelRun) -> None:
        """Add scatter to the image."""
        given = present(frame.config.scatter)
        block, cells = cell_grid(frame.shape, most_cells(given))
        with kernels.aside():
            source = _run_source(given, frame, kernels, block, cells)
            received = _run_spread(given, source, frame, kernels, block, cells)
        kernels.pixels(
            "scatter_add",
            cells=received,
            cells_size=(cells[1], cells[0], 1),
            block=float(block),
            factor=float(given.grid_factor * frame.pixel_spacing_mm**2),
        )

    def reference(self, x: Image, frame: FrameContext) -> Step:
        """Return the image with scatter; the part that came by scatter goes to the integrals."""
        given = present(frame.config.scatter)
        shaping = np.ones(frame.shape)
        for stage in frame.stages:
            if stage.shapes_beam and isinstance(stage, FactorStage):
                shaping = shaping * stage.factor(frame)
        integrals = np.asarray(frame.integrals, float)
        source, pull_source = scatter_source(integrals, given, frame.beam, frame.materials)
        spread = scatter_map(given, frame.shape, frame.pixel_spacing_mm)
        weights = frame.open_field_photons * shaping

        def pull(y: Image) -> Image:
            frame.to_integrals.append(pull_source(weights * spread.transpose(y)))
            return y

        return x + spread.apply(weights * source), pull


def _run_source(
    config: ScatterConfig, frame: FrameContext, kernels: KernelRun, block: int, cells: Shape
) -> Any:
    """Return what each cell gives off."""
    integrals = frame.integrals
    if frame.beam is not None:
        kernels.replaced()
        weights = kernels.tables.of(_water_uniforms, tuple(frame.materials))
        kernels.alone("thickness_sum", thicknesses=frame.integrals, **weights)
        integrals = kernels.image
    kernels.replaced()
    kernels.pixels(
        "scatter_source",
        integrals=integrals,
        open_field_photons=frame.open_field_photons,
        **kernels.tables.of(_source_uniforms, config, frame.beam),
    )
    for stage in frame.stages:
        if isinstance(stage, Attenuate):
            stage.shape(frame, kernels)
        elif stage.shapes_beam:
            stage.run(frame, kernels)
    return block_sums(kernels, block, cells)


def _run_spread(
    config: ScatterConfig,
    source: Any,
    frame: FrameContext,
    kernels: KernelRun,
    block: int,
    cells: Shape,
) -> Any:
    """Return what each cell receives."""
    cell_mm = block * frame.pixel_spacing_mm
    if config.quality == "accurate":
        return _in_lines(kernels.tables.of(_line_uniforms, config, cell_mm), source, kernels, cells)
    spread = kernels.tables.of(_spread_uniforms, config, cell_mm)
    return kernels.on_cells("scatter_spread", cells, source=source, **spread)


def _in_lines(
    lines: Sequence[dict[str, Any]], source: Any, kernels: KernelRun, cells: Shape
) -> Any:
    """Return what cells receive, Gaussian by Gaussian and axis by axis: for many cells."""
    total, share = source, 0.0
    for line in lines:
        along_rows = {**line, "height": 1.0, "base": total, "share": 0.0}
        along_rows |= {"source": source, "along_rows": 1}
        rows = kernels.on_cells("scatter_line", cells, **along_rows)
        across = {**line, "base": total, "share": share, "source": rows, "along_rows": 0}
        total = kernels.on_cells("scatter_line", cells, **across)
        share = 1.0
    return total


def most_cells(config: ScatterConfig) -> int:
    """Return how many cells there are at most along a side."""
    return ACCURATE_CELLS if config.quality == "accurate" else MOST_CELLS


def _source_uniforms(config: ScatterConfig, beam: Beam | None) -> dict[str, Any]:
    """What every pixel's beam gives off per mm2 of a pixel and mm2 of the detector, by integral."""
    amplitudes = amplitude_table(config.air_gap_mm, beam)
    return {
        "amplitudes": amplitudes.astype(np.float32),
        "last": len(amplitudes) - 1,
        "per_integral": 1 / INTEGRAL_STEP,
    }


def _water_uniforms(materials: Sequence[Material]) -> dict[str, Any]:
    mu = np.array([each.mu_per_mm(SCATTER_KEV) for each in materials], np.float32)
    return {"material_count": len(mu), "mu_per_mm": mu}


def _spread_uniforms(config: ScatterConfig, cell_mm: float) -> dict[str, Any]:
    kernel = scatter_kernel(config.air_gap_mm)
    apart_mm = np.arange(MOST_CELLS) * cell_mm
    narrow, wide = (
        np.exp(-0.5 * (apart_mm / width_mm) ** 2).astype(np.float32)
        for width_mm in (kernel.s1_mm, kernel.s2_mm)
    )
    return {"narrow": narrow, "wide": wide, "wide_height": kernel.b}


def _line_uniforms(config: ScatterConfig, cell_mm: float) -> list[dict[str, Any]]:
    kernel = scatter_kernel(config.air_gap_mm)
    apart_mm = np.arange(ACCURATE_CELLS) * cell_mm
    return [
        {
            "weights": np.exp(-0.5 * (apart_mm / width_mm) ** 2).astype(np.float32),
            "height": float(height),
        }
        for width_mm, height in ((kernel.s1_mm, 1.0), (kernel.s2_mm, kernel.b))
    ]


def scatter_source(
    integrals: Image, config: ScatterConfig, beam: Beam | None, materials: Sequence[Material]
) -> Step:
    """Return what every pencil of the open beam gives off [1/mm2], by what it went through.

    Args:
        integrals: Line integrals, or thicknesses [mm] with a beam.
        config: Of the scatter.
        beam: The tube's beam.
        materials: Whose thicknesses they are.
    """
    table = amplitude_table(config.air_gap_mm, beam)
    if beam is None:
        return table_step(integrals, table, INTEGRAL_STEP)
    mu_per_mm = np.array([each.mu_per_mm(SCATTER_KEV) for each in materials], float)
    source, pull = table_step(np.tensordot(mu_per_mm, integrals, 1), table, INTEGRAL_STEP)
    return source, lambda y: np.asarray(mu_per_mm[:, None, None] * pull(y))


def scatter_map(config: ScatterConfig, shape: Shape, pixel_spacing_mm: float) -> LinearMap:
    """Return the map from what pencils give off to the scatter of every pixel.

    It sums over cells, spreads by both Gaussians, and draws straight lines back to the pixels.
    """
    kernel, most = scatter_kernel(config.air_gap_mm), most_cells(config)
    block, cells = cell_grid(shape, most)
    factor, lines = config.grid_factor * pixel_spacing_mm**2, []
    for width_mm, height in ((kernel.s1_mm, factor), (kernel.s2_mm, factor * kernel.b)):
        apart = np.arange(max(cells)) * block * pixel_spacing_mm / width_mm
        down, across = line_matrices(shape, most, np.exp(-0.5 * apart**2))
        lines.append((height * down, across))
    return two_sided(lines)

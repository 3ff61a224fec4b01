"""Scatter of the patient: sums over cells of what pencils give off, spread, back to pixels."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluoro.config import GridConfig, ScatterConfig
from fluoro.imaging.block_sums import (
    ACCURATE_CELLS,
    MOST_CELLS,
    cell_grid,
    hat_sums,
    line_matrices,
    two_sided,
)
from fluoro.imaging.configured_beam import grid_of
from fluoro.imaging.kernel_run import KernelRun
from fluoro.imaging.linear_maps import LinearMap, table_step
from fluoro.imaging.stage import FrameContext, Image, Shape, Stage, Step, present, settings
from fluoro.imaging.stages.antiscatter_grid import ANTISCATTER_GRID
from fluoro.imaging.tape import Tape
from fluoro.physics.beam import Beam
from fluoro.physics.detector import DetectorResponse
from fluoro.physics.materials import Material
from fluoro.physics.scatter import (
    WATER_STEP_MM,
    gap_decay_per_mm,
    gap_per_mm,
    ratio_tables,
    scatter_kernel,
    water_per_integral_mm,
    water_per_mm,
)

__all__ = ["Scatter", "most_cells", "scatter_maps", "scatter_ratios", "water_weights_mm"]


class Scatter(Stage):
    """What the primary scatters, computed on cells of many pixels and added."""

    keys = ("scatter",)
    example = settings(scatter={"grid_factor": 0.2})
    text = "Scatter of the patient, by kernels of water, with a grid."
    mixes_pixels = True

    def run(self, frame: FrameContext, kernels: KernelRun) -> None:
        """Add scatter to the image."""
        given = present(frame.config.scatter)
        block, cells = cell_grid(frame.shape, most_cells(given))
        source = _run_source(given, frame, kernels, block, cells)
        received = _run_spread(given, source, frame, kernels, block, cells)
        if frame.config.grid is not None:
            ANTISCATTER_GRID.run(frame, kernels)
        kernels.pixels(
            "scatter_add",
            cells=received,
            cells_size=(cells[1], cells[0], 1),
            block=float(block),
            factor=_factor(given, frame),
        )

    def run_linear(self, frame: FrameContext, tape: Tape) -> None:
        """Add scatter to the image, and note the transpose."""
        tape.through(partial(self.run, frame), partial(_pull, frame, tape.kept()))

    def reference(self, x: Image, frame: FrameContext) -> Step:
        """Return the image with scatter; what the ratio depends on goes to the integrals."""
        given = present(frame.config.scatter)
        integrals = np.asarray(frame.integrals, float)
        config, beam = frame.config, frame.beam
        ratios = scatter_ratios(integrals, given, beam, frame.materials, config.grid)
        maps = scatter_maps(given, beam, frame.shape, frame.pixel_spacing_mm)
        through = 1.0 if config.grid is None else ANTISCATTER_GRID.factor(frame)
        scatter = sum(to.apply(x * ratio) for to, (ratio, _) in zip(maps, ratios, strict=True))

        def pull(y: Image) -> Image:
            given_off = [to.transpose(y) for to in maps]
            y = np.asarray(through * y)
            for by_source, (ratio, pull_ratio) in zip(given_off, ratios, strict=True):
                frame.to_integrals.append(pull_ratio(by_source * x))
                y = y + by_source * ratio
            return y

        return np.asarray(through * x + scatter), pull


def _pull(frame: FrameContext, primary: Any, kernels: KernelRun) -> None:
    """Give back to the primary, and to the integrals what the ratios depend on."""
    given = present(frame.config.scatter)
    block, cells = cell_grid(frame.shape, most_cells(given))
    spread = kernels.tables.of(_spread_uniforms, given, frame.beam, block * frame.pixel_spacing_mm)
    both = cells[0], 2 * cells[1]
    rows = hat_sums(kernels, block, cells, copies=2)
    rows = kernels.on_cells("scatter_lines", both, source=rows, **spread)
    received = kernels.on_cells("scatter_columns_each", both, source=rows, **spread)
    if frame.config.grid is not None:
        ANTISCATTER_GRID.run(frame, kernels)
    by_integral = kernels.device.empty(frame.integrals.shape)
    kernels.packets(
        "scatter_back",
        "scatter_back",
        cells=received,
        cells_size=(cells[1], cells[0], 1),
        block=block,
        factor=_factor(given, frame),
        primary=primary,
        integrals=frame.integrals,
        by_integral=by_integral,
        **_pencil_uniforms(given, frame, kernels),
    )
    frame.to_integrals.append(by_integral)


def _factor(config: ScatterConfig, frame: FrameContext) -> float:
    return float(config.grid_factor * frame.pixel_spacing_mm**2)


def _pencil_uniforms(
    config: ScatterConfig, frame: FrameContext, kernels: KernelRun
) -> dict[str, Any]:
    """Return what a pencil gives off, by the planes of its integrals."""
    materials = None if frame.beam is None else tuple(frame.materials)
    return {
        **kernels.tables.of(_water_uniforms, materials, config.air_gap_mm),
        **kernels.tables.of(_ratio_uniforms, config, frame.beam, frame.config.grid),
    }


def _run_source(
    config: ScatterConfig, frame: FrameContext, kernels: KernelRun, block: int, cells: Shape
) -> Any:
    """Return what each cell gives off, the narrow Gaussian's beside the wide one's."""
    rows = kernels.on_cells(
        "scatter_rows",
        (frame.shape[0], 2 * cells[1]),
        primary=kernels.image,
        primary_size=kernels.size,
        integrals=frame.integrals,
        block=block,
        **_pencil_uniforms(config, frame, kernels),
    )
    return kernels.on_cells(
        "block_sum",
        (cells[0], 2 * cells[1]),
        source=rows,
        source_size=(2 * cells[1], frame.shape[0], 1),
        block=(1, block, 1),
    )


def _run_spread(
    config: ScatterConfig,
    source: Any,
    frame: FrameContext,
    kernels: KernelRun,
    block: int,
    cells: Shape,
) -> Any:
    """Return what each cell receives, axis by axis."""
    cell_mm = block * frame.pixel_spacing_mm
    spread = kernels.tables.of(_spread_uniforms, config, frame.beam, cell_mm)
    rows = kernels.on_cells("scatter_lines", (cells[0], 2 * cells[1]), source=source, **spread)
    return kernels.on_cells("scatter_columns", cells, source=rows, **spread)


def most_cells(config: ScatterConfig) -> int:
    """Return how many cells there are at most along a side."""
    return ACCURATE_CELLS if config.quality == "accurate" else MOST_CELLS


def water_weights_mm(
    materials: Sequence[Material] | None, air_gap_mm: float
) -> NDArray[np.float64]:
    """Return the water [mm] that stands for 1 mm of each material, or for a line integral of 1."""
    if materials is None:
        return np.array([water_per_integral_mm()])
    return water_per_mm(materials, air_gap_mm)


def gap_weights_mm(materials: Sequence[Material] | None) -> NDArray[np.float64]:
    """Return the air gap [mm] that 1 mm of each material adds; none where none is known."""
    return np.zeros(1) if materials is None else gap_per_mm(materials)


def _ratios(
    config: ScatterConfig, beam: Beam | None, grid: GridConfig | None
) -> NDArray[np.float64]:
    """Return both Gaussians' heights [1/mm2] by water, behind a grid against its primary."""
    ratios = ratio_tables(config.air_gap_mm, _response(beam))
    if grid is None:
        return ratios
    given = grid_of(grid)
    return np.asarray(given.scatter(config.air_gap_mm)[:, None] / given.central_primary * ratios)


def _ratio_uniforms(
    config: ScatterConfig, beam: Beam | None, grid: GridConfig | None
) -> dict[str, Any]:
    """Return both Gaussians' heights, in turn, by the water that a pencil went through."""
    ratios = _ratios(config, beam, grid)
    return {
        "ratios": np.ascontiguousarray(ratios.T, np.float32),
        "last": ratios.shape[1] - 1,
        "per_mm": 1 / WATER_STEP_MM,
        "decays": (*gap_decay_per_mm(config.air_gap_mm, _response(beam)), 0.0),
    }


def _water_uniforms(materials: Sequence[Material] | None, air_gap_mm: float) -> dict[str, Any]:
    weights, gaps = water_weights_mm(materials, air_gap_mm), gap_weights_mm(materials)
    return {
        "plane_count": len(weights),
        "water_mm": weights.astype(np.float32),
        "gap_mm": gaps.astype(np.float32),
        "expands": int(gaps.any()),
    }


def _spread_uniforms(config: ScatterConfig, beam: Beam | None, cell_mm: float) -> dict[str, Any]:
    apart_mm = np.arange(most_cells(config)) * cell_mm
    return {
        name: np.exp(-0.5 * (apart_mm / width_mm) ** 2).astype(np.float32)
        for name, width_mm in zip(("narrow", "wide"), _widths_mm(config, beam), strict=True)
    }


def _response(beam: Beam | None) -> DetectorResponse | None:
    return None if beam is None else beam.response


def _widths_mm(config: ScatterConfig, beam: Beam | None) -> tuple[float, float]:
    kernel = scatter_kernel(config.air_gap_mm, _response(beam))
    return kernel.s1_mm, kernel.s2_mm


def scatter_ratios(
    integrals: Image,
    config: ScatterConfig,
    beam: Beam | None,
    materials: Sequence[Material],
    grid: GridConfig | None = None,
) -> list[Step]:
    """Return what each pencil gives off into either Gaussian [1/mm2], for a primary of 1.

    Args:
        integrals: Line integrals, shape (height, width), or thicknesses [mm] with a beam, shape
            (materials, height, width).
        config: Of the scatter.
        beam: The tube's beam.
        materials: Whose thicknesses they are.
        grid: What scatter goes through.
    """
    tables = _ratios(config, beam, grid)
    known = None if beam is None else materials
    water, gap = water_weights_mm(known, config.air_gap_mm), gap_weights_mm(known)
    planes = integrals.reshape(len(water), *integrals.shape[-2:])
    water_mm, gap_mm = np.tensordot(water, planes, 1), np.tensordot(gap, planes, 1)

    def step(table: NDArray[np.float64], decay: float) -> Step:
        at_gap, pull = table_step(water_mm, table, WATER_STEP_MM)
        left = np.exp(-decay * gap_mm)

        def pull_both(y: Image) -> Image:
            by_water, by_gap = pull(y * left), -decay * y * at_gap * left
            by_plane = water[:, None, None] * by_water + gap[:, None, None] * by_gap
            return np.asarray(by_plane.reshape(integrals.shape))

        return at_gap * left, pull_both

    decays = gap_decay_per_mm(config.air_gap_mm, _response(beam))
    return [step(table, decay) for table, decay in zip(tables, decays, strict=True)]


def scatter_maps(
    config: ScatterConfig, beam: Beam | None, shape: Shape, pixel_spacing_mm: float
) -> list[LinearMap]:
    """Return the map of either Gaussian, from what pencils give off to the scatter of every pixel.

    It sums over cells, spreads, and draws straight lines back to the pixels.
    """
    most = most_cells(config)
    block, cells = cell_grid(shape, most)
    factor = config.grid_factor * pixel_spacing_mm**2
    maps = []
    for width_mm in _widths_mm(config, beam):
        apart = np.arange(max(cells)) * block * pixel_spacing_mm / width_mm
        down, across = line_matrices(shape, most, np.exp(-0.5 * apart**2))
        maps.append(two_sided([(factor * down, across)]))
    return maps

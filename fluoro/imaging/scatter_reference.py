"""The oracle of scatter: the same cells in float64, and the superposition pixel by pixel."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluoro.config import ScatterConfig
from fluoro.imaging.scatter import cell_grid, most_cells
from fluoro.physics.beam import Beam
from fluoro.physics.scatter import INTEGRAL_STEP, amplitude_table, scatter_kernel

__all__ = ["amplitudes_per_mm2", "between_cells", "scatter", "scatter_pixel_by_pixel"]

Image = NDArray[Any]


def amplitudes_per_mm2(integrals: Image, air_gap_mm: float, beam: Beam | None = None) -> Image:
    """What each pencil gives off, relative to the open field [1/mm2]."""
    table = amplitude_table(air_gap_mm, beam)
    return np.asarray(np.interp(integrals, np.arange(len(table)) * INTEGRAL_STEP, table))


def scatter(
    integrals: Image,
    field: Image,
    config: ScatterConfig,
    pixel_spacing_mm: float,
    beam: Beam | None = None,
) -> Image:
    """Scatter relative to the open field, shape (height, width), on cells as the kernels do it."""
    source = amplitudes_per_mm2(integrals, config.air_gap_mm, beam) * field
    block, (rows, columns) = cell_grid(source.shape, most_cells(config))
    padded = np.zeros((rows * block, columns * block))
    padded[: source.shape[0], : source.shape[1]] = source
    cells = padded.reshape(rows, block, columns, block).sum(axis=(1, 3)) * pixel_spacing_mm**2
    received = _superposed(cells, config, block * pixel_spacing_mm) * config.grid_factor
    return between_cells(received, source.shape, block)


def between_cells(received: Image, shape: tuple[int, ...], block: int) -> Image:
    """Straight lines between the middles of cells, for every pixel."""
    for axis, count in enumerate(shape):
        at = np.clip((np.arange(count) + 0.5) / block - 0.5, 0, received.shape[axis] - 1)
        lower = np.minimum(at.astype(int), max(received.shape[axis] - 2, 0))
        upper = np.minimum(lower + 1, received.shape[axis] - 1)
        part = np.expand_dims(at - lower, 1 - axis)
        low, high = np.take(received, lower, axis), np.take(received, upper, axis)
        received = low + part * (high - low)
    return received


def scatter_pixel_by_pixel(
    integrals: Image, field: Image, config: ScatterConfig, pixel_spacing_mm: float
) -> Image:
    """The superposition that the cells stand for, without any."""
    source = amplitudes_per_mm2(integrals, config.air_gap_mm) * field * pixel_spacing_mm**2
    return _superposed(source, config, pixel_spacing_mm) * config.grid_factor


def _superposed(source: Image, config: ScatterConfig, pitch_mm: float) -> Image:
    """Every cell from every cell, by the two Gaussians."""
    kernel, total = scatter_kernel(config.air_gap_mm), np.zeros(source.shape)
    for width_mm, height in ((kernel.s1_mm, 1.0), (kernel.s2_mm, kernel.b)):
        down, across = (_gaussian(count, width_mm / pitch_mm) for count in source.shape)
        total += height * (down @ source @ across)
    return total


def _gaussian(count: int, width: float) -> Image:
    apart = np.subtract.outer(np.arange(count), np.arange(count))
    return np.asarray(np.exp(-0.5 * (apart / width) ** 2))

"""Sums over cells of many pixels, for what is spread far: scatter and veiling glare."""

from __future__ import annotations

import numpy as np

from fluoro.imaging import linear_maps
from fluoro.imaging.kernel_run import KernelRun
from fluoro.imaging.linear_maps import LinearMap
from fluoro.imaging.stage import Image, Shape

__all__ = [
    "ACCURATE_CELLS",
    "MOST_CELLS",
    "block_sums",
    "cell_grid",
    "hat_sums",
    "line_matrices",
    "two_sided",
]

MOST_CELLS, ACCURATE_CELLS = 32, 128
"""Along the longer side: scatter is smooth, its kernels are several cells wide."""


def cell_grid(shape: Shape, most: int = MOST_CELLS) -> tuple[int, Shape]:
    """Return the edge of a cell [pixels], and how many cells there are (rows, columns)."""
    block = -(-max(shape) // most)
    return block, (-(-shape[0] // block), -(-shape[1] // block))


def block_sums(kernels: KernelRun, block: int, cells: Shape) -> object:
    """Return the sums of the image in cells, an array of the device."""
    given = {"source": kernels.image, "source_size": kernels.size, "block": (block, block, 1)}
    return kernels.on_cells("block_sum", cells, **given)


def hat_sums(kernels: KernelRun, block: int, cells: Shape, copies: int = 1) -> object:
    """Return what cells get back of an image that straight lines between them were added to.

    Args:
        kernels: Whose image is the derivative with respect to each pixel.
        block: Edge of a cell [pixels].
        cells: Rows and columns of cells.
        copies: How often the result stands side by side.

    Returns:
        Derivative with respect to each cell, array of the device, shape (rows, copies x columns).
    """
    down = kernels.beside((cells[0], kernels.size[0]))
    given = {"source": kernels.image, "source_size": kernels.size, "block": block}
    down.packets("hats_down", "hats_down", **given)
    return kernels.on_cells(
        "hats_across",
        (cells[0], copies * cells[1]),
        source=down.image,
        source_size=down.size,
        block=block,
        cells=cells[1],
    )


def line_matrices(shape: Shape, most: int, weights: Image) -> tuple[Image, Image]:
    """Return the matrices of a spread over cells and back to pixels, down and across.

    Args:
        shape: Rows and columns of the image.
        most: Cells along the longer side, at most.
        weights: Of the spread, by distance in cells.
    """
    block, cells = cell_grid(shape, most)
    down, across = (
        linear_maps.from_cells(count, n, block)
        @ linear_maps.spread(n, weights)
        @ linear_maps.to_cells(count, n, block)
        for count, n in zip(shape, cells, strict=True)
    )
    return down, across


def two_sided(lines: list[tuple[Image, Image]], kept: float = 0.0) -> LinearMap:
    """Return the sum of maps with a matrix for each axis, and of a share that stays."""

    def apply(x: Image) -> Image:
        return np.asarray(kept * x + sum(down @ x @ across.T for down, across in lines))

    def transpose(y: Image) -> Image:
        return np.asarray(kept * y + sum(down.T @ y @ across for down, across in lines))

    return LinearMap(apply, transpose)

"""Images in blocks of rows, for detectors and stacks larger than a device should hold at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from fluoro.errors import InputError
from fluoro.geometry.projection import View
from fluoro.rendering.renderer import DrrRenderer, common_size, listed_views

__all__ = ["TILE_ROWS", "iter_tiles", "render_tiled"]

TILE_ROWS = 256
"""Rows of a block: 2.5 MB at 2480 columns."""


def iter_tiles(
    renderer: DrrRenderer, view: View, *, tile_rows: int = TILE_ROWS
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Yield blocks of an image from the top: first row, and line integrals on the host.

    Each block is bit-identical to that part of `renderer.render(view)`. It shares one buffer with
    the blocks before and after: use it, or copy it, before the next one is taken.

    Raises:
        InputError: tile_rows below 1.
    """
    if tile_rows < 1:
        raise InputError(f"tile_rows must be at least 1, got {tile_rows}")
    buffer = renderer.device.empty((min(tile_rows, view.height_px), view.width_px))
    for first in range(0, view.height_px, tile_rows):
        rows = (first, min(first + tile_rows, view.height_px))
        fits = rows[1] - rows[0] == buffer.shape[0]
        tile = renderer.render_rows(view, rows, buffer if fits else None)
        yield first, renderer.device.to_host(tile)


def render_tiled(
    renderer: DrrRenderer,
    views: View | Sequence[View],
    *,
    tile_rows: int = TILE_ROWS,
    out: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """Return `renderer.render(views)`, bit-identical, with one block at a time on the device.

    Args:
        renderer: What renders.
        views: One view, or several of one size.
        tile_rows: Rows of a block.
        out: float32 array of shape (height, width), or (N, height, width) for several views, to
            write into, such as a memory map of a file; None: a new one.

    Raises:
        InputError: No view, views of different sizes, or an `out` that does not fit.
    """
    batch = listed_views(views)
    size = common_size(batch)
    shape = size if isinstance(views, View) else (len(batch), *size)
    image = np.empty(shape, np.float32) if out is None else out
    if image.shape != shape or image.dtype != np.float32:
        raise InputError(f"out must be float32 of shape {shape}, got {image.dtype} {image.shape}")
    images = image[None] if isinstance(views, View) else image
    for single, view in zip(images, batch, strict=True):
        for first, tile in iter_tiles(renderer, view, tile_rows=tile_rows):
            single[first : first + len(tile)] = tile
    return image

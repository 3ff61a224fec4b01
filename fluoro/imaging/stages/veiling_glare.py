"""Veiling glare: a share of every pixel's light strays far."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluoro.config import VeilingGlareConfig
from fluoro.imaging.block_sums import (
    MOST_CELLS,
    block_sums,
    cell_grid,
    hat_sums,
    line_matrices,
    two_sided,
)
from fluoro.imaging.kernel_run import KernelRun
from fluoro.imaging.stage import FrameContext, Image, Shape, Stage, Step, present, settings
from fluoro.imaging.tape import Tape

__all__ = ["VeilingGlare"]


class VeilingGlare(Stage):
    """A Gaussian, on cells of many pixels."""

    keys = ("veiling_glare",)
    example = settings(veiling_glare={})
    text = "A share of the light strays far, by a wide Gaussian."
    mixes_pixels = True

    def run(self, frame: FrameContext, kernels: KernelRun) -> None:
        """Spread a share of the image."""
        block, _ = cell_grid(frame.shape)
        kernels.pixels("veiling_glare", block=float(block), **_spread(frame, kernels, block_sums))

    def run_linear(self, frame: FrameContext, tape: Tape) -> None:
        """Spread a share of the image, and note the transpose."""
        tape.through(partial(self.run, frame), partial(_pull, frame))

    def reference(self, x: Image, frame: FrameContext) -> Step:
        """Return the image with its glare."""
        given = _given(frame)
        block, _ = cell_grid(frame.shape)
        weights = _weights(given, block, frame.pixel_spacing_mm).astype(float)
        down, across = line_matrices(frame.shape, MOST_CELLS, weights)
        return two_sided([(given.fraction * down, across)], 1 - given.fraction).at(x)


def _pull(frame: FrameContext, kernels: KernelRun) -> None:
    block, _ = cell_grid(frame.shape)
    kernels.pixels("glare_back", block=block, **_spread(frame, kernels, hat_sums))


def _spread(
    frame: FrameContext, kernels: KernelRun, sums: Callable[[KernelRun, int, Shape], Any]
) -> dict[str, Any]:
    """What each cell receives of the sums over cells, and the share of it."""
    given = _given(frame)
    block, cells = cell_grid(frame.shape)
    weights = kernels.tables.of(_weights, given, block, frame.pixel_spacing_mm)
    source = sums(kernels, block, cells)
    return {
        "cells": kernels.on_cells("glare_spread", cells, source=source, weights=weights),
        "cells_size": (cells[1], cells[0], 1),
        "fraction": float(given.fraction),
    }


def _given(frame: FrameContext) -> VeilingGlareConfig:
    return present(frame.config.veiling_glare)


def _weights(
    config: VeilingGlareConfig, block: int, pixel_spacing_mm: float
) -> NDArray[np.float32]:
    """Weights of a normalised Gaussian by distance in cells, for sums over cells."""
    apart = np.arange(MOST_CELLS) * block * pixel_spacing_mm / config.sigma_mm
    bell = np.exp(-0.5 * apart**2)
    area_px = (bell[0] + 2 * bell[1:].sum()) * block
    return np.asarray(bell / area_px, np.float32)

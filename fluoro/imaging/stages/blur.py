"""The detector's blur: a Gaussian, one axis after the other."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluoro.imaging.kernel_run import KernelRun
from fluoro.imaging.linear_maps import separable
from fluoro.imaging.stage import FrameContext, Image, Stage, Step, settings
from fluoro.imaging.tape import Tape

__all__ = ["Blur", "blur_weights", "gaussian_uniforms", "run_blur", "separable_uniforms"]

BLUR_REACH_SIGMAS = 3.5
"""The Gaussian is cut where it has fallen to 0.2 % of its peak."""


class Blur(Stage):
    """A Gaussian; beyond the border the border pixel holds."""

    keys = ("blur_sigma_mm",)
    example = settings(blur_sigma_mm=1.0)
    text = "Detector blur, a Gaussian."
    mixes_pixels = True

    def run(self, frame: FrameContext, kernels: KernelRun) -> None:
        """Blur the image."""
        sigma_px = frame.config.blur_sigma_mm / frame.pixel_spacing_mm
        run_blur(kernels, kernels.tables.of(gaussian_uniforms, sigma_px))

    def run_linear(self, frame: FrameContext, tape: Tape) -> None:
        """Blur the image, and note the transpose."""
        sigma_px = frame.config.blur_sigma_mm / frame.pixel_spacing_mm
        run_linear_blur(tape, tape.kernels.tables.of(gaussian_uniforms, sigma_px))

    def reference(self, x: Image, frame: FrameContext) -> Step:
        """Return the blurred image."""
        return separable(blur_weights(frame.config.blur_sigma_mm / frame.pixel_spacing_mm)).at(x)


def blur_weights(sigma_px: float) -> NDArray[np.float32]:
    """Return a Gaussian's weights from the middle outwards; both sides together sum to 1."""
    radius = max(1, int(np.ceil(BLUR_REACH_SIGMAS * sigma_px)))
    weights = np.exp(-0.5 * (np.arange(radius + 1) / sigma_px) ** 2)
    return np.asarray(weights / (weights[0] + 2 * weights[1:].sum()), np.float32)


def gaussian_uniforms(sigma_px: float) -> dict[str, Any]:
    """Return what the kernel takes of a Gaussian."""
    return separable_uniforms(blur_weights(sigma_px))


def separable_uniforms(weights: NDArray[np.float32]) -> dict[str, Any]:
    """Return what the kernel takes of a filter, given from the middle outwards."""
    return {"weights": weights, "radius": len(weights) - 1}


def run_linear_blur(tape: Tape, uniforms: dict[str, Any]) -> None:
    """Run a filter along rows, then along columns, and note its transpose."""
    run = partial(run_blur, uniforms=uniforms)
    tape.through(run, partial(run_transposed, margin=uniforms["radius"], run=run))


def run_transposed(kernels: KernelRun, margin: int, run: Callable[[KernelRun], None]) -> None:
    """Run the transpose of a mirrored filter that holds the border pixel beyond the border.

    Args:
        kernels: Whose image is the derivative with respect to each pixel.
        margin: How far the filter reaches [pixels].
        run: Runs the filter.
    """
    columns, rows, _ = kernels.size
    wide = kernels.beside((rows + 2 * margin, columns + 2 * margin))
    wide.packets(
        "zero_margin", "zero_margin", source=kernels.image, source_size=kernels.size, margin=margin
    )
    run(wide)
    kernels.replaced()
    kernels.packets("given_back", "given_back", source=wide.image, margin=margin)


def run_blur(kernels: KernelRun, uniforms: dict[str, Any]) -> None:
    """Run a filter along rows, then along columns."""
    for along_rows in (1, 0):
        source = kernels.replaced()
        kernels.packets("blur", "blur", source=source, along_rows=along_rows, **uniforms)

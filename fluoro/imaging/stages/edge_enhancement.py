"""Edge enhancement: what a blur takes away is added."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from fluoro.config import EdgeEnhancementConfig
from fluoro.imaging.kernel_run import KernelRun
from fluoro.imaging.linear_maps import separable
from fluoro.imaging.stage import FrameContext, Image, Stage, Step, present, settings
from fluoro.imaging.stages.blur import blur_weights, gaussian_uniforms, run_blur, run_transposed
from fluoro.imaging.tape import Tape

__all__ = ["EdgeEnhancement"]


class EdgeEnhancement(Stage):
    """Unsharp masking of what is about to be windowed."""

    keys = ("edge_enhancement",)
    example = settings(edge_enhancement={"amount": 0.8, "sigma_mm": 1.0})
    text = "Unsharp masking: what a blur takes away is added."
    mixes_pixels = True

    def run(self, frame: FrameContext, kernels: KernelRun) -> None:
        """Blur the image, and add the difference."""
        given, sharp = _given(frame), kernels.image
        run_blur(kernels, _blur_uniforms(frame, kernels))
        kernels.pixels("sharpen", source=sharp, amount=float(given.amount))

    def run_linear(self, frame: FrameContext, tape: Tape) -> None:
        """Enhance the image, and note the transpose: the same with the blur's transpose."""
        tape.through(partial(self.run, frame), partial(_pull, frame))

    def reference(self, x: Image, frame: FrameContext) -> Step:
        """Return the image and what a blur takes away from it."""
        given = _given(frame)
        blurred = separable(blur_weights(given.sigma_mm / frame.pixel_spacing_mm))
        more, amount = 1 + given.amount, given.amount
        return (
            np.asarray(more * x - amount * blurred.apply(x)),
            lambda y: np.asarray(more * y - amount * blurred.transpose(y)),
        )


def _pull(frame: FrameContext, kernels: KernelRun) -> None:
    kernels.finish()
    sharp, uniforms = kernels.image, _blur_uniforms(frame, kernels)
    blur = partial(run_blur, uniforms=uniforms)
    run_transposed(kernels, uniforms["radius"], blur)
    kernels.pixels("sharpen", source=sharp, amount=float(_given(frame).amount))


def _blur_uniforms(frame: FrameContext, kernels: KernelRun) -> dict[str, Any]:
    sigma_px = _given(frame).sigma_mm / frame.pixel_spacing_mm
    return kernels.tables.of(gaussian_uniforms, sigma_px)


def _given(frame: FrameContext) -> EdgeEnhancementConfig:
    return present(frame.config.edge_enhancement)

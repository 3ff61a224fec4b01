"""The detector's blur: a Gaussian, one axis after the other."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluoro.imaging.kernel_run import KernelRun
from fluoro.imaging.linear_maps import separable
from fluoro.imaging.stage import FrameContext, Image, Stage, Step, settings

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


def run_blur(kernels: KernelRun, uniforms: dict[str, Any]) -> None:
    """Run a filter along rows, then along columns."""
    for along_rows in (1, 0):
        source = kernels.replaced()
        kernels.packets("blur", "blur", source=source, along_rows=along_rows, **uniforms)

"""Distance and slant: a flat detector's corners get less of the beam."""

from __future__ import annotations

import numpy as np

from fluoro.imaging.detector_plane import central_ray, slopes
from fluoro.imaging.kernel_run import KernelRun
from fluoro.imaging.stage import FactorStage, FrameContext, Image, settings

__all__ = ["InverseSquare"]


class InverseSquare(FactorStage):
    """cos^3 of the angle from the central ray."""

    keys = ("inverse_square",)
    example = settings(inverse_square=True)
    text = "Distance and slant weaken the beam: cos^3 of the angle from the central ray."

    def run(self, frame: FrameContext, kernels: KernelRun) -> None:
        """Multiply the image."""
        kernels.pixels("inverse_square", **central_ray(frame, "inverse_square"))

    def factor(self, frame: FrameContext) -> Image:
        """Return cos^3 of each pixel's angle."""
        x, y = slopes(frame, "inverse_square")
        return np.asarray(np.cos(np.arctan(np.hypot(x, y))) ** 3)

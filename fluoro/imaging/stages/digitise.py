"""The analogue-to-digital converter: it saturates and rounds to whole steps."""

from __future__ import annotations

import numpy as np

from fluoro.imaging.kernel_run import KernelRun
from fluoro.imaging.stage import FrameContext, Image, Stage, Step, present, settings

__all__ = ["Digitise"]


class Digitise(Stage):
    """Whole steps up to full scale."""

    keys = ("digitiser",)
    example = settings(digitiser={"bits": 8, "full_scale": 0.8})
    text = "The analogue-to-digital converter: whole steps up to full scale."
    no_derivative = "its whole steps have the slope 0"

    def run(self, frame: FrameContext, kernels: KernelRun) -> None:
        """Round the image."""
        given = present(frame.config.digitiser)
        highest, full_scale = float(2**given.bits - 1), float(given.full_scale)
        kernels.pixels("digitise", full_scale=full_scale, codes=highest)

    def reference(self, x: Image, frame: FrameContext) -> Step:
        """Return whole steps, in float32 as the kernel takes them; the slope is 0."""
        full_scale = np.float32(present(frame.config.digitiser).full_scale)
        codes = np.float32(2 ** present(frame.config.digitiser).bits - 1)
        share = np.clip(np.asarray(x, np.float32) / full_scale, 0, 1)
        steps = np.floor(share * codes + np.float32(0.5)) / codes * full_scale
        return np.asarray(steps), lambda y: np.zeros_like(y)

"""Afterglow of a display: a bright pixel fades from frame to frame."""

from __future__ import annotations

import numpy as np

from fluoro.imaging.kernel_run import KernelRun
from fluoro.imaging.stage import FrameContext, Image, Stage, Step, settings

__all__ = ["Afterglow"]


class Afterglow(Stage):
    """The larger of the image and what is left of the image that was shown before."""

    keys = ("afterglow",)
    example = settings(afterglow=0.8)
    text = "A bright pixel fades from frame to frame."
    remembers = "afterglow"

    def run(self, frame: FrameContext, kernels: KernelRun) -> None:
        """Add what is left, and keep the sum."""
        shown, fresh = frame.memory.layers("afterglow", 1)
        kernels.pixels("afterglow", shown=shown, fresh=fresh, left=frame.config.afterglow)

    def reference(self, x: Image, frame: FrameContext) -> Step:
        """Return what is shown; the derivative holds what was shown before."""
        before = frame.memory.stored("afterglow")
        left = np.zeros_like(x) if before is None else frame.config.afterglow * before[0]
        shown = x if before is None else np.maximum(x, left)
        frame.memory.store("afterglow", shown[None])
        newer = (shown == x).astype(float)
        return shown, lambda y: np.asarray(y * newer)

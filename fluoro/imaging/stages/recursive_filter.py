"""The recursive temporal filter: y = y + a (x - y)."""

from __future__ import annotations

from fluoro.config import ImageChainConfig
from fluoro.imaging.kernel_run import KernelRun
from fluoro.imaging.stage import FrameContext, Image, Stage, Step, affine, settings

__all__ = ["RecursiveFilter"]


class RecursiveFilter(Stage):
    """The newest frame's weight and the rest of the mean so far; the first frame is the mean."""

    keys = ("recursive_filter_weight",)
    example = settings(recursive_filter_weight=0.4)
    text = "A running mean over frames."
    remembers = "recursive_filter"

    def is_on(self, config: ImageChainConfig) -> bool:
        """Return whether the configuration has the stage."""
        return config.recursive_filter_weight < 1

    def run(self, frame: FrameContext, kernels: KernelRun) -> None:
        """Enter the image into the mean, and take the mean."""
        smoothed, fresh = frame.memory.layers("recursive_filter", 1)
        weight = float(frame.config.recursive_filter_weight)
        kernels.pixels("recursive_filter", smoothed=smoothed, weight=weight, fresh=fresh)

    def reference(self, x: Image, frame: FrameContext) -> Step:
        """Return the mean; the derivative holds the mean so far."""
        weight, before = frame.config.recursive_filter_weight, frame.memory.stored(self.remembers)
        mean = affine(x, 1.0) if before is None else affine(x, weight, (1 - weight) * before[0])
        frame.memory.store(self.remembers, mean[0][None])
        return mean

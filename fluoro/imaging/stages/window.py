"""A fixed window to display values in [0, 1], and the polarity."""

from __future__ import annotations

import numpy as np

from fluoro.config import ImageChainConfig, WindowConfig
from fluoro.imaging.kernel_run import KernelRun
from fluoro.imaging.stage import FrameContext, Image, Stage, Step, settings

__all__ = ["Window", "is_inverted"]


class Window(Stage):
    """Black to white, or white to black; a subtracted frame has a window of its own."""

    keys = ("window", "polarity")
    example = settings(window={"level": 1.0, "width": 2.0}, polarity="bone_bright")
    text = "A fixed window to display values from 0 to 1, and the polarity."

    def run(self, frame: FrameContext, kernels: KernelRun) -> None:
        """Window the image."""
        given = _given(frame)
        kernels.pixels(
            "window",
            lower=float(given.level - given.width / 2),
            width=float(given.width),
            inverted=int(is_inverted(frame.config)),
        )

    def reference(self, x: Image, frame: FrameContext) -> Step:
        """Return display values; where the window clips the derivative is 0."""
        given, inverted = _given(frame), is_inverted(frame.config)
        shown = (x - (given.level - given.width / 2)) / given.width
        inside = (shown > 0) & (shown < 1)
        slope = np.where(inside, (-1 if inverted else 1) / given.width, 0.0)
        held = np.clip(shown, 0, 1)
        return np.asarray(1 - held if inverted else held), lambda y: np.asarray(slope * y)


def _given(frame: FrameContext) -> WindowConfig:
    dsa = frame.config.dsa
    return dsa.window if dsa and frame.subtracted else frame.config.window


def is_inverted(config: ImageChainConfig) -> bool:
    """Return whether the largest value before the window is shown black."""
    large_behind_bone = config.log or not config.beer_lambert  # a signal is small behind bone
    return (config.polarity == "bone_bright") != large_behind_bone

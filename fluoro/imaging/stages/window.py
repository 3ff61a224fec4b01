"""A fixed window to display values in [0, 1], and the polarity."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fluoro.config import ImageChainConfig, WindowConfig
from fluoro.imaging.kernel_run import KernelRun
from fluoro.imaging.stage import FrameContext, Image, Stage, Step, settings

__all__ = ["Window", "is_inverted", "rewindowed"]


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


def rewindowed(image: Image, was: ImageChainConfig, now: ImageChainConfig) -> NDArray[np.float32]:
    """Return display values as another window and polarity show them.

    What the first window has clipped stays of one grey value.

    Args:
        image: Display values in [0, 1], shape (height, width), made with `was`.
        was: Chain that made the image.
        now: The same with another window or polarity.

    Returns:
        Display values in [0, 1], a new array of the same shape.
    """
    before, after = (each.dsa.window if each.dsa else each.window for each in (was, now))
    rising = 1 - image if is_inverted(was) else image
    values = before.level + (rising - 0.5) * before.width
    grey = np.clip((values - after.level) / after.width + 0.5, 0, 1)
    return np.asarray(1 - grey if is_inverted(now) else grey, np.float32)

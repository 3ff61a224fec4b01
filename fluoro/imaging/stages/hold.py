"""Pulses: a pulse's image is kept for the frames until the next pulse."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fluoro.config import ImageChainConfig
from fluoro.imaging.kernel_run import KernelRun
from fluoro.imaging.stage import FrameContext, Image, Stage, Step, present, settings

__all__ = ["Hold"]


class Hold(Stage):
    """What is before it runs with a pulse alone; `take` takes the kept image up again."""

    keys = ("pulse_rate_hz",)
    example = settings(pulse_rate_hz=15.0)
    text = "Keeps a pulse's image for the frames until the next pulse."
    remembers = "held"

    def run(self, frame: FrameContext, kernels: KernelRun) -> None:
        """Keep the image."""
        kept, _ = frame.memory.layers("held", 1)
        self._note(frame)
        kernels.pixels("keep", kept=kept)

    def take(self, frame: FrameContext, kernels: KernelRun) -> None:
        """Take up the image of the last pulse."""
        kept, _ = frame.memory.layers("held", 1)
        kernels.pixels("copy_integrals", integrals=kept)
        frame.subtracted = self._was_subtracted(frame)

    def reference(self, x: Image, frame: FrameContext) -> Step:
        """Return the image, and keep it."""
        self._note(frame)
        frame.memory.store("held", x[None])
        return x, lambda y: y

    def taken(self, frame: FrameContext) -> Image:
        """Return the image of the last pulse."""
        frame.subtracted = self._was_subtracted(frame)
        return np.asarray(present(frame.memory.stored("held"))[0])

    def rehearsed(self, config: ImageChainConfig) -> tuple[ImageChainConfig, Sequence[bool]]:
        """Return a frame with a pulse and one without."""
        return config, [True, False]

    def _note(self, frame: FrameContext) -> None:
        frame.memory.numbers.keep("held_subtracted", float(frame.subtracted))

    def _was_subtracted(self, frame: FrameContext) -> bool:
        return frame.memory.numbers.value("held_subtracted", 0.0) > 0

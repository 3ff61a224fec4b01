"""A display that glows on: the running mean of its frames, to a power."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

from fluoro.config.section import Section
from fluoro.imaging.kernel_run import KernelRun
from fluoro.imaging.stage import FrameContext, Image, Stage, Step, settings

FLOOR = 1e-3
"""Least value of the mean: the power has a finite slope there."""


class PersistentGammaConfig(Section):
    """A display that glows on: y = max(m, 0.001)^gamma, m being the running mean of its frames."""

    gamma: Annotated[float, Field(ge=0.2, le=5)] = Field(description="Exponent.")
    weight: Annotated[float, Field(gt=0, le=1)] = Field(
        0.5, description="Weight of the newest frame; 1: no memory."
    )


class PersistentGamma(Stage):
    """The running mean of the frames that are shown, to a power."""

    keys = ("persistent_gamma",)
    section = PersistentGammaConfig
    follows = "window"
    example = settings(persistent_gamma={"gamma": 1.6, "weight": 0.4})
    text = "A running mean of display values, to a power."
    remembers = "persistent_gamma"

    def run(self, frame: FrameContext, kernels: KernelRun) -> None:
        """Enter the image into the mean, and take the power of the mean."""
        config = frame.config.persistent_gamma
        mean, fresh = frame.memory.layers("persistent_gamma", 1)
        numbers = {"weight": config.weight, "gamma": config.gamma, "fresh": fresh}
        kernels.pixels("persistent_gamma", mean=mean, **numbers)

    def reference(self, x: Image, frame: FrameContext) -> Step:
        """Return the power, and its derivative, which holds the mean so far."""
        config, before = frame.config.persistent_gamma, frame.memory.stored(self.remembers)
        weight = 1.0 if before is None else config.weight
        mean = x if before is None else before[0] + weight * (x - before[0])
        frame.memory.store(self.remembers, mean[None])
        base = np.maximum(mean, FLOOR)
        slope = weight * config.gamma * base ** (config.gamma - 1) * (mean > FLOOR)
        return base**config.gamma, lambda y: np.asarray(y * slope)

"""The detector's own pattern: pixels whose gains differ, and dead ones."""

from __future__ import annotations

from typing import Any

import numpy as np

from fluoro.imaging import random_reference as draws
from fluoro.imaging.kernel_run import KernelRun
from fluoro.imaging.stage import FrameContext, Image, Shape, Stage, Step, Words, affine, settings
from fluoro.rendering.devices.base import ComputeDevice

__all__ = ["PixelPattern"]


class PixelPattern(Stage):
    """A gain for each pixel, the same in every frame; drawn once."""

    keys = ("pixel_gain_spread", "dead_pixel_fraction")
    example = settings(pixel_gain_spread=0.02, dead_pixel_fraction=0.01)
    text = "Gains that differ from pixel to pixel, and dead pixels; the same in every frame."

    def run(self, frame: FrameContext, kernels: KernelRun) -> None:
        """Multiply the image."""
        spread = float(frame.config.pixel_gain_spread)
        dead = float(frame.config.dead_pixel_fraction)
        pattern = kernels.device, frame.shape, frame.draw["seed"], spread, dead
        kernels.pixels("pixel_gains", gains=kernels.tables.of(_drawn, *pattern))

    def reference(self, x: Image, frame: FrameContext) -> Step:
        """Return the image times the gains."""
        config, seed = frame.config, frame.seed
        return affine(
            x, _gains(frame.shape, config.pixel_gain_spread, config.dead_pixel_fraction, seed)
        )


def _drawn(
    device: ComputeDevice, shape: Shape, seed: Words, gain_spread: float, dead_fraction: float
) -> Any:
    """Each pixel's gain, 0 where it is dead: float32 array of the device, shape (height, width)."""
    gains = device.to_device(np.ones(shape, np.float32))
    size = (shape[1], shape[0], 1)
    uniforms = {
        "image": gains,
        "image_size": size,
        "seed": seed,
        "gain_spread": gain_spread,
        "dead_fraction": dead_fraction,
    }
    device.launch("pixel_pattern", "pixel_pattern", size, uniforms, exact=True)
    return gains


def _gains(shape: Shape, gain_spread: float, dead_fraction: float, seed: int) -> Image:
    """Each pixel's gain, 0 where it is dead, shape (height, width)."""
    gains, deaths = (
        draws.draw_bits(shape, seed, 0, stage) for stage in (draws.GAIN_STAGE, draws.DEATH_STAGE)
    )
    spread = np.float32(gain_spread) * draws.normal_quantile(*draws.uniform(gains))
    tail, upper = draws.uniform(deaths)
    dead = np.where(upper, np.float32(1) - tail, tail) < np.float32(dead_fraction)
    return np.where(dead, 0.0, np.maximum(np.float32(1) + spread, 0)).astype(float)

"""An image intensifier: a round, curved input screen, darker towards its rim."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from fluoro.config import ImageIntensifierConfig
from fluoro.imaging.detector_plane import middle, middle_mm, ramp
from fluoro.imaging.kernel_run import KernelRun
from fluoro.imaging.linear_maps import LinearMap, warp
from fluoro.imaging.stage import FactorStage, FrameContext, Image, Step, present, settings
from fluoro.imaging.tape import Tape
from fluoro.rendering.devices.base import KernelText

__all__ = ["ImageIntensifier"]


WARP_BACK = KernelText('#include "pin_cushion_back.slang"', "pin_cushion_back", scatters=True)


class ImageIntensifier(FactorStage):
    """The pin cushion of its curved screen, then its vignetting and its rim."""

    keys = ("image_intensifier",)
    example = settings(image_intensifier={"diameter_mm": 340.0, "pin_cushion": 0.1})
    text = "An image intensifier's pin cushion, vignetting and round screen."
    mixes_pixels = True

    def run(self, frame: FrameContext, kernels: KernelRun) -> None:
        """Warp and darken the image."""
        if _given(frame).pin_cushion > 0:
            source = kernels.replaced()
            kernels.pixels("pin_cushion", source=source, **_warp_uniforms(frame))
        _run_light(frame, kernels)

    def run_linear(self, frame: FrameContext, tape: Tape) -> None:
        """Warp and darken the image, and note the transpose."""
        tape.through(partial(self.run, frame), partial(_pull, frame))

    def reference(self, x: Image, frame: FrameContext) -> Step:
        """Return the image on the screen."""
        if _given(frame).pin_cushion == 0:
            return super().reference(x, frame)
        screen = _pin_cushion(frame)
        light, pull = super().reference(screen.apply(x), frame)
        return light, lambda y: screen.transpose(pull(y))

    def factor(self, frame: FrameContext) -> Image:
        """Return the share of the light that each place of the screen sends on."""
        given = _given(frame)
        r = np.hypot(*middle_mm(frame, frame.pixel_spacing_mm))
        radius_mm = given.diameter_mm / 2
        kept = np.maximum(1 - given.vignetting * (r / radius_mm) ** 2, 0)
        return np.asarray(kept * ramp(radius_mm - r, frame.pixel_spacing_mm))


def _run_light(frame: FrameContext, kernels: KernelRun) -> None:
    screen, vignetting = _screen(frame), float(_given(frame).vignetting)
    kernels.pixels("image_intensifier", **screen, vignetting=vignetting)


def _pull(frame: FrameContext, kernels: KernelRun) -> None:
    _run_light(frame, kernels)
    if _given(frame).pin_cushion == 0:
        return
    kernels.finish()
    sums = kernels.device.to_device(np.zeros(frame.shape, np.float32))
    shared = {"image": kernels.image, "image_size": kernels.size, "sums.by_voxel": sums}
    screen = {f"screen.{name}": value for name, value in _warp_uniforms(frame).items()}
    uniforms = {**shared, **screen}
    kernels.device.launch(WARP_BACK, "warp_back", kernels.size, uniforms, exact=True)
    kernels.image = sums


def _screen(frame: FrameContext) -> dict[str, Any]:
    radius_mm = float(_given(frame).diameter_mm / 2)
    return {**middle(frame, frame.pixel_spacing_mm), "radius_mm": radius_mm}


def _warp_uniforms(frame: FrameContext) -> dict[str, Any]:
    return {**_screen(frame), "strength": float(_given(frame).pin_cushion)}


def _given(frame: FrameContext) -> ImageIntensifierConfig:
    return present(frame.config.image_intensifier)


def _pin_cushion(frame: FrameContext) -> LinearMap:
    """A pixel at r shows r (1 + k) / (1 + k r^2 / R^2), linear between pixels."""
    given, pitch_mm = _given(frame), frame.pixel_spacing_mm
    height, width = frame.shape
    x, y = middle_mm(frame, pitch_mm)
    reach = np.hypot(x, y) / (given.diameter_mm / 2)
    stretch = (1 + given.pin_cushion) / (1 + given.pin_cushion * reach**2)
    column = np.clip(width / 2 + stretch * x / pitch_mm - 0.5, 0, width - 1)
    row = np.clip(height / 2 + stretch * y / pitch_mm - 0.5, 0, height - 1)
    left = np.minimum(column.astype(int), max(width - 2, 0))
    top = np.minimum(row.astype(int), max(height - 2, 0))
    right, below = np.minimum(left + 1, width - 1), np.minimum(top + 1, height - 1)
    across, down = column - left, row - top
    return warp(
        [
            (top, left, (1 - down) * (1 - across)),
            (top, right, (1 - down) * across),
            (below, left, down * (1 - across)),
            (below, right, down * across),
        ]
    )

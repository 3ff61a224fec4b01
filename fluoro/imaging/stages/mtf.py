"""The detector's blur by its modulation transfer."""

from __future__ import annotations

from typing import Any

from fluoro.config import MtfConfig
from fluoro.imaging.kernel_run import KernelRun
from fluoro.imaging.linear_maps import convolution
from fluoro.imaging.mtf_kernels import taps_of
from fluoro.imaging.stage import FrameContext, Image, Stage, Step, present, settings

__all__ = ["Mtf"]


class Mtf(Stage):
    """A filter of 17 x 17 taps."""

    keys = ("mtf",)
    example = settings(mtf={"h_mm2": 0.5})
    text = "Detector blur by its modulation transfer."
    mixes_pixels = True

    def run(self, frame: FrameContext, kernels: KernelRun) -> None:
        """Filter the image."""
        taps = kernels.tables.of(_uniforms, frame.config.mtf, frame.pixel_spacing_mm)
        kernels.packets("convolve", "convolve", source=kernels.replaced(), **taps)

    def reference(self, x: Image, frame: FrameContext) -> Step:
        """Return the filtered image."""
        return convolution(taps_of(present(frame.config.mtf), frame.pixel_spacing_mm)).at(x)


def _uniforms(config: MtfConfig, pixel_spacing_mm: float) -> dict[str, Any]:
    taps = taps_of(config, pixel_spacing_mm)
    return {"taps": taps, "radius": len(taps) - 1}

"""The spread of the converter's light, behind the quanta."""

from __future__ import annotations

from functools import partial
from typing import Any

from fluoro.config import MtfConfig
from fluoro.imaging.kernel_run import KernelRun
from fluoro.imaging.linear_maps import convolution
from fluoro.imaging.mtf_kernels import light_taps
from fluoro.imaging.stage import FrameContext, Image, Stage, Step, present, settings
from fluoro.imaging.stages.blur import run_transposed
from fluoro.imaging.tape import Tape

__all__ = ["Mtf"]


class Mtf(Stage):
    """A filter of 9 x 9 to 17 x 17 taps; the counts' noise goes through it too."""

    keys = ("mtf",)
    example = settings(mtf={"h_mm2": 0.5})
    text = "Spread of the converter's light, on the counts."
    mixes_pixels = True

    def run(self, frame: FrameContext, kernels: KernelRun) -> None:
        """Filter the image."""
        taps = kernels.tables.of(_uniforms, frame.config.mtf, frame.pixel_spacing_mm)
        kernels.packets("convolve", "convolve", source=kernels.replaced(), **taps)

    def run_linear(self, frame: FrameContext, tape: Tape) -> None:
        """Filter the image, and note the transpose."""
        run, given = partial(self.run, frame), frame.config.mtf
        taps = tape.kernels.tables.of(_uniforms, given, frame.pixel_spacing_mm)
        tape.through(run, partial(run_transposed, margin=taps["radius"], run=run))

    def reference(self, x: Image, frame: FrameContext) -> Step:
        """Return the filtered image."""
        return convolution(light_taps(present(frame.config.mtf).h_mm2, frame.pixel_spacing_mm)).at(
            x
        )


def _uniforms(config: MtfConfig, pixel_spacing_mm: float) -> dict[str, Any]:
    taps = light_taps(config.h_mm2, pixel_spacing_mm)
    return {"taps": taps, "radius": len(taps) - 1}

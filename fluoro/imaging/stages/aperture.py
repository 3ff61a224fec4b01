"""What a pixel's sensitive part takes together, before the quanta are counted."""

from __future__ import annotations

from typing import Any

from fluoro.config import MtfConfig
from fluoro.imaging.kernel_run import KernelRun
from fluoro.imaging.linear_maps import separable
from fluoro.imaging.mtf_kernels import aperture_taps
from fluoro.imaging.stage import FrameContext, Image, Stage, Step, present, settings
from fluoro.imaging.stages.blur import run_blur, run_linear_blur, separable_uniforms
from fluoro.imaging.tape import Tape

__all__ = ["Aperture"]


class Aperture(Stage):
    """A box of the aperture's width along both axes.

    Samples fold the noise beyond their Nyquist frequency back, so counts are white whatever the
    aperture does to the signal: it acts on the expected photons alone.
    """

    keys = ("mtf",)
    example = settings(mtf={"h_mm2": 0.0})
    text = "A pixel's aperture, on the expected photons."
    mixes_pixels = True

    def run(self, frame: FrameContext, kernels: KernelRun) -> None:
        """Blur the image."""
        run_blur(kernels, kernels.tables.of(_uniforms, frame.config.mtf, frame.pixel_spacing_mm))

    def run_linear(self, frame: FrameContext, tape: Tape) -> None:
        """Blur the image, and note the transpose."""
        given = frame.config.mtf, frame.pixel_spacing_mm
        run_linear_blur(tape, tape.kernels.tables.of(_uniforms, *given))

    def reference(self, x: Image, frame: FrameContext) -> Step:
        """Return the blurred image."""
        return separable(aperture_taps(present(frame.config.mtf), frame.pixel_spacing_mm)).at(x)


def _uniforms(config: MtfConfig, pixel_spacing_mm: float) -> dict[str, Any]:
    return separable_uniforms(aperture_taps(config, pixel_spacing_mm))

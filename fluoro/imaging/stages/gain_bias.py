"""Photons to a signal relative to the open field, then gain and bias."""

from __future__ import annotations

from fluoro.imaging.kernel_run import KernelRun
from fluoro.imaging.stage import FrameContext, Image, Stage, Step, affine, settings

__all__ = ["GainBias"]


class GainBias(Stage):
    """A factor and an offset."""

    keys = ("gain", "bias")
    example = settings(gain=0.8, bias=0.05)
    text = "The signal relative to the open field, times a gain, plus a bias."

    def run(self, frame: FrameContext, kernels: KernelRun) -> None:
        """Make the image a signal."""
        gain, bias = float(frame.config.gain), float(frame.config.bias)
        photons = frame.reference_photons
        kernels.pixels("gain_bias", open_field_photons=photons, gain=gain, bias=bias)

    def reference(self, x: Image, frame: FrameContext) -> Step:
        """Return the signal."""
        return affine(x, frame.config.gain / frame.reference_photons, frame.config.bias)

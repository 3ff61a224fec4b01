"""The signal back to attenuation: -ln s, with a floor that stands for no photon."""

from __future__ import annotations

import numpy as np

from fluoro.imaging.kernel_run import KernelRun
from fluoro.imaging.stage import FrameContext, Image, Stage, Step, settings

__all__ = ["NO_PHOTON", "Logarithm"]

NO_PHOTON = 0.5
"""The logarithm takes a signal below half a photon as half a photon."""


class Logarithm(Stage):
    """-ln of the signal."""

    keys = ("log",)
    example = settings(log=True)
    text = "-ln of the signal."

    def run(self, frame: FrameContext, kernels: KernelRun) -> None:
        """Take the logarithm of the image."""
        kernels.pixels("logarithm", floor_signal=NO_PHOTON / frame.reference_photons)

    def reference(self, x: Image, frame: FrameContext) -> Step:
        """Return -ln of nothing less than the floor, where the derivative is 0."""
        floor = NO_PHOTON / frame.reference_photons
        held = np.maximum(x, floor)
        slope = np.where(x > floor, -1.0 / held, 0.0)
        return -np.log(held), lambda y: np.asarray(slope * y)

"""Quantum noise: the expected photons become a Poisson count."""

from __future__ import annotations

import numpy as np

from fluoro.imaging import random_reference as draws
from fluoro.imaging.kernel_run import KernelRun
from fluoro.imaging.stage import FrameContext, Image, Stage, Step, settings

__all__ = ["Poisson", "poisson"]


class Poisson(Stage):
    """Counts; where a quantum is worth more than a photon, counts of quanta."""

    keys = ("poisson",)
    example = settings(poisson=True)
    text = "Quantum noise: a Poisson count, weighted where the detector weighs energies."

    def run(self, frame: FrameContext, kernels: KernelRun) -> None:
        """Draw the counts."""
        if not frame.noise:
            return
        if frame.quantum is None:
            kernels.pixels("poisson", **frame.draw)
        else:
            kernels.pixels("poisson_weighted", gain=frame.quantum, **frame.draw)

    def reference(self, x: Image, frame: FrameContext) -> Step:
        """Return the counts; without noise the expected photons."""
        if not frame.noise:
            return x, lambda y: y
        x = np.asarray(x, np.float32)
        worth = np.float32(1) if frame.quantum is None else frame.quantum
        return np.asarray(worth * poisson(x / worth, frame.seed, frame.number)), lambda y: y


def poisson(expected: Image, seed: int, frame: int) -> Image:
    """Return counts with the given expectation."""
    bits = draws.draw_bits((expected.shape[0], expected.shape[1]), seed, frame, draws.POISSON_STAGE)
    return draws.poisson_quantile(expected, bits)

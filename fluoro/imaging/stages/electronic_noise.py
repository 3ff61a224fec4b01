"""Read-out noise: normal, the same everywhere in the image, in photons."""

from __future__ import annotations

import numpy as np

from fluoro.imaging import random_reference as draws
from fluoro.imaging.kernel_run import KernelRun
from fluoro.imaging.stage import FrameContext, Image, Stage, Step, settings

__all__ = ["ElectronicNoise", "electronic_noise"]


class ElectronicNoise(Stage):
    """Normal noise added to the counts."""

    keys = ("electronic_noise_photons",)
    example = settings(electronic_noise_photons=2.0)
    text = "Read-out noise, normal."

    def run(self, frame: FrameContext, kernels: KernelRun) -> None:
        """Add the noise."""
        if not frame.noise:
            return
        sigma = float(frame.config.electronic_noise_photons)
        kernels.pixels("electronic_noise", sigma_photons=sigma, **frame.draw)

    def reference(self, x: Image, frame: FrameContext) -> Step:
        """Return the image with noise; without noise the image."""
        if not frame.noise:
            return x, lambda y: y
        sigma = frame.config.electronic_noise_photons
        return electronic_noise(x, sigma, frame.seed, frame.number), lambda y: y


def electronic_noise(image: Image, sigma_photons: float, seed: int, frame: int) -> Image:
    """Return the counts with normal noise added."""
    shape = (image.shape[0], image.shape[1])
    bits = draws.draw_bits(shape, seed, frame, draws.ELECTRONIC_STAGE)
    return np.asarray(
        image + np.float32(sigma_photons) * draws.normal_quantile(*draws.uniform(bits))
    )

"""From line integrals to what is shown, on the device: the image chain's kernels, stage by stage.

    i0 exp(-p) -> gain and bias -> Poisson -> electronic noise -> blur -> clip -> invert

Nothing leaves the device and nothing depends on a frame's own extremes.
"""

from __future__ import annotations

from typing import Any

from fluoro.fluorosim.config import RealismSettings
from fluoro.imaging.fused import StageRunner
from fluoro.imaging.stage import words
from fluoro.imaging.stages.blur import blur_weights
from fluoro.rendering.devices.base import ComputeDevice

__all__ = ["Intensity"]


class Intensity:
    """The intensity of one frame.

    Args:
        device: Where the line integrals lie.
        integrals: Line integrals (no unit), float32 array of the device, shape (height, width).
        open_field: Intensity where nothing is in the beam: 1, or i0.

    Attributes:
        image: float32 array of the device, shape (height, width).
    """

    def __init__(self, device: ComputeDevice, integrals: Any, open_field: float) -> None:
        height, width = integrals.shape
        self._device, self._runner = device, StageRunner(device, fused=False)
        self._size = (width, height, 1)
        self._open_field = float(open_field)
        self.image = device.empty((height, width))
        self._stage("beer_lambert", integrals=integrals, open_field_photons=self._open_field)

    def _stage(self, name: str, **uniforms: Any) -> None:
        self._runner.run(name, self.image, self._size, uniforms)

    def _scale(self, gain: float, bias: float = 0.0) -> None:
        self._stage("gain_bias", open_field_photons=1.0, gain=float(gain), bias=float(bias))

    def detect(self, settings: RealismSettings, seed: int, frame_idx: int) -> None:
        """What the detector does to it: `apply_realism`, without clipping.

        Args:
            settings: What to do.
            seed: Of the noise, whatever `settings.seed` says.
            frame_idx: Selects the noise.
        """
        draw = {"seed": words(seed), "frame": words(frame_idx)}
        if (settings.gain, settings.bias) != (1, 0):
            self._scale(settings.gain, settings.bias)
        if settings.poisson_photons > 0:
            self._scale(settings.poisson_photons)
            self._stage("poisson", **draw)
            self._scale(1 / settings.poisson_photons)
        if settings.gaussian_sigma > 0:
            sigma = float(settings.gaussian_sigma)
            self._stage("electronic_noise", sigma_photons=sigma, **draw)
        if settings.blur_sigma_px > 0:
            self._blur(settings.blur_sigma_px)

    def _blur(self, sigma_px: float) -> None:
        taps = blur_weights(sigma_px)
        shared = {"weights": self._device.to_device(taps), "radius": len(taps) - 1}
        for along_rows in (1, 0):
            source, self.image = self.image, self._device.empty(self.image.shape)
            uniforms = {"source": source, "along_rows": along_rows, **shared}
            self._runner.run_packets("blur", "blur", self.image, self._size, uniforms)

    def show(self, *, normalize: bool, invert: bool) -> None:
        """Clip to [0, 1] where `normalize`, and invert for display."""
        if normalize:
            self._stage("window", lower=0.0, width=1.0, inverted=int(invert))
        elif invert:
            self._scale(-1.0, self._open_field)

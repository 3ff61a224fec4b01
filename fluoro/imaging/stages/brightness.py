"""Automatic brightness: measures what the detector received; the next pulse's dose follows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fluoro.config import BrightnessConfig
from fluoro.imaging.brightness import next_dose_ngy, roi_box
from fluoro.imaging.kernel_run import KernelRun
from fluoro.imaging.stage import FrameContext, Image, Stage, Step, present, settings

__all__ = ["Brightness"]


class Brightness(Stage):
    """The mean over a region; within a subtraction's series the dose is held."""

    keys = ("brightness",)
    example = settings(brightness={"target_ngy": 90.0, "slew": 1.6})
    text = "Measures the detector's signal; the next pulse's dose follows."
    remembers = "brightness"

    def run(self, frame: FrameContext, kernels: KernelRun) -> None:
        """Measure the image, and settle the next dose."""
        given = _given(frame)
        left, top, right, bottom = roi_box(given.roi, frame.shape)
        rows = kernels.on_cells(
            "row_sums",
            (bottom - top, 1),
            source=kernels.image,
            source_size=kernels.size,
            first=(left, top, 0),
            end=(right, bottom, 0),
        )
        total = float(np.sum(kernels.device.to_host(rows), dtype=float))
        _settle(frame, total / ((right - left) * (bottom - top)))

    def reference(self, x: Image, frame: FrameContext) -> Step:
        """Return the image; a derivative holds the dose."""
        left, top, right, bottom = roi_box(_given(frame).roi, frame.shape)
        _settle(frame, float(np.mean(x[top:bottom, left:right], dtype=float)))
        return x, lambda y: y


def _given(frame: FrameContext) -> BrightnessConfig:
    return present(frame.config.brightness)


def _settle(frame: FrameContext, photons: float) -> None:
    """Keep the next pulse's dose, by the mean of the photons in the region."""
    given, dose_ngy = _given(frame), frame.exposure.dose_ngy
    measured_ngy = photons / frame.photons_per_ngy
    frame.exposure = replace(frame.exposure, measured_ngy=measured_ngy)
    dsa = frame.config.dsa
    if dsa is None or frame.number < dsa.first_frame:
        dose_ngy = next_dose_ngy(given, dose_ngy, measured_ngy)
    frame.memory.numbers.keep("brightness", dose_ngy)

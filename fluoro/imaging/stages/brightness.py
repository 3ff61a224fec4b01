"""Automatic brightness: measures what the detector received; the next pulse's dose follows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from fluoro.config import BrightnessConfig
from fluoro.imaging.kernel_run import KernelRun
from fluoro.imaging.stage import FrameContext, Image, Stage, Step, present, settings
from fluoro.imaging.tape import Tape

__all__ = ["Brightness", "next_dose_ngy", "roi_box"]


class Brightness(Stage):
    """The mean over a region; within a subtraction's series the dose is held."""

    keys = ("brightness",)
    example = settings(brightness={"target_ngy": 90.0, "slew": 1.6})
    text = "Measures the detector's signal; the next pulse's dose follows."
    remembers = "brightness"

    def run(self, frame: FrameContext, kernels: KernelRun) -> None:
        """Measure the image; the next dose is settled when it is read."""
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
        pixels, device = (right - left) * (bottom - top), kernels.device

        def measure(frame: FrameContext) -> None:
            total = float(np.sum(device.to_host(rows), dtype=float))
            _settle(frame, total / pixels)

        frame.readings.append(measure)

    def run_linear(self, frame: FrameContext, tape: Tape) -> None:
        """Do nothing: a derivative holds the dose."""

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


def roi_box(roi: Sequence[float], shape: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return first column and row of what is measured, and those after its last; not empty.

    Args:
        roi: Left, top, right, bottom as shares of the image.
        shape: The image's rows and columns.
    """
    left, right = _span(roi[0], roi[2], shape[1])
    top, bottom = _span(roi[1], roi[3], shape[0])
    return left, top, right, bottom


def _span(low: float, high: float, count: int) -> tuple[int, int]:
    first = min(math.floor(low * count), count - 1)
    return first, max(math.ceil(high * count), first + 1)


def next_dose_ngy(config: BrightnessConfig, dose_ngy: float, measured_ngy: float) -> float:
    """Return the dose of the next pulse [nGy].

    Args:
        config: Target, limits, slew and dead band.
        dose_ngy: Of this pulse [nGy].
        measured_ngy: What reached the detector in it, mean over the region [nGy].

    Returns:
        dose x target / measured, by at most the slew in either direction, within the limits;
        the same dose where the error lies in the dead band.
    """
    wanted = config.target_ngy / max(measured_ngy, config.target_ngy * 1e-9)
    if abs(wanted - 1) > config.dead_band:
        dose_ngy *= min(max(wanted, 1 / config.slew), config.slew)
    return min(max(dose_ngy, config.least_dose_ngy), config.most_dose_ngy)

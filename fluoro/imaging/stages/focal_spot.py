"""The focal spot's blur of the patient as at the isocentre."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluoro.geometry.carm import CarmGeometry
from fluoro.imaging.kernel_run import KernelRun
from fluoro.imaging.linear_maps import separable
from fluoro.imaging.mtf_kernels import box_taps, focal_spot_width_mm
from fluoro.imaging.stage import FrameContext, Image, Stage, Step, settings
from fluoro.imaging.stages.blur import run_blur, run_linear_blur, separable_uniforms
from fluoro.imaging.tape import Tape

__all__ = ["FocalSpot"]


class FocalSpot(Stage):
    """A box of the spot's width, seen at the detector."""

    keys = ("focal_spot_mm",)
    example = settings(focal_spot_mm=0.6)
    text = "The focal spot blurs the patient as at the isocentre."
    mixes_pixels = True

    def run(self, frame: FrameContext, kernels: KernelRun) -> None:
        """Blur the image."""
        run_blur(kernels, kernels.tables.of(_uniforms, *_spot(frame)))

    def run_linear(self, frame: FrameContext, tape: Tape) -> None:
        """Blur the image, and note the transpose."""
        run_linear_blur(tape, tape.kernels.tables.of(_uniforms, *_spot(frame)))

    def reference(self, x: Image, frame: FrameContext) -> Step:
        """Return the blurred image."""
        return separable(_taps(*_spot(frame))).at(x)


def _spot(frame: FrameContext) -> tuple[float, float, CarmGeometry]:
    """Return the spot's width, the pixel pitch and the geometry."""
    geometry = frame.required_geometry("focal_spot_mm")
    return frame.config.focal_spot_mm, frame.pixel_spacing_mm, geometry


def _taps(
    focal_spot_mm: float, pixel_spacing_mm: float, geometry: CarmGeometry
) -> NDArray[np.float32]:
    width_mm = focal_spot_width_mm(
        focal_spot_mm, geometry.source_to_detector_mm, geometry.source_to_isocenter_mm
    )
    return box_taps(width_mm / pixel_spacing_mm)


def _uniforms(
    focal_spot_mm: float, pixel_spacing_mm: float, geometry: CarmGeometry
) -> dict[str, Any]:
    return separable_uniforms(_taps(focal_spot_mm, pixel_spacing_mm, geometry))

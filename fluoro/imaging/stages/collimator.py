"""The collimator's shadow: blades or an iris, blurred by the focal spot."""

from __future__ import annotations

from typing import Any

import numpy as np

from fluoro.errors import InputError
from fluoro.geometry.carm import CarmGeometry
from fluoro.imaging.detector_plane import middle, middle_mm, opening_mm, ramp
from fluoro.imaging.kernel_run import KernelRun
from fluoro.imaging.stage import FactorStage, FrameContext, Image, settings

__all__ = ["Collimator"]


class Collimator(FactorStage):
    """The share of the focal spot that a pixel sees through the opening."""

    keys = ("collimator",)
    example = settings(collimator={"kind": "rectangle", "width_mm": 300.0, "height_mm": 300.0})
    text = "Blades or an iris, their edge blurred by the focal spot."

    def run(self, frame: FrameContext, kernels: KernelRun) -> None:
        """Multiply the image."""
        given = frame.required_geometry("collimator")
        width_mm, height_mm, is_round = opening_mm(frame.config.collimator)
        kernels.pixels(
            "collimator",
            **middle(frame, given.pixel_spacing_mm),
            half_width_mm=float(width_mm / 2),
            half_height_mm=float(height_mm / 2),
            penumbra_mm=_penumbra_mm(frame.config.collimator, given),
            round=is_round,
        )

    def factor(self, frame: FrameContext) -> Image:
        """Return the share of the focal spot that each pixel sees."""
        given = frame.required_geometry("collimator")
        x, y = middle_mm(frame, given.pixel_spacing_mm)
        edge_mm = _penumbra_mm(frame.config.collimator, given)
        width_mm, height_mm, is_round = opening_mm(frame.config.collimator)
        if is_round:
            return ramp(width_mm / 2 - np.hypot(x, y), edge_mm)
        across = ramp(width_mm / 2 - np.abs(x), edge_mm)
        return across * ramp(height_mm / 2 - np.abs(y), edge_mm)


def _penumbra_mm(collimator: Any, geometry: CarmGeometry) -> float:
    """Return the edge's width at the detector [mm]: focal spot x (magnification - 1)."""
    magnification = geometry.source_to_detector_mm / collimator.source_to_collimator_mm
    if magnification <= 1:
        raise InputError(
            "image_chain.collimator.source_to_collimator_mm must be less than the distance to "
            f"the detector ({geometry.source_to_detector_mm:g}), "
            f"got {collimator.source_to_collimator_mm:g}"
        )
    penumbra_mm = collimator.focal_spot_mm * (magnification - 1)
    return float(max(penumbra_mm, geometry.pixel_spacing_mm))

"""The electronic shutter: what the collimator covers is shown black."""

from __future__ import annotations

import numpy as np

from fluoro.imaging.detector_plane import middle, middle_mm, opening_mm
from fluoro.imaging.kernel_run import KernelRun
from fluoro.imaging.stage import FactorStage, FrameContext, Image, present, settings

__all__ = ["Shutter"]


class Shutter(FactorStage):
    """1 where the console shows the image, 0 where it is black."""

    keys = ("shutter",)
    example = settings(
        collimator={"kind": "rectangle", "width_mm": 300.0, "height_mm": 300.0},
        shutter={"margin_mm": -60.0},
    )
    text = "Blanks what the collimator covers."

    def run(self, frame: FrameContext, kernels: KernelRun) -> None:
        """Blank the image."""
        given = frame.required_geometry("shutter")
        half_width_mm, half_height_mm, is_round = _visible_mm(frame)
        kernels.pixels(
            "shutter",
            **middle(frame, given.pixel_spacing_mm),
            half_width_mm=half_width_mm,
            half_height_mm=half_height_mm,
            round=is_round,
        )

    def factor(self, frame: FrameContext) -> Image:
        """Return 1 for each pixel that is visible, 0 for those that are black."""
        given = frame.required_geometry("shutter")
        x, y = middle_mm(frame, given.pixel_spacing_mm)
        half_width_mm, half_height_mm, is_round = _visible_mm(frame)
        if is_round:
            return np.asarray(np.hypot(x, y) <= half_width_mm, float)
        return np.asarray((np.abs(x) <= half_width_mm) & (np.abs(y) <= half_height_mm), float)


def _visible_mm(frame: FrameContext) -> tuple[float, float, int]:
    """Return half the visible part's width and height [mm], and 1 where it is round."""
    width_mm, height_mm, is_round = opening_mm(frame.config.collimator)
    margin_mm = present(frame.config.shutter).margin_mm
    half_width_mm, half_height_mm = width_mm / 2 + margin_mm, height_mm / 2 + margin_mm
    return float(max(half_width_mm, 0.0)), float(max(half_height_mm, 0.0)), is_round

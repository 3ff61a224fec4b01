"""Where a pixel lies on the detector, for kernels and for NumPy.

Origin of heel effect, distance and slant is where the central ray meets the detector; collimator
and image intensifier are centred on the detector. A tilt or flex of the detector is left aside.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fluoro.config import RectangleCollimator
from fluoro.imaging.stage import FrameContext, Image

__all__ = ["central_ray", "middle", "middle_mm", "opening_mm", "ramp", "slopes"]


def middle(frame: FrameContext, pixel_spacing_mm: float) -> dict[str, Any]:
    """Return the uniforms of a place from the image's middle."""
    return {
        "center_px": (frame.shape[1] / 2, frame.shape[0] / 2, 0.0),
        "pixel_spacing_mm": float(pixel_spacing_mm),
    }


def middle_mm(frame: FrameContext, pixel_spacing_mm: float) -> tuple[Image, Image]:
    """Return the place of each pixel from the image's middle along columns and rows [mm]."""
    height, width = frame.shape
    rows, columns = np.indices(frame.shape) + 0.5
    return (columns - width / 2) * pixel_spacing_mm, (rows - height / 2) * pixel_spacing_mm


def central_ray(frame: FrameContext, key: str) -> dict[str, Any]:
    """Return the uniforms of a place from the central ray.

    Raises:
        InputError: The geometry is not given.
    """
    given = frame.required_geometry(key)
    return {
        "center_px": (*(float(value) for value in given.central_pixel_uv), 0.0),
        "pixel_spacing_mm": float(given.pixel_spacing_mm),
        "source_to_detector_mm": float(given.source_to_detector_mm),
    }


def slopes(frame: FrameContext, key: str) -> tuple[Image, Image]:
    """Return the tangents of each pixel's angle from the central ray, along columns and rows.

    Raises:
        InputError: The geometry is not given.
    """
    given = frame.required_geometry(key)
    u, v = given.central_pixel_uv
    rows, columns = np.indices(frame.shape) + 0.5
    scale = given.pixel_spacing_mm / given.source_to_detector_mm
    return (columns - u) * scale, (rows - v) * scale


def ramp(inside_by_mm: Image, width_mm: float) -> Image:
    """Return 1 inside an edge, 0 outside, a straight slope of the given width between."""
    return np.clip(inside_by_mm / width_mm + 0.5, 0, 1)


def opening_mm(collimator: Any) -> tuple[float, float, int]:
    """Return width and height of a collimator's field [mm], and 1 where it is round."""
    if isinstance(collimator, RectangleCollimator):
        return collimator.width_mm, collimator.height_mm, 0
    return collimator.diameter_mm, collimator.diameter_mm, 1

"""The beam's field: what depends on where a pixel lies on the detector.

Origin of heel effect, distance and slant is where the central ray meets the detector; collimator
and image intensifier are centred on the detector. A tilt or flex of the detector is left aside.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluoro.config import (
    ImageChainConfig,
    ImageIntensifierConfig,
    RectangleCollimator,
    ShutterConfig,
)
from fluoro.errors import InputError
from fluoro.geometry.carm import CarmGeometry

__all__ = [
    "CATHODE",
    "Stage",
    "field_stages",
    "heel_table",
    "intensifier_stage",
    "pin_cushion_stage",
    "required_geometry",
    "shutter_stage",
]

CATHODE = {
    "left": (1.0, 0.0, 0.0),
    "right": (-1.0, 0.0, 0.0),
    "top": (0.0, 1.0, 0.0),
    "bottom": (0.0, -1.0, 0.0),
}
"""Towards the cathode along columns and rows, by the side of the anode."""


@dataclass(frozen=True)
class Stage:
    """A kernel and its uniforms, NumPy arrays among them where the device is to have a copy."""

    name: str
    uniforms: dict[str, Any]


def field_stages(
    config: ImageChainConfig, shape: tuple[int, int], geometry: CarmGeometry | None
) -> list[Stage]:
    """The stages that shape the beam before it is counted, for a picture of (height, width).

    Raises:
        InputError: One of them needs a geometry that is not given.
    """
    stages: list[Stage] = []
    if config.inverse_square:
        stages.append(Stage("inverse_square", _from_the_central_ray("inverse_square", geometry)))
    if config.heel_anode_side:
        place = _from_the_central_ray("heel_anode_side", geometry)
        stages.append(Stage("heel", place | _heel(config.heel_anode_side)))
    if config.collimator:
        given = required_geometry("collimator", geometry)
        place = _from_the_middle(shape, given.pixel_spacing_mm)
        stages.append(Stage("collimator", place | _collimator(config.collimator, given)))
    return stages


def intensifier_stage(
    config: ImageIntensifierConfig, shape: tuple[int, int], pixel_spacing_mm: float
) -> Stage:
    """The stage that an image intensifier adds after the counting."""
    return Stage(
        "image_intensifier",
        _from_the_middle(shape, pixel_spacing_mm)
        | {
            "radius_mm": float(config.diameter_mm / 2),
            "vignetting": float(config.vignetting),
        },
    )


def pin_cushion_stage(
    config: ImageIntensifierConfig, source: Any, shape: tuple[int, int], pixel_spacing_mm: float
) -> Stage:
    """The stage that an image intensifier's curved screen adds."""
    return Stage(
        "pin_cushion",
        _from_the_middle(shape, pixel_spacing_mm)
        | {
            "source": source,
            "radius_mm": float(config.diameter_mm / 2),
            "strength": float(config.pin_cushion),
        },
    )


def shutter_stage(
    config: ShutterConfig, collimator: Any, shape: tuple[int, int], geometry: CarmGeometry
) -> Stage:
    """The stage that blanks what a collimator covers."""
    width_mm, height_mm, is_round = _opening_mm(collimator)
    return Stage(
        "shutter",
        _from_the_middle(shape, geometry.pixel_spacing_mm)
        | {
            "half_width_mm": float(max(width_mm / 2 + config.margin_mm, 0.0)),
            "half_height_mm": float(max(height_mm / 2 + config.margin_mm, 0.0)),
            "round": is_round,
        },
    )


def required_geometry(key: str, geometry: CarmGeometry | None) -> CarmGeometry:
    """The geometry that a key needs.

    Raises:
        InputError: It is not given.
    """
    if geometry is None:
        raise InputError(f"geometry must be given with image_chain.{key}, got None")
    return geometry


def _from_the_middle(shape: tuple[int, int], pixel_spacing_mm: float) -> dict[str, Any]:
    return {
        "center_px": (shape[1] / 2, shape[0] / 2, 0.0),
        "pixel_spacing_mm": float(pixel_spacing_mm),
    }


def _from_the_central_ray(key: str, geometry: CarmGeometry | None) -> dict[str, Any]:
    given = required_geometry(key, geometry)
    return {
        "center_px": (*(float(value) for value in given.central_pixel_uv), 0.0),
        "pixel_spacing_mm": float(given.pixel_spacing_mm),
        "source_to_detector_mm": float(given.source_to_detector_mm),
    }


def _heel(anode_side: str) -> dict[str, Any]:
    slopes, relative = heel_table()
    return {
        "cathode": CATHODE[anode_side],
        "relative": relative.astype(np.float32),
        "last": len(relative) - 1,
        "first_slope": float(slopes[0]),
        "slopes_per_unit": float((len(slopes) - 1) / (slopes[-1] - slopes[0])),
    }


def _collimator(collimator: Any, geometry: CarmGeometry) -> dict[str, Any]:
    """Half the field and its penumbra at the detector [mm]: focal spot x (magnification - 1)."""
    magnification = geometry.source_to_detector_mm / collimator.source_to_collimator_mm
    if magnification <= 1:
        raise InputError(
            "image_chain.collimator.source_to_collimator_mm must be less than the distance to "
            f"the detector ({geometry.source_to_detector_mm:g}), "
            f"got {collimator.source_to_collimator_mm:g}"
        )
    width_mm, height_mm, is_round = _opening_mm(collimator)
    penumbra_mm = collimator.focal_spot_mm * (magnification - 1)
    return {
        "half_width_mm": float(width_mm / 2),
        "half_height_mm": float(height_mm / 2),
        "penumbra_mm": float(max(penumbra_mm, geometry.pixel_spacing_mm)),
        "round": is_round,
    }


def _opening_mm(collimator: Any) -> tuple[float, float, int]:
    """Width and height of a collimator's field at the detector [mm], and 1 where it is round."""
    if isinstance(collimator, RectangleCollimator):
        return collimator.width_mm, collimator.height_mm, 0
    return collimator.diameter_mm, collimator.diameter_mm, 1


@cache
def heel_table() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Tangent of the angle from the central ray, towards the cathode, and relative air kerma."""
    text = (files("fluoro.physics") / "data" / "heel.csv").read_text("utf-8")
    rows = csv.DictReader(line for line in text.splitlines() if not line.startswith("#"))
    pairs = [(float(row["slope"]), float(row["relative_kerma"])) for row in rows]
    slopes, relative = np.array(pairs).T
    return slopes, relative

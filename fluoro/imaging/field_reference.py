"""The oracle of the beam's field: float64 maps by which the expected photons are multiplied."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fluoro.config import ImageChainConfig, ImageIntensifierConfig, RectangleCollimator
from fluoro.geometry.carm import CarmGeometry
from fluoro.imaging.field import heel_table

__all__ = [
    "collimator",
    "field",
    "heel",
    "image_intensifier",
    "inverse_square",
    "pin_cushion",
    "pin_cushion_corners",
    "shutter",
]

Map = NDArray[np.float64]
Shape = tuple[int, int]


def field(shape: Shape, config: ImageChainConfig, geometry: CarmGeometry | None) -> Map:
    """Everything that shapes the beam, relative to the open central ray, shape (height, width)."""
    gain = np.ones(shape)
    if geometry is None:
        return gain
    if config.inverse_square:
        gain *= inverse_square(shape, geometry)
    if config.heel_anode_side:
        gain *= heel(shape, geometry, config.heel_anode_side)
    if config.collimator:
        gain *= collimator(shape, geometry, config)
    return gain


def _slopes(shape: Shape, geometry: CarmGeometry) -> tuple[Map, Map]:
    """Tangents of the angle from the central ray, along columns and rows."""
    u, v = geometry.central_pixel_uv
    rows, columns = np.indices(shape) + 0.5
    scale = geometry.pixel_spacing_mm / geometry.source_to_detector_mm
    return (columns - u) * scale, (rows - v) * scale


def _from_the_middle_mm(shape: Shape, pixel_spacing_mm: float) -> tuple[Map, Map]:
    rows, columns = np.indices(shape) + 0.5
    return (columns - shape[1] / 2) * pixel_spacing_mm, (rows - shape[0] / 2) * pixel_spacing_mm


def _ramp(inside_by_mm: Map, width_mm: float) -> Map:
    return np.clip(inside_by_mm / width_mm + 0.5, 0, 1)


def inverse_square(shape: Shape, geometry: CarmGeometry) -> Map:
    """cos^3 of the angle from the central ray."""
    x, y = _slopes(shape, geometry)
    return np.asarray(np.cos(np.arctan(np.hypot(x, y))) ** 3)


def heel(shape: Shape, geometry: CarmGeometry, anode_side: str) -> Map:
    """The baked table along the axis of the tube, straight lines between its entries."""
    x, y = _slopes(shape, geometry)
    along = {"left": x, "right": -x, "top": y, "bottom": -y}[anode_side]
    return np.asarray(np.interp(along, *heel_table()))


def collimator(shape: Shape, geometry: CarmGeometry, config: ImageChainConfig) -> Map:
    """Share of the focal spot that a pixel sees through the opening; all open without one."""
    given = config.collimator
    if given is None:
        return np.ones(shape)
    x, y = _from_the_middle_mm(shape, geometry.pixel_spacing_mm)
    behind_mm = geometry.source_to_detector_mm - given.source_to_collimator_mm
    penumbra_mm = given.focal_spot_mm * behind_mm / given.source_to_collimator_mm
    edge_mm = max(penumbra_mm, geometry.pixel_spacing_mm)
    if not isinstance(given, RectangleCollimator):
        return _ramp(given.diameter_mm / 2 - np.hypot(x, y), edge_mm)
    across = _ramp(given.width_mm / 2 - np.abs(x), edge_mm)
    return across * _ramp(given.height_mm / 2 - np.abs(y), edge_mm)


def shutter(shape: Shape, geometry: CarmGeometry, config: ImageChainConfig) -> Map:
    """1 where the console shows the picture, 0 where it is black; 1 everywhere without one."""
    given, opening = config.shutter, config.collimator
    if given is None or opening is None:
        return np.ones(shape)
    x, y = _from_the_middle_mm(shape, geometry.pixel_spacing_mm)
    if isinstance(opening, RectangleCollimator):
        across = np.abs(x) <= opening.width_mm / 2 + given.margin_mm
        return np.asarray(across & (np.abs(y) <= opening.height_mm / 2 + given.margin_mm), float)
    return np.asarray(np.hypot(x, y) <= opening.diameter_mm / 2 + given.margin_mm, float)


def image_intensifier(config: ImageIntensifierConfig, shape: Shape, pixel_spacing_mm: float) -> Map:
    """Share of the light that the input screen's place sends on."""
    r = np.hypot(*_from_the_middle_mm(shape, pixel_spacing_mm))
    radius_mm = config.diameter_mm / 2
    kept = np.maximum(1 - config.vignetting * (r / radius_mm) ** 2, 0)
    return np.asarray(kept * _ramp(radius_mm - r, pixel_spacing_mm))


def pin_cushion(
    config: ImageIntensifierConfig, image: NDArray[np.float32], pixel_spacing_mm: float
) -> NDArray[np.float32]:
    """A curved screen: a pixel at r shows r (1 + k) / (1 + k r^2 / R^2), linear between pixels."""
    corners = pin_cushion_corners(config, (image.shape[0], image.shape[1]), pixel_spacing_mm)
    shown = sum(weight * image[row, column] for row, column, weight in corners)
    return np.asarray(shown, np.float32)


def pin_cushion_corners(
    config: ImageIntensifierConfig, shape: Shape, pixel_spacing_mm: float
) -> list[tuple[NDArray[np.int_], NDArray[np.int_], Map]]:
    """Row, column and weight of the four pixels that each pixel shows, maps of (height, width)."""
    height, width = shape
    x, y = _from_the_middle_mm((height, width), pixel_spacing_mm)
    reach = np.hypot(x, y) / (config.diameter_mm / 2)
    stretch = (1 + config.pin_cushion) / (1 + config.pin_cushion * reach**2)
    column = np.clip(width / 2 + stretch * x / pixel_spacing_mm - 0.5, 0, width - 1)
    row = np.clip(height / 2 + stretch * y / pixel_spacing_mm - 0.5, 0, height - 1)
    left = np.minimum(column.astype(int), max(width - 2, 0))
    top = np.minimum(row.astype(int), max(height - 2, 0))
    right, below = np.minimum(left + 1, width - 1), np.minimum(top + 1, height - 1)
    across, down = column - left, row - top
    return [
        (top, left, (1 - down) * (1 - across)),
        (top, right, (1 - down) * across),
        (below, left, down * (1 - across)),
        (below, right, down * across),
    ]

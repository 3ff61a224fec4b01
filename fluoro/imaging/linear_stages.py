"""The chain's linear stages in float64, each with its transpose: what derivatives go through."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluoro.config import (
    ImageChainConfig,
    ImageIntensifierConfig,
    ScatterConfig,
    VeilingGlareConfig,
)
from fluoro.geometry.carm import CarmGeometry
from fluoro.imaging import field_reference
from fluoro.imaging.chain import blur_weights, focal_spot_filter
from fluoro.imaging.field import field_stages
from fluoro.imaging.filters import FILTER_KEV, beam_filters
from fluoro.imaging.fir import taps_of
from fluoro.imaging.scatter import cell_grid, glare_kernel, most_cells
from fluoro.physics.scatter import scatter_kernel

__all__ = [
    "LinearStage",
    "beam_stages",
    "blur",
    "blur_transpose",
    "detector_stages",
    "moved_mask",
    "scatter_stages",
]

Image = NDArray[Any]
Shape = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class LinearStage:
    """A linear map of pictures.

    Attributes:
        apply: The stage.
        transpose: From a derivative by its result to one by what goes in.
    """

    apply: Callable[[Image], Image]
    transpose: Callable[[Image], Image]


def beam_stages(
    config: ImageChainConfig,
    shape: Shape,
    pixel_spacing_mm: float,
    geometry: CarmGeometry | None,
) -> list[LinearStage]:
    """From the photons behind the patient to those at the detector, without scatter, in order.

    Raises:
        InputError: A stage needs a geometry that is not given.
    """
    stages = []
    if config.focal_spot_mm > 0:
        stages.append(_separable(focal_spot_filter(config, pixel_spacing_mm, geometry)))
    stages.append(_factor(_field(config, shape, geometry)))
    if config.xray is None:  # with it the filters are in the spectrum's way
        stages.append(_factor(_filters(config, shape, pixel_spacing_mm)))
    return stages


def scatter_stages(
    config: ImageChainConfig,
    scatter: ScatterConfig,
    shape: Shape,
    pixel_spacing_mm: float,
    geometry: CarmGeometry | None,
) -> list[LinearStage]:
    """From what pencils of the open beam would give off to the scatter of every pixel, in order.

    Raises:
        InputError: A stage needs a geometry that is not given.
    """
    shaping = _field(config, shape, geometry) * _filters(config, shape, pixel_spacing_mm)
    return [_factor(shaping), _scatter_spread(scatter, shape, pixel_spacing_mm)]


def detector_stages(
    config: ImageChainConfig, shape: Shape, pixel_spacing_mm: float
) -> list[LinearStage]:
    """From the photons at the detector to the light that it reads, without lag, in order."""
    stages = []
    if config.blur_sigma_mm > 0:
        stages.append(_separable(blur_weights(config.blur_sigma_mm / pixel_spacing_mm)))
    if config.mtf:
        stages.append(_convolution(taps_of(config.mtf, pixel_spacing_mm)))
    if config.image_intensifier:
        given = config.image_intensifier
        if given.pin_cushion > 0:
            stages.append(_pin_cushion(given, shape, pixel_spacing_mm))
        light = field_reference.image_intensifier(given, shape, pixel_spacing_mm)
        stages.append(_factor(light))
    if config.veiling_glare:
        stages.append(_glare(config.veiling_glare, shape, pixel_spacing_mm))
    return stages


def moved_mask(shape: Shape, columns: float, rows: float) -> LinearStage:
    """A subtraction's mask moved to the right and down, linear between pixels."""
    down, across = _shift(shape[0], rows), _shift(shape[1], columns)
    return LinearStage(
        apply=lambda x: np.asarray(down @ x @ across.T),
        transpose=lambda y: np.asarray(down.T @ y @ across),
    )


def _shift(count: int, pixels: float) -> Image:
    at = np.clip(np.arange(count) - pixels, 0, count - 1)
    return np.asarray(np.maximum(0, 1 - np.abs(at[:, None] - np.arange(count))))


def _field(config: ImageChainConfig, shape: Shape, geometry: CarmGeometry | None) -> Image:
    """What the place multiplies."""
    field_stages(config, shape, geometry)  # says what is missing
    return field_reference.field(shape, config, geometry)


def _filters(config: ImageChainConfig, shape: Shape, pixel_spacing_mm: float) -> Image:
    """What filters leave of photons of one energy."""
    factor = np.ones(shape)
    for each, thickness in beam_filters(config.wedge, config.bow_tie, shape, pixel_spacing_mm):
        factor = factor * np.exp(-each.mu_per_mm(FILTER_KEV) * thickness)
    return factor


def _factor(values: Image) -> LinearStage:
    return LinearStage(apply=lambda x: x * values, transpose=lambda y: y * values)


def _separable(weights: NDArray[np.float32]) -> LinearStage:
    return LinearStage(
        apply=lambda x: blur(x, weights), transpose=lambda y: blur_transpose(y, weights)
    )


def _taps(weights: NDArray[np.float32]) -> NDArray[np.float64]:
    half = weights.astype(float)
    return np.concatenate([half[:0:-1], half])


def blur(image: Image, weights: NDArray[np.float32]) -> Image:
    """The chain's separable blur.

    Args:
        image: Shape (height, width).
        weights: From the middle outwards, as `blur_weights` gives them.
    """
    radius = len(weights) - 1
    for axis in (1, 0):
        pad = [(radius, radius) if a == axis else (0, 0) for a in (0, 1)]
        padded = np.pad(image, pad, mode="edge")
        image = np.apply_along_axis(np.convolve, axis, padded, _taps(weights), mode="valid")
    return image


def blur_transpose(image: Image, weights: NDArray[np.float32]) -> Image:
    """The transpose of the chain's blur: what a border pixel lent, it gets back.

    Args:
        image: Shape (height, width).
        weights: From the middle outwards, as `blur_weights` gives them.
    """
    radius = len(weights) - 1
    for axis in (0, 1):
        spread = np.apply_along_axis(np.convolve, axis, image, _taps(weights), mode="full")
        image = _border_given_back(spread, axis, radius)
    return image


def _border_given_back(spread: Image, axis: int, radius: int) -> Image:
    """A padded axis cut back; what lies beyond is added to the border."""
    spread = np.moveaxis(spread, axis, 0)
    inner = spread[radius:-radius].copy()
    inner[0] += spread[:radius].sum(axis=0)
    inner[-1] += spread[-radius:].sum(axis=0)
    return np.moveaxis(inner, 0, axis)


def _convolution(quarter: NDArray[np.float32]) -> LinearStage:
    radius = len(quarter) - 1
    offsets = [(i, j) for i in range(-radius, radius + 1) for j in range(-radius, radius + 1)]

    def apply(image: Image) -> Image:
        padded = np.pad(image, radius, mode="edge")
        total = np.zeros(image.shape)
        for i, j in offsets:
            near = padded[radius + i :, radius + j :][: image.shape[0], : image.shape[1]]
            total += float(quarter[abs(i), abs(j)]) * near
        return total

    def transpose(image: Image) -> Image:
        spread = np.zeros([count + 2 * radius for count in image.shape])
        for i, j in offsets:
            near = spread[radius + i :, radius + j :][: image.shape[0], : image.shape[1]]
            near += float(quarter[abs(i), abs(j)]) * image
        return _border_given_back(_border_given_back(spread, 0, radius), 1, radius)

    return LinearStage(apply=apply, transpose=transpose)


def _pin_cushion(
    config: ImageIntensifierConfig, shape: Shape, pixel_spacing_mm: float
) -> LinearStage:
    corners = field_reference.pin_cushion_corners(config, shape, pixel_spacing_mm)

    def apply(image: Image) -> Image:
        return np.asarray(sum(weight * image[row, column] for row, column, weight in corners))

    def transpose(image: Image) -> Image:
        total = np.zeros(shape)
        for row, column, weight in corners:
            np.add.at(total, (row, column), weight * image)
        return total

    return LinearStage(apply=apply, transpose=transpose)


def _glare(config: VeilingGlareConfig, shape: Shape, pixel_spacing_mm: float) -> LinearStage:
    block, cells = cell_grid(shape)
    weights = glare_kernel(config, block, pixel_spacing_mm)["narrow"].astype(float)
    down, across = (
        _from_cells(count, n, block) @ _spread(n, weights) @ _to_cells(count, n, block)
        for count, n in zip(shape, cells, strict=True)
    )
    kept, strayed = 1 - config.fraction, config.fraction
    return LinearStage(
        apply=lambda x: np.asarray(kept * x + strayed * (down @ x @ across.T)),
        transpose=lambda y: np.asarray(kept * y + strayed * (down.T @ y @ across)),
    )


def _scatter_spread(config: ScatterConfig, shape: Shape, pixel_spacing_mm: float) -> LinearStage:
    """Sums over cells, both Gaussians, straight lines back to the pixels."""
    kernel, (block, cells) = scatter_kernel(config.air_gap_mm), cell_grid(shape, most_cells(config))
    factor, lines = config.grid_factor * pixel_spacing_mm**2, []
    for width_mm, height in ((kernel.s1_mm, factor), (kernel.s2_mm, factor * kernel.b)):
        apart = np.arange(max(cells)) * block * pixel_spacing_mm / width_mm
        weights = np.exp(-0.5 * apart**2)
        down, across = (
            _from_cells(count, n, block) @ _spread(n, weights) @ _to_cells(count, n, block)
            for count, n in zip(shape, cells, strict=True)
        )
        lines.append((height * down, across))
    return LinearStage(
        apply=lambda x: np.asarray(sum(down @ x @ across.T for down, across in lines)),
        transpose=lambda y: np.asarray(sum(down.T @ y @ across for down, across in lines)),
    )


def _to_cells(count: int, cells: int, block: int) -> Image:
    """Sums of a line's pixels in cells."""
    return np.asarray(np.arange(count) // block == np.arange(cells)[:, None], float)


def _spread(cells: int, weights: Image) -> Image:
    return np.asarray(weights[np.abs(np.subtract.outer(np.arange(cells), np.arange(cells)))])


def _from_cells(count: int, cells: int, block: int) -> Image:
    """Straight lines between the middles of a line's cells."""
    at = np.clip((np.arange(count) + 0.5) / block - 0.5, 0, cells - 1)
    return np.asarray(np.maximum(0, 1 - np.abs(at[:, None] - np.arange(cells))))

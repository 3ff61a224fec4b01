"""Linear maps of images in float64, each with its transpose."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fluoro.imaging.stage import Image, Shape, Step

__all__ = [
    "LinearMap",
    "blur",
    "blur_transpose",
    "convolution",
    "from_cells",
    "moved",
    "separable",
    "spread",
    "table_step",
    "to_cells",
    "warp",
]


class LinearMap(NamedTuple):
    """A linear map of images.

    Attributes:
        apply: The map.
        transpose: From a derivative with respect to its result to one with respect to its image.
    """

    apply: Callable[[Image], Image]
    transpose: Callable[[Image], Image]

    def at(self, x: Image) -> Step:
        """Return the map of an image, and the transpose."""
        return self.apply(x), self.transpose


def separable(weights: NDArray[np.float32]) -> LinearMap:
    """Return the blur by a filter along rows and columns, given from the middle outwards."""
    return LinearMap(lambda x: blur(x, weights), lambda y: blur_transpose(y, weights))


def _taps(weights: NDArray[np.float32]) -> NDArray[np.float64]:
    half = weights.astype(float)
    return np.concatenate([half[:0:-1], half])


def blur(image: Image, weights: NDArray[np.float32]) -> Image:
    """Return the chain's separable blur; beyond the border the border pixel holds.

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
    """Return the transpose of the chain's blur: a border pixel gets back what it lent.

    Args:
        image: Shape (height, width).
        weights: From the middle outwards, as `blur_weights` gives them.
    """
    radius = len(weights) - 1
    for axis in (0, 1):
        wide = np.apply_along_axis(np.convolve, axis, image, _taps(weights), mode="full")
        image = _border_given_back(wide, axis, radius)
    return image


def _border_given_back(wide: Image, axis: int, radius: int) -> Image:
    """Return a padded axis cut back; what lies beyond is added to the border."""
    wide = np.moveaxis(wide, axis, 0)
    inner = wide[radius:-radius].copy()
    inner[0] += wide[:radius].sum(axis=0)
    inner[-1] += wide[-radius:].sum(axis=0)
    return np.moveaxis(inner, 0, axis)


def convolution(quarter: NDArray[np.float32]) -> LinearMap:
    """Return the blur by a filter that is mirrored in both axes, given by its quarter."""
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
        wide = np.zeros([count + 2 * radius for count in image.shape])
        for i, j in offsets:
            near = wide[radius + i :, radius + j :][: image.shape[0], : image.shape[1]]
            near += float(quarter[abs(i), abs(j)]) * image
        return _border_given_back(_border_given_back(wide, 0, radius), 1, radius)

    return LinearMap(apply, transpose)


def warp(corners: list[tuple[NDArray[np.int_], NDArray[np.int_], Image]]) -> LinearMap:
    """Return the map to pixels that show others: rows, columns and weights of each."""

    def apply(image: Image) -> Image:
        return np.asarray(sum(weight * image[row, column] for row, column, weight in corners))

    def transpose(image: Image) -> Image:
        total = np.zeros(image.shape)
        for row, column, weight in corners:
            np.add.at(total, (row, column), weight * image)
        return total

    return LinearMap(apply, transpose)


def moved(shape: Shape, columns: float, rows: float) -> LinearMap:
    """Return the move of an image to the right and down, linear between pixels."""
    down, across = _shift(shape[0], rows), _shift(shape[1], columns)
    return LinearMap(
        lambda x: np.asarray(down @ x @ across.T), lambda y: np.asarray(down.T @ y @ across)
    )


def _shift(count: int, pixels: float) -> Image:
    at = np.clip(np.arange(count) - pixels, 0, count - 1)
    return np.asarray(np.maximum(0, 1 - np.abs(at[:, None] - np.arange(count))))


def to_cells(count: int, cells: int, block: int) -> Image:
    """Return the matrix of a line's sums in cells."""
    return np.asarray(np.arange(count) // block == np.arange(cells)[:, None], float)


def spread(cells: int, weights: Image) -> Image:
    """Return the matrix of a line's cells that spread, by their distance in cells."""
    return np.asarray(weights[np.abs(np.subtract.outer(np.arange(cells), np.arange(cells)))])


def from_cells(count: int, cells: int, block: int) -> Image:
    """Return the matrix of straight lines between the middles of a line's cells."""
    at = np.clip((np.arange(count) + 0.5) / block - 0.5, 0, cells - 1)
    return np.asarray(np.maximum(0, 1 - np.abs(at[:, None] - np.arange(cells))))


def table_step(x: Image, table: NDArray[Any], spacing: float) -> Step:
    """Return straight pieces between a table's values at 0, spacing, ...; its ends hold beyond."""
    values = np.asarray(table, float)
    slopes = np.diff(values) / spacing
    last = len(slopes) - 1
    at = x / spacing
    piece = np.clip(at.astype(int), 0, last)
    part = np.clip(at - piece, 0, 1)
    slope = np.where((at >= 0) & (at <= last + 1), slopes[piece], 0.0)
    return values[piece] + part * (spacing * slopes[piece]), lambda y: np.asarray(slope * y)

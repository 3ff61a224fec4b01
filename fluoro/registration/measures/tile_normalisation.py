"""Tiles of an image without their mean or their plane, of unit variance; exact derivatives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Standardiser", "Tiles", "Trend"]

Image = NDArray[Any]

CONSTANT_BELOW = 1e-6
"""A tile whose standard deviation is below this share of its largest value counts as constant."""
FLAT = 1e-6
"""Spread of a coordinate, -1 to 1 across a tile, over the pixels that count: below, no slope."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Tiles:
    """Tiles of equal edges that cover an image, and the pixels that count in each.

    Attributes:
        edges_px: Height and width of a tile.
        first_px: Rows and columns by which the first tile begins before the image.
        weight: 1 where a pixel counts, else 0, in the tiles' layout.
        count: Pixels that count in each tile.
    """

    edges_px: tuple[int, int]
    first_px: tuple[int, int]
    shape: tuple[int, int]
    weight: NDArray[np.float64]
    count: NDArray[np.float64]

    @classmethod
    def whole(cls, mask: NDArray[np.bool_]) -> Tiles:
        """Return the image as one tile."""
        height, width = mask.shape
        return cls.over(mask, (height, width), (0, 0))

    @classmethod
    def halfway(cls, mask: NDArray[np.bool_], edge_px: int) -> list[Tiles]:
        """Four tilings, each half a tile from the next along rows, columns or both."""
        half = edge_px // 2
        return [cls.over(mask, (edge_px, edge_px), (i, j)) for i in (0, half) for j in (0, half)]

    @classmethod
    def over(
        cls, mask: NDArray[np.bool_], edges_px: tuple[int, int], first_px: tuple[int, int]
    ) -> Tiles:
        """Tiles of given edges, the first of which begins `first_px` before the image."""
        blank = cls(
            edges_px=edges_px,
            first_px=first_px,
            shape=(mask.shape[0], mask.shape[1]),
            weight=np.zeros(0),
            count=np.zeros(0),
        )
        weight = blank.cut(mask.astype(np.float64))
        return cls(
            edges_px=edges_px,
            first_px=first_px,
            shape=blank.shape,
            weight=weight,
            count=np.maximum(weight.sum(axis=(-3, -1), keepdims=True), 1.0),
        )

    def cut(self, image: Image) -> Image:
        """(..., H, W) as (..., tile rows, height, tile columns, width), padded with zeros."""
        padding = [(0, 0)] * (image.ndim - 2)
        counts = []
        for size, edge, first in zip(self.shape, self.edges_px, self.first_px, strict=True):
            tiles = -(-(size + first) // edge)
            padding.append((first, tiles * edge - size - first))
            counts += [tiles, edge]
        padded = image if not any(map(any, padding)) else np.pad(image, padding)
        return padded.reshape(*image.shape[:-2], *counts)

    def join(self, tiles: Image) -> Image:
        """Return the reverse of `cut`."""
        i, h, j, w = tiles.shape[-4:]
        flat = tiles.reshape(*tiles.shape[:-4], i * h, j * w)
        (height, width), (top, left) = self.shape, self.first_px
        return flat[..., top : top + height, left : left + width]

    def mean(self, tiles: Image) -> Image:
        """Return the mean over the pixels that count, for tiles whose other pixels are 0."""
        sums = tiles.sum(axis=(-3, -1), keepdims=True, dtype=np.float64)
        return np.asarray((sums / self.count).astype(tiles.dtype))

    def mean_product(self, weights: Image, tiles: Image) -> Image:
        """Mean of `weights`, one cut image, times cut images; 0 in both where none counts."""
        sums = np.einsum("ihjw,...ihjw->...ij", weights, tiles)[..., :, None, :, None]
        return np.asarray((sums / self.count).astype(tiles.dtype))


class Trend:
    """What is taken from each tile: its mean, or the plane of least squares.

    Args:
        tiles: Where.
        planes: Planes; else means.
    """

    def __init__(self, tiles: Tiles, *, planes: bool) -> None:
        self.tiles = tiles
        self._slopes: list[Image] = []
        for axis in (-1, -3) if planes else ():
            self._add_slope(axis)

    def _add_slope(self, axis: int) -> None:
        """A coordinate without what mean and earlier slopes hold of it, of unit variance."""
        tiles = self.tiles
        edge = tiles.weight.shape[axis]
        at = np.linspace(-1.0, 1.0, edge).reshape([edge] + [1] * (-1 - axis))
        slope = self.removed(np.broadcast_to(at, tiles.weight.shape))
        size = np.sqrt(tiles.mean(slope * slope))
        self._slopes.append(np.divide(slope, size, out=np.zeros_like(slope), where=size > FLAT))

    def removed(self, cut: Image) -> Image:
        """A cut image, (..., tile rows, height, tile columns, width), without it; 0 where masked.

        A projection, which is its own transpose.
        """
        weight = self.tiles.weight.astype(cut.dtype)
        rest = cut * weight
        rest = (rest - self.tiles.mean(rest)) * weight
        for slope in self._slopes:
            along = slope.astype(cut.dtype)
            rest -= along * self.tiles.mean_product(along, rest)
        return np.asarray(rest)


@dataclass(frozen=True, kw_only=True, eq=False)
class StandardScore:
    """A standardised image and what its derivative needs.

    Attributes:
        trend: What was taken from it, tile by tile.
        score: Shape (height, width), 0 outside the mask.
    """

    trend: Trend
    score: Image
    _cut_score: Image
    _inverse_deviation: Image

    def differential(self, field: Image) -> Image:
        """Change of the score by a change of the image, (..., H, W); its own transpose.

        d z = (d I - trend(d I) - z mean(z d I)) / s, with means over the tile.
        """
        tiles, z = self.trend.tiles, self._cut_score
        change = self.trend.removed(tiles.cut(field))
        change -= z * tiles.mean_product(z, change)
        return tiles.join(change * self._inverse_deviation)


class Standardiser:
    """z = (I - trend) / sqrt(variance + floor^2) in each tile.

    Args:
        tiles: Where.
        floor: Standard deviation added in squares. With 0, a constant tile has score and
            derivative 0.
        planes: The trend is the tile's plane, else its mean.
    """

    def __init__(self, tiles: Tiles, *, floor: float, planes: bool = False) -> None:
        self._tiles, self._floor = tiles, floor
        self._trend = Trend(tiles, planes=planes)

    def apply(self, image: Image) -> StandardScore:
        """Standardise an image, shape (height, width)."""
        cut = self._tiles.cut(image)
        centred = self._trend.removed(cut)
        variance = self._tiles.mean(centred * centred)
        smallest = CONSTANT_BELOW * np.abs(cut).max(axis=(-3, -1), keepdims=True)
        varies = (variance > smallest**2) | (self._floor > 0)
        deviation = np.sqrt(variance + image.dtype.type(self._floor**2))
        inverse = np.divide(1, deviation, out=np.zeros_like(deviation), where=varies)
        score = centred * inverse
        return StandardScore(
            trend=self._trend,
            score=self._tiles.join(score),
            _cut_score=score,
            _inverse_deviation=inverse,
        )

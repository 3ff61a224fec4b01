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

    A cut image has one row a tile, shape (..., tiles, pixels of a tile).

    Attributes:
        edges_px: Height and width of a tile.
        first_px: Rows and columns by which the first tile begins before the image.
        shape: Height and width of the image.
        weight: 1 where a pixel counts, else 0, shape (tiles, pixels).
        count: Pixels that count in each tile, at least 1, shape (tiles, 1).
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
            count=np.maximum(weight.sum(axis=-1, keepdims=True), 1.0),
        )

    @property
    def _counts(self) -> tuple[int, int]:
        """Rows and columns of tiles."""
        (height, width), (top, left), (h, w) = self.shape, self.first_px, self.edges_px
        return -(-(height + top) // h), -(-(width + left) // w)

    def cut(self, image: Image) -> Image:
        """(..., H, W) as (..., tiles, pixels), padded with zeros."""
        (i, j), (h, w), (height, width) = self._counts, self.edges_px, self.shape
        if (i * h, j * w) != self.shape:
            (top, left), small = self.first_px, image
            image = np.zeros((*small.shape[:-2], i * h, j * w), small.dtype)
            image[..., top : top + height, left : left + width] = small
        tiles = image.reshape(*image.shape[:-2], i, h, j, w).swapaxes(-3, -2)
        return tiles.reshape(*image.shape[:-2], i * j, h * w)

    def join(self, tiles: Image) -> Image:
        """Return the reverse of `cut`."""
        (i, j), (h, w), first = self._counts, self.edges_px, tiles.shape[:-2]
        flat = tiles.reshape(*first, i, j, h, w).swapaxes(-3, -2).reshape(*first, i * h, j * w)
        (height, width), (top, left) = self.shape, self.first_px
        return flat[..., top : top + height, left : left + width]

    def mean(self, tiles: Image) -> Image:
        """Return the mean over the pixels that count, for tiles whose other pixels are 0."""
        sums = tiles.sum(axis=-1, keepdims=True, dtype=np.float64)
        return np.asarray((sums / self.count).astype(tiles.dtype))

    def mean_product(self, weights: Image, tiles: Image) -> Image:
        """Mean of `weights`, one cut image, times cut images; 0 in both where none counts."""
        sums = np.einsum("tp,...tp->...t", weights, tiles)[..., None]
        return np.asarray((sums / self.count).astype(tiles.dtype))


class Trend:
    """What is taken from each tile: its mean, or the plane of least squares.

    Args:
        tiles: Where.
        planes: Planes; else means.
    """

    def __init__(self, tiles: Tiles, *, planes: bool) -> None:
        self.tiles = tiles
        self._all = bool(tiles.weight.all())
        self._slopes: list[Image] = []
        height, width = tiles.edges_px
        y, x = np.linspace(-1.0, 1.0, height), np.linspace(-1.0, 1.0, width)
        for slope in (np.tile(x, height), np.repeat(y, width)) if planes else ():
            self._add_slope(slope)

    def _add_slope(self, at: Image) -> None:
        """A coordinate without what mean and earlier slopes hold of it, of unit variance."""
        tiles = self.tiles
        slope = self.removed(np.broadcast_to(at, tiles.weight.shape))
        size = np.sqrt(tiles.mean(slope * slope))
        self._slopes.append(np.divide(slope, size, out=np.zeros_like(slope), where=size > FLAT))

    @property
    def basis(self) -> Image:
        """What is taken: 1 and slopes, of unit variance, shape (tiles, 1 or 3, pixels)."""
        return np.stack([self.tiles.weight, *self._slopes], axis=1)

    def removed(self, cut: Image) -> Image:
        """A cut image, (..., tiles, pixels), without it; 0 where masked.

        A projection, which is its own transpose.
        """
        weight = self.tiles.weight.astype(cut.dtype)
        rest = cut if self._all else cut * weight
        rest = rest - self.tiles.mean(rest)
        if not self._all:
            rest *= weight
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
        cut_score: The same, shape (tiles, pixels).
        inverse_deviation: By which each tile was multiplied, shape (tiles, 1).
    """

    trend: Trend
    score: Image
    cut_score: Image
    inverse_deviation: Image

    def differential(self, field: Image) -> Image:
        """Change of the score by a change of the image, (..., H, W); its own transpose.

        d z = (d I - trend(d I) - z mean(z d I)) / s, with means over the tile.
        """
        tiles, z = self.trend.tiles, self.cut_score
        change = self.trend.removed(tiles.cut(field))
        change -= z * tiles.mean_product(z, change)
        return tiles.join(change * self.inverse_deviation)


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
        smallest = CONSTANT_BELOW * np.abs(cut).max(axis=-1, keepdims=True)
        varies = (variance > smallest**2) | (self._floor > 0)
        deviation = np.sqrt(variance + image.dtype.type(self._floor**2))
        inverse = np.divide(1, deviation, out=np.zeros_like(deviation), where=varies)
        score = centred * inverse
        return StandardScore(
            trend=self._trend,
            score=self._tiles.join(score),
            cut_score=score,
            inverse_deviation=inverse,
        )

"""Zero mean and unit variance over tiles of an image, with the exact derivative of that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Standardiser", "Tiles"]

Image = NDArray[Any]

CONSTANT_BELOW = 1e-6
"""A tile whose standard deviation is below this share of its largest value counts as constant."""


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
        """One tile: the image."""
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
        """The reverse of `cut`."""
        i, h, j, w = tiles.shape[-4:]
        flat = tiles.reshape(*tiles.shape[:-4], i * h, j * w)
        (height, width), (top, left) = self.shape, self.first_px
        return flat[..., top : top + height, left : left + width]

    def mean(self, tiles: Image) -> Image:
        """Mean over the pixels that count, for tiles whose other pixels are 0."""
        sums = tiles.sum(axis=(-3, -1), keepdims=True, dtype=np.float64)
        return np.asarray((sums / self.count).astype(tiles.dtype))


@dataclass(frozen=True, kw_only=True, eq=False)
class StandardScore:
    """A standardised image and what its derivative needs.

    Attributes:
        score: Shape (height, width), 0 outside the mask.
    """

    tiles: Tiles
    score: Image
    _cut_score: Image
    _inverse_deviation: Image

    def differential(self, field: Image) -> Image:
        """Change of the score by a change of the image, (..., H, W); its own transpose.

        d z = (d I - mean(d I) - z mean(z d I)) / s, with means over the tile.
        """
        weight = self.tiles.weight.astype(field.dtype)
        cut = self.tiles.cut(field) * weight
        z = self._cut_score
        change = cut - self.tiles.mean(cut) - z * self.tiles.mean(z * cut)
        return self.tiles.join(change * weight * self._inverse_deviation)


class Standardiser:
    """z = (I - mean) / sqrt(variance + floor^2) in each tile.

    Args:
        tiles: Where.
        floor: Standard deviation added in squares. With 0, a constant tile has score and
            derivative 0.
    """

    def __init__(self, tiles: Tiles, *, floor: float) -> None:
        self._tiles = tiles
        self._floor = floor

    def apply(self, image: Image) -> StandardScore:
        """Standardise an image, shape (height, width)."""
        weight = self._tiles.weight.astype(image.dtype)
        cut = self._tiles.cut(image) * weight
        centred = (cut - self._tiles.mean(cut)) * weight
        variance = self._tiles.mean(centred * centred)
        smallest = CONSTANT_BELOW * np.abs(cut).max(axis=(-3, -1), keepdims=True)
        varies = (variance > smallest**2) | (self._floor > 0)
        deviation = np.sqrt(variance + image.dtype.type(self._floor**2))
        inverse = np.divide(1, deviation, out=np.zeros_like(deviation), where=varies)
        score = centred * inverse
        return StandardScore(
            tiles=self._tiles,
            score=self._tiles.join(score),
            _cut_score=score,
            _inverse_deviation=inverse,
        )

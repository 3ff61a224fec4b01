"""What small tiles of a rendered image leave of a target, and what in it could be explained.

In each tile the target is a gain times the rendered image, a plane, and what scatter adds. An image
of the intensity exp(-I) with scatter S has line integrals I - S exp(I) to first order, so that
exp(I) takes up the scatter; the plane takes up heel and other slow shading. In tiles of many
pixels the shading has second powers too and the gain slopes. A blur of the intensity adds half its
variance times laplace(I) - |grad I|^2. Each tile has its own noise, which is measured on what is
left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluoro.registration.measures.tile_normalisation import Tiles

__all__ = ["TileFit", "blur_derivative", "fit_tiles"]

Array = NDArray[np.float64]
Image = NDArray[Any]

LEAST_TILE_PX = 8
TILES_ACROSS = 16
"""Smaller tiles lose structure to the fit; in larger ones scatter is no plane."""
LARGE_TILE_PX = 12
"""From here on a tile bears a fit with more terms."""
OUTLIER_SIGMAS = 4.0
"""A pixel that leaves more than this of its tile's deviation is left out: dead, or covered."""
LEAST_COVER = 0.4
"""Share of a tile's pixels that must count."""
COMMON_SHARE = 0.75
"""Of the tiles, those that fit best: an instrument may cover the others."""
LEAST_INTEGRAL, SKIN_PX = 0.02, 2
"""A smaller line integral is beside the body; the skin reaches two pixels inwards from there."""
FLAT = 1e-5
"""A term of which less than this share is left by the terms before it is none."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TileFit:
    """Residuals of a target, and of the derivatives that explain it.

    Attributes:
        residuals: What is left of the target in each tile, in its tile's standard deviations,
            in the tiles' layout.
        rows: The same of the derivatives, shape (K, ...).
        count: Pixels that count.
        unexplained: Share of the target's structure that is left, 0 to 1: of what neighbouring
            pixels share, which white noise does not have.
        whiteness: Mean correlation of neighbouring residuals, -1 to 1; of white noise 0.
    """

    residuals: Image
    rows: Image
    count: int
    unexplained: float
    whiteness: float

    @property
    def normal(self) -> Array:
        """Normal matrix of the derivatives over the noise's variance, shape (K, K)."""
        flat = self.rows.reshape(len(self.rows), -1)
        return np.asarray(flat @ flat.T, float)

    @property
    def gradient(self) -> Array:
        """Product of derivatives and residuals over the noise's variance, shape (K,)."""
        return np.asarray(self.rows.reshape(len(self.rows), -1) @ self.residuals.ravel(), float)


def blur_derivative(image: Image) -> Image:
    """Derivative of line integrals with respect to the variance [px^2] of a blur, (H, W)."""
    down, along = np.gradient(image)
    curved = np.zeros_like(image)
    curved[1:-1] += image[2:] - 2 * image[1:-1] + image[:-2]
    curved[:, 1:-1] += image[:, 2:] - 2 * image[:, 1:-1] + image[:, :-2]
    return np.asarray(0.5 * (curved - down**2 - along**2))


def fit_tiles(
    image: Image, target: Image, mask: NDArray[np.bool_], derivatives: Image | None = None
) -> TileFit:
    """Fit a rendered image to a target.

    Args:
        image: Line integrals, shape (height, width).
        target: Attenuation-like values, same shape.
        mask: Pixels that count, same shape.
        derivatives: Of the image with respect to what may explain the rest, (K, height, width);
            None: residuals alone.
    """
    edge = max(LEAST_TILE_PX, min(mask.shape) // TILES_ACROSS)
    tiles = Tiles.over(mask & _inside(image), (edge, edge), (0, 0))
    fields = _fields(tiles, image, edge)
    cut = tiles.cut(np.asarray(target, np.float64))
    weight = _without_outliers(_rest(cut * tiles.weight, _basis(fields, tiles.weight)), tiles)
    basis = _basis(fields, weight)
    shading, scatter = basis[:3], basis[3:]
    seen = _rest(cut * weight, shading)
    drawn = _rest(fields[3] * weight, shading)
    gain = np.maximum(_sums(drawn, seen), 0) / np.maximum(_sums(drawn, drawn), 1e-20)
    left = _rest(seen, scatter)
    count = _sums(weight, weight)
    variance = _sums(left, left) / np.maximum(count - len(basis), 1.0)
    used = (count >= LEAST_COVER * edge * edge) & (variance > 0)
    inverse = np.where(used, 1 / np.sqrt(np.maximum(variance, 1e-20)), 0.0)
    slopes = np.zeros((0, *mask.shape)) if derivatives is None else derivatives
    rows = _rest(tiles.cut(slopes.astype(np.float64)) * weight, basis)
    weight = weight * used
    near = float(_shared(left, weight).sum()) / max(float((left * left * weight).sum()), 1e-20)
    return TileFit(
        residuals=left * inverse,
        rows=rows * (gain * inverse),
        count=int((count * used).sum()),
        unexplained=_unexplained(left, seen, weight),
        whiteness=near,
    )


def _inside(image: Image) -> NDArray[np.bool_]:
    """Pixels well within the body: the skin is the sharpest edge, and no blur of it is small."""
    from scipy.ndimage import binary_erosion

    return np.asarray(binary_erosion(image > LEAST_INTEGRAL, iterations=SKIN_PX, border_value=1))


def _fields(tiles: Tiles, image: Image, edge_px: int) -> list[Array]:
    """What each tile is fitted with: 1, a plane, the image, what scatter adds; more where large."""
    height, width = image.shape
    y = np.broadcast_to(np.linspace(-1, 1, height)[:, None], image.shape)
    x = np.broadcast_to(np.linspace(-1, 1, width)[None, :], image.shape)
    values = np.asarray(image, np.float64)
    found = [np.ones(image.shape), x, y, values, np.exp(values - values.max())]
    if edge_px >= LARGE_TILE_PX:
        found += [x * x, x * y, y * y, x * values, y * values]
    return [tiles.cut(field) for field in found]


def _basis(fields: Sequence[Array], weight: Array) -> list[Array]:
    """The fields without what earlier ones hold of them, of unit length in each tile."""
    basis: list[Array] = []
    for field in fields:
        rest = field * weight
        size = np.sqrt(_sums(rest, rest))
        rest = _rest(_rest(rest, basis), basis)
        length = np.sqrt(_sums(rest, rest))
        scale = np.divide(1, length, out=np.zeros_like(length), where=length > FLAT * size)
        basis.append(rest * scale)
    return basis


def _rest(cut: Array, basis: Sequence[Array]) -> Array:
    """Cut images, (..., tile rows, height, tile columns, width), without a basis."""
    for vector in basis:
        along = np.einsum("ihjw,...ihjw->...ij", vector, cut)[..., :, None, :, None]
        cut = cut - vector * along
    return cut


def _sums(a: Array, b: Array) -> Array:
    """Sum of products in each tile, shape (tile rows, 1, tile columns, 1)."""
    return np.asarray(np.einsum("ihjw,ihjw->ij", a, b)[:, None, :, None])


def _without_outliers(left: Array, tiles: Tiles) -> Array:
    """The weights with 0 where a pixel is far off what the tile's others say."""
    deviation = np.sqrt(_sums(left, left) / tiles.count)
    return np.asarray(tiles.weight * (np.abs(left) <= OUTLIER_SIGMAS * deviation))


def _unexplained(left: Array, seen: Array, weight: Array) -> float:
    """Share of the structure that is left, over the tiles but for the worst quarter."""
    rest, all_of_it = (_shared(v, weight).ravel() for v in (left, seen))
    used = weight.any(axis=(-3, -1)).ravel()
    kept = np.argsort(rest[used])[: max(1, int(COMMON_SHARE * used.sum()))]
    share = rest[used][kept].sum() / max(float(all_of_it[used][kept].sum()), 1e-20)
    return float(np.clip(share, 0.0, 1.0))


def _shared(values: Array, weight: Array) -> Array:
    """Products of neighbours along and down, their mean, summed over each tile."""
    held = values * weight
    across = np.einsum("ihjw,ihjw->ij", held[..., 1:], held[..., :-1])
    down = np.einsum("ihjw,ihjw->ij", held[:, 1:], held[:, :-1])
    return np.asarray((across + down) / 2)

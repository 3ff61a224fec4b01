"""A measure that fits a gain and a plane to each tile: blind to scatter and hardening."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluoro.errors import InputError
from fluoro.registration.measures.similarity import Image, LeastSquaresMeasure, Residuals
from fluoro.registration.measures.tile_normalisation import (
    Standardiser,
    StandardScore,
    Tiles,
    Trend,
)

__all__ = ["LocalFit"]

FLOOR = 0.02
"""Standard deviation, in units of the whole image's, that is added in squares to a tile's own, so
that a tile without structure has no gain."""


class LocalFit(LeastSquaresMeasure):
    """What a gain and a plane in each tile leave of the target; at most half its variance.

    A tile costs about (1 - NCC^2) / 2, without its plane. Scatter and a spectrum change an
    image's contrast from place to place and shade it slowly: gain and plane take both up. Under
    noise the gain falls, and with it the residuals' derivative, so that Gauss-Newton's steps keep
    their length; those of `LocalNcc` get short.

    Args:
        target: Attenuation-like values, shape (height, width).
        mask: Pixels that count; None: all.
        tile_px: Edge of the tiles [pixels], at least 4. The tiles do not overlap.

    Raises:
        InputError: As `Measure`, or smaller tiles.
    """

    def __init__(
        self, target: Image, mask: NDArray[np.bool_] | None = None, *, tile_px: int = 8
    ) -> None:
        super().__init__(target, mask)
        if tile_px < 4:
            raise InputError(f"tile_px must be at least 4 pixels, got {tile_px}")
        self._tiles = Tiles.over(self.mask, (tile_px, tile_px), (0, 0))
        self._whole = Standardiser(Tiles.whole(self.mask), floor=0.0)
        self._local = Standardiser(self._tiles, floor=FLOOR, planes=True)
        self._reference = self._local.apply(self._whole.apply(self.target).score).score
        self._share = 1 / np.sqrt(float(self.mask.sum()))
        self._all = bool(self.mask.all())
        self._basis = Trend(self._tiles, planes=True).basis

    def residuals(self, image: Image, jacobian: Image | None) -> Residuals:
        """Fitted image less target, pixel by pixel of the mask."""
        whole, fit = self._fitted(image)
        share = image.dtype.type(self._share)
        values = (fit.image - fit.reference)[self.mask] * share
        if jacobian is None:
            return Residuals(values=values, jacobian=np.zeros((6, 0)))
        slopes = self._tiles.join(fit.slopes(whole, jacobian, share))
        kept = slopes.reshape(6, -1) if self._all else slopes[:, self.mask]
        return Residuals(values=values, jacobian=kept)

    def _pull_back(self, image: Image, residuals: Image) -> Image:
        whole, fit = self._fitted(image)
        upstream = np.zeros(image.shape, image.dtype)
        upstream[self.mask] = residuals * self._share
        return whole.differential(fit.pull_back(upstream))

    def _fitted(self, image: Image) -> tuple[StandardScore, _Fit]:
        self._require_shape(image)
        whole = self._whole.apply(image)
        reference = self._reference.astype(image.dtype)
        basis = self._basis.astype(image.dtype)
        return whole, _Fit(self._tiles, self._local.apply(whole.score), reference, basis)


class _Fit:
    """Gains of the tiles with which a standardised image comes closest to a reference."""

    def __init__(self, tiles: Tiles, local: StandardScore, reference: Image, basis: Image) -> None:
        self._tiles, self._local, self.reference = tiles, local, reference
        self._score, self._cut, self._basis = local.cut_score, tiles.cut(reference), basis
        # an image that is the reference's negative is no likeness
        self._gain: Any = np.maximum(tiles.mean_product(self._score, self._cut), 0)
        self._rising = self._gain > 0
        self.image = tiles.join(self._gain * self._score)

    def slopes(self, whole: StandardScore, jacobian: Image, share: float) -> Image:
        """Change of the fitted image, cut, by a change of what `whole` standardises.

        All steps from the image to the fit are projections within a tile, so that the change is
        one multiple of the image's and a sum of the tile's fields: plane, score and reference.

        Args:
            whole: The whole image, standardised.
            jacobian: The change, shape (6, height, width).
            share: By which the result is multiplied.
        """
        z, r, inverse = self._score, self._cut, self._local.inverse_deviation[:, None]
        fields = np.concatenate([self._basis, z[:, None], r[:, None]], axis=1)
        cut = np.ascontiguousarray(self._tiles.cut(jacobian).swapaxes(0, 1))
        means = np.matmul(cut, fields.swapaxes(1, 2))
        means /= self._tiles.count[:, None]
        zz, zr = (self._tiles.mean_product(z, each)[:, None] for each in (z, r))
        # of the image without its plane, in the whole image's deviations: that is z / inverse
        pulled = np.einsum("p,kp->k", whole.cut_score[0], jacobian.reshape(6, -1))
        pulled = (pulled / whole.trend.tiles.count[0]).astype(cut.dtype)[None, :, None] / inverse
        by_z, by_r = means[..., -2:-1] - pulled * zz, means[..., -1:] - pulled * zr
        gain, scale = self._gain[:, None], inverse * whole.inverse_deviation[0, 0]
        fitted = self._rising[:, None] * (by_r - zr * by_z) - gain * (by_z + pulled)
        along = np.concatenate([-gain * means[..., :-2], fitted], axis=-1)
        change = np.matmul(along, fields[:, :-1])
        change += gain * cut
        change *= scale * share
        return np.asarray(change.swapaxes(0, 1))

    def pull_back(self, upstream: Image) -> Image:
        """Return the transpose of `differential`, shape (H, W)."""
        cut = self._tiles.cut(upstream)
        by_gain = self._tiles.mean_product(self._score, cut) * self._rising
        return self._local.differential(self._tiles.join(self._gain * cut + by_gain * self._cut))

"""How alike a rendered image and a target are: costs to be minimised, each with its gradient.

A measure is built once for a target and its mask, and then evaluated on many images. `cost` gives
the value and its derivative with respect to every pixel. Sums of squares also give
`residuals`: a vector r with cost = r.r / 2 and its Jacobian, for Gauss-Newton.

Arithmetic is in the dtype of the image handed in for float64, else in float32 for the Jacobian
and float64 for sums.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluoro.errors import InputError
from fluoro.registration.measures.tile_normalisation import Standardiser, Tiles

__all__ = [
    "GradientNcc",
    "LeastSquaresMeasure",
    "LocalNcc",
    "MeanSquares",
    "Measure",
    "MultiScaleNcc",
    "Ncc",
    "Residuals",
]

Image = NDArray[Any]

TILE_FLOOR = 0.1
"""Standard deviation, in units of the whole image's, that is added in squares to a tile's own, so
that noise in a tile without structure is not blown up."""
PLANELESS_FLOOR = 0.05
"""The same for tiles that have lost their plane. It also keeps tiles whose contrast scatter has
flattened from having lower scores than the rendered image's: twice as large a floor costs more
accuracy under scatter, a smaller one under noise (docs/registration.md)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Residuals:
    """A cost as a sum of squares.

    Attributes:
        values: r, shape (N,); the cost is r.r / 2.
        jacobian: Derivative of r by each pose parameter, shape (6, N).
    """

    values: NDArray[Any]
    jacobian: NDArray[Any]


class Measure(ABC):
    """A cost of an image against a target; 0 or least where they are most alike.

    Args:
        target: Attenuation-like values, shape (height, width); finite where the mask holds.
        mask: Pixels that count, same shape; None: all.

    Raises:
        InputError: Shapes that differ, a mask without pixels, values that are not finite, or a
            target that is constant in the mask.
    """

    def __init__(self, target: Image, mask: NDArray[np.bool_] | None = None) -> None:
        self.target, self.mask = checked_target(target, mask)

    @abstractmethod
    def cost(self, image: Image) -> tuple[float, Image]:
        """Return cost and derivative with respect to each pixel, shape (height, width).

        Raises:
            InputError: An image of another shape than the target.
        """

    def _require_shape(self, image: Image) -> None:
        if image.shape[-2:] != self.target.shape:
            raise InputError(
                f"image must have the target's shape {self.target.shape}, got {image.shape[-2:]}"
            )


class LeastSquaresMeasure(Measure):
    """A measure that is half a sum of squares."""

    @abstractmethod
    def residuals(self, image: Image, jacobian: Image | None) -> Residuals:
        """R and its derivatives from the image's, shape (6, height, width); None: values only."""

    @abstractmethod
    def _pull_back(self, image: Image, residuals: Image) -> Image:
        """Derivative of r.r / 2 by each pixel, shape (height, width)."""

    def cost(self, image: Image) -> tuple[float, Image]:
        """Return the cost and its derivative with respect to each pixel."""
        values = self.residuals(image, None).values
        total = 0.5 * float(np.vdot(values, values))
        return total, self._pull_back(image, values)


def checked_target(
    target: Image, mask: NDArray[np.bool_] | None
) -> tuple[Image, NDArray[np.bool_]]:
    """Return the target with zeros outside its mask, and the mask; see `Measure`.

    Raises:
        InputError: Shapes that differ, an empty mask, or values that are not finite or all alike.
    """
    if target.ndim != 2:
        raise InputError(f"target must have shape (height, width), got {target.shape}")
    kept = np.ones(target.shape, bool) if mask is None else np.asarray(mask, bool)
    if kept.shape != target.shape:
        raise InputError(f"mask must have the target's shape {target.shape}, got {kept.shape}")
    if not kept.any():
        raise InputError("mask must hold at least one pixel, got an empty mask")
    inside = target[kept]
    if not np.isfinite(inside).all():
        count = int((~np.isfinite(inside)).sum())
        raise InputError(f"target must be finite within its mask, got {count} pixels that are not")
    if inside.std() <= 1e-6 * max(float(np.abs(inside).max()), 1e-30):
        raise InputError(f"target must not be constant, got {float(inside[0]):g} in all its mask")
    return np.where(kept, target, 0), kept


class MeanSquares(LeastSquaresMeasure):
    """Half the mean squared difference: for targets in the renderer's own unit."""

    def __init__(self, target: Image, mask: NDArray[np.bool_] | None = None) -> None:
        super().__init__(target, mask)
        self._share = 1 / np.sqrt(self.mask.sum())

    def residuals(self, image: Image, jacobian: Image | None) -> Residuals:
        """Return differences in the mask over the root of their number."""
        self._require_shape(image)
        share = self._share.astype(image.dtype)
        values = ((image - self.target) * share)[self.mask]
        return Residuals(values=values, jacobian=_in_mask(jacobian, self.mask, share))

    def _pull_back(self, _image: Image, residuals: Image) -> Image:
        return _spread(residuals * self._share, self.mask)


class MultiScaleNcc(LeastSquaresMeasure):
    """1 - normalised cross-correlation, of the whole image and of tiles of several sizes.

    The image is standardised as a whole (zero mean, unit variance over the mask) and again in
    each tile; half the mean squared difference of two standardised images is 1 - NCC.

    Args:
        target: Attenuation-like values, shape (height, width).
        mask: Pixels that count; None: all.
        tiles_px: Edges of the tiles [pixels]; 0 is the whole image. Each size counts alike, and
            tiles of one size overlap by half.
        planes: Each tile loses its plane, else only its mean.

    Raises:
        InputError: See `Measure`; or no tile size, or one of 1 to 3 pixels.
    """

    def __init__(
        self,
        target: Image,
        mask: NDArray[np.bool_] | None = None,
        *,
        tiles_px: Sequence[int] = (0, 32, 16),
        planes: bool = False,
    ) -> None:
        super().__init__(target, mask)
        if not tiles_px or any(edge < 0 or 0 < edge < 4 for edge in tiles_px):
            raise InputError(f"tiles_px must be 0 or at least 4 pixels each, got {tuple(tiles_px)}")
        self._whole = Standardiser(Tiles.whole(self.mask), floor=0.0)
        tilings = [Tiles.halfway(self.mask, edge) for edge in tiles_px if edge]
        share = 1 / len(tiles_px)
        self._shares = [share / len(group) for group in tilings for _ in group]
        self._tiles = [
            Standardiser(t, floor=PLANELESS_FLOOR if planes else TILE_FLOOR, planes=planes)
            for group in tilings
            for t in group
        ]
        self._whole_share = share if 0 in tiles_px else 0.0
        reference = self._whole.apply(self.target).score
        self._reference = [reference, *(tile.apply(reference).score for tile in self._tiles)]
        self._count = float(self.mask.sum())

    def residuals(self, image: Image, jacobian: Image | None) -> Residuals:
        """Differences of standardised values, whole image first, then tiling after tiling."""
        self._require_shape(image)
        whole = self._whole.apply(image)
        slopes = None if jacobian is None else whole.differential(jacobian)
        parts = [self._part(whole.score, slopes, 0, self._whole_share)]
        for n, (tile, share) in enumerate(zip(self._tiles, self._shares, strict=True), 1):
            local = tile.apply(whole.score)
            turned = None if slopes is None else local.differential(slopes)
            parts.append(self._part(local.score, turned, n, share))
        if not self._whole_share:
            parts = parts[1:]
        return Residuals(
            values=np.concatenate([values for values, _ in parts]),
            jacobian=np.concatenate([rows for _, rows in parts], axis=1),
        )

    def _part(
        self, score: Image, slopes: Image | None, number: int, share: float
    ) -> tuple[Image, Image]:
        factor = score.dtype.type(np.sqrt(share / self._count))
        values = ((score - self._reference[number].astype(score.dtype)) * factor)[self.mask]
        return values, _in_mask(slopes, self.mask, factor)

    def _pull_back(self, image: Image, residuals: Image) -> Image:
        whole = self._whole.apply(image)
        pieces = list(residuals.reshape(-1, int(self._count)))
        upstream = np.zeros(image.shape, image.dtype)
        if self._whole_share:
            factor = np.sqrt(self._whole_share / self._count)
            upstream += _spread(pieces.pop(0) * factor, self.mask)
        for tile, share, piece in zip(self._tiles, self._shares, pieces, strict=True):
            factor = np.sqrt(share / self._count)
            local = tile.apply(whole.score)
            upstream += local.differential(_spread(piece * factor, self.mask))
        return whole.differential(upstream)


class Ncc(MultiScaleNcc):
    """1 - normalised cross-correlation of the whole image, 0 to 2."""

    def __init__(self, target: Image, mask: NDArray[np.bool_] | None = None) -> None:
        super().__init__(target, mask, tiles_px=(0,))


class LocalNcc(MultiScaleNcc):
    """1 - normalised cross-correlation in overlapping tiles, each without its plane.

    Insensitive to slow shading, added or multiplied, such as heel and scatter.

    Args:
        target: Attenuation-like values, shape (height, width).
        mask: Pixels that count; None: all.
        tile_px: Edge of the tiles [pixels], at least 4.
    """

    def __init__(
        self, target: Image, mask: NDArray[np.bool_] | None = None, *, tile_px: int = 16
    ) -> None:
        super().__init__(target, mask, tiles_px=(tile_px,), planes=True)


class GradientNcc(LeastSquaresMeasure):
    """1 - NCC of the horizontal and of the vertical derivative (Sobel), their mean.

    Raises:
        InputError: As `Measure`, or a mask without a square of 3 x 3 pixels.
    """

    def __init__(self, target: Image, mask: NDArray[np.bool_] | None = None) -> None:
        super().__init__(target, mask)
        inner = _eroded(self.mask)
        if not inner.any():
            raise InputError("mask must hold a square of 3 x 3 pixels for image gradients")
        self._inner = inner
        self._standardiser = Standardiser(Tiles.whole(inner), floor=0.0)
        self._reference = [
            self._standardiser.apply(self._derivative(self.target, axis)).score for axis in (0, 1)
        ]
        self._share = np.sqrt(0.5 / inner.sum())

    def _derivative(self, image: Image, axis: int) -> Image:
        return np.where(self._inner, sobel(image, axis), image.dtype.type(0))

    def residuals(self, image: Image, jacobian: Image | None) -> Residuals:
        """Return differences of standardised derivatives: down the rows first, then along them."""
        self._require_shape(image)
        share = image.dtype.type(self._share)
        values, rows = [], []
        for axis in (0, 1):
            state = self._standardiser.apply(self._derivative(image, axis))
            difference = state.score - self._reference[axis].astype(image.dtype)
            values.append((difference * share)[self._inner])
            slopes = None
            if jacobian is not None:
                slopes = state.differential(self._derivative(jacobian, axis))
            rows.append(_in_mask(slopes, self._inner, share))
        return Residuals(values=np.concatenate(values), jacobian=np.concatenate(rows, axis=1))

    def _pull_back(self, image: Image, residuals: Image) -> Image:
        total = np.zeros(image.shape, image.dtype)
        for axis, piece in enumerate(np.split(residuals, 2)):
            state = self._standardiser.apply(self._derivative(image, axis))
            upstream = state.differential(_spread(piece * self._share, self._inner))
            total += sobel_adjoint(upstream, axis)
        return np.where(self.mask, total, 0)


def sobel(image: Image, axis: int) -> Image:
    """Sobel derivative along rows (axis 0: down, 1: right) of (..., H, W); 0 at the border."""
    down = axis == 0
    across = image if down else np.swapaxes(image, -1, -2)
    step = across[..., 2:, :] - across[..., :-2, :]
    out = np.zeros_like(across)
    out[..., 1:-1, 1:-1] = (step[..., :-2] + 2 * step[..., 1:-1] + step[..., 2:]) / 8
    return out if down else np.swapaxes(out, -1, -2)


def sobel_adjoint(upstream: Image, axis: int) -> Image:
    """Return the transpose of `sobel`, shape (H, W)."""
    down = axis == 0
    given = (upstream if down else upstream.T)[1:-1, 1:-1] / 8
    out = np.zeros_like(upstream if down else upstream.T)
    width = given.shape[1]
    for offset, weight in ((0, 1), (1, 2), (2, 1)):
        out[2:, offset : offset + width] += weight * given
        out[:-2, offset : offset + width] -= weight * given
    return out if down else out.T


def _eroded(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    inner = np.zeros_like(mask)
    height, width = mask.shape
    if height < 3 or width < 3:
        return inner
    windows = np.lib.stride_tricks.sliding_window_view(mask, (3, 3))
    inner[1:-1, 1:-1] = windows.all(axis=(2, 3))
    return inner


def _in_mask(jacobian: Image | None, mask: NDArray[np.bool_], factor: Any) -> Image:
    if jacobian is None:
        return np.zeros((6, 0))
    return np.asarray(jacobian[:, mask] * factor)


def _spread(values: Image, mask: NDArray[np.bool_]) -> Image:
    image = np.zeros(mask.shape, values.dtype)
    image[mask] = values
    return image

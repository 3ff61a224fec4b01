"""How sharp a target is: blurred by the detector, then sharpened for the display.

A display adds a share of what a Gaussian takes away (unsharp masking), and neither amount nor width
is known. An image whose edges are sharper than the rendered ones would displace lengths and pose.
Any such mask is nearly a sum of masks of a few widths, in each of which the image is linear; a blur
is the derivative of the line integrals times its variance. All are fitted together, none of them
below zero: that keeps an image without sharpening as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluoro.registration.measures.tile_fit import (
    TileFit,
    blur_derivative,
    blurred_with,
    fit_tiles,
)

__all__ = ["Sharpness", "as_sharp", "measure_sharpness"]

Image = NDArray[Any]

SIGMAS_PX = (1.0, 2.0, 4.0)
"""Of the Gaussians of the masks, in pixels of the level that is compared."""
MOST_BLUR_PX2 = 4.0
"""Largest variance of a target's blur that is taken up."""
RIDGE = 1e-6
"""Share of a term's normal matrix that is added: masks of neighbouring widths are alike."""


@dataclass(frozen=True, kw_only=True)
class Sharpness:
    """What was done to an image after the rays.

    Attributes:
        blur_px2: Variance of the blur of the intensity [px^2], at least 0.
        amounts: How much of what each Gaussian of `SIGMAS_PX` takes away is added, at least 0.
    """

    blur_px2: float
    amounts: tuple[float, ...]


def measure_sharpness(
    image: Image, target: Image, mask: NDArray[np.bool_], *, sloping: bool = False
) -> Sharpness:
    """Return the blur and the sharpening that explain most of a target.

    Args:
        image: Rendered line integrals, shape (height, width).
        target: Attenuation-like values, same shape.
        mask: Pixels that count, same shape.
        sloping: As for `fit_tiles`.
    """
    rows = np.stack([blur_derivative(image), *(_detail(image, sigma) for sigma in SIGMAS_PX)])
    blur, *amounts = _non_negative(fit_tiles(image, target, mask, rows, sloping=sloping))
    return Sharpness(blur_px2=min(blur, MOST_BLUR_PX2), amounts=tuple(amounts))


def as_sharp(
    image: Image, derivatives: Image, sharpness: Sharpness
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Blur the intensity of line integrals, then sharpen them; the derivatives likewise.

    Args:
        image: Line integrals, shape (height, width).
        derivatives: Of the image, shape (K, height, width).
        sharpness: How much.

    Returns:
        The image, shape (height, width), and its derivatives, shape (K, height, width).
    """
    blurred, rows = blurred_with(image, derivatives, sharpness.blur_px2)
    return _sharpened(blurred, sharpness), np.stack([_sharpened(row, sharpness) for row in rows])


def _sharpened(image: NDArray[np.float32], sharpness: Sharpness) -> NDArray[np.float32]:
    pairs = zip(SIGMAS_PX, sharpness.amounts, strict=True)
    added = [amount * _detail(image, sigma) for sigma, amount in pairs if amount]
    return np.asarray(sum(added, start=image), np.float32)


def _detail(image: Image, sigma_px: float) -> Image:
    """What a Gaussian takes away from an image."""
    from scipy.ndimage import gaussian_filter

    return np.asarray(image - gaussian_filter(image, sigma_px, mode="nearest", truncate=3.0))


def _non_negative(fit: TileFit) -> list[float]:
    """Least squares of a fit's rows, none of them with a share below 0."""
    from scipy.optimize import nnls

    sizes = np.sqrt(np.maximum(np.diag(fit.normal), 1e-20))
    normal = fit.normal / np.outer(sizes, sizes) + RIDGE * np.eye(len(sizes))
    root = np.linalg.cholesky(normal)
    found, _ = nnls(root.T, np.linalg.solve(root, fit.gradient / sizes))
    return [float(share) for share in found / sizes]

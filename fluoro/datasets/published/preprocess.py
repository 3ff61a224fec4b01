"""From stored intensities to attenuation-like images, step by step as the data sets' users do."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import correlate1d

from fluoro.errors import InputError
from fluoro.geometry.projection import View

__all__ = [
    "CROP_PX",
    "cropped",
    "cropped_view",
    "deepfluoro_attenuation",
    "ljubljana_attenuation",
    "read_xray_steps",
]

Image = NDArray[np.float32]
FrameReduction = Literal["max", "sum"]
"""What becomes of several frames."""
CROP_PX = 50
"""Border of DeepFluoro's images that the collimator darkens, on each side [pixels]."""
OPEN_FIELD = 65487.0
"""DeepFluoro's intensity without a patient, as DiffDRR-Datasets has it."""
SMOOTHING_PX, SMOOTHING_TAPS = 1.0, 5
LEAST_INTENSITY = 1.0
"""Smaller intensities count as this one: the logarithm of 0 is no number."""


def cropped(image: Image, border_px: int) -> Image:
    """Return an image without a border on each side.

    Raises:
        InputError: Nothing is left.
    """
    if 2 * border_px >= min(image.shape):
        raise InputError(
            f"crop must leave pixels of {image.shape[0]} x {image.shape[1]}, "
            f"got {border_px} on each side"
        )
    return image[border_px : image.shape[0] - border_px, border_px : image.shape[1] - border_px]


def cropped_view(view: View, border_px: int) -> View:
    """Return the view of `cropped`.

    Raises:
        InputError: Nothing is left.
    """
    return view.part(
        (border_px, view.width_px - border_px), (border_px, view.height_px - border_px)
    )


def deepfluoro_attenuation(image: Image, crop_px: int = CROP_PX) -> Image:
    """Return line integrals of a DeepFluoro image: crop, smooth (5 x 5, sigma 1), log.

    Args:
        image: Intensities, shape (height, width).
        crop_px: Border that is left out on each side [pixels].

    Returns:
        log(65487) - log(I), shape (height - 2 crop, width - 2 crop), float32.

    Raises:
        InputError: Nothing is left, or values that are not finite.
    """
    inside = _finite(cropped(image, crop_px))
    reach = np.arange(SMOOTHING_TAPS) - SMOOTHING_TAPS // 2
    taps = np.exp(-0.5 * (reach / SMOOTHING_PX) ** 2).astype(np.float32)
    smooth = inside.astype(np.float32)
    for axis in (0, 1):
        smooth = correlate1d(smooth, taps / taps.sum(), axis=axis, mode="mirror")
    return np.float32(np.log(OPEN_FIELD)) - np.log(np.maximum(smooth, np.float32(LEAST_INTENSITY)))


def ljubljana_attenuation(image: Image) -> Image:
    """Return vessels of a Ljubljana image: background off, scaled to [1, 2], log.

    Args:
        image: Subtracted intensities, about 1 at most, shape (height, width).

    Returns:
        log(max) - log(2 + min(I - background, 0)), float32, larger where there is contrast agent.

    Raises:
        InputError: Values that are not finite.
    """
    values = _finite(image).astype(np.float32)
    shown = np.clip(values - _background(values), -1, 0) + 2
    return np.asarray(np.log(shown.max()) - np.log(shown), np.float32)


def read_xray_steps(
    image: Image,
    *,
    crop: int = 0,
    subtract_background: bool = False,
    linearize: bool = True,
    reduce: FrameReduction | int = "max",
) -> Image:
    """Return an image as xvr's `read_xray` prepares it.

    Args:
        image: Shape (height, width), or (frames, height, width).
        crop: Pixels that are left out of each dimension, half of them on each side.
        subtract_background: Whether the commonest value becomes 1, and all above it.
        linearize: Whether to take the logarithm: log(max) - log(1 + value).
        reduce: What becomes of several frames: their maximum, their sum, or one of them by number.

    Raises:
        InputError: Nothing is left, or values that are not finite.
    """
    image = _finite(cropped(_one_frame(image, reduce), crop // 2)).astype(np.float32)
    low, high = float(image.min()), float(image.max())
    image = (image - np.float32(low)) / np.float32(high - low + 1e-6)
    if subtract_background:
        image = np.clip(image - _background(image), -1, 0) + 1
    if linearize:
        image = image + 1
        image = np.log(image.max()) - np.log(image)
    return np.asarray(image, np.float32)


def _one_frame(image: Image, reduce: FrameReduction | int) -> Image:
    if image.ndim == 2:
        return image
    if isinstance(reduce, int):
        return np.asarray(image[reduce])
    return np.asarray(image.max(axis=0) if reduce == "max" else image.sum(axis=0))


def _background(values: Image) -> np.float32:
    """The commonest of the rows' commonest values; the least of several."""
    rows = np.array([_commonest(row) for row in values])
    return _commonest(rows)


def _commonest(values: NDArray[np.float32]) -> np.float32:
    found, counts = np.unique(values, return_counts=True)
    return np.float32(found[counts.argmax()])


def _finite(image: Image) -> Image:
    if not np.isfinite(image).all():
        raise InputError(f"image must be finite, got {int((~np.isfinite(image)).sum())} others")
    return image

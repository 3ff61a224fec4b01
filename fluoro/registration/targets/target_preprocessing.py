"""From an X-ray image to a registration target: intensity, logarithm, crop, mask, polarity.

raw      detector intensity            log(i0) - log(I)
log      attenuation line integrals    as they are
display  what a screen shows           bone bright; linear in an unknown, monotonic law
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluoro.errors import InputError
from fluoro.registration.targets.collimator_edges import find_collimator_edges
from fluoro.registration.targets.preparation import Preparation
from fluoro.registration.targets.target import Target

__all__ = ["prepare"]

Image = NDArray[np.float64]

OPEN_FIELD_PERCENTILE = 99.5
"""Of the intensities in the field: the open field, where there is one, without its outliers."""
OPEN_FIELD_BAND = 0.1
"""Intensities within this share of the estimate belong to the open field, which is a peak of the
histogram: the band below, just as wide, must hold fewer. A patient's brightest parts are a tail."""
OPEN_FIELD_LEAST = 0.01
"""Share of the field that the open field takes up at least."""
CLIPPED_SHARE = 0.005
"""More pixels than this at one end of the grey scale have been clipped to it."""
LOW_SHARE = 0.01
"""Intensities below this share of the field's 5th percentile count as no signal."""


def prepare(
    image: NDArray[Any],
    preparation: Preparation | None = None,
    mask: NDArray[np.bool_] | None = None,
) -> Target:
    """Return an attenuation-like image with the mask of the pixels that count.

    The image keeps its size, so that its view stays right: what is cropped is masked.

    Args:
        image: Values, shape (height, width), any real type; larger is brighter.
        preparation: How; None: raw intensity, everything estimated.
        mask: Pixels that may count, same shape; None: all.

    Returns:
        The target. Its notes say how i0 came about, what was cropped and how many pixels were
        left out for being saturated, dark or clipped.

    Raises:
        InputError: An image that is not an image, holds values that are not finite in the mask,
            or leaves no pixels or a constant image.
    """
    how = preparation or Preparation()
    values, kept = _shaped(image, mask)
    notes: list[str] = []
    if how.crop not in (None, "auto"):  # pixels that do not count need not be finite
        kept &= _field(values, kept, how, notes)
        values = _finite(values, kept)
    else:
        values = _finite(values, kept)
        kept &= _field(values, kept, how, notes)
    i0 = None
    if how.kind == "raw":
        image, kept, i0 = _attenuation(values, image.dtype, kept, how, notes)
    elif how.kind == "display":
        image, kept = _unclipped(values, kept, how, notes)
    else:
        image = values
    if not kept.any():
        raise InputError(f"target must keep some pixels, got none ({'; '.join(notes)})")
    if how.smoothing_px:
        image = _smoothed(image, kept, how.smoothing_px)
    image = np.where(kept, image, 0.0)
    return Target(image=image.astype(np.float32), mask=kept, i0=i0, notes=tuple(notes))


def _shaped(
    image: NDArray[Any], mask: NDArray[np.bool_] | None
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    values = np.asarray(image)
    if values.ndim != 2 or values.size == 0 or values.dtype.kind not in "uif":
        raise InputError(
            f"target must be a grey image of shape (height, width), got {values.dtype} "
            f"{values.shape}"
        )
    kept = np.ones(values.shape, bool) if mask is None else np.array(mask, bool)
    if kept.shape != values.shape:
        raise InputError(f"mask must have the target's shape {values.shape}, got {kept.shape}")
    if not kept.any():
        raise InputError("mask must hold at least one pixel, got an empty mask")
    return values, kept


def _finite(values: NDArray[Any], kept: NDArray[np.bool_]) -> Image:
    """The values as floats, 0 where they do not count."""
    wrong = kept & ~np.isfinite(values)
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise InputError(
            f"target must be finite, got {values[row, column]} at row {row}, column {column} "
            f"and {int(wrong.sum())} such pixels in all"
        )
    return np.where(kept, values, 0).astype(float)


def _field(
    values: Image, kept: NDArray[np.bool_], how: Preparation, notes: list[str]
) -> NDArray[np.bool_]:
    inside = np.zeros(values.shape, bool)
    crop = find_collimator_edges(values, kept) if how.crop == "auto" else how.crop or (0, 0, 0, 0)
    top, bottom, left, right = crop
    height, width = values.shape
    if top + bottom >= height or left + right >= width:
        raise InputError(f"crop must leave pixels of {height} x {width}, got {crop}")
    inside[top : height - bottom, left : width - right] = True
    if any(crop):
        found = "found by the collimator's edges" if how.crop == "auto" else "as given"
        notes.append(f"cropped {top} top, {bottom} bottom, {left} left, {right} right, {found}")
    return inside


def _attenuation(
    values: Image,
    dtype: np.dtype[Any],
    kept: NDArray[np.bool_],
    how: Preparation,
    notes: list[str],
) -> tuple[Image, NDArray[np.bool_], float]:
    """log(i0) - log(I), without pixels that are saturated or carry no signal."""
    saturation = how.saturation
    if saturation is None and dtype.kind in "ui":
        saturation = float(np.iinfo(dtype).max)
    if saturation is not None:
        kept = _without(kept, values >= saturation, "saturated", notes)
    if not kept.any():
        raise InputError("target must hold a pixel that is not saturated, got none")
    floor = LOW_SHARE * max(float(np.percentile(values[kept], 5)), 0.0)
    kept = _without(kept, values <= floor, "without signal", notes)
    if not kept.any():
        raise InputError("target of kind raw must hold positive intensities, got none")
    i0 = how.i0 if how.i0 is not None else _estimated_i0(values[kept], notes)
    positive = np.where(kept, values, i0)
    return math.log(i0) - np.log(positive), kept, i0


def _estimated_i0(intensities: Image, notes: list[str]) -> float:
    i0 = float(np.percentile(intensities, OPEN_FIELD_PERCENTILE))
    top = intensities >= (1 - OPEN_FIELD_BAND) * i0
    below = (intensities >= (1 - 3 * OPEN_FIELD_BAND) * i0) & ~top
    if top.mean() >= OPEN_FIELD_LEAST and top.sum() > below.sum():
        level = float(np.median(intensities[top]))
        notes.append(f"i0 {level:.6g} estimated from the open field")
        return level
    notes.append(
        f"no open field: i0 is the {OPEN_FIELD_PERCENTILE:g}th percentile, {i0:.6g}; line "
        "integrals are known up to a constant"
    )
    return i0


def _unclipped(
    values: Image, kept: NDArray[np.bool_], how: Preparation, notes: list[str]
) -> tuple[Image, NDArray[np.bool_]]:
    """Bone bright, without grey levels that the window has clipped."""
    if how.polarity is None:
        notes.append("polarity not given: taken as bone_bright")
    for level, name in ((values[kept].min(), "darkest"), (values[kept].max(), "brightest")):
        at_level = kept & (values == level)
        if at_level.sum() > CLIPPED_SHARE * kept.sum():
            kept = _without(kept, at_level, f"clipped at the {name} grey level", notes)
    return -values if how.polarity == "bone_dark" else values, kept


def _without(
    kept: NDArray[np.bool_], wrong: NDArray[np.bool_], what: str, notes: list[str]
) -> NDArray[np.bool_]:
    count = int((kept & wrong).sum())
    if count:
        notes.append(f"{count} pixels {what} left out")
    return kept & ~wrong


def _smoothed(image: Image, kept: NDArray[np.bool_], sigma_px: float) -> Image:
    from scipy.ndimage import gaussian_filter

    weight = gaussian_filter(kept.astype(float), sigma_px)
    total = gaussian_filter(np.where(kept, image, 0.0), sigma_px)
    return np.asarray(total / np.maximum(weight, 1e-6))

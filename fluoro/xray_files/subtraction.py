"""The subtraction that a file's mask module describes (PS3.3 C.7.6.10)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import shift

from fluoro.errors import InputError
from fluoro.xray_files.xray_file import XrayFile, XrayFrame

__all__ = ["Subtraction"]

LEAST_SHARE = 1e-6
"""Of the largest intensity, below which a logarithm stops."""


class Subtraction:
    """Frames of a file less their masks; a mask that frames share is read once.

    Args:
        file: The file.
    """

    def __init__(self, file: XrayFile) -> None:
        self._file = file
        self._mask: tuple[list[int], NDArray[np.float64]] | None = None

    def of(self, number: int, frame: XrayFrame) -> NDArray[np.float64] | None:
        """A frame less its mask, larger where contrast agent is; None: there is no mask for it.

        ln(mask) - ln(frame) of intensities, else the difference with the same sign. Masks are
        averaged and shifted as MaskSubPixelShift says.

        Args:
            number: Of the frame, counted from 1.
            frame: The frame.

        Raises:
            InputError: A mask that is not there, or one that cannot be read.
        """
        item = _item(self._file, number)
        masks = _mask_numbers(item, number, self._file.count) if item is not None else []
        if item is None or not masks:
            return None
        live, mask = _attenuation(frame), self._mean(masks)
        by = [float(value) for value in item.get("MaskSubPixelShift") or ()]
        if len(by) == 2:
            mask = shift(mask, by, order=1, mode="nearest")
        return np.asarray((live - mask) * (-1 if item.get("MaskOperation") == "REV_TID" else 1))

    def _mean(self, masks: list[int]) -> NDArray[np.float64]:
        """The mean of frames, which is kept for the next frame."""
        if self._mask is None or self._mask[0] != masks:
            read = [_attenuation(self._file.frame(each)) for each in masks]
            self._mask = masks, np.mean(read, axis=0)
        return self._mask[1]


def _item(file: XrayFile, number: int) -> Any:
    """The item of the sequence that is for a frame."""
    for item in file.header.dataset.get("MaskSubtractionSequence") or []:
        ranges = [int(value) for value in _several(item.get("ApplicableFrameRange"))]
        inside = any(a <= number <= b for a, b in zip(ranges[::2], ranges[1::2], strict=False))
        if item.get("MaskOperation") in ("AVG_SUB", "TID", "REV_TID") and (inside or not ranges):
            return item
    return None


def _mask_numbers(item: Any, number: int, count: int) -> list[int]:
    if item.get("MaskOperation") == "AVG_SUB":
        numbers = [int(value) for value in _several(item.get("MaskFrameNumbers"))]
        if any(not 1 <= each <= count for each in numbers):
            raise InputError(f"MaskFrameNumbers (0028,6110) must be 1 to {count}, got {numbers}")
        return numbers
    before = number - int(item.get("TIDOffset") or 1)
    return [before] if 1 <= before <= count else []


def _several(value: Any) -> list[Any]:
    if value is None:
        return []
    return [value] if isinstance(value, int | float | str) else list(value)


def _attenuation(frame: XrayFrame) -> NDArray[np.float64]:
    """Larger where more is in the beam; a logarithm of intensities."""
    values = frame.values
    if frame.meaning.kind == "raw":
        return np.asarray(-np.log(np.maximum(values, LEAST_SHARE * max(values.max(), 1e-30))))
    return -values if frame.meaning.polarity == "bone_dark" else values

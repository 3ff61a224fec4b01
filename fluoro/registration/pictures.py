"""Foreign pictures as arrays: 8 and 16-bit PNG, TIFF and JPEG, and NPY."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluoro.errors import InputError

__all__ = ["read_picture"]

GREY_MODES = frozenset({"L", "I;16", "I;16B", "I;16L", "I", "F"})
"""Pillow's modes of one channel whose numbers are the picture's own."""


def read_picture(path: Path) -> NDArray[Any]:
    """The grey values of a picture file, shape (height, width), in the file's own type.

    A colour picture must be grey in all but name; its alpha channel is dropped.

    Raises:
        InputError: Missing or unreadable file, a colour picture, or an array of another shape.
    """
    if not path.is_file():
        raise InputError(f"{path}: there is no such file")
    values = _read_npy(path) if path.suffix.lower() == ".npy" else _read_image(path)
    if values.ndim != 2 or values.size == 0 or values.dtype.kind not in "uif":
        raise InputError(
            f"{path}: must hold one grey picture, (height, width); got {values.dtype} "
            f"{values.shape}"
        )
    return values


def _read_npy(path: Path) -> NDArray[Any]:
    try:
        values = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path}: not a readable NPY file: {error}") from None
    return np.asarray(values)


def _read_image(path: Path) -> NDArray[Any]:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            if image.mode in GREY_MODES:
                return _native(np.array(image))
            if image.mode not in ("1", "P", "LA", "RGB", "RGBA"):
                raise InputError(f"{path}: must be a grey picture, got mode {image.mode}")
            return _grey(path, np.array(image.convert("RGB")))
    except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"{path}: not a readable picture: {error}") from None


def _native(values: NDArray[Any]) -> NDArray[Any]:
    return values.astype(values.dtype.newbyteorder("="), copy=False)


def _grey(path: Path, rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    red, green, blue = np.moveaxis(rgb, -1, 0)
    if (red != green).any() or (red != blue).any():
        raise InputError(f"{path}: must be a grey picture, got one in colour")
    return np.ascontiguousarray(red)

"""Images on disk, each whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fluoro.errors import InputError
from fluoro.files.atomic_write import whole_file, writing

__all__ = ["PngFrames", "save_image"]

FORMATS = {".png": "PNG", ".webp": "WEBP", ".gif": "GIF", ".jpg": "JPEG", ".jpeg": "JPEG"}
"""Pillow's name of the format, by suffix."""


def save_image(path: Path, image: Image.Image, **options: Any) -> None:
    """Write an image in the format of the path's suffix; an earlier file stays till it is whole.

    Args:
        path: File to make, `.png`, `.webp`, `.gif` or `.jpg`.
        image: Image, or the first one of an animation.
        options: What Pillow takes for the format, by its names.

    Raises:
        InputError: Another suffix.
        OutputError: It cannot be written.
    """
    file_format = FORMATS.get(path.suffix.lower())
    if file_format is None:
        raise InputError(f"{path}: must end in {', '.join(FORMATS)}")
    with whole_file(path) as unfinished:
        image.save(unfinished, format=file_format, **options)


class PngFrames:
    """`frame_0000.png`, `frame_0001.png` ... in one folder, numbered as the stream is.

    Raises:
        OutputError: The folder or a file cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with writing(folder):
            folder.mkdir()

    def write(self, number: int, grey: NDArray[np.uint8]) -> None:
        """Write one image, shape (height, width), compressed fast rather than small.

        Raises:
            OutputError: It cannot be written; nothing of it stays.
        """
        path = self._folder / f"frame_{number:04d}.png"
        save_image(path, Image.fromarray(grey, mode="L"), compress_level=1)

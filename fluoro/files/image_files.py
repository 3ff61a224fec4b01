"""Each frame as an 8-bit grey PNG."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fluoro.files.atomic_write import writing

__all__ = ["PngFrames"]


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
        with writing(path):
            try:
                Image.fromarray(grey, mode="L").save(path, compress_level=1)
            except OSError:
                path.unlink(missing_ok=True)  # an incomplete file would be misleading
                raise

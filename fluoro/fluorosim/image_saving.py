"""Single frames on disk: 8-bit grey PNG, float32 .npy, or .npz with the pose."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from fluoro.errors import InputError
from fluoro.files.atomic_write import whole_file, writing

__all__ = ["save_image"]

SUFFIXES = (".png", ".npy", ".npz")
Image = NDArray[np.float32]


def save_image(path: Path, image: Image, facts: Mapping[str, Any]) -> None:
    """Write an image, whole or not at all; its folder is made.

    Args:
        path: Ends in .png, .npy or .npz.
        image: Shape (height, width), float32; a PNG shows [0, 1] as black to white.
        facts: Arrays and numbers that an .npz holds beside the `image`.

    Raises:
        InputError: Another suffix.
        OutputError: The file cannot be written.
    """
    writers: dict[str, Callable[[BinaryIO], None]] = {
        ".png": lambda file: _write_png(file, image),
        ".npy": lambda file: np.save(file, image),
        ".npz": lambda file: np.savez(file, image=image, **facts),
    }
    write = writers.get(path.suffix.lower())
    if write is None:
        raise InputError(f"{path}: must end in {', '.join(SUFFIXES)}")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as unfinished, unfinished.open("wb") as file:
        write(file)


def _write_png(file: BinaryIO, image: Image) -> None:
    """A PNG of one 8-bit grey channel (ISO/IEC 15948): no library needed for that."""
    grey = (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)
    height, width = grey.shape
    rows = np.zeros((height, width + 1), np.uint8)  # each starts with its filter: 0, none
    rows[:, 1:] = grey
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes(), 6)), (b"IEND", b""))
    file.write(b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*chunk) for chunk in chunks))


def _chunk(kind: bytes, data: bytes) -> bytes:
    body = kind + data
    return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

"""Single frames on disk: 8-bit grey PNG, float32 .npy, or .npz with the pose."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluoro.errors import InputError, OutputError

__all__ = ["save_image", "whole_file"]

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
    writers: dict[str, Callable[[Path], None]] = {
        ".png": lambda unfinished: _write_png(unfinished, image),
        ".npy": lambda unfinished: np.save(unfinished, image),
        ".npz": lambda unfinished: np.savez(unfinished, image=image, **facts),
    }
    write = writers.get(path.suffix.lower())
    if write is None:
        raise InputError(f"{path}: must end in {', '.join(SUFFIXES)}")
    with whole_file(path) as unfinished:
        write(unfinished)


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A path to write to, which takes its place at `path` only once it is complete.

    Raises:
        OutputError: It cannot be written; an earlier file stays.
    """
    unfinished = path.with_name(f".{os.getpid()}-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield unfinished
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from None


def _write_png(path: Path, image: Image) -> None:
    """A PNG of one 8-bit grey channel (ISO/IEC 15948): no library needed for that."""
    grey = (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)
    height, width = grey.shape
    rows = np.zeros((height, width + 1), np.uint8)  # each starts with its filter: 0, none
    rows[:, 1:] = grey
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes(), 6)), (b"IEND", b""))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*chunk) for chunk in chunks))


def _chunk(kind: bytes, data: bytes) -> bytes:
    body = kind + data
    return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

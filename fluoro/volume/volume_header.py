"""What a volume file's own header says, read before anything is allocated.

The imaging library repairs some broken headers in silence (a zero spacing becomes 1 mm, voxels
missing at the end become zeros). So each format's header is also read here by its specification;
what the library makes of it must agree.
"""

from __future__ import annotations

import gzip
import math
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fluoro.errors import InputError

__all__ = [
    "OrderMark",
    "StoredNumbers",
    "VolumeHeader",
    "VoxelData",
    "finite_numbers",
    "header_bytes",
    "placement",
    "require_complete",
    "require_spacing",
    "voxel_file",
]

OrderMark = Literal["<", ">"]
"""NumPy's mark of a byte order."""
HEADER_LIMIT_BYTES = 1 << 20
"""A text header is a few hundred bytes; beyond this it is none."""
CHUNK_BYTES = 1 << 16
"""Read and inflated at a time; deflate makes at most 1000 times as many of them."""


@dataclass(frozen=True, kw_only=True)
class StoredNumbers:
    """How voxels are written, x fastest, so that they can be read plane by plane.

    Attributes:
        dtype: NumPy's name of the type with its byte order, such as `<i2`.
        start: Inflated bytes before the first voxel.
        slope: The stored number times it, plus `intercept`, is the voxel's value.
        intercept: See `slope`.
    """

    dtype: str
    start: int = 0
    slope: float = 1.0
    intercept: float = 0.0


@dataclass(frozen=True, kw_only=True)
class VoxelData:
    """Where the voxels' bytes lie.

    Attributes:
        path: The file that holds them.
        offset: Byte of that file at which they, or the compressed stream, start.
        encoding: `raw`, or how they are compressed; `other`: known to the imaging library only.
        needed_bytes: How many there must be from `offset` on, once inflated.
        stored_bytes: How long the header says the compressed stream is; None if it does not.
        numbers: How they are written; None: known to the imaging library only.
    """

    path: Path
    offset: int
    encoding: Literal["raw", "gzip", "zlib", "other"]
    needed_bytes: int
    stored_bytes: int | None = None
    numbers: StoredNumbers | None = None


@dataclass(frozen=True, kw_only=True)
class VolumeHeader:
    """A header's claims, checked by themselves.

    Attributes:
        shape_xyz: Voxels along each spatial axis, each at least 1; more than 3 axes only where
            the file has more.
        spacing_xyz_mm: Distance between voxel centres [mm], 3 finite values > 0.
        voxel_bytes: Bytes of a voxel in memory, once read.
        data: Where the voxels lie.
        oriented: Whether the file says how its axes lie in the patient.
        world_from_index: 4x4, voxel index (x, y, z) to patient LPS [mm], by the format's
            specification; None if the file does not have 3 axes in space.
        placed_by_header: Whether `world_from_index` counts, whatever the library makes of it.
        known_to_itk: Whether SimpleITK reads the file too.
    """

    shape_xyz: tuple[int, ...]
    spacing_xyz_mm: tuple[float, ...]
    voxel_bytes: int
    data: VoxelData
    oriented: bool
    world_from_index: NDArray[np.float64] | None = None
    placed_by_header: bool = False
    known_to_itk: bool = True


def placement(axes_mm: ArrayLike, origin_mm: ArrayLike) -> NDArray[np.float64]:
    """Return the 4x4 matrix from voxel index (x, y, z) to patient LPS [mm].

    Args:
        axes_mm: The step of each index in patient LPS [mm], 3 vectors of 3 numbers.
        origin_mm: The centre of voxel (0, 0, 0) in patient LPS [mm], 3 numbers.
    """
    matrix = np.eye(4)
    matrix[:3, :3] = np.transpose(axes_mm)
    matrix[:3, 3] = origin_mm
    return matrix


def require_spacing(path: Path, key: str, spacing: Sequence[float]) -> tuple[float, ...]:
    """Return the spacing [mm] unchanged if it is finite and positive.

    Raises:
        InputError: It is not; the message names the file and the header's key.
    """
    if not all(math.isfinite(value) and value > 0 for value in spacing):
        values = ", ".join(f"{value:g}" for value in spacing)
        raise InputError(f"{path}: {key} must be positive lengths, got ({values})")
    return tuple(float(value) for value in spacing)


def header_bytes(path: Path) -> bytes:
    """Return the beginning of a file, in which a text header ends."""
    with path.open("rb") as file:
        return file.read(HEADER_LIMIT_BYTES)


def voxel_file(path: Path, name: str, several: re.Pattern[str], *, literal: bool = False) -> Path:
    """Return the file of the voxels that a text header names, beside the header's.

    A header's bytes are the file name's own, UTF-8 as a rule; other bytes are kept as they are.

    Args:
        path: The header's file.
        name: From the header, which was decoded as Latin-1.
        several: Matches the beginning of a name that the format takes for several files.
        literal: Whether it is one file all the same where one of that very name is there.

    Raises:
        InputError: It names several files, or none.
    """
    named = name.encode("latin-1").decode("utf-8", "surrogateescape")
    if not name or (several.match(name) and not (literal and (path.parent / named).is_file())):
        raise InputError(
            f"{path}: names its voxels as several files, which are not read, got {named!r}; if it "
            "is one file, give it a name without LIST at the start and without %"
        )
    return path.parent / named


def finite_numbers(path: Path, key: str, text: str, *, marks: str = ",()[]") -> tuple[float, ...]:
    """Return numbers of a header line, separated by blanks or `marks`.

    Raises:
        InputError: One of them is no finite number.
    """
    for mark in marks:
        text = text.replace(mark, " ")
    try:
        values = tuple(float(word) for word in text.encode("ascii").split())
    except ValueError:
        raise InputError(f"{path}: {key} must be numbers, got {text.strip()!r}") from None
    if not all(math.isfinite(value) for value in values):
        raise InputError(f"{path}: {key} must be finite numbers, got {text.strip()!r}")
    return values


def require_complete(data: VoxelData) -> None:
    """Check that the voxels' bytes are as many as the header says, and an undamaged stream.

    Raises:
        InputError: The file is truncated or damaged, or does not fit its header.
    """
    if data.encoding == "other":
        return
    try:
        found = _count_bytes(data)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"{data.path}: is truncated or damaged: {error}") from None
    except OSError as error:
        raise InputError(f"{data.path}: cannot be read: {error.strerror}") from None
    if found != data.needed_bytes:
        what = "is truncated" if found < data.needed_bytes else "does not fit its header"
        raise InputError(
            f"{data.path}: {what}: {data.needed_bytes} bytes are promised, {found} are there"
        )


def _count_bytes(data: VoxelData) -> int:
    if data.encoding == "raw":
        return max(0, data.path.stat().st_size - data.offset)
    with data.path.open("rb") as file:
        file.seek(data.offset)
        return _count_gzip(file) if data.encoding == "gzip" else _count_zlib(file, data)


def _count_gzip(file: BinaryIO) -> int:
    """Inflated bytes of a gzip stream; its checksums are verified on the way."""
    with gzip.GzipFile(fileobj=file) as stream:
        return sum(len(piece) for piece in iter(lambda: stream.read(CHUNK_BYTES), b""))


def _count_zlib(file: BinaryIO, data: VoxelData) -> int:
    """Inflated bytes of a zlib stream; its checksum is verified on the way."""
    inflater, total, read = zlib.decompressobj(), 0, 0
    while not inflater.eof:
        block = file.read(CHUNK_BYTES)
        if not block:
            raise EOFError("the compressed stream has no end")
        read += len(block)
        total += len(inflater.decompress(block))
    stored = read - len(inflater.unused_data)
    if data.stored_bytes is not None and stored != data.stored_bytes:
        raise InputError(
            f"{data.path}: does not fit its header: a compressed stream of {data.stored_bytes} "
            f"bytes is promised, {stored} are there"
        )
    return total

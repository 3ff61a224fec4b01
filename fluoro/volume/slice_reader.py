"""CT numbers plane by plane: from a file as they are needed, so that a CT may exceed the memory."""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fluoro.errors import InputError
from fluoro.volume.grid import VolumeGrid
from fluoro.volume.host_memory import require_memory
from fluoro.volume.volume_header import CHUNK_BYTES, StoredNumbers, VoxelData, require_complete
from fluoro.volume.volumes import HuVolume

__all__ = [
    "VolumePlanes",
    "array_planes",
    "complete_file_planes",
    "file_planes",
    "not_finite",
    "planes_of",
]

PLANES_AT_ONCE = 6
"""Planes of float64 that reading, converting and writing hold at a time, at most."""


@dataclass(frozen=True, kw_only=True)
class VolumePlanes:
    """A volume whose (y, x) planes come one after the other.

    Attributes:
        grid: Where the voxels lie in the patient.
        source: For records and messages.
        read: Planes from a first z to before a last; each must be used before the next comes.
    """

    grid: VolumeGrid
    source: str
    read: Callable[[int, int], Iterator[NDArray[Any]]]


class _Stream(Protocol):
    def read(self, count: int, /) -> bytes: ...


def planes_of(hu: HuVolume) -> VolumePlanes:
    """Return the planes of a volume in memory."""
    return VolumePlanes(
        grid=hu.grid, source=hu.source, read=lambda start, stop: iter(hu.hu_zyx[start:stop])
    )


def array_planes(
    path: Path, grid: VolumeGrid, voxels: NDArray[Any], nan_hu: float | None = None
) -> VolumePlanes:
    """Return CT numbers of an array of any real type, in float32; of a mapped file, plane by plane.

    Args:
        path: The file, for messages.
        grid: Of its voxels.
        voxels: Shape (z, y, x).
        nan_hu: CT number [HU] of voxels that are NaN; None: they are refused.

    Raises:
        InputError: While planes are read: voxels that are not finite.
    """

    def read(start: int, stop: int) -> Iterator[NDArray[np.float32]]:
        with np.errstate(over="ignore"):
            planes = (np.array(plane, np.float32) for plane in voxels[start:stop])
            yield from _finite(path, planes, nan_hu)

    return VolumePlanes(grid=grid, source=str(path), read=read)


def file_planes(
    path: Path, grid: VolumeGrid, data: VoxelData, nan_hu: float | None = None
) -> VolumePlanes:
    """Return CT numbers of a file whose header has been read, in float32, after the file's rescale.

    Args:
        path: The file, for messages.
        grid: Of its voxels.
        data: Where they lie; its `numbers` must be known.
        nan_hu: CT number [HU] of voxels that are NaN; None: they are refused.

    Raises:
        InputError: The file is truncated or damaged; while planes are read also: voxels that are
            not finite.
    """
    require_memory(str(path), 8 * PLANES_AT_ONCE * math.prod(grid.shape_zyx[1:]))
    planes = complete_file_planes(path, grid, data, nan_hu)
    require_complete(data)
    return planes


def complete_file_planes(
    path: Path, grid: VolumeGrid, data: VoxelData, nan_hu: float | None = None
) -> VolumePlanes:
    """`file_planes` of a file that is known to be complete.

    Raises:
        InputError: Voxels of a kind that is not read plane by plane; on reading, a file that is
            damaged or cannot be read.
    """
    numbers = data.numbers
    if numbers is None or data.encoding == "other":
        raise InputError(f"{path}: its voxels cannot be read plane by plane")

    def read(start: int, stop: int) -> Iterator[NDArray[np.float32]]:
        try:
            yield from _finite(path, _read(data, numbers, grid, start, stop), nan_hu)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise InputError(f"{data.path}: is truncated or damaged: {error}") from None
        except OSError as error:
            raise InputError(f"{data.path}: cannot be read: {error.strerror or error}") from None

    return VolumePlanes(grid=grid, source=str(path), read=read)


def _read(
    data: VoxelData, numbers: StoredNumbers, grid: VolumeGrid, start: int, stop: int
) -> Iterator[NDArray[np.float32]]:
    shape = grid.shape_zyx[1:]
    dtype = np.dtype(numbers.dtype)
    plane_bytes = math.prod(shape) * dtype.itemsize
    with data.path.open("rb") as file:
        stream = _opened(file, data, numbers.start + start * plane_bytes)
        for _ in range(start, stop):
            raw = _exactly(stream, plane_bytes)
            yield _rescaled(np.frombuffer(raw, dtype).reshape(shape), numbers)


def _rescaled(stored: NDArray[Any], numbers: StoredNumbers) -> NDArray[np.float32]:
    with np.errstate(over="ignore", invalid="ignore"):
        if (numbers.slope, numbers.intercept) == (1, 0):
            return stored.astype(np.float32)
        return (stored.astype(np.float64) * numbers.slope + numbers.intercept).astype(np.float32)


def _finite(
    path: Path, planes: Iterator[NDArray[np.float32]], nan_hu: float | None
) -> Iterator[NDArray[np.float32]]:
    """The planes; refuses at the end if some voxels were not finite, so that all are counted."""
    bad = nan = total = 0
    for plane in planes:
        total += plane.size
        if nan_hu is not None:
            plane[np.isnan(plane)] = nan_hu
        bad += int(np.count_nonzero(~np.isfinite(plane)))
        nan += int(np.count_nonzero(np.isnan(plane))) if bad else 0
        yield np.nan_to_num(plane, copy=False) if bad else plane
    if bad:
        raise not_finite(path, bad, nan, total)


def not_finite(path: Path, bad: int, nan: int, total: int) -> InputError:
    """Return what to say of voxels that are not finite, some of them NaN; the others infinite."""
    kinds = "NaN" if nan == bad else f"{nan} NaN, {bad - nan} infinite" if nan else "infinite"
    fix = f"; volume.nan_voxels: air takes NaN{' alone' * (nan < bad)} as air" if nan else ""
    return InputError(f"{path}: {bad} of {total} voxels are not finite ({kinds}){fix}")


def _opened(file: BufferedReader, data: VoxelData, skip: int) -> _Stream:
    """The voxels' stream, inflated, from its byte `skip` on."""
    if data.encoding == "raw":
        file.seek(data.offset + skip)
        return file
    file.seek(data.offset)
    stream = gzip.GzipFile(fileobj=file) if data.encoding == "gzip" else _ZlibStream(file)
    while skip > 0:
        skip -= len(_exactly(stream, min(skip, CHUNK_BYTES)))
    return stream


def _exactly(stream: _Stream, count: int) -> bytes:
    parts, missing = [], count
    while missing > 0:
        part = stream.read(missing)
        if not part:
            raise EOFError("it has become shorter while it was read")
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)


class _ZlibStream:
    """Inflates a zlib stream as it is read."""

    def __init__(self, file: BufferedReader) -> None:
        self._file, self._inflater = file, zlib.decompressobj()

    def read(self, count: int, /) -> bytes:
        """Return up to `count` inflated bytes; none at the end."""
        while not self._inflater.eof:
            raw = self._inflater.unconsumed_tail or self._file.read(CHUNK_BYTES)
            if not raw:
                break
            part = self._inflater.decompress(raw, count)
            if part:
                return part
        return b""

"""The files of a training set: written whole or not at all, with their SHA-256; read by key."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np

from fluoro.datasets.training.frame_files import Content, FrameFiles, npy_bytes
from fluoro.errors import InputError, to_install
from fluoro.files.atomic_write import whole_file
from fluoro.names import TrainingFormat

__all__ = [
    "SUFFIXES",
    "Place",
    "ShardWriter",
    "file_sha256",
    "frames_in",
    "read_frame",
    "require_packages",
    "writing_shard",
]

SUFFIXES: Mapping[TrainingFormat, str] = {"webdataset": ".tar", "hdf5": ".h5"}


Place = tuple[int, int]
"""First byte of a frame in its file, and the number of its bytes."""


class ShardWriter(Protocol):
    """Writes the frames of one file."""

    def add(self, key: str, files: FrameFiles) -> Place | None:
        """Append a frame, and return where it is; None: a reader finds it by its key.

        Raises:
            OSError: It cannot be written.
        """

    def close(self) -> None:
        """Write the end."""


def require_packages(kind: TrainingFormat) -> None:
    """See whether what writes a training set is installed.

    Raises:
        InputError: A package is missing.
    """
    import importlib.util

    for package in ("pyarrow", "h5py") if kind == "hdf5" else ("pyarrow",):
        if importlib.util.find_spec(package) is None:
            way = to_install(package)
            raise InputError(f"a training set needs the package {package}: {way}")


class TarShard:
    """A WebDataset file: a plain tar, the files of a frame next to each other.

    The same frames give the same bytes: no time, no user.

    Args:
        file: To write to.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._tar = tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115

    def add(self, key: str, files: FrameFiles) -> Place:
        """Append a frame."""
        first = self._tar.offset
        for name in sorted(files):
            data = npy_bytes(files[name])
            member = tarfile.TarInfo(f"{key}.{name}")
            member.size, member.mode = len(data), 0o644
            self._tar.addfile(member, io.BytesIO(data))
        return first, self._tar.offset - first

    def close(self) -> None:
        """Write the end."""
        self._tar.close()


class Hdf5Shard:
    """An HDF5 file: a group for each frame, its arrays and texts as data sets.

    Args:
        file: To write to.
    """

    def __init__(self, file: BinaryIO) -> None:
        import h5py

        self._file = h5py.File(file, "w", libver="v110")

    def add(self, key: str, files: FrameFiles) -> None:
        """Append a frame."""
        group = self._file.create_group(key)
        for name in sorted(files):
            content = files[name]
            data = np.frombuffer(content, np.uint8) if isinstance(content, bytes) else content
            group.create_dataset(name, data=data, track_times=False)

    def close(self) -> None:
        """Write the end."""
        self._file.close()


@contextmanager
def writing_shard(path: Path, kind: TrainingFormat) -> Iterator[ShardWriter]:
    """A file that takes its name once it is complete and on disk.

    Raises:
        OutputError: It cannot be written; nothing of it stays.
    """
    with whole_file(path) as unfinished, unfinished.open("w+b") as file:
        shard: ShardWriter = (TarShard if kind == "webdataset" else Hdf5Shard)(file)
        try:
            yield shard
        except BaseException:
            with suppress(Exception):  # the first error counts
                shard.close()
            raise
        shard.close()
        file.flush()
        os.fsync(file.fileno())


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


KeyAndFiles = tuple[str, dict[str, Content]]


def frames_in(path: Path) -> Iterator[KeyAndFiles]:
    """Yield key and files of each frame of a shard, in order.

    Raises:
        InputError: It is no such file, or damaged.
    """
    frames = _tar_frames(path) if path.suffix == ".tar" else _hdf5_frames(path)
    try:
        yield from frames
    except (OSError, tarfile.TarError, EOFError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path}: cannot be read as a training set's file: {reason}") from None


def _tar_frames(path: Path, file: BinaryIO | None = None) -> Iterator[KeyAndFiles]:
    with tarfile.open(path, "r:", fileobj=file) as tar:
        last = ""
        files: dict[str, Content] = {}
        for member in tar:
            key, _, name = member.name.partition(".")
            if key != last and files:
                yield last, files
                files = {}
            part = tar.extractfile(member)
            last, files[name] = key, part.read() if part else b""
        if files:
            yield last, files


def _hdf5_frames(path: Path) -> Iterator[KeyAndFiles]:
    import h5py

    with h5py.File(path, "r") as file:
        for key, group in file.items():
            yield key, {name: _hdf5_content(name, each[()]) for name, each in group.items()}


def _hdf5_content(name: str, value: Any) -> Content:
    if name.endswith(".npy"):
        return np.asarray(value)
    return bytes(value.tobytes())


def read_frame(path: Path, key: str, place: Place | None = None) -> dict[str, Content]:
    """Return the files of one frame.

    Args:
        path: The shard.
        key: Of the frame.
        place: Where it is in a tar file; None: it is looked for.

    Raises:
        InputError: There is no such file or key, or it is damaged.
    """
    if path.suffix == ".tar":
        found = _found(path, key) if place is None else _placed(path, key, place)
    else:
        found = _hdf5_frame(path, key)
    if found is None:
        raise InputError(f"{path}: has no frame {key}")
    return found


def _found(path: Path, key: str) -> dict[str, Content] | None:
    return next((files for found, files in frames_in(path) if found == key), None)


def _placed(path: Path, key: str, place: Place) -> dict[str, Content] | None:
    first, count = place
    try:
        with path.open("rb") as file:
            file.seek(first)
            part = io.BytesIO(file.read(count))
        return next((files for found, files in _tar_frames(path, part) if found == key), None)
    except (OSError, tarfile.TarError) as error:
        raise InputError(f"{path}: frame {key} cannot be read: {error}") from None


def _hdf5_frame(path: Path, key: str) -> dict[str, Content] | None:
    import h5py

    try:
        with h5py.File(path, "r") as file:
            if key not in file:
                return None
            return {name: _hdf5_content(name, each[()]) for name, each in file[key].items()}
    except OSError as error:
        raise InputError(f"{path}: cannot be read as HDF5: {error}") from None

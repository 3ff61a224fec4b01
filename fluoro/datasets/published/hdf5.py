"""HDF5 files whose defects are one line each: the file, the path in it, what was expected."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluoro.datasets.published.subject import PublishedSet, SetForm, VoxelOrigin
from fluoro.errors import InputError, to_install

__all__ = ["Hdf5", "Hdf5Set"]

Shape = tuple[int | None, ...]
"""Of an array; None: any length."""


class Hdf5:
    """An HDF5 file that is open for reading.

    Args:
        path: The file.

    Raises:
        InputError: It is missing, truncated or no HDF5 file, or h5py is not installed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_file():
            raise InputError(f"{path}: there is no such file")
        try:
            import h5py
        except ModuleNotFoundError:
            raise InputError(f"{path}: needs h5py: {to_install('h5py')}") from None
        try:
            self._file = h5py.File(path, "r")
        except OSError as error:
            text = " ".join(str(error).split())
            raise InputError(f"{path}: is truncated, damaged or no HDF5 file: {text}") from None

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def has(self, name: str) -> bool:
        """Return whether there is a group or data set of this path."""
        return name in self._file

    def keys(self, name: str) -> list[str]:
        """Return the names in a group, sorted.

        Raises:
            InputError: There is no such group.
        """
        group = self._item(name, "group")
        return sorted(group) if hasattr(group, "keys") else []

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a data set without reading it.

        Raises:
            InputError: There is no such data set.
        """
        return tuple(int(n) for n in getattr(self._item(name, "data set"), "shape", ()))

    def array(self, name: str, shape: Shape | None = None) -> NDArray[Any]:
        """Read a data set.

        Args:
            name: Its path.
            shape: What it must have; None: any.

        Raises:
            InputError: There is none, it cannot be read, or has another shape.
        """
        item = self._item(name, "data set")
        try:
            values = np.asarray(item[()])
        except (OSError, TypeError, AttributeError) as error:
            text = " ".join(str(error).split())
            raise InputError(f"{self.path}: {name} cannot be read: {text}") from None
        if shape is not None and not _fits(values.shape, shape):
            wanted = " x ".join("any" if n is None else str(n) for n in shape)
            raise InputError(f"{self.path}: {name} must have shape {wanted}, got {values.shape}")
        return values

    def numbers(self, name: str, count: int) -> NDArray[np.float64]:
        """Read `count` finite numbers of any shape, flat.

        Raises:
            InputError: As `array`; another count, or numbers that are not finite.
        """
        values = np.asarray(self.array(name), float).ravel()
        if len(values) != count or not np.isfinite(values).all():
            raise InputError(
                f"{self.path}: {name} must hold {count} finite numbers, got {values.tolist()[:16]}"
            )
        return values

    def number(self, name: str) -> float:
        """Read one finite number.

        Raises:
            InputError: As `numbers`.
        """
        return float(self.numbers(name, 1)[0])

    def text(self, name: str) -> str:
        """Read a text.

        Raises:
            InputError: As `array`.
        """
        value = self.array(name).ravel()[:1].tolist()
        return value[0].decode() if value and isinstance(value[0], bytes) else str(value[0])

    def _item(self, name: str, kind: str) -> Any:
        if name not in self._file:
            raise InputError(f"{self.path}: must have the {kind} {name}, has none")
        return self._file[name]


class Hdf5Set(PublishedSet):
    """A published data set in one HDF5 file.

    Args:
        path: The file.
        voxel_origin: What a volume's stated origin is of its first voxel.

    Raises:
        InputError: As `Hdf5`.
    """

    form: SetForm = "h5"

    def __init__(self, path: Path, voxel_origin: VoxelOrigin) -> None:
        self.path, self.voxel_origin = path, voxel_origin
        self._file = Hdf5(path)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def files(self) -> Mapping[str, int]:
        """Return the file's name and size [bytes]."""
        return {self.path.name: self.path.stat().st_size}


def _fits(shape: tuple[int, ...], wanted: Shape) -> bool:
    pairs = zip(shape, wanted, strict=False)
    return len(shape) == len(wanted) and all(w in (None, n) for n, w in pairs)

"""Plain arrays: NumPy files and raw ones, whose place in the patient the user gives."""

from __future__ import annotations

import math
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from fluoro.config import ArrayConfig, ReadOptions
from fluoro.errors import InputError
from fluoro.volume.ct import Ct, CtFormat, as_hu, nan_hu_of, without_nan
from fluoro.volume.grid import VolumeGrid
from fluoro.volume.host_memory import require_memory
from fluoro.volume.slice_reader import VolumePlanes, array_planes

__all__ = ["NUMPY", "RAW", "ArrayCt", "mapped_array"]


class ArrayCt(Ct):
    """A plain array with the layout that the user gives.

    Args:
        path: The file.
        kind: Name of its format.
        layout: How its voxels lie.
        nan_hu: CT number [HU] of voxels that are NaN; None: they are refused.
    """

    def __init__(
        self, path: Path, kind: str, layout: ArrayConfig, nan_hu: float | None = None
    ) -> None:
        super().__init__(path)
        self.kind = kind
        self._layout, self._nan_hu = layout, nan_hu

    @cached_property
    def grid(self) -> VolumeGrid:
        """Where the voxels lie in the patient, as the layout says."""
        return _grid(self.path, self._voxels, self._layout)

    @cached_property
    def planes(self) -> VolumePlanes:
        """CT numbers plane by plane; a .npz is in memory."""
        return array_planes(self.path, self.grid, self._voxels, self._nan_hu)

    def array(self) -> NDArray[np.int16] | NDArray[np.float32]:
        """Return the CT numbers [HU], shape (z, y, x)."""
        self.grid  # noqa: B018  (a layout that fits no volume is refused first)
        require_memory(str(self.path), 4 * self._voxels.size)
        voxels_zyx = without_nan(np.ascontiguousarray(self._voxels), self._nan_hu)
        return as_hu(self.path, voxels_zyx)

    @cached_property
    def _voxels(self) -> NDArray[Any]:
        return _read_array(self.path, self._layout)


def _format(name: str, suffixes: tuple[str, ...]) -> CtFormat:
    def opened(path: Path, options: ReadOptions) -> ArrayCt:
        if options.array is None:
            raise InputError(
                f"{path}: volume.array is missing; a plain array does not say its spacing_xyz_mm, "
                "origin_xyz_mm and direction"
            )
        return ArrayCt(path, name, options.array, nan_hu_of(options))

    known = frozenset({"array", "nan_voxels"})
    return CtFormat(name=name, suffixes=suffixes, options=known, open=opened)


NUMPY = _format("NumPy", (".npy", ".npz"))
RAW = _format("raw", (".raw", ".bin"))


def _read_array(path: Path, layout: ArrayConfig) -> NDArray[Any]:
    """The voxels as they are stored, shape (z, y, x); a .npy or raw file is memory-mapped.

    Raises:
        InputError: The file is damaged, or does not hold what the layout says.
    """
    suffix = path.suffix.lower()
    try:
        if suffix == ".npy":
            voxels = mapped_array(path)
        elif suffix == ".npz":
            voxels = _npz(path, layout)
        else:
            voxels = _raw(path, layout)
    except (OSError, ValueError, EOFError, SyntaxError, KeyError, zipfile.BadZipFile) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: cannot be read: {' '.join(str(error).split())}") from None
    except Exception as error:  # noqa: BLE001  (a damaged header of NumPy's raises all kinds)
        raise InputError(f"{path}: is damaged: {' '.join(str(error).split())}") from None
    _require_fit(path, voxels, layout)
    return voxels


def mapped_array(path: Path) -> NDArray[Any]:
    """Return the array of a .npy file, memory-mapped.

    Raises:
        Exception: Of any kind, where NumPy meets what it cannot read.
    """
    with _python_2_is_welcome():
        return np.asanyarray(np.load(path, mmap_mode="r", allow_pickle=False))


def _grid(path: Path, voxels: NDArray[Any], layout: ArrayConfig) -> VolumeGrid:
    """Where the voxels lie.

    Raises:
        InputError: A layout that no volume can have.
    """
    z, y, x = voxels.shape
    try:
        return VolumeGrid(
            shape_zyx=(z, y, x),
            spacing_xyz_mm=layout.spacing_xyz_mm,
            origin_xyz_mm=layout.origin_xyz_mm,
            direction=layout.direction_rows,
        )
    except InputError as error:
        raise InputError(f"{path}: volume.array: {error}") from None


def _raw(path: Path, layout: ArrayConfig) -> NDArray[Any]:
    if layout.shape_zyx is None or layout.dtype is None:
        missing = "shape_zyx" if layout.shape_zyx is None else "dtype"
        raise InputError(f"{path}: volume.array.{missing} is missing; a raw file does not say it")
    dtype = np.dtype(layout.dtype).newbyteorder(layout.byte_order)
    promised = layout.offset_bytes + math.prod(layout.shape_zyx) * dtype.itemsize
    found = path.stat().st_size
    if found != promised:
        raise InputError(
            f"{path}: does not fit volume.array: {promised} bytes are promised, {found} are there"
        )
    return np.memmap(path, dtype, "r", layout.offset_bytes, layout.shape_zyx)


def _npz(path: Path, layout: ArrayConfig) -> NDArray[Any]:
    with zipfile.ZipFile(path) as archive:
        names = [name.removesuffix(".npy") for name in archive.namelist()]
        wanted = layout.name if layout.name is not None else names[0] if len(names) == 1 else None
        if wanted not in names:
            raise InputError(
                f"{path}: volume.array.name must be one of {', '.join(names) or 'none'}, "
                f"got {layout.name or 'none'}"
            )
        with archive.open(f"{wanted}.npy") as file, _python_2_is_welcome():
            _require_room(path, file)  # type: ignore[arg-type]
        with archive.open(f"{wanted}.npy") as file, _python_2_is_welcome():
            return np.asarray(np.lib.format.read_array(file, allow_pickle=False))


@contextmanager
def _python_2_is_welcome() -> Iterator[None]:
    """Without NumPy's warning of a header that Python 2 wrote."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


def _require_room(path: Path, file: BinaryIO) -> None:
    """Check the array's size before it is inflated."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0
    if version != (1, 0):
        read = np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    require_memory(str(path), 2 * math.prod(shape) * dtype.itemsize)


def _require_fit(path: Path, voxels: Any, layout: ArrayConfig) -> None:
    if not isinstance(voxels, np.ndarray) or voxels.ndim != 3 or voxels.size == 0:
        shape = getattr(voxels, "shape", "no array")
        raise InputError(f"{path}: must hold an array with 3 axes (z, y, x), got {shape}")
    if voxels.dtype.kind not in "iuf":
        raise InputError(f"{path}: voxels must be real numbers, got {voxels.dtype}")
    if layout.shape_zyx not in (None, voxels.shape):
        raise InputError(
            f"{path}: volume.array.shape_zyx is {layout.shape_zyx}, the file has {voxels.shape}"
        )
    if layout.dtype not in (None, voxels.dtype.name):
        raise InputError(
            f"{path}: volume.array.dtype is {layout.dtype}, the file has {voxels.dtype.name}"
        )

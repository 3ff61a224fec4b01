"""The interface of every CT, independent of its format, and the interface of a format."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluoro.config import ReadOptions
from fluoro.volume.grid import VolumeGrid
from fluoro.volume.slice_reader import VolumePlanes, not_finite
from fluoro.volume.volumes import HuVolume

__all__ = ["Ct", "CtFormat", "as_hu", "nan_hu_of", "without_nan"]

NAN_HU = -1024.0
"""What `volume.nan_voxels: air` makes of NaN: the CT number of padding."""


class Ct(ABC):
    """An opened CT: its headers have been read once, its voxels have not.

    Attributes:
        path: What was opened, a file or a folder.
        kind: Name of its format, such as `NIfTI`.
        source: What was read, for records and messages.
        files: All files that it is made of.
        oriented: Whether the file says how the axes lie in the patient.
        remarks: What is done beyond reading, or assumed; each names the path.
    """

    kind: str
    source: str
    files: tuple[Path, ...]
    oriented: bool = True
    remarks: tuple[str, ...] = ()

    def __init__(self, path: Path) -> None:
        self.path = path
        self.source = str(path)
        self.files = (path,)

    @property
    @abstractmethod
    def grid(self) -> VolumeGrid:
        """Where the voxels lie in the patient.

        Raises:
            InputError: They do not form one 3D volume on a right-angled grid.
        """

    @cached_property
    @abstractmethod
    def planes(self) -> VolumePlanes:
        """CT numbers plane by plane; in memory only where no other way is known.

        Raises:
            InputError: The files are not complete, or a plane does not fit in memory. While
                planes are read: voxels that are damaged or not finite.
        """

    @abstractmethod
    def array(self) -> NDArray[np.int16] | NDArray[np.float32]:
        """Return the CT numbers [HU], shape (z, y, x); int16 where all are whole and in range.

        Values below -1024 (padding) are left as they are; DICOM's own padding value becomes -1024.

        Raises:
            InputError: The voxels are truncated, damaged, not finite, or do not fit in memory
                (checked before memory is taken).
        """

    def slices(self, start: int, stop: int) -> Iterator[NDArray[Any]]:
        """Yield the CT numbers [HU] of the planes `start` to before `stop`, each of shape (y, x).

        Each plane must be used before the next is requested.

        Raises:
            InputError: As `planes`.
        """
        return self.planes.read(start, stop)

    def volume(self) -> HuVolume:
        """Return the CT numbers on their grid.

        Raises:
            InputError: As `array` and `grid`.
        """
        return HuVolume(hu_zyx=self.array(), grid=self.grid, source=self.source)


@dataclass(frozen=True, kw_only=True)
class CtFormat:
    """A kind of CT; `fluoro.volume.open_ct.FORMATS` lists all.

    Attributes:
        name: Its name, as messages and records have it.
        suffixes: Ends of its files' names, in lower case; none where the content counts.
        options: Keys of `ReadOptions` that have an effect on it.
        open: Reads the headers. Raises InputError if they cannot be read or contradict each other.
        holds: Whether a path without any format's suffix, or a folder, is one; None: it never is.
    """

    name: str
    suffixes: tuple[str, ...] = ()
    options: frozenset[str] = frozenset()
    open: Callable[[Path, ReadOptions], Ct]
    holds: Callable[[Path], bool] | None = None

    def recognises(self, path: Path) -> bool:
        """Return whether a path, which is there, is a CT of this format."""
        if self.holds is not None:
            return self.holds(path)
        return path.name.lower().endswith(self.suffixes) and not path.is_dir()


def nan_hu_of(options: ReadOptions) -> float | None:
    """Return the CT number [HU] of voxels that are NaN; None: they are refused."""
    return NAN_HU if options.nan_voxels == "air" else None


def without_nan(voxels: NDArray[Any], nan_hu: float | None) -> NDArray[Any]:
    """Return voxels with a CT number [HU] in the place of NaN; as they are where it is None."""
    if nan_hu is None or voxels.dtype.kind != "f":
        return voxels
    return np.where(np.isnan(voxels), voxels.dtype.type(nan_hu), voxels)


def as_hu(path: Path, voxels_zyx: NDArray[Any]) -> NDArray[np.int16] | NDArray[np.float32]:
    """Return voxels of any real type as CT numbers: int16 where all are whole and in its range.

    Args:
        path: The file, for messages.
        voxels_zyx: Shape (z, y, x).

    Raises:
        InputError: Some are not finite as float32.
    """
    if _fits_int16(path, voxels_zyx):
        return voxels_zyx.astype(np.int16, copy=False)
    return voxels_zyx.astype(np.float32, copy=False)


def _fits_int16(path: Path, voxels_zyx: NDArray[Any]) -> bool:
    """Check slice by slice, without a copy of the whole."""
    bad, nan, fits = 0, 0, True
    for plane in voxels_zyx:
        with np.errstate(over="ignore"):
            values = plane.astype(np.float32)
        bad += int(np.count_nonzero(~np.isfinite(values)))
        nan += int(np.count_nonzero(np.isnan(values)))
        fits = fits and _are_int16(plane)
    if bad:
        raise not_finite(path, bad, nan, voxels_zyx.size)
    return fits


def _are_int16(values: NDArray[Any]) -> bool:
    limits = np.iinfo(np.int16)
    inside = values.min() >= limits.min and values.max() <= limits.max
    return bool(inside and (values.dtype.kind in "iu" or np.array_equal(values, np.rint(values))))

"""CT volumes from DICOM, NIfTI, NRRD, MetaImage and plain arrays: read right, or refused."""

from __future__ import annotations

import logging
import math
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluoro.errors import InputError
from fluoro.volume.array_file import ARRAY_SUFFIXES, array_grid, read_array
from fluoro.volume.dicom import describe_dicom, open_dicom, read_dicom
from fluoro.volume.dicom_series import is_dicom
from fluoro.volume.grid import VolumeGrid
from fluoro.volume.header import VolumeHeader, VoxelData, require_complete
from fluoro.volume.itk_file import ImageInfo, ItkFile, itk_version
from fluoro.volume.memory import require_memory
from fluoro.volume.meta_header import read_meta_header
from fluoro.volume.nifti_header import read_nifti_header
from fluoro.volume.nrrd_header import read_nrrd_header
from fluoro.volume.planes import (
    VolumePlanes,
    array_planes,
    complete_file_planes,
    file_planes,
    planes_of,
)
from fluoro.volume.read_options import ReadOptions
from fluoro.volume.volumes import HuVolume

__all__ = [
    "Description",
    "FileFormat",
    "describe",
    "file_format",
    "open_hu",
    "read_header",
    "read_hu",
    "source_files",
    "unoriented",
]

log = logging.getLogger(__name__)

DEFAULTS = ReadOptions()

SAME_HU = 1e-3
"""Difference of two readers' CT numbers [HU] that rounding explains."""
CORNER_TOLERANCE = 0.05
"""Disagreement of the library's and the header's own corners, in voxels, that rounding explains."""


@dataclass(frozen=True, kw_only=True)
class FileFormat:
    """A kind of file: its name, its suffixes, who reads its voxels and who its header."""

    name: str
    suffixes: tuple[str, ...]
    image_io: str
    read_header: Callable[[Path, ReadOptions], VolumeHeader]


FORMATS = (
    FileFormat(
        name="NIfTI",
        suffixes=(".nii", ".nii.gz"),
        image_io="NiftiImageIO",
        read_header=lambda path, options: read_nifti_header(path, options.nifti_transform),
    ),
    FileFormat(
        name="NRRD",
        suffixes=(".nrrd", ".nhdr"),
        image_io="NrrdImageIO",
        read_header=lambda path, _options: read_nrrd_header(path),
    ),
    FileFormat(
        name="MetaImage",
        suffixes=(".mha", ".mhd"),
        image_io="MetaImageIO",
        read_header=lambda path, _options: read_meta_header(path),
    ),
)


@dataclass(frozen=True, kw_only=True)
class Description:
    """What is known of a CT before its voxels are read.

    Attributes:
        kind: `DICOM`, `NIfTI`, `NRRD`, `MetaImage`, `NumPy` or `raw`.
        files: All files that it is made of.
        oriented: Whether it is said how the axes lie in the patient.
        remarks: What reading it will say in the log.
    """

    kind: str
    files: tuple[Path, ...]
    oriented: bool
    remarks: tuple[str, ...]


def describe(path: Path, options: ReadOptions = DEFAULTS) -> Description:
    """What a path holds, as far as headers tell.

    Raises:
        InputError: As `read_hu`, as far as headers tell.
    """
    kind = _kind(path, options)
    if kind == "DICOM":
        files, remarks = describe_dicom(path, options)
        return Description(kind=kind, files=files, oriented=True, remarks=remarks)
    if kind in ("NumPy", "raw"):
        return Description(kind=kind, files=(path,), oriented=True, remarks=())
    header = read_header(path, options)
    remarks = () if header.oriented else (unoriented(path),)
    return Description(
        kind=kind, files=_files(path, header), oriented=header.oriented, remarks=remarks
    )


def read_hu(path: Path, options: ReadOptions = DEFAULTS) -> HuVolume:
    """CT numbers of a file or DICOM folder, int16 where they are whole and in its range.

    Values below -1024 (padding) are left as they are; DICOM's own padding value becomes -1024.

    Args:
        path: A folder or file of DICOM, or a file of another kind.
        options: Choices where there are several things to read, or several ways.

    Raises:
        InputError: A file that is missing, empty, truncated, unreadable or damaged, that is not
            one 3D volume of single finite numbers on a right-angled grid, that does not fit in
            memory (found out before any is taken), or an option without effect.
    """
    kind = _kind(path, options)
    if kind == "DICOM":
        return read_dicom(path, options)
    if options.array is not None:
        voxels = read_array(path, options.array)
        grid = array_grid(path, voxels, options.array)
        require_memory(str(path), 4 * voxels.size)
        hu_zyx = _to_hu(path, np.ascontiguousarray(voxels))
        return HuVolume(hu_zyx=hu_zyx, grid=grid, source=str(path))
    header = read_header(path, options)
    require_memory(str(path), _needed_bytes(header))
    require_complete(header.data)
    file = ItkFile(path, file_format(path).image_io)
    grid = _grid(path, file.info, header)
    hu_zyx = _to_hu(path, file.read().reshape(grid.shape_zyx))
    if header.data.numbers is not None and header.data.encoding != "other":
        _require_as_stored(path, grid, header.data, hu_zyx)
    if not header.oriented:
        log.warning(unoriented(path))
    return HuVolume(hu_zyx=hu_zyx, grid=grid, source=str(path))


def open_hu(path: Path, options: ReadOptions = DEFAULTS) -> VolumePlanes:
    """CT numbers plane by plane; in memory only where no other way is known.

    Raises:
        InputError: As `read_hu`; voxels that are not finite are found while planes are read.
    """
    kind = _kind(path, options)
    if kind == "DICOM":
        return open_dicom(path, options)
    if options.array is not None:
        voxels = read_array(path, options.array)
        return array_planes(path, array_grid(path, voxels, options.array), voxels)
    header = read_header(path, options)
    if header.data.numbers is None or header.data.encoding == "other":
        return planes_of(read_hu(path, options))
    planes = file_planes(path, _grid_of(path, header), header.data)
    if not header.oriented:
        log.warning(unoriented(path))
    return planes


KEYS_OF = {
    "DICOM": {"series", "select", "gaps"},
    "NIfTI": {"nifti_transform"},
    "NumPy": {"array"},
    "raw": {"array"},
}
"""Options that have an effect, by kind of file."""


def _kind(path: Path, options: ReadOptions) -> str:
    """What a path holds.

    Raises:
        InputError: Nothing that can be read, or an option has no effect on it.
    """
    kind = _kind_of_place(path)
    if kind in ("NumPy", "raw") and options.array is None:
        raise InputError(
            f"{path}: volume.array is missing; a plain array does not say its spacing_xyz_mm, "
            "origin_xyz_mm and direction"
        )
    without_effect = sorted(options.given().keys() - KEYS_OF.get(kind, set()))
    if without_effect:
        raise InputError(f"volume.{without_effect[0]}: has no effect on {path}, which is {kind}")
    return kind


def _kind_of_place(path: Path) -> str:
    if path.is_dir():
        return "DICOM"
    _require_file(path)
    name = path.name.lower()
    if name.endswith(ARRAY_SUFFIXES):
        return "NumPy" if name.endswith((".npy", ".npz")) else "raw"
    for kind in FORMATS:
        if name.endswith(kind.suffixes):
            return kind.name
    if is_dicom(path):
        return "DICOM"
    known = ", ".join(suffix for kind in FORMATS for suffix in kind.suffixes)
    raise InputError(
        f"{path}: a CT must be a DICOM folder or file, or end in {known}, "
        f"{', '.join(ARRAY_SUFFIXES)}"
    )


def _grid_of(path: Path, header: VolumeHeader) -> VolumeGrid:
    return _grid(path, ItkFile(path, file_format(path).image_io).info, header)


def file_format(path: Path) -> FileFormat:
    """The format that a path's suffix names.

    Raises:
        InputError: No readable, non-empty regular file, or another suffix.
    """
    _require_file(path)
    for kind in FORMATS:
        if path.name.lower().endswith(kind.suffixes):
            return kind
    known = ", ".join(suffix for kind in FORMATS for suffix in kind.suffixes)
    raise InputError(f"{path}: a CT file must end in {known}")


def read_header(path: Path, options: ReadOptions = DEFAULTS) -> VolumeHeader:
    """What the file's header claims; the file that holds the voxels is there.

    Raises:
        InputError: As `read_hu`, as far as the header tells.
    """
    try:
        header = file_format(path).read_header(path, options)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from None
    if header.data.path != path:
        _require_file(header.data.path)
    return header


def unoriented(path: Path) -> str:
    """What to say of a file whose header has no orientation."""
    return f"{path}: does not say how the patient lies; its axes are taken as L, P, S"


def source_files(path: Path, options: ReadOptions = DEFAULTS) -> tuple[Path, ...]:
    """All files that a volume is made of: the file, and its voxels' where they lie apart."""
    return _files(path, read_header(path, options))


def _files(path: Path, header: VolumeHeader) -> tuple[Path, ...]:
    data_path = header.data.path
    return (path,) if data_path == path else (path, data_path)


def _require_file(path: Path) -> None:
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise InputError(f"{path}: is a folder, give a CT file")
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f"{path}: is not a regular file")
        with path.open("rb"):
            pass
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file") from None
    except InputError:
        raise
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read: {_reason(error)}") from None
    if status.st_size == 0:
        raise InputError(f"{path}: is empty (0 bytes)")


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _grid(path: Path, info: ImageInfo, header: VolumeHeader) -> VolumeGrid:
    size = _single_volume(path, info)
    spacing = info.spacing_mm[:3]
    if size != header.shape_xyz or not np.allclose(spacing, header.spacing_xyz_mm, rtol=1e-4):
        raise InputError(
            f"{path}: its header is read in two ways: {header.shape_xyz} voxels of "
            f"{header.spacing_xyz_mm} mm, or {size} of {spacing} mm"
        )
    direction, origin = info.direction, info.origin_mm
    if header.placed_by_header and header.world_from_index is not None:
        direction = header.world_from_index[:3, :3] / header.spacing_xyz_mm
        origin = tuple(header.world_from_index[:3, 3].tolist())
    x, y, z = ((row[0] + 0.0, row[1] + 0.0, row[2] + 0.0) for row in direction[:3].tolist())
    try:
        grid = VolumeGrid(
            shape_zyx=(size[2], size[1], size[0]),
            spacing_xyz_mm=(spacing[0], spacing[1], spacing[2]),
            origin_xyz_mm=(origin[0], origin[1], origin[2]),
            direction=(x, y, z),
        )
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    _require_agreement(path, grid, header)
    return grid


def _single_volume(path: Path, info: ImageInfo) -> tuple[int, ...]:
    if info.components != 1 or not info.real:
        raise InputError(f"{path}: voxels must be one number each, got {info.voxel_kind}")
    size = info.size[:3] if len(info.size) == 4 and info.size[3] == 1 else info.size
    if len(size) != 3:
        raise InputError(
            f"{path}: must be one volume with 3 axes, got {len(size)} axes of {size} voxels"
        )
    return size


def _require_agreement(path: Path, grid: VolumeGrid, header: VolumeHeader) -> None:
    """Check that the library's corners of the volume are where the header puts them.

    A mismatch is refused, not corrected: one of two readings is wrong, and a volume turned by 180
    degrees looks plausible whichever is believed.
    """
    if header.world_from_index is None:
        raise InputError(f"{path}: its header does not place 3 axes in space")
    corners = np.array([*np.ndindex(2, 2, 2)]) * (np.array(grid.shape_xyz) - 1)
    homogeneous = np.column_stack([corners, np.ones(8)])
    gap = (homogeneous @ (grid.world_from_index - header.world_from_index).T)[:, :3]
    largest_mm = float(np.linalg.norm(gap, axis=1).max())
    if not largest_mm <= CORNER_TOLERANCE * min(grid.spacing_xyz_mm):
        raise InputError(
            f"{path}: its header places the volume {largest_mm:.3g} mm from where SimpleITK "
            f"{itk_version()} does (2.5.5 and older misplace NRRD of space left-anterior-superior)"
        )


def _needed_bytes(header: VolumeHeader) -> int:
    """Voxels twice as the library holds them, or once beside the CT numbers."""
    hu_bytes = 2 if header.voxel_bytes <= 2 else 4
    return math.prod(header.shape_xyz) * (header.voxel_bytes + max(hu_bytes, header.voxel_bytes))


def _to_hu(path: Path, pixels: NDArray[Any]) -> NDArray[np.int16] | NDArray[np.float32]:
    if _fits_int16(path, pixels):
        return pixels.astype(np.int16, copy=False)
    return pixels.astype(np.float32, copy=False)


def _fits_int16(path: Path, pixels: NDArray[Any]) -> bool:
    """Whether all are whole numbers in int16's range; slice by slice, without a copy.

    Raises:
        InputError: Some are not finite as float32.
    """
    bad, fits = 0, True
    for plane in pixels:
        with np.errstate(over="ignore"):
            values = plane.astype(np.float32)
        bad += int(np.count_nonzero(~np.isfinite(values)))
        fits = fits and _are_int16(plane)
    if bad:
        raise InputError(f"{path}: {bad} of {pixels.size} voxels are not finite (NaN or infinite)")
    return fits


def _require_as_stored(
    path: Path,
    grid: VolumeGrid,
    data: VoxelData,
    hu_zyx: NDArray[np.int16] | NDArray[np.float32],
) -> None:
    """Check that the imaging library's voxels are those of the file, as its header says they lie.

    It takes voxels of a NIfTI file that are not finite for 0, and bytes that it cannot inflate for
    voxels, and says nothing.

    Raises:
        InputError: They are not, or some are not finite.
    """
    stored = complete_file_planes(path, grid, data).read(0, grid.shape_zyx[0])
    differ = sum(
        not np.allclose(ours, theirs, rtol=1e-6, atol=SAME_HU)
        for ours, theirs in zip(stored, hu_zyx, strict=True)
    )
    if differ:
        raise InputError(
            f"{path}: its voxels are read in two ways: {differ} of {grid.shape_zyx[0]} planes "
            "differ from what the imaging library makes of them"
        )


def _are_int16(values: NDArray[Any]) -> bool:
    limits = np.iinfo(np.int16)
    inside = values.min() >= limits.min and values.max() <= limits.max
    return bool(inside and (values.dtype.kind in "iu" or np.array_equal(values, np.rint(values))))

"""A CT in a file that is read by its header, and checked against SimpleITK where that reads it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fluoro.config import ReadOptions
from fluoro.errors import InputError
from fluoro.volume.ct import Ct, CtFormat, as_hu, nan_hu_of, without_nan
from fluoro.volume.formats.itk_file import ImageInfo, ItkFile, itk_version
from fluoro.volume.grid import VolumeGrid
from fluoro.volume.host_memory import require_memory
from fluoro.volume.slice_reader import VolumePlanes, complete_file_planes, file_planes, planes_of
from fluoro.volume.volume_header import VolumeHeader, VoxelData, require_complete

__all__ = ["HeaderCt", "ItkCt", "itk_format"]

SAME_HU = 1e-3
"""Difference of two readers' CT numbers [HU] that rounding explains."""
CORNER_TOLERANCE = 0.05
"""Disagreement of the library's and the header's own corners, in voxels, that rounding explains."""


def itk_format(
    *,
    name: str,
    suffixes: tuple[str, ...],
    image_io: str,
    read_header: Callable[[Path, ReadOptions], VolumeHeader],
    options: frozenset[str] = frozenset(),
) -> CtFormat:
    """Return the format whose voxels SimpleITK reads.

    Args:
        name: Its name, as messages have it.
        suffixes: Ends of its files' names, in lower case.
        image_io: SimpleITK's name of the format's reader.
        read_header: Our own reader of the header. Raises InputError.
        options: Keys of `ReadOptions` that have an effect on it.
    """

    def opened(path: Path, choices: ReadOptions) -> Ct:
        header, nan_hu = read_header(path, choices), nan_hu_of(choices)
        if header.known_to_itk:
            return ItkCt(path, name, image_io, header, nan_hu)
        return HeaderCt(path, name, header, nan_hu)

    return CtFormat(name=name, suffixes=suffixes, options=options | {"nan_voxels"}, open=opened)


class HeaderCt(Ct):
    """One file, whose voxels may lie in a second, read as its header says.

    Args:
        path: The file.
        kind: Name of its format.
        header: What the file's header says.
        nan_hu: CT number [HU] of voxels that are NaN; None: they are refused.
    """

    def __init__(
        self, path: Path, kind: str, header: VolumeHeader, nan_hu: float | None = None
    ) -> None:
        super().__init__(path)
        self.kind = kind
        self.oriented = header.oriented
        if header.data.path != path:
            self.files = (path, header.data.path)
        if not header.oriented:
            self.remarks = (
                f"{path}: does not say how the patient lies; its axes are taken as L, P, S",
            )
        self._header, self._nan_hu = header, nan_hu

    @cached_property
    def grid(self) -> VolumeGrid:
        """Where the voxels lie in the patient."""
        return _grid_of(self.path, self._header)

    @cached_property
    def planes(self) -> VolumePlanes:
        """CT numbers plane by plane."""
        return file_planes(self.path, self.grid, self._header.data, self._nan_hu)

    def array(self) -> NDArray[np.int16] | NDArray[np.float32]:
        """Return the CT numbers [HU], shape (z, y, x)."""
        require_memory(str(self.path), 2 * 4 * math.prod(self._header.shape_xyz))
        planes = self.planes.read(0, self.grid.shape_zyx[0])
        hu_zyx = np.empty(self.grid.shape_zyx, np.float32)
        for plane, into in zip(planes, hu_zyx, strict=True):
            into[:] = plane
        return as_hu(self.path, hu_zyx)


class ItkCt(HeaderCt):
    """The same, read by SimpleITK too, and refused where the two differ.

    Args:
        path: The file.
        kind: Name of its format.
        image_io: SimpleITK's name of the format's reader.
        header: What the file's header says.
        nan_hu: CT number [HU] of voxels that are NaN; None: they are refused.
    """

    def __init__(
        self,
        path: Path,
        kind: str,
        image_io: str,
        header: VolumeHeader,
        nan_hu: float | None = None,
    ) -> None:
        super().__init__(path, kind, header, nan_hu)
        self._image_io = image_io

    @cached_property
    def grid(self) -> VolumeGrid:
        """Where the voxels lie in the patient."""
        return _grid(self.path, self._file.info, self._header)

    @cached_property
    def planes(self) -> VolumePlanes:
        """CT numbers plane by plane; in memory where only SimpleITK can read their encoding."""
        if not self._by_planes:
            return planes_of(self.volume())
        return super().planes

    def array(self) -> NDArray[np.int16] | NDArray[np.float32]:
        """Return the CT numbers [HU], shape (z, y, x)."""
        if self._nan_hu is not None and self._by_planes:
            return super().array()  # the imaging library takes NaN for 0 in NIfTI
        data = self._header.data
        require_memory(str(self.path), _needed_bytes(self._header))
        require_complete(data)
        grid = self.grid
        voxels_zyx = self._file.read().reshape(grid.shape_zyx)
        hu_zyx = as_hu(self.path, without_nan(voxels_zyx, self._nan_hu))
        if self._by_planes:
            _require_as_stored(self.path, grid, data, hu_zyx)
        return hu_zyx

    @property
    def _by_planes(self) -> bool:
        """Whether the header says all that is needed to read the voxels."""
        data = self._header.data
        return data.numbers is not None and data.encoding != "other"

    @cached_property
    def _file(self) -> ItkFile:
        return ItkFile(self.path, self._image_io)


def _grid_of(path: Path, header: VolumeHeader) -> VolumeGrid:
    """Return the grid that a header describes."""
    matrix = header.world_from_index
    if len(header.shape_xyz) != 3 or matrix is None:
        raise InputError(
            f"{path}: must be one volume with 3 axes, got axes of {header.shape_xyz} voxels"
        )
    direction = matrix[:3, :3] / header.spacing_xyz_mm
    return _made_grid(
        path, header.shape_xyz, header.spacing_xyz_mm, matrix[:3, 3].tolist(), direction
    )


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
    grid = _made_grid(path, size, spacing, origin, direction)
    _require_agreement(path, grid, header)
    return grid


def _made_grid(
    path: Path,
    size: Sequence[int],
    spacing: Sequence[float],
    origin: Sequence[float],
    direction: NDArray[np.float64],
) -> VolumeGrid:
    x, y, z = ((row[0] + 0.0, row[1] + 0.0, row[2] + 0.0) for row in direction[:3].tolist())
    try:
        return VolumeGrid(
            shape_zyx=(size[2], size[1], size[0]),
            spacing_xyz_mm=(spacing[0], spacing[1], spacing[2]),
            origin_xyz_mm=(origin[0], origin[1], origin[2]),
            direction=(x, y, z),
        )
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


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

"""What a user may say about reading a CT, beside where it lies."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from fluoro.config import VolumeConfig
from fluoro.errors import InputError
from fluoro.volume.grid import Vector3

__all__ = ["ArrayLayout", "ReadOptions", "read_options"]

DTYPES = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "float32", "float64")


@dataclass(frozen=True, kw_only=True)
class ArrayLayout:
    """How the voxels of a plain array lie, in memory and in the patient.

    Attributes:
        spacing_xyz_mm: Distance between voxel centres along x, y and z [mm].
        origin_xyz_mm: Centre of voxel (0, 0, 0) in patient LPS [mm].
        direction: 9 numbers, the rows of the matrix whose columns are the directions of the x, y
            and z index in patient LPS.
        shape_zyx: Voxels along z, y and x; None where the file says it (.npy, .npz).
        dtype: Type of a voxel, a name such as `int16`; None where the file says it.
        byte_order: Of raw files.
        offset_bytes: Bytes before the first voxel of raw files.
        name: Of the array in a .npz that holds several.

    Raises:
        InputError: A dtype, offset or direction that there is not.
    """

    spacing_xyz_mm: Vector3
    origin_xyz_mm: Vector3
    direction: tuple[float, ...]
    shape_zyx: tuple[int, int, int] | None = None
    dtype: str | None = None
    byte_order: Literal["little", "big"] = "little"
    offset_bytes: int = 0
    name: str | None = None

    def __post_init__(self) -> None:
        if len(self.direction) != 9:
            raise InputError(f"array.direction must be 9 numbers, got {len(self.direction)}")
        if self.dtype is not None and self.dtype not in DTYPES:
            raise InputError(f"array.dtype must be one of {', '.join(DTYPES)}, got {self.dtype!r}")
        if self.offset_bytes < 0:
            raise InputError(f"array.offset_bytes must be at least 0, got {self.offset_bytes}")

    @property
    def direction_rows(self) -> tuple[Vector3, Vector3, Vector3]:
        """The three rows of the direction."""
        a, b, c, d, e, f, g, h, i = self.direction
        return (a, b, c), (d, e, f), (g, h, i)


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """Choices where a file leaves one; each is refused where it has no effect.

    Attributes:
        series: DICOM: SeriesInstanceUID or SeriesNumber of the series to read.
        select: DICOM: attributes by keyword that the images must have, such as
            {"AcquisitionNumber": "2"}; one of several values where a tuple is given.
        gaps: DICOM: missing slices are refused or interpolated.
        nifti_transform: NIfTI: which transform to believe; None: they must agree.
        array: NumPy and raw files: their layout.
    """

    series: str | None = None
    select: Mapping[str, str | tuple[str, ...]] = field(default_factory=dict)
    gaps: Literal["refuse", "interpolate"] = "refuse"
    nifti_transform: Literal["sform", "qform"] | None = None
    array: ArrayLayout | None = None

    def given(self) -> dict[str, Any]:
        """The choices that were made, by key."""
        untouched = ReadOptions()
        return {key: value for key, value in vars(self).items() if value != getattr(untouched, key)}

    def identity(self) -> dict[str, str]:
        """What a cache key must hold of them."""
        given = self.given()
        if self.array is not None:
            given["array"] = asdict(self.array)
        return {key: json.dumps(value, sort_keys=True) for key, value in given.items()}


def read_options(config: VolumeConfig) -> ReadOptions:
    """The choices that a configuration makes."""
    array = config.array
    return ReadOptions(
        series=None if config.series is None else str(config.series),
        select=config.select,
        gaps=config.gaps,
        nifti_transform=config.nifti_transform,
        array=None if array is None else ArrayLayout(**array.model_dump()),
    )

"""MetaImage (.mha, .mhd): its header, by the definition of the format."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluoro.errors import InputError
from fluoro.volume.formats.itk_ct import itk_format
from fluoro.volume.volume_header import (
    OrderMark,
    StoredNumbers,
    VolumeHeader,
    VoxelData,
    finite_numbers,
    header_bytes,
    placement,
    require_spacing,
    voxel_file,
)

__all__ = ["METAIMAGE", "read_meta_header"]

ELEMENT_TYPES = {
    "CHAR": "i1", "UCHAR": "u1", "SHORT": "i2", "USHORT": "u2", "INT": "i4", "UINT": "u4",
    "LONG": "i4", "ULONG": "u4", "LONG_LONG": "i8", "ULONG_LONG": "u8", "FLOAT": "f4",
    "DOUBLE": "f8",
}  # fmt: skip
"""NumPy's name of ElementType without MET_ (a long has at least 4 bytes)."""
RESCALE_KEYS = {
    "ElementToIntensityFunctionSlope": 1.0,
    "ElementToIntensityFunctionOffset": 0.0,
}
"""A rescale of the voxels, and what it is where there is none: readers ignore it, so no other value
is read."""
LOCAL = ("LOCAL", "Local", "local")
"""As the imaging library spells it."""
SEVERAL_FILES = re.compile(r"LIST|.*%", re.IGNORECASE)
"""Names of voxel files that mean a list, or a pattern. The imaging library takes any % for one,
also where the file of that very name is there: it gets such a file under another name (`ItkFile`).
"""
BLANKS = " \t\r\n"
KEY = re.compile(r"\w+", re.ASCII)
YES, NO = ("True", "TRUE", "true", "T", "t", "1"), ("False", "FALSE", "false", "F", "f", "0")
ORDER_KEYS = ("BinaryDataByteOrderMSB", "ElementByteOrderMSB")
DIRECTION_KEYS = ("TransformMatrix", "Orientation", "Rotation")
ORIGIN_KEYS = ("Offset", "Position", "Origin")


def read_meta_header(path: Path) -> VolumeHeader:
    """Claims of a MetaImage header.

    Raises:
        InputError: Not a MetaImage, a key missing or malformed, or voxels in several files.
    """
    fields, end = _fields(path)
    shape = _shape(path, fields)
    spacing = _spacing(path, fields, len(shape))
    for keys in (DIRECTION_KEYS, ORIGIN_KEYS):
        _require_one_place(path, fields, keys)
    _require_hu_in_mm(path, fields)
    element_type = _element_type(path, fields)
    return VolumeHeader(
        shape_xyz=shape if len(shape) != 4 or shape[3] != 1 else shape[:3],
        spacing_xyz_mm=spacing[:3],
        voxel_bytes=element_type.itemsize,
        data=_data(path, fields, end, math.prod(shape) * element_type.itemsize),
        oriented=any(key in fields for key in DIRECTION_KEYS),
        world_from_index=_world_from_index(path, fields, spacing),
    )


def _fields(path: Path) -> tuple[dict[str, str], int]:
    """Keys and values up to ElementDataFile, and the first byte after that line."""
    raw = header_bytes(path)
    fields: dict[str, str] = {}
    start = 0
    while start < len(raw) and "ElementDataFile" not in fields:
        end = raw.find(b"\n", start) + 1 or len(raw)
        key, equals, value = raw[start:end].decode("latin-1").partition("=")
        key = key.strip(BLANKS)
        if key in fields:
            raise InputError(f"{path}: {key} is given twice")
        if not equals or not KEY.fullmatch(key):
            raise InputError(f"{path}: is not a MetaImage file: no key = value in {key[:40]!r}")
        fields[key] = value.strip(BLANKS)
        start = end
    if "ElementDataFile" not in fields or "DimSize" not in fields:
        raise InputError(f"{path}: is not a MetaImage file: no DimSize or no ElementDataFile")
    return fields, start


def _require_one_place(path: Path, fields: dict[str, str], keys: tuple[str, ...]) -> None:
    """Check that keys of one meaning do not contradict each other."""
    found = {key: _numbers_of(path, key, fields[key]) for key in keys if key in fields}
    if len(set(found.values())) > 1:
        raise InputError(f"{path}: {' and '.join(found)} place the volume in two ways")


def _world_from_index(
    path: Path, fields: dict[str, str], spacing: tuple[float, ...]
) -> NDArray[np.float64] | None:
    """Return the matrix from voxel index to patient LPS [mm]; None without 3 axes in space.

    The first row of the file's matrix is the direction of the x index, and so on.
    """
    axes = len(spacing)
    if axes < 3:
        return None
    matrix = _given(path, fields, DIRECTION_KEYS, np.eye(axes).ravel()).reshape(axes, axes)
    origin = _given(path, fields, ORIGIN_KEYS, np.zeros(axes))
    return placement(matrix[:3, :3] * np.array(spacing[:3])[:, None], origin[:3])


def _given(
    path: Path, fields: dict[str, str], keys: tuple[str, ...], default: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the numbers of the first key that is there, as many as the default has."""
    for key in keys:
        if key in fields:
            found = np.array(_numbers_of(path, key, fields[key]))
            if found.size != default.size:
                raise InputError(
                    f"{path}: {key} must be {default.size} numbers, got {fields[key]!r}"
                )
            return found
    return default


def _require_hu_in_mm(path: Path, fields: dict[str, str]) -> None:
    """Check that voxels are CT numbers as they are stored, and lengths millimetres."""
    for key, neutral in RESCALE_KEYS.items():
        if _numbers_of(path, key, fields.get(key, f"{neutral}")) != (neutral,):
            raise InputError(
                f"{path}: {key} must be {neutral:g}, got {fields[key]!r}: readers differ in what "
                "they make of it; write the voxels as CT numbers"
            )
    if fields.get("DistanceUnits", "mm") not in ("mm", "?", ""):
        raise InputError(f"{path}: DistanceUnits must be mm, got {fields['DistanceUnits']!r}")


def _numbers_of(path: Path, key: str, text: str) -> tuple[float, ...]:
    """Numbers between blanks: the imaging library accepts no other separator."""
    return finite_numbers(path, key, text, marks="")


def _shape(path: Path, fields: dict[str, str]) -> tuple[int, ...]:
    sizes = _numbers_of(path, "DimSize", fields["DimSize"])
    axes = fields.get("NDims", "")
    if axes != str(len(sizes)) or not all(size >= 1 and size == int(size) for size in sizes):
        raise InputError(
            f"{path}: DimSize must be NDims ({axes or 'missing'}) positive counts, "
            f"got {fields['DimSize']!r}"
        )
    return tuple(int(size) for size in sizes)


def _spacing(path: Path, fields: dict[str, str], axes: int) -> tuple[float, ...]:
    key = "ElementSpacing" if "ElementSpacing" in fields else "ElementSize"
    if key not in fields:
        raise InputError(f"{path}: ElementSpacing is missing; without it no voxel has a size")
    spacing = require_spacing(path, key, _numbers_of(path, key, fields[key]))
    if len(spacing) != axes:
        raise InputError(f"{path}: {key} must be {axes} lengths, got {fields[key]!r}")
    return spacing


def _element_type(path: Path, fields: dict[str, str]) -> np.dtype[Any]:
    name = _element_name(fields)
    if name not in ELEMENT_TYPES:
        raise InputError(f"{path}: ElementType must be a number, got {fields.get('ElementType')!r}")
    if fields.get("ElementNumberOfChannels", "1") != "1":
        raise InputError(
            f"{path}: voxels must be one number each, "
            f"got ElementNumberOfChannels {fields['ElementNumberOfChannels']}"
        )
    return np.dtype(ELEMENT_TYPES[name])


def _element_name(fields: dict[str, str]) -> str:
    return fields.get("ElementType", "").removeprefix("MET_").removesuffix("_ARRAY")


def _numbers(path: Path, fields: dict[str, str]) -> StoredNumbers | None:
    if _element_name(fields) in ("LONG", "ULONG"):  # of 4 or 8 bytes: the imaging library knows
        return None
    big = {_is_true(path, fields, key) for key in ORDER_KEYS if key in fields} or {False}
    if len(big) > 1:
        raise InputError(f"{path}: {' and '.join(ORDER_KEYS)} contradict each other")
    order: OrderMark = ">" if True in big else "<"
    return StoredNumbers(dtype=_element_type(path, fields).newbyteorder(order).str)


def _data(path: Path, fields: dict[str, str], end: int, needed_bytes: int) -> VoxelData:
    name = fields["ElementDataFile"]
    local = name in LOCAL
    if not _is_true(path, fields, "BinaryData"):
        raise InputError(f"{path}: BinaryData must be True; voxels written as text are not read")
    compressed = _is_true(path, fields, "CompressedData")
    skipped = fields.get("HeaderSize", "0") != "0"
    return VoxelData(
        path=path
        if local
        else voxel_file(path, name, SEVERAL_FILES, literal=not name.upper().startswith("LIST")),
        offset=end if local else 0,
        encoding="other" if skipped else "zlib" if compressed else "raw",
        needed_bytes=needed_bytes,
        stored_bytes=_stored_bytes(path, fields) if compressed else None,
        numbers=_numbers(path, fields),
    )


def _is_true(path: Path, fields: dict[str, str], key: str) -> bool:
    value = fields.get(key, "False")
    if value not in YES + NO:
        raise InputError(f"{path}: {key} must be True or False, got {value!r}")
    return value in YES


def _stored_bytes(path: Path, fields: dict[str, str]) -> int:
    text = fields.get("CompressedDataSize", "")
    if not text.isdecimal():
        raise InputError(f"{path}: CompressedDataSize must be a number of bytes, got {text!r}")
    return int(text)


METAIMAGE = itk_format(
    name="MetaImage",
    suffixes=(".mha", ".mhd"),
    image_io="MetaImageIO",
    read_header=lambda path, _options: read_meta_header(path),
)

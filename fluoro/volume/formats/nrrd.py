"""NRRD (.nrrd, .nhdr): its header, by the definition of the format."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any, Literal

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

__all__ = ["NRRD", "read_nrrd_header"]

STRAY = re.compile(rb"\r(?!\n)|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
"""Readers differ in what they make of these."""
TYPES = (
    (r"signed char|int8(_t)?", "i1"),
    (r"uchar|unsigned char|uint8(_t)?", "u1"),
    (r"(signed )?short( int)?|int16(_t)?", "i2"),
    (r"ushort|unsigned short( int)?|uint16(_t)?", "u2"),
    (r"(signed )?int|int32(_t)?", "i4"),
    (r"uint|unsigned int|uint32(_t)?", "u4"),
    (r"(signed )?long long( int)?|longlong|int64(_t)?", "i8"),
    (r"unsigned long long( int)?|ulonglong|uint64(_t)?", "u8"),
    (r"float", "f4"),
    (r"double", "f8"),
)
"""Patterns of the type names of the format's definition, and NumPy's name of each."""
BYTE_ORDERS: dict[str, OrderMark] = {"little": "<", "big": ">"}
ENCODINGS: dict[str, Literal["raw", "gzip"]] = {"raw": "raw", "gzip": "gzip", "gz": "gzip"}
PATIENT_SPACES = re.compile(
    r"(left|right)-(anterior|posterior)-(superior|inferior)|[lr][ap][si]", re.IGNORECASE
)
SEVERAL_FILES = re.compile(r"LIST|.*%\d*d")
"""Names of voxel files that mean a list, or a pattern with a number; a % alone is a % (teem)."""
VECTOR = re.compile(r"\([^)]*\)")
MILLIMETRES = {"mm", "millimeter", "millimeters", "millimetre", "millimetres", ""}


def read_nrrd_header(path: Path) -> VolumeHeader:
    """Claims of a NRRD header.

    Raises:
        InputError: Not a NRRD, a field missing or malformed, or voxels in several files.
    """
    fields, end = _fields(path)
    sizes = finite_numbers(path, "sizes", _field(path, fields, "sizes"))
    if not all(size >= 1 and size == int(size) for size in sizes):
        raise InputError(f"{path}: sizes must be positive counts, got {fields['sizes']!r}")
    _require_millimetres(path, fields)
    _require_not_quantised(path, fields)
    shape, spacing = _spatial(path, fields, tuple(int(size) for size in sizes))
    voxel_type = _voxel_type(path, fields)
    return VolumeHeader(
        shape_xyz=shape,
        spacing_xyz_mm=spacing,
        voxel_bytes=voxel_type.itemsize,
        data=_data(path, fields, end, math.prod(shape) * voxel_type.itemsize, voxel_type),
        oriented=bool(PATIENT_SPACES.fullmatch(fields.get("space", ""))),
        world_from_index=_world_from_index(path, fields, spacing),
    )


def _fields(path: Path) -> tuple[dict[str, str], int]:
    """Fields up to the blank line (or the end), and the first byte after it."""
    raw = header_bytes(path)
    if not raw.startswith(b"NRRD"):
        raise InputError(f"{path}: is not a NRRD file: it does not start with NRRD")
    blank = re.search(rb"\r?\n\r?\n", raw)
    head = raw[: blank.start()] if blank else raw
    if STRAY.search(head):
        raise InputError(f"{path}: is not a NRRD file: its header holds bytes that are no text")
    fields: dict[str, str] = {}
    for line in re.split(r"\r\n|\r|\n", head.decode("latin-1"))[1:]:
        key, colon, value = line.partition(": ")
        if colon and not line.startswith("#"):
            fields[key.strip().lower().replace("datafile", "data file")] = value.strip()
    return fields, blank.end() if blank else len(raw)


def _field(path: Path, fields: dict[str, str], key: str) -> str:
    if key not in fields:
        raise InputError(f"{path}: the NRRD field {key!r} is missing")
    return fields[key]


def _require_millimetres(path: Path, fields: dict[str, str]) -> None:
    for key in ("space units", "units"):
        if set(re.findall(r'"([^"]*)"', fields.get(key, ""))) - MILLIMETRES:
            raise InputError(f"{path}: {key} must be mm, got {fields[key]}")


def _require_not_quantised(path: Path, fields: dict[str, str]) -> None:
    for key in ("old min", "oldmin", "old max", "oldmax"):
        if key in fields:
            raise InputError(
                f"{path}: its values were quantised ({key} {fields[key]}); write them as CT numbers"
            )


def _spatial(
    path: Path, fields: dict[str, str], sizes: tuple[int, ...]
) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Sizes and spacings of the axes that lie in space; others may have one sample only."""
    key = "space directions" if "space directions" in fields else "spacings"
    lengths = _lengths(path, key, fields)
    if len(lengths) != len(sizes):
        raise InputError(f"{path}: {key} must be one per axis ({len(sizes)}), got {fields[key]!r}")
    axes = [
        (size, length)
        for size, length in zip(sizes, lengths, strict=True)
        if length is not None or size > 1 or len(sizes) <= 3
    ]
    if any(length is None for _, length in axes):
        raise InputError(f"{path}: {key} must give every axis a length, got {fields[key]!r}")
    spacing = require_spacing(path, key, [length for _, length in axes if length is not None])
    return tuple(size for size, _ in axes), spacing


def _lengths(path: Path, key: str, fields: dict[str, str]) -> list[float | None]:
    text = fields.get(key)
    if text is None:
        raise InputError(f"{path}: space directions or spacings are missing; no voxel has a size")
    if key == "spacings":
        words = text.split()
        return [None if w.lower() == "nan" else finite_numbers(path, key, w)[0] for w in words]
    vectors = re.findall(r"none|\([^)]*\)", text)
    return [
        None if vector == "none" else float(np.linalg.norm(finite_numbers(path, key, vector)))
        for vector in vectors
    ]


def _world_from_index(
    path: Path, fields: dict[str, str], spacing: tuple[float, ...]
) -> NDArray[np.float64] | None:
    """Return the matrix from voxel index to patient LPS [mm]; None without 3 axes in space."""
    vectors = [
        finite_numbers(path, "space directions", text)
        for text in VECTOR.findall(fields.get("space directions", ""))
    ]
    if not vectors and len(spacing) == 3:
        return placement(np.diag(spacing), _axis_mins(path, fields, spacing))
    origin = finite_numbers(path, "space origin", fields.get("space origin", "0 0 0"))
    if [len(vector) for vector in (*vectors, origin)] != [3] * 4:
        return None
    lps_from_space = np.diag(_signs(fields.get("space", "")))
    return placement(vectors @ lps_from_space, lps_from_space @ origin)


def _signs(space: str) -> tuple[float, float, float]:
    """Return the sign of each axis of a space along patient L, P and S: 1 or -1."""
    if not PATIENT_SPACES.fullmatch(space):
        return 1.0, 1.0, 1.0
    x, y, z = (word[0] for word in (space.lower().split("-") if "-" in space else space.lower()))
    return (-1.0 if x == "r" else 1.0), (-1.0 if y == "a" else 1.0), (-1.0 if z == "i" else 1.0)


def _axis_mins(
    path: Path, fields: dict[str, str], spacing: tuple[float, ...]
) -> NDArray[np.float64]:
    """Return the centre of the first voxel [mm] where no space is given, shape (3,).

    The minimum of an axis is the edge of a cell, or the centre of a node.
    """
    words = fields.get("axis mins", fields.get("axismins", "")).split()
    if len(words) != 3 or "nan" in (word.lower() for word in words):
        return np.zeros(3)
    mins = finite_numbers(path, "axis mins", " ".join(words))
    centered = fields.get("centers", fields.get("centerings", "")).lower().split() or ["cell"] * 3
    halves = [0.0 if each == "node" else 0.5 for each in centered]
    return np.array(mins) + np.array(halves) * spacing


def _data(
    path: Path, fields: dict[str, str], end: int, needed_bytes: int, voxel_type: np.dtype[Any]
) -> VoxelData:
    name = fields.get("data file")
    skipped = any(key in fields for key in ("byte skip", "byteskip", "line skip", "lineskip"))
    encoding = ENCODINGS.get(_field(path, fields, "encoding").lower())
    return VoxelData(
        path=path if name is None else voxel_file(path, name, SEVERAL_FILES),
        offset=end if name is None else 0,
        encoding="other" if skipped or encoding is None else encoding,
        needed_bytes=needed_bytes,
        numbers=_numbers(fields, voxel_type),
    )


def _numbers(fields: dict[str, str], voxel_type: np.dtype[Any]) -> StoredNumbers | None:
    order = BYTE_ORDERS.get(fields.get("endian", "").lower())
    if order is None and voxel_type.itemsize > 1:
        return None
    return StoredNumbers(dtype=voxel_type.newbyteorder(order or "=").str)


def _voxel_type(path: Path, fields: dict[str, str]) -> np.dtype[Any]:
    name = _field(path, fields, "type")
    for pattern, numpy_name in TYPES:
        if re.fullmatch(pattern, name, re.IGNORECASE):
            return np.dtype(numpy_name)
    raise InputError(f"{path}: type must be a number, got {name!r}")


NRRD = itk_format(
    name="NRRD",
    suffixes=(".nrrd", ".nhdr"),
    image_io="NrrdImageIO",
    read_header=lambda path, _options: read_nrrd_header(path),
)

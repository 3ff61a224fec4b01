"""The header of a NRRD file (.nrrd, .nhdr)."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Literal

import numpy as np

from fluoro.errors import InputError
from fluoro.volume.header import VolumeHeader, VoxelData, finite_numbers, require_spacing

__all__ = ["read_nrrd_header"]

HEADER_LIMIT_BYTES = 1 << 20
"""A header is a few hundred bytes; beyond this it is none."""
TYPE_BYTES = (
    (r"(un)?signed char|uchar|u?int8(_t)?", 1),
    (r"((un)?signed )?short( int)?|ushort|u?int16(_t)?", 2),
    (r"((un)?signed )?int|uint|u?int32(_t)?|float", 4),
    (r"((un)?signed )?long long( int)?|u?longlong|u?int64(_t)?|double", 8),
)
"""Patterns of the type names of the format's definition, and the bytes of each."""
ENCODINGS: dict[str, Literal["raw", "gzip"]] = {"raw": "raw", "gzip": "gzip", "gz": "gzip"}
PATIENT_SPACES = re.compile(
    r"(left|right)-(anterior|posterior)-(superior|inferior)|[lr][ap][si]", re.IGNORECASE
)
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
    _require_millimetres(path, fields.get("space units", ""))
    finite_numbers(path, "space origin", fields.get("space origin", ""))
    shape, spacing = _spatial(path, fields, tuple(int(size) for size in sizes))
    type_bytes = _type_bytes(path, _field(path, fields, "type"))
    return VolumeHeader(
        shape_xyz=shape,
        spacing_xyz_mm=spacing,
        voxel_bytes=type_bytes,
        data=_data(path, fields, end, math.prod(shape) * type_bytes),
        oriented=bool(PATIENT_SPACES.fullmatch(fields.get("space", ""))),
    )


def _fields(path: Path) -> tuple[dict[str, str], int]:
    """Fields up to the blank line (or the end), and the first byte after it."""
    with path.open("rb") as file:
        raw = file.read(HEADER_LIMIT_BYTES)
    if not raw.startswith(b"NRRD"):
        raise InputError(f"{path}: is not a NRRD file: it does not start with NRRD")
    blank = re.search(rb"\r?\n\r?\n", raw)
    head = raw[: blank.start()] if blank else raw
    fields: dict[str, str] = {}
    for line in head.decode("latin-1").splitlines()[1:]:
        key, colon, value = line.partition(": ")
        if colon and not line.startswith("#"):
            fields[key.strip().lower().replace("datafile", "data file")] = value.strip()
    return fields, blank.end() if blank else len(raw)


def _field(path: Path, fields: dict[str, str], key: str) -> str:
    if key not in fields:
        raise InputError(f"{path}: the NRRD field {key!r} is missing")
    return fields[key]


def _require_millimetres(path: Path, units: str) -> None:
    if set(re.findall(r'"([^"]*)"', units)) - MILLIMETRES:
        raise InputError(f"{path}: space units must be mm, got {units}")


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


def _data(path: Path, fields: dict[str, str], end: int, needed_bytes: int) -> VoxelData:
    name = fields.get("data file")
    if name is not None and (name.upper().startswith("LIST") or "%" in name or not name):
        raise InputError(f"{path}: voxels in several files are not read, got {name!r}")
    skipped = any(key in fields for key in ("byte skip", "byteskip", "line skip", "lineskip"))
    encoding = ENCODINGS.get(_field(path, fields, "encoding").lower())
    return VoxelData(
        path=path if name is None else path.parent / name,
        offset=end if name is None else 0,
        encoding="other" if skipped or encoding is None else encoding,
        needed_bytes=needed_bytes,
    )


def _type_bytes(path: Path, name: str) -> int:
    for pattern, count in TYPE_BYTES:
        if re.fullmatch(pattern, name, re.IGNORECASE):
            return count
    raise InputError(f"{path}: type must be a number, got {name!r}")

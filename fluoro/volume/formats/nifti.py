"""NIfTI, versions 1 and 2, in one file or in two: its header, by its specification."""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluoro.errors import InputError
from fluoro.names import NiftiTransform
from fluoro.volume.formats.itk_ct import itk_format
from fluoro.volume.volume_header import (
    StoredNumbers,
    VolumeHeader,
    VoxelData,
    placement,
    require_spacing,
)

__all__ = ["NIFTI", "read_nifti_header"]

NAMES = ["size", "magic", "dim", "datatype", "pixdim", "vox_offset", "slope", "inter",
         "units", "qform_code", "sform_code", "quatern", "srow"]  # fmt: skip
VERSION_1 = np.dtype({
    "names": NAMES,
    "formats": ["i4", "S4", "8i2", "i2", "8f4", "f4", "f4", "f4",
                "u1", "i2", "i2", "6f4", "12f4"],
    "offsets": [0, 344, 40, 70, 76, 108, 112, 116, 123, 252, 254, 256, 280],
    "itemsize": 348,
})  # fmt: skip
"""nifti1.h (NIMH); `quatern` also holds the three offsets that follow it."""
VERSION_2 = np.dtype({
    "names": NAMES,
    "formats": ["i4", "S8", "8i8", "i2", "8f8", "i8", "f8", "f8",
                "i4", "i4", "i4", "6f8", "12f8"],
    "offsets": [0, 4, 16, 12, 104, 168, 176, 184, 500, 344, 348, 352, 400],
    "itemsize": 540,
})  # fmt: skip
"""nifti2.h (NIMH), the same fields."""
PAIR_SUFFIXES = (".hdr", ".hdr.gz")
SINGLE, PAIR = b"n+", b"ni"
"""How the magic begins: voxels behind the header, or in a file of their own."""
MAGIC_END = {348: b"", 540: b"\0\r\n\x1a\n"}
"""How it ends, behind the version's number; trailing zeros left out."""
EXTENDER_BYTES = 4
"""Between the header and the voxels, to announce extensions."""
VOXEL_TYPES = {
    2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8",
    1280: "u8",
}  # fmt: skip
"""NumPy's names of the data types with one real number each."""
MM_PER_UNIT = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}
"""Unknown (taken as mm, as all readers do), metre, millimetre, micrometre."""
LPS_FROM_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
LENGTH_TOLERANCE = 1e-3
"""Relative difference of pixdim and the sform's columns that rounding to text explains."""
CORNER_TOLERANCE = 0.05
"""Distance between the corners of sform and qform, in voxels, that rounding explains."""
SMALLEST_SLOPE = 1e-12
"""Readers take a still smaller one for none."""
SHEAR_TOLERANCE = 1e-4
"""Cosine between two axes up to which they count as perpendicular, as for a VolumeGrid."""


def read_nifti_header(path: Path, transform: NiftiTransform | None = None) -> VolumeHeader:
    """Claims of a NIfTI header.

    Args:
        path: The file.
        transform: Which of its two transforms places the volume; None: those that are there,
            and they must agree.

    Raises:
        InputError: Not a NIfTI file, or a header that contradicts itself.
    """
    with np.errstate(invalid="ignore", over="ignore"):  # found out where they are read
        return _claims(path, transform)


def _claims(path: Path, transform: NiftiTransform | None) -> VolumeHeader:
    header = _parse(path, _first_bytes(path))
    data_path = _data_path(path)
    shape = _shape(path, header["dim"])
    voxel_type = _voxel_type(path, header)
    voxel_bytes = voxel_type.itemsize
    scaled = _is_scaled(path, float(header["slope"]), float(header["inter"]))
    pixdim = require_spacing(path, "pixdim", np.asarray(header["pixdim"][1:4], float).tolist())
    unit = MM_PER_UNIT.get(int(header["units"]) & 7)
    if unit is None:
        raise InputError(f"{path}: xyzt_units must be a length, got {int(header['units']) & 7}")
    return VolumeHeader(
        shape_xyz=shape,
        spacing_xyz_mm=require_spacing(path, "pixdim [mm]", [value * unit for value in pixdim]),
        voxel_bytes=max(4, voxel_bytes) if scaled else voxel_bytes,
        data=VoxelData(
            path=data_path,
            offset=0,
            encoding="gzip" if _is_compressed(data_path) else "raw",
            needed_bytes=_offset(path, header) + math.prod(shape) * voxel_bytes,
            numbers=StoredNumbers(
                dtype=voxel_type.str,
                start=_offset(path, header),
                slope=float(header["slope"]) if scaled else 1.0,
                intercept=float(header["inter"]) if scaled else 0.0,
            ),
        ),
        oriented=bool(header["sform_code"] > 0 or header["qform_code"] > 0),
        world_from_index=_world_from_index(path, header, unit, transform),
        placed_by_header=transform is not None,
        known_to_itk=header.dtype.itemsize == VERSION_1.itemsize,
    )


def _is_compressed(path: Path) -> bool:
    return path.name.lower().endswith(".gz")


def _first_bytes(path: Path) -> bytes:
    try:
        with gzip.open(path) if _is_compressed(path) else path.open("rb") as file:
            return file.read(VERSION_2.itemsize)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"{path}: is truncated or damaged: {error}") from None


def _parse(path: Path, raw: bytes) -> Any:
    for layout in (VERSION_1, VERSION_2):
        for order in ("<", ">"):
            given = raw[: layout.itemsize].ljust(layout.itemsize, b"\0")
            header = np.frombuffer(given, layout.newbyteorder(order), count=1)[0]
            if header["size"] == layout.itemsize and _is_magic(path, header):
                return header
    wanted = "a pair, named .hdr and .img" if _is_pair(path) else "a file in one piece"
    raise InputError(f"{path}: is not NIfTI: no header of version 1 or 2 of {wanted}")


def _is_pair(path: Path) -> bool:
    return path.name.lower().endswith(PAIR_SUFFIXES)


def _is_magic(path: Path, header: Any) -> bool:
    size = header.dtype.itemsize
    number = b"1" if size == VERSION_1.itemsize else b"2"
    expected = (PAIR if _is_pair(path) else SINGLE) + number + MAGIC_END[size]
    return bool(header["magic"] == expected)


def _data_path(path: Path) -> Path:
    """The file with the voxels: of a pair, beside the header.

    Raises:
        InputError: It is not there.
    """
    if not _is_pair(path):
        return path
    header = path.with_suffix("") if _is_compressed(path) else path
    image = header.with_suffix(".IMG" if header.suffix.isupper() else ".img")
    for found in (image, image.with_name(f"{image.name}.gz")):
        if found.is_file():
            return found
    raise InputError(f"{path}: its voxels, {image.name}, are not there")


def _shape(path: Path, dim: NDArray[np.int64]) -> tuple[int, ...]:
    axes = int(dim[0])
    shape = tuple(int(size) for size in dim[1 : axes + 1])
    if not 1 <= axes <= 7 or min(shape) < 1:
        raise InputError(f"{path}: dim must be 1 to 7 positive sizes, got {dim.tolist()}")
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    return shape


def _voxel_type(path: Path, header: Any) -> np.dtype[Any]:
    datatype = int(header["datatype"])
    if datatype not in VOXEL_TYPES:
        raise InputError(
            f"{path}: voxels must be one number each (no colour, complex or vector), "
            f"got NIfTI datatype {datatype}"
        )
    return np.dtype(VOXEL_TYPES[datatype]).newbyteorder(header.dtype["datatype"].byteorder)


def _offset(path: Path, header: Any) -> int:
    offset = float(header["vox_offset"])
    least = 0 if _is_pair(path) else header.dtype.itemsize + EXTENDER_BYTES
    if not math.isfinite(offset) or offset < least:
        raise InputError(f"{path}: vox_offset must be at least {least}, got {offset:g}")
    return int(offset)


def _is_scaled(path: Path, slope: float, inter: float) -> bool:
    """Whether the voxels are rescaled on reading: not if the slope is 0 or not finite.

    An intercept without a slope is refused, because readers differ in what they make of it.
    """
    scaled = math.isfinite(slope) and slope != 0
    if scaled and abs(slope) < SMALLEST_SLOPE:
        raise InputError(
            f"{path}: scl_slope must be 0 or no less than {SMALLEST_SLOPE:g} in size, got {slope:g}"
        )
    if scaled and not math.isfinite(inter):
        raise InputError(f"{path}: scl_inter must be finite, got {inter:g}")
    if not scaled and math.isfinite(inter) and inter != 0:
        raise InputError(
            f"{path}: scl_slope must not be {slope:g} with an intercept (scl_inter {inter:g})"
        )
    return scaled and (slope, inter) != (1, 0)


def _world_from_index(
    path: Path, header: Any, unit: float, transform: NiftiTransform | None
) -> NDArray[np.float64]:
    """The chosen transform, or that of those that are there if they agree: patient LPS [mm].

    Without any, the axes are taken as L, P, S from the origin.
    """
    codes = {"sform": int(header["sform_code"]), "qform": int(header["qform_code"])}
    if transform is not None and codes[transform] <= 0:
        raise InputError(
            f"{path}: volume.nifti_transform is {transform}, but the file has none "
            f"({transform}_code {codes[transform]})"
        )
    names = [transform] if transform else [name for name, code in codes.items() if code > 0]
    pixdim = tuple(np.asarray(header["pixdim"][1:4], float).tolist())
    if not names:
        return placement(unit * np.diag(pixdim), np.zeros(3))
    found = [_transform(path, header, pixdim, name, others=set(names) - {name}) for name in names]
    _require_agreement(path, header, unit, found)
    found[0][:3] *= unit
    return np.asarray(LPS_FROM_RAS @ found[0])


def _transform(
    path: Path, header: Any, pixdim: tuple[float, ...], name: str, others: set[str]
) -> NDArray[np.float64]:
    """The transform of that name; the refusal of a bad one says which other can be chosen."""
    try:
        return (_sform if name == "sform" else _qform)(path, header, pixdim)
    except InputError as error:
        advice = "".join(f"; volume.nifti_transform: {other} takes the {other}" for other in others)
        raise InputError(f"{error}{advice}") from None


def _require_agreement(
    path: Path, header: Any, unit: float, found: list[NDArray[np.float64]]
) -> None:
    """All transforms put the corners at the same places."""
    ends = np.maximum(np.asarray(header["dim"][1:4], float) - 1, 0)
    corners = np.column_stack([np.array([*np.ndindex(2, 2, 2)]) * ends, np.ones(8)])
    gap = corners @ (found[0] - found[-1])[:3].T
    largest = float(np.linalg.norm(gap, axis=1).max())
    if not largest <= CORNER_TOLERANCE * float(np.min(header["pixdim"][1:4])):
        raise InputError(
            f"{path}: places the volume in two ways, {largest * unit:.3g} mm apart (sform and "
            "qform); choose with volume.nifti_transform: sform or qform"
        )


def _sform(path: Path, header: Any, pixdim: tuple[float, ...]) -> NDArray[np.float64]:
    matrix = np.eye(4)
    matrix[:3] = np.asarray(header["srow"], float).reshape(3, 4)
    if not np.all(np.isfinite(matrix)):
        raise InputError(f"{path}: srow_x, srow_y, srow_z (sform) must be finite")
    lengths = np.linalg.norm(matrix[:3, :3], axis=0)
    axes = matrix[:3, :3] / np.where(lengths > 0, lengths, 1)
    if np.abs(np.triu(axes.T @ axes, k=1)).max() > SHEAR_TOLERANCE:
        raise InputError(
            f"{path}: the sform is sheared; resample the volume to a right-angled grid"
        )
    if not np.allclose(lengths, pixdim, rtol=LENGTH_TOLERANCE, atol=0):
        raise InputError(
            f"{path}: the sform's columns are {_text(lengths)} long, but pixdim is {_text(pixdim)}"
        )
    return matrix


def _qform(path: Path, header: Any, pixdim: tuple[float, ...]) -> NDArray[np.float64]:
    b, c, d, *offset = np.asarray(header["quatern"], float)
    if not np.all(np.isfinite([b, c, d, *offset])) or b * b + c * c + d * d > 1 + SHEAR_TOLERANCE:
        raise InputError(f"{path}: quatern_b, c, d and qoffset (qform) must be a finite rotation")
    a = math.sqrt(max(0.0, 1 - b * b - c * c - d * d))
    matrix = np.eye(4)
    matrix[:3, :3] = [
        [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
        [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
        [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
    ]
    handedness = -1.0 if header["pixdim"][0] < 0 else 1.0
    matrix[:3, :3] *= np.array([1.0, 1.0, handedness]) * pixdim
    matrix[:3, 3] = offset
    return matrix


def _text(values: Any) -> str:
    return "(" + ", ".join(f"{value:g}" for value in values) + ")"


NIFTI = itk_format(
    name="NIfTI",
    suffixes=(".nii", ".nii.gz", *PAIR_SUFFIXES),
    image_io="NiftiImageIO",
    read_header=lambda path, options: read_nifti_header(path, options.nifti_transform),
    options=frozenset({"nifti_transform"}),
)

"""Small CT files written byte by byte, so that any field can be wrong."""

import gzip
import struct
from pathlib import Path

import numpy as np
import SimpleITK as sitk

SHAPE_ZYX = (4, 5, 6)
SPACING_MM = (1.0, 2.0, 3.0)


def ramp(dtype="<i2"):
    """Distinct values, so that a permuted or shifted read shows."""
    return (np.arange(120).reshape(SHAPE_ZYX) * 10 - 500).astype(dtype)


def nifti_bytes(
    voxels=None,
    *,
    dim=(3, 6, 5, 4, 1, 1, 1, 1),
    pixdim=(1, *SPACING_MM, 0, 0, 0, 0),
    datatype=4,
    vox_offset=352.0,
    slope=1.0,
    inter=0.0,
    units=2,
    qform_code=0,
    sform_code=1,
    quatern=(0, 0, 0, 0, 0, 0),
    srow=(-1, 0, 0, -10, 0, -2, 0, -20, 0, 0, 3, 30),
    magic=b"n+1\0",
    order="<",
):
    """A NIfTI-1 file; by default the axes run along L, P, S and start at (10, 20, 30) mm."""
    header = bytearray(352)
    for fmt, at, values in (
        ("i", 0, (348,)),
        ("8h", 40, dim),
        ("h", 70, (datatype,)),
        ("8f", 76, pixdim),
        ("3f", 108, (vox_offset, slope, inter)),
        ("2h", 252, (qform_code, sform_code)),
        ("6f", 256, quatern),
        ("12f", 280, srow),
    ):
        struct.pack_into(order + fmt, header, at, *values)
    header[123] = units
    header[344:348] = magic
    return bytes(header) + _raw(ramp(order + "i2") if voxels is None else voxels)


def meta_bytes(voxels=None, **fields):
    """A MetaImage file with its voxels in it; a field given as None is left out."""
    known = {
        "ObjectType": "Image",
        "NDims": "3",
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        "CompressedData": "False",
        "TransformMatrix": "1 0 0 0 1 0 0 0 1",
        "Offset": "10 20 30",
        "ElementSpacing": "1 2 3",
        "DimSize": "6 5 4",
        "ElementType": "MET_SHORT",
    }
    return _lines(known | fields, " = ") + b"ElementDataFile = LOCAL\n" + _raw(voxels)


def nrrd_bytes(voxels=None, **fields):
    """A NRRD file with its voxels in it; blanks in field names are underscores here."""
    known = {
        "type": "short",
        "dimension": "3",
        "space": "left-posterior-superior",
        "sizes": "6 5 4",
        "space_directions": "(1,0,0) (0,2,0) (0,0,3)",
        "kinds": "domain domain domain",
        "endian": "little",
        "encoding": "raw",
        "space_origin": "(10,20,30)",
    }
    named = {key.replace("_", " "): value for key, value in (known | fields).items()}
    return b"NRRD0004\n" + _lines(named, ": ") + b"\n" + _raw(voxels)


def _lines(fields, colon):
    given = (f"{key}{colon}{value}\n" for key, value in fields.items() if value is not None)
    return "".join(given).encode()


def _raw(voxels):
    values = ramp() if voxels is None else voxels
    return values if isinstance(values, bytes) else values.tobytes()


def written(folder: Path, name: str, raw: bytes) -> Path:
    """A file of these bytes; gzipped where the name says so."""
    path = folder / name
    path.write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
    return path


def saved(folder: Path, name: str, *, compressed: bool = False, direction=None) -> Path:
    """The same volume, written by SimpleITK."""
    image = sitk.GetImageFromArray(ramp())
    image.SetSpacing(SPACING_MM)
    image.SetOrigin((10, 20, 30))
    if direction is not None:
        image.SetDirection(direction)
    sitk.WriteImage(image, str(folder / name), compressed)
    return folder / name

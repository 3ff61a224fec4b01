"""GIPL (.gipl): its header of 256 bytes, big-endian, without an orientation.

Guy's Image Processing Lab, format of VTK-CISG and ITK-SNAP.
"""

from __future__ import annotations

import math
import struct
from pathlib import Path

import numpy as np

from fluoro.errors import InputError
from fluoro.volume.formats.itk_ct import itk_format
from fluoro.volume.volume_header import StoredNumbers, VolumeHeader, VoxelData, placement

__all__ = ["GIPL", "read_gipl_header"]

HEADER_BYTES = 256
MAGIC = {0xEFFFE9B0, 0x2AE389B8}
TYPES = {7: "i1", 8: "u1", 15: "i2", 16: "u2", 31: "u4", 32: "i4", 64: "f4", 65: "f8"}
"""NumPy's names of the voxel types."""


def read_gipl_header(path: Path) -> VolumeHeader:
    """Claims of a GIPL header.

    Raises:
        InputError: Not a GIPL file, more than 3 axes, or another type of voxels.
    """
    with path.open("rb") as file:
        head = file.read(HEADER_BYTES)
    if len(head) < HEADER_BYTES or struct.unpack_from(">I", head, 252)[0] not in MAGIC:
        raise InputError(f"{path}: a GIPL file must have its mark at byte 252")
    *shape, images, kind = struct.unpack_from(">5H", head)
    spacing = struct.unpack_from(">3f", head, 10)
    origin = struct.unpack_from(">3d", head, 204)
    if images > 1 or min(shape) < 1 or kind not in TYPES:
        raise InputError(f"{path}: must be one image of numbers, got {images} of type {kind}")
    if not all(math.isfinite(each) and each > 0 for each in spacing):
        raise InputError(f"{path}: spacing must be 3 positive lengths, got {spacing}")
    dtype = np.dtype(TYPES[kind]).newbyteorder(">")
    numbers = StoredNumbers(dtype=dtype.str)
    size = math.prod(shape) * dtype.itemsize
    data = VoxelData(
        path=path, offset=HEADER_BYTES, encoding="raw", needed_bytes=size, numbers=numbers
    )
    return VolumeHeader(
        shape_xyz=tuple(shape),
        spacing_xyz_mm=spacing,
        voxel_bytes=dtype.itemsize,
        data=data,
        oriented=False,
        world_from_index=placement(np.diag(spacing), origin),
    )


GIPL = itk_format(
    name="GIPL",
    suffixes=(".gipl",),
    image_io="GiplImageIO",
    read_header=lambda path, _options: read_gipl_header(path),
)

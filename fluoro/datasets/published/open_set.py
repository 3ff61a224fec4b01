"""A published data set in whichever form it is there."""

from __future__ import annotations

from pathlib import Path

from fluoro.datasets.published.deepfluoro import DeepFluoroFile
from fluoro.datasets.published.ljubljana import LjubljanaFile
from fluoro.datasets.published.subject import PublishedSet, SetName, VoxelOrigin
from fluoro.datasets.published.xvr import XvrFolder
from fluoro.errors import InputError

__all__ = ["open_published"]

FILES: dict[SetName, type[DeepFluoroFile] | type[LjubljanaFile]] = {
    "deepfluoro": DeepFluoroFile,
    "ljubljana": LjubljanaFile,
}


def open_published(
    path: Path | str, name: SetName, *, voxel_origin: VoxelOrigin | None = None
) -> PublishedSet:
    """Open a data set for reading.

    Args:
        path: The HDF5 file, or the folder of xvr's form.
        name: Which data set.
        voxel_origin: What a volume's stated origin is of its first voxel; None: as the data set
            and its form have it.

    Raises:
        InputError: It is missing, damaged, or another one.
    """
    path = Path(path)
    if name not in FILES:
        raise InputError(f"name must be one of {', '.join(FILES)}, got {name!r}")
    if path.is_dir():
        return XvrFolder(path, name, voxel_origin=voxel_origin)
    return FILES[name](path, voxel_origin=voxel_origin or "center")

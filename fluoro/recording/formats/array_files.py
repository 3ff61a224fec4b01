"""Frames as float32 arrays: one growing .npy, and an .npz with the poses beside the images."""

from __future__ import annotations

import zipfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import BinaryIO, TypeAlias

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from fluoro.errors import OutputError
from fluoro.files.atomic_write import whole_file, writing
from fluoro.geometry.carm import CarmGeometry, CarmPose
from fluoro.imaging.frame import FluoroFrame

__all__ = [
    "IMAGES_NAME",
    "NPZ_NAME",
    "Columns",
    "NpyStream",
    "NpzFrames",
    "add_columns",
    "write_npz",
]

Columns: TypeAlias = "defaultdict[str, list[object]]"
"""Values of each image of a recording, by name."""

NPZ_NAME, IMAGES_NAME = "frames.npz", "frames-recording.npy"
"""Of the file with images and columns, and of its images while it is recorded."""


class NpyStream:
    """A float32 .npy of shape (frames, height, width) that grows by one frame at a time.

    The header, which NumPy pads for this purpose, is brought up to date with every frame: the
    file loads at any moment, and after a crash it holds all frames but perhaps the last.

    Raises:
        OutputError: The file cannot be written, or a frame has another shape than the first.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._count = 0
        self._shape: tuple[int, ...] = (0, 0)
        with writing(path):
            self._file: BinaryIO = path.open("xb", buffering=0)

    def write(self, image: NDArray[np.float32]) -> None:
        """Append one image, shape (height, width), float32.

        Raises:
            OutputError: Another shape than the frames before, or a failure of the disk.
        """
        if self._count and image.shape != self._shape:
            raise OutputError(
                f"{self._path}: all frames must be {self._shape}, got {image.shape} "
                f"after {self._count} frames"
            )
        self._shape = image.shape
        with writing(self._path):
            if self._count == 0:
                self._write_header()
            self._write_all(np.ascontiguousarray(image, "<f4").data.cast("B"))
            self._count += 1
            self._write_header()

    def _write_all(self, data: memoryview) -> None:
        while data:  # an unbuffered file may take less than it is given when the disk fills up
            data = data[self._file.write(data) :]

    def _write_header(self) -> None:
        self._file.seek(0)
        shape = (self._count, *self._shape)
        npy.write_array_header_1_0(
            self._file, {"descr": "<f4", "fortran_order": False, "shape": shape}
        )
        self._file.seek(0, 2)

    def close(self) -> None:
        """Close the file."""
        with writing(self._path), self._file:
            if self._count == 0:
                self._write_header()


class NpzFrames:
    """frames.npz: `images` (N, height, width) float32, and for each frame how it was taken.

    Beside the images: `number`, `lao_deg`, `cra_deg`, `roll_deg`, `source_to_detector_mm`,
    `pixel_spacing_mm` (N,), `translation_mm` (N, 3) and, where the isocentre is known,
    `pixel_from_world` (N, 3, 4): world LPS [mm] to corner-based pixels, with flex, tilt, binning
    and magnification.

    While it records the images go to `frames-recording.npy`, which loads at any moment; `close`
    moves them into the .npz, uncompressed, in pieces that fit in memory.

    Args:
        folder: Where the file goes.
        isocenter_xyz_mm: Isocentre of the untranslated C-arm, patient LPS [mm]; None: not known.

    Raises:
        OutputError: A file cannot be written, or a frame has another shape than the first.
    """

    def __init__(self, folder: Path, isocenter_xyz_mm: Sequence[float] | None = None) -> None:
        self._path = folder / NPZ_NAME
        self._isocenter_xyz_mm = isocenter_xyz_mm
        self._images_path = folder / IMAGES_NAME
        self._images = NpyStream(self._images_path)
        self._columns: Columns = defaultdict(list)

    def write(self, frame: FluoroFrame) -> None:
        """Append one frame."""
        self._images.write(frame.image)
        add_columns(self._columns, frame.number, frame.pose, frame.geometry, self._isocenter_xyz_mm)

    def close(self) -> None:
        """Write the .npz and drop the temporary .npy."""
        self._images.close()
        write_npz(self._path, self._images_path, self._columns)


def add_columns(
    columns: Columns,
    number: int,
    pose: CarmPose,
    geometry: CarmGeometry,
    isocenter_xyz_mm: Sequence[float] | None,
) -> None:
    """Add what frames.npz says of one frame to its columns."""
    columns["number"].append(number)
    for name in ("source_to_detector_mm", "pixel_spacing_mm"):
        columns[name].append(getattr(geometry, name))
    for name, value in asdict(pose).items():
        columns[name].append(value)
    if isocenter_xyz_mm is not None:
        view = geometry.view(pose, isocenter_xyz_mm)
        columns["pixel_from_world"].append(view.pixel_from_world)


def write_npz(path: Path, images_path: Path, columns: Columns) -> None:
    """Move images into an .npz beside their columns; an earlier one is replaced.

    Args:
        path: Where.
        images_path: A .npy of all images, which is dropped at the end.
        columns: Values of each image, by name.

    Raises:
        OutputError: It cannot be written; the .npy is intact.
    """
    with whole_file(path) as unfinished:
        _zip(unfinished, images_path, columns)
    with writing(path):
        images_path.unlink()


def _zip(path: Path, images_path: Path, columns: Columns) -> None:
    with zipfile.ZipFile(path, "x") as archive:
        archive.write(images_path, "images.npy")
        for name, values in columns.items():
            with archive.open(f"{name}.npy", "w") as member:
                npy.write_array(member, np.asarray(values), allow_pickle=False)

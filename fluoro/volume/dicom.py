"""DICOM: one series of a folder, or one multi-frame file, as CT numbers on a right-angled grid."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fluoro.errors import InputError
from fluoro.volume.dicom_frame import Frame
from fluoro.volume.dicom_pixels import AIR_HU, FrameReader
from fluoro.volume.dicom_series import DicomFolder, Series, choose_series, scan, selected
from fluoro.volume.dicom_sets import differences, require_one_set
from fluoro.volume.dicom_stack import (
    Stack,
    mixed,
    require_alike,
    same_places,
    stacked,
)
from fluoro.volume.memory import require_memory
from fluoro.volume.planes import VolumePlanes
from fluoro.volume.read_options import ReadOptions
from fluoro.volume.volumes import HuVolume

__all__ = ["describe_dicom", "open_dicom", "read_dicom"]

log = logging.getLogger(__name__)

Plane = NDArray[np.float64]
Voxels = NDArray[np.int16] | NDArray[np.float32]


def describe_dicom(path: Path, options: ReadOptions) -> tuple[tuple[Path, ...], tuple[str, ...]]:
    """The files of the series that would be read, and what reading them would say.

    Raises:
        InputError: As `read_dicom`, as far as the headers tell.
    """
    series = _Reading(path, options)
    return series.files, tuple(f"{path}: {remark}" for remark in series.remarks)


def read_dicom(path: Path, options: ReadOptions) -> HuVolume:
    """CT numbers of one series: int16 where they are whole numbers in its range, else float32.

    What is done beyond reading (left out, dropped, resampled, padded) is said in the log.

    Raises:
        InputError: No series, several, images that do not form a stack, damaged or compressed in
            an unknown way, or more than fits in memory.
    """
    series = _Reading(path, options)
    shape_zyx = series.stack.grid.shape_zyx
    dtype = np.int16 if series.is_whole else np.float32
    require_memory(str(path), math.prod(shape_zyx) * np.dtype(dtype).itemsize)
    series.say()
    hu_zyx = _collected(series.planes(0, shape_zyx[0]), shape_zyx, dtype)
    return HuVolume(hu_zyx=hu_zyx, grid=series.stack.grid, source=series.name)


def open_dicom(path: Path, options: ReadOptions) -> VolumePlanes:
    """CT numbers of one series, image by image as they are needed.

    Raises:
        InputError: As `read_dicom`; damaged pixels are found while planes are read.
    """
    series = _Reading(path, options)
    series.say()
    return VolumePlanes(grid=series.stack.grid, source=series.name, read=series.planes)


class _Reading:
    """One series on its grid, whose planes can be read.

    Attributes:
        name: For records and messages.
        files: That it is made of.
        stack: The images on their grid.
        is_whole: Whether all CT numbers are whole numbers.
        remarks: What was left out, dropped or resampled.
    """

    def __init__(self, path: Path, options: ReadOptions) -> None:
        folder = scan(path)
        series = choose_series(folder, options.series)
        if path.is_file() and series.images == 1:
            raise InputError(f"{path}: is one slice; give the folder that holds its series")
        frames = selected(path, series, options.select)
        require_alike(path, frames)
        several = [key for key, values in options.select.items() if not isinstance(values, str)]
        require_one_set(path, frames, accepted=several)
        with FrameReader() as reader:
            single = _without_duplicates(path, frames, reader)
        self.stack = stacked(path, single, options.gaps)
        self.name = _name(path, series, folder)
        self.files = tuple(dict.fromkeys(frame.path for frame in frames))
        self.is_whole = all(f.slope.is_integer() and f.intercept.is_integer() for f in frames)
        left_out = f"left out: {folder.left_out_text()}" if folder.left_out else ""
        dropped = len(frames) - len(single)
        twice = f"{dropped} images that are there twice are used once" if dropped else ""
        remarks = (left_out, twice, *mixed(single), *self.stack.remarks)
        self.remarks = [text for text in remarks if text]
        self._path = path

    def say(self) -> None:
        """Log the remarks."""
        for remark in self.remarks:
            log.warning("%s: %s", self._path, remark)

    def planes(self, start: int, stop: int) -> Iterator[Plane]:
        """CT numbers of the grid's planes from `start` to before `stop`, resampled if need be."""
        stack, index = self.stack, None
        if stack.slice_index is not None:
            index = stack.slice_index[start:stop]
            start, stop = math.floor(index[0]), math.ceil(index[-1]) + 1
            index = index - start
        with FrameReader() as reader:
            planes = reader.planes(stack.frames[start:stop])
            if stack.shift_px is not None:
                planes = _straightened(planes, stack.shift_px[start:stop], stack.grid.shape_zyx[1:])
            if index is not None:
                planes = _interpolated(planes, index)
            resampled = stack.shift_px is not None or index is not None
            for plane in planes:
                yield np.rint(plane) if resampled and self.is_whole else plane
            _say_padding(self._path, stack, reader)


def _name(path: Path, series: Series, folder: DicomFolder) -> str:
    return f"{path} series {series}" if len(folder.series) > 1 else str(path)


def _without_duplicates(path: Path, frames: list[Frame], reader: FrameReader) -> list[Frame]:
    places = same_places(frames)
    for place in places:
        if len(place) > 1 and not _are_same(place, reader):
            raise InputError(
                f"{path}: {sum(len(p) > 1 for p in places)} places hold several different images, "
                f"such as {place[0].path.name} and {place[1].path.name}{differences(frames, place)}"
            )
    return [place[0] for place in places]


def _are_same(place: list[Frame], reader: FrameReader) -> bool:
    planes = reader.planes(place)
    first = next(planes)
    return all(np.array_equal(first, other) for other in planes)


def _say_padding(path: Path, stack: Stack, reader: FrameReader) -> None:
    if not reader.padded:
        return
    values = sorted({f.pixels.padding for f in stack.frames if f.pixels.padding})
    log.warning(
        "%s: %d pixels of the padding value (stored %s) are taken as air, %d HU",
        path, reader.padded, values[0], AIR_HU,
    )  # fmt: skip


def _straightened(
    planes: Iterable[Plane], shift_px: Plane, shape_yx: tuple[int, int]
) -> Iterator[Plane]:
    """Each image moved to where it lies, linearly between pixels; air where none is."""
    for plane, (x, y) in zip(planes, shift_px, strict=True):
        yield _moved(_moved(plane, x, shape_yx[1]).T, y, shape_yx[0]).T


def _moved(plane: Plane, shift_px: float, columns: int) -> Plane:
    """Columns moved up by `shift_px` >= 0, into so many columns."""
    start = math.floor(shift_px)
    fraction = shift_px - start
    wide = np.full((plane.shape[0], columns + 2), float(AIR_HU))
    end = min(columns + 2, start + 1 + plane.shape[1])
    wide[:, start + 1 : end] = plane[:, : end - start - 1]
    # wide[:, i + 1] is the plane at i - start
    return np.asarray((1 - fraction) * wide[:, 1:-1] + fraction * wide[:, :-2])


def _interpolated(planes: Iterator[Plane], slice_index: Plane) -> Iterator[Plane]:
    """Linearly between neighbours; `slice_index` rises from 0 to the last image."""
    low, below = 0, next(planes)
    above = next(planes, below)
    for at in slice_index:
        while at > low + 1:
            low, below, above = low + 1, above, next(planes, above)
        fraction = at - low
        yield (1 - fraction) * below + fraction * above


def _collected(
    planes: Iterable[Plane], shape_zyx: tuple[int, int, int], dtype: type[np.generic]
) -> Voxels:
    """All planes in one array; of float32 if a value does not fit the type asked for."""
    voxels = np.empty(shape_zyx, dtype)
    limits = np.iinfo(np.int16)
    for z, plane in enumerate(planes):
        if voxels.dtype == np.int16 and not (
            plane.min() >= limits.min and plane.max() <= limits.max
        ):
            voxels = voxels.astype(np.float32)
        voxels[z] = plane
    return voxels

"""DICOM: one series of a folder, or one multi-frame file, as CT numbers on a right-angled grid."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fluoro.config import ReadOptions
from fluoro.errors import InputError
from fluoro.volume.ct import Ct, CtFormat
from fluoro.volume.formats.dicom.image_sets import differences, require_one_set
from fluoro.volume.formats.dicom.images import Frame
from fluoro.volume.formats.dicom.pixels import AIR_HU, FrameReader
from fluoro.volume.formats.dicom.series import (
    DicomFolder,
    Series,
    choose_series,
    is_dicom,
    scan,
    selected,
)
from fluoro.volume.formats.dicom.stack import (
    Stack,
    mixed,
    require_alike,
    same_places,
    stacked,
)
from fluoro.volume.grid import VolumeGrid
from fluoro.volume.host_memory import require_memory
from fluoro.volume.slice_reader import VolumePlanes

__all__ = ["DICOM", "DicomCt"]

log = logging.getLogger(__name__)

Plane = NDArray[np.float64]
Voxels = NDArray[np.int16] | NDArray[np.float32]


class DicomCt(Ct):
    """One series on its grid, whose images are decoded as they are needed.

    What is done beyond reading (left out, dropped, resampled) is in the remarks; the padding that
    becomes air is logged once it is met.

    Args:
        path: A folder, or a multi-frame file.
        options: Which series and images, and what becomes of missing slices.

    Raises:
        InputError: No series, several, images that do not form a stack, or damaged headers.
    """

    kind = "DICOM"

    def __init__(self, path: Path, options: ReadOptions) -> None:
        super().__init__(path)
        folder = scan(path)
        wanted = None if options.series is None else str(options.series)
        series = choose_series(folder, wanted)
        if path.is_file() and series.images == 1:
            raise InputError(f"{path}: is one slice; give the folder that holds its series")
        frames = selected(path, series, options.select)
        require_alike(path, frames)
        several = [key for key, values in options.select.items() if not isinstance(values, str)]
        require_one_set(path, frames, accepted=several)
        with FrameReader() as reader:
            single = _without_duplicates(path, frames, reader)
        self._stack = stacked(path, single, options.gaps)
        self.source = _source(path, series, folder)
        self.files = tuple(dict.fromkeys(frame.path for frame in frames))
        self._is_whole = all(f.slope.is_integer() and f.intercept.is_integer() for f in frames)
        left_out = f"left out: {folder.left_out_text()}" if folder.left_out else ""
        dropped = len(frames) - len(single)
        twice = f"{dropped} images that are there twice are used once" if dropped else ""
        remarks = (left_out, twice, *mixed(single), *self._stack.remarks)
        self.remarks = tuple(f"{path}: {text}" for text in remarks if text)

    @property
    def grid(self) -> VolumeGrid:
        """Where the voxels lie in the patient."""
        return self._stack.grid

    @cached_property
    def planes(self) -> VolumePlanes:
        """CT numbers image by image."""
        return VolumePlanes(grid=self.grid, source=self.source, read=self._planes)

    def array(self) -> Voxels:
        """Return the CT numbers [HU], shape (z, y, x)."""
        shape_zyx = self.grid.shape_zyx
        dtype = np.int16 if self._is_whole else np.float32
        require_memory(str(self.path), math.prod(shape_zyx) * np.dtype(dtype).itemsize)
        return _collected(self._planes(0, shape_zyx[0]), shape_zyx, dtype)

    def _planes(self, start: int, stop: int) -> Iterator[Plane]:
        """CT numbers of the grid's planes from `start` to before `stop`, resampled if need be."""
        stack, index = self._stack, None
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
                yield np.rint(plane) if resampled and self._is_whole else plane
            _say_padding(self.path, stack, reader)


def _source(path: Path, series: Series, folder: DicomFolder) -> str:
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
    """Return columns moved up by `shift_px` >= 0, `columns` of them."""
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
    """All planes in one array; of float32 if a value does not fit the type requested."""
    voxels = np.empty(shape_zyx, dtype)
    limits = np.iinfo(np.int16)
    for z, plane in enumerate(planes):
        if voxels.dtype == np.int16 and not (
            plane.min() >= limits.min and plane.max() <= limits.max
        ):
            voxels = voxels.astype(np.float32)
        voxels[z] = plane
    return voxels


DICOM = CtFormat(
    name="DICOM",
    options=frozenset({"series", "select", "gaps"}),
    open=DicomCt,
    holds=lambda path: path.is_dir() or is_dicom(path),
)

"""An X-ray file: its frames as values whose meaning is known, and where the C-arm stood."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluoro.errors import InputError
from fluoro.volume.formats.dicom.images import PixelFormat, pixel_format
from fluoro.volume.formats.dicom.pixels import FrameReader, is_padding, significant
from fluoro.xray_files.covered import open_pixels
from fluoro.xray_files.geometry import FrameGeometry, GeometryReader
from fluoro.xray_files.header import XrayHeader, one_line, read_header
from fluoro.xray_files.meaning import Lookup, Meaning, meaning_of, modality_lookup
from fluoro.xray_files.notes import Notes
from fluoro.xray_files.times import frame_times_s

__all__ = ["XrayFile", "XrayFrame"]

Image = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, eq=False)
class XrayFrame:
    """One frame, turned as the C-arm has it.

    Attributes:
        values: Shape (height, width); what they are the meaning says.
        mask: Pixels that are no padding and not covered by collimator or shutter, same shape.
        meaning: Of the values.
        saturation: Value of the largest stored number; None: of values that are no intensity.
        geometry: Of the C-arm.
        time_s: Since the first frame [s].
    """

    values: Image
    mask: Mask
    meaning: Meaning
    saturation: float | None
    geometry: FrameGeometry
    time_s: float


@dataclass(frozen=True, kw_only=True)
class _Stored:
    """Where a frame is stored, for the decoder."""

    path: Path
    index: int
    rows: int
    columns: int
    compressed: bool


class XrayFile:
    """An X-ray image in DICOM: XA, XRF, RF, DX, CR, Enhanced XA or a secondary capture of these.

    Single frames of a compressed file come from one decoding process, which ends with the object or
    with `close`.

    Args:
        path: The file.

    Attributes:
        header: Its header.
        notes: What is missing, assumed or contradictory; complete once everything was requested.

    Raises:
        InputError: No X-ray image, or a damaged one; the message names the attribute.
    """

    def __init__(self, path: Path | str) -> None:
        path = Path(path)
        self.header: XrayHeader = read_header(path)
        self.notes = Notes()
        self._single_frames = FrameReader()
        with one_line(self.path):
            self._reader = GeometryReader(self.header, self.notes)

    @property
    def path(self) -> Path:
        """The file."""
        return self.header.path

    @property
    def count(self) -> int:
        """Number of frames."""
        return self.header.frames

    @cached_property
    def times_s(self) -> tuple[float, ...]:
        """Time of each frame since the first one [s]."""
        with one_line(self.path):
            return frame_times_s(self.header, self.notes)

    def geometry(self, number: int) -> FrameGeometry:
        """Return what the file says of the C-arm at a frame, counted from 1 as viewers do.

        Raises:
            InputError: There is no such frame, or an attribute cannot be read.
        """
        index = self._index(number)
        with one_line(self.path):
            return self._reader.frame(index)

    def frame(self, number: int) -> XrayFrame:
        """Return one frame, counted from 1.

        Raises:
            InputError: There is no such frame, or it cannot be read.
        """
        return next(self._frames([self._index(number)], self._single_frames))

    def read(self, first: int, last: int) -> Generator[XrayFrame, None, None]:
        """Yield the frames from `first` to `last`, counted from 1, one after the other.

        Raises:
            InputError: There is no such frame, or it cannot be read.
        """
        indices = range(self._index(first), self._index(last) + 1)
        with FrameReader() as reader:
            yield from self._frames(indices, reader)

    def close(self) -> None:
        """End the decoding process of single frames; a later `frame` starts another one."""
        self._single_frames.close()

    def _frames(
        self, indices: Sequence[int], reader: FrameReader
    ) -> Generator[XrayFrame, None, None]:
        with one_line(self.path):
            stored = [self._stored(index) for index in indices]
            for index in indices:
                pixel_format(self.header.frame_tags(index))
        for index, values in zip(indices, reader.stored(stored), strict=True):
            with one_line(self.path):
                frame = self._frame(index, values)
            yield frame

    def _index(self, number: int) -> int:
        if not 1 <= number <= self.count:
            frames = "frame" if self.count == 1 else f"frames, numbered 1 to {self.count}"
            raise InputError(f"{self.path}: has {self.count} {frames}; there is no frame {number}")
        return number - 1

    def _stored(self, index: int) -> _Stored:
        tags = self.header.frame_tags(index)
        return _Stored(
            path=self.path,
            index=index,
            rows=tags.count("Rows", 1, 65535),
            columns=tags.count("Columns", 1, 65535),
            compressed=self.header.compressed,
        )

    def _frame(self, index: int, stored: NDArray[Any]) -> XrayFrame:
        tags = self.header.frame_tags(index)
        pixels, lookup = pixel_format(tags), modality_lookup(tags)
        whole = significant(stored, pixels)
        mask = open_pixels(tags, whole.shape[1], whole.shape[0])
        padding = is_padding(stored, whole, pixels)
        kept = np.ones(whole.shape, bool) if mask is None else mask
        kept = kept if padding is None else kept & ~padding
        meaning = meaning_of(self.header, tags, self.notes)
        geometry = self._reader.frame(index)
        values = lookup.of(whole) * meaning.sign
        return XrayFrame(
            values=np.asarray(geometry.orientation.of(values), np.float64),
            mask=np.asarray(geometry.orientation.of(kept), bool),
            meaning=meaning,
            saturation=_saturation(pixels, lookup) if meaning.kind == "raw" else None,
            geometry=geometry,
            time_s=self.times_s[index],
        )


def _saturation(pixels: PixelFormat, lookup: Lookup) -> float:
    """Value of the largest number that the stored bits can hold."""
    bits = pixels.bits_stored - pixels.signed
    largest = lookup.of(np.array([(1 << bits) - 1]))
    return float(largest[0]) if math.isfinite(largest[0]) else math.inf

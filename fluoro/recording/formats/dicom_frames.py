"""Frames as multi-frame X-ray images in DICOM, frames.dcm, and the dose report, dose.dcm."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluoro.files.atomic_write import WholeAppends, whole_file
from fluoro.imaging.frame import FluoroFrame
from fluoro.xray_files.classic import classic_dataset
from fluoro.xray_files.dose_report import dose_report
from fluoro.xray_files.enhanced import enhanced_dataset
from fluoro.xray_files.recorded import RecordedFrame, Recording

__all__ = ["PIXELS_NAME", "DicomFrames", "repair_dicom", "write_dicom"]

PIXELS_NAME = "frames-recording-{}.raw"
"""Of the files that hold the pixels while they are recorded, counted from 1."""
MOST_FRAMES = 4000
"""In a file: the angles' increments are text, of which an attribute holds 65534 characters."""
MOST_BYTES = 0xFFFFFFFE
"""Of pixels in a file."""


class DicomFrames:
    """frames.dcm, and frames-2.dcm and so on where one file cannot hold a run.

    XA and XRF have one source-to-detector distance and one pixel spacing, so a new file begins
    where the console changes them; also after 4000 frames and before 4 GiB.

    Args:
        folder: Where the files go.
        recording: How they are written.
        fps: Frame rate [1/s], where frames do not say when they are shown.
        dose_report: Whether dose.dcm is written, where the dose is known.

    Raises:
        OutputError: A file cannot be written.
    """

    def __init__(
        self, folder: Path, recording: Recording, fps: float, *, dose_report: bool
    ) -> None:
        self._folder, self._recording, self._fps = folder, recording, fps
        self._dose_report = dose_report
        self._parts: list[list[RecordedFrame]] = []
        self._file: WholeAppends | None = None

    def write(self, frame: FluoroFrame) -> None:
        """Append one frame."""
        row = recorded(frame, self._fps)
        if not self._parts or _begins_part(self._recording, self._parts[-1], row):
            self._next_part()
        if self._file:
            self._file.append(stored(frame.image, self._recording.bits).tobytes())
        self._parts[-1].append(row)

    def _next_part(self) -> None:
        if self._file:
            self._file.close()
        self._parts.append([])
        self._file = WholeAppends(self._folder / PIXELS_NAME.format(len(self._parts)))

    def close(self) -> None:
        """Write the DICOM files and drop the temporary ones."""
        if self._file:
            self._file.close()
        write_dicom(self._folder, self._recording, self._parts, dose_report=self._dose_report)


def recorded(frame: FluoroFrame, fps: float) -> RecordedFrame:
    """Return what is known of a frame besides its image."""
    exposure = frame.exposure
    return RecordedFrame(
        pose=frame.pose,
        geometry=frame.geometry,
        time_s=frame.number / fps if frame.shown_s is None else frame.shown_s,
        pulse=frame.pulse,
        tube=exposure.pulse.tube if exposure else None,
        total=exposure.total if exposure else None,
    )


def stored(image: NDArray[np.float32], bits: int) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Return display values [0, 1] as whole numbers of `bits` bits, rounded to the nearest."""
    top = (1 << bits) - 1
    levels = np.clip(image.astype(np.float64) * top + 0.5, 0, top)
    return levels.astype(np.uint8) if bits == 8 else levels.astype("<u2")


def parts_of(recording: Recording, frames: Iterable[RecordedFrame]) -> list[list[RecordedFrame]]:
    """Return the frames by the file that holds them."""
    parts: list[list[RecordedFrame]] = []
    for frame in frames:
        if not parts or _begins_part(recording, parts[-1], frame):
            parts.append([])
        parts[-1].append(frame)
    return parts


def repair_dicom(
    folder: Path, recording: Recording, frames: Iterable[RecordedFrame], *, dose_report: bool
) -> dict[Path, int]:
    """Make the DICOM files of a run that was killed: as many frames as have all their pixels.

    Args:
        folder: Of the run, with the files of pixels.
        recording: How the files are written.
        frames: What is known of each frame.
        dose_report: Whether dose.dcm is written, where the dose is known.

    Returns:
        Frames by file.

    Raises:
        OutputError: A file cannot be written; the files of pixels are intact.
    """
    whole = []
    for number, part in enumerate(parts_of(recording, frames), 1):
        pixels = folder / PIXELS_NAME.format(number)
        there = pixels.stat().st_size // _frame_bytes(recording, part[0]) if pixels.exists() else 0
        if part[:there]:
            whole.append(part[:there])
    paths = write_dicom(folder, recording, whole, dose_report=dose_report)
    for left in folder.glob(PIXELS_NAME.format("*")):  # without a whole frame
        left.unlink()
    return {path: len(part) for path, part in zip(paths, whole, strict=True)}


def _frame_bytes(recording: Recording, frame: RecordedFrame) -> int:
    pixels = frame.geometry.detector_width_px * frame.geometry.detector_height_px
    return pixels * (1 if recording.bits == 8 else 2)


def _begins_part(recording: Recording, part: Sequence[RecordedFrame], frame: RecordedFrame) -> bool:
    if not part:
        return False
    most = min(MOST_FRAMES, MOST_BYTES // _frame_bytes(recording, frame))
    full = len(part) >= most
    changed = recording.object != "enhanced_xa" and part[0].geometry != frame.geometry
    return full or changed


def write_dicom(
    folder: Path,
    recording: Recording,
    parts: Sequence[Sequence[RecordedFrame]],
    *,
    dose_report: bool,
) -> list[Path]:
    """Write a DICOM file for each part whose pixels are there, then the dose report.

    Args:
        folder: With the files of pixels, which are dropped at the end.
        recording: How they are written.
        parts: What is known of each frame, by file.
        dose_report: Whether dose.dcm is written, where the dose is known.

    Returns:
        The images' files.

    Raises:
        OutputError: A file cannot be written; the files of pixels are intact.
    """
    make = enhanced_dataset if recording.object == "enhanced_xa" else classic_dataset
    paths, images = [], []
    for number, frames in enumerate(parts, 1):
        geometry = frames[0].geometry
        size = (geometry.detector_width_px, geometry.detector_height_px)
        ds = make(recording, frames, size, number)
        path = folder / ("frames.dcm" if number == 1 else f"frames-{number}.dcm")
        _save(path, ds, folder / PIXELS_NAME.format(number))
        paths.append(path)
        images.append((str(ds.SOPClassUID), str(ds.SOPInstanceUID)))
    _write_report(folder, recording, [f for part in parts for f in part], images, dose_report)
    for number in range(1, len(parts) + 1):
        (folder / PIXELS_NAME.format(number)).unlink()
    return paths


def _write_report(
    folder: Path,
    recording: Recording,
    frames: Sequence[RecordedFrame],
    images: Sequence[tuple[str, str]],
    wanted: bool,
) -> None:
    total = frames[-1].total if frames else None
    if wanted and total and total.pulses:
        _save(folder / "dose.dcm", dose_report(recording, frames, images))


def _save(path: Path, ds: Any, pixels: Path | None = None) -> None:
    """Write a dataset whole or not at all, its pixels from a file."""
    with whole_file(path) as unfinished:
        if pixels is None:
            ds.save_as(unfinished, enforce_file_format=True)
            return
        count = int(ds.get("NumberOfFrames", 1)) * ds.Rows * ds.Columns
        count *= ds.BitsAllocated // 8
        os.truncate(pixels, count + count % 2)  # without a piece of a frame, and even
        with pixels.open("rb") as file:
            ds.PixelData = file
            ds["PixelData"].VR = "OB" if ds.BitsAllocated == 8 else "OW"
            ds.save_as(unfinished, enforce_file_format=True)

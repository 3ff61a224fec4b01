"""The recorder: a bounded queue and one thread that writes the frames to the run's folder."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from fluoro.config import RecorderConfig
from fluoro.errors import OutputError
from fluoro.files.image_files import PngFrames
from fluoro.imaging.frame import FluoroFrame, to_uint8
from fluoro.recording.formats.array_files import NpyStream, NpzFrames
from fluoro.recording.formats.coco_writer import CocoWriter
from fluoro.recording.formats.dicom_frames import DicomFrames
from fluoro.recording.formats.mp4_writer import Film
from fluoro.recording.formats.projection_files import ProjectionFiles
from fluoro.recording.frame_sampler import EvenSample
from fluoro.recording.journal import FrameJournal
from fluoro.xray_files.recorded import Recording

__all__ = ["Recorder"]

logger = logging.getLogger(__name__)

NO_IMAGE, NO_GREY = np.empty((0, 0), np.float32), np.empty((0, 0), np.uint8)
"""Replaces an image that is not used."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Taken:
    """A frame as it waits in the queue: its own copies, for the source may reuse its buffer.

    Attributes:
        frame: The frame, its image empty where no format needs floats.
        grey: The image in 8-bit grey levels, empty where no format needs them.
        recorded: Whether the image is recorded; False: the queue had no room for it.
    """

    frame: FluoroFrame
    grey: NDArray[np.uint8]
    recorded: bool = True


@dataclass(frozen=True, kw_only=True)
class _Writer:
    write: Callable[[_Taken], None]
    close: Callable[[], None]


class Recorder:
    """Writes frames beside the stream, into a file of each format: `frames.mp4`, `frames.dcm` ...

    Args:
        folder: The run's folder, which exists; nothing in it is overwritten.
        cfg: Formats and length of the queue.
        fps: Frame rate [1/s] of the film, where frames do not say when they are shown.
        drop_when_full: What a full queue does: drop the frame and count it, or make `put` wait.
        on_error: Called once, from the writing thread, when it has to give up.
        sample: Keeps a few of the written frames for the contact sheet and the movie.
        isocenter_xyz_mm: Isocentre of the untranslated C-arm, patient LPS [mm], for the matrices
            in frames.npz; None: it has none.
        journal: Notes every frame before its image is written; None: no journal.
        dicom: How the format dicom is written; None: it cannot be.
        annotations: Takes the truth of every frame; None: there is none.

    Raises:
        OutputError: A file cannot be made.
    """

    def __init__(
        self,
        folder: Path,
        cfg: RecorderConfig,
        fps: float,
        *,
        drop_when_full: bool,
        on_error: Callable[[Exception], None] | None = None,
        sample: EvenSample | None = None,
        isocenter_xyz_mm: Sequence[float] | None = None,
        journal: FrameJournal | None = None,
        dicom: Recording | None = None,
        annotations: CocoWriter | None = None,
    ) -> None:
        self._capacity = cfg.queue_frames
        self._keeps_floats = not {"npy", "npz", "dicom"}.isdisjoint(cfg.formats)
        self._keeps_grey = sample is not None or not {"mp4", "png"}.isdisjoint(cfg.formats)
        self._drop_when_full = drop_when_full
        self._on_error = on_error
        self._sample, self._journal = sample, journal
        self._waiting: deque[_Taken] = deque()
        self._backlog = 0
        self._changed = threading.Condition()
        self._closing = False
        self._error: Exception | None = None
        self._told = False
        self._dropped = self._written = 0
        self._writers = _writers(folder, cfg, fps, isocenter_xyz_mm, dicom)
        if annotations:
            self._writers.append(_truth(annotations))
        self._thread = threading.Thread(target=self._run, name="fluoro-recorder", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """Frames refused because the queue was full."""
        return self._dropped

    @property
    def written(self) -> int:
        """Frames that are in every file."""
        return self._written

    @property
    def backlog(self) -> int:
        """Images that wait to be written."""
        return self._backlog

    def put(self, frame: FluoroFrame) -> bool:
        """Hand over a frame; its image is copied.

        Returns:
            False if the queue was full and the frame was dropped.

        Raises:
            OutputError: An earlier frame could not be written, or the recorder is closed.
        """
        with self._changed:
            if not self._drop_when_full:
                self._changed.wait_for(self._may_go_on)
            if self._error:
                self._waiting.append(_without_image(frame))
                self._changed.notify_all()
                self._raise_error()
            if self._closing:
                raise OutputError(f"frame {frame.number} came after the recorder was closed")
            room = self._backlog < self._capacity
            self._waiting.append(self._taken(frame) if room else _without_image(frame))
            self._backlog += room
            self._dropped += not room
            self._changed.notify_all()
        return room

    def _may_go_on(self) -> bool:
        return self._backlog < self._capacity or self._closing or self._error is not None

    def _taken(self, frame: FluoroFrame) -> _Taken:
        image = frame.image.copy() if self._keeps_floats else NO_IMAGE
        grey = to_uint8(frame.image) if self._keeps_grey else NO_GREY
        return _Taken(frame=replace(frame, image=image), grey=grey)

    def close(self) -> None:
        """Write what waits and close the files; a second call does nothing.

        Raises:
            OutputError: Something could not be written and no `put` has reported it.
        """
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join()
        if not self._told:
            self._raise_error()

    def __enter__(self) -> Self:
        """Return itself; the `with` block closes it."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the files."""
        self.close()

    def _raise_error(self) -> None:
        if self._error:
            self._told = True
            raise self._error

    def _run(self) -> None:
        self._note(_failure(self._write_all))
        if self._error:
            self._note(_failure(self._write_rows))
        for writer in self._writers:
            self._note(_failure(writer.close))

    def _write_all(self) -> None:
        while taken := self._next():
            if self._journal:
                self._journal.write(taken.frame, recorded=taken.recorded)
            for writer in self._writers if taken.recorded else ():
                writer.write(taken)
            if self._sample and taken.recorded:
                frame = taken.frame
                self._sample.offer(taken.grey, frame.number, frame.pose, frame.geometry)
            self._written += taken.recorded

    def _write_rows(self) -> None:
        """Note the frames that come although their images can no longer be written."""
        while taken := self._next():
            if self._journal:
                self._journal.write(taken.frame, recorded=False)

    def _next(self) -> _Taken | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closing)
            taken = self._waiting.popleft() if self._waiting else None
            self._backlog -= taken.recorded if taken else 0
            self._changed.notify_all()
        return taken

    def _note(self, error: Exception | None) -> None:
        """Keep and report the first failure, and release a thread that waits to put a frame."""
        if error is None or self._error:
            return
        with self._changed:
            self._error = error
            self._changed.notify_all()
        if self._on_error:
            self._on_error(error)


def _without_image(frame: FluoroFrame) -> _Taken:
    return _Taken(frame=replace(frame, image=NO_IMAGE), grey=NO_GREY, recorded=False)


def _failure(step: Callable[[], None]) -> Exception | None:
    try:
        step()
    except OutputError as error:
        return error
    except Exception as error:
        logger.exception("the recorder failed")
        return error
    return None


def _writers(
    folder: Path,
    cfg: RecorderConfig,
    fps: float,
    isocenter_xyz_mm: Sequence[float] | None,
    dicom: Recording | None,
) -> list[_Writer]:
    makers = {
        "mp4": lambda: _film(folder, fps),
        "png": lambda: _images(folder),
        "npy": lambda: _npy(folder),
        "npz": lambda: _npz(folder, isocenter_xyz_mm),
        "dicom": lambda: _dicom(folder, cfg, fps, dicom),
        "geometry": lambda: _geometry(folder, isocenter_xyz_mm),
    }
    return [makers[name]() for name in dict.fromkeys(cfg.formats)]


def _film(folder: Path, fps: float) -> _Writer:
    film = Film(folder / "frames.mp4", fps)

    def write(taken: _Taken) -> None:
        shown_s = taken.frame.shown_s
        film.write(taken.grey, taken.frame.number / fps if shown_s is None else shown_s)

    return _Writer(write=write, close=film.close)


def _images(folder: Path) -> _Writer:
    images = PngFrames(folder / "frames")
    return _Writer(
        write=lambda taken: images.write(taken.frame.number, taken.grey), close=lambda: None
    )


def _truth(annotations: CocoWriter) -> _Writer:
    return _Writer(write=lambda taken: annotations.write(taken.frame), close=annotations.close)


def _npy(folder: Path) -> _Writer:
    stream = NpyStream(folder / "frames.npy")
    return _Writer(write=lambda taken: stream.write(taken.frame.image), close=stream.close)


def _npz(folder: Path, isocenter_xyz_mm: Sequence[float] | None) -> _Writer:
    archive = NpzFrames(folder, isocenter_xyz_mm)
    return _Writer(write=lambda taken: archive.write(taken.frame), close=archive.close)


def _dicom(folder: Path, cfg: RecorderConfig, fps: float, recording: Recording | None) -> _Writer:
    if recording is None:
        raise OutputError(f"{folder}: the format dicom needs to know how the run is made")
    frames = DicomFrames(folder, recording, fps, dose_report=cfg.dicom.dose_report)
    return _Writer(write=lambda taken: frames.write(taken.frame), close=frames.close)


def _geometry(folder: Path, isocenter_xyz_mm: Sequence[float] | None) -> _Writer:
    files = ProjectionFiles(folder, isocenter_xyz_mm or (0.0, 0.0, 0.0))
    return _Writer(write=lambda taken: files.write(taken.frame), close=files.close)

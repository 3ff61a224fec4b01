"""Grey frames to an MP4 that stays playable when the program dies."""

from __future__ import annotations

from contextlib import closing
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import av
import numpy as np
from av.video.stream import VideoStream
from numpy.typing import NDArray

from fluoro.io.writing import writing

__all__ = ["Film"]

QUALITY = "18"
"""x264's crf: visually lossless."""
CONTAINER_OPTIONS = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}
"""The index is written with each fragment, so a file cut short plays up to the last one."""
FRAGMENT_S = 0.5
"""Time between key frames [s], which is what a crash can cost."""


class _WholeBoxes:
    """Gathers what the muxer writes, so that the file on disk grows by whole fragments only."""

    def __init__(self, path: Path) -> None:
        self._file: BinaryIO = path.open("xb", buffering=0)
        self._gathered = bytearray()
        self._length = 0

    def write(self, data: bytes) -> int:
        self._gathered += data
        return len(data)

    def commit(self) -> None:
        """Put the gathered bytes on disk; a disk that fills up takes the old length back."""
        data = memoryview(bytes(self._gathered))
        self._gathered.clear()
        length = self._length + len(data)
        try:
            while data:
                data = data[self._file.write(data) :]
        except OSError:
            self._file.truncate(self._length)
            raise
        self._length = length

    def close(self) -> None:
        self._file.close()


class Film:
    """H.264 in MP4, yuv420p: every player opens it. Odd sizes grow by one repeated row or column.

    Args:
        path: File to make.
        fps: Frames per second of play.
        preset: x264's: `ultrafast` leaves the cores to the renderer, `medium` makes small files.

    Raises:
        OutputError: The file cannot be written, or exists.
    """

    def __init__(self, path: Path, fps: float, *, preset: str = "ultrafast") -> None:
        self._path = path
        self._options = {"crf": QUALITY, "preset": preset}
        self._rate = Fraction(fps).limit_denominator(1000)
        self._stream: VideoStream | None = None
        self._start: int | None = None
        self._next_pts = 0
        with writing(path):
            self._boxes = _WholeBoxes(path)
            self._container = av.open(
                self._boxes, "w", format="mp4", container_options=CONTAINER_OPTIONS
            )

    def write(self, pixels: NDArray[np.uint8], ticks: int | None = None) -> None:
        """Add a picture, (height, width) grey or (height, width, 3) RGB.

        Args:
            pixels: Grey levels or colours, the same shape every time.
            ticks: When it is shown, in 1/fps from any start; None: right after the one before.
        """
        even = _even(pixels)
        frame = av.VideoFrame.from_ndarray(even, format="gray" if even.ndim == 2 else "rgb24")
        frame.pts = self._pts(ticks)
        with writing(self._path):
            stream = self._stream = self._stream or self._open_stream(even.shape)
            frame.time_base = 1 / self._rate
            self._container.mux(stream.encode(frame.reformat(format="yuv420p")))
            self._boxes.commit()

    def _pts(self, ticks: int | None) -> int:
        """Ticks from the first picture's, always growing: dropped frames leave a gap in time."""
        if self._start is None:
            self._start = ticks or 0
        pts = max(self._next_pts, 0 if ticks is None else ticks - self._start)
        self._next_pts = pts + 1
        return pts

    def _open_stream(self, shape: tuple[int, ...]) -> VideoStream:
        stream = self._container.add_stream("libx264", rate=self._rate, options=self._options)
        stream.height, stream.width = shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.gop_size = max(1, round(self._rate * Fraction(FRAGMENT_S)))
        stream.codec_context.time_base = 1 / self._rate
        stream.codec_context.thread_count = 1
        return stream

    def close(self) -> None:
        """Write what the encoder still holds, and the end of the file."""
        with writing(self._path), closing(self._boxes):
            if self._stream:
                self._container.mux(self._stream.encode(None))
            self._container.close()
            self._boxes.commit()


def _even(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = pixels.shape[:2]
    if height % 2 == 0 and width % 2 == 0:
        return np.ascontiguousarray(pixels)
    pad = [(0, height % 2), (0, width % 2), (0, 0)][: pixels.ndim]
    return np.pad(pixels, pad, mode="edge")

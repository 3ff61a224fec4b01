"""Grey frames to an MP4 that stays playable when the program dies."""

from __future__ import annotations

from contextlib import closing
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fluoro.files.atomic_write import WholeAppends, writing

if TYPE_CHECKING:
    from av.video.frame import PictureType
    from av.video.stream import VideoStream

__all__ = ["Film"]

QUALITY = "18"
"""x264's crf: visually lossless."""
CONTAINER_OPTIONS = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}
"""The index is written with each fragment, so a file cut short plays up to the last one."""
FRAGMENT_S = 0.5
"""Time between key frames [s], which is what a crash can cost."""
TICKS_PER_S = 90_000
"""Of the film's clock, as films have it: 30 and 25 frames a second are whole ticks apart."""
LONGEST_PAUSE_S = 3600.0
"""Longest time that a film shows one image [s]: its container counts ticks in 32 bits."""


class _WholeBoxes:
    """Gathers what the muxer writes, so that the file on disk grows by whole fragments only."""

    def __init__(self, path: Path) -> None:
        self._file = WholeAppends(path)
        self._gathered = bytearray()

    def write(self, data: bytes) -> int:
        self._gathered += data
        return len(data)

    def commit(self) -> None:
        """Put the gathered bytes on disk."""
        data = bytes(self._gathered)
        self._gathered.clear()
        self._file.append(data)

    def close(self) -> None:
        self._file.close()


class _Times:
    """Times of images as ticks from the first one's, which always grow.

    Args:
        fps: Images per second where they come without times.
    """

    def __init__(self, fps: float) -> None:
        self._step = max(1, round(TICKS_PER_S / fps))
        self._start: tuple[int, float] | None = None
        self._last: tuple[int, float] = (-self._step, 0.0)

    def pts(self, time_s: float | None) -> int:
        """Ticks of the next image, shown at a time [s]; None: right after the one before."""
        pts, last_s = self._last
        if time_s is None:
            self._last = pts + self._step, last_s
        else:
            start_pts, start_s = self._start = self._start_of(time_s)
            since = round((time_s - start_s) * TICKS_PER_S)
            self._last = max(pts + 1, start_pts + since), time_s
        return self._last[0]

    def _start_of(self, time_s: float) -> tuple[int, float]:
        """From where a time is counted: ticks and seconds of the last leap, or of the first."""
        pts, last_s = self._last
        if self._start is None or time_s <= last_s:
            return pts + self._step, time_s
        if time_s - last_s > LONGEST_PAUSE_S:
            return pts + round(LONGEST_PAUSE_S * TICKS_PER_S), time_s
        return self._start


class Film:
    """H.264 in MP4, yuv420p: every player opens it. Odd sizes grow by one repeated row or column.

    The first image is shown at 0; no image refers to a later one, which would delay it.

    Args:
        path: File to make.
        fps: Frames per second of play, where the images come without times.
        preset: x264's: `ultrafast` leaves the cores to the renderer, `medium` makes small files.

    Raises:
        OutputError: The file cannot be written, or exists.
    """

    def __init__(self, path: Path, fps: float, *, preset: str = "ultrafast") -> None:
        self._path = path
        self._options = {"crf": QUALITY, "preset": preset, "bf": "0", "forced-idr": "1"}
        self._rate = Fraction(fps).limit_denominator(1000)
        self._stream: VideoStream | None = None
        self._times = _Times(fps)
        self._fragment_pts: int | None = None
        import av

        with writing(path):
            self._boxes = _WholeBoxes(path)
            self._container = av.open(
                self._boxes, "w", format="mp4", container_options=CONTAINER_OPTIONS
            )

    def write(self, pixels: NDArray[np.uint8], time_s: float | None = None) -> None:
        """Add an image, (height, width) grey or (height, width, 3) RGB.

        Args:
            pixels: Grey levels or colours, the same shape every time.
            time_s: When it is shown, from any start [s]: a dropped frame leaves a gap, and at most
                an hour is shown of a longer one; None, or not after the one before: 1/fps later.
        """
        from av import VideoFrame

        even = _even(pixels)
        image = VideoFrame.from_ndarray(even, format="gray" if even.ndim == 2 else "rgb24")
        frame = image.reformat(format="yuv420p")
        frame.pts, frame.time_base = self._times.pts(time_s), Fraction(1, TICKS_PER_S)
        frame.pict_type = self._image_type(frame.pts)
        with writing(self._path):
            stream = self._stream = self._stream or self._open_stream(even.shape)
            self._container.mux(stream.encode(frame))
            self._boxes.commit()

    def _image_type(self, pts: int) -> PictureType:
        """A key frame where a fragment has lasted long enough, otherwise the encoder's choice."""
        from av.video.frame import PictureType

        begun = self._fragment_pts
        if begun is not None and pts - begun < FRAGMENT_S * TICKS_PER_S:
            return PictureType.NONE
        self._fragment_pts = pts
        return PictureType.I

    def _open_stream(self, shape: tuple[int, ...]) -> VideoStream:
        stream = self._container.add_stream("libx264", rate=self._rate, options=self._options)
        stream.height, stream.width = shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, TICKS_PER_S)
        stream.codec_context.thread_count = 1
        return stream

    def close(self) -> None:
        """Write what the encoder still holds, and the end of the file; without images, no file."""
        with writing(self._path):
            with closing(self._boxes):
                if self._stream:
                    self._container.mux(self._stream.encode(None))
                self._container.close()
                self._boxes.commit()
            if self._stream is None:
                self._path.unlink(missing_ok=True)


def _even(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = pixels.shape[:2]
    if height % 2 == 0 and width % 2 == 0:
        return np.ascontiguousarray(pixels)
    pad = [(0, height % 2), (0, width % 2), (0, 0)][: pixels.ndim]
    return np.pad(pixels, pad, mode="edge")

"""CT numbers of DICOM images, one image at a time."""

from __future__ import annotations

import itertools
import json
import os
import selectors
import subprocess
import sys
import time
import warnings
import weakref
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fluoro.errors import InputError
from fluoro.volume.formats.dicom import pixel_decoder
from fluoro.volume.formats.dicom.images import Frame, PixelFormat

__all__ = ["AIR_HU", "FrameReader", "StoredImage", "is_padding", "significant"]

AIR_HU = -1024
"""Given to what the scanner did not measure: the lowest CT number of the 12 bits."""
PATIENCE_S = 60.0
"""For one image to be decoded: a hundred times what the slowest takes."""


class _RefusedError(Exception):
    """The decoding process says why it cannot decode."""


class StoredImage(Protocol):
    """Where an image is stored, and how large it must be; `Frame` is one."""

    @property
    def path(self) -> Path:
        """Its file."""

    @property
    def index(self) -> int:
        """Which image of the file, from 0."""

    @property
    def rows(self) -> int:
        """Number of rows."""

    @property
    def columns(self) -> int:
        """Number of columns."""

    @property
    def compressed(self) -> bool:
        """Whether the file's pixels need a decoder."""


class FrameReader:
    """Decodes images; a context manager, which ends its decoding process.

    The process starts with the first compressed image, and ends with the reader at the latest.

    Attributes:
        padded: How many pixels were the file's padding value and became air.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self.padded = 0

    def __enter__(self) -> FrameReader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the decoding process; a later image starts another one."""
        process, self._process = self._process, None
        if process:
            self._end()

    def planes(self, frames: Sequence[Frame]) -> Iterator[NDArray[np.float64]]:
        """Yield CT numbers [HU] of each image, shape (rows, columns), padding as air.

        Raises:
            InputError: An image that is truncated or damaged.
        """
        for frame, stored in zip(frames, self.stored(frames), strict=False):
            yield self._hu(frame, stored)

    def stored(self, images: Sequence[StoredImage]) -> Iterator[NDArray[Any]]:
        """Whole numbers of each image as they are stored, shape (rows, columns).

        Raises:
            InputError: An image that is truncated or damaged.
        """
        for path, group in itertools.groupby(images, key=lambda image: image.path):
            run = list(group)
            stored = self._stored(path, [image.index for image in run], run[0].compressed)
            for image in run:
                yield self._next(image, stored)

    def _stored(self, path: Path, indices: list[int], compressed: bool) -> Iterator[NDArray[Any]]:
        if compressed:
            return self._decoded(path, indices)
        return pixel_decoder.stored_frames(str(path), indices)

    def _next(self, frame: StoredImage, stored: Iterator[NDArray[Any]]) -> NDArray[Any]:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                values = next(stored)
        except InputError:
            raise
        except Exception as error:  # noqa: BLE001  (pydicom raises all kinds)
            text = " ".join(str(error).split()) or type(error).__name__
            raise InputError(f"{frame.path}: its pixels cannot be read: {text}") from None
        if values.shape != (frame.rows, frame.columns) or values.dtype.kind not in "iu":
            raise InputError(
                f"{frame.path}: pixels must be {frame.rows} x {frame.columns} whole numbers, "
                f"got {values.dtype} of shape {values.shape}"
            )
        return values

    def _hu(self, frame: Frame, stored: NDArray[Any]) -> NDArray[np.float64]:
        values = significant(stored, frame.pixels)
        hu = np.asarray(values * frame.slope + frame.intercept, np.float64)
        padding = is_padding(stored, values, frame.pixels)
        if padding is not None:
            hu[padding] = AIR_HU
            self.padded += int(np.count_nonzero(padding))
        return hu

    # The decoding process

    def _decoded(self, path: Path, indices: list[int]) -> Iterator[NDArray[Any]]:
        process = self._start()
        request = {"path": str(path.absolute()), "indices": indices}
        missing = len(indices)
        try:
            self._send(process, json.dumps(request).encode() + b"\n")
            while missing > 0:
                values = self._receive(process)
                missing -= 1
                yield values
        except _RefusedError as error:  # the decoder is well
            raise InputError(f"{path}: its compressed pixels cannot be read: {error}") from None
        except (OSError, EOFError, ValueError) as error:
            self.close()
            raise InputError(f"{path}: its compressed pixels cannot be read: {error}") from None
        except GeneratorExit:
            if missing:  # what was requested and not taken would be taken for the next answer
                self.close()
            raise

    def _start(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            # -P: the modules beside the script must not hide those of the standard library
            self._process = subprocess.Popen(
                [sys.executable, "-P", pixel_decoder.__file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
            self._end = weakref.finalize(self, _end, self._process)
        return self._process

    @staticmethod
    def _send(process: subprocess.Popen[bytes], line: bytes) -> None:
        pipe = process.stdin
        if pipe is None:
            raise EOFError("the decoder has no input")
        pipe.write(line)
        pipe.flush()

    @staticmethod
    def _receive(process: subprocess.Popen[bytes]) -> NDArray[Any]:
        pipe = _Pipe(process)
        answer = json.loads(pipe.line())
        if "error" in answer:
            raise _RefusedError(answer["error"])
        dtype = np.dtype(answer["dtype"])
        count = int(np.prod(answer["shape"])) * dtype.itemsize
        return np.frombuffer(pipe.take(count), dtype).reshape(answer["shape"])


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe:
            with suppress(OSError):
                pipe.close()


class _Pipe:
    """What a process writes, for as long as there is patience."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        if process.stdout is None:
            raise EOFError("the decoder has no output")
        self._handle = process.stdout.fileno()
        self._until = time.monotonic() + PATIENCE_S

    def line(self) -> bytes:
        """Up to the next line feed, which is left out; one byte at a time, it is short."""
        found = bytearray()
        while not found.endswith(b"\n"):
            found += self._read(1)
        return bytes(found[:-1])

    def take(self, count: int) -> bytes:
        """Return `count` bytes."""
        found = bytearray()
        while len(found) < count:
            found += self._read(count - len(found))
        return bytes(found)

    def _read(self, count: int) -> bytes:
        with selectors.DefaultSelector() as selector:
            selector.register(self._handle, selectors.EVENT_READ)
            if not selector.select(max(0.0, self._until - time.monotonic())):
                raise EOFError(f"the decoder did not finish in {PATIENCE_S:g} s")
        piece = os.read(self._handle, count)
        if not piece:
            raise EOFError("they are damaged, the decoder gave up")
        return piece


def significant(stored: NDArray[Any], pixels: PixelFormat) -> NDArray[np.int64]:
    """The stored bits alone, with their sign: whatever lies in the others is no part of it."""
    shifted = stored.astype(np.int64) >> (pixels.high_bit + 1 - pixels.bits_stored)
    values = shifted & ((1 << pixels.bits_stored) - 1)
    if pixels.signed:
        sign = 1 << (pixels.bits_stored - 1)
        values = (values ^ sign) - sign
    return np.asarray(values, np.int64)


def is_padding(
    stored: NDArray[Any], values: NDArray[np.int64], pixels: PixelFormat
) -> NDArray[np.bool_] | None:
    """Return where the padding value stands, also where it does not fit into the stored bits."""
    if pixels.padding is None:
        return None
    low, high = pixels.padding
    inside = (values >= low) & (values <= high)
    if low == high:
        word = (1 << pixels.bits_allocated) - 1
        inside |= (stored.astype(np.int64) & word) == (low & word)
    return np.asarray(inside)

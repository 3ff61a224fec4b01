"""What travels between operators: arrays, and the header of their frame.

On a port that loses nothing a `PortFrame` travels as it is. On one that drops what is not taken in
time, nothing of Python lies in the queue: arrays travel as tensors, headers as metadata. Where a
queue drops a message for a newer one, Holoscan gives up the message's Python objects while it holds
the queue, and waits for the interpreter; a receiver that has the interpreter waits for the queue,
and neither goes on. So headers, and arrays that Holoscan does not know, travel by number. (A tensor
gives up its array in a thread of its own, which has to be woken for each: where nothing is dropped
that is to be spared.)
"""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import count
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
from holoscan.core import Operator, OutputContext

from fluoro.imaging.frame import FluoroFrame, FrameHeader
from fluoro.rendering.devices.base import ComputeDevice
from fluoro.rendering.devices.graphics import DeviceArray
from fluoro.rendering.patient_renderer import Rendering
from operators.live_chain import BegunImage

__all__ = [
    "Host",
    "PortFrame",
    "as_array",
    "as_frame",
    "emit",
    "header_of",
    "host_image",
    "port_frame",
]

HEADER = "header"
KEPT_IMAGES = 4
"""Number of images kept on the host for later sinks."""
KEPT = 512
"""Headers that are kept, far more than are on their way: a queue that drops holds one or two."""
BY_NUMBER = "by_number"
"""Name of a tensor that holds the number of an array."""
TRUTH = "truth."
"""Begin of the names of tensors that hold a frame's annotations."""


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class PortFrame:
    """What a port that loses nothing carries.

    Attributes:
        array: Of the device, where it lies.
        header: Of the frame.
        rendering: What has to be waited for before the array is read; None: nothing.
        begun: What the image chain has begun of it; None: nothing.
    """

    array: Any
    header: FrameHeader
    rendering: Rendering | None = None
    begun: BegunImage | None = None


class _Headers:
    """The newest headers by number."""

    def __init__(self) -> None:
        self._numbers = count()
        self._kept: list[tuple[int, FrameHeader] | None] = [None] * KEPT

    def keep(self, header: FrameHeader) -> int:
        """Return the number of a header."""
        number = next(self._numbers)
        self._kept[number % KEPT] = (number, header)
        return number

    def header(self, number: int) -> FrameHeader:
        """Return the header of a number.

        Raises:
            LookupError: It is older than the last `KEPT`.
        """
        found = self._kept[number % KEPT]
        if found is None or found[0] != number:
            raise LookupError(f"the header of message {number} is no longer kept")
        return found[1]


class _Number(np.ndarray[Any, Any]):
    """The number of an array, in an array that keeps that one alive."""

    kept: DeviceArray


class _Arrays:
    """Arrays that Holoscan does not know, by number, as long as a message has that number."""

    def __init__(self) -> None:
        self._numbers = count()
        self._arrays: WeakValueDictionary[int, DeviceArray] = WeakValueDictionary()

    def numbered(self, array: DeviceArray) -> _Number:
        """Return what travels in the array's place."""
        number = next(self._numbers)
        self._arrays[number] = array
        travels = np.array([number]).view(_Number)
        travels.kept = array
        return travels

    def array(self, travelled: Any) -> DeviceArray:
        """Return the array of what travelled in its place."""
        return self._arrays[int(np.asarray(travelled)[0])]


class Host:
    """In a device's place where arrays lie in the machine's memory already."""

    on_host = True

    def to_host(self, array: Any, *, settled: bool = False) -> Any:
        """Return the array itself."""
        del settled
        return np.asarray(array)


class _HostImages:
    """The newest frames' images on the host: the first sink that needs one copies it for all."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._images: deque[tuple[FrameHeader, Future[Any]]] = deque(maxlen=KEPT_IMAGES)

    def image(self, array: Any, header: FrameHeader, device: ComputeDevice) -> Any:
        """Return the image of a frame, which is done, as NumPy."""
        if device.on_host:
            return device.to_host(array)
        with self._lock:
            found = next((image for whose, image in self._images if whose is header), None)
            image: Future[Any] = found or Future()
            if found is None:
                self._images.append((header, image))
        if found is None:
            try:
                image.set_result(device.to_host(array, settled=True))
            except BaseException as error:
                image.set_exception(error)
                raise
        return image.result()


_headers, _arrays, _images = _Headers(), _Arrays(), _HostImages()


def emit(
    operator: Operator,
    output: OutputContext,
    port: str,
    array: Any,
    header: FrameHeader,
) -> None:
    """Send an array under the port's name, without a copy, and its header as metadata.

    The frame's annotations go beside it as tensors, `truth.masks` and so on (docs/labels.md).

    Args:
        operator: Who sends.
        output: Its output.
        port: Name of the output.
        array: NumPy, CuPy or a device buffer; or what only goes where nothing is dropped: any
            Python object.
        header: Of the frame.
    """
    operator.metadata.clear()
    operator.metadata.set(HEADER, _headers.keep(header), cast_to_cpp=True)
    if isinstance(array, DeviceArray):
        output.emit({BY_NUMBER: _arrays.numbered(array), **_truth_of(header)}, port)
        return
    output.emit({port: array, **_truth_of(header)} if _is_tensor(array) else array, port)


def _is_tensor(array: Any) -> bool:
    """Whether Holoscan knows an array."""
    return hasattr(array, "__array_interface__") or hasattr(array, "__cuda_array_interface__")


def _truth_of(header: FrameHeader) -> dict[str, Any]:
    """A frame's annotations as tensors by name; those that Holoscan does not know are left out."""
    found = header.truth.tensors() if header.truth else {}
    return {TRUTH + name: array for name, array in found.items() if _is_tensor(array)}


def header_of(operator: Operator) -> FrameHeader:
    """Return the header that came as metadata with the message an operator has received."""
    return _headers.header(operator.metadata[HEADER])


def port_frame(operator: Operator, message: Any) -> PortFrame:
    """Return what came by either kind of port."""
    if isinstance(message, PortFrame):
        return message
    return PortFrame(array=as_array(message), header=header_of(operator))


def as_array(message: Any) -> Any:
    """Return the array of a message, where it lies: NumPy, CuPy or a device buffer."""
    if not isinstance(message, dict):
        return message
    ((name, tensor),) = ((n, each) for n, each in message.items() if not n.startswith(TRUTH))
    if name == BY_NUMBER:
        return _arrays.array(tensor)
    if hasattr(tensor, "__cuda_array_interface__"):
        import cupy

        return cupy.asarray(tensor)
    return np.asarray(tensor)


def as_frame(operator: Operator, message: Any, device: ComputeDevice) -> FluoroFrame:
    """Return the frame of a message, its image on the host."""
    image = port_frame(operator, message)
    return image.header.frame(host_image(image.array, image.header, device))


def host_image(array: Any, header: FrameHeader, device: ComputeDevice) -> Any:
    """Return the image of a frame on the host; the same array for all sinks, read only."""
    return _images.image(array, header, device)

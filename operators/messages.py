"""What travels between operators: arrays as tensors, the frame's header as metadata.

Nothing of Python lies in a queue. Where a queue drops a message for a newer one, Holoscan gives up
the message's Python objects while it holds the queue, and waits for the interpreter; a receiver
that has the interpreter waits for the queue, and neither goes on. So headers, and arrays that
Holoscan does not know, travel by number. (A tensor gives up its array in a thread of its own.)
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
from holoscan.core import Operator, OutputContext

from fluoro.imaging.frame import FluoroFrame, FrameHeader
from fluoro.rendering.devices import ComputeDevice
from fluoro.rendering.graphics_device import DeviceArray
from fluoro.rendering.patient_renderer import Rendering
from operators.live_chain import BegunPicture

__all__ = ["Host", "as_array", "as_frame", "begun_of", "emit", "header_of", "rendering_of"]

HEADER = "header"
KEPT = 4096
"""Headers that are kept, far more than are on their way: queues hold a frame or two."""
BY_NUMBER = "by_number"
"""Name of a tensor that holds the number of an array."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Note:
    """What goes with an array."""

    header: FrameHeader
    rendering: Rendering | None
    begun: BegunPicture | None


class _Notes:
    """The newest notes by number."""

    def __init__(self) -> None:
        self._numbers = count()
        self._kept: list[tuple[int, _Note] | None] = [None] * KEPT

    def keep(self, note: _Note) -> int:
        """The number of a note."""
        number = next(self._numbers)
        self._kept[number % KEPT] = (number, note)
        return number

    def note(self, number: int) -> _Note:
        """The note of a number.

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
        """What travels in the array's place."""
        number = next(self._numbers)
        self._arrays[number] = array
        travels = np.array([number]).view(_Number)
        travels.kept = array
        return travels

    def array(self, travelled: Any) -> DeviceArray:
        """The array of what travelled in its place."""
        return self._arrays[int(np.asarray(travelled)[0])]


_notes, _arrays = _Notes(), _Arrays()


class Host:
    """In a device's place where arrays lie in the machine's memory already."""

    def to_host(self, array: Any) -> Any:
        """The array itself."""
        return np.asarray(array)


def emit(
    operator: Operator,
    output: OutputContext,
    port: str,
    array: Any,
    header: FrameHeader,
    rendering: Rendering | None = None,
    begun: BegunPicture | None = None,
) -> None:
    """Send an array under the port's name, without a copy, and its header beside it.

    Args:
        operator: Who sends.
        output: Its output.
        port: Name of the output.
        array: NumPy, CuPy or a device buffer; or what only goes where nothing is dropped: any
            Python object.
        header: Of the frame.
        rendering: What the receiver has to wait for before it reads the array; None: nothing.
        begun: The picture that the image chain has begun of it; None: it has not.
    """
    operator.metadata.clear()
    number = _notes.keep(_Note(header=header, rendering=rendering, begun=begun))
    operator.metadata.set(HEADER, number, cast_to_cpp=True)
    if isinstance(array, DeviceArray):
        output.emit({BY_NUMBER: _arrays.numbered(array)}, port)
        return
    known = hasattr(array, "__array_interface__") or hasattr(array, "__cuda_array_interface__")
    output.emit({port: array} if known else array, port)


def header_of(operator: Operator) -> FrameHeader:
    """The header that came with the message an operator has received."""
    return _notes.note(operator.metadata[HEADER]).header


def rendering_of(operator: Operator) -> Rendering | None:
    """What has to be waited for before the received array is read; None: nothing."""
    return _notes.note(operator.metadata[HEADER]).rendering


def begun_of(operator: Operator) -> BegunPicture | None:
    """The picture that the image chain has begun of the received array; None: it has not."""
    return _notes.note(operator.metadata[HEADER]).begun


def as_array(message: Any) -> Any:
    """The array of a message, where it lies: NumPy, CuPy or a device buffer."""
    if not isinstance(message, dict):
        return message
    ((name, tensor),) = message.items()
    if name == BY_NUMBER:
        return _arrays.array(tensor)
    if hasattr(tensor, "__cuda_array_interface__"):
        import cupy

        return cupy.asarray(tensor)
    return np.asarray(tensor)


def as_frame(operator: Operator, message: Any, device: ComputeDevice) -> FluoroFrame:
    """The frame of a message, its image on the host."""
    return header_of(operator).frame(device.to_host(as_array(message)))

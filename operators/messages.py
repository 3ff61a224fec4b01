"""What travels between operators: arrays as tensors, the frame's header as metadata."""

from __future__ import annotations

from itertools import count
from typing import Any

import numpy as np
from holoscan.core import Operator, OutputContext

from fluoro.imaging.frame import FluoroFrame, FrameHeader
from fluoro.rendering.devices import ComputeDevice

__all__ = ["Host", "as_array", "as_frame", "emit", "header_of"]

HEADER = "header"
KEPT = 4096
"""Headers that are kept, far more than are on their way: queues hold a frame or two."""


class _Headers:
    """The newest headers by number.

    Metadata carries the number, not the header: where a queue drops a message for a newer one,
    Holoscan gives up the message's Python objects while it holds the queue, and waits for the
    interpreter; a receiver that has the interpreter waits for the queue, and neither goes on.
    """

    def __init__(self) -> None:
        self._numbers = count()
        self._kept: list[tuple[int, FrameHeader] | None] = [None] * KEPT

    def keep(self, header: FrameHeader) -> int:
        """The number of a header."""
        number = next(self._numbers)
        self._kept[number % KEPT] = (number, header)
        return number

    def header(self, number: int) -> FrameHeader:
        """The header of a number.

        Raises:
            LookupError: It is older than the last `KEPT`.
        """
        found = self._kept[number % KEPT]
        if found is None or found[0] != number:
            raise LookupError(f"the header of message {number} is no longer kept")
        return found[1]


_headers = _Headers()


class Host:
    """In a device's place where arrays lie in the machine's memory already."""

    def to_host(self, array: Any) -> Any:
        """The array itself."""
        return np.asarray(array)


def emit(
    operator: Operator, output: OutputContext, port: str, array: Any, header: FrameHeader
) -> None:
    """Send an array under the port's name, without a copy, and its header beside it.

    An array that Holoscan does not know (a Vulkan or Metal buffer) travels as a Python object.
    """
    operator.metadata.clear()
    operator.metadata.set(HEADER, _headers.keep(header), cast_to_cpp=True)
    known = hasattr(array, "__array_interface__") or hasattr(array, "__cuda_array_interface__")
    output.emit({port: array} if known else array, port)


def header_of(operator: Operator) -> FrameHeader:
    """The header that came with the message an operator has received."""
    return _headers.header(operator.metadata[HEADER])


def as_array(message: Any) -> Any:
    """The array of a message, where it lies: NumPy, CuPy or a device buffer."""
    if not isinstance(message, dict):
        return message
    (tensor,) = message.values()
    if hasattr(tensor, "__cuda_array_interface__"):
        import cupy

        return cupy.asarray(tensor)
    return np.asarray(tensor)


def as_frame(operator: Operator, message: Any, device: ComputeDevice) -> FluoroFrame:
    """The frame of a message, its image on the host."""
    return header_of(operator).frame(device.to_host(as_array(message)))

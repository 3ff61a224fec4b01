"""What travels between operators: arrays as tensors, the frame's header as metadata."""

from __future__ import annotations

from typing import Any

import numpy as np
from holoscan.core import Operator, OutputContext

from fluoro.imaging.frame import FluoroFrame, FrameHeader
from fluoro.rendering.devices import ComputeDevice

__all__ = ["Host", "as_array", "as_frame", "emit"]

HEADER = "header"


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
    operator.metadata[HEADER] = header
    known = hasattr(array, "__array_interface__") or hasattr(array, "__cuda_array_interface__")
    output.emit({port: array} if known else array, port)


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
    header: FrameHeader = operator.metadata[HEADER]
    return header.frame(device.to_host(as_array(message)))

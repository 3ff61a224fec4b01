"""Frames from one fragment to another, which may run on another machine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from holoscan.core import (
    ConditionType,
    ExecutionContext,
    InputContext,
    IOSpec,
    Operator,
    OperatorSpec,
    OutputContext,
)

from fluoro.geometry.carm import CarmGeometry
from fluoro.imaging.frame import FluoroFrame
from fluoro.imaging.frame_packet import pack_header, unpack_header
from fluoro.rendering.devices.base import ComputeDevice
from operators.gil_state import keep_gil_state
from operators.messages import as_array, emit, header_of, host_image
from operators.monitor import StreamMonitor

__all__ = ["FrameDownlinkOp", "FrameUplinkOp"]

IMAGE_TENSOR, HEADER_TENSOR = "image", "header"


class FrameUplinkOp(Operator):
    """Hands frames to another fragment; metadata does not cross, so the header goes as bytes.

    Ports:
        frame (in): tensor (height, width) float32, display values in [0, 1]; newest only. A held
            image with another window has the number of its frame.
        packet (out): tensors `image`, the same on the host, and `header`, uint8; what the other
            fragment does not take in time is dropped.

    Args:
        device: Where the tensor lies.
        monitor: Counts what was dropped here.
    """

    def __init__(
        self,
        fragment: Any,
        *args: Any,
        device: ComputeDevice,
        monitor: StreamMonitor,
        **kwargs: Any,
    ) -> None:
        self._device, self._monitor = device, monitor
        self._number: int | None = None
        super().__init__(fragment, *args, **kwargs)

    def setup(self, spec: OperatorSpec) -> None:
        """Declare the ports."""
        spec.input("frame", size=1, policy=IOSpec.QueuePolicy.POP)
        spec.output("packet").condition(ConditionType.NONE)

    @keep_gil_state
    def compute(
        self, input_: InputContext, output: OutputContext, _context: ExecutionContext
    ) -> None:
        """Send one frame."""
        array, header = as_array(input_.receive("frame")), header_of(self)
        on_host = isinstance(array, np.ndarray)
        image = array if on_host else host_image(array, header, self._device)
        if header.number != self._number:
            self._monitor.count_shown(self.name, header.number)
        self._number = header.number
        packed = np.frombuffer(bytearray(pack_header(header)), np.uint8)
        self.metadata.clear()
        output.emit({IMAGE_TENSOR: np.ascontiguousarray(image), HEADER_TENSOR: packed}, "packet")


class FrameDownlinkOp(Operator):
    """Takes frames from another fragment; the monitor counts those that did not come.

    Ports:
        packet (in): tensors `image` and `header`, as of `FrameUplinkOp`; newest only.
        view (out): tensor (height, width) float32, display values in [0, 1]; its header as
            metadata. A held image with another window goes to `again` instead.

    Args:
        geometry: The C-arm as configured.
        monitor: Told of each frame.
        again: Shows a held image with another window.
    """

    def __init__(
        self,
        fragment: Any,
        *args: Any,
        geometry: CarmGeometry,
        monitor: StreamMonitor,
        again: Callable[[FluoroFrame], None],
        **kwargs: Any,
    ) -> None:
        self._geometry, self._monitor, self._again = geometry, monitor, again
        self._number: int | None = None
        super().__init__(fragment, *args, **kwargs)

    def setup(self, spec: OperatorSpec) -> None:
        """Declare the ports."""
        spec.input("packet", size=1, policy=IOSpec.QueuePolicy.POP)
        spec.output("view").condition(ConditionType.NONE)

    @keep_gil_state
    def compute(
        self, input_: InputContext, output: OutputContext, _context: ExecutionContext
    ) -> None:
        """Take one frame."""
        packet = input_.receive("packet")
        image = np.array(packet[IMAGE_TENSOR])  # the network's memory is reused
        header = unpack_header(np.asarray(packet[HEADER_TENSOR]).tobytes(), self._geometry)
        frame: FluoroFrame = header.frame(image)
        if frame.number == self._number:
            return self._again(frame)
        self._number = frame.number
        self._monitor.add(frame)
        return emit(self, output, "view", image, header)

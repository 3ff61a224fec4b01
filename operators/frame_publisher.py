"""Frames out: over DDS, into a bag, by OpenIGTLink."""

from __future__ import annotations

from typing import Any, Protocol

from holoscan.core import (
    ExecutionContext,
    InputContext,
    IOSpec,
    Operator,
    OperatorSpec,
    OutputContext,
)

from fluoro.imaging.frame import FluoroFrame
from fluoro.rendering.devices import ComputeDevice
from operators.messages import as_frame
from operators.monitor import StreamMonitor
from operators.threads import on_kept_thread

__all__ = ["FramePublisherOp", "FrameReceiver"]


class FrameReceiver(Protocol):
    """Where frames go."""

    def send(self, frame: FluoroFrame) -> None:
        """Take a frame, without waiting for whoever receives it."""


class FramePublisherOp(Operator):
    """Publishes frames; one that is overtaken by a newer one is dropped and counted.

    Ports:
        frame (in): tensor (height, width) float32, display values in [0, 1], newest only; in
            lockstep a `Picture`, every one.

    Args:
        device: Where the picture lies.
        sink: What sends it.
        monitor: Counts what was dropped here, by the operator's name.
        lossless: Take every frame, holding the graph back if need be.
    """

    def __init__(
        self,
        fragment: Any,
        *args: Any,
        device: ComputeDevice,
        sink: FrameReceiver,
        monitor: StreamMonitor,
        lossless: bool,
        **kwargs: Any,
    ) -> None:
        self._device, self._sink, self._monitor = device, sink, monitor
        self._lossless = lossless
        super().__init__(fragment, *args, **kwargs)

    def setup(self, spec: OperatorSpec) -> None:
        """Declare the port."""
        if self._lossless:
            spec.input("frame")
        else:
            spec.input("frame", size=1, policy=IOSpec.QueuePolicy.POP)

    @on_kept_thread
    def compute(
        self, input_: InputContext, _output: OutputContext, _context: ExecutionContext
    ) -> None:
        """Publish one frame."""
        frame = as_frame(self, input_.receive("frame"), self._device)
        self._sink.send(frame)
        self._monitor.count_shown(self.name, frame.number)

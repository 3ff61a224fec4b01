"""What every sink of frames has in common."""

from __future__ import annotations

from typing import Any, Protocol, cast

from holoscan.core import (
    ExecutionContext,
    InputContext,
    IOSpec,
    Operator,
    OperatorSpec,
    OutputContext,
)

from fluoro.recording.frame_sink import FrameSink
from fluoro.rendering.devices.base import ComputeDevice
from operators.gil_state import keep_gil_state
from operators.messages import as_frame

__all__ = ["Sink", "SinkOp", "operator_of"]


class Sink(FrameSink, Protocol):
    """A sink that may have an operator of its own."""

    def operator(self, fragment: Any, device: ComputeDevice) -> Operator:
        """Return the operator that feeds the sink, whose input is `frame`.

        Args:
            fragment: The graph.
            device: Where the images lie.
        """
        return SinkOp(fragment, sink=self, device=device, name=self.name)


def operator_of(sink: FrameSink, fragment: Any, device: ComputeDevice) -> Operator:
    """Return the operator that feeds a sink, whose input is `frame`.

    Args:
        sink: Takes the frames.
        fragment: The graph.
        device: Where the images lie.
    """
    if Sink in type(sink).__mro__:
        return cast("Sink", sink).operator(fragment, device)
    return SinkOp(fragment, sink=sink, device=device, name=sink.name)


class SinkOp(Operator):
    """Hands frames to a sink.

    Ports:
        frame (in): tensor (height, width) float32, display values in [0, 1], newest only; at the
            port `record` a `PortFrame`, every one.

    Args:
        sink: Takes the frames.
        device: Where the image lies.
    """

    def __init__(
        self, fragment: Any, *args: Any, sink: FrameSink, device: ComputeDevice, **kwargs: Any
    ) -> None:
        self._sink, self._device = sink, device
        super().__init__(fragment, *args, **kwargs)

    def setup(self, spec: OperatorSpec) -> None:
        """Declare the port; for displays one frame deep, where a newer one replaces it."""
        if self._sink.port == "record":
            spec.input("frame")
        else:
            spec.input("frame", size=1, policy=IOSpec.QueuePolicy.POP)

    @keep_gil_state
    def compute(
        self, input_: InputContext, _output: OutputContext, _context: ExecutionContext
    ) -> None:
        """Hand on one frame."""
        self._sink.take(as_frame(self, input_.receive("frame"), self._device))

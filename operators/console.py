"""The newest frame to the browser console."""

from __future__ import annotations

from typing import Any

from holoscan.core import (
    ExecutionContext,
    InputContext,
    IOSpec,
    Operator,
    OperatorSpec,
    OutputContext,
)

from fluoro.console.server import Console
from fluoro.rendering.devices import ComputeDevice
from operators.messages import as_frame
from operators.monitor import StreamMonitor
from operators.threads import on_kept_thread

__all__ = ["ConsoleOp"]


class ConsoleOp(Operator):
    """Shows frames; a frame that is overtaken by a newer one is dropped and counted.

    Ports:
        frame (in): tensor (height, width) float32, display values in [0, 1]; newest only.

    Args:
        device: Where the tensor lies.
        console: What shows it.
        monitor: Tells how the stream is doing, and counts what was dropped here.
    """

    def __init__(
        self,
        fragment: Any,
        *args: Any,
        device: ComputeDevice,
        console: Console,
        monitor: StreamMonitor,
        **kwargs: Any,
    ) -> None:
        self._device, self._console, self._monitor = device, console, monitor
        super().__init__(fragment, *args, **kwargs)

    def setup(self, spec: OperatorSpec) -> None:
        """Declare the port: one frame deep, a newer one replaces it."""
        spec.input("frame", size=1, policy=IOSpec.QueuePolicy.POP)

    @on_kept_thread
    def compute(
        self, input_: InputContext, _output: OutputContext, _context: ExecutionContext
    ) -> None:
        """Show one frame."""
        frame = as_frame(self, input_.receive("frame"), self._device)
        self._monitor.count_shown("console", frame.number)
        self._console.show(frame, self._monitor.status())

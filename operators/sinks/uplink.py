"""The newest frame to the machine that shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from holoscan.core import Operator

from fluoro.rendering.devices.base import ComputeDevice
from operators.frame_transfer import FrameUplinkOp
from operators.monitor import StreamMonitor
from operators.sinks.base import Sink

if TYPE_CHECKING:
    from operators.context import RunContext

__all__ = ["UplinkSink"]


class UplinkSink(Sink):
    """Sends frames to the fragment on another machine, in the place of the console.

    Args:
        monitor: Counts what was dropped here.
    """

    name = "uplink"
    takes_again = True

    def __init__(self, monitor: StreamMonitor) -> None:
        self._monitor = monitor

    @classmethod
    def from_config(cls, context: RunContext) -> UplinkSink | None:
        """Return the sink; None where the display runs on this machine."""
        return cls(context.monitor) if context.shown_elsewhere else None

    def operator(self, fragment: Any, device: ComputeDevice) -> Operator:
        """Return the operator, whose output `packet` the other fragment takes."""
        return FrameUplinkOp(fragment, device=device, monitor=self._monitor, name=self.name)

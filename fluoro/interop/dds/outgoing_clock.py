"""Time of what goes out: the machine's, or a simulation's that comes by /clock."""

from __future__ import annotations

import time
from collections.abc import Callable

from fluoro.interop.dds import qos
from fluoro.interop.dds.node import DdsNode, ros_topic
from fluoro.interop.dds.ros_std import Clock
from fluoro.interop.dds.timestamps import stamp_ns
from fluoro.interop.refusals import FieldError, Refusals

__all__ = ["RosClock", "make_clock"]


class RosClock:
    """The newest time heard on /clock; 0 before the first, as ROS 2 has it.

    Args:
        node: The participant.

    Attributes:
        refusals: Messages whose time is none.
    """

    def __init__(self, node: DdsNode) -> None:
        self._now_ns = 0
        self.refusals = Refusals("a time on /clock")
        node.listen(ros_topic("/clock"), Clock, qos.sensor_data(1), self._on_clock)

    def __call__(self) -> int:
        """Nanoseconds of simulated time."""
        return self._now_ns

    def _on_clock(self, message: Clock, _writer: int) -> None:
        try:
            self._now_ns = stamp_ns(message.clock, "clock")
        except FieldError as error:
            self.refusals.add(error)


def make_clock(node: DdsNode) -> Callable[[], int]:
    """Return the clock of a configuration, in nanoseconds."""
    return RosClock(node) if node.config.clock == "ros" else time.time_ns

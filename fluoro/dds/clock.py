"""Time of what goes out: the machine's, or a simulation's that comes by /clock."""

from __future__ import annotations

import time
from collections.abc import Callable

from fluoro.dds import qos
from fluoro.dds.node import DdsNode, ros_topic
from fluoro.dds.ros_std import Clock
from fluoro.dds.stamps import stamp_ns

__all__ = ["make_clock"]


class RosClock:
    """The newest time heard on /clock; 0 before the first, as ROS 2 has it.

    Args:
        node: The participant.
    """

    def __init__(self, node: DdsNode) -> None:
        self._now_ns = 0
        node.listen(ros_topic("/clock"), Clock, qos.sensor_data(1), self._on_clock)

    def __call__(self) -> int:
        """Nanoseconds of simulated time."""
        return self._now_ns

    def _on_clock(self, message: Clock, _writer: int) -> None:
        self._now_ns = stamp_ns(message.clock)


def make_clock(node: DdsNode) -> Callable[[], int]:
    """The clock of a configuration, in nanoseconds."""
    return RosClock(node) if node.config.clock == "ros" else time.time_ns

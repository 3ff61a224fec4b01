"""How the simulator is doing, twice a second, as diagnostic_msgs/DiagnosticArray."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

from fluoro.interop.dds import qos
from fluoro.interop.dds.node import DdsNode, ros_topic
from fluoro.interop.dds.ros_diagnostic import DiagnosticArray, DiagnosticStatus, KeyValue, Level
from fluoro.interop.dds.timestamps import header_of

__all__ = ["StatusPublisher", "status_message"]

INTERVAL_S = 0.5
TOPIC = "/diagnostics"


class StatusPublisher:
    """Publishes the results of `look` until closed, from a separate thread.

    Args:
        node: The participant.
        clock: Time of the messages [ns].
        look: Returns the parts' states; called each time.
    """

    def __init__(
        self,
        node: DdsNode,
        clock: Callable[[], int],
        look: Callable[[], list[DiagnosticStatus]],
    ) -> None:
        self._writer = node.writer(ros_topic(TOPIC), DiagnosticArray, qos.reliable())
        self._clock, self._look = clock, look
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="dds status", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Say once more how things are, and end the thread."""
        if not self._ended.is_set():
            self._ended.set()
            self._thread.join()

    def _run(self) -> None:
        going = True
        while going:
            going = not self._ended.wait(INTERVAL_S)
            header = header_of(self._clock(), "")
            self._writer.write(DiagnosticArray(header=header, status=self._look()))


def status_message(
    name: str, level: Level, message: str, values: Mapping[str, object]
) -> DiagnosticStatus:
    """Return the state of one part."""
    return DiagnosticStatus(
        level=level,
        name=f"fluoro: {name}",
        message=message,
        hardware_id="",
        values=[KeyValue(key=key, value=str(value)) for key, value in values.items()],
    )

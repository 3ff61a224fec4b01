"""One open page: which messages it has received, and how fast it confirms them."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from websockets.asyncio.server import ServerConnection

from fluoro.errors import InputError

__all__ = ["LATE_S", "Browser", "Lane", "Uplink"]

FRAMES_IN_FLIGHT = 2
"""Frames a browser may have got but not yet shown: one on the way while one is drawn."""
FRAME_IS_SLOW_S = 0.5
"""Where a frame's confirmation takes so long, the next one waits for it: no queue grows."""
BODY_PARTS_IN_FLIGHT = 4
BODY_PART_IS_SLOW_S = 0.25
"""The same of a part of the 3D body, which frames have to pass."""

NOTICES = 8
"""Notices that may wait for a browser; older ones are dropped."""

LATE_S = 1.5
"""A command that was so long on its way [s] is not carried out."""
COMPARED_S = 10.0
"""Time [s], by the page's clock, over which the delay of messages is compared."""


class Lane:
    """Messages of one kind on their way to a browser, until the browser confirms them.

    Args:
        at_most: Messages on their way at once over a fast link, at least 1.
        slow_s: Time to the confirmation [s] from which on it is one message at a time.
        fast: Whether the link counts as fast before the first confirmation.
    """

    def __init__(self, at_most: int, slow_s: float, *, fast: bool) -> None:
        self._at_most, self._slow_s, self._fast = at_most, slow_s, fast
        self._sent_s: deque[float] = deque()
        self.confirmed = 0

    @property
    def free(self) -> bool:
        """Whether another message may be sent."""
        return len(self._sent_s) < (self._at_most if self._fast else 1)

    def send(self) -> None:
        """Count a message that is about to be sent."""
        self._sent_s.append(time.monotonic())

    def confirm(self) -> None:
        """Take the confirmation of the oldest message; without effect where none is due."""
        if self._sent_s:
            self._fast = time.monotonic() - self._sent_s.popleft() < self._slow_s
            self.confirmed += 1


class Uplink:
    """Tells how much longer than usual a browser's messages were on their way.

    The page stamps its messages with its own clock, and sends one a second at least. The smallest
    difference to the clock here, of the last seconds, is that of a message that did not have to
    wait. So a clock that drifts or is stopped for a while, as in a suspended computer, makes no
    message late for long.
    """

    def __init__(self) -> None:
        self._least: deque[tuple[float, float]] = deque()  # stamp and difference, both ascending

    def late_s(self, request: Mapping[str, object], now_s: float) -> float:
        """Return the delay of a request [s], at least 0; 0 for one without a stamp.

        Args:
            request: A page's request; `at_ms` is when it was sent, by the page's clock [ms].
            now_s: Time here, by any clock that only goes forward [s].

        Raises:
            InputError: `at_ms` is no finite number.
        """
        if "at_ms" not in request:
            return 0.0
        sent_s = _seconds(request["at_ms"])
        difference_s = now_s - sent_s
        while self._least and self._least[-1][1] >= difference_s:
            self._least.pop()
        self._least.append((sent_s, difference_s))
        while self._least[0][0] < sent_s - COMPARED_S:
            self._least.popleft()
        return difference_s - self._least[0][1]


def _seconds(sent_ms: object) -> float:
    if isinstance(sent_ms, bool) or not isinstance(sent_ms, int | float):
        raise InputError(f"at_ms must be a number, got {sent_ms!r}")
    if not abs(sent_ms) < 1e15:
        raise InputError(f"at_ms must be a time in ms, got {str(sent_ms)[:20]}")
    return sent_ms / 1000


def _lanes() -> dict[str, Lane]:
    """One for each kind of message that a page confirms."""
    return {
        "frame": Lane(FRAMES_IN_FLIGHT, FRAME_IS_SLOW_S, fast=True),
        "carm": Lane(FRAMES_IN_FLIGHT, FRAME_IS_SLOW_S, fast=True),
        "tracking": Lane(FRAMES_IN_FLIGHT, FRAME_IS_SLOW_S, fast=True),
        "body": Lane(BODY_PARTS_IN_FLIGHT, BODY_PART_IS_SLOW_S, fast=False),
    }


@dataclass(eq=False)
class Browser:
    """One open page.

    Attributes:
        connection: Its WebSocket.
        wake: Set when there may be something to send.
        lanes: Messages on their way to it, by kind: `frame`, `carm`, `tracking`, and `body`, which
            counts its parts.
        uplink: How late its messages are.
        notices: Messages for this page alone.
        previewed: Whether it has received its first image.
        frame_count: Count of the newest frame that was sent.
        body_sent: Parts of the 3D body that were sent.
        scene: Count of the frame and version of the controls that the 3D scene shows.
        scene_at_s: When that was sent [s].
        tracking_count: Count of the newest estimate that was sent.
        controls_version: Version of the controls that was sent.
        beat: Number of the newest status that was sent.
    """

    connection: ServerConnection
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    lanes: dict[str, Lane] = field(default_factory=_lanes)
    uplink: Uplink = field(default_factory=Uplink)
    notices: deque[str] = field(default_factory=lambda: deque(maxlen=NOTICES))
    previewed: bool = False
    frame_count: int = 0
    body_sent: int = 0
    scene: tuple[int, int] = (0, 0)
    scene_at_s: float = 0.0
    tracking_count: int = 0
    controls_version: int = -1
    beat: int = -1

    def tell(self, message: str) -> None:
        """Have a message sent to this page; never waits."""
        self.notices.append(message)
        self.wake.set()

    def confirm(self, request: Mapping[str, object]) -> None:
        """Take the confirmation in a request: `got` names the kind of message.

        Raises:
            InputError: `got` is no such kind.
        """
        if "got" not in request:
            return
        kind = request["got"]
        if not isinstance(kind, str) or kind not in self.lanes:
            raise InputError(f"got must be one of {', '.join(self.lanes)}, got {kind!r}")
        self.lanes[kind].confirm()
        self.wake.set()

"""Counts seconds in which a sender floods: messages come far faster than frames are made."""

from __future__ import annotations

import logging

__all__ = ["FloodWatch"]

log = logging.getLogger(__name__)

MOST_PER_SECOND = 1000
"""Poses that any robot may send; more are a loop without a pause."""
SECOND_NS = 1_000_000_000
LOG_INTERVAL_NS = 10 * SECOND_NS


class FloodWatch:
    """Counts the seconds with more than 1000 messages, and logs them at most every 10 s.

    Args:
        what: What comes, the start of the log line, such as "poses on rt/carm/pose".

    Attributes:
        seconds: Seconds in which too many came.
    """

    def __init__(self, what: str) -> None:
        self._what, self.seconds = what, 0
        self._began_ns = self._count = 0
        self._logged_ns = -LOG_INTERVAL_NS

    def note(self, now_ns: int) -> None:
        """Note a message.

        Args:
            now_ns: Time of a clock that only goes forward [ns].
        """
        if now_ns - self._began_ns >= SECOND_NS:
            self._began_ns, self._count = now_ns, 0
        self._count += 1
        if self._count == MOST_PER_SECOND + 1:
            self.seconds += 1
            self._log(now_ns)

    def _log(self, now_ns: int) -> None:
        if now_ns - self._logged_ns >= LOG_INTERVAL_NS:
            self._logged_ns = now_ns
            log.warning(
                "%s flood: more than %d in a second; only the newest counts",
                self._what,
                MOST_PER_SECOND,
            )

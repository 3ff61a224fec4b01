"""Compares the clock of a sender with the local clock, by the stamps of its poses."""

from __future__ import annotations

import logging

__all__ = ["OFF_S", "SenderClock"]

log = logging.getLogger(__name__)

OFF_S = 0.5
"""Offset from which on a sender's clock is reported as wrong [s]."""
WINDOW_NS = 1_000_000_000
"""Window [ns] whose poses are assessed together: one delayed pose is no wrong clock."""
WALL_CLOCK_FROM_NS = 10**18
"""Stamps before September 2001 count a simulation's time, which has no offset to ours."""


class SenderClock:
    """Compares each pose's stamp with its time of receipt, and logs a clock that is off.

    The offset of a second is the one nearest to 0 of its poses: a pose may come late, but not
    early. One line is logged when the clock turns out to be off, and one when it is right again.

    Args:
        where: Where poses come, in words.
    """

    def __init__(self, where: str) -> None:
        self._where = where
        self._nearest_ns: int | None = None
        self._window_ns = 0
        self._offset_ns: int | None = None
        self._off = False

    def note(self, stamp_ns: int, received_ns: int) -> None:
        """Take note of a pose.

        Args:
            stamp_ns: The sender's stamp [ns since 1970]; 0: it gave none.
            received_ns: When the pose came, by our clock [ns since 1970].
        """
        if stamp_ns < WALL_CLOCK_FROM_NS:
            return
        offset_ns = stamp_ns - received_ns
        if self._nearest_ns is None:
            self._offset_ns = self._nearest_ns = offset_ns
            self._window_ns = received_ns
        elif 0 <= received_ns - self._window_ns < WINDOW_NS:
            self._nearest_ns = min(self._nearest_ns, offset_ns, key=abs)
        else:
            self._judge(self._nearest_ns)
            self._nearest_ns, self._window_ns = offset_ns, received_ns

    def offset_s(self) -> float | None:
        """Return by how much the sender's clock is ahead of the local one [s]; None: unknown."""
        return None if self._offset_ns is None else self._offset_ns * 1e-9

    def is_off(self) -> bool:
        """Return whether the sender's clock differs from ours by `OFF_S` or more."""
        return self._off

    def _judge(self, offset_ns: int) -> None:
        """Take the offset of a whole second for the clock's."""
        self._offset_ns = offset_ns
        off = abs(offset_ns) >= OFF_S * 1e9
        if off and not self._off:
            log.warning(
                "the clock of the sender of %s is off: its stamps are %.3f s %s our time",
                self._where,
                abs(offset_ns) * 1e-9,
                "after" if offset_ns > 0 else "before",
            )
        elif self._off and not off:
            log.warning("the clock of the sender of %s is right again", self._where)
        self._off = off

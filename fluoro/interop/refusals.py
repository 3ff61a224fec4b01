"""Refused messages: reasons, counts, and at most one log line for each reason and second."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter

from fluoro.errors import InputError

__all__ = ["FieldError", "Refusals", "RefusedError", "one_line"]

log = logging.getLogger(__name__)

INTERVAL_S = 1.0
"""Shortest time between two log lines of one reason."""
LONGEST = 300
"""Characters of a log line that a sender's values may fill."""


class RefusedError(InputError):
    """A message that came from outside is refused.

    Args:
        reason: What refusals are counted by: the path of a field, or a word such as "jump".
        text: The reason in one line, with what was expected and what came.
    """

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class FieldError(RefusedError):
    """A field of a message is outside its range.

    Args:
        field: Path of the field, such as "header.stamp.sec".
        text: What the field must be and what came, such as "must be at least 0, got -1".
    """

    def __init__(self, field: str, text: str) -> None:
        super().__init__(field, f"{field} {text}")


class Refusals:
    """Counts refusals by their reason, and logs them; threads may call any method at any time.

    Args:
        what: What is refused, the start of each log line, such as "a pose on rt/carm/pose".
    """

    def __init__(self, what: str) -> None:
        self._what, self._lock = what, threading.Lock()
        self._counts: Counter[str] = Counter()
        self._last = ""
        self._lines: dict[str, _Line] = {}

    def add(self, error: InputError) -> None:
        """Count a refusal, and log it unless its reason was logged within the last second."""
        reason = error.reason if isinstance(error, RefusedError) else "malformed"
        text = one_line(str(error))
        with self._lock:
            self._counts[reason] += 1
            self._last = text
            more = self._lines.setdefault(reason, _Line()).due(text, time.monotonic())
        if more is not None:
            self._log(text, more)

    def counts(self) -> dict[str, int]:
        """Return how many were refused, by reason."""
        with self._lock:
            return dict(self._counts)

    def last(self) -> str:
        """Return the newest reason in one line; empty before the first."""
        with self._lock:
            return self._last

    def close(self) -> None:
        """Log what is counted and not yet logged."""
        with self._lock:
            lines = [line for line in self._lines.values() if line.left_out]
            self._lines.clear()
        for line in lines:
            self._log(line.text, line.left_out - 1)

    def _log(self, text: str, more: int) -> None:
        others = f" (and {more} more for this reason)" if more else ""
        log.warning("%s is refused: %s%s", self._what, text, others)


class _Line:
    """When a reason may be logged again, and how many refusals have not been logged."""

    def __init__(self) -> None:
        self.text, self.left_out = "", 0
        self._due_s = 0.0

    def due(self, text: str, now_s: float) -> int | None:
        """Return how many others a line of now stands for; None: it is too early for a line."""
        self.text = text
        if now_s < self._due_s:
            self.left_out += 1
            return None
        more, self.left_out = self.left_out, 0
        self._due_s = now_s + INTERVAL_S
        return more


def one_line(text: str) -> str:
    """Return a text of others as one short line of printable characters."""
    shown = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return shown if len(shown) <= LONGEST else f"{shown[:LONGEST]} ..."

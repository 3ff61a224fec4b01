"""Unix time that never jumps, for the stamps of a run."""

from __future__ import annotations

import time

__all__ = ["steady_ns", "unix_ns"]

_OFFSET_NS = time.time_ns() - time.monotonic_ns()
"""Unix time of the monotonic clock's zero, by the machine's clock when the program started [ns]."""


def unix_ns(monotonic_ns: int) -> int:
    """Return the Unix time [ns] of a reading of the monotonic clock [ns]."""
    return _OFFSET_NS + monotonic_ns


def steady_ns() -> int:
    """Return Unix time [ns] by the machine's clock at the start and the monotonic clock since.

    Differences are exact although somebody sets the machine's clock during the run.
    """
    return _OFFSET_NS + time.monotonic_ns()

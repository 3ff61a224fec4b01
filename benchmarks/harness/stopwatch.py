"""One timed call. Only the standard library, because the peers' processes use it too."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

__all__ = ["Timed", "timed"]

QUIET_S = 0.02
"""Pause before a call, in which helper threads of the call before fall asleep."""


class Timed(NamedTuple):
    """A call's result and cost.

    Attributes:
        result: What it returned.
        seconds: Wall time.
        cpu_seconds: CPU time of all threads of this process.
    """

    result: Any
    seconds: float
    cpu_seconds: float


def timed(call: Callable[[], Any]) -> Timed:
    """Call once, by the clock."""
    time.sleep(QUIET_S)
    cpu, start = time.process_time(), time.perf_counter()
    result = call()
    return Timed(result, time.perf_counter() - start, time.process_time() - cpu)

"""CPU time of a process by its threads, and of functions by the thread that runs them (Linux)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

__all__ = ["FunctionTimes", "cpu_ms_by_thread"]

TASKS = Path("/proc/self/task")
OTHERS = "kernels and Holoscan's threads"
"""Name of threads that Python has not started."""


def cpu_ms_by_thread() -> dict[str, float]:
    """Return the CPU time so far [ms] of threads by name; those not from Python are one entry."""
    names = {
        each.native_id: each.name
        for each in threading.enumerate()
        if not isinstance(each, threading._DummyThread)
    }
    found: dict[str, float] = {}
    for task in TASKS.iterdir():
        try:
            nanoseconds = int((task / "schedstat").read_text().split()[0])
        except (OSError, IndexError):
            continue
        name = names.get(int(task.name), OTHERS)
        found[name] = found.get(name, 0.0) + 1e-6 * nanoseconds
    return found


class FunctionTimes:
    """Adds up the CPU time of methods' own thread.

    Attributes:
        total_ms: CPU time by name [ms].
    """

    def __init__(self) -> None:
        self.total_ms: dict[str, float] = {}

    def watch(self, owner: type, method: str, name: Callable[[Any], str]) -> Callable[[], None]:
        """Measure a method of a class from now on; the result puts it back.

        Args:
            owner: The class.
            method: Name of its method.
            name: Of the object, under which its time is added up.
        """
        before = getattr(owner, method)

        @wraps(before)
        def timed(self: Any, *arguments: Any, **named: Any) -> Any:
            begun_ns = time.thread_time_ns()
            try:
                return before(self, *arguments, **named)
            finally:
                spent_ms = 1e-6 * (time.thread_time_ns() - begun_ns)
                label = name(self)
                totals[label] = totals.get(label, 0.0) + spent_ms

        totals = self.total_ms
        setattr(owner, method, timed)
        return lambda: setattr(owner, method, before)

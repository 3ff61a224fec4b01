"""Holoscan's threads, kept known to Python from one tick to the next."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from functools import wraps
from typing import Any

__all__ = ["keep_gil_state"]

Compute = Callable[..., None]

_of_thread = threading.local()


def keep_gil_state(compute: Compute) -> Compute:
    """Return an operator's `compute` whose thread keeps its Python thread state.

    Holoscan's threads are not Python's. For each tick Python makes a thread's state with a stack of
    its own, and gives both back to the system at the end; then every core that works for the
    process, kernels too, has to stop and forget the addresses. It is a fourth of what a hop between
    two operators takes. So the first tick on a thread holds on to the state, about 5 kB, until
    the process ends.
    """

    @wraps(compute)
    def kept(*arguments: Any) -> None:
        if not hasattr(_of_thread, "held"):
            # counts up how often the thread has taken the interpreter's lock: never 0 again
            _of_thread.held = ctypes.pythonapi.PyGILState_Ensure()
        compute(*arguments)

    return kept

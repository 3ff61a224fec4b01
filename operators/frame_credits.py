"""How far a source of poses may be ahead of the renderer."""

from __future__ import annotations

from queue import Empty, SimpleQueue

__all__ = ["Turns"]


class Turns:
    """A semaphore in C, where `threading.Semaphore` wakes a thread by way of three locks in Python.

    Args:
        count: How many there are at first.
    """

    def __init__(self, count: int) -> None:
        self._free: SimpleQueue[None] = SimpleQueue()
        for _ in range(count):
            self._free.put(None)

    def take(self, timeout_s: float) -> bool:
        """Wait for a turn, and take it; False: none came in time."""
        try:
            self._free.get(timeout=timeout_s)
        except Empty:
            return False
        return True

    def give(self) -> None:
        """Let somebody have a turn."""
        self._free.put(None)

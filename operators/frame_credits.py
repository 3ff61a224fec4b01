"""How far a source of poses may be ahead of the renderer."""

from __future__ import annotations

from queue import Empty, SimpleQueue

__all__ = ["FrameCredits"]


class FrameCredits:
    """A semaphore in C, where `threading.Semaphore` wakes a thread by way of three locks in Python.

    Args:
        count: How many there are at first.
    """

    def __init__(self, count: int) -> None:
        self._free: SimpleQueue[None] = SimpleQueue()
        for _ in range(count):
            self._free.put(None)

    def acquire(self, timeout_s: float) -> bool:
        """Acquire a credit for one frame; False: none was released in time."""
        try:
            self._free.get(timeout=timeout_s)
        except Empty:
            return False
        return True

    def release(self) -> None:
        """Release a credit: one more frame may begin."""
        self._free.put(None)

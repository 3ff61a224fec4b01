"""Device buffers that are used again: a new one costs more than many a launch."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from threading import Lock
from typing import Any

__all__ = ["BufferPool"]

LARGEST_BYTES = 1 << 26
"""Larger buffers are volumes: they are not kept."""

MOST_BYTES = 1 << 28
"""Unused buffers of all sizes together; the size that was not used for longest is released first.
A frame of 1024 x 1024 pixels with five tissues has 30 MB, and a stream a few frames on their
way."""

STEP_BYTES = 256
"""Sizes are rounded up to multiples, so that small ones serve each other."""


class BufferPool:
    """Keeps unused buffers, by size.

    Args:
        create: Makes a buffer of a number of bytes.
    """

    def __init__(self, create: Callable[[int], Any]) -> None:
        self._create = create
        self._free: OrderedDict[int, list[Any]] = OrderedDict()  # the size last used is the last
        self._free_bytes = 0
        self._returned: deque[tuple[Any, int]] = deque()
        self._lock = Lock()
        self._is_open = True

    def take(self, size_bytes: int) -> tuple[Any, int]:
        """Return a buffer of at least `size_bytes`, with undefined contents, and its size."""
        size_bytes = max(-(-size_bytes // STEP_BYTES), 1) * STEP_BYTES
        with self._lock:
            self._keep_returned()
            free = self._free.get(size_bytes)
            if free:
                self._free.move_to_end(size_bytes)
                self._free_bytes -= size_bytes
                return free.pop(), size_bytes
        return self._create(size_bytes), size_bytes

    def give(self, buffer: Any, size_bytes: int) -> None:
        """Back a buffer that no launch uses any more; from any thread, at any moment.

        The end of an array may interrupt a thread inside `take`, so this never waits.
        """
        if not self._is_open or size_bytes > LARGEST_BYTES:
            return
        self._returned.append((buffer, size_bytes))
        if self._lock.acquire(blocking=False):
            try:
                self._keep_returned()
            finally:
                self._lock.release()

    def _keep_returned(self) -> None:
        while self._returned:
            buffer, size_bytes = self._returned.popleft()
            self._free.setdefault(size_bytes, []).append(buffer)
            self._free.move_to_end(size_bytes)
            self._free_bytes += size_bytes
        while self._free_bytes > MOST_BYTES:
            size_bytes, buffers = next(iter(self._free.items()))
            if buffers:
                buffers.pop()
                self._free_bytes -= size_bytes
            else:
                del self._free[size_bytes]

    def close(self) -> None:
        """Release all buffers, and of those that come back later."""
        self._is_open = False
        with self._lock:
            self._returned.clear()
            self._free.clear()
            self._free_bytes = 0

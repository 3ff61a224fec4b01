"""Device buffers that are used again: a new one costs more than many a launch."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable
from typing import Any

__all__ = ["BufferPool"]

LARGEST_BYTES = 1 << 26
"""Larger buffers are volumes: they are not kept."""

MOST_OF_A_SIZE = 16
"""A frame has a handful of images of a size, and a stream a few frames on their way."""

STEP_BYTES = 256
"""Sizes are rounded up to multiples, so that small ones serve each other."""


class BufferPool:
    """Keeps unused buffers, by size.

    Args:
        create: Makes a buffer of a number of bytes.
    """

    def __init__(self, create: Callable[[int], Any]) -> None:
        self._create = create
        self._free: defaultdict[int, deque[Any]] = defaultdict(lambda: deque(maxlen=MOST_OF_A_SIZE))
        self._is_open = True

    def take(self, size_bytes: int) -> tuple[Any, int]:
        """Return a buffer of at least `size_bytes`, with undefined contents, and its size."""
        size_bytes = max(-(-size_bytes // STEP_BYTES), 1) * STEP_BYTES
        try:
            return self._free[size_bytes].pop(), size_bytes
        except IndexError:
            return self._create(size_bytes), size_bytes

    def give(self, buffer: Any, size_bytes: int) -> None:
        """Back a buffer that no launch uses any more; from any thread."""
        if self._is_open and size_bytes <= LARGEST_BYTES:
            self._free[size_bytes].append(buffer)

    def close(self) -> None:
        """Release all buffers, and of those that come back later."""
        self._is_open = False
        self._free.clear()

"""What an image chain remembers from one frame to the next."""

from __future__ import annotations

from typing import Any

from fluoro.config import ImageChainConfig
from fluoro.rendering.devices import ComputeDevice

__all__ = ["FrameMemory"]


class FrameMemory:
    """Buffers of the stages that look back, on the device.

    They start afresh where the frame number does not rise (another run) and where the picture's
    size changes, and each of them where its stage was off in between: a run is replayed frame by
    frame from its first.
    """

    def __init__(self, device: ComputeDevice) -> None:
        self._device = device
        self._buffers: dict[str, Any] = {}
        self._shape: tuple[int, int] | None = None
        self._number = -1

    def begin(self, shape: tuple[int, int], number: int, config: ImageChainConfig) -> None:
        """Forget what does not belong to this frame."""
        if shape != self._shape or number <= self._number:
            self._buffers.clear()
        if not config.lag:
            self._buffers.pop("lag", None)
        if config.recursive_filter_weight >= 1:
            self._buffers.pop("recursive_filter", None)
        self._shape, self._number = shape, number

    def layers(self, stage: str, count: int) -> tuple[Any, int]:
        """A stage's pictures, shape (count, height, width), and 1 where they hold nothing yet."""
        fresh = stage not in self._buffers
        if fresh and self._shape:
            self._buffers[stage] = self._device.empty((count, *self._shape))
        return self._buffers[stage], int(fresh)

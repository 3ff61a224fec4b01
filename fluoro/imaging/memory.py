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
        self._counts: dict[str, int] = {}
        self._values: dict[str, float] = {}
        self._shape: tuple[int, int] | None = None
        self._number = -1

    def begin(self, shape: tuple[int, int], number: int, config: ImageChainConfig) -> None:
        """Forget what does not belong to this frame."""
        if shape != self._shape or number <= self._number:
            self._buffers.clear()
            self._counts.clear()
            self._values.clear()
        if not config.lag:
            self.forget("lag")
        if config.recursive_filter_weight >= 1:
            self.forget("recursive_filter")
        if not config.dsa:
            self.forget("dsa")
        if not config.brightness:
            self.forget("brightness")
        self._shape, self._number = shape, number

    @property
    def number(self) -> int:
        """Of the frame at hand."""
        return self._number

    def forget(self, stage: str) -> None:
        """Drop what a stage remembers."""
        for kept in (self._buffers, self._counts, self._values):
            for name in [name for name in kept if name.startswith(stage)]:
                del kept[name]

    def count(self, name: str) -> int:
        """How often this was called with the name before, since the name was last forgotten."""
        before = self._counts.get(name, 0)
        self._counts[name] = before + 1
        return before

    def changed(self, name: str, value: int) -> bool:
        """Whether a number that a stage goes by is another than before; the first time: no."""
        return self._counts.setdefault(name, value) != value

    def has(self, stage: str) -> bool:
        """Whether a stage has pictures of an earlier frame."""
        return stage in self._buffers

    def layers(self, stage: str, count: int) -> tuple[Any, int]:
        """A stage's pictures, shape (count, height, width), and 1 where they hold nothing yet."""
        fresh = stage not in self._buffers
        if fresh and self._shape:
            self._buffers[stage] = self._device.empty((count, *self._shape))
        return self._buffers[stage], int(fresh)

    def value(self, name: str, first: float) -> float:
        """A number that a stage has kept; `first` where there is none."""
        return self._values.get(name, first)

    def keep(self, name: str, value: float) -> None:
        """Keep a number for the next frame."""
        self._values[name] = value

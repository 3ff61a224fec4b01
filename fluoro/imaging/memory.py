"""What an image chain remembers from one frame to the next."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from fluoro.config import ImageChainConfig
from fluoro.rendering.devices import ComputeDevice

__all__ = ["FrameMemory", "KeptNumbers"]


class KeptNumbers(dict[str, float]):
    """Numbers that a stage keeps from frame to frame, by name."""

    def value(self, name: str, first: float) -> float:
        """A number that a stage has kept; `first` where there is none."""
        return self.get(name, first)

    def keep(self, name: str, value: float) -> None:
        """Keep a number for the next frame."""
        self[name] = value


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
        self.numbers = KeptNumbers()
        """What the brightness control and the held picture go by."""
        self._shape: tuple[int, int] | None = None
        self._number = -1

    def begin(self, shape: tuple[int, int], number: int, config: ImageChainConfig) -> None:
        """Forget what does not belong to this frame."""
        if not self.continues(shape, number):
            self._buffers.clear()
            self._counts.clear()
            self.numbers.clear()
        if not config.lag:
            self.forget("lag")
        if config.recursive_filter_weight >= 1:
            self.forget("recursive_filter")
        if not config.dsa:
            self.forget("dsa")
        if not config.brightness:
            self.forget("brightness")
        self._shape, self._number = shape, number

    def continues(self, shape: tuple[int, int], number: int) -> bool:
        """Whether a frame belongs to the run that is remembered."""
        return shape == self._shape and number > self._number

    @property
    def number(self) -> int:
        """Of the frame at hand."""
        return self._number

    def forget(self, stage: str) -> None:
        """Drop what a stage remembers."""
        for kept in (self._buffers, self._counts, self.numbers):
            for name in [name for name in kept if name.startswith(stage)]:
                del kept[name]

    def count(self, name: str) -> int:
        """How often this was called with the name before, since the name was last forgotten."""
        before = self._counts.get(name, 0)
        self._counts[name] = before + 1
        return before

    def counted(self, name: str, first: int) -> int:
        """How often a name was counted, or the number that a stage goes by; changes nothing."""
        return self._counts.get(name, first)

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

    def copy(self, stage: str) -> NDArray[Any] | None:
        """A stage's pictures on the host, shape (count, height, width); None: there are none."""
        kept = self._buffers.get(stage)
        return None if kept is None else self._device.to_host(kept).copy()

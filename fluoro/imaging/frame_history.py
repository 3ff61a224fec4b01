"""What an image chain remembers from one frame to the next."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from fluoro.imaging.fused import StageRunner
from fluoro.rendering.devices.base import ComputeDevice

__all__ = ["FrameMemory", "KeptNumbers"]


class KeptNumbers(dict[str, float]):
    """Numbers that a stage keeps from frame to frame, by name."""

    def value(self, name: str, first: float) -> float:
        """Return a number that a stage has kept; `first` where there is none."""
        return self.get(name, first)

    def keep(self, name: str, value: float) -> None:
        """Keep a number for the next frame."""
        self[name] = value


class FrameMemory:
    """Images of the stages that look back, on a device or in NumPy.

    They start afresh where the frame number does not rise (another run) and where the image's
    size changes, and each of them where its stage was off in between: a run is replayed frame by
    frame from its first.

    Args:
        device: Where kernels keep images by `layers`; None: NumPy keeps them by `store`.
    """

    def __init__(self, device: ComputeDevice | None = None) -> None:
        self._device = device
        self._buffers: dict[str, Any] = {}
        self._counts: dict[str, int] = {}
        self.numbers = KeptNumbers()
        """What the brightness control and the held image go by."""
        self._shape: tuple[int, int] | None = None
        self._number = -1

    def begin(self, shape: tuple[int, int], number: int, unused: Iterable[str]) -> None:
        """Forget what does not belong to this frame.

        Args:
            shape: Of the frame's image (height, width).
            number: Of the frame.
            unused: Stages that are off.
        """
        if not self.continues(shape, number):
            self._buffers.clear()
            self._counts.clear()
            self.numbers.clear()
        for stage in unused:
            self.forget(stage)
        self._shape, self._number = shape, number

    def continues(self, shape: tuple[int, int], number: int) -> bool:
        """Return whether a frame belongs to the run that is remembered."""
        return shape == self._shape and number > self._number

    @contextmanager
    def as_it_is(self) -> Iterator[int]:
        """Yield the number of a frame that leaves no number behind: the last one, seen again."""
        number, numbers = self._number, dict(self.numbers)
        yield number + 1
        self._number = number
        self.numbers.clear()
        self.numbers.update(numbers)

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

    def changed(self, name: str, value: int) -> bool:
        """Return whether a number that a stage depends on has changed; False the first time."""
        return self._counts.setdefault(name, value) != value

    def has(self, stage: str) -> bool:
        """Return whether a stage has images of an earlier frame."""
        return stage in self._buffers

    def layers(self, stage: str, count: int) -> tuple[Any, int]:
        """A stage's images, shape (count, height, width), and 1 where they hold nothing yet."""
        fresh = stage not in self._buffers
        if fresh and self._shape and self._device:
            self._buffers[stage] = self._device.empty((count, *self._shape))
        return self._buffers[stage], int(fresh)

    def stored(self, stage: str) -> NDArray[Any] | None:
        """Return a stage's images in NumPy; None where there are none."""
        return self._buffers.get(stage)

    def store(self, stage: str, images: NDArray[Any]) -> None:
        """Keep a stage's images in NumPy, shape (count, height, width)."""
        self._buffers[stage] = images

    def copy(self) -> Self:
        """Return the memory in NumPy, images in float64; later frames change neither."""
        copied = type(self)()
        copied._counts, copied.numbers = dict(self._counts), KeptNumbers(self.numbers)
        copied._shape, copied._number = self._shape, self._number
        copied._buffers = {name: self._on_host(kept) for name, kept in self._buffers.items()}
        return copied

    def branch(self) -> Self:
        """Return a memory of its own on the same device; frames of neither change the other."""
        branch = type(self)(self._device)
        branch._counts, branch.numbers = dict(self._counts), KeptNumbers(self.numbers)
        branch._shape, branch._number = self._shape, self._number
        branch._buffers = {name: self._duplicate(kept) for name, kept in self._buffers.items()}
        return branch

    def _duplicate(self, images: Any) -> Any:
        if self._device is None:
            return images  # `store` never changes an image in place
        size = (images.shape[2], images.shape[0] * images.shape[1], 1)
        copy = self._device.empty(images.shape)
        runner = StageRunner(self._device, fused=False)
        runner.run("copy_integrals", copy, size, {"integrals": images})
        return copy

    def _on_host(self, images: Any) -> NDArray[np.float64]:
        """An image that `store` has kept is never changed in place, so it is not copied."""
        return np.array(self._device.to_host(images), float) if self._device else images

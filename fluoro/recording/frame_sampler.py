"""A few frames kept from a run of unknown length, evenly spaced, in bounded memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fluoro.errors import InputError
from fluoro.geometry.carm import CarmGeometry, CarmPose

__all__ = ["EvenSample", "SampledFrame", "evenly"]

LONGEST_EDGE_PX = 480
"""To which larger images are reduced: that of the images made from them."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SampledFrame:
    """A frame as the contact sheet and the movie need it.

    Attributes:
        grey: Grey levels, shape (height, width), longest edge at most 480.
        number: Number of the frame in the stream.
        pose: Where the C-arm stood.
        geometry: The C-arm's lengths and detector.
    """

    grey: NDArray[np.uint8]
    number: int
    pose: CarmPose
    geometry: CarmGeometry


class EvenSample:
    """Every k-th frame; k doubles, and every second one is dropped, when there are too many.

    Args:
        capacity: Most frames kept, at least 2.
        expected: Length of the run where it is known: then k is right from the start.

    Raises:
        InputError: A capacity below 2.
    """

    def __init__(self, capacity: int = 120, expected: int | None = None) -> None:
        if capacity < 2:
            raise InputError(f"capacity must be at least 2, got {capacity}")
        self._capacity = capacity
        self._stride = max(1, -(-(expected or 1) // capacity))
        self._seen = 0
        self._kept: list[SampledFrame] = []

    @property
    def frames(self) -> list[SampledFrame]:
        """The frames kept so far, in order."""
        return list(self._kept)

    @property
    def stride(self) -> int:
        """Distance between the kept frames."""
        return self._stride

    def offer(
        self, grey: NDArray[np.uint8], number: int, pose: CarmPose, geometry: CarmGeometry
    ) -> None:
        """Count a frame, and keep a copy if it is its turn."""
        if self._seen % self._stride == 0:
            if len(self._kept) == self._capacity:
                self._thin_out()
            if self._seen % self._stride == 0:
                small = _reduced(grey)
                self._kept.append(
                    SampledFrame(grey=small, number=number, pose=pose, geometry=geometry)
                )
        self._seen += 1

    def _thin_out(self) -> None:
        self._kept = self._kept[::2]
        self._stride *= 2


def evenly(frames: list[SampledFrame], count: int) -> list[SampledFrame]:
    """At most `count` of the frames, evenly spaced, with the first and the last."""
    if len(frames) <= count:
        return frames
    return [frames[round(i)] for i in np.linspace(0, len(frames) - 1, count)]


def _reduced(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    factor = max(grey.shape) / LONGEST_EDGE_PX
    if factor <= 1:
        return grey
    height, width = (max(1, round(edge / factor)) for edge in grey.shape)
    return np.asarray(Image.fromarray(grey).resize((width, height), Image.Resampling.BOX))

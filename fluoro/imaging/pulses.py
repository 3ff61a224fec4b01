"""Pulsed fluoroscopy: which frames of the stream are pulses of X-rays."""

from __future__ import annotations

import math
from dataclasses import replace

from fluoro.imaging.frame import FrameHeader

__all__ = ["PulseClock", "is_pulse"]


def is_pulse(number: int, share: float) -> bool:
    """Return whether a frame is a pulse, where `share` (0 to 1) of the frames are, evenly spread.

    Frame 0 always is.
    """
    slack = 1e-9  # 7.5 of 30 frames must not depend on the last bit
    return math.floor(number * share + slack) > math.floor((number - 1) * share + slack)


class PulseClock:
    """Turns the frames between two pulses into repetitions of the last one.

    Args:
        fps: Frames of the stream per second.
    """

    def __init__(self, fps: float) -> None:
        self._fps = fps
        self._last: FrameHeader | None = None

    def applied(self, header: FrameHeader, rate_hz: float | None) -> FrameHeader:
        """The header as it is, or, between pulses, with what the last pulse was taken with."""
        share = 1.0 if rate_hz is None else min(rate_hz / self._fps, 1.0)
        last = self._last
        if last is None or is_pulse(header.number, share):
            self._last = header
            return header
        return replace(
            header,
            pose=last.pose,
            geometry=last.geometry,
            time_s=last.time_s,
            injected_s=last.injected_s,
            pulse=False,
        )

"""The period of a source of frames, in steps so short that a stop is seen soon at any rate."""

from __future__ import annotations

import math
import time
from typing import Any

from holoscan.conditions import PeriodicCondition, PeriodicConditionPolicy

from fluoro.config import Config

__all__ = ["Pace", "pace_fps"]

LONGEST_STEP_NS = 200_000_000
"""A source looks at least so often whether the stream is to end."""


def pace_fps(config: Config) -> float | None:
    """Return the frame rate that a run keeps [1/s]; None: frames come as fast as they can."""
    paced = config.run.pacing == "paced" and config.pose_source.by_clock
    return config.run.fps if paced else None


class Pace:
    """Ticks of a source: one a period, or several of which one is a frame's.

    A period keeps its phase and never catches up.

    Args:
        fps: Frames per second; None: as fast as the graph goes.
    """

    def __init__(self, fps: float | None) -> None:
        self._period_ns = round(1e9 / fps) if fps else 0
        self._steps = max(1, math.ceil(self._period_ns / LONGEST_STEP_NS))
        self._due_ns: int | None = None

    def conditions(self, fragment: Any) -> list[PeriodicCondition]:
        """Return what makes a source of a fragment tick."""
        if not self._period_ns:
            return []
        policy = PeriodicConditionPolicy.NO_CATCH_UP_MISSED_TICKS
        return [PeriodicCondition(fragment, self._step_ns, policy, name="pace")]

    @property
    def _step_ns(self) -> int:
        return round(self._period_ns / self._steps)

    def is_due(self) -> bool:
        """Return whether this tick is a frame's."""
        if self._steps == 1:
            return True
        now_ns = time.monotonic_ns()
        if self._due_ns is None:
            self._due_ns = now_ns
        late_ns = now_ns - self._due_ns + self._step_ns // 2  # a tick may come a little early
        if late_ns < 0:
            return False
        self._due_ns += self._period_ns * (1 + late_ns // self._period_ns)
        return True

"""The door: what a pose must be to reach the renderer, and how many were turned away."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from fluoro.errors import InputError
from fluoro.geometry.carm import CarmPose
from fluoro.geometry.limits import CarmLimits

__all__ = ["PoseDoor"]

ORIGIN = (0.0, 0.0, 0.0)


class _RefusedError(Exception):
    """Why a pose is turned away."""


class PoseDoor:
    """Admits poses that can be read, lie within the limits and do not jump.

    Whoever keeps jumping is admitted again once the door has been silent for its memory: then
    the next pose is a new beginning.

    Args:
        limits: How far the C-arm reaches; beyond it a pose is cut or refused, as they say.
        max_jump_deg: Largest turn from the pose admitted last [degrees].
        max_jump_mm: Largest move of the isocentre from there [mm].
        memory_ns: Age at which the pose admitted last is forgotten [ns].

    Attributes:
        refused: Poses turned away, by the reason.
        clamped: Values that a limit cut short, by their name.
    """

    def __init__(
        self, limits: CarmLimits, *, max_jump_deg: float, max_jump_mm: float, memory_ns: int
    ) -> None:
        self._limits, self._memory_ns = limits, memory_ns
        self._max_jump_deg, self._max_jump_mm = max_jump_deg, max_jump_mm
        self._last: NDArray[np.float64] | None = None
        self._last_ns = self._last_stamp_ns = 0
        self.refused: Counter[str] = Counter()
        self.clamped: Counter[str] = Counter()

    def admit(self, read: Callable[[], CarmPose], stamp_ns: int, now_ns: int) -> CarmPose | None:
        """The pose that `read` gives, or None where it is refused.

        Args:
            read: Makes the pose of a message; an InputError is a refusal.
            stamp_ns: The sender's own stamp; 0: it gave none.
            now_ns: Time of a clock that only goes forward.
        """
        try:
            pose, cut = self._checked(read, stamp_ns, now_ns)
        except _RefusedError as reason:
            self.refuse(str(reason))
            return None
        self.clamped.update(cut)
        return pose

    def forget(self) -> None:
        """Take the next pose for a new beginning."""
        self._last, self._last_stamp_ns = None, 0

    def refuse(self, reason: str) -> None:
        """Count a pose that is turned away."""
        self.refused[reason] += 1

    def _checked(
        self, read: Callable[[], CarmPose], stamp_ns: int, now_ns: int
    ) -> tuple[CarmPose, tuple[str, ...]]:
        if now_ns - self._last_ns > self._memory_ns:
            self.forget()
        if 0 < stamp_ns <= self._last_stamp_ns:
            raise _RefusedError("old stamp")
        pose, cut = self._within_limits(_read(read))
        matrix = pose.world_from_carm(ORIGIN)
        if self._jumps(matrix):
            raise _RefusedError("jump")
        self._last, self._last_ns, self._last_stamp_ns = matrix, now_ns, stamp_ns
        return pose, cut

    def _within_limits(self, pose: CarmPose) -> tuple[CarmPose, tuple[str, ...]]:
        try:
            return self._limits.applied(pose)
        except InputError:
            raise _RefusedError("limit") from None

    def _jumps(self, matrix: NDArray[np.float64]) -> bool:
        if self._last is None:
            return False
        return (
            turn_deg(self._last, matrix) > self._max_jump_deg
            or math.dist(self._last[:3, 3], matrix[:3, 3]) > self._max_jump_mm
        )


def _read(read: Callable[[], CarmPose]) -> CarmPose:
    try:
        return read()
    except InputError:
        raise _RefusedError("malformed") from None


def turn_deg(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Angle of the turn between two 4x4 poses [degrees]; steep near 0, where arccos is flat."""
    chord = math.dist(a[:3, :3].ravel().tolist(), b[:3, :3].ravel().tolist()) / math.sqrt(8)
    return math.degrees(2 * math.asin(min(1.0, chord)))

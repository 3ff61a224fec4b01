"""The pose filter: what a pose must be to reach the renderer."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fluoro.errors import InputError
from fluoro.geometry.carm import CarmPose
from fluoro.geometry.limits import CarmLimits
from fluoro.interop.refusals import RefusedError

__all__ = ["PoseFilter", "SentPose"]

ORIGIN = (0.0, 0.0, 0.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class SentPose:
    """What a sender says.

    Attributes:
        pose: Where the C-arm is to stand.
        stamp_ns: The sender's own stamp [ns since 1970]; 0: it gave none.
    """

    pose: CarmPose
    stamp_ns: int = 0


class PoseFilter:
    """Admits poses that can be read, lie within the limits and do not jump.

    A sender that keeps jumping, or whose time was set back, is admitted again once the filter has
    admitted nothing for its memory: then the next pose is a new beginning.

    Args:
        limits: How far the C-arm reaches; beyond it a pose is cut or refused, as they say.
        max_jump_deg: Largest turn from the pose admitted last [degrees].
        max_jump_mm: Largest move of the isocentre from there [mm].
        memory_ns: Age at which the pose admitted last is forgotten [ns].

    Attributes:
        clamped: Values that a limit cut short, by their name.
    """

    def __init__(
        self, limits: CarmLimits, *, max_jump_deg: float, max_jump_mm: float, memory_ns: int
    ) -> None:
        self._limits, self._memory_ns = limits, memory_ns
        self._max_jump_deg, self._max_jump_mm = max_jump_deg, max_jump_mm
        self._last: NDArray[np.float64] | None = None
        self._last_ns = self._last_stamp_ns = 0
        self.clamped: Counter[str] = Counter()

    def admit(self, read: Callable[[], SentPose], now_ns: int) -> SentPose:
        """Return the pose that `read` gives, within the limits.

        Args:
            read: Makes the pose of a message; an InputError is a refusal.
            now_ns: Time of a clock that only goes forward.

        Raises:
            InputError: The pose is refused; a RefusedError where the reason has a name.
        """
        if now_ns - self._last_ns > self._memory_ns:
            self.forget()
        sent = read()
        self._require_newer(sent.stamp_ns)
        pose, cut = self._within_limits(sent.pose)
        matrix = pose.world_from_carm(ORIGIN)
        self._require_near(matrix)
        self._last, self._last_ns, self._last_stamp_ns = matrix, now_ns, sent.stamp_ns
        self.clamped.update(cut)
        return sent if pose is sent.pose else SentPose(pose=pose, stamp_ns=sent.stamp_ns)

    def forget(self) -> None:
        """Take the next pose for a new beginning."""
        self._last, self._last_stamp_ns = None, 0

    def _require_newer(self, stamp_ns: int) -> None:
        if 0 < stamp_ns <= self._last_stamp_ns:
            raise RefusedError(
                "old stamp",
                f"the stamp must be after {_seconds(self._last_stamp_ns)}, the stamp of the "
                f"pose before, got {_seconds(stamp_ns)}",
            )

    def _within_limits(self, pose: CarmPose) -> tuple[CarmPose, tuple[str, ...]]:
        try:
            return self._limits.applied(pose)
        except InputError as error:
            raise RefusedError("limit", str(error)) from None

    def _require_near(self, matrix: NDArray[np.float64]) -> None:
        if self._last is None:
            return
        turn = turn_deg(self._last, matrix)
        if turn > self._max_jump_deg:
            raise _jump("turn", turn, self._max_jump_deg, "max_jump_deg")
        move_mm = math.dist(self._last[:3, 3], matrix[:3, 3])
        if move_mm > self._max_jump_mm:
            raise _jump("move", move_mm, self._max_jump_mm, "max_jump_mm")


def _jump(what: str, value: float, most: float, key: str) -> RefusedError:
    unit = "degrees" if key.endswith("deg") else "mm"
    text = f"the {what} from the pose before must be at most {most:g} {unit} ({key})"
    return RefusedError("jump", f"{text}, got {value:g}")


def _seconds(time_ns: int) -> str:
    sec, nanosec = divmod(time_ns, 1_000_000_000)
    return f"{sec}.{nanosec:09d} s"


def turn_deg(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Angle of the turn between two 4x4 poses [degrees]; steep near 0, where arccos is flat."""
    chord = math.dist(a[:3, :3].ravel().tolist(), b[:3, :3].ravel().tolist()) / math.sqrt(8)
    return math.degrees(2 * math.asin(min(1.0, chord)))

"""How far a C-arm reaches: poses beyond are refused, or brought back and reported."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

from fluoro.errors import InputError
from fluoro.geometry.carm import CarmPose
from fluoro.names import OnLimit

__all__ = ["CarmLimits"]

Range = tuple[float, float]
ANGLES = ("lao_deg", "cra_deg", "roll_deg")
AXES = ("x_mm", "y_mm", "z_mm")
SLACK = 1e-6
"""Degrees or mm beyond a limit that are rounding."""


@dataclass(frozen=True, kw_only=True)
class CarmLimits:
    """Ranges of a pose, each (low, high) with both ends allowed; None: without limit.

    Primary angle and roll count modulo a turn: 270 is -90.

    Attributes:
        lao_deg: Primary angle [degrees].
        cra_deg: Secondary angle [degrees].
        roll_deg: Detector roll [degrees].
        x_mm: Translation of the C-arm towards the patient's left [mm].
        y_mm: The same towards the back [mm].
        z_mm: The same towards the head [mm].
        on_limit: "error" refuses a pose beyond, "clamp" moves it to the nearest end.

    Raises:
        InputError: A range whose ends are not finite or not in order.
    """

    lao_deg: Range | None = None
    cra_deg: Range | None = None
    roll_deg: Range | None = None
    x_mm: Range | None = None
    y_mm: Range | None = None
    z_mm: Range | None = None
    on_limit: OnLimit = "error"

    def __post_init__(self) -> None:
        for name in (*ANGLES, *AXES):
            span = getattr(self, name)
            if span is not None and not (all(map(math.isfinite, span)) and span[0] <= span[1]):
                raise InputError(f"limits.{name} must be low to high, got {span}")

    @cached_property
    def unlimited(self) -> bool:
        """Whether there is no range."""
        return all(getattr(self, name) is None for name in (*ANGLES, *AXES))

    def applied(self, pose: CarmPose) -> tuple[CarmPose, tuple[str, ...]]:
        """Return the pose within the limits, and the names of what was moved for that.

        Raises:
            InputError: The pose is beyond a limit and `on_limit` is "error".
        """
        if self.unlimited:
            return pose, ()
        wanted = {name: getattr(pose, name) for name in ANGLES}
        wanted |= dict(zip(AXES, pose.translation_mm, strict=True))
        reached = {name: self._nearest(name, value) for name, value in wanted.items()}
        moved = tuple(name for name in wanted if reached[name] != wanted[name])
        if not moved:
            return pose, ()
        if self.on_limit == "error":
            low, high = getattr(self, moved[0])
            raise InputError(
                f"{moved[0]} must be {low:g} to {high:g} (carm.limits), got {wanted[moved[0]]:g}"
            )
        x, y, z = (reached.pop(name) for name in AXES)
        return replace(pose, **reached, translation_mm=(x, y, z)), moved

    def _nearest(self, name: str, value: float) -> float:
        span: Range | None = getattr(self, name)
        if span is None:
            return value
        low, high = span
        turned = _about((low + high) / 2, value) if name in ("lao_deg", "roll_deg") else value
        if low - SLACK <= turned <= high + SLACK:
            return value
        return low if turned < low else high


def _about(middle_deg: float, angle_deg: float) -> float:
    """The same direction as an angle within half a turn of another."""
    return middle_deg + math.remainder(angle_deg - middle_deg, 360.0)

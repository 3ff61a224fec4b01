"""A helix about the patient: it turns at constant speed while the C-arm moves along the body."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from fluoro.config.section import Angle, Shift, Turn
from fluoro.poses.base import PoseSourceSection

if TYPE_CHECKING:
    from fluoro.geometry.carm import CarmPose
    from fluoro.geometry.trajectory import Trajectory

__all__ = ["HelixPoses"]


class HelixPoses(PoseSourceSection):
    """A turn about the patient's long axis at constant speed, while the C-arm moves along it."""

    kind: Literal["helix"]
    start_deg: Angle = Field(0.0, description="First primary angle [degrees].")
    degrees_per_second: Turn = Field(30.0, description="Angular velocity, + towards LAO.")
    mm_per_turn: Shift = Field(60.0, description="Shift along the patient each turn, + cranial.")

    def trajectory(self, seed: int = 0) -> Trajectory:
        """Return pose by time [s]."""
        del seed
        return self._pose

    def _pose(self, time_s: float) -> CarmPose:
        from fluoro.geometry.carm import CarmPose

        turned_deg = self.degrees_per_second * time_s
        return CarmPose(
            lao_deg=self.start_deg + turned_deg,
            translation_mm=(0.0, 0.0, self.mm_per_turn * turned_deg / 360.0),
        )

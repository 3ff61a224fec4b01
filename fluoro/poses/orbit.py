"""A turn about the patient at constant speed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from fluoro.config.section import Angle, Turn, Vector
from fluoro.poses.base import PoseConfig, PoseSourceSection

if TYPE_CHECKING:
    from fluoro.geometry.carm import CarmPose
    from fluoro.geometry.trajectory import Trajectory

__all__ = ["OrbitPoses"]


class OrbitPoses(PoseSourceSection):
    """A turn about the patient's long axis at constant speed."""

    kind: Literal["orbit"]
    start_deg: Angle = Field(-90.0, description="First primary angle [degrees].")
    degrees_per_second: Turn = Field(30.0, description="Angular velocity, + towards LAO.")
    cra_deg: Angle = Field(0.0, description="Secondary angle [degrees].")
    roll_deg: Angle = Field(0.0, description="Detector roll about the beam [degrees].")
    translation_mm: Vector = Field((0.0, 0.0, 0.0), description="C-arm shift, world LPS [mm].")

    def shown_pose(self) -> PoseConfig:
        """Return roll and shift, which do not move."""
        return PoseConfig(roll_deg=self.roll_deg, translation_mm=self.translation_mm)

    def trajectory(self, seed: int = 0) -> Trajectory:
        """Return pose by time [s]."""
        del seed
        return self._pose

    def _pose(self, time_s: float) -> CarmPose:
        from fluoro.geometry.carm import CarmPose

        return CarmPose(
            lao_deg=self.start_deg + self.degrees_per_second * time_s,
            cra_deg=self.cra_deg,
            roll_deg=self.roll_deg,
            translation_mm=self.translation_mm,
        )

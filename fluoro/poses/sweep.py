"""A sweep of the primary angle, then one of the secondary."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from fluoro.config.section import Angle, Duration, Range, Vector
from fluoro.poses.base import PoseConfig, PoseSourceSection

if TYPE_CHECKING:
    from fluoro.geometry.carm import CarmPose
    from fluoro.geometry.trajectory import Trajectory

__all__ = ["SweepPoses"]


class SweepPoses(PoseSourceSection):
    """A there-and-back sweep of the primary angle, then one of the secondary; smooth at the ends.

    Each sweep starts and ends at the angle nearest to 0 of its range, so that they join.
    """

    kind: Literal["sweep"]
    lao_range_deg: Range = Field((-40.0, 40.0), description="Ends of the RAO/LAO sweep [degrees].")
    cra_range_deg: Range = Field((0.0, 25.0), description="Ends of the CAU/CRA sweep [degrees].")
    roll_deg: Angle = Field(0.0, description="Detector roll about the beam [degrees].")
    translation_mm: Vector = Field((0.0, 0.0, 0.0), description="C-arm shift, world LPS [mm].")
    period_s: Duration = Field(10.0, description="Duration of both sweeps together [s].")

    def shown_pose(self) -> PoseConfig:
        """Return roll and shift, which do not move."""
        return PoseConfig(roll_deg=self.roll_deg, translation_mm=self.translation_mm)

    def trajectory(self, seed: int = 0) -> Trajectory:
        """Return pose by time [s]."""
        del seed
        return self._pose

    def _pose(self, time_s: float) -> CarmPose:
        from fluoro.geometry.carm import CarmPose

        half = (time_s / self.period_s) % 1.0 * 2
        lao = _there_and_back(self.lao_range_deg, min(half, 1.0))
        cra = _there_and_back(self.cra_range_deg, max(half - 1.0, 0.0))
        return CarmPose(
            lao_deg=lao, cra_deg=cra, roll_deg=self.roll_deg, translation_mm=self.translation_mm
        )


def _there_and_back(ends_deg: tuple[float, float], share: float) -> float:
    """Once through both ends and back to the angle nearest to 0, at rest at the start and end."""
    low, high = min(ends_deg), max(ends_deg)
    middle, reach = (low + high) / 2, (high - low) / 2
    if reach == 0:
        return middle
    nearest = (min(max(0.0, low), high) - middle) / reach
    start = math.asin(min(max(nearest, -1.0), 1.0))  # rounding may lead out of [-1, 1]
    eased = share - math.sin(2 * math.pi * share) / (2 * math.pi)
    return middle + reach * math.sin(start + 2 * math.pi * eased)

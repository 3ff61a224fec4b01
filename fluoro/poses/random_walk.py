"""A smooth random walk about a pose."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from fluoro.config.section import Duration, Sigma
from fluoro.poses.base import PoseConfig, PoseSourceSection

if TYPE_CHECKING:
    from fluoro.geometry.carm import CarmPose
    from fluoro.geometry.trajectory import Trajectory

__all__ = ["RandomWalkPoses"]

WAVES = 48
"""Sinusoids that a random walk is made of: enough for a normal distribution to the eye."""


class RandomWalkPoses(PoseSourceSection):
    """A smooth random walk (stationary Gaussian process) about a pose; the same for a run seed."""

    kind: Literal["random_walk"]
    center: PoseConfig = Field(PoseConfig(), description="Pose about which it walks.")
    angle_sigma_deg: Sigma = Field(10.0, description="Standard deviation of each angle.")
    translation_sigma_mm: Sigma = Field(10.0, description="Standard deviation of each axis.")
    correlation_s: Duration = Field(2.0, description="Correlation time [s].")

    def shown_pose(self) -> PoseConfig:
        """Return the pose about which it walks."""
        return self.center

    def trajectory(self, seed: int = 0) -> Trajectory:
        """Return pose by time [s]: correlation exp(-(t / correlation_s)^2 / 2), as waves.

        Being a sum of sinusoids with drawn frequencies and phases, it is a function of time alone:
        any frame of it can be had without those before.
        """
        import numpy as np

        from fluoro.geometry.carm import CarmPose

        rng = np.random.default_rng(seed)
        frequency = rng.normal(0.0, 1.0 / self.correlation_s, (6, WAVES))
        phase = rng.uniform(0.0, 2 * math.pi, (6, WAVES))
        sigma = np.array([self.angle_sigma_deg] * 3 + [self.translation_sigma_mm] * 3)
        center = self.center

        def pose(time_s: float) -> CarmPose:
            waves = np.cos(frequency * time_s + phase).sum(axis=1) * math.sqrt(2 / WAVES)
            lao, cra, roll, *shift = (float(value) for value in sigma * waves)
            x, y, z = np.add(center.translation_mm, shift).tolist()
            return CarmPose(
                lao_deg=center.lao_deg + lao,
                cra_deg=center.cra_deg + cra,
                roll_deg=center.roll_deg + roll,
                translation_mm=(x, y, z),
            )

        return pose

"""What a registration returns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fluoro.geometry.carm import CarmPose
from fluoro.geometry.projection import View
from fluoro.registration.next_steps import NEXT_STEPS, Cause

__all__ = ["RegistrationResult", "Step"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Step:
    """One iteration.

    Attributes:
        level: Detector columns of the level.
        candidate: Which of the level's starts this belongs to, from 0.
        iteration: Evaluations with derivatives on this level so far.
        cost: Of the level's measure.
        motion: 4x4 world motion of the views from where they started.
    """

    level: int
    candidate: int
    iteration: int
    cost: float
    motion: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class RegistrationResult:
    """Where the views stand, how well that is known, and whether to believe it.

    Attributes:
        motion: 4x4 motion of all views in world LPS [mm] from where they started.
        views: The views there.
        covariance: Of the left world twist (omega_x, omega_y, omega_z [rad], v_x, v_y, v_z [mm])
            about the centre, (6, 6), from noise and from how well the C-arm's lengths are known
            (`search/uncertainty.py`). 0 for what was fixed; nan where the images do not tell the
            pose.
        axis_sigma: Standard deviations of the six `DEGREES_OF_FREEDOM` in the first view's axes at
            the end [rad, mm].
        converged: Whether the pose is to be believed.
        reason: Why, in one line.
        evidence: The values behind the acceptance, by name. Of a pose that the agreement accepts
            also the error to be expected of the corners of a 120 mm cube at the centre, as standard
            deviations: `in_plane_mm` in the first view's plane, `along_beam_mm` along its beam; and
            `principal_point_mm`, the standard deviation on the detector to which the image alone
            tells where the central ray meets it: a principal point that is wrong by less than three
            times as much may go unnoticed.
        confidence: Probability that the pose is right, 0 to 1.
        cause: What speaks against it; None: nothing.
        history: Every iteration.
        iterations: Evaluations with derivatives on the last level.
        renderings: Images with derivatives on all levels.
        seconds: Wall time.
    """

    motion: NDArray[np.float64]
    views: tuple[View, ...]
    covariance: NDArray[np.float64]
    axis_sigma: NDArray[np.float64]
    converged: bool
    reason: str
    evidence: dict[str, float]
    confidence: float
    cause: Cause | None
    history: tuple[Step, ...]
    iterations: int
    renderings: int
    seconds: float

    @property
    def next_step(self) -> str:
        """What to try where the pose is not believed, one clause; else empty."""
        return NEXT_STEPS[self.cause] if self.cause else ""

    def carm_pose(self, start: CarmPose, isocenter_xyz_mm: Sequence[float]) -> CarmPose:
        """Return the C-arm's pose, from the one that a view started at."""
        moved = self.motion @ start.world_from_carm(isocenter_xyz_mm)
        return CarmPose.from_world_from_carm(moved, isocenter_xyz_mm)

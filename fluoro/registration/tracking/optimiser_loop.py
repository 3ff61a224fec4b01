"""A pose on its way down a loss, as a user's optimiser takes it, and the record of that way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fluoro.geometry.carm import CarmPose
from fluoro.registration.measures.metrics import cube_corners_xyz_mm, mtre_mm
from fluoro.registration.pose_loss import PoseGradient
from fluoro.registration.rigid_motion import motion_about
from fluoro.registration.tracking.track_record import pose_facts
from fluoro.registration.tracking.user_optimiser import Optimiser, checked_step

__all__ = ["OptimiserLoop"]


class OptimiserLoop:
    """Moves a pose by an optimiser's steps.

    Args:
        optimiser: Makes each step.
        start: First pose.
        isocenter_xyz_mm: About which the steps turn, patient LPS [mm].
    """

    def __init__(
        self, optimiser: Optimiser, start: CarmPose, isocenter_xyz_mm: Sequence[float]
    ) -> None:
        self._optimiser, self._isocenter = optimiser, isocenter_xyz_mm
        self._matrix = self._evaluated = start.world_from_carm(isocenter_xyz_mm)
        self._corners = cube_corners_xyz_mm(isocenter_xyz_mm)
        self._rows: list[dict[str, Any]] = []
        self.stopped = False

    @property
    def pose(self) -> CarmPose:
        """Where the next evaluation is wanted."""
        return CarmPose.from_world_from_carm(self._matrix, self._isocenter)

    def take(self, evaluation: PoseGradient, true_pose: CarmPose) -> None:
        """Take a note of an evaluation of `pose`, and move on.

        Raises:
            InputError: The optimiser fails, or returns what is no step.
        """
        truth = true_pose.world_from_carm(self._isocenter)
        self._rows.append(
            {
                "iteration": evaluation.iteration,
                "loss": evaluation.loss,
                "gradient": evaluation.gradient.tolist(),
                "mtre_mm": mtre_mm(self._matrix, truth, self._corners),
            }
        )
        self._evaluated = self._matrix
        twist = checked_step(self._optimiser, evaluation)
        if twist is None:
            self.stopped = True
        else:
            self._matrix = np.asarray(motion_about(twist, self._isocenter) @ self._matrix)

    def ended(self, frames: int) -> bool:
        """Return whether the optimiser has stopped, or has had `frames` evaluations."""
        return self.stopped or len(self._rows) >= frames

    def rows(self) -> list[dict[str, Any]]:
        """Return the evaluations, one for each line of run.json."""
        return list(self._rows)

    def facts(self) -> dict[str, Any]:
        """Return plain data for run.json, of the last evaluation; None where there was none."""
        pose = CarmPose.from_world_from_carm(self._evaluated, self._isocenter)
        first, last = (self._rows[0], self._rows[-1]) if self._rows else ({}, {})
        return {
            "class": type(self._optimiser).__name__,
            "stopped": self.stopped,
            "iterations": len(self._rows),
            "pose": pose_facts(pose),
            "loss_start": first.get("loss"),
            "loss": last.get("loss"),
            "mtre_start_mm": first.get("mtre_mm"),
            "mtre_mm": last.get("mtre_mm"),
        }

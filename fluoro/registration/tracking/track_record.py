"""Estimates compared with the truth, where it is known: the record of a tracked stream."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluoro.geometry.carm import CarmPose
from fluoro.registration.measures.metrics import cube_corners_xyz_mm, mtre_mm
from fluoro.registration.search.pyramid import bin_image
from fluoro.registration.tracking.tracker import PoseEstimate

__all__ = ["ScoredEstimate", "TrackRecord", "TrackedFrame", "pose_facts"]


@dataclass(frozen=True, kw_only=True, eq=False)
class TrackedFrame:
    """An estimate with the image that it was made from.

    Attributes:
        estimate: Where the C-arm stood.
        image: The frame's display values in [0, 1], of the size of `estimate.rendered`.
    """

    estimate: PoseEstimate
    image: NDArray[np.float32]

    @classmethod
    def of(cls, estimate: PoseEstimate, image: NDArray[np.float32]) -> TrackedFrame:
        """Return the frame binned to the estimate's working size."""
        factor = round(image.shape[1] / estimate.rendered.shape[1])
        binned, _ = bin_image(image, np.ones(image.shape, bool), factor)
        return cls(estimate=estimate, image=binned)


@dataclass(frozen=True, kw_only=True, eq=False)
class ScoredEstimate:
    """An estimate and how far it is from where the C-arm stood.

    Attributes:
        estimate: What was found.
        true_pose: Where the C-arm stood.
        mtre_mm: Mean displacement of the corners of a 120 mm cube at the isocentre [mm].
    """

    estimate: PoseEstimate
    true_pose: CarmPose
    mtre_mm: float

    def facts(self) -> dict[str, Any]:
        """Return plain data for run.json."""
        estimate = self.estimate
        return {
            "number": estimate.number,
            "pose": pose_facts(estimate.pose),
            "mtre_mm": round(self.mtre_mm, 4),
            "converged": estimate.converged,
            "state": estimate.state,
            "confidence": round(estimate.confidence, 4),
            "reason": estimate.reason,
            "next_step": estimate.next_step,
            "way": estimate.way,
            "ncc": round(estimate.ncc, 5),
            "residual": round(estimate.residual, 5),
            "iterations": estimate.iterations,
            "seconds": round(estimate.seconds, 4),
        }


class TrackRecord:
    """Gathers the estimates of a run; threads may call any method at any time.

    Args:
        isocenter_xyz_mm: Isocentre of the untranslated C-arm, patient LPS [mm].
    """

    def __init__(self, isocenter_xyz_mm: Sequence[float]) -> None:
        self._isocenter = isocenter_xyz_mm
        self._corners = cube_corners_xyz_mm(isocenter_xyz_mm)
        self._lock = threading.Lock()
        self._estimates: list[ScoredEstimate] = []

    def add(self, estimate: PoseEstimate, true_pose: CarmPose) -> ScoredEstimate:
        """Take a note of an estimate."""
        truth = true_pose.world_from_carm(self._isocenter)
        error_mm = mtre_mm(estimate.world_from_carm, truth, self._corners)
        scored = ScoredEstimate(estimate=estimate, true_pose=true_pose, mtre_mm=error_mm)
        with self._lock:
            self._estimates.append(replace(scored, estimate=estimate.without_images()))
        return scored

    @property
    def estimates(self) -> tuple[ScoredEstimate, ...]:
        """All so far."""
        with self._lock:
            return tuple(self._estimates)

    def rows(self) -> list[dict[str, Any]]:
        """Return the scored estimates, one for each line of run.json."""
        return [scored.facts() for scored in self.estimates]

    def summary(self) -> dict[str, Any]:
        """Figures over all estimates; None where there is none."""
        estimates = self.estimates
        errors = [scored.mtre_mm for scored in estimates]
        seconds = [scored.estimate.seconds for scored in estimates]
        return {
            "estimates": len(estimates),
            "not_converged": sum(not scored.estimate.converged for scored in estimates),
            "searches": sum(scored.estimate.way == "search" for scored in estimates),
            "median_mtre_mm": _percentile(errors, 50),
            "p95_mtre_mm": _percentile(errors, 95),
            "median_seconds": _percentile(seconds, 50),
        }


def pose_facts(pose: CarmPose) -> dict[str, Any]:
    """Return a pose as run.json has it."""
    return {
        "lao_deg": pose.lao_deg,
        "cra_deg": pose.cra_deg,
        "roll_deg": pose.roll_deg,
        "translation_mm": list(pose.translation_mm),
    }


def _percentile(values: Sequence[float], share: float) -> float | None:
    return round(float(np.percentile(values, share)), 4) if values else None

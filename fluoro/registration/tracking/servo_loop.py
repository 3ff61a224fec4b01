"""From an image to the next move: the logic of a servo loop that drives to a wanted view."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fluoro.errors import InputError
from fluoro.geometry.carm import CarmPose
from fluoro.geometry.se3 import interpolate
from fluoro.registration.measures.metrics import cube_corners_xyz_mm, mtre_mm

__all__ = ["Located", "Servo"]

Array = NDArray[np.float64]


class Located(Protocol):
    """Where an image says that the C-arm stood, such as a tracker's `PoseEstimate`."""

    @property
    def world_from_carm(self) -> Array:
        """4x4 pose [mm]."""

    @property
    def converged(self) -> bool:
        """Whether to believe it."""


class Servo:
    """Decides each move of a C-arm whose motion is known, but not the patient's position.

    The estimate says how to go from where the image was taken to the wanted view; that motion,
    in the C-arm's own frame and no longer than a step, is added to where the C-arm stood.

    Args:
        wanted: The view to reach.
        isocenter_xyz_mm: Isocentre of the untranslated C-arm, patient LPS [mm].
        tolerance_mm: mTRE to the wanted view at which it is reached [mm].
        step_mm: Longest move, as mTRE between the poses before and after [mm].

    Raises:
        InputError: A tolerance or step that is not positive.
    """

    def __init__(
        self,
        wanted: CarmPose,
        isocenter_xyz_mm: Sequence[float],
        *,
        tolerance_mm: float,
        step_mm: float,
    ) -> None:
        if not (tolerance_mm > 0 and step_mm > 0):
            raise InputError(
                f"tolerance_mm and step_mm must be positive, got {tolerance_mm} and {step_mm}"
            )
        self._isocenter = isocenter_xyz_mm
        self._wanted = wanted.world_from_carm(isocenter_xyz_mm)
        self._corners = cube_corners_xyz_mm(isocenter_xyz_mm)
        self._tolerance_mm, self._step_mm = tolerance_mm, step_mm
        self._frames = 0
        self._ended: tuple[float, float] | None = None
        self._arrived = False

    def move(self, estimate: Located, stood: CarmPose) -> CarmPose | None:
        """Return the next pose; None: the wanted view is reached, according to the image.

        Where the estimate is not believed the C-arm stays for another image.

        Args:
            estimate: Of the newest image.
            stood: Where the C-arm stood then, by its own encoders.
        """
        self._frames += 1
        here = stood.world_from_carm(self._isocenter)
        left_mm = mtre_mm(estimate.world_from_carm, self._wanted, self._corners)
        self._ended = (left_mm, mtre_mm(here, self._wanted, self._corners))
        self._arrived = estimate.converged and left_mm <= self._tolerance_mm
        if self._arrived:
            return None
        return self._stepped(estimate, here) if estimate.converged else stood

    def _stepped(self, estimate: Located, here: Array) -> CarmPose:
        goal = here @ np.linalg.inv(estimate.world_from_carm) @ self._wanted
        way_mm = mtre_mm(goal, here, self._corners)
        there = interpolate(here, goal, min(1.0, self._step_mm / max(way_mm, 1e-9)))
        return CarmPose.from_world_from_carm(there, self._isocenter)

    @property
    def reached(self) -> bool:
        """Whether the C-arm really stands within the tolerance, and the last image says so."""
        return self._arrived and self._ended is not None and self._ended[1] <= self._tolerance_mm

    def facts(self) -> dict[str, Any]:
        """Return plain data for run.json; lengths are None where there was no image."""
        estimated_mm, true_mm = self._ended or (None, None)
        return {
            "reached": self.reached,
            "mtre_mm": true_mm,
            "estimated_mtre_mm": estimated_mm,
            "tolerance_mm": self._tolerance_mm,
            "frames": self._frames,
        }

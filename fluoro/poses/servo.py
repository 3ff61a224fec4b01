"""A C-arm that is driven to a wanted view by its images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from fluoro.config.schema_rules import Rule, at, const, when
from fluoro.config.validation_errors import KeyValueError
from fluoro.poses.base import IssuedPose, PoseConfig, PoseSetup, PoseSource, PoseSourceSection

if TYPE_CHECKING:
    from fluoro.config import Config
    from fluoro.geometry.carm import CarmPose
    from fluoro.registration.tracking.servo_loop import Servo

__all__ = ["ServoPoses", "ServoSource"]


class ServoPoses(PoseConfig, PoseSourceSection):
    """Drives the C-arm from this pose to a wanted view by its images.

    The C-arm does not know this pose: `registration` estimates where it stands, image by
    image, and each estimate decides the next step.
    """

    kind: Literal["servo"]
    wanted: PoseConfig = Field(description="View to drive to.")
    tolerance_mm: Annotated[float, Field(gt=0, le=100)] = Field(
        1.0, description="mTRE to the wanted view at which it is reached [mm]."
    )
    step_mm: Annotated[float, Field(gt=0, le=1000)] = Field(
        15.0, description="Longest move from frame to frame, in the mTRE's sense [mm]."
    )

    @classmethod
    def by_time(cls) -> bool:
        """Return False: the last frame decides the next pose."""
        return False

    @classmethod
    def loops(cls) -> bool:
        """Return True: the run ends at the wanted view."""
        return True

    @classmethod
    def file_rules(cls) -> tuple[Rule, ...]:
        """Return the rule that frames are registered."""
        kind = at("pose_source.kind", const("servo"))
        return (when(kind, then=at("registration.enabled", const(True))),)

    @property
    def frames_ahead(self) -> int | None:
        """Return None: each pose waits for the estimate of the last frame."""
        return None

    @property
    def obeys_hand(self) -> bool:
        """Whether a user may take the C-arm over: the servo drives it alone."""
        return False

    def check_file(self, config: Config) -> None:
        """Check that frames are registered.

        Raises:
            KeyValueError: `registration.enabled` is false.
        """
        if not config.registration.enabled:
            raise KeyValueError("pose_source.kind", "servo needs registration.enabled: true")

    def make(self, setup: PoseSetup) -> PoseSource:
        """Return the loop that drives the C-arm."""
        from fluoro.registration.tracking.servo_loop import Servo

        servo = Servo(
            self.wanted.carm_pose(),
            setup.isocenter_xyz_mm,
            tolerance_mm=self.tolerance_mm,
            step_mm=self.step_mm,
        )
        return ServoSource(servo, self.carm_pose())


class ServoSource(PoseSource):
    """Issues a pose, waits for the estimate of its frame, moves, until the view is reached.

    Args:
        servo: Decides the moves.
        start: First pose.
    """

    feedback = True

    def __init__(self, servo: Servo, start: CarmPose) -> None:
        self._servo, self._start = servo, start
        self._pose: CarmPose | None = start

    def start_pose(self) -> CarmPose:
        """Return the first pose."""
        return self._start

    def ready(self) -> bool:
        """Return whether the last frame's estimate has come."""
        return self._pose is not None

    def next(self, number: int, time_s: float, wait_s: float) -> IssuedPose | None:
        """Return the next pose, once."""
        del number, time_s, wait_s
        pose, self._pose = self._pose, None
        return IssuedPose(pose=pose) if pose else None

    def take_estimate(self, estimate: Any, stood: CarmPose) -> bool:
        """Decide the next move; return False where the view is reached."""
        self._pose = self._servo.move(estimate, stood)
        return self._pose is not None

    def facts(self) -> dict[str, Any]:
        """Return how near the C-arm came to the view."""
        return {"servo": self._servo.facts()}

    def failure(self) -> str | None:
        """Return how far the C-arm is from the view; None: it has reached the view."""
        if self._servo.reached:
            return None
        return f"servo: the wanted view was not reached: {_lengths(self._servo.facts())}"


def _lengths(facts: dict[str, Any]) -> str:
    if facts["mtre_mm"] is None:
        return "there was no estimate"
    return (
        f"{facts['mtre_mm']:.2f} mm away after {facts['frames']} frames "
        f"(estimated {facts['estimated_mtre_mm']:.2f}, tolerance {facts['tolerance_mm']:g})"
    )

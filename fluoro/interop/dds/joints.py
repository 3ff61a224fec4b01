"""A robot's joints to the C-arm's pose: a chain of turns and slides, base first."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fluoro.geometry.carm import CarmPose
from fluoro.geometry.se3 import so3_exp, translation
from fluoro.interop.dds.ros_sensor import JointState
from fluoro.interop.refusals import FieldError
from fluoro.names import JointKind

__all__ = ["Joint", "joint_pose", "joint_values"]

MM_PER_M = 1000.0
MOST_JOINTS = 1000
"""A message with more names is no C-arm's."""

LONGEST_NAME = 256
"""Characters of a joint's name."""
FARTHEST = 1000.0
"""Largest joint position [rad or m]; beyond it rounding eats the angle."""


@dataclass(frozen=True, kw_only=True)
class Joint:
    """One joint of a chain.

    Attributes:
        name: As the message names it.
        kind: "revolute" [rad] or "prismatic" [m].
        axis: Direction in the frame of the joint before it, any length but 0.
        offset_mm: From the joint before it to this one, in that joint's frame [mm].
        zero: Joint value at which the chain stands straight, same unit as the joint's.
    """

    name: str
    kind: JointKind
    axis: tuple[float, float, float]
    offset_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    zero: float = 0.0

    def motion(self, value: float) -> NDArray[np.float64]:
        """Return the 4x4 motion [mm] of a value."""
        direction = np.asarray(self.axis, float) / math.hypot(*self.axis)
        step = (value - self.zero) * direction
        if self.kind == "prismatic":
            return translation(np.asarray(self.offset_mm) + step * MM_PER_M)
        motion = translation(self.offset_mm)
        motion[:3, :3] = so3_exp(step)
        return motion


def joint_values(message: JointState) -> dict[str, float]:
    """Return joint positions by name.

    Raises:
        FieldError: Names are given twice, are too many or too long; a position is missing or not
            within 1000 rad or m; velocities or efforts are neither left out nor one for each name.
    """
    names, positions = list(message.name), list(message.position)
    _require_names(names)
    if len(names) != len(positions):
        got = f"{len(positions)} / {len(names)}"
        raise FieldError("position", f"must have one position each for the joints, got {got}")
    for name, position in zip(names, positions, strict=True):
        if not abs(position) <= FARTHEST:
            what = f"must hold finite positions within {FARTHEST:g}"
            raise FieldError("position", f"{what}, got {position:g} for {name!r}")
    for field in ("velocity", "effort"):
        count = len(getattr(message, field))
        if count not in (0, len(names)):
            raise FieldError(field, f"must be empty or have {len(names)} values, got {count}")
    return dict(zip(names, positions, strict=True))


def _require_names(names: Sequence[str]) -> None:
    if len(names) > MOST_JOINTS:
        raise FieldError("name", f"must have at most {MOST_JOINTS} joints, got {len(names)}")
    longest = max(map(len, names), default=0)
    if longest > LONGEST_NAME:
        raise FieldError("name", f"must have at most {LONGEST_NAME} characters, got {longest}")
    if len(set(names)) < len(names):
        raise FieldError("name", "must be joints that are named once each")


def joint_pose(
    chain: Sequence[Joint], values: Mapping[str, float], isocenter_xyz_mm: Sequence[float]
) -> CarmPose:
    """The C-arm's pose of joint values; the chain starts at the isocentre, with the world's axes.

    Raises:
        FieldError: A joint of the chain is missing.
    """
    missing = [joint.name for joint in chain if joint.name not in values]
    if missing:
        raise FieldError("name", f"must hold {missing[0]!r}")
    matrix = translation(isocenter_xyz_mm)
    for joint in chain:
        matrix = matrix @ joint.motion(values[joint.name])
    return CarmPose.from_world_from_carm(matrix, isocenter_xyz_mm)

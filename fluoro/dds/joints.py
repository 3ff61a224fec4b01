"""A robot's joints to the C-arm's pose: a chain of turns and slides, base first."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fluoro.dds.ros_sensor import JointState
from fluoro.errors import InputError
from fluoro.geometry.carm import CarmPose
from fluoro.geometry.se3 import so3_exp, translation

__all__ = ["Joint", "joint_pose", "joint_values"]

MM_PER_M = 1000.0
MOST_JOINTS = 1000
"""A message with more names is no C-arm's."""

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
    kind: Literal["revolute", "prismatic"]
    axis: tuple[float, float, float]
    offset_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    zero: float = 0.0

    def motion(self, value: float) -> NDArray[np.float64]:
        """4x4 motion [mm] of a value."""
        direction = np.asarray(self.axis, float) / math.hypot(*self.axis)
        step = (value - self.zero) * direction
        if self.kind == "prismatic":
            return translation(np.asarray(self.offset_mm) + step * MM_PER_M)
        motion = translation(self.offset_mm)
        motion[:3, :3] = so3_exp(step)
        return motion


def joint_values(message: JointState) -> dict[str, float]:
    """Joint positions by name.

    Raises:
        InputError: Names and positions of different number, names twice, not finite positions.
    """
    names, positions = list(message.name), list(message.position)
    if len(names) != len(positions) or len(names) > MOST_JOINTS:
        raise InputError(f"joints must have one position each, got {len(positions)} / {len(names)}")
    if len(set(names)) < len(names):
        raise InputError("joints must be named once each")
    if not all(abs(position) <= FARTHEST for position in positions):
        raise InputError(f"joints must have finite positions within {FARTHEST:g}")
    return dict(zip(names, positions, strict=True))


def joint_pose(
    chain: Sequence[Joint], values: Mapping[str, float], isocenter_xyz_mm: Sequence[float]
) -> CarmPose:
    """The C-arm's pose of joint values; the chain starts at the isocentre, with the world's axes.

    Raises:
        InputError: A joint of the chain is missing.
    """
    missing = [joint.name for joint in chain if joint.name not in values]
    if missing:
        raise InputError(f"joints must hold {missing[0]!r}")
    matrix = translation(isocenter_xyz_mm)
    for joint in chain:
        matrix = matrix @ joint.motion(values[joint.name])
    return CarmPose.from_world_from_carm(matrix, isocenter_xyz_mm)

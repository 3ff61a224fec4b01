"""Where instruments are, over DDS: topics of ROS 2 by the name of each."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from fluoro.interop.dds import qos
from fluoro.interop.dds.joints import joint_values
from fluoro.interop.dds.node import DdsNode, ros_topic
from fluoro.interop.dds.pose_messages import PATIENT_FRAME, matrix_of
from fluoro.interop.dds.ros_geometry import Pose, PoseStamped
from fluoro.interop.dds.ros_nav import Path, PoseArray
from fluoro.interop.dds.ros_sensor import JointState
from fluoro.interop.refusals import FieldError
from fluoro.interop.steering import Steering
from fluoro.volume.posed_solid import LiveInsertion, LivePoints, LivePose, LiveSample

__all__ = ["INSERTION", "ROLL", "TOPICS", "insertion_of", "listen", "points_of"]

MM_PER_M = 1000.0
INSERTION, ROLL = "insertion", "roll"
"""Joints of a wire: way of the tip along the path [m], turn about itself [rad]."""
MOST_POINTS = 20_000
"""Of one path."""


def points_of(message: Path | PoseArray) -> LivePoints:
    """Return the points of a wire, its tip last, in the frame `patient` [m].

    Raises:
        FieldError: Another frame, or too many points.
    """
    frame = message.header.frame_id
    if frame != PATIENT_FRAME:
        raise FieldError("header.frame_id", f"must be {PATIENT_FRAME}, got {frame[:80]!r}")
    if len(message.poses) > MOST_POINTS:
        got = len(message.poses)
        raise FieldError("poses", f"must be at most {MOST_POINTS}, got {got}")
    poses = [each.pose if isinstance(each, PoseStamped) else each for each in message.poses]
    return LivePoints(points_xyz_mm=np.array([_point(each) for each in poses]).reshape(-1, 3))


def _point(pose: Pose) -> tuple[float, float, float]:
    place = pose.position
    return place.x * MM_PER_M, place.y * MM_PER_M, place.z * MM_PER_M


def insertion_of(message: JointState) -> LiveInsertion:
    """Return how far a wire is in, and its roll; other joints have no effect.

    Raises:
        FieldError: Neither joint is there, or values that are not finite.
    """
    values = joint_values(message)
    if not values.keys() & {INSERTION, ROLL}:
        raise FieldError("name", f"must have {INSERTION} or {ROLL}, got {sorted(values)[:5]}")
    inserted, roll = values.get(INSERTION), values.get(ROLL)
    return LiveInsertion(
        inserted_mm=None if inserted is None else inserted * MM_PER_M,
        roll_deg=None if roll is None else float(np.degrees(roll)),
    )


def _pose_of(message: PoseStamped) -> LivePose:
    return LivePose(matrix=matrix_of(message, PATIENT_FRAME))


TOPICS: dict[str, tuple[type[Any], Callable[[Any], LiveSample]]] = {
    "pose": (PoseStamped, _pose_of),
    "path": (Path, points_of),
    "points": (PoseArray, points_of),
    "joints": (JointState, insertion_of),
}
"""Behind the name of an instrument: the type of the messages, and what they say."""


def listen(node: DdsNode, prefix: str, steering: Steering) -> None:
    """Take messages on PREFIX/NAME/pose, path, points and joints for every instrument.

    Args:
        node: The participant.
        prefix: ROS 2's name of what all topics begin with.
        steering: What they steer.
    """
    for name in steering.names:
        for topic, (kind, read) in TOPICS.items():
            take = partial(_take, steering, name, read)
            node.listen(ros_topic(f"{prefix}/{name}/{topic}"), kind, qos.sensor_data(), take)


def _take(
    steering: Steering, name: str, read: Callable[[Any], LiveSample], message: Any, _writer: int
) -> None:
    steering.offer(name, lambda: read(message))

"""Poses of the C-arm as messages and back, by docs/conventions.md.

The frame `patient` has the axes of the world (LPS); a pose is that of the frame `carm`, which sits
at the moved isocentre with the axes of `world_from_carm`. ROS 2 counts metres.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fluoro.geometry.carm import CarmPose
from fluoro.geometry.se3 import quaternion_rotation, quaternion_wxyz
from fluoro.interop.dds.i4h import ProbeInfo
from fluoro.interop.dds.ros_geometry import Point, Pose, PoseStamped, Quaternion
from fluoro.interop.dds.timestamps import header_of
from fluoro.interop.refusals import FieldError
from fluoro.names import Orientation, PositionUnit

__all__ = [
    "CARM_FRAME",
    "PATIENT_FRAME",
    "matrix_message",
    "matrix_of",
    "pose_message",
    "pose_of",
    "probe_message",
    "probe_pose",
]

PATIENT_FRAME = "patient"
CARM_FRAME = "carm"
MM_PER_M = 1000.0
UNIT_SLACK = 1e-3
"""How far from 1 the length of a quaternion may be: senders round to float32 at worst."""
FARTHEST_MM = 100_000.0
"""A position beyond it has a wrong unit; the same bound as in the configuration."""
WIDEST_TURN = 36_000.0
"""Largest angle of an orientation [degrees or rad]; beyond it rounding eats the angle."""

MM_PER_UNIT = {"m": MM_PER_M, "mm": 1.0}


def pose_message(
    pose: CarmPose,
    isocenter_xyz_mm: Sequence[float],
    time_ns: int,
    frame_id: str = PATIENT_FRAME,
) -> PoseStamped:
    """Return a C-arm's pose as ROS 2 has poses: metres, quaternion with its scalar last."""
    return matrix_message(pose.world_from_carm(isocenter_xyz_mm), time_ns, frame_id)


def matrix_message(world_from_frame: ArrayLike, time_ns: int, frame_id: str) -> PoseStamped:
    """Any frame's 4x4 placement [mm] as a stamped pose [m]."""
    matrix = np.asarray(world_from_frame, float)
    x, y, z = (matrix[:3, 3] / MM_PER_M).tolist()
    qw, qx, qy, qz = quaternion_wxyz(matrix[:3, :3])
    return PoseStamped(
        header=header_of(time_ns, frame_id),
        pose=Pose(position=Point(x=x, y=y, z=z), orientation=Quaternion(x=qx, y=qy, z=qz, w=qw)),
    )


def pose_of(
    message: PoseStamped, isocenter_xyz_mm: Sequence[float], frame_id: str = PATIENT_FRAME
) -> CarmPose:
    """Return the C-arm's pose of a message.

    Raises:
        InputError: Another frame, values that are not finite, a quaternion that is no rotation.
    """
    return CarmPose.from_world_from_carm(matrix_of(message, frame_id), isocenter_xyz_mm)


def matrix_of(message: PoseStamped, frame_id: str) -> NDArray[np.float64]:
    """Return the 4x4 placement [mm] of a message.

    Raises:
        InputError: As of `pose_of`.
    """
    if message.header.frame_id != frame_id:
        raise FieldError(
            "header.frame_id", f"must be {frame_id}, got {message.header.frame_id[:80]!r}"
        )
    p, q = message.pose.position, message.pose.orientation
    turn = _turn("pose.orientation", "xyzw", (q.x, q.y, q.z, q.w))
    return _matrix("pose.position", (p.x, p.y, p.z), MM_PER_M, turn)


def probe_message(
    pose: CarmPose,
    isocenter_xyz_mm: Sequence[float],
    *,
    unit: PositionUnit = "m",
    orientation: Orientation = "xyzw",
) -> ProbeInfo:
    """Return a C-arm's pose as position and orientation, in the unit and order agreed on."""
    from scipy.spatial.transform import Rotation

    matrix = pose.world_from_carm(isocenter_xyz_mm)
    turn = Rotation.from_matrix(matrix[:3, :3])
    w, x, y, z = quaternion_wxyz(matrix[:3, :3])
    values = {
        "xyzw": [x, y, z, w],
        "wxyz": [w, x, y, z],
        "rpy_rad": turn.as_euler("xyz").tolist(),
        "rpy_deg": turn.as_euler("xyz", degrees=True).tolist(),
    }
    position = (matrix[:3, 3] / MM_PER_UNIT[unit]).tolist()
    return ProbeInfo(position=position, orientation=values[orientation])


def probe_pose(
    message: ProbeInfo,
    isocenter_xyz_mm: Sequence[float],
    *,
    unit: PositionUnit = "m",
    orientation: Orientation = "xyzw",
) -> CarmPose:
    """Return the C-arm's pose of position and orientation.

    Raises:
        InputError: Wrong counts, values that are not finite, a quaternion that is no rotation.
    """
    turn = _turn("orientation", orientation, message.orientation)
    matrix = _matrix("position", message.position, MM_PER_UNIT[unit], turn)
    return CarmPose.from_world_from_carm(matrix, isocenter_xyz_mm)


def _matrix(
    field: str, position: Sequence[float], mm_per_unit: float, turn: NDArray[np.float64]
) -> NDArray[np.float64]:
    x, y, z = (value * mm_per_unit for value in _finite(field, position, 3))
    if max(abs(x), abs(y), abs(z)) > FARTHEST_MM:
        raise FieldError(field, f"must be within {FARTHEST_MM:g} mm, got {(x, y, z)}")
    first, second, third = turn.tolist()
    return np.array([[*first, x], [*second, y], [*third, z], [0.0, 0.0, 0.0, 1.0]])


def _turn(field: str, orientation: Orientation, values: Sequence[float]) -> NDArray[np.float64]:
    if orientation in ("rpy_rad", "rpy_deg"):
        from scipy.spatial.transform import Rotation

        angles = _finite(field, values, 3)
        if max(map(abs, angles)) > WIDEST_TURN:
            raise FieldError(field, f"must be within {WIDEST_TURN:g}, got {angles}")
        degrees = orientation == "rpy_deg"
        return np.asarray(Rotation.from_euler("xyz", angles, degrees=degrees).as_matrix())
    quaternion = _finite(field, values, 4)
    length = math.hypot(*quaternion)
    if abs(length - 1) > UNIT_SLACK:
        raise FieldError(field, f"must be a unit quaternion, got length {length:g}")
    wxyz = quaternion if orientation == "wxyz" else [quaternion[3], *quaternion[:3]]
    return quaternion_rotation(wxyz)


def _finite(field: str, values: Sequence[float], count: int) -> list[float]:
    numbers = [float(value) for value in values[: count + 1]]
    if len(values) != count or not all(map(math.isfinite, numbers)):
        raise FieldError(field, f"must be {count} finite numbers, got {len(values)}: {numbers}")
    return numbers

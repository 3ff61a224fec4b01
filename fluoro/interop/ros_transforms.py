"""The tree of frames on /tf and /tf_static: patient, table, the C-arm's chain, detector and camera.

    patient --+-- table           the room's axes, at the isocentre of the untranslated C-arm
              +-- carm_base       the patient's axes, there too
                  +-- carm_x_link ... carm_cra_link -- carm    the chain of `CARM_CHAIN`
                                                         +-- carm_detector
                                                         +-- carm_camera

The links are those of ros2/carm.urdf.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fluoro.geometry.carm import CarmPose
from fluoro.geometry.carm_joints import CARM_CHAIN
from fluoro.geometry.patient_position import room_from_patient
from fluoro.geometry.projection import View, camera_matrices
from fluoro.geometry.se3 import quaternion_wxyz, translation
from fluoro.interop.dds import qos
from fluoro.interop.dds.image_messages import CAMERA_FRAME
from fluoro.interop.dds.joints import Joint
from fluoro.interop.dds.node import DdsNode, ros_topic
from fluoro.interop.dds.pose_messages import CARM_FRAME, MM_PER_M, PATIENT_FRAME
from fluoro.interop.dds.ros_geometry import (
    Quaternion,
    TFMessage,
    Transform,
    TransformStamped,
    Vector3,
)
from fluoro.interop.dds.timestamps import header_of
from fluoro.names import PatientPosition

if TYPE_CHECKING:
    from fluoro.interop.bag.mcap_bag import BagNode

__all__ = ["DETECTOR_FRAME", "RosTransforms", "carm_transforms", "static_transforms"]

TABLE_FRAME, BASE_FRAME, DETECTOR_FRAME = "table", "carm_base", "carm_detector"
CHAIN = tuple(Joint(name=name, kind=kind, axis=axis) for name, kind, axis in CARM_CHAIN)
LINKS = (BASE_FRAME, *(f"{joint.name}_link" for joint in CHAIN[:-1]), CARM_FRAME)
"""Frames before and behind each joint."""

Placement = tuple[str, str, NDArray[np.float64]]
"""Parent, child, and the 4x4 `parent_from_child` [mm]."""


class RosTransforms:
    """Writes the frames of each image to /tf, and those that stay to /tf_static, once.

    Args:
        node: The participant, or a bag.
        isocenter_xyz_mm: Isocentre of the untranslated C-arm, patient LPS [mm].
        patient_position: How the patient lies on the table.
        time_ns: Stamp of the frames that stay.
    """

    def __init__(
        self,
        node: DdsNode | BagNode,
        isocenter_xyz_mm: Sequence[float],
        patient_position: PatientPosition,
        time_ns: int,
    ) -> None:
        self._isocenter_xyz_mm = isocenter_xyz_mm
        self._moving = node.writer(ros_topic("/tf"), TFMessage, qos.reliable(100))
        self._fixed = node.writer(ros_topic("/tf_static"), TFMessage, qos.latched())
        self._fixed.write(_message(static_transforms(isocenter_xyz_mm, patient_position), time_ns))

    def send(self, pose: CarmPose, view: View, time_ns: int) -> None:
        """Write where the C-arm, its detector and its camera stand."""
        self._moving.write(_message(carm_transforms(pose, view, self._isocenter_xyz_mm), time_ns))


def static_transforms(
    isocenter_xyz_mm: Sequence[float], patient_position: PatientPosition
) -> Iterator[Placement]:
    """Yield the frames that stay in the patient's: the table's and that of the C-arm's base."""
    patient_from_base = translation(isocenter_xyz_mm)
    patient_from_table = patient_from_base.copy()
    patient_from_table[:3, :3] = room_from_patient(patient_position).T
    yield PATIENT_FRAME, TABLE_FRAME, patient_from_table
    yield PATIENT_FRAME, BASE_FRAME, patient_from_base


def carm_transforms(
    pose: CarmPose, view: View, isocenter_xyz_mm: Sequence[float]
) -> Iterator[Placement]:
    """Yield the frames of the C-arm's chain, then those of its detector and camera.

    Args:
        pose: Where the C-arm stands.
        view: Source and detector there; flex, tilt and offset are in it.
        isocenter_xyz_mm: Isocentre of the untranslated C-arm, patient LPS [mm].
    """
    moves_m = (value / MM_PER_M for value in pose.translation_mm)
    turns_rad = map(math.radians, (pose.lao_deg, pose.cra_deg, pose.roll_deg))
    for n, (joint, value) in enumerate(zip(CHAIN, (*moves_m, *turns_rad), strict=True)):
        yield LINKS[n], LINKS[n + 1], joint.motion(value)
    carm_from_world = np.linalg.inv(pose.world_from_carm(isocenter_xyz_mm))
    yield CARM_FRAME, DETECTOR_FRAME, carm_from_world @ world_from_detector(view)
    _, camera_from_world = camera_matrices(view)
    yield CARM_FRAME, CAMERA_FRAME, carm_from_world @ np.linalg.inv(camera_from_world)


def world_from_detector(view: View) -> NDArray[np.float64]:
    """Return the detector's 4x4 placement [mm].

    Its origin is the middle of the pixels; x runs along the columns, y along the rows, z towards
    the source.
    """
    du, dv = view.column_step_xyz_mm, view.row_step_xyz_mm
    matrix = np.eye(4)
    matrix[:3, 0], matrix[:3, 1] = du / np.linalg.norm(du), dv / np.linalg.norm(dv)
    matrix[:3, 2] = np.cross(matrix[:3, 0], matrix[:3, 1])
    matrix[:3, 3] = view.corner_xyz_mm + (view.width_px * du + view.height_px * dv) / 2
    return matrix


def _message(placements: Iterator[Placement], time_ns: int) -> TFMessage:
    return TFMessage(
        transforms=[
            TransformStamped(
                header=header_of(time_ns, parent),
                child_frame_id=child,
                transform=_transform(matrix),
            )
            for parent, child, matrix in placements
        ]
    )


def _transform(parent_from_child: NDArray[np.float64]) -> Transform:
    x, y, z = (parent_from_child[:3, 3] / MM_PER_M).tolist()
    qw, qx, qy, qz = quaternion_wxyz(parent_from_child[:3, :3])
    return Transform(
        translation=Vector3(x=x, y=y, z=z), rotation=Quaternion(x=qx, y=qy, z=qz, w=qw)
    )

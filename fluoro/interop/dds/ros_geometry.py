"""ROS 2 wire types: geometry_msgs, tf2_msgs."""

from dataclasses import dataclass

from cyclonedds.idl import IdlStruct
from cyclonedds.idl.annotations import final
from cyclonedds.idl.types import float64, sequence

from fluoro.interop.dds.cdr_codec import use_cdr_codec
from fluoro.interop.dds.ros_std import Header

__all__ = [
    "Point",
    "Pose",
    "PoseStamped",
    "Quaternion",
    "TFMessage",
    "Transform",
    "TransformStamped",
    "Vector3",
]


@dataclass
@final
class Point(IdlStruct, typename="geometry_msgs::msg::dds_::Point_"):
    """Position [m]."""

    x: float64
    y: float64
    z: float64


@dataclass
@final
class Quaternion(IdlStruct, typename="geometry_msgs::msg::dds_::Quaternion_"):
    """Unit quaternion, scalar last."""

    x: float64
    y: float64
    z: float64
    w: float64


@dataclass
@final
class Pose(IdlStruct, typename="geometry_msgs::msg::dds_::Pose_"):
    """Position and orientation."""

    position: Point
    orientation: Quaternion


@dataclass
@final
class PoseStamped(IdlStruct, typename="geometry_msgs::msg::dds_::PoseStamped_"):
    """A pose in a frame at a time."""

    header: Header
    pose: Pose


@dataclass
@final
class Vector3(IdlStruct, typename="geometry_msgs::msg::dds_::Vector3_"):
    """Displacement [m]."""

    x: float64
    y: float64
    z: float64


@dataclass
@final
class Transform(IdlStruct, typename="geometry_msgs::msg::dds_::Transform_"):
    """Displacement and turn."""

    translation: Vector3
    rotation: Quaternion


@dataclass
@final
class TransformStamped(IdlStruct, typename="geometry_msgs::msg::dds_::TransformStamped_"):
    """Where the frame `child_frame_id` stands in the header's frame, at a time."""

    header: Header
    child_frame_id: str
    transform: Transform


@dataclass
@final
class TFMessage(IdlStruct, typename="tf2_msgs::msg::dds_::TFMessage_"):
    """Transforms of a tree."""

    transforms: sequence[TransformStamped]


use_cdr_codec(PoseStamped)

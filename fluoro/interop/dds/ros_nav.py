"""ROS 2 wire types: nav_msgs/Path, geometry_msgs/PoseArray."""

from dataclasses import dataclass

from cyclonedds.idl import IdlStruct
from cyclonedds.idl.annotations import final
from cyclonedds.idl.types import sequence

from fluoro.interop.dds.ros_geometry import Pose, PoseStamped
from fluoro.interop.dds.ros_std import Header

__all__ = ["Path", "PoseArray"]


@dataclass
@final
class PoseArray(IdlStruct, typename="geometry_msgs::msg::dds_::PoseArray_"):
    """Poses in one frame."""

    header: Header
    poses: sequence[Pose]


@dataclass
@final
class Path(IdlStruct, typename="nav_msgs::msg::dds_::Path_"):
    """Poses along a path."""

    header: Header
    poses: sequence[PoseStamped]

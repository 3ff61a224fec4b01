"""ROS 2 wire types: vision_msgs 4 (Humble and later)."""

from dataclasses import dataclass

from cyclonedds.idl import IdlStruct
from cyclonedds.idl.annotations import final
from cyclonedds.idl.types import array, float64, sequence

from fluoro.interop.dds.ros_geometry import Pose
from fluoro.interop.dds.ros_std import Header

__all__ = [
    "BoundingBox2D",
    "Detection2D",
    "Detection2DArray",
    "ObjectHypothesis",
    "ObjectHypothesisWithPose",
    "Point2D",
    "Pose2D",
    "PoseWithCovariance",
]


@dataclass
@final
class PoseWithCovariance(IdlStruct, typename="geometry_msgs::msg::dds_::PoseWithCovariance_"):
    """A pose and its covariance, 6x6 row by row."""

    pose: Pose
    covariance: array[float64, 36]


@dataclass
@final
class Point2D(IdlStruct, typename="vision_msgs::msg::dds_::Point2D_"):
    """Column and row [pixels]."""

    x: float64
    y: float64


@dataclass
@final
class Pose2D(IdlStruct, typename="vision_msgs::msg::dds_::Pose2D_"):
    """A place in the image, and a turn [rad]."""

    position: Point2D
    theta: float64


@dataclass
@final
class BoundingBox2D(IdlStruct, typename="vision_msgs::msg::dds_::BoundingBox2D_"):
    """A box by its centre and its size [pixels]."""

    center: Pose2D
    size_x: float64
    size_y: float64


@dataclass
@final
class ObjectHypothesis(IdlStruct, typename="vision_msgs::msg::dds_::ObjectHypothesis_"):
    """What is there, and how certain that is, 0 to 1."""

    class_id: str
    score: float64


@dataclass
@final
class ObjectHypothesisWithPose(
    IdlStruct, typename="vision_msgs::msg::dds_::ObjectHypothesisWithPose_"
):
    """What is there, and where in space."""

    hypothesis: ObjectHypothesis
    pose: PoseWithCovariance


@dataclass
@final
class Detection2D(IdlStruct, typename="vision_msgs::msg::dds_::Detection2D_"):
    """One object in an image."""

    header: Header
    results: sequence[ObjectHypothesisWithPose]
    bbox: BoundingBox2D
    id: str


@dataclass
@final
class Detection2DArray(IdlStruct, typename="vision_msgs::msg::dds_::Detection2DArray_"):
    """All objects in an image."""

    header: Header
    detections: sequence[Detection2D]

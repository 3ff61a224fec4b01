"""ROS 2 wire types: sensor_msgs."""

from dataclasses import dataclass

from cyclonedds.idl import IdlStruct
from cyclonedds.idl.annotations import final
from cyclonedds.idl.types import array, float64, sequence, uint8, uint32

from fluoro.interop.dds.byte_sequences import with_fast_byte_sequences
from fluoro.interop.dds.cdr_codec import use_cdr_codec
from fluoro.interop.dds.ros_std import Header

__all__ = ["CameraInfo", "CompressedImage", "Image", "JointState", "RegionOfInterest"]


@dataclass
@final
class Image(IdlStruct, typename="sensor_msgs::msg::dds_::Image_"):
    """An image, row by row."""

    header: Header
    height: uint32
    width: uint32
    encoding: str
    is_bigendian: uint8
    step: uint32
    data: sequence[uint8]


@dataclass
@final
class CompressedImage(IdlStruct, typename="sensor_msgs::msg::dds_::CompressedImage_"):
    """An image as JPEG or PNG."""

    header: Header
    format: str
    data: sequence[uint8]


@dataclass
@final
class RegionOfInterest(IdlStruct, typename="sensor_msgs::msg::dds_::RegionOfInterest_"):
    """Part of a detector; all zero: the whole."""

    x_offset: uint32
    y_offset: uint32
    height: uint32
    width: uint32
    do_rectify: bool


@dataclass
@final
class CameraInfo(IdlStruct, typename="sensor_msgs::msg::dds_::CameraInfo_"):
    """A camera's matrices: k 3x3, r 3x3, p 3x4, row by row."""

    header: Header
    height: uint32
    width: uint32
    distortion_model: str
    d: sequence[float64]
    k: array[float64, 9]
    r: array[float64, 9]
    p: array[float64, 12]
    binning_x: uint32
    binning_y: uint32
    roi: RegionOfInterest


@dataclass
@final
class JointState(IdlStruct, typename="sensor_msgs::msg::dds_::JointState_"):
    """Joints by name: position [rad or m], velocity, effort; each list may be empty."""

    header: Header
    name: sequence[str]
    position: sequence[float64]
    velocity: sequence[float64]
    effort: sequence[float64]


with_fast_byte_sequences(Image, "data")
with_fast_byte_sequences(CompressedImage, "data")
use_cdr_codec(Image)
use_cdr_codec(CompressedImage)

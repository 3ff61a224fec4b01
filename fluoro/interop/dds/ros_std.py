"""ROS 2 wire types: builtin_interfaces, std_msgs, rosgraph_msgs."""

from dataclasses import dataclass

from cyclonedds.idl import IdlStruct
from cyclonedds.idl.annotations import final
from cyclonedds.idl.types import int32, uint32

__all__ = ["Clock", "Header", "Time"]


@dataclass
@final
class Time(IdlStruct, typename="builtin_interfaces::msg::dds_::Time_"):
    """Seconds and nanoseconds since 1970, or since a simulation's start."""

    sec: int32
    nanosec: uint32


@dataclass
@final
class Header(IdlStruct, typename="std_msgs::msg::dds_::Header_"):
    """When, and in which frame."""

    stamp: Time
    frame_id: str


@dataclass
@final
class Clock(IdlStruct, typename="rosgraph_msgs::msg::dds_::Clock_"):
    """A simulation's time."""

    clock: Time

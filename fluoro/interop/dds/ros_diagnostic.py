"""ROS 2 wire types: diagnostic_msgs."""

from dataclasses import dataclass
from enum import IntEnum

from cyclonedds.idl import IdlStruct
from cyclonedds.idl.annotations import final
from cyclonedds.idl.types import byte, sequence

from fluoro.interop.dds.ros_std import Header

__all__ = ["DiagnosticArray", "DiagnosticStatus", "KeyValue", "Level"]


class Level(IntEnum):
    """How bad it is, as diagnostic_msgs/DiagnosticStatus has it."""

    OK = 0
    WARN = 1
    ERROR = 2
    STALE = 3


@dataclass
@final
class KeyValue(IdlStruct, typename="diagnostic_msgs::msg::dds_::KeyValue_"):
    """One figure by its name."""

    key: str
    value: str


@dataclass
@final
class DiagnosticStatus(IdlStruct, typename="diagnostic_msgs::msg::dds_::DiagnosticStatus_"):
    """How one part is doing."""

    level: byte
    name: str
    message: str
    hardware_id: str
    values: sequence[KeyValue]


@dataclass
@final
class DiagnosticArray(IdlStruct, typename="diagnostic_msgs::msg::dds_::DiagnosticArray_"):
    """How several parts are doing."""

    header: Header
    status: sequence[DiagnosticStatus]

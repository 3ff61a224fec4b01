"""Wire types in the style of Isaac for Healthcare's robotic workflows."""

from dataclasses import dataclass

from cyclonedds.idl import IdlStruct
from cyclonedds.idl.annotations import final
from cyclonedds.idl.types import byte, float64, int64, sequence

from fluoro.interop.dds.byte_sequences import with_fast_byte_sequences

__all__ = ["CameraInfo", "ProbeInfo"]


@dataclass
@final
class CameraInfo(IdlStruct, typename="CameraInfo"):
    """An image with its camera's focal length [px]."""

    focal_len: float64
    stream_id: int64
    frame_num: int64
    width: int64
    height: int64
    data: sequence[byte]


@dataclass
@final
class ProbeInfo(IdlStruct, typename="UltraSoundProbeInfo"):
    """Position (3 values) and orientation (3 or 4 values); units and order are by agreement."""

    position: sequence[float64]
    orientation: sequence[float64]


with_fast_byte_sequences(CameraInfo, "data")

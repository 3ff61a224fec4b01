"""HoloHub's wire type of its DDS video operators."""

from dataclasses import dataclass

from cyclonedds.idl import IdlStruct
from cyclonedds.idl.annotations import final, key
from cyclonedds.idl.types import byte, sequence, uint32

from fluoro.interop.dds.byte_sequences import with_fast_byte_sequences

__all__ = ["VideoFrame"]


@dataclass
@final
class VideoFrame(IdlStruct, typename="VideoFrame"):
    """An image, RGBA with 8 bits each, row by row."""

    stream_id: uint32
    key("stream_id")
    frame_num: uint32
    width: uint32
    height: uint32
    data: sequence[byte]


with_fast_byte_sequences(VideoFrame, "data")

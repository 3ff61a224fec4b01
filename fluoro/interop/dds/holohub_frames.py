"""Frames as HoloHub's and i4h's programs take them: one topic, the number in the message."""

from __future__ import annotations

from fluoro.config import DdsFramesConfig
from fluoro.imaging.frame import FluoroFrame
from fluoro.interop.dds import i4h, qos
from fluoro.interop.dds.holohub import VideoFrame
from fluoro.interop.dds.image_messages import i4h_image, video_frame
from fluoro.interop.dds.node import DdsNode, Writer

__all__ = ["HolohubFrames", "I4hFrames"]

HOLOHUB_TOPIC = "VideoFrame"
I4H_TOPIC = "topic_carm_camera_data"


class HolohubFrames:
    """Writes HoloHub's VideoFrame."""

    def __init__(self, node: DdsNode, config: DdsFramesConfig) -> None:
        topic = config.topic or HOLOHUB_TOPIC
        self.images: Writer[VideoFrame] = node.writer(topic, VideoFrame, qos.frames())

    def send(self, frame: FluoroFrame, _time_ns: int) -> bool:
        """Write one frame; False where it was lost here."""
        return self.images.write(video_frame(frame.image, frame.number))


class I4hFrames:
    """Writes i4h's CameraInfo with its image, 8-bit grey."""

    def __init__(self, node: DdsNode, config: DdsFramesConfig) -> None:
        topic = config.topic or I4H_TOPIC
        self.images: Writer[i4h.CameraInfo] = node.writer(topic, i4h.CameraInfo, qos.frames())

    def send(self, frame: FluoroFrame, _time_ns: int) -> bool:
        """Write one frame; False where it was lost here."""
        geometry = frame.geometry
        focal_length_px = geometry.source_to_detector_mm / geometry.pixel_spacing_mm
        return self.images.write(i4h_image(frame.image, frame.number, focal_length_px))

"""The sections of the sinks: console, recorder, Holoviz, DDS and OpenIGTLink."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, Strict, WithJsonSchema, model_validator

from fluoro.config.addresses import Peer, TcpAddress
from fluoro.config.schema_rules import absent_or, at, const, never, rules, when
from fluoro.config.section import Section, Topic
from fluoro.config.validation_errors import KeyValueError, shown
from fluoro.names import Encoding, FrameProtocol, RecordingFormat, RosClock, XrayObject

__all__ = [
    "LARGEST_IMAGE_BYTES",
    "LARGEST_SAMPLE_BYTES",
    "ConsoleConfig",
    "DdsConfig",
    "DdsFramesConfig",
    "DicomRecordingConfig",
    "HolovizConfig",
    "IgtlConfig",
    "RecorderConfig",
]


HOST_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?")
PUBLIC_URL = re.compile(r"https?://[^/?#@\s]+(/[^?#\s]*)?")
TOKEN = re.compile(r"[A-Za-z0-9._~-]{16,128}")


def _host_name(name: str) -> str:
    """Return the name in lower case, an IPv6 address without brackets."""
    bare = name.removeprefix("[").removesuffix("]").lower()
    try:
        ip_address(bare)
    except ValueError:
        if not HOST_NAME.fullmatch(bare):
            raise ValueError(
                f"must be a host name or an IP address, without scheme and port, got {shown(name)}"
            ) from None
    return bare


def _public_url(url: str) -> str:
    """Return the address with a slash at its end."""
    if not PUBLIC_URL.fullmatch(url):
        raise ValueError(f"must be an address such as https://carm.example.org/, got {shown(url)}")
    return url if url.endswith("/") else f"{url}/"


def checked_token(token: str) -> str:
    """Return the token as it is.

    Raises:
        ValueError: The token is too short, too long, or has other characters than an address may
            carry. The message does not repeat it.
    """
    if not TOKEN.fullmatch(token):
        raise ValueError("must be 16 to 128 letters, digits or any of - . _ ~")
    return token


def _matches(pattern: str) -> WithJsonSchema:
    """Return what names a text's pattern in the JSON Schema."""
    return WithJsonSchema({"type": "string", "pattern": f"^(?:{pattern})$"})


HostName = Annotated[
    str, AfterValidator(_host_name), _matches(rf"\[?[0-9A-Fa-f:.]+\]?|{HOST_NAME.pattern}")
]
PublicUrl = Annotated[str, AfterValidator(_public_url), _matches(PUBLIC_URL.pattern)]
Token = Annotated[str, AfterValidator(checked_token), _matches(TOKEN.pattern)]


class ConsoleConfig(Section):
    """The browser console; SECURITY.md says who may use it."""

    enabled: bool = Field(True, description="Serve it.")
    host: str = Field(
        "127.0.0.1",
        description="Address to bind; 127.0.0.1: this machine only. At any other address browsers "
        "need a token.",
    )
    port: Annotated[int, Field(ge=0, le=65535)] = Field(
        8080,
        description="TCP port; 0: any free one. Without this key: 8080 or, where that is in use, "
        "the next free one.",
    )
    jpeg_quality: Annotated[int, Field(ge=30, le=100)] = Field(90, description="Of the live image.")
    allowed_hosts: Annotated[tuple[HostName, ...], Strict(False)] = Field(
        (),
        description="Names by which browsers may reach it, besides IP addresses, localhost and "
        "this machine's own name.",
    )
    public_url: PublicUrl | None = Field(
        None,
        description="Address in the browser where a reverse proxy stands before the console, such "
        "as https://carm.example.org/; browsers need a token then. null: no proxy.",
    )
    token: Token | None = Field(
        None,
        exclude=True,
        repr=False,
        description="Secret that browsers must bring, at least 16 letters, digits or - . _ ~. "
        "null: the environment variable FLUORO_CONSOLE_TOKEN; without it a new one at each start, "
        "or none where only this machine can connect.",
    )


class DicomRecordingConfig(Section):
    """How frames are written as DICOM, frames.dcm."""

    object: XrayObject = Field(
        "XA",
        description="X-Ray Angiographic, X-Ray Radiofluoroscopic, or Enhanced XA, which has the "
        "whole pose of every frame in standard attributes.",
    )
    bits: Literal[8, 12, 16] = Field(12, description="Stored in a pixel.")
    dose_report: bool = Field(
        True, description="Radiation Dose SR as well, dose.dcm, where the dose is known."
    )


class RecorderConfig(Section):
    """What is written to output/<run>/."""

    model_config = rules(
        when(at("dicom", {"minProperties": 1}), then=at("formats", {"contains": const("dicom")})),
    )

    enabled: bool = Field(True, description="Write anything but the summary on the terminal.")
    formats: Annotated[tuple[RecordingFormat, ...], Strict(False)] = Field(
        ("mp4", "png"),
        description="Of the frames: a film, 8-bit images, float32 arrays, an X-ray image in "
        "DICOM; geometry: their views as RTK, TIGRE, ASTRA and LEAP have them.",
    )
    dicom: DicomRecordingConfig = Field(
        DicomRecordingConfig(), description="Of the format dicom (docs/xray_files.md)."
    )
    queue_frames: Annotated[int, Field(ge=1, le=100000)] = Field(
        120, description="Frames that may wait to be written."
    )
    contact_sheet: bool = Field(True, description="A page of frames with their angles.")
    skin_dose_map: bool = Field(
        False, description="skin_dose.png: where the beam has met the skin (docs/physics.md)."
    )
    scene_movie: bool = Field(True, description="carm_sweep.mp4: 3D scene beside the frame.")

    @model_validator(mode="after")
    def _dicom_has_effect(self) -> RecorderConfig:
        if self.dicom.model_fields_set and "dicom" not in self.formats:
            raise KeyValueError("dicom", "has no effect without dicom in formats")
        return self


class HolovizConfig(Section):
    """A native window through Holoviz; needs an NVIDIA GPU."""

    enabled: bool = Field(False, description="Open it.")
    headless: bool = Field(False, description="Render without a display.")


class DdsFramesConfig(Section):
    """Frames out over DDS."""

    model_config = rules(
        never(absent_or("protocol", const("ros2")), at("topic")),
        never(at("protocol", const("holohub", "i4h")), at("prefix")),
        never(at("protocol", const("holohub", "i4h")), at("encoding")),
        never(at("protocol", const("holohub", "i4h")), at("jpeg_quality")),
        never(at("protocol", const("holohub", "i4h")), at("camera")),
        never(at("protocol", const("holohub", "i4h")), at("transforms")),
        never(at("protocol", const("holohub", "i4h")), at("truth")),
    )

    protocol: FrameProtocol = Field(
        "ros2", description="ROS 2's Image and what belongs to it, HoloHub's VideoFrame, or i4h's."
    )
    prefix: Topic = Field("/fluoro", description="ROS 2: names in front of image_raw and others.")
    topic: Topic | None = Field(
        None, description="HoloHub and i4h: the topic; null: VideoFrame, topic_carm_camera_data."
    )
    encoding: Encoding = Field(
        "mono8",
        description="ROS 2's Image: display values as 8 bits, 16 bits or float32; 8UC1 and 16UC1 "
        "are OpenCV's names for the same integers.",
    )
    jpeg_quality: Annotated[int, Field(ge=30, le=100)] | None = Field(
        None, description="ROS 2: CompressedImage beside the image; null: none."
    )
    camera: bool = Field(
        False,
        description="ROS 2: camera/image_raw and camera/camera_info as well, the image as a camera "
        "at the source sees it: mirrored, with fx > 0, for image_geometry and RViz.",
    )
    transforms: bool = Field(
        False,
        description="ROS 2: /tf and /tf_static as well, from patient to table, C-arm, detector "
        "and camera.",
    )
    truth: bool = Field(
        False,
        description="ROS 2: annotations as well: labels (mono8, the number of the structure in the "
        "order of annotations.json) and detections (vision_msgs/Detection2DArray).",
    )

    @property
    def pixel_bytes(self) -> int:
        """Bytes of a pixel as it is sent."""
        return PIXEL_BYTES[self.encoding if self.protocol == "ros2" else self.protocol]

    @model_validator(mode="after")
    def _keys_have_effect(self) -> DdsFramesConfig:
        ros = self.protocol == "ros2"
        ros_only = ("prefix", "encoding", "jpeg_quality", "camera", "transforms", "truth")
        belongs = dict.fromkeys(ros_only, ros) | {"topic": not ros}
        for key in sorted(self.model_fields_set & belongs.keys()):
            if not belongs[key] and getattr(self, key) is not None:
                raise KeyValueError(key, f"has no effect with protocol: {self.protocol}")
        return self


LARGEST_SAMPLE_BYTES = 64 * 2**20
"""Largest message that is sent or taken over DDS."""
LARGEST_IMAGE_BYTES = LARGEST_SAMPLE_BYTES - 2**10
"""Largest image in such a message, beside its header."""
PIXEL_BYTES = {
    "mono8": 1, "8UC1": 1, "mono16": 2, "16UC1": 2, "32FC1": 4, "holohub": 4, "i4h": 1,
}  # fmt: skip
"""Bytes of a pixel by encoding, or by protocol where that has one encoding only."""


class DdsConfig(Section):
    """The DDS participant; it stays on this machine unless another interface is named."""

    domain: Annotated[int, Field(ge=0, le=232)] = Field(
        0, description="DDS domain: ROS 2's ROS_DOMAIN_ID."
    )
    interface: str = Field(
        "lo", description="Network interface, its name or IP address; lo: this machine only."
    )
    peers: Annotated[tuple[Peer, ...], Strict(False)] = Field(
        ("127.0.0.1",),
        description="IPv4 addresses or host names at which participants are looked for, each with "
        ":PORT where it is needed.",
    )
    multicast: bool = Field(False, description="Find participants by multicast too.")
    clock: RosClock = Field(
        "system", description="Time of what goes out: this machine's, or that of the topic /clock."
    )
    frames: DdsFramesConfig | None = Field(None, description="Frames out; null: none.")
    bag: bool = Field(
        False, description="Write the frames' messages to output/<run>/bag (MCAP) as well."
    )
    control_topic: Topic | None = Field(
        None,
        description="Topic of diagnostic_msgs/KeyValue that sets the console's controls (beam_on, "
        "dose_ngy, window_level ...); null: not accepted.",
    )
    instrument_topic: Topic | None = Field(
        None,
        description="Objects with a pose follow TOPIC/NAME/pose (geometry_msgs/PoseStamped), path "
        "(nav_msgs/Path), points (PoseArray, the tip last) and joints (sensor_msgs/JointState with "
        "insertion and roll), by their names; null: they do not.",
    )


class IgtlConfig(Section):
    """Frames to 3D Slicer and others by OpenIGTLink."""

    model_config = rules(
        never(absent_or("enabled", const(False)), at("servers", {"minItems": 1})),
    )

    enabled: bool = Field(False, description="Serve them.")
    host: str = Field(
        "127.0.0.1",
        description="Name or address to bind, IPv4 or IPv6; 127.0.0.1 or ::1: this machine only.",
    )
    port: Annotated[int, Field(ge=0, le=65535)] = Field(
        18944, description="TCP port; 0: any free one."
    )
    servers: Annotated[tuple[TcpAddress, ...], Strict(False)] = Field(
        (),
        description="HOST:PORT of OpenIGTLink servers, such as a tracker's (PLUS), to connect to "
        "as a client as well.",
    )

    @model_validator(mode="after")
    def _servers_have_effect(self) -> IgtlConfig:
        if self.servers and not self.enabled:
            raise KeyValueError("servers", "has no effect with enabled: false")
        return self

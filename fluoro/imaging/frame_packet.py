"""A frame's header as bytes, for a display on another machine."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pydantic import TypeAdapter, ValidationError

from fluoro.errors import InputError
from fluoro.geometry.carm import CarmGeometry, CarmPose
from fluoro.imaging.exposure.dose_meter import Exposure
from fluoro.imaging.frame import FrameHeader, PoseOrigin

__all__ = ["pack_header", "unpack_header"]


@dataclass(frozen=True, kw_only=True)
class _Packet:
    """What differs from frame to frame; of the geometry the lengths that a user may change."""

    number: int
    pose: CarmPose
    source_to_detector_mm: float
    pixel_spacing_mm: float
    stamps_ns: dict[str, int]
    origin: PoseOrigin | None
    pulse: bool
    exposure: Exposure | None


PACKET = TypeAdapter(_Packet)


def pack_header(header: FrameHeader) -> bytes:
    """Return the header as JSON."""
    return PACKET.dump_json(
        _Packet(
            number=header.number,
            pose=header.pose,
            source_to_detector_mm=header.geometry.source_to_detector_mm,
            pixel_spacing_mm=header.geometry.pixel_spacing_mm,
            stamps_ns=header.stamps_ns,
            origin=header.origin,
            pulse=header.pulse,
            exposure=header.exposure,
        )
    )


def unpack_header(packet: bytes, geometry: CarmGeometry) -> FrameHeader:
    """Return the header of a packet.

    Args:
        packet: What `pack_header` gave.
        geometry: The C-arm as configured.

    Raises:
        InputError: Bytes that are no header.
    """
    try:
        found = PACKET.validate_json(packet)
    except ValidationError as error:
        raise InputError(f"a frame's header cannot be read: {error.errors()[0]['msg']}") from None
    lengths = replace(
        geometry,
        source_to_detector_mm=found.source_to_detector_mm,
        pixel_spacing_mm=found.pixel_spacing_mm,
    )
    return FrameHeader(
        number=found.number,
        pose=found.pose,
        geometry=lengths,
        stamps_ns=found.stamps_ns,
        origin=found.origin,
        pulse=found.pulse,
        exposure=found.exposure,
    )

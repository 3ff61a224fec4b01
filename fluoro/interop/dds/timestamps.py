"""Time on the wire: Unix nanoseconds and ROS 2's seconds and nanoseconds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fluoro.interop.refusals import FieldError

if TYPE_CHECKING:
    from fluoro.interop.dds.ros_std import Header, Time

__all__ = ["SECONDS_END", "SECOND_NS", "header_of", "stamp_ns", "stamp_of"]

SECOND_NS = 1_000_000_000
SECONDS_END = 2**31
"""Seconds of ROS 2's time are below this; it is reached on 19 January 2038."""


def stamp_of(time_ns: int) -> Time:
    """Return nanoseconds since 1970 as ROS 2's time (until 2038, when its seconds end)."""
    from fluoro.interop.dds.ros_std import Time  # OpenIGTLink needs this module without Cyclone DDS

    sec, nanosec = divmod(time_ns, SECOND_NS)
    return Time(sec=sec, nanosec=nanosec)


def stamp_ns(stamp: Time, field: str = "header.stamp") -> int:
    """Return ROS 2's time as nanoseconds since 1970, or since a simulation's start.

    Args:
        stamp: The time of a message.
        field: Path of the time in its message, for the error.

    Raises:
        FieldError: sec is negative, or nanosec is not below 1000000000.
    """
    sec, nanosec = int(stamp.sec), int(stamp.nanosec)
    if not 0 <= sec < SECONDS_END:
        raise FieldError(f"{field}.sec", f"must be 0 to {SECONDS_END - 1}, got {sec}")
    if not 0 <= nanosec < SECOND_NS:
        raise FieldError(f"{field}.nanosec", f"must be below {SECOND_NS}, got {nanosec}")
    return sec * SECOND_NS + nanosec


def header_of(time_ns: int, frame_id: str) -> Header:
    """Return a header with a time [ns since 1970] and a frame."""
    from fluoro.interop.dds.ros_std import Header

    return Header(stamp=stamp_of(time_ns), frame_id=frame_id)

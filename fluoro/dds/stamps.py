"""Time on the wire: Unix nanoseconds and ROS 2's seconds and nanoseconds."""

from __future__ import annotations

from fluoro.dds.ros_std import Header, Time

__all__ = ["header_of", "stamp_ns", "stamp_of"]

SECOND_NS = 1_000_000_000


def stamp_of(time_ns: int) -> Time:
    """ROS 2's time of nanoseconds since 1970 (until 2038, when its seconds end)."""
    sec, nanosec = divmod(time_ns, SECOND_NS)
    return Time(sec=sec, nanosec=nanosec)


def stamp_ns(stamp: Time) -> int:
    """Nanoseconds since 1970 of ROS 2's time."""
    return int(stamp.sec) * SECOND_NS + int(stamp.nanosec)


def header_of(time_ns: int, frame_id: str) -> Header:
    """A header with a time [ns since 1970] and a frame."""
    return Header(stamp=stamp_of(time_ns), frame_id=frame_id)

"""How the stream is doing, and, when it is slow, why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["StreamStatus", "slowdown_reason"]

FULL_SPEED = 0.9
"""Share of the target rate from which on a stream counts as on time; a 30 Hz stream watched over
one second swings by a frame or two."""

SAMPLING = frozenset({"registration"})
"""Sinks that are meant to take the frames they can; what they drop slows nothing down."""


@dataclass(frozen=True, kw_only=True)
class StreamStatus:
    """How the stream is doing.

    Attributes:
        fps: Frames made per second, lately.
        target_fps: Frames requested per second; None: free-running.
        latency_ms: Time each stage takes for a frame [ms], by the stage's name.
        dropped: Frames each sink has dropped since the start, by the sink's name.
        device: What renders, in words.
    """

    fps: float
    target_fps: float | None
    latency_ms: Mapping[str, float] = field(default_factory=dict)
    dropped: Mapping[str, int] = field(default_factory=dict)
    device: str = ""


def slowdown_reason(status: StreamStatus, dropped_before: Mapping[str, int]) -> str:
    """Return why frames come slower than asked, in a few words; empty while they do not.

    Args:
        status: How the stream is doing now.
        dropped_before: `status.dropped` of a moment ago.
    """
    reasons = [_slowest_stage(status)] if _late(status) else []
    reasons += [
        f"{sink} slow"
        for sink, count in status.dropped.items()
        if sink not in SAMPLING and count > dropped_before.get(sink, 0)
    ]
    return ", ".join(reasons)


def _late(status: StreamStatus) -> bool:
    return status.target_fps is not None and status.fps < FULL_SPEED * status.target_fps


def _slowest_stage(status: StreamStatus) -> str:
    if not status.latency_ms:
        return "frames come late"
    stage, latency_ms = max(status.latency_ms.items(), key=lambda item: item[1])
    return f"{stage} {latency_ms:.0f} ms"

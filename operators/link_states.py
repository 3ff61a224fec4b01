"""How the connections are doing, as DDS diagnostics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fluoro.interop.dds.diagnostics_publisher import status_message
from fluoro.interop.dds.ros_diagnostic import DiagnosticStatus, Level
from fluoro.interop.frame_publisher import FrameSink
from fluoro.interop.pose_feed import PoseFeed
from fluoro.interop.refusals import Refusals
from operators.monitor import StreamMonitor

if TYPE_CHECKING:
    from operators.links import Links

__all__ = ["states"]


def states(links: Links) -> list[DiagnosticStatus]:
    """Return the states of the stream and of each connection."""
    found = [_stream_state(links.monitor, links.isocenter_xyz_mm, links.rivals())]
    if links.feed:
        found.append(_pose_state(links.feed))
    if links.frames:
        found.append(_frame_state(links.frames, links.monitor))
    for name, refusals in links.refusing.items():
        silent = links.steering.stale() if refusals is links.steering.refusals else []
        found.append(_refusing_state(name, refusals, silent))
    return found


def _stream_state(
    monitor: StreamMonitor, isocenter_xyz_mm: Sequence[float], rivals: Sequence[str]
) -> DiagnosticStatus:
    status = monitor.status()
    values = {
        "frames": monitor.frames,
        "fps": f"{status.fps:.1f}",
        "device": status.device,
        "isocenter_m": " ".join(f"{value * 1e-3:.9g}" for value in isocenter_xyz_mm),
    }
    message = "streaming" if monitor.frames else "ready"
    if rivals:
        others = ", ".join(rivals)
        message = f"{message}, another simulator is in the domain: {others}"
    return status_message("simulator", Level.WARN if rivals else Level.OK, message, values)


def _pose_state(feed: PoseFeed) -> DiagnosticStatus:
    values = {**feed.counts(), "last refusal": feed.refusals.last(), **_clock_values(feed)}
    if feed.latest() is None:
        return status_message("poses", Level.WARN, f"waiting: {feed.hint()}", values)
    if feed.silent():
        return status_message("poses", Level.ERROR, "watchdog: no pose comes", values)
    if feed.sender_clock and feed.sender_clock.is_off():
        return status_message("poses", Level.WARN, "poses come, the sender's clock is off", values)
    if last := feed.refusals.last():
        text = f"poses come, some are refused; the last: {last}"
        return status_message("poses", Level.WARN, text, values)
    return status_message("poses", Level.OK, "poses come", values)


def _clock_values(feed: PoseFeed) -> dict[str, str]:
    """Return by how much the sender's clock is ahead of the local one; empty if unknown."""
    offset_s = feed.sender_clock.offset_s() if feed.sender_clock else None
    return {} if offset_s is None else {"sender's clock ahead [s]": f"{offset_s:.3f}"}


def _refusing_state(name: str, refusals: Refusals, silent: Sequence[str] = ()) -> DiagnosticStatus:
    """The state of a part that takes messages, refuses some, and misses some that do not come."""
    refused = {f"refused: {reason}": count for reason, count in refusals.counts().items()}
    text = "some are refused" if refused else "none is refused"
    if silent:
        text = f"no sample comes for {', '.join(silent)}; {text}"
    level = Level.WARN if refused or silent else Level.OK
    return status_message(name, level, text, {**refused, "last refusal": refusals.last()})


def _frame_state(sink: FrameSink, monitor: StreamMonitor) -> DiagnosticStatus:
    hint = sink.hint()
    values = {
        "sent": sink.sent,
        "lost in the writer": sink.lost,
        "readers": sink.readers(),
        "hint": hint,
        **{f"dropped by {name}": count for name, count in monitor.status().dropped.items()},
    }
    text = "frames are lost" if sink.lost else hint or "sent"
    level = Level.OK if text == "sent" else Level.WARN
    return status_message("frames", level, text, values)

"""What of a graph's links needs Cyclone DDS: participant, bag, diagnostics."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from fluoro.config import Config, DdsFramesConfig, DdsPoses
from fluoro.console.controls import LiveControls
from fluoro.dds.bag import BagNode
from fluoro.dds.beacon import StatusBeacon, status_message
from fluoro.dds.clock import RosClock, make_clock
from fluoro.dds.dds_pose_feed import DdsPoseFeed
from fluoro.dds.estimate_sink import EstimateSink
from fluoro.dds.frame_sink import FrameSink
from fluoro.dds.node import DdsNode
from fluoro.dds.pose_feed import PoseFeed
from fluoro.dds.refusals import Refusals
from fluoro.dds.remote_controls import RemoteControls
from fluoro.dds.ros_diagnostic import DiagnosticStatus, Level
from fluoro.errors import InputError
from fluoro.geometry.setup import make_limits
from operators.monitor import StreamMonitor

if TYPE_CHECKING:
    from operators.dds import DdsParts

__all__ = ["open_link"]


def open_link(
    config: Config,
    isocenter_xyz_mm: Sequence[float],
    monitor: StreamMonitor,
    controls: LiveControls,
    folder: Path | None,
    parts: DdsParts,
    stack: ExitStack,
) -> DdsParts:
    """Add what is configured of DDS and bags to the parts that need neither.

    Args:
        config: The application's configuration.
        isocenter_xyz_mm: Isocentre of the untranslated C-arm, patient LPS [mm].
        monitor: Asked how the stream is doing.
        controls: Set by the control topic.
        folder: Folder of the run's files; None: nothing is recorded.
        parts: The parts that are open.
        stack: Closes what is opened.

    Raises:
        InputError: An interface that is not there, a bag of another protocol than ROS 2's.
        DeviceError: DDS does not start.
        OutputError: The bag cannot be written.
    """
    source, dds = config.pose_source, config.dds
    if folder and dds.bag:
        parts = _with_bag(parts, config, isocenter_xyz_mm, folder, stack)
    if not (isinstance(source, DdsPoses) or dds.frames or dds.control_topic):
        return parts
    node = DdsNode(dds)
    stack.callback(node.close)
    clock = make_clock(node)
    parts = replace(parts, clock=clock)
    if isinstance(clock, RosClock):
        parts = _refusing(parts, "clock", clock.refusals)
    if isinstance(source, DdsPoses):
        feed = DdsPoseFeed(node, source, isocenter_xyz_mm, make_limits(config.carm))
        stack.callback(feed.close)
        parts = replace(parts, feed=feed)
    if dds.frames:
        estimates = _estimates_to(node, config, isocenter_xyz_mm, clock)
        parts = replace(
            parts,
            sink=FrameSink(node, dds.frames, isocenter_xyz_mm, clock),
            estimates=parts.estimates + estimates,
        )
    if dds.control_topic:
        remote = RemoteControls(node, dds.control_topic, controls, monitor.pose)
        stack.callback(remote.close)
        parts = _refusing(parts, "controls", remote.refusals)
    beacon = StatusBeacon(node, clock, lambda: _states(parts, monitor, isocenter_xyz_mm))
    stack.callback(beacon.close)
    return parts


def _refusing(parts: DdsParts, name: str, refusals: Refusals) -> DdsParts:
    return replace(parts, refusing={**parts.refusing, name: refusals})


def _with_bag(
    parts: DdsParts,
    config: Config,
    isocenter_xyz_mm: Sequence[float],
    folder: Path,
    stack: ExitStack,
) -> DdsParts:
    """The parts with a bag of frames and of the poses that registration finds."""
    frames = _frames_config(config)
    if frames.protocol != "ros2":
        raise InputError(f"dds.bag needs dds.frames.protocol: ros2, got {frames.protocol}")
    node = BagNode(folder / "bag")
    stack.callback(node.close)
    return replace(
        parts,
        bag=FrameSink(node, frames, isocenter_xyz_mm, time.time_ns),
        estimates=_estimates_to(node, config, isocenter_xyz_mm, time.time_ns),
    )


def _frames_config(config: Config) -> DdsFramesConfig:
    return config.dds.frames or DdsFramesConfig()


def _estimates_to(
    node: DdsNode | BagNode,
    config: Config,
    isocenter_xyz_mm: Sequence[float],
    clock: Callable[[], int],
) -> tuple[EstimateSink, ...]:
    """What sends estimates, where there are any and the protocol has poses."""
    frames = _frames_config(config)
    if not config.registration.enabled or frames.protocol != "ros2":
        return ()
    return (EstimateSink(node, frames, isocenter_xyz_mm, clock),)


def _states(
    parts: DdsParts, monitor: StreamMonitor, isocenter_xyz_mm: Sequence[float]
) -> list[DiagnosticStatus]:
    found = [_stream_state(monitor, isocenter_xyz_mm)]
    if parts.feed:
        found.append(_pose_state(parts.feed))
    if parts.sink:
        found.append(_frame_state(parts.sink, monitor))
    found += [_refusing_state(name, refusals) for name, refusals in parts.refusing.items()]
    return found


def _stream_state(monitor: StreamMonitor, isocenter_xyz_mm: Sequence[float]) -> DiagnosticStatus:
    status = monitor.status()
    values = {
        "frames": monitor.frames,
        "fps": f"{status.fps:.1f}",
        "device": status.device,
        "isocenter_m": " ".join(f"{value * 1e-3:.9g}" for value in isocenter_xyz_mm),
    }
    message = "streaming" if monitor.frames else "ready"
    return status_message("simulator", Level.OK, message, values)


def _pose_state(feed: PoseFeed) -> DiagnosticStatus:
    values = {**feed.figures(), "last refusal": feed.refusals.last(), **_clock_values(feed)}
    if feed.latest() is None:
        return status_message("poses", Level.WARN, f"waiting: {feed.hint()}", values)
    if feed.silent():
        return status_message("poses", Level.ERROR, "watchdog: no pose comes", values)
    if feed.sender_clock and feed.sender_clock.is_off():
        return status_message("poses", Level.WARN, "poses come, the sender's clock is off", values)
    return status_message("poses", Level.OK, "poses come", values)


def _clock_values(feed: PoseFeed) -> dict[str, str]:
    """By how much the sender's clock is ahead of ours; nothing where that is not known."""
    offset_s = feed.sender_clock.offset_s() if feed.sender_clock else None
    return {} if offset_s is None else {"sender's clock ahead [s]": f"{offset_s:.3f}"}


def _refusing_state(name: str, refusals: Refusals) -> DiagnosticStatus:
    """The state of a part that takes messages and refuses some."""
    refused = {f"refused: {reason}": count for reason, count in refusals.counts().items()}
    level, text = (Level.WARN, "some are refused") if refused else (Level.OK, "none is refused")
    return status_message(name, level, text, {**refused, "last refusal": refusals.last()})


def _frame_state(sink: FrameSink, monitor: StreamMonitor) -> DiagnosticStatus:
    values = {
        "sent": sink.sent,
        "lost in the writer": sink.lost,
        "readers": sink.readers(),
        **{f"dropped by {name}": count for name, count in monitor.status().dropped.items()},
    }
    level = Level.WARN if sink.lost else Level.OK
    return status_message("frames", level, "frames are lost" if sink.lost else "sent", values)

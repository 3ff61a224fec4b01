"""What a graph needs of DDS, opened before it and closed after it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fluoro.config import BagPoses, Config, DdsFramesConfig, DdsPoses, IgtlPoses
from fluoro.console.controls import LiveControls
from fluoro.dds.beacon import StatusBeacon, status_message
from fluoro.dds.clock import make_clock
from fluoro.dds.estimate_sink import EstimateSink
from fluoro.dds.frame_sink import FrameSink
from fluoro.dds.node import DdsNode
from fluoro.dds.pose_feed import DdsPoseFeed, PoseFeed
from fluoro.dds.remote_controls import RemoteControls
from fluoro.dds.ros_diagnostic import DiagnosticStatus, Level
from fluoro.errors import InputError
from fluoro.geometry.carm import CarmGeometry
from fluoro.geometry.setup import make_limits
from fluoro.geometry.trajectory import Trajectory, waypoint_trajectory
from operators.monitor import StreamMonitor

if TYPE_CHECKING:
    from fluoro.dds.bag import BagNode, BagPictures
    from fluoro.dds.igtl import IgtlServer

__all__ = ["DdsParts", "bag_trajectory", "open_dds", "open_pictures"]


@dataclass(frozen=True, kw_only=True, eq=False)
class DdsParts:
    """Where poses come from and frames go.

    Attributes:
        feed: Poses; None: the graph has another source.
        sink: Frames; None: none are sent.
        bag: Frames into a bag; None: into none.
        igtl: Frames by OpenIGTLink; None: none.
        estimates: Poses that registration finds, over DDS and into the bag.
        clock: Time of what goes out [ns].
    """

    feed: PoseFeed | None = None
    sink: FrameSink | None = None
    bag: FrameSink | None = None
    igtl: IgtlServer | None = None
    estimates: tuple[EstimateSink, ...] = ()
    clock: Callable[[], int] = time.time_ns

    def dropped(self) -> dict[str, int]:
        """Poses and frames lost here, by where."""
        figures = self.feed.figures() if self.feed else {}
        poses = {f"poses {name}": n for name, n in figures.items() if name.startswith("refused")}
        if figures.get("malformed"):
            poses["poses malformed"] = figures["malformed"]
        return poses | ({"dds writer": self.sink.lost} if self.sink else {})


def open_dds(
    config: Config,
    isocenter_xyz_mm: Sequence[float],
    monitor: StreamMonitor,
    controls: LiveControls,
    folder: Path | None,
    stack: ExitStack,
) -> DdsParts | None:
    """What of DDS, bags and OpenIGTLink is configured; None where nothing of it is.

    Args:
        config: The application's configuration.
        isocenter_xyz_mm: Isocentre of the untranslated C-arm, patient LPS [mm].
        monitor: Asked how the stream is doing.
        controls: Set by whoever writes the control topic.
        folder: Of the run's files; None: nothing is recorded.
        stack: Closes what is opened.

    Raises:
        InputError: An interface that is not there, a bag of another protocol than ROS 2's.
        DeviceError: DDS does not start.
        OutputError: The bag cannot be written.
    """
    source, dds = config.pose_source, config.dds
    bag_node = _open_bag(config, folder, stack) if folder and dds.bag else None
    igtl, feed = _open_igtl(config, isocenter_xyz_mm, stack)
    bag = _frames_to(bag_node, config, isocenter_xyz_mm, time.time_ns)
    estimates = _estimates_to(bag_node, config, isocenter_xyz_mm, time.time_ns)
    if not (isinstance(source, DdsPoses) or dds.frames or dds.control_topic):
        parts = DdsParts(feed=feed, bag=bag, igtl=igtl, estimates=estimates)
        return parts if bag or igtl else None
    node = DdsNode(dds)
    stack.callback(node.close)
    clock = make_clock(node)
    sink = None
    if isinstance(source, DdsPoses):
        feed = DdsPoseFeed(node, source, isocenter_xyz_mm, make_limits(config.carm))
    if dds.frames:
        sink = _frames_to(node, config, isocenter_xyz_mm, clock)
        estimates += _estimates_to(node, config, isocenter_xyz_mm, clock)
    if dds.control_topic:
        RemoteControls(node, dds.control_topic, controls, monitor.pose)
    parts = DdsParts(feed=feed, sink=sink, bag=bag, igtl=igtl, estimates=estimates, clock=clock)
    beacon = StatusBeacon(node, clock, lambda: _states(parts, monitor, isocenter_xyz_mm))
    stack.callback(beacon.close)
    return parts


def _open_bag(config: Config, folder: Path, stack: ExitStack) -> BagNode:
    from fluoro.dds.bag import BagNode

    protocol = _frames_config(config).protocol
    if protocol != "ros2":
        raise InputError(f"dds.bag needs dds.frames.protocol: ros2, got {protocol}")
    node = BagNode(folder / "bag")
    stack.callback(node.close)
    return node


def _frames_config(config: Config) -> DdsFramesConfig:
    return config.dds.frames or DdsFramesConfig()


def _frames_to(
    node: DdsNode | BagNode | None,
    config: Config,
    isocenter_xyz_mm: Sequence[float],
    clock: Callable[[], int],
) -> FrameSink | None:
    return FrameSink(node, _frames_config(config), isocenter_xyz_mm, clock) if node else None


def _estimates_to(
    node: DdsNode | BagNode | None,
    config: Config,
    isocenter_xyz_mm: Sequence[float],
    clock: Callable[[], int],
) -> tuple[EstimateSink, ...]:
    """What sends estimates, where there are any and the protocol has poses."""
    frames = _frames_config(config)
    if node is None or not config.registration.enabled or frames.protocol != "ros2":
        return ()
    return (EstimateSink(node, frames, isocenter_xyz_mm, clock),)


def _open_igtl(
    config: Config, isocenter_xyz_mm: Sequence[float], stack: ExitStack
) -> tuple[IgtlServer | None, PoseFeed | None]:
    """The server, and what takes the poses that its clients send; None: there is none."""
    if not config.igtl.enabled:
        return None, None
    from fluoro.dds.igtl import IgtlServer
    from fluoro.dds.igtl_poses import IgtlPoseFeed

    source, feed = config.pose_source, None
    if isinstance(source, IgtlPoses):
        feed = IgtlPoseFeed(source, isocenter_xyz_mm, make_limits(config.carm))
    take = feed.take if feed else None
    server = IgtlServer(config.igtl.host, config.igtl.port, isocenter_xyz_mm, take)
    stack.callback(server.close)
    return server, feed


def open_pictures(
    config: Config, isocenter_xyz_mm: Sequence[float], geometry: CarmGeometry, stack: ExitStack
) -> BagPictures | None:
    """The pictures that take the place of rendered ones; None: they are rendered.

    Raises:
        InputError: A bag that cannot be used, or pictures of another size than the detector's.
    """
    source = config.pose_source
    if not (isinstance(source, BagPoses) and source.pictures):
        return None
    from fluoro.dds.bag import BagPictures

    size = (geometry.detector_height_px, geometry.detector_width_px)
    pictures = BagPictures(source.path, source.pictures, source.topic, isocenter_xyz_mm, size)
    stack.callback(pictures.close)
    return pictures


def bag_trajectory(source: BagPoses, isocenter_xyz_mm: Sequence[float]) -> Trajectory:
    """The poses of a bag over time, interpolated between their stamps.

    Raises:
        InputError: A bag that cannot be used.
    """
    from fluoro.dds.bag import read_poses

    times_s, poses = read_poses(source.path, source.topic, isocenter_xyz_mm)
    return waypoint_trajectory(times_s, poses, repeat=source.repeat)


def _states(
    parts: DdsParts, monitor: StreamMonitor, isocenter_xyz_mm: Sequence[float]
) -> list[DiagnosticStatus]:
    found = [_stream_state(monitor, isocenter_xyz_mm)]
    if parts.feed:
        found.append(_pose_state(parts.feed))
    if parts.sink:
        found.append(_frame_state(parts.sink, monitor))
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
    if feed.latest() is None:
        return status_message("poses", Level.WARN, f"waiting: {feed.hint()}", feed.figures())
    if feed.silent():
        return status_message("poses", Level.ERROR, "watchdog: no pose comes", feed.figures())
    return status_message("poses", Level.OK, "poses come", feed.figures())


def _frame_state(sink: FrameSink, monitor: StreamMonitor) -> DiagnosticStatus:
    values = {
        "sent": sink.sent,
        "lost in the writer": sink.lost,
        "readers": sink.readers(),
        **{f"dropped by {name}": count for name, count in monitor.status().dropped.items()},
    }
    level = Level.WARN if sink.lost else Level.OK
    return status_message("frames", level, "frames are lost" if sink.lost else "sent", values)

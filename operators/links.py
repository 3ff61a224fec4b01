"""Connections that pose sources and sinks share: DDS participant, OpenIGTLink server, bags."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

from fluoro.config import BagPoses, Config, DdsPoses, IgtlPoses
from fluoro.console.controls import LiveControls
from fluoro.dds.installed import require_cyclonedds
from fluoro.dds.refusals import Refusals
from fluoro.geometry.carm import CarmGeometry
from fluoro.geometry.setup import make_limits
from fluoro.geometry.trajectory import Trajectory, waypoint_trajectory
from operators.monitor import StreamMonitor

if TYPE_CHECKING:
    from fluoro.dds.bag import BagPictures
    from fluoro.dds.frame_sink import FrameSink
    from fluoro.dds.igtl_poses import Transform
    from fluoro.dds.node import DdsNode
    from fluoro.dds.pose_feed import PoseFeed

__all__ = ["Links", "bag_trajectory", "open_pictures"]


class Links:
    """Opens each connection when the first part asks for it, and closes it after the graph.

    Args:
        config: The application's configuration.
        isocenter_xyz_mm: Isocentre of the untranslated C-arm, patient LPS [mm].
        monitor: Asked how the stream is doing.
        controls: Set by the control topic.
        stack: Closes what is opened.

    Attributes:
        feed: Takes poses that are sent; None: the poses come from elsewhere.
        frames: Sends frames over DDS; None: none are sent.
        take_transform: Takes what OpenIGTLink's clients send; None: it is thrown away.
        refusing: Refusals of what takes messages that are no poses, by its name.
        clock: Time of frames that show no sender's pose [ns since 1970]; a simulation's time where
            DDS has one.
    """

    def __init__(
        self,
        config: Config,
        isocenter_xyz_mm: Sequence[float],
        monitor: StreamMonitor,
        controls: LiveControls,
        stack: ExitStack,
    ) -> None:
        self.config, self.isocenter_xyz_mm, self.monitor = config, isocenter_xyz_mm, monitor
        self._controls, self._stack = controls, stack
        self.feed: PoseFeed | None = None
        self.frames: FrameSink | None = None
        self.take_transform: Callable[[int, Transform], None] | None = None
        self.refusing: dict[str, Refusals] = {}
        self.clock: Callable[[], int] = time.time_ns
        self._node: DdsNode | None = None

    def dds(self, key: str) -> DdsNode:
        """Return the DDS participant; the first call opens it, and sets `clock`.

        Args:
            key: Key of the configuration that needs it.

        Raises:
            InputError: An interface that is not there.
            DeviceError: DDS does not start, or its package is not installed.
        """
        if self._node is None:
            require_cyclonedds(key)
            from fluoro.dds.clock import RosClock, make_clock
            from fluoro.dds.node import DdsNode

            self._node = DdsNode(self.config.dds)
            self._stack.callback(self._node.close)
            self.clock = make_clock(self._node)
            if isinstance(self.clock, RosClock):
                self.refusing["clock"] = self.clock.refusals
        return self._node

    def open_poses(self) -> None:
        """Take the poses of a sender, where the configuration names one.

        Raises:
            InputError: An interface that is not there.
            DeviceError: DDS does not start, or its package is not installed.
        """
        source, limits = self.config.pose_source, make_limits(self.config.carm)
        if isinstance(source, DdsPoses):
            node = self.dds("pose_source.kind: dds")
            from fluoro.dds.dds_pose_feed import DdsPoseFeed

            self.feed = DdsPoseFeed(node, source, self.isocenter_xyz_mm, limits)
        if isinstance(source, IgtlPoses):
            from fluoro.dds.igtl_poses import IgtlPoseFeed

            feed = self.feed = IgtlPoseFeed(source, self.isocenter_xyz_mm, limits)
            self.take_transform = feed.take
        if self.feed:
            self._stack.callback(self.feed.close)

    def start(self) -> None:
        """Take what the control topic says, and tell over DDS how the stream is doing.

        Raises:
            InputError: An interface that is not there.
            DeviceError: DDS does not start, or its package is not installed.
        """
        topic = self.config.dds.control_topic
        node = self.dds("dds.control_topic") if topic else self._node
        if node is None:
            return
        from fluoro.dds.beacon import StatusBeacon
        from fluoro.dds.remote_controls import RemoteControls
        from operators.link_states import states

        if topic:
            remote = RemoteControls(node, topic, self._controls, self.monitor.pose)
            self._stack.callback(remote.close)
            self.refusing["controls"] = remote.refusals
        beacon = StatusBeacon(node, self.clock, lambda: states(self))
        self._stack.callback(beacon.close)

    def dropped(self) -> dict[str, int]:
        """Return how many poses and messages were lost here, by where."""
        figures = self.feed.figures() if self.feed else {}
        poses = {f"poses {name}": n for name, n in figures.items() if name.startswith("refused")}
        if figures.get("malformed"):
            poses["poses malformed"] = figures["malformed"]
        refused = {
            f"{name} refused: {reason}": count
            for name, refusals in self.refusing.items()
            for reason, count in refusals.counts().items()
        }
        return poses | refused


def open_pictures(
    config: Config, isocenter_xyz_mm: Sequence[float], geometry: CarmGeometry, stack: ExitStack
) -> BagPictures | None:
    """The pictures that take the place of rendered ones; None: they are rendered.

    Raises:
        InputError: A bag that cannot be used, or pictures of another size than the detector's.
        DeviceError: The package cyclonedds is not installed.
    """
    source = config.pose_source
    if not (isinstance(source, BagPoses) and source.pictures):
        return None
    require_cyclonedds("pose_source.kind: bag")
    from fluoro.dds.bag import BagPictures

    size = (geometry.detector_height_px, geometry.detector_width_px)
    pictures = BagPictures(source.path, source.pictures, source.topic, isocenter_xyz_mm, size)
    stack.callback(pictures.close)
    return pictures


def bag_trajectory(source: BagPoses, isocenter_xyz_mm: Sequence[float]) -> Trajectory:
    """The poses of a bag over time, interpolated between their stamps.

    Raises:
        InputError: A bag that cannot be used.
        DeviceError: The package cyclonedds is not installed.
    """
    require_cyclonedds("pose_source.kind: bag")
    from fluoro.dds.bag import read_poses

    times_s, poses = read_poses(source.path, source.topic, isocenter_xyz_mm)
    return waypoint_trajectory(times_s, poses, repeat=source.repeat)

"""What a graph needs of DDS, opened before it and closed after it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
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
    from fluoro.dds.estimate_sink import EstimateSink
    from fluoro.dds.frame_sink import FrameSink
    from fluoro.dds.igtl import IgtlServer
    from fluoro.dds.pose_feed import PoseFeed

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
        refusing: Refusals of what takes messages that are no poses, by its name.
    """

    feed: PoseFeed | None = None
    sink: FrameSink | None = None
    bag: FrameSink | None = None
    igtl: IgtlServer | None = None
    estimates: tuple[EstimateSink, ...] = ()
    clock: Callable[[], int] = time.time_ns
    refusing: Mapping[str, Refusals] = field(default_factory=dict)

    def dropped(self) -> dict[str, int]:
        """Poses, frames and messages lost here, by where."""
        figures = self.feed.figures() if self.feed else {}
        poses = {f"poses {name}": n for name, n in figures.items() if name.startswith("refused")}
        if figures.get("malformed"):
            poses["poses malformed"] = figures["malformed"]
        refused = {
            f"{name} refused: {reason}": count
            for name, refusals in self.refusing.items()
            for reason, count in refusals.counts().items()
        }
        return poses | refused | ({"dds writer": self.sink.lost} if self.sink else {})


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
        DeviceError: DDS does not start, or its package is not installed.
        OutputError: The bag cannot be written.
    """
    igtl, feed = _open_igtl(config, isocenter_xyz_mm, stack)
    parts = DdsParts(feed=feed, igtl=igtl, refusing={"igtl": igtl.refusals} if igtl else {})
    key = _key_of_dds(config, folder)
    if key is None:
        return parts if igtl else None
    require_cyclonedds(key)
    from operators.dds_link import open_link

    return open_link(config, isocenter_xyz_mm, monitor, controls, folder, parts, stack)


def _key_of_dds(config: Config, folder: Path | None) -> str | None:
    """The first key that asks for DDS or for its messages in a bag; None: no key does."""
    keys = {
        "dds.bag": config.dds.bag and folder is not None,
        "pose_source.kind: dds": isinstance(config.pose_source, DdsPoses),
        "dds.frames": config.dds.frames is not None,
        "dds.control_topic": config.dds.control_topic is not None,
    }
    return next((key for key, asked in keys.items() if asked), None)


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
        stack.callback(feed.close)
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

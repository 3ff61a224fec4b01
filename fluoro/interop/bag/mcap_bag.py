"""ROS 2 bags (MCAP): frames written as they would go over DDS, poses read back."""

from __future__ import annotations

import logging
import threading
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from itertools import islice, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Final, Generic, TypeVar

import numpy as np
from cyclonedds.idl import IdlStruct
from cyclonedds.qos import Policy, Qos
from numpy.typing import NDArray
from rosbags.interfaces import Qos as RosQos
from rosbags.interfaces import QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime
from rosbags.rosbag2 import Reader, StoragePlugin
from rosbags.rosbag2 import Writer as BagFile
from rosbags.rosbag2.storage_mcap import McapWriter
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from fluoro.errors import FluoroError, InputError
from fluoro.files.atomic_write import writing
from fluoro.geometry.carm import CarmPose
from fluoro.interop.dds.image_messages import image_of
from fluoro.interop.dds.pose_messages import pose_of
from fluoro.interop.dds.ros_geometry import PoseStamped
from fluoro.interop.dds.ros_sensor import Image
from fluoro.interop.dds.timestamps import stamp_ns
from fluoro.interop.refusals import FieldError
from fluoro.steady_clock import steady_ns

if TYPE_CHECKING:
    from rosbags.interfaces import Connection

__all__ = [
    "BAG_VERSION",
    "BagImage",
    "BagImages",
    "BagNode",
    "BagWriter",
    "read_poses",
    "typestore",
]

log = logging.getLogger(__name__)

Sample = TypeVar("Sample", bound=IdlStruct)
BAG_VERSION: Final = 8
"""Newest version of the metadata that rosbag2 of Humble and Iron reads; Jazzy reads it too."""
FOREVER = QosTime(9223372036, 854775807)
"""RMW_DURATION_INFINITE, as `ros2 bag record` writes it."""
FLUSH_NS = 200_000_000
"""How long messages may wait for the disk [ns], which is what a kill can cost."""
POSE_TYPE, IMAGE_TYPE = "geometry_msgs/msg/PoseStamped", "sensor_msgs/msg/Image"


VISION_MSGS = {
    "vision_msgs/msg/Point2D": "float64 x\nfloat64 y",
    "vision_msgs/msg/Pose2D": "vision_msgs/Point2D position\nfloat64 theta",
    "vision_msgs/msg/BoundingBox2D": "vision_msgs/Pose2D center\nfloat64 size_x\nfloat64 size_y",
    "vision_msgs/msg/ObjectHypothesis": "string class_id\nfloat64 score",
    "vision_msgs/msg/ObjectHypothesisWithPose": "vision_msgs/ObjectHypothesis hypothesis\n"
    "geometry_msgs/PoseWithCovariance pose",
    "vision_msgs/msg/Detection2D": "std_msgs/Header header\n"
    "vision_msgs/ObjectHypothesisWithPose[] results\nvision_msgs/BoundingBox2D bbox\nstring id",
    "vision_msgs/msg/Detection2DArray": "std_msgs/Header header\n"
    "vision_msgs/Detection2D[] detections",
}
"""vision_msgs 4 (Humble and later), which rosbags does not know."""


@cache
def typestore() -> Typestore:
    """Return the types of a bag's messages."""
    store = get_typestore(Stores.ROS2_JAZZY)
    for name, text in VISION_MSGS.items():
        store.register(get_types_from_msg(text, name))
    return store


class BagNode:
    """Takes the place of a `DdsNode` for writers: what they write lands in a bag.

    Args:
        folder: The bag, a folder that is not there yet.

    Raises:
        OutputError: It cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._lock = folder, threading.Lock()
        self._flushed_ns = 0
        self._file = BagFile(folder, version=BAG_VERSION, storage_plugin=StoragePlugin.MCAP)
        with writing(folder):
            self._file.open()
            self._flush()

    def writer(self, topic: str, kind: type[Sample], qos: Qos) -> BagWriter[Sample]:
        """Return a writer of one of ROS 2's topics, by its name on the wire."""
        name = kind.__idl_typename__.replace("::dds_::", "/").replace("::", "/").rstrip("_")
        with writing(self._folder):
            connection = self._file.add_connection(
                topic.removeprefix("rt"),
                name,
                typestore=typestore(),
                offered_qos_profiles=[_offered(qos)],
            )
        return BagWriter(self, connection)

    def put(self, connection: Connection, time_ns: int, data: bytes) -> None:
        """Append a message.

        Raises:
            OutputError: It cannot be written.
        """
        with writing(self._folder), self._lock:
            self._file.write(connection, time_ns, data)
            if time_ns - self._flushed_ns >= FLUSH_NS:
                self._flushed_ns = time_ns
                self._flush()

    def _flush(self) -> None:
        """Put on disk what is buffered, as one of the bag's chunks."""
        storage = self._file.storage
        assert isinstance(storage, McapWriter)
        if storage.chunk.bio.tell():
            storage.close_chunk()
        storage.bio.flush()

    def close(self) -> None:
        """Write the bag's index; may be called again.

        Raises:
            OutputError: It cannot be written; `repair_bag` makes it later.
        """
        with writing(self._folder), self._lock:
            try:
                if self._file.storage:
                    self._file.close()
            finally:
                with suppress(OSError):
                    self._file.abort()


def _offered(qos: Qos) -> RosQos:
    """Return a writer's quality of service as a bag keeps it; the bag is played with the same."""
    transient = qos[Policy.Durability] == Policy.Durability.TransientLocal
    best_effort = qos[Policy.Reliability] == Policy.Reliability.BestEffort
    return RosQos(
        history=QosHistory.KEEP_LAST,
        depth=qos[Policy.History].depth,
        reliability=QosReliability.BEST_EFFORT if best_effort else QosReliability.RELIABLE,
        durability=QosDurability.TRANSIENT_LOCAL if transient else QosDurability.VOLATILE,
        deadline=FOREVER,
        lifespan=FOREVER,
        liveliness=QosLiveliness.AUTOMATIC,
        liveliness_lease_duration=FOREVER,
        avoid_ros_namespace_conventions=False,
    )


class BagWriter(Generic[Sample]):
    """Writes samples with a header into a bag, at the time of this machine as ROS 2 does."""

    def __init__(self, node: BagNode, connection: Connection) -> None:
        self._node, self._connection = node, connection

    def write(self, sample: Sample) -> bool:
        """Append a sample; True, as nothing is lost."""
        self._node.put(self._connection, steady_ns(), sample.serialize())
        return True

    def readers(self) -> int:
        """Return the number of readers: 1, the bag."""
        return 1


@dataclass(frozen=True, kw_only=True, eq=False)
class BagImage:
    """An image of a bag.

    Attributes:
        image: Values, shape (height, width), float32: integers as [0, 1], floats as they are.
        pose: Where the C-arm stood.
        time_ns: Stamp of both; the bag's own time where the stamps do not rise [ns since 1970].
    """

    image: NDArray[np.float32]
    pose: CarmPose
    time_ns: int


class BagImages:
    """The images of a bag with the poses of their stamps, one after the other.

    Args:
        folder: The bag.
        topic: ROS 2's name of the topic of Image.
        pose_topic: ROS 2's name of the topic of PoseStamped.
        isocenter_xyz_mm: Isocentre of the untranslated C-arm, patient LPS [mm].
        size: Rows and columns that every image must have.

    Attributes:
        count: Images of the bag.

    Raises:
        InputError: No bag, or no such topics in it.
    """

    def __init__(
        self,
        folder: Path,
        topic: str,
        pose_topic: str,
        isocenter_xyz_mm: Sequence[float],
        size: tuple[int, int],
    ) -> None:
        self._folder, self._topic, self._size = folder, topic, size
        self._poses = _read_timed(folder, pose_topic, isocenter_xyz_mm)
        by_stamp = self._poses.by_stamp and _first_stamps_rise(folder, topic)
        self._by_stamp = dict(self._poses.pairs()) if by_stamp else None
        with _readable(folder):
            self._reader = Reader(folder)
            self._reader.open()
            wanted = _connections(self._reader, folder, topic, IMAGE_TYPE)
            self.count = sum(connection.msgcount for connection in wanted)
            self._messages = self._reader.messages(wanted)

    def next(self) -> BagImage | None:
        """Return the next image; None: there is no more.

        Raises:
            InputError: A message that is no image, of another size, or without its pose.
        """
        with _readable(self._folder):
            message = next(self._messages, None)
            return self._image(Image.deserialize(message[2]), message[1]) if message else None

    def close(self) -> None:
        """Close the bag."""
        self._reader.close()

    def _image(self, message: Image, bag_ns: int) -> BagImage:
        image = image_of(message)
        if image.shape != self._size:
            raise InputError(
                f"{self._folder}: {self._topic} must have carm's detector size, "
                f"{self._size[1]} x {self._size[0]}, got {image.shape[1]} x {image.shape[0]}"
            )
        if self._by_stamp is None:
            return BagImage(image=image, pose=self._poses.nearest(bag_ns), time_ns=bag_ns)
        time_ns = stamp_ns(message.header.stamp)
        if time_ns not in self._by_stamp:
            raise InputError(f"{self._folder}: no pose has the stamp of an image, {time_ns} ns")
        return BagImage(image=image, pose=self._by_stamp[time_ns], time_ns=time_ns)


def read_poses(
    folder: Path | str, topic: str, isocenter_xyz_mm: Sequence[float]
) -> tuple[NDArray[np.float64], list[CarmPose]]:
    """Return times [s] since the first, strictly rising, and poses of a bag's topic of PoseStamped.

    Times are the stamps; where these are zero, constant or start again, the bag's own time, which
    is logged.

    Args:
        folder: The bag.
        topic: ROS 2's name of the topic.
        isocenter_xyz_mm: Isocentre of the untranslated C-arm, patient LPS [mm].

    Raises:
        InputError: No bag, no such topic in it, or a message that is no pose of the C-arm.
    """
    folder = Path(folder)
    timed = _read_timed(folder, topic, isocenter_xyz_mm)
    times_s = (np.array(timed.times_ns, np.int64) - timed.times_ns[0]) * 1e-9
    return np.asarray(times_s), list(timed.poses)


@dataclass(frozen=True, kw_only=True, eq=False)
class _TimedPoses:
    """Poses of a bag, at least one.

    Attributes:
        times_ns: Strictly rising [ns since 1970].
        poses: Of these times.
        by_stamp: Whether the times are the stamps; False: they are the bag's own.
    """

    times_ns: Sequence[int]
    poses: Sequence[CarmPose]
    by_stamp: bool

    def pairs(self) -> Iterator[tuple[int, CarmPose]]:
        """Yield times and poses."""
        return zip(self.times_ns, self.poses, strict=True)

    def nearest(self, time_ns: int) -> CarmPose:
        """Return the pose whose time is nearest."""
        after = bisect_left(self.times_ns, time_ns)
        beside = range(max(0, after - 1), min(after + 1, len(self.times_ns)))
        return self.poses[min(beside, key=lambda n: abs(self.times_ns[n] - time_ns))]


def _read_timed(folder: Path, topic: str, isocenter_xyz_mm: Sequence[float]) -> _TimedPoses:
    """The poses of a topic with their times."""
    stamps_ns, bag_ns, poses = [], [], []
    with _readable(folder), Reader(folder) as reader:
        wanted = _connections(reader, folder, topic, POSE_TYPE)
        for _, time_ns, data in reader.messages(wanted):
            message = PoseStamped.deserialize(data)
            stamps_ns.append(stamp_ns(message.header.stamp))
            bag_ns.append(time_ns)
            poses.append(pose_of(message, isocenter_xyz_mm))
    if not poses:
        raise InputError(f"{folder}: must hold a pose on {topic}, got none")
    if _rise(stamps_ns):
        return _TimedPoses(times_ns=stamps_ns, poses=poses, by_stamp=True)
    _say_own_time(folder, topic)
    newest = dict(zip(bag_ns, poses, strict=True))
    if len(newest) == 1 < len(poses):
        raise InputError(f"{folder}: {topic} must have stamps or times that rise, got neither")
    return _TimedPoses(times_ns=list(newest), poses=list(newest.values()), by_stamp=False)


def _first_stamps_rise(folder: Path, topic: str) -> bool:
    """Whether the stamps of a bag's first two images can be used; the answer no is logged."""
    with _readable(folder), Reader(folder) as reader:
        wanted = _connections(reader, folder, topic, IMAGE_TYPE)
        first = [data for _, _, data in islice(reader.messages(wanted), 2)]
        rise = _rise([stamp_ns(Image.deserialize(data).header.stamp) for data in first])
    if not rise:
        _say_own_time(folder, topic)
    return rise


def _rise(stamps_ns: Sequence[int]) -> bool:
    """Whether stamps are set and each is later than the one before."""
    return all(a < b for a, b in pairwise([0, *stamps_ns]))


def _say_own_time(folder: Path, topic: str) -> None:
    log.warning(
        "%s: the stamps of %s are zero or do not rise; the bag's own time is used", folder, topic
    )


@contextmanager
def _readable(folder: Path) -> Iterator[None]:
    """Whatever a damaged bag makes its readers stumble over becomes an InputError."""
    try:
        yield
    except FieldError as error:
        raise InputError(f"{folder}: a message holds what it must not: {error}") from None
    except FluoroError:
        raise
    except Exception as error:  # noqa: BLE001  (rosbags and the decoders raise all kinds)
        why = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{folder}: not a ROS 2 bag that can be read: {why}") from None


def _connections(reader: Reader, folder: Path, topic: str, kind: str) -> list[Connection]:
    known = {c.topic for c in reader.connections if c.msgtype == kind}
    if topic not in known:
        name = kind.rsplit("/", 1)[-1]
        raise InputError(f"{folder}: must hold {topic} of {name}, got {sorted(known) or 'none'}")
    return [c for c in reader.connections if c.topic == topic]

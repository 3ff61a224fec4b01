"""ROS 2 bags (MCAP): frames written as they would go over DDS, poses read back."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Generic, TypeVar

import numpy as np
from cyclonedds.idl import IdlStruct
from cyclonedds.qos import Qos
from numpy.typing import NDArray
from rosbags.rosbag2 import Reader, StoragePlugin
from rosbags.rosbag2 import Writer as BagFile
from rosbags.typesys import Stores, get_typestore

from fluoro.dds.image_messages import picture_of
from fluoro.dds.pose_messages import pose_of
from fluoro.dds.refusals import FieldError
from fluoro.dds.ros_geometry import PoseStamped
from fluoro.dds.ros_sensor import Image
from fluoro.dds.ros_std import Header
from fluoro.dds.stamps import stamp_ns
from fluoro.errors import FluoroError, InputError
from fluoro.geometry.carm import CarmPose
from fluoro.io.writing import writing

if TYPE_CHECKING:
    from rosbags.interfaces import Connection

__all__ = ["BagNode", "BagPicture", "BagPictures", "BagWriter", "read_poses"]

Sample = TypeVar("Sample", bound=IdlStruct)
BAG_VERSION: Final = 9
POSE_TYPE, IMAGE_TYPE = "geometry_msgs/msg/PoseStamped", "sensor_msgs/msg/Image"


class BagNode:
    """Takes the place of a `DdsNode` for writers: what they write lands in a bag.

    Args:
        folder: The bag, a folder that is not there yet.

    Raises:
        OutputError: It cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._lock = folder, threading.Lock()
        self._file = BagFile(folder, version=BAG_VERSION, storage_plugin=StoragePlugin.MCAP)
        with writing(folder):
            self._file.open()

    def writer(self, topic: str, kind: type[Sample], _qos: Qos) -> BagWriter[Sample]:
        """A writer of one of ROS 2's topics, by its name on the wire."""
        name = kind.__idl_typename__.replace("::dds_::", "/").replace("::", "/").rstrip("_")
        with writing(self._folder):
            connection = self._file.add_connection(
                topic.removeprefix("rt"), name, typestore=get_typestore(Stores.ROS2_JAZZY)
            )
        return BagWriter(self, connection)

    def put(self, connection: Connection, time_ns: int, data: bytes) -> None:
        """Append a message.

        Raises:
            OutputError: It cannot be written.
        """
        with writing(self._folder), self._lock:
            self._file.write(connection, time_ns, data)

    def close(self) -> None:
        """Write the bag's index; may be called again.

        Raises:
            OutputError: It cannot be written.
        """
        with writing(self._folder), self._lock:
            self._file.close()


class BagWriter(Generic[Sample]):
    """Writes samples with a header into a bag, at the time of their stamp."""

    def __init__(self, node: BagNode, connection: Connection) -> None:
        self._node, self._connection = node, connection

    def write(self, sample: Sample) -> bool:
        """Append a sample; True, as nothing is lost."""
        header: Header = getattr(sample, "header")  # noqa: B009  (messages of frames all have one)
        self._node.put(self._connection, stamp_ns(header.stamp), sample.serialize())
        return True

    def readers(self) -> int:
        """The bag."""
        return 1


@dataclass(frozen=True, kw_only=True, eq=False)
class BagPicture:
    """A picture of a bag.

    Attributes:
        image: Values, shape (height, width), float32: integers as [0, 1], floats as they are.
        pose: Where the C-arm stood.
        stamp_ns: Of both [ns since 1970].
    """

    image: NDArray[np.float32]
    pose: CarmPose
    stamp_ns: int


class BagPictures:
    """The pictures of a bag with the poses of their stamps, one after the other.

    Args:
        folder: The bag.
        topic: ROS 2's name of the topic of Image.
        pose_topic: ROS 2's name of the topic of PoseStamped.
        isocenter_xyz_mm: Isocentre of the untranslated C-arm, patient LPS [mm].
        size: Rows and columns that every picture must have.

    Attributes:
        count: Pictures of the bag.

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
        self._poses = _stamped_poses(folder, pose_topic, isocenter_xyz_mm)
        with _readable(folder):
            self._reader = Reader(folder)
            self._reader.open()
            wanted = _connections(self._reader, folder, topic, IMAGE_TYPE)
            self.count = sum(connection.msgcount for connection in wanted)
            self._messages = self._reader.messages(wanted)

    def next(self) -> BagPicture | None:
        """The next picture; None: there is no more.

        Raises:
            InputError: A message that is no picture, of another size, or without its pose.
        """
        with _readable(self._folder):
            message = next(self._messages, None)
            return self._picture(Image.deserialize(message[2])) if message else None

    def close(self) -> None:
        """Close the bag."""
        self._reader.close()

    def _picture(self, message: Image) -> BagPicture:
        time_ns, image = stamp_ns(message.header.stamp), picture_of(message)
        if image.shape != self._size:
            raise InputError(
                f"{self._folder}: {self._topic} must have carm's detector size, "
                f"{self._size[1]} x {self._size[0]}, got {image.shape[1]} x {image.shape[0]}"
            )
        if time_ns not in self._poses:
            raise InputError(f"{self._folder}: no pose has the stamp of a picture, {time_ns} ns")
        return BagPicture(image=image, pose=self._poses[time_ns], stamp_ns=time_ns)


def read_poses(
    folder: Path, topic: str, isocenter_xyz_mm: Sequence[float]
) -> tuple[NDArray[np.float64], list[CarmPose]]:
    """Times [s] since the first, strictly rising, and poses of a bag's topic of PoseStamped.

    Args:
        folder: The bag.
        topic: ROS 2's name of the topic.
        isocenter_xyz_mm: Isocentre of the untranslated C-arm, patient LPS [mm].

    Raises:
        InputError: No bag, no such topic in it, or a message that is no pose of the C-arm.
    """
    stamped = _stamped_poses(folder, topic, isocenter_xyz_mm)
    if not stamped:
        raise InputError(f"{folder}: must hold a pose on {topic}, got none")
    times_ns = sorted(stamped)
    times_s = (np.array(times_ns, np.int64) - times_ns[0]) * 1e-9
    return np.asarray(times_s), [stamped[time_ns] for time_ns in times_ns]


def _stamped_poses(
    folder: Path, topic: str, isocenter_xyz_mm: Sequence[float]
) -> dict[int, CarmPose]:
    """Poses of a bag's topic by their stamps [ns]."""
    found: dict[int, CarmPose] = {}
    with _readable(folder), Reader(folder) as reader:
        wanted = _connections(reader, folder, topic, POSE_TYPE)
        for _, _, data in reader.messages(wanted):
            message = PoseStamped.deserialize(data)
            found[stamp_ns(message.header.stamp)] = pose_of(message, isocenter_xyz_mm)
    return found


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

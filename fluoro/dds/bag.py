"""ROS 2 bags (MCAP): frames written as they would go over DDS, poses read back."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, Generic, TypeVar

import numpy as np
from cyclonedds.idl import IdlStruct
from cyclonedds.qos import Qos
from numpy.typing import NDArray
from rosbags.rosbag2 import Reader, ReaderError, StoragePlugin
from rosbags.rosbag2 import Writer as BagFile
from rosbags.typesys import Stores, get_typestore

from fluoro.dds.pose_messages import pose_of
from fluoro.dds.ros_geometry import PoseStamped
from fluoro.dds.ros_std import Header
from fluoro.dds.stamps import stamp_ns
from fluoro.errors import InputError, OutputError
from fluoro.geometry.carm import CarmPose

if TYPE_CHECKING:
    from rosbags.interfaces import Connection

__all__ = ["BagNode", "BagWriter", "read_poses"]

Sample = TypeVar("Sample", bound=IdlStruct)
BAG_VERSION: Final = 9
POSE_TYPE = "geometry_msgs/msg/PoseStamped"


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
        try:
            self._file.open()
        except OSError as error:
            raise OutputError(f"{folder}: cannot be written: {error.strerror}") from None

    def writer(self, topic: str, kind: type[Sample], _qos: Qos) -> BagWriter[Sample]:
        """A writer of one of ROS 2's topics, by its name on the wire."""
        name = kind.__idl_typename__.replace("::dds_::", "/").replace("::", "/").rstrip("_")
        connection = self._file.add_connection(
            topic.removeprefix("rt"), name, typestore=get_typestore(Stores.ROS2_JAZZY)
        )

        return BagWriter(self, connection)

    def put(self, connection: Connection, time_ns: int, data: bytes) -> None:
        """Append a message.

        Raises:
            OutputError: It cannot be written.
        """
        try:
            with self._lock:
                self._file.write(connection, time_ns, data)
        except OSError as error:
            raise OutputError(f"{self._folder}: cannot be written: {error.strerror}") from None

    def close(self) -> None:
        """Write the bag's index; may be called again."""
        with self._lock:
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
    stamped: dict[int, CarmPose] = {}
    try:
        with Reader(folder) as reader:
            known = {c.topic for c in reader.connections if c.msgtype == POSE_TYPE}
            if topic not in known:
                raise InputError(
                    f"{folder}: must hold {topic} of PoseStamped, got {sorted(known) or 'none'}"
                )
            wanted = [c for c in reader.connections if c.topic == topic]
            for _, _, data in reader.messages(wanted):
                message = PoseStamped.deserialize(data)
                stamped[stamp_ns(message.header.stamp)] = pose_of(message, isocenter_xyz_mm)
    except (OSError, ReaderError) as error:
        raise InputError(f"{folder}: not a ROS 2 bag: {error}") from None
    if not stamped:
        raise InputError(f"{folder}: must hold a pose on {topic}, got none")
    times_ns = sorted(stamped)
    times_s = (np.array(times_ns, np.int64) - times_ns[0]) * 1e-9
    return np.asarray(times_s), [stamped[time_ns] for time_ns in times_ns]

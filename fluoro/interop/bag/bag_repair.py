"""A bag that was not closed: its index and its metadata made from the messages that are there."""

from __future__ import annotations

import shutil
import struct
from pathlib import Path
from typing import BinaryIO

from rosbags.interfaces import Connection, ConnectionExtRosbag2
from rosbags.rosbag2 import Reader, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from fluoro.errors import InputError
from fluoro.files.atomic_write import writing
from fluoro.interop.bag.mcap_bag import BAG_VERSION

__all__ = ["repair_bag"]

MAGIC = b"\x89MCAP0\r\n"
"""First and last bytes of an MCAP file (https://mcap.dev/spec)."""
FOOTER = struct.pack("<BQQQI", 0x02, 20, 0, 0, 0) + MAGIC
"""Footer that says that there is no index, and the end of the file."""
LAST_OF_DATA = 0x0F
"""Kind of the record that follows the messages."""


def repair_bag(folder: Path | str) -> int | None:
    """Make a bag that can be read of one without index and metadata.

    Args:
        folder: The bag, as `BagNode` writes it.

    Returns:
        The number of its messages; None: the bag is whole.

    Raises:
        InputError: The file of messages cannot be read.
        OutputError: The disk has no room for a second bag; the messages that are there stay.
    """
    folder = Path(folder)
    messages = folder / f"{folder.name}.mcap"
    if (folder / "metadata.yaml").exists() or not messages.exists():
        return None
    made = folder.parent / ".repairing" / folder.name
    with writing(folder):
        shutil.rmtree(made.parent, ignore_errors=True)
        try:
            _close_file(messages)
            count = _copy(messages, made)
            (made / messages.name).replace(messages)
            (made / "metadata.yaml").replace(folder / "metadata.yaml")
        finally:
            shutil.rmtree(made.parent, ignore_errors=True)
    return count


def _copy(messages: Path, folder: Path) -> int:
    """Copy the messages of a file into a new bag; their number."""
    count = 0
    try:
        with (
            Reader(messages) as reader,
            Writer(folder, version=BAG_VERSION, storage_plugin=StoragePlugin.MCAP) as bag,
        ):
            known = {topic.id: _add(bag, topic) for topic in reader.connections}
            for topic, time_ns, data in reader.messages(reader.connections):
                bag.write(known[topic.id], time_ns, data)
                count += 1
    except OSError:
        raise
    except Exception as error:  # noqa: BLE001  (rosbags raises all kinds)
        raise InputError(f"{messages}: cannot be read: {' '.join(str(error).split())}") from None
    return count


def _add(bag: Writer, topic: Connection) -> Connection:
    """Add a topic of another bag to a bag."""
    assert isinstance(topic.ext, ConnectionExtRosbag2)
    return bag.add_connection(
        topic.topic,
        topic.msgtype,
        typestore=get_typestore(Stores.ROS2_JAZZY),
        offered_qos_profiles=topic.ext.offered_qos_profiles,
    )


def _close_file(path: Path) -> None:
    """Cut a file of messages after its last whole record and write an end without an index."""
    with path.open("r+b") as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise InputError(f"{path}: must be an MCAP file, has another beginning")
        file.seek(_end_of_records(file))
        file.truncate()
        file.write(FOOTER)


def _end_of_records(file: BinaryIO) -> int:
    """Where the last whole record before the index ends."""
    size, end = file.seek(0, 2), len(MAGIC)
    while end + 9 <= size:
        file.seek(end)
        kind, length = struct.unpack("<BQ", file.read(9))
        if kind in (FOOTER[0], LAST_OF_DATA) or end + 9 + length > size:
            break
        end += 9 + length
    return end

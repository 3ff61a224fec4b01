"""Every frame, and the poses that registration finds, into a ROS 2 bag."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from fluoro.config import DdsFramesConfig
from fluoro.errors import InputError
from fluoro.interop.dds.installed import require_cyclonedds
from operators.sinks.dds import MessageSink, estimates_to

if TYPE_CHECKING:
    from operators.context import RunContext

__all__ = ["BagSink"]


class BagSink(MessageSink):
    """Writes every frame into the bag of the run's folder."""

    name, port = "bag", "record"

    @classmethod
    def from_config(cls, context: RunContext) -> BagSink | None:
        """Return the sink; None where no bag is wanted.

        Raises:
            InputError: The frames' protocol is not ROS 2's.
            DeviceError: The package cyclonedds is not installed.
            OutputError: The bag cannot be written.
        """
        folder, dds = context.files.folder, context.config.dds
        if not (dds.bag and folder):
            return None
        require_cyclonedds("dds.bag")
        from fluoro.interop.bag.mcap_bag import BagNode
        from fluoro.interop.frame_publisher import FrameSink

        config = dds.frames or DdsFramesConfig()
        if config.protocol != "ros2":
            raise InputError(f"dds.bag needs dds.frames.protocol: ros2, got {config.protocol}")
        node = BagNode(folder / "bag")
        context.stack.callback(node.close)
        position = context.config.volume.patient_position
        frames = FrameSink(node, config, context.isocenter_xyz_mm, time.time_ns, position)
        return cls(frames, estimates_to(node, config, context, time.time_ns), context.monitor)

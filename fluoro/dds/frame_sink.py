"""Frames out, in the protocol that the configuration names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from fluoro.config import DdsFramesConfig
from fluoro.dds.node import DdsNode
from fluoro.dds.plain_frames import HolohubFrames, I4hFrames
from fluoro.dds.ros_frames import RosFrames
from fluoro.errors import InputError
from fluoro.imaging.frame import FluoroFrame

if TYPE_CHECKING:
    from fluoro.dds.bag import BagNode

__all__ = ["FrameSink"]


class _Frames(Protocol):
    images: Any

    def send(self, frame: FluoroFrame, time_ns: int) -> bool: ...


class FrameSink:
    """Sends frames; never waits for whoever receives them.

    Args:
        node: The participant; or a bag, which takes ROS 2's messages only.
        config: Protocol and names.
        isocenter_xyz_mm: Isocentre of the untranslated C-arm, patient LPS [mm].
        clock: Time [ns] of frames that show no sender's pose.

    Attributes:
        sent: Frames that went out.
        lost: Frames that did not, as readers were too far behind.
    """

    def __init__(
        self,
        node: DdsNode | BagNode,
        config: DdsFramesConfig,
        isocenter_xyz_mm: Sequence[float],
        clock: Callable[[], int],
    ) -> None:
        self._clock = clock
        self._frames = _frames(node, config, isocenter_xyz_mm)
        self._last: FluoroFrame | None = None
        self.sent = 0
        self.lost = 0

    def send(self, frame: FluoroFrame) -> None:
        """Send one frame, stamped with the time that it shows."""
        self._last = frame
        time_ns = frame.origin.time_ns if frame.origin else self._clock()
        if self._frames.send(frame, time_ns):
            self.sent += 1
        else:
            self.lost += 1

    def send_black(self) -> None:
        """Send a black frame of now in place of the last one; nothing before the first."""
        last = self._last
        if last is not None:
            black = replace(last, image=np.zeros_like(last.image), origin=None)
            self._frames.send(black, self._clock())

    def readers(self) -> int:
        """Receivers of the picture that listen now."""
        return int(self._frames.images.readers())


def _frames(
    node: DdsNode | BagNode, config: DdsFramesConfig, isocenter_xyz_mm: Sequence[float]
) -> _Frames:
    if config.protocol == "ros2":
        return RosFrames(node, config, isocenter_xyz_mm)
    if not isinstance(node, DdsNode):
        raise InputError(f"a bag takes the frames of ros2, got protocol {config.protocol}")
    return HolohubFrames(node, config) if config.protocol == "holohub" else I4hFrames(node, config)

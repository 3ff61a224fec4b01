"""Frames out, in the protocol that the configuration names."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from fluoro.config import DdsFramesConfig
from fluoro.errors import InputError
from fluoro.imaging.frame import FluoroFrame
from fluoro.interop.dds.discovery import best_effort_bytes
from fluoro.interop.dds.holohub_frames import HolohubFrames, I4hFrames
from fluoro.interop.dds.node import DdsNode
from fluoro.interop.ros_frames import RosFrames
from fluoro.names import PatientPosition

if TYPE_CHECKING:
    from fluoro.interop.bag.mcap_bag import BagNode

__all__ = ["FrameSink"]

log = logging.getLogger(__name__)


class _Frames(Protocol):
    images: Any

    def send(self, frame: FluoroFrame, time_ns: int) -> bool: ...


class FrameSink:
    """Sends frames; never waits for receivers.

    Args:
        node: The participant; or a bag, which takes ROS 2's messages only.
        config: Protocol and names.
        isocenter_xyz_mm: Isocentre of the untranslated C-arm, patient LPS [mm].
        clock: Time [ns] of frames that show no sender's pose.
        patient_position: How the patient lies on the table.

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
        patient_position: PatientPosition = "HFS",
    ) -> None:
        self._node, self._config, self._clock = node, config, clock
        self._frames: _Frames = (
            RosFrames(node, config, isocenter_xyz_mm, patient_position, clock())
            if config.protocol == "ros2"
            else _plain_frames(node, config)
        )
        self._hint = ""
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

    @property
    def topic(self) -> str:
        """Name of the image's topic, of ROS 2's as ROS 2 has it."""
        on_the_wire = str(self._frames.images.topic)
        return on_the_wire.removeprefix("rt") if on_the_wire.startswith("rt/") else on_the_wire

    def readers(self) -> int:
        """Receivers of the image that listen now."""
        return int(self._frames.images.readers())

    def hint(self) -> str:
        """Return why readers do not get all images, as far as can be seen; log a new reason."""
        node = self._node
        hint = self._mismatch_hint() or self._loss_hint(node) if isinstance(node, DdsNode) else ""
        if hint and hint != self._hint:
            log.warning("dds.frames: %s", hint)
        self._hint = hint
        return hint

    def _mismatch_hint(self) -> str:
        policy = self._frames.images.mismatch()
        return (
            f"a reader asks for more than is offered: {policy} (reliable, volatile)"
            if policy
            else ""
        )

    def _loss_hint(self, node: DdsNode) -> str:
        """Return that best-effort readers lose images that exceed their socket's buffer."""
        if self._last is None:
            return ""
        size, most = self._last.image.size * self._config.pixel_bytes, best_effort_bytes()
        count = node.discovery.best_effort_readers(self._frames.images.topic)
        if not count or size <= most:
            return ""
        return (
            f"best-effort readers ({count}) lose some of the images, {size} bytes each, as more "
            f"than {most} do not fit: raise net.core.rmem_max and rmem_default to {4 * size}, read "
            "reliably, or read the JPEG (dds.frames.jpeg_quality)"
        )


def _plain_frames(node: DdsNode | BagNode, config: DdsFramesConfig) -> HolohubFrames | I4hFrames:
    if not isinstance(node, DdsNode):
        raise InputError(f"a bag takes the frames of ros2, got protocol {config.protocol}")
    return HolohubFrames(node, config) if config.protocol == "holohub" else I4hFrames(node, config)

"""Poses that come over DDS."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from fluoro.config import DdsPoses
from fluoro.geometry.limits import CarmLimits
from fluoro.interop.dds import qos
from fluoro.interop.dds.discovery import domains_on_this_machine
from fluoro.interop.dds.i4h import ProbeInfo
from fluoro.interop.dds.joints import Joint, joint_pose, joint_values
from fluoro.interop.dds.node import DdsNode, Listener, ros_topic
from fluoro.interop.dds.pose_messages import pose_of, probe_pose
from fluoro.interop.dds.ros_geometry import PoseStamped
from fluoro.interop.dds.ros_sensor import JointState
from fluoro.interop.dds.timestamps import stamp_ns
from fluoro.interop.pose_feed import LOCKSTEP_QUEUE, PoseFeed
from fluoro.interop.pose_filter import SentPose
from fluoro.interop.refusals import one_line

__all__ = ["DdsPoseFeed"]

BURST = 100
"""Poses that may come at once before the oldest are lost unseen."""
TYPES: dict[str, type[Any]] = {
    "pose_stamped": PoseStamped,
    "joint_state": JointState,
    "i4h": ProbeInfo,
}


class DdsPoseFeed(PoseFeed):
    """Poses that come over DDS.

    Args:
        node: The participant.
        config: Topic, message and what is rejected.
        isocenter_xyz_mm: Isocentre of the untranslated C-arm, patient LPS [mm].
        limits: How far the C-arm reaches.
    """

    def __init__(
        self,
        node: DdsNode,
        config: DdsPoses,
        isocenter_xyz_mm: Sequence[float],
        limits: CarmLimits,
    ) -> None:
        ros = config.message != "i4h"
        where = ros_topic(config.topic) if ros else config.topic
        super().__init__(config, limits, where, wall_clock=node.config.clock == "system")
        self._node, self._config, self._isocenter_xyz_mm = node, config, isocenter_xyz_mm
        self._where = f"{where} in domain {node.config.domain}"
        self._joints = [Joint(**joint.model_dump()) for joint in config.joints]
        # a best-effort reader hears writers of either kind; in lockstep nothing may be lost
        quality = qos.reliable(LOCKSTEP_QUEUE) if self._lockstep else qos.sensor_data(BURST)
        self._listener: Listener[Any] = node.listen(
            self.topic, TYPES[config.message], quality, self._on_sample
        )

    def counts(self) -> dict[str, int]:
        """Return what came and what became of it, by name."""
        listener = self._listener
        heard = {"malformed": listener.malformed, "writers": listener.writers()}
        return super().counts() | heard

    def hint(self) -> str:
        """Return why no pose comes, as far as can be seen; empty while they come."""
        if self.latest():
            return ""
        if self._listener.writers():
            last = self.refusals.last() or "none has come"
            return f"a writer of {self._where} is there, but no good pose yet: {last}"
        return self._mismatch() or self._no_writer()

    def _mismatch(self) -> str:
        """Return in what a writer of the topic does not fit; empty: none that does not is there."""
        wanted = TYPES[self._config.message].__idl_typename__
        if types := self._node.discovery.types_written(self.topic) - {wanted}:
            written = one_line(", ".join(sorted(types)))
            return f"a writer of {self._where} has the type {written}, must be {wanted}"
        policy = self._listener.mismatch()
        asked = "reliable, as lockstep is" if self._lockstep else "best effort"
        return policy and (
            f"a writer of {self._where} offers less {policy} than the reader asks for "
            f"({asked}; volatile)"
        )

    def _no_writer(self) -> str:
        """Return why no writer of the topic is found."""
        discovery, config = self._node.discovery, self._node.config
        if others := discovery.participants():
            return f"others in domain {config.domain}: {others}, of which none writes {self.topic}"
        elsewhere = [str(n) for n in domains_on_this_machine() if n != config.domain]
        there = f"; UDP ports here look like domain {', '.join(elsewhere)}" if elsewhere else ""
        peers = ", ".join(config.peers) or "us"
        return (
            f"no one else in domain {config.domain} on {config.interface}: is the sender in "
            f"another domain (ROS_DOMAIN_ID){there}, or without {peers} among its peers?"
        )

    def _on_sample(self, sample: Any, writer: int) -> None:
        self.offer(writer, partial(self._sent, sample))

    def _sent(self, sample: Any) -> SentPose:
        """Return the pose and the stamp of a message; an i4h message has no stamp.

        Raises:
            InputError: A field is outside its range.
        """
        isocenter = self._isocenter_xyz_mm
        if self._config.message == "i4h":
            unit, orientation = self._config.position_unit, self._config.orientation
            return SentPose(pose=probe_pose(sample, isocenter, unit=unit, orientation=orientation))
        sent_ns = stamp_ns(sample.header.stamp)
        if self._config.message == "pose_stamped":
            pose = pose_of(sample, isocenter)
        else:
            pose = joint_pose(self._joints, joint_values(sample), isocenter)
        return SentPose(pose=pose, stamp_ns=sent_ns)

"""Where registration believes the C-arm, as ROS 2 nodes know poses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from fluoro.config import DdsFramesConfig
from fluoro.imaging.frame import FrameHeader
from fluoro.interop.dds import qos
from fluoro.interop.dds.node import DdsNode, ros_topic
from fluoro.interop.dds.pose_messages import pose_message
from fluoro.interop.dds.ros_diagnostic import DiagnosticArray, DiagnosticStatus, KeyValue, Level
from fluoro.interop.dds.ros_geometry import PoseStamped
from fluoro.interop.dds.timestamps import header_of
from fluoro.registration.tracking.tracker import PoseEstimate

if TYPE_CHECKING:
    from fluoro.interop.bag.mcap_bag import BagNode

__all__ = ["EstimateSink", "estimate_info_message"]


class EstimateSink:
    """Sends estimates with the stamp of their frame: the pose if accepted, the result always.

    Args:
        node: The participant, or a bag.
        config: Names.
        isocenter_xyz_mm: Isocentre of the untranslated C-arm, patient LPS [mm].
        clock: Time [ns] of estimates whose frame shows no sender's pose.

    Attributes:
        sent: Poses that went out.
    """

    def __init__(
        self,
        node: DdsNode | BagNode,
        config: DdsFramesConfig,
        isocenter_xyz_mm: Sequence[float],
        clock: Callable[[], int],
    ) -> None:
        self._isocenter_xyz_mm, self._clock = isocenter_xyz_mm, clock
        pose, info = (
            ros_topic(f"{config.prefix}/{last}") for last in ("registered_pose", "registration")
        )
        self._poses = node.writer(pose, PoseStamped, qos.reliable())
        self._infos = node.writer(info, DiagnosticArray, qos.reliable())
        self.sent = 0

    def send(self, estimate: PoseEstimate, header: FrameHeader) -> None:
        """Send one estimate of the frame that the header belongs to."""
        time_ns = header.origin.time_ns if header.origin else self._clock()
        if estimate.converged:
            self._poses.write(pose_message(estimate.pose, self._isocenter_xyz_mm, time_ns))
            self.sent += 1
        self._infos.write(estimate_info_message(estimate, time_ns))

    def readers(self) -> int:
        """Return the number of current receivers of poses and results."""
        return self._poses.readers() + self._infos.readers()


def estimate_info_message(estimate: PoseEstimate, time_ns: int) -> DiagnosticArray:
    """Return an estimate's frame, its likeness to it, and whether it is believed."""
    values = {
        "number": estimate.number,
        "converged": "true" if estimate.converged else "false",
        "state": estimate.state,
        "confidence": f"{estimate.confidence:.6g}",
        "ncc": f"{estimate.ncc:.6g}",
        "residual": f"{estimate.residual:.6g}",
        "way": estimate.way,
        "next_step": estimate.next_step,
        "seconds": f"{estimate.seconds:.6g}",
    }
    status = DiagnosticStatus(
        level=Level.OK if estimate.converged else Level.WARN,
        name="registration",
        message=estimate.reason,
        hardware_id="",
        values=[KeyValue(key=key, value=str(value)) for key, value in values.items()],
    )
    return DiagnosticArray(header=header_of(time_ns, ""), status=[status])

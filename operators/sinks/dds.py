"""Frames and the poses that registration finds, over DDS."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fluoro.config import DdsFramesConfig
from fluoro.imaging.frame import FluoroFrame, FrameHeader
from fluoro.registration.tracking.track_record import ScoredEstimate, TrackedFrame
from operators.monitor import StreamMonitor
from operators.sinks.base import Sink

if TYPE_CHECKING:
    from collections.abc import Callable

    from fluoro.interop.bag.mcap_bag import BagNode
    from fluoro.interop.dds.node import DdsNode
    from fluoro.interop.estimate_publisher import EstimateSink
    from fluoro.interop.frame_publisher import FrameSink
    from operators.context import RunContext

__all__ = ["DdsSink", "MessageSink", "estimates_to"]


class MessageSink(Sink):
    """Sends frames and estimates as messages, and counts the frames that it missed.

    Args:
        frames: Sends frames.
        estimates: Sends the poses that registration finds; None: none are sent.
        monitor: Counts what was dropped here.
    """

    def __init__(
        self, frames: FrameSink, estimates: EstimateSink | None, monitor: StreamMonitor
    ) -> None:
        self._frames, self._estimates, self._monitor = frames, estimates, monitor

    def take(self, frame: FluoroFrame) -> None:
        """Send one frame."""
        self._frames.send(frame)
        self._monitor.count_shown(self.name, frame.number)

    def take_estimate(
        self, tracked: TrackedFrame, header: FrameHeader, scored: ScoredEstimate
    ) -> None:
        """Send one estimate."""
        del scored
        if self._estimates:
            self._estimates.send(tracked.estimate, header)


class DdsSink(MessageSink):
    """Sends frames over DDS: the newest one, in lockstep every one."""

    name = "dds"

    @classmethod
    def from_config(cls, context: RunContext) -> DdsSink | None:
        """Return the sink; None where no frames go out over DDS."""
        config, links = context.config.dds.frames, context.links
        if config is None:
            return None
        node = links.dds("dds.frames")
        from fluoro.interop.frame_publisher import FrameSink

        position = context.config.volume.patient_position
        frames = FrameSink(node, config, context.isocenter_xyz_mm, links.clock, position)
        links.frames = frames
        links.on_blank.append(frames.send_black)
        sink = cls(frames, estimates_to(node, config, context, links.clock), context.monitor)
        sink.port = "record" if context.config.pose_source.lockstep else "view"
        return sink

    def dropped(self) -> dict[str, int]:
        """Return how many frames readers were too slow for."""
        return {"dds writer": self._frames.lost}


def estimates_to(
    node: DdsNode | BagNode,
    config: DdsFramesConfig,
    context: RunContext,
    clock: Callable[[], int],
) -> EstimateSink | None:
    """Return what sends estimates; None where there are none or the protocol has no poses."""
    if not context.config.registration.enabled or config.protocol != "ros2":
        return None
    from fluoro.interop.estimate_publisher import EstimateSink

    return EstimateSink(node, config, context.isocenter_xyz_mm, clock)

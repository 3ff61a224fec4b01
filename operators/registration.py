"""The pose of the newest frame, from its image alone."""

from __future__ import annotations

from typing import Any

import numpy as np
from holoscan.core import (
    ConditionType,
    ExecutionContext,
    InputContext,
    IOSpec,
    Operator,
    OperatorSpec,
    OutputContext,
)
from numpy.typing import NDArray

from fluoro.config import ImageChainConfig
from fluoro.console.controls import LiveControls
from fluoro.errors import InputError
from fluoro.imaging.frame import FrameHeader
from fluoro.registration.targets.frame_target import target_from_frame
from fluoro.registration.tracking.track_record import TrackedFrame
from fluoro.registration.tracking.tracker import PoseEstimate, PoseTracker
from fluoro.rendering.devices.base import ComputeDevice
from operators.gil_state import keep_gil_state
from operators.live_chain import with_controls
from operators.messages import as_array, emit, header_of, host_image
from operators.monitor import StreamMonitor

__all__ = ["RegistrationOp"]


class RegistrationOp(Operator):
    """Tracks the C-arm; a frame that is overtaken by a newer one is dropped and counted.

    Of the frame's header it reads the number and the C-arm's lengths; the pose in it is the
    truth, which travels with the estimate so that sinks can compute its error.

    Ports:
        frame (in): tensor (height, width) float32, display values in [0, 1]; newest only.
        estimate (out): `TrackedFrame`, one for each frame taken; the frame's header as metadata.
        feedback (out): the same, for a loop; what it does not take in time is dropped.

    Args:
        tracker: What estimates.
        device: Where the tensor lies.
        config: Chain that made the images.
        controls: Window and polarity of the moment.
        monitor: Counts what was dropped here.
        fps: Frames per second of the stream's time.
        feedback: Whether anything listens at `feedback`.
    """

    def __init__(
        self,
        fragment: Any,
        *args: Any,
        tracker: PoseTracker,
        device: ComputeDevice,
        config: ImageChainConfig,
        controls: LiveControls,
        monitor: StreamMonitor,
        fps: float,
        feedback: bool,
        **kwargs: Any,
    ) -> None:
        self._tracker, self._device, self._config = tracker, device, config
        self._controls, self._monitor, self._fps = controls, monitor, fps
        self._feedback = feedback
        super().__init__(fragment, *args, **kwargs)

    def setup(self, spec: OperatorSpec) -> None:
        """Declare the ports: one frame deep, a newer one replaces it."""
        spec.input("frame", size=1, policy=IOSpec.QueuePolicy.POP)
        spec.output("estimate")
        if self._feedback:
            spec.output("feedback").condition(ConditionType.NONE)

    @keep_gil_state
    def compute(
        self, input_: InputContext, output: OutputContext, _context: ExecutionContext
    ) -> None:
        """Estimate one pose."""
        array, header = as_array(input_.receive("frame")), header_of(self)
        image = host_image(array, header, self._device)
        self._monitor.count_shown("registration", header.number)
        tracked = TrackedFrame.of(self._estimate(image, header), image)
        emit(self, output, "estimate", tracked, header)
        if self._feedback:
            emit(self, output, "feedback", tracked, header)

    def _estimate(self, image: NDArray[np.float32], header: FrameHeader) -> PoseEstimate:
        """The pose; an image that shows nothing, black or white all over, loses it."""
        config = with_controls(self._config, self._controls.snapshot())
        seen = (header.geometry, header.number, self._time_s(header))
        try:
            lengths = header.geometry
            target = target_from_frame(image, config, lengths.pixel_spacing_mm, lengths)
            return self._tracker.track(target, *seen)
        except InputError as error:
            return self._tracker.blind(str(error), *seen)

    def _time_s(self, header: FrameHeader) -> float:
        """When the frame was taken: by its sender's clock, or by its number."""
        return header.origin.time_ns * 1e-9 if header.origin else header.number / self._fps

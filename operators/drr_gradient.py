"""Loss and gradient of a pose against the stream's frames."""

from __future__ import annotations

from typing import Any

from holoscan.core import ExecutionContext, InputContext, Operator, OperatorSpec, OutputContext

from fluoro.config import ImageChainConfig
from fluoro.console.controls import LiveControls
from fluoro.registration.pose_loss import PoseLoss
from fluoro.registration.targets.frame_target import target_from_frame
from fluoro.rendering.devices.base import ComputeDevice
from operators.gil_state import keep_gil_state
from operators.live_chain import with_controls
from operators.messages import PortFrame, emit, host_image

__all__ = ["DrrGradientOp"]


class DrrGradientOp(Operator):
    """Renders a pose with derivatives and compares it with a frame; one frame for each pose.

    Ports:
        pose (in): `CarmPose`.
        target (in): `PortFrame` of (height, width) float32, display values in [0, 1]; waits for a
            pose and holds the stream back meanwhile.
        evaluation (out): `PoseGradient`: image (height, width) float32 and loss, gradient (6,) by
            a left twist about the isocentre [1/rad, 1/mm] and, where requested, the image's
            Jacobian (6, height, width) float32; the frame's header as metadata.

    Args:
        loss: Renders and compares.
        device: Where the image lies.
        config: Chain that made the images.
        controls: Window and polarity of the moment.
        jacobian: Hand out the Jacobian too.
    """

    def __init__(
        self,
        fragment: Any,
        *args: Any,
        loss: PoseLoss,
        device: ComputeDevice,
        config: ImageChainConfig,
        controls: LiveControls,
        jacobian: bool,
        **kwargs: Any,
    ) -> None:
        self._loss, self._device, self._config = loss, device, config
        self._controls, self._jacobian = controls, jacobian
        self._iteration = 0
        super().__init__(fragment, *args, **kwargs)

    def setup(self, spec: OperatorSpec) -> None:
        """Declare the ports."""
        spec.input("pose")
        spec.input("target")
        spec.output("evaluation")

    @keep_gil_state
    def compute(
        self, input_: InputContext, output: OutputContext, _context: ExecutionContext
    ) -> None:
        """Evaluate one pose."""
        pose = input_.receive("pose")
        received: PortFrame = input_.receive("target")
        header = received.header
        image = host_image(received.array, header, self._device)
        config = with_controls(self._config, self._controls.snapshot())
        lengths = header.geometry
        target = target_from_frame(image, config, lengths.pixel_spacing_mm, lengths)
        evaluation = self._loss(
            pose, target, header.geometry, iteration=self._iteration, jacobian=self._jacobian
        )
        self._iteration += 1
        emit(self, output, "evaluation", evaluation, header)

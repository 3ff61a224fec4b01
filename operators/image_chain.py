"""Line integrals to the image."""

from __future__ import annotations

from typing import Any

from holoscan.core import (
    ConditionType,
    ExecutionContext,
    InputContext,
    Operator,
    OperatorSpec,
    OutputContext,
)

from fluoro.imaging.exposure.dose_meter import DoseMeter
from fluoro.steady_clock import steady_ns
from operators.frame_credits import FrameCredits
from operators.gil_state import keep_gil_state
from operators.live_chain import LiveChain
from operators.messages import PortFrame, emit

__all__ = ["ImageChainOp"]


class ImageChainOp(Operator):
    """Waits for the image chain, which the renderer has queued, and passes the image on.

    So the device has the next frame's launches before this one's are done. A chain that does not
    line up, since it reads its images, is begun here, once the rendering is there.

    Ports:
        integrals (in): `PortFrame` of (height, width) float32, line integrals; or (materials,
            height, width), thicknesses [mm], where the chain has a beam; with the rendering to wait
            for, and what was begun of it.
        record (out): `PortFrame` of (height, width) float32, display values in [0, 1], every frame;
            its header has the stamps `render_start`, `render_end` and `chain_end`.
        view (out): the same as a tensor for displays, the header as metadata; what they do not take
            in time is dropped.

    Args:
        chain: The stages, with the console's settings.
        meter: Adds up the dose.
        displays: Whether anything listens at `view`.
        frame_credits: One is released when a frame is rendered, for a source that waits; None: no
            source waits.
    """

    def __init__(
        self,
        fragment: Any,
        *args: Any,
        chain: LiveChain,
        meter: DoseMeter,
        displays: bool,
        frame_credits: FrameCredits | None = None,
        **kwargs: Any,
    ) -> None:
        self._chain, self._meter, self._credits = chain, meter, frame_credits
        self._displays = displays
        super().__init__(fragment, *args, **kwargs)

    def setup(self, spec: OperatorSpec) -> None:
        """Declare the ports."""
        spec.input("integrals")
        spec.output("record")
        if self._displays:
            spec.output("view").condition(ConditionType.NONE)

    @keep_gil_state
    def compute(
        self, input_: InputContext, output: OutputContext, _context: ExecutionContext
    ) -> None:
        """Make one image."""
        received: PortFrame = input_.receive("integrals")
        header, times_ns = received.header, self._rendered(received)
        begun = received.begun or self._chain.begin(received.array, header)
        if self._credits:
            self._credits.release()  # no sooner: the source would wake and wait for the interpreter
        begun.fence.wait()
        times_ns["chain_end"] = steady_ns()
        exposure = self._meter.add(
            begun.pulse,
            begun.config,
            header.geometry,
            is_pulse=header.pulse,
            beam_s=header.beam_s,
        )
        header = header.exposed(exposure, **times_ns)
        self._chain.finished(header)
        output.emit(PortFrame(array=begun.image, header=header), "record")
        if self._displays:
            emit(self, output, "view", begun.image, header)

    def _rendered(self, image: PortFrame) -> dict[str, int]:
        """When the received image was rendered, once it is; nothing where it was not."""
        if image.rendering is None:
            return {}
        interval = image.rendering.wait()
        return {"render_start": interval.begun_ns, "render_end": interval.ended_ns}

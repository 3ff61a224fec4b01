"""Line integrals to the picture."""

from __future__ import annotations

import time
from dataclasses import replace
from threading import Semaphore
from typing import Any

from holoscan.core import (
    ConditionType,
    ExecutionContext,
    InputContext,
    Operator,
    OperatorSpec,
    OutputContext,
)

from fluoro.imaging.dose_meter import DoseMeter
from fluoro.imaging.frame import FrameHeader
from operators.live_chain import BegunPicture, LiveChain
from operators.messages import Picture, emit
from operators.threads import on_kept_thread

__all__ = ["ImageChainOp"]


class ImageChainOp(Operator):
    """Waits for a rendering, applies the image chain, waits for the picture and hands it on.

    Where launches keep their order, the renderer has begun with the chain already, and this
    operator waits only: the device has the next frame's launches before this one's are done.

    Ports:
        integrals (in): `Picture` of (height, width) float32, line integrals; or (materials, height,
            width), thicknesses [mm], where the chain has a beam; with the rendering that has to be
            waited for, and what was begun of it.
        record (out): `Picture` of (height, width) float32, display values in [0, 1], every frame;
            its header has the stamps `render_start`, `render_end` and `chain_end`.
        view (out): the same as a tensor for displays, the header as metadata; what they do not take
            in time is dropped.

    Args:
        chain: The stages, with the console's settings.
        meter: Adds up the dose.
        displays: Whether anything listens at `view`.
        turn: Released when a frame is rendered, for a source that waits for its turn; None: none
            waits.
    """

    def __init__(
        self,
        fragment: Any,
        *args: Any,
        chain: LiveChain,
        meter: DoseMeter,
        displays: bool,
        turn: Semaphore | None = None,
        **kwargs: Any,
    ) -> None:
        self._chain, self._meter, self._turn = chain, meter, turn
        self._displays = displays
        super().__init__(fragment, *args, **kwargs)

    def setup(self, spec: OperatorSpec) -> None:
        """Declare the ports."""
        spec.input("integrals")
        spec.output("record")
        if self._displays:
            spec.output("view").condition(ConditionType.NONE)

    @on_kept_thread
    def compute(
        self, input_: InputContext, output: OutputContext, _context: ExecutionContext
    ) -> None:
        """Make one picture."""
        received: Picture = input_.receive("integrals")
        header = self._rendered(received)
        begun = received.begun or self._chain.begin(received.array, header)
        begun.ticket.wait()
        header = self._exposed(header.stamped(chain_end=time.time_ns()), begun)
        output.emit(Picture(array=begun.image, header=header), "record")
        if self._displays:
            emit(self, output, "view", begun.image, header)

    def _rendered(self, picture: Picture) -> FrameHeader:
        """The header once the received picture is there."""
        header, rendering = picture.header, picture.rendering
        if rendering:
            span = rendering.wait()
            header = header.stamped(render_start=span.begun_ns, render_end=span.ended_ns)
        if self._turn:
            self._turn.release()
        return header

    def _exposed(self, header: FrameHeader, begun: BegunPicture) -> FrameHeader:
        exposure = self._meter.add(
            begun.pulse, begun.config, header.geometry, is_pulse=header.pulse
        )
        return replace(header, exposure=exposure)

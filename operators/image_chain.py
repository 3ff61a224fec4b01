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
from operators.messages import as_array, begun_of, emit, header_of, rendering_of

__all__ = ["ImageChainOp"]


class ImageChainOp(Operator):
    """Waits for a rendering, applies the image chain, waits for the picture and hands it on.

    Where launches keep their order, the renderer has begun with the chain already, and this
    operator waits only: the device has the next frame's launches before this one's are done.

    Ports:
        integrals (in): tensor (height, width) float32, line integrals; or (materials, height,
            width), thicknesses [mm], where the chain has a beam; as metadata the rendering that
            has to be waited for, and the picture if it was begun.
        record (out): tensor (height, width) float32, display values in [0, 1], every frame; the
            header with stamps `render_start`, `render_end` and `chain_end` as metadata.
        view (out): the same tensor for displays; what they do not take in time is dropped.

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

    def compute(
        self, input_: InputContext, output: OutputContext, _context: ExecutionContext
    ) -> None:
        """Make one picture."""
        integrals = as_array(input_.receive("integrals"))
        begun, header = begun_of(self), self._rendered(header_of(self))
        begun = begun or self._chain.begin(integrals, header)
        begun.ticket.wait()
        header = self._exposed(header.stamped(chain_end=time.time_ns()), begun)
        emit(self, output, "record", begun.image, header)
        if self._displays:
            emit(self, output, "view", begun.image, header)

    def _rendered(self, header: FrameHeader) -> FrameHeader:
        """The header once the received picture is there."""
        rendering = rendering_of(self)
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

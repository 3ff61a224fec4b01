"""A bag's images, in the place of pose source, renderer and image chain."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from holoscan.conditions import BooleanCondition
from holoscan.core import (
    ConditionType,
    ExecutionContext,
    InputContext,
    Operator,
    OperatorSpec,
    OutputContext,
)

from fluoro.console.controls import ControlState, LiveControls
from fluoro.geometry.carm import CarmGeometry
from fluoro.imaging.frame import FrameHeader, PoseOrigin
from fluoro.recording.frame_sink import FrameSink
from fluoro.steady_clock import steady_ns
from operators.gil_state import keep_gil_state
from operators.held_image import HeldImage, LastImage
from operators.messages import PortFrame, emit
from operators.pace import Pace

if TYPE_CHECKING:
    from fluoro.interop.bag.mcap_bag import BagImage, BagImages

__all__ = ["BagFramesOp"]

IDLE_S = 0.01
"""Pause between two looks at the controls while the beam is off."""


class BagFramesOp(Operator):
    """Issues a bag's images as frames, until there are no more, `frames` are issued or `stop`.

    While the console's beam is off the bag waits.

    Ports:
        record (out): `PortFrame` of (height, width) float32, display values in [0, 1], every frame;
            its header has the pose and stamp of the bag.
        view (out): the same as a tensor for displays, the header as metadata; what they do not take
            in time is dropped.
        again (out): the last image once more where the console's controls have changed while the
            bag waits, the header as metadata; only where `sends_again`.

    Args:
        pace: Tells which ticks are a frame's.
        images: Of the bag.
        geometry: The C-arm's lengths.
        frames: How many at most; None: all.
        displays: Whether anything listens at `view`.
        stop: Ends the stream when set.
        controls: The beam.
        sinks: Told to show the last image once more.
        sends_again: Whether anything listens at `again`.
    """

    def __init__(
        self,
        fragment: Any,
        *conditions: Any,
        pace: Pace,
        images: BagImages,
        geometry: CarmGeometry,
        frames: int | None,
        displays: bool,
        stop: threading.Event,
        controls: LiveControls,
        sinks: Sequence[FrameSink],
        sends_again: bool = False,
        **kwargs: Any,
    ) -> None:
        self._images, self._geometry = images, geometry
        self._frames, self._displays, self._stop = frames, displays, stop
        self._controls, self._sends_again = controls, sends_again
        self._last = LastImage()
        self._held = HeldImage(self._last, sinks)
        self._number = 0
        self._first_ns: int | None = None
        self._pace = pace
        self._going = BooleanCondition(fragment, enable_tick=True, name="going")
        super().__init__(fragment, self._going, *conditions, **kwargs)

    def setup(self, spec: OperatorSpec) -> None:
        """Declare the ports."""
        spec.output("record")
        if self._displays:
            spec.output("view").condition(ConditionType.NONE)
        if self._sends_again:
            spec.output("again").condition(ConditionType.NONE)

    @keep_gil_state
    def compute(
        self, _input: InputContext, output: OutputContext, _context: ExecutionContext
    ) -> None:
        """Issue one image."""
        done = self._stop.is_set() or self._number == self._frames
        state = self._controls.snapshot()
        if not (done or state.beam_on):
            return self._rest(state, output)
        if not done and not self._pace.is_due():
            return None
        image = None if done else self._images.next()
        if image is None:
            return self._going.disable_tick()
        header = self._header(image)
        output.emit(PortFrame(array=image.image, header=header), "record")
        if self._displays:
            emit(self, output, "view", image.image, header)
        self._last.take(image.image, header)
        self._number += 1
        return None

    def _rest(self, state: ControlState, output: OutputContext) -> None:
        """Issue nothing: the beam is off."""
        again = self._held.refresh(state, self._number)
        if again and self._sends_again:
            emit(self, output, "again", again.image, self._held.header)
        time.sleep(IDLE_S)

    def _header(self, image: BagImage) -> FrameHeader:
        now_ns = steady_ns()
        self._first_ns = image.time_ns if self._first_ns is None else self._first_ns
        time_s = (image.time_ns - self._first_ns) * 1e-9
        stages = ("pose", "render_start", "render_end", "chain_end")
        return FrameHeader(
            number=self._number,
            pose=image.pose,
            geometry=self._geometry,
            stamps_ns=dict.fromkeys(stages, now_ns),
            time_s=time_s,
            shown_s=time_s,
            origin=PoseOrigin(stamp_ns=image.time_ns, sequence=self._number, time_ns=image.time_ns),
        )

"""Poses that come over DDS, and what happens when they no longer come."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from holoscan.conditions import BooleanCondition
from holoscan.core import ExecutionContext, InputContext, Operator, OperatorSpec, OutputContext

from fluoro.config import ReceivedPoses
from fluoro.console.controls import ControlState, LiveControls
from fluoro.errors import DeviceError
from fluoro.geometry.carm import CarmGeometry
from fluoro.imaging.frame import FrameHeader, PoseOrigin
from fluoro.steady_clock import steady_ns
from operators.pace import Pace
from operators.stream_clock import StreamClock, with_lengths
from operators.threads import on_kept_thread
from operators.turns import Turns

if TYPE_CHECKING:
    from fluoro.dds.pose_feed import PoseFeed, ReceivedPose

__all__ = ["PoseSubscriberOp"]

log = logging.getLogger(__name__)

WAIT_S = 0.02
"""How long a tick waits for a pose before it looks at watchdog and stop."""
HINT_AFTER_S = 3.0
"""Without a pose since the start, a hint is given once."""


class PoseSubscriberOp(Operator):
    """Issues the poses that a feed receives until `frames` are issued or `stop` is set.

    Ports:
        pose (out): `FrameHeader`, number counting from 0, stamps `received` and `pose` (issued),
            with the sender's stamp and number as `origin`.

    Args:
        pace: Tells which ticks are a frame's.
        feed: Where poses come from.
        clock: Time of the patient, and injection.
        config: What triggers a frame, and what silence does.
        geometry: The C-arm's lengths; the console may change source to detector.
        controls: Beam; pose while `manual_pose`, which lockstep ignores.
        frames: How many; None: until stopped.
        stop: Ends the stream when set.
        on_blank: Called when silence blanks the picture.
        wire_clock: Time of frames that the clock triggers [ns]: the machine's, or /clock's.
        turn: Taken for each pose and given back when it is rendered, so that a pose is the newest
            when its turn comes; None: poses wait before the renderer.

    Raises:
        DeviceError: Silence, where `on_silence` is stop.
    """

    def __init__(
        self,
        fragment: Any,
        *conditions: Any,
        pace: Pace,
        feed: PoseFeed,
        clock: StreamClock,
        config: ReceivedPoses,
        geometry: CarmGeometry,
        controls: LiveControls,
        frames: int | None,
        stop: threading.Event,
        on_blank: Callable[[], None] | None,
        wire_clock: Callable[[], int] = time.time_ns,
        turn: Turns | None = None,
        **kwargs: Any,
    ) -> None:
        self._feed, self._config, self._geometry = feed, config, geometry
        self._controls, self._frames, self._stop = controls, frames, stop
        self._on_blank, self._turn, self._clock = on_blank, turn, clock
        self._wire_clock = wire_clock
        self._number = 0
        self._silent = False
        self._before_blank: ControlState | None = None
        self._hint_at_s: float | None = time.monotonic() + HINT_AFTER_S
        self._pace = pace
        self._going = BooleanCondition(fragment, enable_tick=True, name="going")
        super().__init__(fragment, self._going, *conditions, **kwargs)

    def setup(self, spec: OperatorSpec) -> None:
        """Declare the port."""
        spec.output("pose")

    @on_kept_thread
    def compute(
        self, _input: InputContext, output: OutputContext, _context: ExecutionContext
    ) -> None:
        """Issue the next pose, if there is one."""
        if self._stop.is_set():
            self._going.disable_tick()
            return
        self._watch()
        if not self._pace.is_due():
            return
        if not self._controls.snapshot().beam_on:
            self._clock.pause()
            time.sleep(WAIT_S)
            return
        received = self._next()
        if received is None:
            self._hint()
            return
        state = self._controls.snapshot()  # it may have waited for turn and pose
        output.emit(self._header(received, state), "pose")
        self._number += 1
        if self._number == self._frames:
            self._going.disable_tick()

    def _next(self) -> ReceivedPose | None:
        """The pose to show, if there is one and it may be."""
        if self._turn is None:
            return self._newest()
        if not self._turn.take(WAIT_S):
            return None
        received = self._newest()
        if received is None:
            self._turn.give()
        return received

    def _newest(self) -> ReceivedPose | None:
        if self._config.trigger != "clock":
            return self._feed.next(WAIT_S)
        if self._config.interpolation_delay_ms is None:
            return self._feed.latest()
        return self._feed.at(self._wire_clock() - round(self._config.interpolation_delay_ms * 1e6))

    def _header(self, received: ReceivedPose, state: ControlState) -> FrameHeader:
        now_ns = steady_ns()
        by_clock, lockstep = (self._config.trigger == name for name in ("clock", "lockstep"))
        return self._clock.header(
            state,
            number=self._number,
            pose=state.pose if state.manual_pose and not lockstep else received.pose,
            geometry=with_lengths(self._geometry, state),
            stamps_ns={"received": received.received_ns, "pose": now_ns},
            origin=PoseOrigin(
                stamp_ns=received.stamp_ns,
                sequence=received.sequence,
                time_ns=self._wire_clock() if by_clock else received.stamp_ns,
            ),
        )

    def _watch(self) -> None:
        """Act where poses have just stopped, or are just back."""
        silent = self._feed.silent()
        if silent != self._silent:
            self._silent = silent
            self._fall_silent() if silent else self._come_back()

    def _fall_silent(self) -> None:
        what = self._config.on_silence
        text = f"no pose on {self._feed.topic} for {self._config.watchdog_ms:g} ms (watchdog_ms)"
        if what == "stop":
            raise DeviceError(f"pose_source: {text}, and on_silence is stop")
        log.warning("%s: %s", text, what)
        state = self._controls.snapshot()
        if what == "blank" and state.beam_on:
            self._before_blank = state
            self._controls.update(beam_on=False, last_image_hold=False)
            if self._on_blank:
                self._on_blank()

    def _come_back(self) -> None:
        log.warning("poses are back on %s", self._feed.topic)
        before, self._before_blank = self._before_blank, None
        if before:
            self._controls.update(beam_on=True, last_image_hold=before.last_image_hold)

    def _hint(self) -> None:
        if self._hint_at_s and time.monotonic() > self._hint_at_s:
            self._hint_at_s = None
            if hint := self._feed.hint():
                log.warning("no pose yet: %s", hint)

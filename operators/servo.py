"""A pose source that is driven by the estimates of where it stands."""

from __future__ import annotations

import threading
import time
from typing import Any

from holoscan.conditions import BooleanCondition
from holoscan.core import (
    ConditionType,
    ExecutionContext,
    InputContext,
    IOSpec,
    Operator,
    OperatorSpec,
    OutputContext,
)

from fluoro.console.controls import LiveControls
from fluoro.geometry.carm import CarmGeometry, CarmPose
from fluoro.geometry.limits import CarmLimits
from fluoro.registration.servo import Servo
from fluoro.steady_clock import steady_ns
from operators.messages import header_of
from operators.monitor import StreamMonitor
from operators.pace import Pace
from operators.pose_source import IDLE_S
from operators.stream_clock import StreamClock, with_lengths
from operators.threads import on_kept_thread

__all__ = ["ServoOp"]


class ServoOp(Operator):
    """Issues a pose, waits for the estimate of its frame, moves, until the view is reached.

    Ports:
        estimate (in): `TrackedFrame`, the frame's header as metadata; none at first.
        pose (out): `FrameHeader`, number counting from 0, stamp `pose`.

    Args:
        pace: Tells which ticks are a frame's.
        servo: Decides the moves.
        clock: Time of the patient, and injection.
        start: First pose.
        geometry: The C-arm's lengths; the console may change source to detector.
        controls: Source to detector, beam.
        limits: How far the C-arm reaches.
        monitor: Counts the poses that a limit cut short.
        frames: After how many it gives up.
        stop: Ends the stream when set.
    """

    def __init__(
        self,
        fragment: Any,
        *conditions: Any,
        pace: Pace,
        servo: Servo,
        clock: StreamClock,
        start: CarmPose,
        geometry: CarmGeometry,
        controls: LiveControls,
        limits: CarmLimits,
        monitor: StreamMonitor,
        frames: int,
        stop: threading.Event,
        **kwargs: Any,
    ) -> None:
        self._servo, self._next, self._geometry = servo, start, geometry
        self._controls, self._limits, self._monitor = controls, limits, monitor
        self._frames, self._stop, self._clock = frames, stop, clock
        self._number, self._waiting = 0, False
        self._pace = pace
        self._going = BooleanCondition(fragment, enable_tick=True, name="going")
        super().__init__(fragment, self._going, *conditions, **kwargs)

    def setup(self, spec: OperatorSpec) -> None:
        """Declare the ports; the loop must not wait for an estimate before its first pose."""
        spec.input("estimate", size=1, policy=IOSpec.QueuePolicy.POP).condition(ConditionType.NONE)
        spec.output("pose")

    @on_kept_thread
    def compute(
        self, input_: InputContext, output: OutputContext, _context: ExecutionContext
    ) -> None:
        """Take the estimate, if it has come, and issue the next pose."""
        tracked = input_.receive("estimate")
        if self._stop.is_set():
            return self._going.disable_tick()
        if tracked is not None and not self._take(tracked.estimate):
            return self._going.disable_tick()
        state = self._controls.snapshot()
        if not state.beam_on:
            self._clock.pause()
        if self._waiting or not state.beam_on:
            return time.sleep(IDLE_S)
        if not self._pace.is_due():
            return None
        pose, clamped = self._limits.applied(self._next)
        if clamped:
            self._monitor.count_clamped(clamped)
        header = self._clock.header(
            state,
            number=self._number,
            pose=pose,
            geometry=with_lengths(self._geometry, state),
            stamps_ns={"pose": steady_ns()},
        )
        self.metadata.clear()
        output.emit(header, "pose")
        self._number, self._waiting = self._number + 1, True
        return None

    def _take(self, estimate: Any) -> bool:
        """Decide the next move; False: there is none."""
        header = header_of(self)
        pose = self._servo.move(estimate, header.pose)
        if pose is None or self._number == self._frames:
            return False
        self._next, self._waiting = pose, False
        return True

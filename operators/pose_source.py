"""Where poses come from: a trajectory, or the console's sliders while a user holds them."""

from __future__ import annotations

import threading
import time
from typing import Any

from holoscan.conditions import BooleanCondition
from holoscan.core import ExecutionContext, InputContext, Operator, OperatorSpec, OutputContext

from fluoro.console.controls import ControlState, LiveControls
from fluoro.geometry.carm import CarmGeometry, CarmPose
from fluoro.geometry.limits import CarmLimits
from fluoro.geometry.trajectory import Trajectory
from fluoro.imaging.frame import FrameHeader
from fluoro.steady_clock import steady_ns
from operators.monitor import StreamMonitor
from operators.pace import Pace
from operators.stream_clock import StreamClock, with_lengths
from operators.threads import on_kept_thread
from operators.turns import Turns

__all__ = ["PoseSourceOp"]

IDLE_S = 0.01
"""Pause between looks at the controls while the beam is off and nothing else sets the pace."""
TURN_S = 0.1
"""How long a tick waits for its turn before it looks whether the stream is to end."""


class PoseSourceOp(Operator):
    """Issues one pose a tick until `frames` are issued or `stop` is set.

    Ports:
        pose (out): `FrameHeader`, number counting from 0, stamp `pose`.

    Args:
        pace: Tells which ticks are a frame's.
        trajectory: Pose by time; the time of frame n is n / fps, whatever the clock says, so that
            a run is the same each time.
        fps: Frames per second of that time.
        clock: Time, pulses and injection.
        geometry: The C-arm's lengths; the console may change source to detector and the field.
        controls: Pose while `manual_pose`, source to detector, beam.
        limits: How far the C-arm reaches.
        monitor: Counts the poses that a limit cut short.
        frames: How many; None: until stopped.
        stop: Ends the stream when set.
        turn: Taken for each pose and given back when it is rendered; None: poses wait before the
            renderer.
    """

    def __init__(
        self,
        fragment: Any,
        *conditions: Any,
        pace: Pace,
        trajectory: Trajectory,
        fps: float,
        clock: StreamClock,
        geometry: CarmGeometry,
        controls: LiveControls,
        limits: CarmLimits,
        monitor: StreamMonitor,
        frames: int | None,
        stop: threading.Event,
        turn: Turns | None = None,
        **kwargs: Any,
    ) -> None:
        self._trajectory, self._fps, self._geometry = trajectory, fps, geometry
        self._controls, self._frames, self._stop = controls, frames, stop
        self._limits, self._monitor, self._clock = limits, monitor, clock
        self._turn = turn
        self._number = 0
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
        """Issue the next pose."""
        if self._stop.is_set():
            return self._going.disable_tick()
        if not self._pace.is_due():
            return None
        if not self._controls.snapshot().beam_on:
            self._clock.pause()
            return time.sleep(IDLE_S)
        state = self._state_in_turn()
        if state is None:
            return None
        output.emit(self._header(state), "pose")
        self._number += 1
        if self._number == self._frames:
            self._going.disable_tick()
        return None

    def _state_in_turn(self) -> ControlState | None:
        """The controls when the turn comes; None: it has not come, or the beam is off by then."""
        if self._turn is None:
            return self._controls.snapshot()
        if not self._turn.take(TURN_S):
            return None
        state = self._controls.snapshot()
        if not state.beam_on:
            self._clock.pause()
            self._turn.give()
            return None
        return state

    def _header(self, state: ControlState) -> FrameHeader:
        return self._clock.header(
            state,
            number=self._number,
            pose=self._pose(state),
            geometry=with_lengths(self._geometry, state),
            stamps_ns={"pose": steady_ns()},
        )

    def _pose(self, state: ControlState) -> CarmPose:
        wanted = state.pose if state.manual_pose else self._trajectory(self._number / self._fps)
        pose, clamped = self._limits.applied(wanted)
        if clamped:
            self._monitor.count_clamped(clamped)
        return pose

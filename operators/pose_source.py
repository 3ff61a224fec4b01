"""Where poses come from: the pose source, or the console's sliders while a user holds them."""

from __future__ import annotations

import time
from threading import Event
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

from fluoro.console.controls import ControlState, LiveControls
from fluoro.geometry.carm import CarmGeometry, CarmPose
from fluoro.geometry.limits import CarmLimits
from fluoro.imaging.frame import FrameHeader
from fluoro.poses.base import IssuedPose, PoseSource, PoseSourceSection
from fluoro.steady_clock import steady_ns
from operators.frame_credits import FrameCredits
from operators.gil_state import keep_gil_state
from operators.held_image import HeldImage
from operators.messages import emit, header_of
from operators.monitor import StreamMonitor
from operators.pace import Pace
from operators.stream_clock import StreamClock, with_lengths
from operators.tracking_setup import AnyEvent

__all__ = ["PoseSourceOp"]

IDLE_S = 0.01
"""Pause between looks at the controls while the beam is off and nothing else sets the pace."""


class PoseSourceOp(Operator):
    """Issues one pose a tick until `frames` are issued, the source ends or `stop` is set.

    Ports:
        estimate (in): `TrackedFrame`, the frame's header as metadata, of a source that waits for
            estimates; none at first.
        again (out): the held image with another window, (height, width) float32 on the host, with
            the header of its frame as metadata; only where `sends_again`.
        pose (out): `FrameHeader`, number counting from 0, stamp `pose`; of a pose that was sent the
            stamp `received` too, and the sender's stamp and number as `origin`.

    Args:
        pace: Tells which ticks are a frame's.
        source: Gives the poses; the time of frame n is n / fps, whatever the clock says, so that
            a run is the same each time.
        config: What is known of the source before it runs.
        fps: Frames per second of that time.
        clock: Time, pulses and injection.
        geometry: The C-arm's lengths; the console may change source to detector and the field.
        controls: Pose while `manual_pose`, source to detector, beam.
        limits: How far the C-arm reaches.
        monitor: Counts the poses that a limit cut short.
        frames: How many; None: until stopped.
        stop: Ends the stream when set.
        frame_credits: One is acquired for each pose and released when the frame is rendered, so
            that a pose is the newest when its frame begins; None: poses wait before the renderer.
        held: Shows the last image again where its window changes while the beam is off.
        sends_again: Whether anything listens at `again`.

    Raises:
        DeviceError: Poses have stopped, and the run is to end then.
    """

    def __init__(
        self,
        fragment: Any,
        *conditions: Any,
        pace: Pace,
        source: PoseSource,
        config: PoseSourceSection,
        fps: float,
        clock: StreamClock,
        geometry: CarmGeometry,
        controls: LiveControls,
        limits: CarmLimits,
        monitor: StreamMonitor,
        frames: int | None,
        stop: Event | AnyEvent,
        frame_credits: FrameCredits | None = None,
        held: HeldImage | None = None,
        sends_again: bool = False,
        **kwargs: Any,
    ) -> None:
        self._source, self._config, self._fps, self._geometry = source, config, fps, geometry
        self._controls, self._frames, self._stop = controls, frames, stop
        self._limits, self._monitor, self._clock = limits, monitor, clock
        self._credits, self._held = frame_credits, held
        self._sends_again = sends_again
        self._number = 0
        self._pace = pace
        self._going = BooleanCondition(fragment, enable_tick=True, name="going")
        super().__init__(fragment, self._going, *conditions, **kwargs)

    def setup(self, spec: OperatorSpec) -> None:
        """Declare the ports; a loop must not wait for an estimate before its first pose."""
        if self._source.feedback:
            port = spec.input("estimate", size=1, policy=IOSpec.QueuePolicy.POP)
            port.condition(ConditionType.NONE)
        spec.output("pose")
        if self._sends_again:
            spec.output("again").condition(ConditionType.NONE)

    @keep_gil_state
    def compute(
        self, input_: InputContext, output: OutputContext, _context: ExecutionContext
    ) -> None:
        """Issue the next pose, if there is one."""
        if self._stop.is_set() or not self._goes_on(input_):
            return self._going.disable_tick()
        self._source.watch()
        if not self._source.ready():
            return time.sleep(IDLE_S)
        if not self._pace.is_due():
            return None
        state = self._controls.snapshot()
        if not state.beam_on:
            return self._rest(state, output)
        issued = self._issued_with_credit()
        if issued is None:
            return None
        if self._source.feedback:
            self.metadata.clear()
        output.emit(self._header(*issued), "pose")
        self._number += 1
        if self._number == self._frames and not self._source.feedback:
            self._going.disable_tick()
        return None

    def _rest(self, state: ControlState, output: OutputContext) -> None:
        """Issue nothing: the beam is off."""
        self._clock.pause()
        again = self._held.refresh(state, self._number) if self._held else None
        if self._held and again and self._sends_again:
            emit(self, output, "again", again.image, self._held.header)
        time.sleep(IDLE_S)

    def _goes_on(self, input_: InputContext) -> bool:
        """Take the estimate, if one has come; whether another pose follows."""
        tracked = input_.receive("estimate") if self._source.feedback else None
        if tracked is None:
            return True
        follows = self._source.take_estimate(tracked.estimate, header_of(self).pose)
        return follows and self._number != self._frames

    def _issued_with_credit(self) -> tuple[IssuedPose, ControlState] | None:
        """Return pose and controls when a frame may begin; None: no pose, or the beam is off."""
        if self._credits is None:
            return self._issued()
        if not self._credits.acquire(self._source.patience_s):
            return None
        issued = self._issued()
        if issued is None:
            self._credits.release()
        return issued

    def _issued(self) -> tuple[IssuedPose, ControlState] | None:
        state = self._controls.snapshot()
        if not state.beam_on:
            self._clock.pause()
            return None
        source = self._source
        issued = source.next(self._number, self._number / self._fps, source.patience_s)
        return (issued, self._controls.snapshot()) if issued else None

    def _header(self, issued: IssuedPose, state: ControlState) -> FrameHeader:
        received_ns = issued.received_ns
        received = {} if received_ns is None else {"received": received_ns}
        return self._clock.header(
            state,
            number=self._number,
            pose=self._pose(issued, state),
            geometry=with_lengths(self._geometry, state),
            stamps_ns={**received, "pose": steady_ns()},
            origin=issued.origin,
        )

    def _pose(self, issued: IssuedPose, state: ControlState) -> CarmPose:
        by_hand = state.manual_pose and self._config.obeys_hand
        wanted = state.pose if by_hand else issued.pose
        if self._config.sent:
            return wanted
        pose, clamped = self._limits.applied(wanted)
        if clamped:
            self._monitor.count_clamped(clamped)
        return pose

"""The user's optimiser in a loop with `DrrGradientOp`."""

from __future__ import annotations

import threading
from typing import Any

from holoscan.conditions import BooleanCondition, PeriodicCondition, PeriodicConditionPolicy
from holoscan.core import (
    ConditionType,
    ExecutionContext,
    InputContext,
    IOSpec,
    Operator,
    OperatorSpec,
    OutputContext,
)

from fluoro.registration.tracking.optimiser_loop import OptimiserLoop
from operators.gil_state import keep_gil_state
from operators.messages import header_of

__all__ = ["OptimiserOp"]

POLL_NS = 2_000_000
"""Between two looks for an evaluation: the loop's input has no condition that would wake it."""


class OptimiserOp(Operator):
    """Issues a pose, waits for its evaluation, gets the next step from the user's class.

    Ports:
        evaluation (in): `PoseGradient`, the frame's header as metadata; none at first.
        pose (out): `CarmPose`.

    Args:
        loop: The poses and the user's class.
        frames: After how many evaluations it gives up.
        stop: Ends the loop when set.
        done: Set when the loop has ended, for the source of frames.
    """

    def __init__(
        self,
        fragment: Any,
        *args: Any,
        loop: OptimiserLoop,
        frames: int,
        stop: threading.Event,
        done: threading.Event,
        **kwargs: Any,
    ) -> None:
        self._loop, self._frames, self._stop, self._done = loop, frames, stop, done
        self._waiting = False
        self._going = BooleanCondition(fragment, enable_tick=True, name="looping")
        policy = PeriodicConditionPolicy.NO_CATCH_UP_MISSED_TICKS
        poll = PeriodicCondition(fragment, POLL_NS, policy, name="poll")
        super().__init__(fragment, self._going, poll, *args, **kwargs)

    def setup(self, spec: OperatorSpec) -> None:
        """Declare the ports; the loop must not wait for an evaluation before its first pose."""
        port = spec.input("evaluation", size=1, policy=IOSpec.QueuePolicy.POP)
        port.condition(ConditionType.NONE)
        spec.output("pose")

    @keep_gil_state
    def compute(
        self, input_: InputContext, output: OutputContext, _context: ExecutionContext
    ) -> None:
        """Take the evaluation, if it has come, and issue the next pose."""
        evaluation = input_.receive("evaluation")
        if evaluation is not None:
            header = header_of(self)
            self._loop.take(evaluation, header.pose)
            self._waiting = False
        if self._stop.is_set() or self._loop.ended(self._frames):
            self._done.set()
            return self._going.disable_tick()
        if not self._waiting:
            self.metadata.clear()
            output.emit(self._loop.pose, "pose")
            self._waiting = True
        return None

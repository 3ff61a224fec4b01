"""Every estimate into the run's record and to the sinks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from holoscan.core import ExecutionContext, InputContext, Operator, OperatorSpec, OutputContext

from fluoro.recording.frame_sink import FrameSink
from fluoro.registration.tracking.track_record import TrackedFrame, TrackRecord
from operators.gil_state import keep_gil_state
from operators.messages import header_of

__all__ = ["EstimatesOp"]


class EstimatesOp(Operator):
    """Compares estimates with the truth, records them and passes them to the sinks.

    Ports:
        estimate (in): `TrackedFrame`, the frame's header with its true pose as metadata.

    Args:
        record: Takes a note of every estimate.
        sinks: Show or send estimates.
    """

    def __init__(
        self,
        fragment: Any,
        *args: Any,
        record: TrackRecord,
        sinks: Sequence[FrameSink],
        **kwargs: Any,
    ) -> None:
        self._record, self._sinks = record, sinks
        super().__init__(fragment, *args, **kwargs)

    def setup(self, spec: OperatorSpec) -> None:
        """Declare the port."""
        spec.input("estimate")

    @keep_gil_state
    def compute(
        self, input_: InputContext, _output: OutputContext, _context: ExecutionContext
    ) -> None:
        """Take one estimate."""
        tracked: TrackedFrame = input_.receive("estimate")
        header = header_of(self)
        scored = self._record.add(tracked.estimate, header.pose)
        for sink in self._sinks:
            sink.take_estimate(tracked, header, scored)

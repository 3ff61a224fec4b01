"""Every estimate into the run's record, to the console and out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from holoscan.core import ExecutionContext, InputContext, Operator, OperatorSpec, OutputContext

from fluoro.config import ImageChainConfig
from fluoro.console.controls import LiveControls
from fluoro.console.server import Console
from fluoro.console.tracking import TrackingView
from fluoro.registration.frame_target import shown
from fluoro.registration.track_record import ScoredEstimate, TrackedFrame, TrackRecord
from operators.live_chain import with_controls
from operators.messages import header_of
from operators.threads import on_kept_thread

if TYPE_CHECKING:
    from fluoro.dds.estimate_sink import EstimateSink

__all__ = ["EstimatesOp"]


class EstimatesOp(Operator):
    """Holds estimates against the truth, records, shows and sends them.

    Ports:
        estimate (in): `TrackedFrame`, the frame's header with its true pose as metadata.

    Args:
        record: Takes a note of every estimate.
        console: Shows the newest; None: there is none.
        config: Chain that made the pictures, whose window the console's pictures take.
        controls: Window and polarity of the moment.
        sinks: Where estimates are sent.
    """

    def __init__(
        self,
        fragment: Any,
        *args: Any,
        record: TrackRecord,
        console: Console | None,
        config: ImageChainConfig,
        controls: LiveControls,
        sinks: Sequence[EstimateSink] = (),
        **kwargs: Any,
    ) -> None:
        self._record, self._console = record, console
        self._config, self._controls, self._sinks = config, controls, sinks
        super().__init__(fragment, *args, **kwargs)

    def setup(self, spec: OperatorSpec) -> None:
        """Declare the port."""
        spec.input("estimate")

    @on_kept_thread
    def compute(
        self, input_: InputContext, _output: OutputContext, _context: ExecutionContext
    ) -> None:
        """Take one estimate."""
        tracked: TrackedFrame = input_.receive("estimate")
        header = header_of(self)
        for sink in self._sinks:
            sink.send(tracked.estimate, header)
        scored = self._record.add(tracked.estimate, header.pose)
        if self._console:
            self._console.show_tracking(self._view(tracked, scored))

    def _view(self, tracked: TrackedFrame, scored: ScoredEstimate) -> TrackingView:
        config = with_controls(self._config, self._controls.snapshot())
        estimate = tracked.estimate
        return TrackingView(
            number=estimate.number,
            pose=estimate.pose,
            mtre_mm=scored.mtre_mm,
            ncc=estimate.ncc,
            converged=estimate.converged,
            reason=estimate.reason,
            seconds=estimate.seconds,
            frame=tracked.picture,
            rendered=shown(estimate.rendered, config),
        )

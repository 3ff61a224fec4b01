"""The graph: pose source -> renderer -> image chain -> sinks."""

from __future__ import annotations

from threading import Event

import operators.runtime  # noqa: F401  (prepares the imports below)

# isort: split

from holoscan.core import Application, Fragment, Operator
from holoscan.schedulers import EventBasedScheduler

from fluoro.config import Config
from fluoro.console.controls import LiveControls
from fluoro.geometry.from_config import make_limits
from fluoro.imaging.exposure.dose_meter import DoseMeter
from operators.assembly import Run
from operators.bag_frames import BagFramesOp
from operators.context import RunContext
from operators.drr_gradient import DrrGradientOp
from operators.drr_renderer import DrrRendererOp
from operators.estimates import EstimatesOp
from operators.frame_credits import FrameCredits
from operators.held_image import HeldImage
from operators.image_chain import ImageChainOp
from operators.live_chain import LiveChain, held_config, lines_up
from operators.optimiser import OptimiserOp
from operators.pace import Pace, pace_fps
from operators.pose_source import PoseSourceOp
from operators.registration import RegistrationOp
from operators.sinks.base import operator_of
from operators.stream_clock import StreamClock
from operators.tracking_setup import AnyEvent, TrackingSetup

__all__ = ["PROGRAM", "FluoroApp", "Graph", "make_scheduler"]

PROGRAM = ("python", "fluoro")
"""Command line that Holoscan is given: it fails at words that are not UTF-8, as paths may be."""

WORKER_THREADS = 7
"""One for each operator, so that the next frame renders while the last one is finished."""

DEADLOCK_TIMEOUT_MS = 200
"""With 0 Holoscan's schedulers stopped early in some runs."""


def make_scheduler(fragment: Fragment, threads: int = WORKER_THREADS) -> EventBasedScheduler:
    """Return the scheduler of a graph."""
    return EventBasedScheduler(
        fragment,
        worker_thread_number=threads,
        stop_on_deadlock=True,
        stop_on_deadlock_timeout=DEADLOCK_TIMEOUT_MS,
        name="scheduler",
    )


class Graph:
    """The graph of a run; an application, or a fragment of one."""

    def _prepare(self, run: Run) -> None:
        self._run = run

    @property
    def _context(self) -> RunContext:
        return self._run.context

    @property
    def _config(self) -> Config:
        return self._context.config

    def compose(self) -> None:
        """Pose source -> renderer -> image chain -> sinks, and registration back to the source."""
        self._credits = self._frame_credits()
        source, chain = self._frames()
        for sink in self._run.sinks:
            receiver = operator_of(sink, self, self._context.device)
            self._connect(chain, sink.port, receiver)
            if sink.takes_again:
                self.add_flow(source, receiver, {("again", "frame")})
        if self._registration and self._registration.tracker:
            self._add_tracker(source, chain)
        if self._registration and self._registration.loop:
            self._add_optimiser(chain)

    def _connect(self, chain: Operator, port: str, receiver: Operator) -> None:
        """Connect the image chain with a sink; a display gets a thread of its own."""
        self.add_flow(chain, receiver, {(port, "frame")})
        if port == "view":
            pool = self.make_thread_pool(f"{receiver.name}_thread", 1)
            pool.add(receiver, pin_operator=True)

    @property
    def _registration(self) -> TrackingSetup | None:
        return self._run.registration

    @property
    def _displays(self) -> bool:
        """Whether anything takes the newest frame only."""
        tracks = self._registration is not None and self._registration.tracker is not None
        return tracks or any(sink.port == "view" for sink in self._run.sinks)

    @property
    def _sends_again(self) -> bool:
        """Whether the held image goes to a sink by the graph."""
        return any(sink.takes_again for sink in self._run.sinks)

    def _frames(self) -> tuple[Operator, Operator]:
        """Where the poses come from and where the frames; of a bag's images both are one."""
        if self._context.images:
            images = self._bag_images()
            return images, images
        live = LiveChain(self._context.chain, held_config(self._config), self._context.controls)
        held = HeldImage(live, self._run.sinks)
        source, renderer, chain = (
            self._pose_source(held),
            self._renderer(live),
            self._image_chain(live),
        )
        self.add_flow(source, renderer, {("pose", "pose")})
        self.add_flow(renderer, chain, {("integrals", "integrals")})
        return source, chain

    def _bag_images(self) -> Operator:
        parts = self._context
        pace = self._pace()
        return BagFramesOp(
            self,
            *pace.conditions(self),
            pace=pace,
            images=parts.images,
            geometry=parts.geometry,
            frames=self._config.run.frames,
            displays=self._displays,
            stop=parts.stop,
            controls=parts.controls,
            sinks=self._run.sinks,
            sends_again=self._sends_again,
            name="bag_images",
        )

    def _pose_source(self, held: HeldImage) -> Operator:
        context, config = self._context, self._config
        pace = self._pace()
        source = PoseSourceOp(
            self,
            *pace.conditions(self),
            pace=pace,
            source=context.poses,
            config=config.pose_source,
            fps=config.run.fps,
            clock=StreamClock(config),
            geometry=context.geometry,
            controls=context.controls,
            limits=make_limits(config.carm),
            monitor=context.monitor,
            frames=config.run.frames,
            stop=self._end_of_poses,
            frame_credits=self._credits,
            held=held,
            sends_again=self._sends_again,
            name="pose_source",
        )
        if config.pose_source.sent:  # it waits for poses
            self.make_thread_pool("pose_source_thread", 1).add(source, pin_operator=True)
        return source

    def _frame_credits(self) -> FrameCredits | None:
        """What a source takes for a pose, and the image chain gives back when it is rendered.

        None where every pose waits for a frame anyhow.
        """
        ahead = self._config.pose_source.frames_ahead
        return None if self._context.images or ahead is None else FrameCredits(ahead)

    @property
    def _end_of_poses(self) -> Event | AnyEvent:
        """What ends the pose source: a signal, or a user's optimiser that is done."""
        parts = self._context
        if self._registration and self._registration.loop:
            return AnyEvent(parts.stop, self._registration.done)
        return parts.stop

    def _add_tracker(self, source: Operator, chain: Operator) -> None:
        """Estimates of the newest frame, into the record, to the sinks, and back to a servo."""
        context, registration = self._context, self._registration
        tracker = RegistrationOp(
            self,
            tracker=registration.tracker,
            device=context.device,
            config=self._config.image_chain,
            controls=self._chain_controls,
            monitor=context.monitor,
            fps=self._config.run.fps,
            feedback=context.poses.feedback,
            name="registration",
        )
        estimates = EstimatesOp(
            self, record=registration.record, sinks=self._run.sinks, name="estimates"
        )
        self._connect(chain, "view", tracker)
        self.add_flow(tracker, estimates, {("estimate", "estimate")})
        if context.poses.feedback:
            self.add_flow(tracker, source, {("feedback", "estimate")})

    def _add_optimiser(self, chain: Operator) -> None:
        """The loop of a user's optimiser; each of its poses takes one frame of the chain."""
        parts, wanted, registration = self._context, self._config.optimiser, self._registration
        gradient = DrrGradientOp(
            self,
            loss=registration.loss,
            device=parts.device,
            config=self._config.image_chain,
            controls=self._chain_controls,
            jacobian=wanted.jacobian,
            name="drr_gradient",
        )
        optimiser = OptimiserOp(
            self,
            loop=registration.loop,
            frames=self._config.run.frames,
            stop=parts.stop,
            done=registration.done,
            name="optimiser",
        )
        self.add_flow(chain, gradient, {("record", "target")})
        self.add_flow(optimiser, gradient, {("pose", "pose")})
        self.add_flow(gradient, optimiser, {("evaluation", "evaluation")})

    @property
    def _chain_controls(self) -> LiveControls:
        """What images are made with; those that come ready have the configured window."""
        if self._config.pose_source.brings_images:
            return LiveControls.from_config(self._config)
        return self._context.controls

    def _pace(self) -> Pace:
        return Pace(pace_fps(self._config))

    def _renderer(self, chain: LiveChain) -> Operator:
        parts = self._context
        return DrrRendererOp(
            self,
            renderer=parts.renderer,
            chain=chain if lines_up(self._config.image_chain) else None,
            isocenter_xyz_mm=parts.isocenter_xyz_mm,
            truth=parts.truth,
            name="renderer",
        )

    def _image_chain(self, chain: LiveChain) -> Operator:
        return ImageChainOp(
            self,
            chain=chain,
            meter=DoseMeter(),
            displays=self._displays,
            frame_credits=self._credits,
            name="image_chain",
        )


class FluoroApp(Graph, Application):
    """The graph as an application of its own, on one machine."""

    def __init__(self, run: Run) -> None:
        self._prepare(run)
        super().__init__(list(PROGRAM))
        self.scheduler(make_scheduler(self))

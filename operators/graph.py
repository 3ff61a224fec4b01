"""The graph: pose source -> renderer -> image chain -> sinks."""

from __future__ import annotations

from dataclasses import dataclass
from threading import Event
from typing import TYPE_CHECKING

import operators.runtime  # noqa: F401  (prepares the imports below)

# isort: split

from holoscan.core import Application, Fragment, Operator
from holoscan.schedulers import EventBasedScheduler

from fluoro.config import Config, ReceivedPoses
from fluoro.console.controls import LiveControls
from fluoro.console.server import Console
from fluoro.geometry.carm import CarmGeometry
from fluoro.geometry.setup import make_limits
from fluoro.geometry.trajectory import Trajectory
from fluoro.imaging.chain import ImageChain
from fluoro.imaging.dose_meter import DoseMeter
from fluoro.io.recorder import Recorder
from fluoro.registration.servo import Servo
from fluoro.rendering.devices import ComputeDevice
from fluoro.rendering.patient_renderer import PatientRenderer
from operators.bag_pictures import BagPicturesOp
from operators.console import ConsoleOp
from operators.dds import DdsParts
from operators.drr_gradient import DrrGradientOp
from operators.drr_renderer import DrrRendererOp
from operators.estimates import EstimatesOp
from operators.frame_publisher import FramePublisherOp, FrameReceiver
from operators.holoviz import HolovizFeedOp, make_holoviz
from operators.image_chain import ImageChainOp
from operators.live_chain import LiveChain, lines_up
from operators.monitor import StreamMonitor
from operators.optimiser import OptimiserOp
from operators.pace import Pace
from operators.pose_source import PoseSourceOp
from operators.pose_subscriber import PoseSubscriberOp
from operators.recorder import RecorderOp
from operators.registration import RegistrationOp
from operators.registration_parts import AnyEvent, RegistrationParts
from operators.servo import ServoOp
from operators.stream_clock import StreamClock
from operators.turns import Turns

if TYPE_CHECKING:
    from fluoro.dds.bag import BagPictures

__all__ = ["PROGRAM", "FluoroApp", "Graph", "Parts", "make_scheduler"]

PROGRAM = ("python", "fluoro")
"""Command line that Holoscan is given: it fails at words that are not UTF-8, as paths may be."""

WORKER_THREADS = 7
"""One for each operator, so that the next frame renders while the last one is finished."""

FRAMES_AHEAD = 2
"""Frames between their pose and the end of their rendering: one is rendered, one waits, so that
the renderer is never idle, and no pose is older than it must be."""

DEADLOCK_TIMEOUT_MS = 200
"""With 0 Holoscan's schedulers stopped early in some runs."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Parts:
    """What the operators work with; made before the graph, closed after it."""

    device: ComputeDevice
    renderer: PatientRenderer
    chain: ImageChain
    trajectory: Trajectory
    geometry: CarmGeometry
    isocenter_xyz_mm: tuple[float, float, float]
    controls: LiveControls
    monitor: StreamMonitor
    stop: Event
    console: Console | None = None
    recorder: Recorder | None = None
    dds: DdsParts | None = None
    registration: RegistrationParts | None = None
    pictures: BagPictures | None = None


def make_scheduler(fragment: Fragment, threads: int = WORKER_THREADS) -> EventBasedScheduler:
    """The scheduler of a graph."""
    return EventBasedScheduler(
        fragment,
        worker_thread_number=threads,
        stop_on_deadlock=True,
        stop_on_deadlock_timeout=DEADLOCK_TIMEOUT_MS,
        name="scheduler",
    )


class Graph:
    """The graph for a configuration and its parts; an application, or a fragment of one."""

    def _prepare(self, config: Config, parts: Parts) -> None:
        self._config, self._parts = config, parts

    def compose(self) -> None:
        """Make the operators and connect them."""
        self._turn = self._turns()
        tracker, displays = self._tracker(), self.displays()
        if tracker:
            displays[tracker] = "frame"
        source, chain = self._frames(displays=bool(displays))
        self.add_flow(chain, self._recorder(), {("record", "frame")})
        if self._trigger == "lockstep":
            self.add_flow(chain, self._frame_publisher(), {("record", "frame")})
        if self._parts.dds and self._parts.dds.bag:
            self.add_flow(
                chain, self._sink("bag", self._parts.dds.bag, lossless=True), {("record", "frame")}
            )
        for display, port in displays.items():
            self.add_flow(chain, display, {("view", port)})
            pool = self.make_thread_pool(f"{display.name}_thread", 1)
            pool.add(display, pin_operator=True)
        if tracker:
            self._close_loop(tracker, source)
        if self._parts.registration and self._parts.registration.descent:
            self._add_optimiser(self._parts.registration, chain)

    def _frames(self, *, displays: bool) -> tuple[Operator, Operator]:
        """Where the poses come from and where the frames; of a bag's pictures both are one."""
        if self._parts.pictures:
            pictures = self._bag_pictures(displays=displays)
            return pictures, pictures
        live = LiveChain(self._parts.chain, self._config.image_chain, self._parts.controls)
        source, renderer = self._pose_source(), self._renderer(live)
        chain = self._image_chain(live, displays=displays)
        self.add_flow(source, renderer, {("pose", "pose")})
        self.add_flow(renderer, chain, {("integrals", "integrals")})
        return source, chain

    def _bag_pictures(self, *, displays: bool) -> Operator:
        parts = self._parts
        pace = self._pace()
        return BagPicturesOp(
            self,
            *pace.conditions(self),
            pace=pace,
            pictures=parts.pictures,
            geometry=parts.geometry,
            frames=self._config.run.frames,
            displays=displays,
            stop=parts.stop,
            name="bag_pictures",
        )

    def _pose_source(self) -> Operator:
        if isinstance(self._config.pose_source, ReceivedPoses):
            return self._pose_subscriber(self._config.pose_source)
        run, parts = self._config.run, self._parts
        if parts.registration and parts.registration.servo:
            return self._servo(parts.registration.servo)
        pace = self._pace()
        return PoseSourceOp(
            self,
            *pace.conditions(self),
            pace=pace,
            trajectory=parts.trajectory,
            fps=run.fps,
            clock=StreamClock(self._config),
            geometry=parts.geometry,
            controls=parts.controls,
            limits=make_limits(self._config.carm),
            monitor=parts.monitor,
            frames=run.frames,
            stop=self._end_of_poses,
            turn=self._turn,
            name="pose_source",
        )

    def _turns(self) -> Turns | None:
        """What a source takes for a pose, and the image chain gives back when it is rendered.

        None where every pose waits for a frame anyhow.
        """
        parts = self._parts
        servo = parts.registration and parts.registration.servo
        if parts.pictures or servo or self._trigger == "lockstep":
            return None
        return Turns(1 if self._trigger == "pose" else FRAMES_AHEAD)

    @property
    def _end_of_poses(self) -> Event | AnyEvent:
        """What ends the pose source: a signal, or a user's optimiser that is done."""
        parts = self._parts
        if parts.registration and parts.registration.descent:
            return AnyEvent(parts.stop, parts.registration.done)
        return parts.stop

    def _servo(self, servo: Servo) -> Operator:
        run, parts = self._config.run, self._parts
        pace = self._pace()
        return ServoOp(
            self,
            *pace.conditions(self),
            pace=pace,
            servo=servo,
            clock=StreamClock(self._config),
            start=parts.trajectory(0.0),
            geometry=parts.geometry,
            controls=parts.controls,
            limits=make_limits(self._config.carm),
            monitor=parts.monitor,
            frames=run.frames,
            stop=parts.stop,
            name="servo",
        )

    def _tracker(self) -> Operator | None:
        parts = self._parts
        if not (parts.registration and parts.registration.tracker):
            return None
        return RegistrationOp(
            self,
            tracker=parts.registration.tracker,
            device=parts.device,
            config=self._config.image_chain,
            controls=parts.controls,
            monitor=parts.monitor,
            fps=self._config.run.fps,
            feedback=parts.registration.servo is not None,
            name="registration",
        )

    def _close_loop(self, tracker: Operator, source: Operator) -> None:
        """Estimates into record and console, and back to the source where that is a servo."""
        parts = self._parts
        estimates = EstimatesOp(
            self,
            record=parts.registration.record,
            console=parts.console,
            config=self._config.image_chain,
            controls=parts.controls,
            sinks=parts.dds.estimates if parts.dds else (),
            name="estimates",
        )
        self.add_flow(tracker, estimates, {("estimate", "estimate")})
        if parts.registration.servo:
            self.add_flow(tracker, source, {("feedback", "estimate")})

    def _add_optimiser(self, registration: RegistrationParts, chain: Operator) -> None:
        """The loop of a user's optimiser; each of its poses takes one frame of the chain."""
        parts, wanted = self._parts, self._config.optimiser
        gradient = DrrGradientOp(
            self,
            loss=registration.loss,
            device=parts.device,
            config=self._config.image_chain,
            controls=parts.controls,
            jacobian=wanted.jacobian,
            name="drr_gradient",
        )
        optimiser = OptimiserOp(
            self,
            descent=registration.descent,
            frames=self._config.run.frames,
            stop=parts.stop,
            done=registration.done,
            name="optimiser",
        )
        self.add_flow(chain, gradient, {("record", "target")})
        self.add_flow(optimiser, gradient, {("pose", "pose")})
        self.add_flow(gradient, optimiser, {("evaluation", "evaluation")})

    def _pose_subscriber(self, source: ReceivedPoses) -> Operator:
        parts = self._parts
        pace = self._pace() if source.trigger == "clock" else Pace(None)
        subscriber = PoseSubscriberOp(
            self,
            *pace.conditions(self),
            pace=pace,
            feed=parts.dds.feed,
            clock=StreamClock(self._config),
            config=source,
            geometry=parts.geometry,
            controls=parts.controls,
            frames=self._config.run.frames,
            stop=parts.stop,
            on_blank=parts.dds.sink.send_black if parts.dds.sink else None,
            wire_clock=parts.dds.clock,
            turn=self._turn,
            name="pose_subscriber",
        )
        self.make_thread_pool("pose_subscriber_thread", 1).add(subscriber, pin_operator=True)
        return subscriber

    @property
    def _trigger(self) -> str | None:
        source = self._config.pose_source
        return source.trigger if isinstance(source, ReceivedPoses) else None

    def _frame_publisher(self) -> Operator:
        return self._sink("dds", self._parts.dds.sink, lossless=self._trigger == "lockstep")

    def _sink(self, name: str, sink: FrameReceiver, *, lossless: bool) -> Operator:
        return FramePublisherOp(
            self,
            device=self._parts.device,
            sink=sink,
            monitor=self._parts.monitor,
            lossless=lossless,
            name=name,
        )

    def _pace(self) -> Pace:
        return Pace(None if self._config.run.pacing == "free_running" else self._config.run.fps)

    def _renderer(self, chain: LiveChain) -> Operator:
        parts = self._parts
        return DrrRendererOp(
            self,
            renderer=parts.renderer,
            chain=chain if lines_up(self._config.image_chain) else None,
            isocenter_xyz_mm=parts.isocenter_xyz_mm,
            name="renderer",
        )

    def _image_chain(self, chain: LiveChain, *, displays: bool) -> Operator:
        return ImageChainOp(
            self,
            chain=chain,
            meter=DoseMeter(),
            displays=displays,
            turn=self._turn,
            name="image_chain",
        )

    def _recorder(self) -> Operator:
        parts = self._parts
        return RecorderOp(
            self,
            device=parts.device,
            monitor=parts.monitor,
            recorder=parts.recorder,
            name="recorder",
        )

    def displays(self) -> dict[Operator, str]:
        """Sinks that take the newest frame only, each with the name of its port."""
        parts, displays = self._parts, {}
        if parts.console:
            console = ConsoleOp(
                self,
                device=parts.device,
                console=parts.console,
                monitor=parts.monitor,
                name="console",
            )
            displays[console] = "frame"
        if parts.dds and parts.dds.sink and self._trigger != "lockstep":
            displays[self._frame_publisher()] = "frame"
        if parts.dds and parts.dds.igtl:
            displays[self._sink("igtl", parts.dds.igtl, lossless=False)] = "frame"
        if self._config.holoviz.enabled:
            displays[self._holoviz_feed()] = "frame"
        return displays

    def _holoviz_feed(self) -> Operator:
        """What feeds Holoviz, connected to it."""
        feed = HolovizFeedOp(self, device=self._parts.device, name="holoviz_feed")
        self.add_flow(feed, make_holoviz(self, self._config.holoviz), {("view", "receivers")})
        return feed


class FluoroApp(Graph, Application):
    """The graph as an application of its own, on one machine."""

    def __init__(self, config: Config, parts: Parts) -> None:
        self._prepare(config, parts)
        super().__init__(list(PROGRAM))
        self.scheduler(make_scheduler(self))

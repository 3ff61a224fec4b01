"""A run is put together: everything that can fail does so here, before the stream starts."""

from __future__ import annotations

import secrets
import threading
from contextlib import ExitStack
from dataclasses import dataclass

import operators.runtime  # noqa: F401  (prepares the imports below)

# isort: split

from fluoro.annotations.truth import TruthMaker, make_truth
from fluoro.config import CarmConfig, Config
from fluoro.console.controls import LiveControls
from fluoro.geometry.carm import CarmGeometry, CarmPose
from fluoro.geometry.from_config import make_geometry, make_limits, unmagnified_geometry
from fluoro.imaging.chain import ImageChain
from fluoro.poses.base import PoseSetup
from fluoro.recording.frame_sink import FrameSink
from fluoro.recording.run_record import RunRecord
from fluoro.registration.tracking.user_optimiser import Optimiser
from fluoro.rendering.devices.base import ComputeDevice
from fluoro.rendering.devices.selection import on_first_device, open_device
from fluoro.rendering.devices.trial import trial_sections
from fluoro.rendering.memory_need import report_memory
from fluoro.rendering.patient_renderer import PatientRenderer, make_patient
from fluoro.volume.load import load_volume
from fluoro.volume.volumes import MuVolume
from operators.context import Reporter, RunContext
from operators.links import Links
from operators.live_chain import held_config, lines_up, with_controls
from operators.monitor import StreamMonitor
from operators.pace import pace_fps
from operators.run_files import RunFiles
from operators.sinks import SINKS
from operators.tracking_setup import TrackingSetup, make_registration, optimiser_of, projector_of
from operators.volume_copies import make_volume_copies

__all__ = ["COMPILING", "Run", "assemble", "isocenter_of"]

COMPILING = "compiling kernels (once)"
"""Stage of a start whose kernels are not in the cache."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Run:
    """A run that is ready to start.

    Attributes:
        context: What its parts share.
        sinks: Where frames go.
        registration: Tracker or optimiser; None: there is none.
    """

    context: RunContext
    sinks: tuple[FrameSink, ...]
    registration: TrackingSetup | None


def assemble(
    config: Config,
    name: str,
    reporter: Reporter,
    started_ns: int,
    stack: ExitStack,
    *,
    shown_elsewhere: bool,
) -> Run:
    """Return the run of a configuration, everything read, compiled and opened.

    Args:
        config: What to run.
        name: Name of the run.
        reporter: Told of progress.
        started_ns: When the program started, Unix time [ns].
        stack: Closes what is opened.
        shown_elsewhere: Whether the display runs on another machine.

    Raises:
        FluoroError: Something cannot be read, prepared or opened.
    """
    config.pose_source.check()
    config = config.pose_source.completed(config)
    for sink in SINKS:
        sink.check(config)
    optimiser = optimiser_of(config)
    context = _context(config, name, reporter, started_ns, stack, shown_elsewhere)
    make_volume_copies(context)
    registration = _registration(context, optimiser)
    context.poses.open(context.links)
    stack.callback(context.poses.close)
    opened = [sink.from_config(context) for sink in SINKS]
    context.links.start()
    return Run(
        context=context,
        sinks=tuple(sink for sink in opened if sink is not None),
        registration=registration,
    )


def isocenter_of(carm: CarmConfig, volume: MuVolume) -> tuple[float, float, float]:
    """Return isocentre of the untranslated C-arm, patient LPS [mm]."""
    x, y, z = carm.isocenter_mm or volume.grid.center_xyz_mm.tolist()
    return x, y, z


def _context(
    config: Config,
    name: str,
    reporter: Reporter,
    started_ns: int,
    stack: ExitStack,
    shown_elsewhere: bool,
) -> RunContext:
    seed = secrets.randbits(63) if config.run.seed is None else config.run.seed
    volume = load_volume(config.volume, reporter.stage)
    isocenter_xyz_mm = isocenter_of(config.carm, volume)
    setup = PoseSetup(
        seed=seed,
        isocenter_xyz_mm=isocenter_xyz_mm,
        limits=make_limits(config.carm),
        image_chain=config.image_chain,
    )
    poses = config.pose_source.make(setup)
    images = config.pose_source.open_images(setup, lambda: make_geometry(config.carm))
    if images:
        stack.callback(images.close)
    # images that come ready are of the C-arm as configured: the console has no part in them
    geometry = (make_geometry if images else unmagnified_geometry)(config.carm)
    controls = LiveControls.from_config(config)
    preparation = _Preparation(
        config=config,
        reporter=reporter,
        volume=volume,
        geometry=geometry,
        isocenter_xyz_mm=isocenter_xyz_mm,
        start_pose=poses.start_pose(),
        controls=controls,
        seed=seed,
    )
    device, (renderer, chain, truth) = preparation.on_device(stack)
    record = RunRecord(
        config=config.model_dump(mode="json", by_alias=True),
        device=device.name,
        seed=seed,
        started_ns=started_ns,
        isocenter_xyz_mm=isocenter_xyz_mm,
    )
    monitor = StreamMonitor(record, pace_fps(config), device.name)
    return RunContext(
        config=config,
        reporter=reporter,
        stack=stack,
        stop=threading.Event(),
        volume=volume,
        geometry=geometry,
        isocenter_xyz_mm=isocenter_xyz_mm,
        poses=poses,
        images=images,
        controls=controls,
        device=device,
        renderer=renderer,
        chain=chain,
        truth=truth,
        monitor=monitor,
        files=RunFiles(config, name, record, stack),
        links=Links(config, isocenter_xyz_mm, monitor, controls, stack, renderer.posed),
        shown_elsewhere=shown_elsewhere,
    )


_Prepared = tuple[PatientRenderer, ImageChain, TruthMaker | None]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Preparation:
    """What renderer and image chain are prepared for."""

    config: Config
    reporter: Reporter
    volume: MuVolume
    geometry: CarmGeometry
    isocenter_xyz_mm: tuple[float, float, float]
    start_pose: CarmPose
    controls: LiveControls
    seed: int

    def on_device(self, stack: ExitStack) -> tuple[ComputeDevice, _Prepared]:
        """The device, and what is prepared on it; with `auto` the first on which that goes well."""
        wanted = self.config.renderer

        def prepare(device: ComputeDevice) -> _Prepared:
            with ExitStack() as queues:
                prepared = self._prepared(device, queues)
                kept = queues.pop_all()
            stack.callback(device.close)
            stack.push(kept)
            return prepared

        device, prepared = on_first_device(
            wanted.device, prepare, workers=wanted.workers, sections=trial_sections(self.config)
        )
        return device, prepared

    def _prepared(self, device: ComputeDevice, stack: ExitStack) -> _Prepared:
        """Renderer and image chain, their kernels compiled: the first image comes at once.

        Each has a queue of launches, so that no thread waits between two of them and one image is
        finished while the next is rendered; both have one where all launches keep one order and
        one thread makes them.
        """
        config, what = self.config, "preparing the kernels"
        report_memory(config, self.volume.grid, device)
        self.reporter.stage(what, 0.0)
        device.watch(self._compiled)
        of_renderer = device.queue()
        share = device.one_order and lines_up(config.image_chain)
        of_chain = of_renderer if share else device.queue()
        for queue in (of_renderer, of_chain):
            stack.callback(queue.close)
        renderer = make_patient(config, self.volume, of_renderer)
        chain = ImageChain(of_chain, self.seed, renderer.materials, fused=True)
        geometry = self.geometry
        view = geometry.view(self.start_pose, self.isocenter_xyz_mm)
        injected_s = 0.0 if config.volume.contrast else None
        truth = make_truth(config, self.volume, of_renderer, renderer.posed)
        if truth:
            truth.begin(view)
        integrals, rendering = renderer.start(view, 0.1, injected_s)
        if rendering:
            of_chain.after(rendering.fence)
        shown = with_controls(held_config(config), self.controls.snapshot())
        chain.prepare(integrals, shown, geometry.pixel_spacing_mm, geometry)
        if rendering:
            rendering.wait()
        self.reporter.stage(what, 1.0)
        return renderer, chain, truth

    def _compiled(self, compiled: int, missing: int) -> None:
        """Show what the first start waits for; threads that compile call this."""
        self.reporter.stage(COMPILING, compiled / missing)


def _registration(context: RunContext, optimiser: Optimiser | None) -> TrackingSetup | None:
    """Tracker or optimiser, on a device of its own: it renders while the stream does."""
    config = context.config
    if not (config.registration.enabled or config.optimiser):
        return None
    context.reporter.stage("preparing the registration", 0.0)
    device = open_device(
        config.renderer.device,
        workers=config.renderer.workers,
        sections=trial_sections(config) | {"derivatives": projector_of(config)},
    )
    context.stack.callback(device.close)
    found = make_registration(
        config,
        context.volume,
        device,
        make_geometry(config.carm),
        context.isocenter_xyz_mm,
        context.poses.start_pose(),
        optimiser,
    )
    context.reporter.stage("preparing the registration", 1.0)
    return found

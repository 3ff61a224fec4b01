"""One run from its configuration to its files: the parts, the graph, the stop, the record."""

from __future__ import annotations

import logging
import secrets
import signal
import threading
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from PIL import Image

from fluoro.config import BagPoses, CarmConfig, Config, ReceivedPoses
from fluoro.console.controls import LiveControls
from fluoro.console.scene import SceneModel
from fluoro.console.server import Console
from fluoro.console.status import StreamStatus
from fluoro.errors import DeviceError, OutputError
from fluoro.geometry.setup import make_geometry, unmagnified_geometry
from fluoro.geometry.surface import Surface
from fluoro.geometry.trajectory import make_trajectory
from fluoro.imaging.chain import ImageChain
from fluoro.imaging.frame import FluoroFrame, to_uint8
from fluoro.io.contact_sheet import write_contact_sheet
from fluoro.io.journal import FrameJournal
from fluoro.io.movie import write_scene_movie
from fluoro.io.recorder import Recorder
from fluoro.io.run_folder import make_run_folder
from fluoro.io.run_record import RunRecord
from fluoro.io.sample import EvenSample
from fluoro.io.writing import writing
from fluoro.paths import output_dir
from fluoro.rendering.choose import on_first_device, open_device
from fluoro.rendering.devices import ComputeDevice
from fluoro.rendering.patient_renderer import PatientRenderer, make_patient
from fluoro.rendering.trial import trial_sections
from fluoro.steady_clock import steady_ns
from fluoro.volume.load import load_volume
from fluoro.volume.surface import bone_surface, skin_surface
from fluoro.volume.volumes import MuVolume
from operators.dds import bag_trajectory, open_dds, open_pictures
from operators.graph import FluoroApp, Parts
from operators.holoviz import require_holoviz
from operators.live_chain import lines_up, with_controls
from operators.monitor import StreamMonitor
from operators.registration_parts import RegistrationParts, make_registration, optimiser_of
from operators.split import SplitApp, SplitOptions
from operators.stopping import StopSignals, run_app

__all__ = ["Outcome", "Reporter", "isocenter_of", "run_session"]

log = logging.getLogger(__name__)

REPORT_INTERVAL_S = 0.1
MOVIE_FPS = 15.0
FRAMES_DONE = "frames"
"""What ended a run that made all its frames."""


class _EnoughError(Exception):
    """A user does not want to wait for the movie's end."""


class Reporter(Protocol):
    """Told what goes on, in the main thread."""

    def stage(self, what: str, fraction: float) -> None:
        """Something that takes a while is done to a fraction, 0 to 1."""

    def started(self, *, console_url: str | None, device: str, folder: Path | None) -> None:
        """The stream is about to start."""

    def streaming(self, frames: int, status: StreamStatus) -> None:
        """So many frames are done."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a run ended.

    Attributes:
        summary: What run.json says, without `per_frame`.
        folder: Where its files are; None where nothing was recorded.
        signal_number: The signal that ended it, or None.
        failure: Why a loop did not get where it was to, in one line; None: there was none.
    """

    summary: dict[str, Any]
    folder: Path | None
    signal_number: int | None
    failure: str | None = None


def run_session(
    config: Config,
    name: str,
    reporter: Reporter,
    started_ns: int | None = None,
    split: SplitOptions | None = None,
) -> Outcome:
    """Run an application to its end, or until SIGINT or SIGTERM.

    Args:
        config: What to run.
        name: Of the configuration, for the folder's name.
        reporter: Told of progress.
        started_ns: When the program started, Unix time [ns]; None: now.
        split: The display runs on another machine, and joins by these; None: it runs here.

    Raises:
        FluoroError: Something cannot be read, written or rendered; files are closed before.
    """
    with ExitStack() as stack:
        session = _Session(config, name, reporter, stack, started_ns or steady_ns(), split)
        return session.run()


class _Session:
    """The parts of a run; closing them is registered with the exit stack as they are made."""

    def __init__(
        self,
        config: Config,
        name: str,
        reporter: Reporter,
        stack: ExitStack,
        started_ns: int,
        split: SplitOptions | None,
    ) -> None:
        self._config, self._reporter, self._split = config, reporter, split
        self._run_name = config.run.name or f"{name}-{datetime.now():%Y%m%d-%H%M%S}"
        self._seed = secrets.randbits(63) if config.run.seed is None else config.run.seed
        self._trajectory = make_trajectory(config.pose_source, self._seed)
        if config.holoviz.enabled:
            require_holoviz()
        self._optimiser = optimiser_of(config)
        self._volume = load_volume(config.volume, reporter.stage)
        self._geometry = unmagnified_geometry(config.carm)
        self._isocenter_xyz_mm = isocenter_of(config.carm, self._volume)
        if isinstance(config.pose_source, BagPoses):
            self._trajectory = bag_trajectory(config.pose_source, self._isocenter_xyz_mm)
            if config.pose_source.pictures:  # the console has no part in them
                self._geometry = make_geometry(config.carm)
        self._pictures = open_pictures(config, self._isocenter_xyz_mm, self._geometry, stack)
        self._controls = LiveControls.from_config(config)
        self._device, (self._renderer, self._chain) = self._on_device(stack)
        self._surfaces = self._make_surfaces()
        self._record = RunRecord(
            config=config.model_dump(mode="json", by_alias=True),
            device=self._device.name,
            seed=self._seed,
            started_ns=started_ns,
            isocenter_xyz_mm=self._isocenter_xyz_mm,
        )
        self._monitor = StreamMonitor(self._record, self._target_fps(), self._device.name)
        self._sample = EvenSample(expected=config.run.frames)
        self._console, self._url = self._open_console(stack)
        self._journal: FrameJournal | None = None
        stack.callback(lambda: self._journal and self._journal.close())
        self._folder = self._make_folder() if config.recorder.enabled else None
        self._recorder = self._open_recorder(stack)
        self._stop = threading.Event()
        self._registration = self._make_registration(stack)
        self._dds = open_dds(
            config,
            self._isocenter_xyz_mm,
            self._monitor,
            self._controls,
            self._folder,
            stack,
        )
        self._signals = StopSignals(self._stop)

    def _on_device(
        self, stack: ExitStack
    ) -> tuple[ComputeDevice, tuple[PatientRenderer, ImageChain]]:
        """The device, and what is prepared on it; with `auto` the first on which that goes well."""
        wanted = self._config.renderer

        def prepare(device: ComputeDevice) -> tuple[PatientRenderer, ImageChain]:
            with ExitStack() as queues:
                prepared = self._prepared(device, queues)
                kept = queues.pop_all()
            stack.callback(device.close)
            stack.push(kept)
            return prepared

        return on_first_device(
            wanted.device, prepare, workers=wanted.workers, sections=trial_sections(self._config)
        )

    def _prepared(
        self, device: ComputeDevice, stack: ExitStack
    ) -> tuple[PatientRenderer, ImageChain]:
        """Renderer and image chain, their kernels compiled: the first picture comes at once.

        Each has a queue of launches, so that nobody waits between two of them and one picture is
        finished while the next is rendered; both have one where all launches keep one order and
        one thread makes them.
        """
        config, what = self._config, "preparing the kernels"
        self._reporter.stage(what, 0.0)
        of_renderer = device.queue()
        share = device.one_order and lines_up(config.image_chain)
        of_chain = of_renderer if share else device.queue()
        for queue in (of_renderer, of_chain):
            stack.callback(queue.close)
        renderer = make_patient(config, self._volume, of_renderer)
        chain = ImageChain(of_chain, self._seed, renderer.materials, fused=True)
        view = self._geometry.view(self._trajectory(0.0), self._isocenter_xyz_mm)
        geometry = self._geometry
        injected_s = 0.0 if config.volume.contrast else None
        integrals = renderer.render(view, 0.1, injected_s)
        shown = with_controls(config.image_chain, self._controls.snapshot())
        chain.prepare(integrals, shown, geometry.pixel_spacing_mm, geometry)
        self._reporter.stage(what, 1.0)
        return renderer, chain

    def _make_registration(self, stack: ExitStack) -> RegistrationParts | None:
        """Tracker or optimiser, on a device of its own: it renders while the stream does."""
        config = self._config
        if not (config.registration.enabled or config.optimiser):
            return None
        self._reporter.stage("preparing the registration", 0.0)
        device = open_device(
            config.renderer.device,
            workers=config.renderer.workers,
            sections=trial_sections(config),
        )
        stack.callback(device.close)
        found = make_registration(
            config,
            self._volume,
            device,
            make_geometry(config.carm),
            self._isocenter_xyz_mm,
            self._trajectory(0.0),
            self._optimiser,
        )
        self._reporter.stage("preparing the registration", 1.0)
        return found

    def _target_fps(self) -> float | None:
        source = self._config.pose_source
        if isinstance(source, ReceivedPoses) and source.trigger != "clock":
            return None
        return self._config.run.fps if self._config.run.pacing == "paced" else None

    def _make_folder(self) -> Path:
        return make_run_folder(self._config.run.output_dir or output_dir(), self._run_name)

    def _make_surfaces(self) -> tuple[Surface, Surface] | None:
        """Skin and bone, where something draws them."""
        recorder = self._config.recorder
        console = self._config.console.enabled and not self._split
        if not (console or (recorder.enabled and recorder.scene_movie)):
            return None
        self._reporter.stage("shaping the patient", 0.0)
        water = self._volume.water_mu_per_mm
        surfaces = skin_surface(self._volume, water), bone_surface(self._volume, water)
        self._reporter.stage("shaping the patient", 1.0)
        return surfaces

    def _open_recorder(self, stack: ExitStack) -> Recorder | None:
        if self._folder is None:
            return None
        self._record.write(self._folder / "run.json")
        self._journal = FrameJournal(self._folder)
        config = self._config.recorder
        shown = config.contact_sheet or config.scene_movie
        recorder = Recorder(
            self._folder,
            config,
            self._config.run.fps,
            drop_when_full=self._config.run.pacing == "paced",
            sample=self._sample if shown else None,
            isocenter_xyz_mm=self._isocenter_xyz_mm,
            journal=self._journal,
        )
        stack.callback(recorder.close)
        return recorder

    def _open_console(self, stack: ExitStack) -> tuple[Console | None, str | None]:
        if not self._config.console.enabled or self._split:
            return None, None
        skin, bone = self._surfaces or (None, None)
        scene = SceneModel(
            isocenter_xyz_mm=self._isocenter_xyz_mm,
            skin=skin,
            bone=bone,
            patient_position=self._config.volume.patient_position,
        )
        console = Console(
            self._config.console, self._controls, scene=scene, on_save=self._save_frame
        )
        url = console.start()
        stack.callback(console.close)
        return console, url

    def _save_frame(self, frame: FluoroFrame) -> Path:
        """Write one frame for a user who asked for it on the console."""
        if self._folder is None:
            self._folder = self._make_folder()
            self._journal = FrameJournal(self._folder)
        if self._recorder is None and self._journal:
            self._journal.write(frame)
        path = self._folder / "saved" / f"frame_{frame.number:06d}.png"
        with writing(path):
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(to_uint8(frame.image)).save(path)
        return path

    def run(self) -> Outcome:
        """Stream, close the files, write the record."""
        with self._signals:
            try:
                self._stream_to_files()
            except Exception as error:
                self._give_up(error)
                raise
            number = next(iter(self._signals.caught), None)
            summary = self._write_record(signal.Signals(number).name if number else FRAMES_DONE)
        failure = self._registration.failure() if self._registration and not number else None
        return Outcome(summary=summary, folder=self._folder, signal_number=number, failure=failure)

    def _stream_to_files(self) -> None:
        self._stream()
        if self._recorder:
            self._recorder.close()
        interrupted = bool(self._signals.caught)
        ends_itself = self._registration is not None and self._registration.loops
        complete = ends_itself or self._monitor.frames == self._frames_wanted()
        if not interrupted and not complete:
            wanted = self._frames_wanted() or "unlimited"
            why = "; is the display's machine gone?" if self._split else ""
            raise DeviceError(
                f"the graph ended after {self._monitor.frames} of {wanted} frames{why}"
            )
        with suppress(_EnoughError):
            self._finish(interrupted=interrupted)

    def _stream(self) -> None:
        parts = self._parts()
        if self._split:
            app = SplitApp(self._config, self._split, parts)
        else:
            app = FluoroApp(self._config, parts)
        self._reporter.started(console_url=self._url, device=self._device.name, folder=self._folder)
        failure: list[BaseException] = []
        thread = threading.Thread(target=run_app, args=(app, failure), name="graph", daemon=True)
        thread.start()
        while thread.is_alive():
            self._signals.hold()
            thread.join(REPORT_INTERVAL_S)
            self._reporter.streaming(self._monitor.frames, self._monitor.status())
            if self._split and self._stop.is_set() and not self._monitor.frames:
                break  # it waits for the display's machine, and nothing can end that
        if failure:
            raise failure[0]

    def _parts(self) -> Parts:
        return Parts(
            device=self._device,
            renderer=self._renderer,
            chain=self._chain,
            trajectory=self._trajectory,
            geometry=self._geometry,
            isocenter_xyz_mm=self._isocenter_xyz_mm,
            controls=self._controls,
            monitor=self._monitor,
            stop=self._stop,
            console=self._console,
            recorder=self._recorder,
            dds=self._dds,
            registration=self._registration,
            pictures=self._pictures,
        )

    def _frames_wanted(self) -> int | None:
        """After how many frames the run is complete; None: it has no end."""
        wanted = self._config.run.frames
        if self._pictures is None:
            return wanted
        return min(self._pictures.count, wanted or self._pictures.count)

    def _finish(self, *, interrupted: bool) -> None:
        """The pictures that are made from the whole run; the movie only where there is time."""
        if self._folder and self._registration:
            self._registration.write_plot(self._folder)
        frames, recorder = self._sample.frames, self._config.recorder
        if self._folder is None or not frames:
            return
        if recorder.contact_sheet:
            write_contact_sheet(self._folder / "contact_sheet.png", frames, self._run_name)
        if recorder.scene_movie and self._surfaces and not interrupted:
            skin, bone = self._surfaces
            write_scene_movie(
                self._folder / "carm_sweep.mp4",
                frames,
                skin,
                bone,
                self._isocenter_xyz_mm,
                patient_position=self._config.volume.patient_position,
                fps=MOVIE_FPS,
                progress=self._movie_progress,
            )

    def _movie_progress(self, share: float) -> None:
        self._reporter.stage("drawing carm_sweep.mp4", share)
        if self._stop.is_set():
            raise _EnoughError

    def _give_up(self, error: Exception) -> None:
        """Close what can be closed; what fails now is no news."""
        with suppress(Exception):
            if self._recorder:
                self._recorder.close()
        with suppress(OutputError):
            self._write_record(f"{type(error).__name__}: {error}")

    def _write_record(self, stopped_by: str) -> dict[str, Any]:
        sinks = {"recorder": self._recorder, "console": self._console}
        dropped = {name: 0 for name, sink in sinks.items() if sink} | self._monitor.dropped()
        dropped |= self._dds.dropped() if self._dds else {}
        if self._registration:
            self._record.attach(self._registration.sections(), self._registration.tables())
        completed = stopped_by == FRAMES_DONE
        ending = {"dropped": dropped, "completed": completed, "stopped_by": stopped_by}
        if self._folder is None or self._journal is None:
            return self._record.summary(**ending)
        path, journal = self._folder / "run.json", self._journal
        try:
            summary = self._record.write(path, journal.rows(), **ending)
        except OutputError:
            log.warning("app.py repair %s makes run.json of %s", self._folder, journal.path.name)
            raise
        journal.remove()
        return summary


def isocenter_of(carm: CarmConfig, volume: MuVolume) -> tuple[float, float, float]:
    """Isocentre of the untranslated C-arm, patient LPS [mm]."""
    x, y, z = carm.isocenter_mm or volume.grid.center_xyz_mm.tolist()
    return x, y, z

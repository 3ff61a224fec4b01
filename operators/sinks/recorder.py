"""Every frame into the run's record and, where one is wanted, to the recorder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fluoro.imaging.frame import FluoroFrame
from fluoro.imaging.skin_dose import SkinDoseMap
from fluoro.plot.contact_sheet import write_contact_sheet
from fluoro.plot.scene_movie import write_scene_movie
from fluoro.plot.skin_dose_image import write_skin_dose_image
from fluoro.recording.formats.coco_writer import CocoWriter
from fluoro.recording.frame_sampler import EvenSample
from fluoro.recording.recorder import Recorder
from fluoro.xray_files.recorded import Recording
from operators.monitor import StreamMonitor
from operators.sinks.base import Sink

if TYPE_CHECKING:
    from operators.context import RunContext

__all__ = ["RecorderSink"]

MOVIE_FPS = 15.0


class RecorderSink(Sink):
    """Counts each frame and passes it to the recorder, which drops or waits as configured.

    Args:
        monitor: Counts every frame.
        recording: Writes files, and the images of the whole run; None: frames are only counted.
    """

    name, port = "recorder", "record"

    def __init__(self, monitor: StreamMonitor, recording: _Recording | None) -> None:
        self._monitor, self._recording = monitor, recording

    @classmethod
    def from_config(cls, context: RunContext) -> RecorderSink:
        """Return the recorder; without files where the configuration has none."""
        context.files.open()
        enabled = context.config.recorder.enabled
        return cls(context.monitor, _Recording(context) if enabled else None)

    def take(self, frame: FluoroFrame) -> None:
        """Count and record one frame."""
        self._monitor.add(frame)
        if self._recording:
            self._recording.see(frame)
        if self._recording and not self._recording.recorder.put(frame):
            self._monitor.count_dropped(self.name)

    def flush(self) -> None:
        """Write what waits, and close the files."""
        if self._recording:
            self._recording.recorder.close()

    def conclude(self, *, interrupted: bool) -> None:
        """Draw the contact sheet, and the movie where there is time."""
        if self._recording:
            self._recording.draw(with_movie=not interrupted)

    def dropped(self) -> dict[str, int]:
        """Return 0 for the recorder: the monitor counts what it refuses."""
        return {self.name: 0} if self._recording else {}


class _Recording:
    """The recorder, and the images that are drawn from the whole run.

    Args:
        context: The run, whose folder is made.
    """

    def __init__(self, context: RunContext) -> None:
        self._context, config = context, context.config
        self._sample = EvenSample(expected=config.run.frames)
        wanted = config.recorder.skin_dose_map
        self._skin_dose = SkinDoseMap(context.isocenter_xyz_mm) if wanted else None
        shown = config.recorder.contact_sheet or config.recorder.scene_movie
        self.recorder = Recorder(
            context.files.folder,
            config.recorder,
            config.run.fps,
            drop_when_full=config.run.pacing == "paced",
            sample=self._sample if shown else None,
            isocenter_xyz_mm=context.isocenter_xyz_mm,
            journal=context.files.journal,
            dicom=self._dicom(),
            annotations=self._annotations(),
        )
        context.stack.callback(self.recorder.close)

    def _dicom(self) -> Recording | None:
        """How the run is written as DICOM; None: it is not."""
        context = self._context
        if "dicom" not in context.config.recorder.formats:
            return None
        return Recording.of(context.config, context.files.name, context.isocenter_xyz_mm)

    def _annotations(self) -> CocoWriter | None:
        context = self._context
        if context.truth is None:
            return None
        png = "png" in context.config.recorder.formats
        images = "frames/frame_{:04d}.png" if png else ""
        return CocoWriter(context.files.folder, context.config.annotations, context.truth, images)

    def see(self, frame: FluoroFrame) -> None:
        """Take a frame into the skin dose map, where one is wanted."""
        if self._skin_dose:
            self._skin_dose.add(frame)

    def draw(self, *, with_movie: bool) -> None:
        """Draw what the configuration enables, where there are frames."""
        frames, files = self._sample.frames, self._context.files
        if self._skin_dose:
            write_skin_dose_image(files.folder / "skin_dose.png", self._skin_dose, files.name)
        if not frames:
            return
        if self._context.config.recorder.contact_sheet:
            write_contact_sheet(files.folder / "contact_sheet.png", frames, files.name)
        if self._context.config.recorder.scene_movie and with_movie:
            self._draw_movie(frames)

    def _draw_movie(self, frames: list[FluoroFrame]) -> None:
        context = self._context
        context.reporter.stage("shaping the patient", 0.0)
        skin, bone = context.surfaces()
        context.reporter.stage("shaping the patient", 1.0)
        write_scene_movie(
            context.files.folder / "carm_sweep.mp4",
            frames,
            skin,
            bone,
            context.isocenter_xyz_mm,
            patient_position=context.config.volume.patient_position,
            fps=MOVIE_FPS,
            progress=self._movie_progress,
        )

    def _movie_progress(self, share: float) -> None:
        self._context.reporter.stage("drawing carm_sweep.mp4", share)

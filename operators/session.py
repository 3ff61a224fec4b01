"""One run from its configuration to its files: the stream, the stop, the record."""

from __future__ import annotations

import logging
import signal
import threading
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from fluoro.config import Config
from fluoro.errors import DeviceError, OutputError
from fluoro.steady_clock import steady_ns
from operators.assembly import Run, assemble
from operators.context import Reporter
from operators.distributed_app import SplitApp, SplitOptions
from operators.graph import FluoroApp
from operators.shutdown import StopSignals, run_app

__all__ = ["Outcome", "run_session"]

log = logging.getLogger(__name__)

REPORT_INTERVAL_S = 0.1
FRAMES_DONE = "frames"
"""What ended a run that made all its frames."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a run ended.

    Attributes:
        summary: What run.json says, without `per_frame`.
        folder: Where its files are; None where nothing was recorded.
        signal_number: The signal that ended it, or None.
        failure: Why a loop did not reach its goal, in one line; None: no failure.
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
    run_name = config.run.name or f"{name}-{datetime.now():%Y%m%d-%H%M%S}"
    started_ns = started_ns or steady_ns()
    with ExitStack() as stack:
        elsewhere = split is not None
        run = assemble(config, run_name, reporter, started_ns, stack, shown_elsewhere=elsewhere)
        return _Session(run, split).outcome()


class _Session:
    """Streams a run, closes its files and writes its record.

    Args:
        run: What is ready to start.
        split: The display runs on another machine, and joins by these; None: it runs here.
    """

    def __init__(self, run: Run, split: SplitOptions | None) -> None:
        self._run, self._context, self._split = run, run.context, split
        self._signals = StopSignals(run.context.stop)

    def outcome(self) -> Outcome:
        """Stream, close the files, write the record."""
        with self._signals:
            try:
                self._stream_to_files()
            except Exception as error:
                self._give_up(error)
                raise
            number = next(iter(self._signals.caught), None)
            done = number is None or self._has_all_frames()
            summary = self._write_record(FRAMES_DONE if done else signal.Signals(number).name)
        folder, failure = self._context.files.folder, None if number else self._failure()
        return Outcome(summary=summary, folder=folder, signal_number=number, failure=failure)

    def _failure(self) -> str | None:
        """Why a loop did not get where it was to, in one line."""
        registration = self._run.registration
        failure = self._context.poses.failure()
        return failure or (registration.failure() if registration else None)

    def _stream_to_files(self) -> None:
        self._stream()
        for sink in self._run.sinks:
            sink.flush()
        interrupted = bool(self._signals.caught)
        if not interrupted:
            self._require_all_frames()
        folder, registration = self._context.files.folder, self._run.registration
        if folder and registration:
            registration.write_plot(folder)
        self._conclude(interrupted)

    def _conclude(self, interrupted: bool) -> None:
        """Draw what is drawn of the whole run; a signal meanwhile ends that, not the run."""
        try:
            with self._signals.raised():
                for sink in self._run.sinks:
                    sink.conclude(interrupted=interrupted)
        except KeyboardInterrupt:
            log.warning("interrupted: films of the whole run are missing, its frames are there")

    def _has_all_frames(self) -> bool:
        """Whether the run has made as many frames as it was to."""
        wanted = self._frames_wanted()
        return wanted is not None and self._context.monitor.frames >= wanted

    def _require_all_frames(self) -> None:
        """Refuse a stream that ended by itself before its last frame."""
        registration, frames = self._run.registration, self._context.monitor.frames
        wanted = self._frames_wanted()
        ends_itself = self._context.config.pose_source.loops() or (
            registration and registration.loops
        )
        if frames == wanted or ends_itself:
            return
        why = "; is the display's machine gone?" if self._split else ""
        raise DeviceError(f"the graph ended after {frames} of {wanted or 'unlimited'} frames{why}")

    def _stream(self) -> None:
        context, monitor = self._context, self._context.monitor
        context.files.begin()
        app = SplitApp(self._split, self._run) if self._split else FluoroApp(self._run)
        url = next((sink.url for sink in self._run.sinks if sink.url), None)
        context.reporter.started(
            console_url=url,
            device=context.device.name,
            folder=context.files.folder,
            links=context.links.lines(),
        )
        failure: list[BaseException] = []
        thread = threading.Thread(target=run_app, args=(app, failure), name="graph", daemon=True)
        thread.start()
        while thread.is_alive():
            self._signals.hold()
            thread.join(REPORT_INTERVAL_S)
            context.reporter.streaming(monitor.frames, monitor.status())
            if self._split and context.stop.is_set() and not monitor.frames:
                break  # it waits for the display's machine, and nothing can end that
        if failure:
            raise failure[0]

    def _frames_wanted(self) -> int | None:
        """After how many frames the run is complete; None: it has no end."""
        wanted, images = self._context.config.run.frames, self._context.images
        return wanted if images is None else min(images.count, wanted or images.count)

    def _give_up(self, error: Exception) -> None:
        """Close what can be closed; what fails now is no news."""
        for sink in self._run.sinks:
            with suppress(Exception):
                sink.flush()
        with suppress(OutputError):
            self._write_record(f"{type(error).__name__}: {error}")

    def _write_record(self, stopped_by: str) -> dict[str, Any]:
        context, registration = self._context, self._run.registration
        lost = [sink.dropped() for sink in self._run.sinks]
        dropped = {name: count for sink in lost for name, count in sink.items()}
        dropped |= context.monitor.dropped() | context.links.dropped()
        context.files.record.attach(context.poses.facts(), {})
        if registration:
            context.files.record.attach(registration.sections(), registration.tables())
        return context.files.write_record(
            dropped=dropped, completed=stopped_by == FRAMES_DONE, stopped_by=stopped_by
        )

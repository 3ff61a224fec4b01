"""Makes a training set: what is missing of it, by as many workers as are requested."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from fluoro.config import Config
from fluoro.datasets.training.config import DatasetFile
from fluoro.datasets.training.plan import Plan, ShardReport
from fluoro.datasets.training.processes import Done, Event, Failed, Step, in_processes
from fluoro.datasets.training.ray_cluster import in_cluster
from fluoro.datasets.training.sampling import Sampler, checked_config
from fluoro.datasets.training.set_folder import (
    begin,
    clear_leftovers,
    finished_reports,
    locked,
    write_index,
)
from fluoro.datasets.training.shard_maker import ENTRY
from fluoro.datasets.training.shards import require_packages
from fluoro.errors import InputError
from fluoro.rendering.devices.cpu.worker_threads import available_cores
from fluoro.rendering.devices.selection import choose_device

__all__ = ["BuildOutcome", "WorkReporter", "build", "checked_frames", "plan_of"]

FRAMES_CHECKED = 200
"""Drawn and checked before anything is rendered."""


class WorkReporter(Protocol):
    """Receives the progress of the work."""

    def work(self, what: str, done: int, total: int, progress: str) -> None:
        """Report that `done` of `total` is done; `progress` is rate and time left in words."""


@dataclass(kw_only=True)
class BuildOutcome:
    """What came of it.

    Attributes:
        frames: Frames of the set that are there.
        wanted: Frames of the set.
        made: Frames that were made now.
        bytes: Of all files.
        seconds: Time that it took now [s].
        left_out: Number of frames that could not be made, by the reason.
        failures: Files that are missing, a line each.
    """

    frames: int = 0
    wanted: int
    made: int = 0
    bytes: int = 0
    seconds: float = 0.0
    left_out: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether every frame is there."""
        return self.frames == self.wanted

    def line(self) -> str:
        """Return the result in one line."""
        rate = f", {self.made / self.seconds:.1f} frames/s" if self.made else ""
        return f"{self.frames} of {self.wanted} frames, {self.bytes / 1e6:.1f} MB{rate}"

    def problems(self) -> list[str]:
        """Return what is missing, and why."""
        found = [f"{count} frames left out: {why}" for why, count in self.left_out.items()]
        found += self.failures
        if self.failures:
            found.append("finished files are kept: the same command makes the others")
        return found


def plan_of(file: DatasetFile, out: Path, workers: int | None = None) -> tuple[Plan, int]:
    """Return the plan of a set and the number of workers, the device chosen.

    Args:
        file: The training set's file.
        out: Folder of the set.
        workers: How many; None: one per core on a CPU, else one.

    Raises:
        InputError: Fewer than one worker.
        DeviceError: The device is not there.
    """
    if workers is not None and workers < 1:
        raise InputError(f"--workers must be at least 1, got {workers}")
    renderer = file.document.get("renderer") or {}
    wanted = renderer.get("device", "auto")
    device = choose_device(wanted if isinstance(wanted, str) else "cpu").name
    if wanted == "auto" and not any(name.startswith("$") for name in renderer):
        document = {**file.document, "renderer": {**renderer, "device": device}}
        file = replace(file, document=document)
    cores = available_cores()
    count = workers or (cores if device == "cpu" else 1)
    return Plan(file=file, out=out.absolute(), threads=max(1, cores // count)), count


def build(
    file: DatasetFile,
    out: Path | str,
    reporter: WorkReporter,
    *,
    workers: int | None = None,
    ray_address: str | None = None,
) -> BuildOutcome:
    """Make what is missing of a training set.

    Args:
        file: The training set's file.
        out: Folder of the set.
        reporter: Receives the progress.
        workers: Processes; None: one per core on a CPU, else one. Without effect on a cluster,
            which runs as many tasks as it has cores, or GPUs.
        ray_address: Cluster whose machines do the work, `local` for this one; None: processes.

    Raises:
        InputError: Frames that cannot be drawn, a package that is not installed, a folder that was
            begun with another configuration.
        OutputError: The folder cannot be written.
        DeviceError: The device is not there.
    """
    out = Path(out)
    require_packages(file.config.format)
    for _ in checked_frames(file):
        pass
    plan, count = plan_of(file, out, workers)
    with locked(plan.out):
        begin(plan)
        found = finished_reports(plan)
        reports = {number: each for number, each in found.items() if not each.left_out}
        missing = [n for n in range(file.config.shards) if n not in reports]
        events = _events(plan, missing, count, ray_address)
        try:
            return _Building(plan, reports, reporter).outcome(events)
        finally:
            clear_leftovers(plan.out)


def checked_frames(file: DatasetFile) -> Iterator[Config]:
    """Yield the configurations of frames from all over the set.

    Raises:
        InputError: What is drawn for a frame does not fit.
    """
    sampler, frames = Sampler(file), file.config.frames
    count = min(FRAMES_CHECKED, frames)
    for turn in range(count):
        yield checked_config(sampler.spec(turn * frames // count), file.folder)


def _events(plan: Plan, missing: list[int], count: int, ray_address: str | None) -> Iterator[Event]:
    if not missing:
        return iter(())
    if ray_address is None:
        return in_processes(ENTRY, plan.text(), missing, count)
    return in_cluster(plan, missing, ray_address)


class _Building:
    """Counts what is made."""

    def __init__(self, plan: Plan, reports: dict[int, ShardReport], reporter: WorkReporter) -> None:
        self._plan, self._reports, self._reporter = plan, reports, reporter
        self._outcome = BuildOutcome(wanted=plan.file.config.frames)
        self._begun_s = time.monotonic()
        self._before = sum(len(report.rows) for report in reports.values())
        self._bytes = 0

    def outcome(self, events: Iterator[Event]) -> BuildOutcome:
        """Return the outcome when all is done."""
        outcome, plan = self._outcome, self._plan
        for event in events:
            self._take(event)
        outcome.seconds = time.monotonic() - self._begun_s
        for report in self._reports.values():
            outcome.frames += len(report.rows)
            outcome.bytes += report.bytes
            outcome.left_out.update(report.left_out)
        if not outcome.failures:
            write_index(plan, list(self._reports.values()))
        return outcome

    def _take(self, event: Event) -> None:
        outcome = self._outcome
        if isinstance(event, Step):
            outcome.made += 1
            self._bytes += event.bytes
            self._report()
        elif isinstance(event, Done):
            self._reports[event.number] = event.result
        elif isinstance(event, Failed):
            outcome.failures.append(event.reason)

    def _report(self) -> None:
        outcome = self._outcome
        done, seconds = outcome.made, time.monotonic() - self._begun_s
        rate = done / max(seconds, 1e-9)
        left_s = (outcome.wanted - self._before - done) / rate
        self._reporter.work(
            "frames",
            self._before + done,
            outcome.wanted,
            f"{rate:.1f}/s, {_clock(left_s)} left, {self._bytes / 1e6:.0f} MB",
        )


def _clock(seconds: float) -> str:
    minutes, second = divmod(max(0, round(seconds)), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}"

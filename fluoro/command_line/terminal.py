"""Progress on the terminal: bars, or lines where bars do not fit."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, SpinnerColumn, Task, TextColumn, TimeElapsedColumn
from rich.table import Column
from rich.text import Text

from fluoro.console.stream_status import StreamStatus

if TYPE_CHECKING:
    from fluoro.registration.report.result import Step

__all__ = ["Bars", "Reporter", "make_reporter", "say", "terminal"]

PLAIN_INTERVAL_S = 10.0
"""Between two lines on the same matter where no bar can be drawn."""

terminal = Console(stderr=True, highlight=False, soft_wrap=True)
"""Where all of it goes: standard error, so that standard output keeps the results."""


class Reporter:
    """Reports progress to the user, one line for each step; base class of `Bars`."""

    def __init__(self, total_frames: int | None) -> None:
        self._total_frames = total_frames
        self._told: dict[str, float] = {}

    def close(self) -> None:
        """End the display of progress."""

    def stage(self, what: str, fraction: float) -> None:
        """Tell how far a stage is."""
        self._tell(what, f"{fraction:.0%}")

    def started(
        self, *, console_url: str | None, device: str, folder: Path | None, links: Sequence[str]
    ) -> None:
        """Print the device, the folder, where other programs connect, the console's address."""
        say(f"rendering on  {device}")
        if folder:
            say(f"recording to  {folder}")
        for line in links:
            say(line)
        if console_url:
            say(f"console at    {console_url}", style="bold cyan")
        say("stop with     Ctrl-C")

    def streaming(self, frames: int, status: StreamStatus) -> None:
        """Tell how the stream is doing."""
        self._tell("streaming", self._status_text(frames, status))

    def work(self, what: str, done: int, total: int, progress: str) -> None:
        """Tell how much of some work is done."""
        self._tell(what, f"{done}/{total} {progress}")

    def iteration(self, number: int, step: Step, mtre_mm: float | None) -> None:
        """Tell how a registration is doing, a line for each iteration."""
        what = f"{step.level} px, start {step.candidate}, iteration {step.iteration}"
        error = "" if mtre_mm is None else f"  mTRE {mtre_mm:.2f} mm"
        say(f"{number:4d}  {what:<34}  cost {step.cost:.4g}{error}")

    def _status_text(self, frames: int, status: StreamStatus) -> str:
        total = f"/{self._total_frames}" if self._total_frames else " frames"
        return f"{frames}{total} {status.fps:5.1f} fps"

    def _tell(self, what: str, text: str) -> None:
        now_s = time.monotonic()
        if what not in self._told:
            say(what)
        elif now_s - self._told[what] >= PLAIN_INTERVAL_S:
            say(f"{what}  {text}")
        else:
            return
        self._told[what] = now_s


class Bars(Reporter):
    """Reports progress with a bar for each stage and for the stream, in 80 columns."""

    def __init__(self, total_frames: int | None) -> None:
        super().__init__(total_frames)
        self._progress = Progress(
            Mark(),
            TextColumn("{task.description}", markup=False, table_column=narrow(26)),
            BarColumn(bar_width=18),
            TextColumn("{task.fields[text]}", table_column=narrow(24)),
            TimeElapsedColumn(),
            console=terminal,
        )
        self._tasks: dict[str, Task] = {}
        self._progress.start()

    def close(self) -> None:
        """Leave the bars as they are."""
        for task in self._tasks.values():
            if task.total is None:
                self._progress.update(task.id, total=task.completed)
            self._progress.stop_task(task.id)
        self._progress.stop()

    def stage(self, what: str, fraction: float) -> None:
        """Show how far a stage is."""
        self._show(what, fraction, 1.0, f"{fraction:4.0%}")

    def streaming(self, frames: int, status: StreamStatus) -> None:
        """Show how the stream is doing."""
        self._show("streaming", frames, self._total_frames, self._status_text(frames, status))

    def work(self, what: str, done: int, total: int, progress: str) -> None:
        """Show how much of some work is done."""
        self._show(what, done, total, progress)

    def iteration(self, number: int, step: Step, mtre_mm: float | None) -> None:
        """Show how a registration is doing: a line for each level."""
        what = f"iterations at {step.level} px"
        self._show(what, number, None, iteration_text(step, mtre_mm))

    def _show(self, what: str, completed: float, total: float | None, text: str) -> None:
        if what not in self._tasks:
            number = self._progress.add_task(what, total=total, text="")
            self._tasks[what] = self._progress.tasks[number]
        self._progress.update(self._tasks[what].id, completed=completed, text=text)


class Mark(SpinnerColumn):
    """A column that spins while a task runs; then a tick, or a square if it was stopped."""

    def __init__(self) -> None:
        self._plain = not terminal.encoding.startswith("utf")
        super().__init__("line" if self._plain else "dots")

    def render(self, task: Task) -> RenderableType:
        """Return the mark of a task."""
        if task.finished:
            return Text("+" if self._plain else "\N{CHECK MARK}", style="green")
        if task.stop_time is not None:
            return Text("#" if self._plain else "\N{BLACK SQUARE}", style="yellow")
        return super().render(task)


def iteration_text(step: Step, mtre_mm: float | None) -> str:
    """Return the cost and error in few words."""
    error = "" if mtre_mm is None else f"{mtre_mm:.2f} mm "
    return f"{error}cost {step.cost:.1e}"


def narrow(width: int) -> Column:
    """Return a column of fixed width; what is longer is cut."""
    return Column(width=width, no_wrap=True, overflow="ellipsis")


def say(text: str, style: str | None = None) -> None:
    """Print a line to the terminal, above the bars."""
    terminal.print(text, style=style, markup=False)


def make_reporter(total_frames: int | None = None) -> Reporter:
    """Bars on a terminal, lines elsewhere."""
    drawn = terminal.is_terminal and not terminal.is_dumb_terminal
    return Bars(total_frames) if drawn else Reporter(total_frames)

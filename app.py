#!/usr/bin/env python3
"""fluoro: live fluoroscopy from a CT.

    app.py run configs/sweep.yaml            stream what a YAML file describes
    app.py validate configs/sweep.yaml       check a YAML file
    app.py schema                            JSON Schema of the YAML, for editors
    app.py fetch chest-ct                    bring a public CT
    app.py inspect CT.nii.gz                 what is in a file, with a picture of its slices
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from pathlib import Path

from rich.console import Console as Terminal
from rich.logging import RichHandler
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from fluoro.config import Config, load_config
from fluoro.console.status import StreamStatus
from fluoro.errors import FluoroError

EXIT_BAD_INPUT = 2
EXIT_FAILED = 1
EXIT_SIGNAL = 128
"""Plus the signal's number, as shells have it: 130 for Ctrl-C, 143 for SIGTERM."""

terminal = Terminal(stderr=True, highlight=False)


class TerminalReporter:
    """A progress bar for what takes a while, and one for the stream."""

    def __init__(self, total_frames: int | None) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeElapsedColumn(),
            console=terminal,
        )
        self._tasks: dict[str, TaskID] = {}
        self._total_frames = total_frames
        self._progress.start()

    def close(self) -> None:
        """Leave the bars as they are."""
        self._progress.stop()

    def _task(self, what: str, total: float | None) -> TaskID:
        if what not in self._tasks:
            self._tasks[what] = self._progress.add_task(what, total=total, figures="")
        return self._tasks[what]

    def stage(self, what: str, fraction: float) -> None:
        """Show how far a stage is."""
        self._progress.update(self._task(what, 1.0), completed=fraction)

    def started(self, *, console_url: str | None, device: str, folder: Path | None) -> None:
        """Say where to look."""
        self._progress.console.print(f"rendering on {device}")
        if folder:
            self._progress.console.print(f"recording to {folder}")
        if console_url:
            self._progress.console.print(f"console at   {console_url}", style="bold")

    def streaming(self, frames: int, status: StreamStatus) -> None:
        """Show how the stream is doing."""
        figures = f"{frames} frames  {status.fps:5.1f} fps"
        task = self._task("streaming", self._total_frames)
        self._progress.update(task, completed=frames, figures=figures)


def run(arguments: argparse.Namespace) -> int:
    """Stream what a YAML file describes."""
    from fluoro.io.run_record import summary_lines
    from operators.session import run_session

    config = load_config(arguments.config, _overrides(arguments))
    reporter = TerminalReporter(config.run.frames)
    try:
        outcome = run_session(config, arguments.config.stem, reporter)
    finally:
        reporter.close()
    for line in summary_lines(outcome.summary):
        print(line)
    if outcome.folder:
        print(f"files in {outcome.folder}")
    return EXIT_SIGNAL + outcome.signal_number if outcome.signal_number else 0


def _overrides(arguments: argparse.Namespace) -> list[str]:
    """--set, and the options that are short for one; the last word is --set's."""
    found = []
    if arguments.frames is not None:
        found.append(f"run.frames={arguments.frames}")
    if arguments.ct is not None:
        path = json.dumps(str(arguments.ct.expanduser().resolve()))
        found += ["volume.phantom=null", f"volume.path={path}"]
    if arguments.name is not None:
        found.append(f"run.name={json.dumps(arguments.name)}")
    return [*found, *arguments.set]


def validate(arguments: argparse.Namespace) -> int:
    """Check YAML files."""
    for path in arguments.config:
        load_config(path, arguments.set)
        print(f"{path}: valid")
    return 0


def schema(_arguments: argparse.Namespace) -> int:
    """Print the JSON Schema of the YAML."""
    print(json.dumps(Config.model_json_schema(), indent=2))
    return 0


def fetch(arguments: argparse.Namespace) -> int:
    """Bring a public data set into the cache."""
    from fluoro.volume.fetch import fetch as fetch_data

    reporter = TerminalReporter(None)
    try:
        path = fetch_data(arguments.name, reporter.stage)
    finally:
        reporter.close()
    print(f"{arguments.name}: {path}")
    print("volume.path: cache:chest-ct names it in a YAML file")
    return 0


def inspect(arguments: argparse.Namespace) -> int:
    """Tell what is in a CT file and save a picture of its slices."""
    from fluoro.io.slice_picture import slice_picture
    from fluoro.io.writing import writing
    from fluoro.volume.inspect import report
    from fluoro.volume.load import volume_path
    from fluoro.volume.readers import read_hu

    path = volume_path(arguments.path)
    hu = read_hu(path)
    for line in report(path, hu).lines():
        print(line)
    picture = arguments.picture or Path(f"{path.name.split('.')[0]}_slices.png")
    with writing(picture):
        slice_picture(hu).save(picture)
    print(f"slices: {picture}")
    return 0


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(prog="app.py", description="Live fluoroscopy from a CT.")
    top.add_argument("--debug", action="store_true", help="full log and stack traces")
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser("run", help="stream what a YAML file describes")
    command.add_argument("config", type=Path, metavar="CONFIG")
    command.add_argument("--ct", type=Path, metavar="PATH", help="a CT instead of volume's")
    command.add_argument("--frames", type=int, metavar="N", help="run.frames")
    command.add_argument("--name", metavar="NAME", help="run.name, the folder under output/")
    _add_set(command)
    command.set_defaults(function=run)

    command = commands.add_parser("validate", help="check YAML files")
    command.add_argument("config", type=Path, nargs="+", metavar="CONFIG")
    _add_set(command)
    command.set_defaults(function=validate)

    command = commands.add_parser("schema", help="print the JSON Schema of the YAML")
    command.set_defaults(function=schema)

    command = commands.add_parser("fetch", help="bring a public CT into the cache")
    command.add_argument("name", metavar="NAME", help="chest-ct")
    command.set_defaults(function=fetch)

    command = commands.add_parser("inspect", help="what is in a CT file")
    command.add_argument("path", type=Path, metavar="PATH")
    command.add_argument("--picture", type=Path, metavar="PNG", help="where to save the slices")
    command.set_defaults(function=inspect)
    return top


def _add_set(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="override a key, e.g. renderer.step_mm=0.25; may be repeated",
    )


def main(argv: list[str] | None = None) -> int:
    """Run a command; one clear line for what goes wrong, a stack trace with --debug."""
    arguments = parser().parse_args(argv)
    level = logging.DEBUG if arguments.debug else logging.WARNING
    handler = RichHandler(console=terminal, show_path=False, show_time=False)
    logging.basicConfig(level=level, format="%(message)s", handlers=[handler], force=True)
    for noisy in ("PIL", "matplotlib", "asyncio", "websockets"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    try:
        code: int = arguments.function(arguments)
    except KeyboardInterrupt:
        code = EXIT_SIGNAL + 2
    except Exception as error:  # noqa: BLE001  (the last stop: every error becomes one line)
        if arguments.debug:
            raise
        print(f"fluoro: {_one_line(error)}", file=sys.stderr)
        code = EXIT_BAD_INPUT if isinstance(error, FluoroError) else EXIT_FAILED
    return code


def _one_line(error: Exception) -> str:
    """The error's own message; its kind beside it where the message was not made for users."""
    if isinstance(error, FluoroError):
        return str(error)
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text} (--debug tells more)"


if __name__ == "__main__":
    sys.exit(main())

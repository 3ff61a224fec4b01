"""The folder of one run."""

from __future__ import annotations

from itertools import count
from pathlib import Path

from fluoro.errors import OutputError

__all__ = ["make_run_folder"]


def make_run_folder(output_dir: Path, name: str) -> Path:
    """Make a folder of its own for a run: `name`, or `name-2`, `name-3` ... where it is taken.

    Raises:
        OutputError: The folder cannot be made (read-only or full disk, a file in its place).
    """
    try:
        output_dir.mkdir(parents=True, exist_ok=True)
        return next(filter(_made, _candidates(output_dir, name)))
    except OSError as error:
        reason = error.strerror or error
        raise OutputError(f"{output_dir / name}: cannot make the run's folder: {reason}") from error


def _candidates(output_dir: Path, name: str) -> map[Path]:
    return map(lambda n: output_dir / (name if n == 1 else f"{name}-{n}"), count(1))


def _made(folder: Path) -> bool:
    """Whether this call made it; two runs that start together never share one."""
    try:
        folder.mkdir()
    except FileExistsError:
        return False
    return True

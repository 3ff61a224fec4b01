"""The record of each frame, on disk as soon as the frame: what is left of a run that is killed."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fluoro.errors import InputError
from fluoro.files.atomic_write import WholeAppends
from fluoro.imaging.exposure.dose_meter import DoseTotal, Exposure
from fluoro.imaging.frame import FluoroFrame

__all__ = ["JOURNAL_NAME", "FrameJournal", "JournalEntry", "frame_row", "read_journal"]

JOURNAL_NAME = "frames-recording.jsonl"
"""Of the file in the run's folder, which is there until run.json is made from it."""

ROW_KEYS = ("number", "pose", "source_to_detector_mm", "pixel_spacing_mm", "stamps_ns")
"""What every row has."""


@dataclass(frozen=True, kw_only=True)
class JournalEntry:
    """A line of a journal.

    Attributes:
        row: The frame's row in run.json.
        total: The run's dose up to the frame; None: nothing was exposed.
    """

    row: dict[str, Any]
    total: DoseTotal | None


class FrameJournal:
    """A file of JSON lines that grows with the recording, one line for each frame.

    Every line is on disk as a whole or not at all. The file is locked while it is open, so that a
    run that goes on is not repaired.

    Args:
        folder: Folder of the run.

    Raises:
        OutputError: The file cannot be made, or exists.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / JOURNAL_NAME
        self._file = WholeAppends(self.path)
        with suppress(OSError):  # some network file systems have no locks
            fcntl.flock(self._file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)

    def write(self, frame: FluoroFrame, *, recorded: bool = True) -> None:
        """Append a frame's line.

        Args:
            frame: The frame; its image is not used.
            recorded: Whether the frame's image is recorded, too.

        Raises:
            OutputError: The line cannot be written; the lines before it are whole.
        """
        total = frame.exposure and vars(frame.exposure.total)
        row = frame_row(frame) if recorded else {**frame_row(frame), "recorded": False}
        self._file.append((json.dumps({"row": row, "total": total}) + "\n").encode())

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield the rows of run.json so far."""
        return (entry.row for entry in read_journal(self.path))

    def remove(self) -> None:
        """Remove the file, once run.json has what it says."""
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        self._file.close()


def read_journal(path: Path | str) -> Iterator[JournalEntry]:
    """Yield the entries of a journal; what follows its last whole line is left out.

    Raises:
        InputError: The file cannot be read, or a whole line is no entry.
    """
    path = Path(path)
    try:
        with path.open(encoding="utf-8", errors="replace") as lines:
            for number, line in enumerate(lines, 1):
                if line.endswith("\n"):
                    yield _entry(line, f"{path}: line {number}")
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None


def _entry(line: str, where: str) -> JournalEntry:
    try:
        found = json.loads(line)
        total = found["total"] and DoseTotal(**found["total"])
        row = {name: found["row"][name] for name in ROW_KEYS} | found["row"]
    except (ValueError, TypeError, KeyError):
        raise InputError(f"{where} must be the record of a frame, got {line[:40]!r}") from None
    return JournalEntry(row=row, total=total)


def frame_row(frame: FluoroFrame) -> dict[str, Any]:
    """Return what run.json says of a frame, as plain data."""
    pose = frame.pose
    return {
        "number": frame.number,
        "pose": {
            "lao_deg": pose.lao_deg,
            "cra_deg": pose.cra_deg,
            "roll_deg": pose.roll_deg,
            "translation_mm": list(pose.translation_mm),
        },
        "source_to_detector_mm": frame.geometry.source_to_detector_mm,
        "pixel_spacing_mm": frame.geometry.pixel_spacing_mm,
        "stamps_ns": frame.stamps_ns,
        **(_exposure_facts(frame.exposure, pulse=frame.pulse) if frame.exposure else {}),
    }


def _exposure_facts(exposure: Exposure, *, pulse: bool) -> dict[str, Any]:
    made, tube = exposure.pulse, exposure.pulse.tube
    figures = {
        "dose_ngy": made.dose_ngy,
        "tube_voltage_kv": tube.tube_voltage_kv if tube else None,
        "charge_mas": tube.charge_mas if tube else None,
    }
    known = {name: float(f"{v:.6g}") for name, v in figures.items() if v is not None}
    return {"pulse": pulse, **known}

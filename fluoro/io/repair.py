"""A run that was killed, or whose disk was full: its record made from what is on disk."""

from __future__ import annotations

import fcntl
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from fluoro.config import CarmConfig
from fluoro.errors import InputError
from fluoro.geometry.carm import CarmGeometry, CarmPose
from fluoro.geometry.setup import make_geometry
from fluoro.io.arrays import IMAGES_NAME, NPZ_NAME, Columns, add_columns, write_npz
from fluoro.io.journal import JOURNAL_NAME, JournalEntry, read_journal
from fluoro.io.run_record import UNFINISHED, RunRecord

__all__ = ["repair_run"]


def repair_run(folder: Path) -> list[str]:
    """Make run.json, and frames.npz where it was recorded, of a run that did not end by itself.

    Args:
        folder: Folder of the run.

    Returns:
        What was made, a line for each file; none where nothing is missing.

    Raises:
        InputError: No run is there, it goes on, or its files cannot be read.
        OutputError: A file cannot be written; what is there stays.
    """
    summary = _read_summary(folder / "run.json")
    journal = folder / JOURNAL_NAME
    if not journal.exists():
        return []
    with _locked(journal):
        made = _make_npz(folder, summary, journal)
        if summary.get("stopped_by") == UNFINISHED:
            made.append(_make_record(folder / "run.json", summary, journal))
        journal.unlink()
    return made


def _read_summary(path: Path) -> dict[str, Any]:
    """Everything of run.json but its frames.

    Raises:
        InputError: It is not there, or is not the record of a run.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        RunRecord.of_earlier(found)
    except OSError as error:
        why = f"{path.name}: {error.strerror}"
        raise InputError(f"{path.parent}: must be the folder of a run: {why}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: must be the record of a run: {error}") from None
    return {key: value for key, value in found.items() if key != "per_frame"}


@contextmanager
def _locked(journal: Path) -> Iterator[None]:
    """Hold the lock of a journal.

    Raises:
        InputError: A run that goes on holds it.
    """
    with journal.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"{journal.parent}: the run goes on, nothing is repaired") from None
        yield


def _make_record(path: Path, summary: Mapping[str, Any], journal: Path) -> str:
    record, dropped = RunRecord.of_earlier(summary), 0
    for entry in read_journal(journal):
        record.note(entry.row.get("stamps_ns", {}), entry.total)
        dropped += not entry.row.get("recorded", True)
    record.attach({"repaired": True}, {})
    rows = (entry.row for entry in read_journal(journal))
    written = record.write(path, rows, dropped={"recorder": dropped}, stopped_by=UNFINISHED)
    return f"{path.name}: {written['frames']} frames"


def _make_npz(folder: Path, summary: Mapping[str, Any], journal: Path) -> list[str]:
    """Make frames.npz of the images that are there; no line where there are none."""
    images_path = folder / IMAGES_NAME
    if not images_path.exists():
        return []
    count = _count_images(images_path)
    geometry = make_geometry(CarmConfig.model_validate(summary["config"]["carm"]))
    recorded = (entry for entry in read_journal(journal) if entry.row.get("recorded", True))
    columns: Columns = defaultdict(list)
    for entry in islice(recorded, count):
        _add_entry(columns, entry, geometry, summary)
    write_npz(folder / NPZ_NAME, images_path, columns)
    return [f"{NPZ_NAME}: {count} images"]


def _count_images(path: Path) -> int:
    try:
        return len(np.load(path, mmap_mode="r"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from None


def _add_entry(
    columns: Columns, entry: JournalEntry, geometry: CarmGeometry, summary: Mapping[str, Any]
) -> None:
    """Add what a frame's row says to the columns of frames.npz."""
    row = entry.row
    lengths = {name: row[name] for name in ("source_to_detector_mm", "pixel_spacing_mm")}
    angles = {name: row["pose"][name] for name in ("lao_deg", "cra_deg", "roll_deg")}
    pose = CarmPose(**angles, translation_mm=tuple(row["pose"]["translation_mm"]))
    isocenter_xyz_mm = summary.get("isocenter_mm")
    add_columns(columns, row["number"], pose, replace(geometry, **lengths), isocenter_xyz_mm)

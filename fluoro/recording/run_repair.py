"""A run that was killed, or whose disk was full: its record made from what is on disk."""

from __future__ import annotations

import fcntl
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from fluoro.config import CarmConfig
from fluoro.errors import InputError
from fluoro.geometry.carm import CarmGeometry, CarmPose
from fluoro.geometry.from_config import make_geometry
from fluoro.recording.formats.array_files import (
    IMAGES_NAME,
    NPZ_NAME,
    Columns,
    add_columns,
    write_npz,
)
from fluoro.recording.journal import JOURNAL_NAME, read_journal
from fluoro.recording.run_record import UNFINISHED, RunRecord

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
    known = _read_known(folder / "run.json")
    journal = folder / JOURNAL_NAME
    if not journal.exists():
        return _make_npz(folder, known, known.get("per_frame", []))
    with _locked(journal):
        made = _make_npz(folder, known, (entry.row for entry in read_journal(journal)))
        if known.get("stopped_by") == UNFINISHED:
            made.append(_make_record(folder / "run.json", known, journal))
        journal.unlink()
    return made


def _read_known(path: Path) -> dict[str, Any]:
    """Return what run.json says.

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
    return dict(found)


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


def _make_record(path: Path, known: Mapping[str, Any], journal: Path) -> str:
    record, dropped = RunRecord.of_earlier(known), 0
    for entry in read_journal(journal):
        record.note(entry.row.get("stamps_ns", {}), entry.total)
        dropped += not entry.row.get("recorded", True)
    record.attach({"repaired": True}, {})
    rows = (entry.row for entry in read_journal(journal))
    written = record.write(path, rows, dropped={"recorder": dropped}, stopped_by=UNFINISHED)
    return f"{path.name}: {written['frames']} frames"


def _make_npz(
    folder: Path, known: Mapping[str, Any], rows: Iterable[Mapping[str, Any]]
) -> list[str]:
    """Make frames.npz of the images that are there; no line where there are none."""
    images_path = folder / IMAGES_NAME
    if not images_path.exists():
        return []
    count = _count_images(images_path)
    geometry = make_geometry(CarmConfig.model_validate(known["config"]["carm"]))
    columns: Columns = defaultdict(list)
    for row in islice((row for row in rows if row.get("recorded", True)), count):
        _add_row(columns, row, geometry, known.get("isocenter_mm"))
    write_npz(folder / NPZ_NAME, images_path, columns)
    return [f"{NPZ_NAME}: {count} images"]


def _count_images(path: Path) -> int:
    """Return the number of images of a recording.

    Raises:
        InputError: The file cannot be read.
    """
    if path.stat().st_size == 0:  # the run was killed before the first frame
        np.save(path, np.empty((0, 0, 0), np.float32))
    try:
        return len(np.load(path, mmap_mode="r"))
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from None


def _add_row(
    columns: Columns,
    row: Mapping[str, Any],
    geometry: CarmGeometry,
    isocenter_xyz_mm: Sequence[float] | None,
) -> None:
    """Add what a frame's row says to the columns of frames.npz."""
    lengths = {name: row[name] for name in ("source_to_detector_mm", "pixel_spacing_mm")}
    angles = {name: row["pose"][name] for name in ("lao_deg", "cra_deg", "roll_deg")}
    pose = CarmPose(**angles, translation_mm=tuple(row["pose"]["translation_mm"]))
    add_columns(columns, row["number"], pose, replace(geometry, **lengths), isocenter_xyz_mm)

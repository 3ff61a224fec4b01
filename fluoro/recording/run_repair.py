"""A run that was killed, or whose disk was full: its record made from what is on disk."""

from __future__ import annotations

import fcntl
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from fluoro.config import CarmConfig, Config
from fluoro.errors import InputError
from fluoro.files.atomic_write import remove_unfinished
from fluoro.geometry.carm import CarmGeometry, CarmPose
from fluoro.geometry.from_config import make_geometry
from fluoro.imaging.exposure.tube import TubeSetting
from fluoro.recording.formats.array_files import (
    IMAGES_NAME,
    NPZ_NAME,
    Columns,
    add_columns,
    write_npz,
)
from fluoro.recording.formats.coco_writer import COCO_NAME, finish_coco
from fluoro.recording.formats.dicom_frames import PIXELS_NAME, repair_dicom
from fluoro.recording.journal import JOURNAL_NAME, JournalEntry, read_journal
from fluoro.recording.run_record import UNFINISHED, RunRecord
from fluoro.xray_files.recorded import RecordedFrame, Recording

__all__ = ["repair_run"]


def repair_run(folder: Path | str) -> list[str]:
    """Make run.json, frames.npz, frames.dcm and annotations.json of a run that was cut short.

    All but the first where they were recorded.

    Args:
        folder: Folder of the run.

    Returns:
        What was made, a line for each file; none where nothing is missing.

    Raises:
        InputError: No run is there, it goes on, or its files cannot be read.
        OutputError: A file cannot be written; what is there stays.
    """
    folder = Path(folder)
    known = _read_known(folder / "run.json")
    journal = folder / JOURNAL_NAME
    if not journal.exists():
        remove_unfinished(folder)
        rows = known.get("per_frame", [])
        entries = (JournalEntry(row=row, total=None) for row in rows)
        made = [*_make_npz(folder, known, rows), *_make_dicom(folder, known, entries)]
        return [*made, *_make_coco(folder)]
    with _locked(journal):
        remove_unfinished(folder)
        made = _make_coco(folder)
        made += _make_npz(folder, known, (entry.row for entry in read_journal(journal)))
        made += _make_dicom(folder, known, read_journal(journal))
        if known.get("stopped_by") == UNFINISHED:
            made.append(_make_record(folder / "run.json", known, journal))
        journal.unlink()
    return made


def _make_coco(folder: Path) -> list[str]:
    return [COCO_NAME] if finish_coco(folder) else []


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


def _make_dicom(
    folder: Path, known: Mapping[str, Any], entries: Iterable[JournalEntry]
) -> list[str]:
    """Make the DICOM files whose pixels are there; no line where there are none."""
    if not (folder / PIXELS_NAME.format(1)).exists():
        return []
    config = Config.model_validate(known["config"])
    began = datetime.fromisoformat(known["started_at"])
    recording = Recording.of(config, folder.name, known.get("isocenter_mm"), began)
    geometry = make_geometry(config.carm)
    rows = [
        _recorded(entry, geometry, config.run.fps)
        for entry in entries
        if entry.row.get("recorded", True)
    ]
    report = config.recorder.dicom.dose_report
    counts = repair_dicom(folder, recording, rows, dose_report=report)
    return [f"{path.name}: {count} frames" for path, count in counts.items()]


def _recorded(entry: JournalEntry, geometry: CarmGeometry, fps: float) -> RecordedFrame:
    row = entry.row
    lengths = {name: row[name] for name in ("source_to_detector_mm", "pixel_spacing_mm")}
    charge_mas = row.get("charge_mas")
    tube = charge_mas and TubeSetting(
        tube_voltage_kv=row.get("tube_voltage_kv") and round(row["tube_voltage_kv"]),
        charge_mas=charge_mas,
        pulse_width_ms=None,
    )
    return RecordedFrame(
        pose=_pose(row),
        geometry=replace(geometry, **lengths),
        time_s=row["number"] / fps,
        pulse=row.get("pulse", True),
        tube=tube or None,
        total=entry.total,
    )


def _pose(row: Mapping[str, Any]) -> CarmPose:
    angles = {name: row["pose"][name] for name in ("lao_deg", "cra_deg", "roll_deg")}
    return CarmPose(**angles, translation_mm=tuple(row["pose"]["translation_mm"]))


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
    add_columns(columns, row["number"], _pose(row), replace(geometry, **lengths), isocenter_xyz_mm)

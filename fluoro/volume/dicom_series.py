"""The series of a DICOM folder, and the one that is read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fluoro.errors import InputError
from fluoro.volume.dicom_frame import Frame, frames_of
from fluoro.volume.dicom_header import SELECTABLE, DicomFile, read_file

__all__ = ["DicomFolder", "Series", "choose_series", "is_dicom", "scan", "selected"]

PREAMBLE_BYTES = 128
MAGIC = b"DICM"
LISTED = 12
"""Series that a message lists; the rest is counted."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Series:
    """The slices of one series.

    Attributes:
        uid: SeriesInstanceUID.
        number: SeriesNumber as text; empty if it has none.
        description: SeriesDescription.
        patient_position: How the patient lay in the scanner, as the files say; empty if not.
        files: Its CT files, localisers left out, in the order of their names.
    """

    uid: str
    number: str
    description: str
    patient_position: str
    files: tuple[DicomFile, ...]

    @property
    def images(self) -> int:
        """How many there are."""
        return sum(file.frames for file in self.files)

    def __str__(self) -> str:
        description = f" {self.description!r}" if self.description else ""
        return f"{self.number or '(no number)'}{description} ({self.images} images, {self.uid})"


@dataclass(frozen=True, kw_only=True, eq=False)
class DicomFolder:
    """What was found.

    Attributes:
        path: Folder or file that was searched.
        series: CT series by number.
        left_out: How many files of what kind are no slices.
    """

    path: Path
    series: tuple[Series, ...]
    left_out: Mapping[str, int]

    def left_out_text(self) -> str:
        """`2 localizer, 1 not DICOM`; `nothing` if it is."""
        return ", ".join(f"{count} {kind}" for kind, count in self.left_out.items()) or "nothing"


def is_dicom(path: Path) -> bool:
    """Whether a file starts as DICOM files do.

    Raises:
        InputError: It cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(PREAMBLE_BYTES + len(MAGIC))[PREAMBLE_BYTES:] == MAGIC
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from None


def scan(path: Path) -> DicomFolder:
    """All series in a folder and the folders in it, or in one file.

    Raises:
        InputError: A DICOM file that is damaged, or a .dcm file that is none.
    """
    found: dict[str, list[DicomFile]] = {}
    left_out: Counter[str] = Counter()
    for file_path in [path] if path.is_file() else _files(path):
        if not is_dicom(file_path):
            _require_no_claim(file_path)
            left_out["not DICOM"] += 1
            continue
        file = read_file(file_path)
        reason = file.no_slice if file.is_ct else file.kind
        if reason:
            left_out[reason] += 1
        else:
            found.setdefault(file.series_uid, []).append(file)
    series = [_series(uid, files) for uid, files in found.items()]
    return DicomFolder(path=path, series=tuple(sorted(series, key=_order)), left_out=left_out)


def _files(folder: Path) -> list[Path]:
    """All files below, hidden ones aside, by name."""
    try:
        found = [path for path in folder.rglob("*") if path.is_file()]
    except OSError as error:
        raise InputError(f"{folder}: cannot be read: {error.strerror or error}") from None
    return sorted(path for path in found if not path.name.startswith("."))


def _require_no_claim(path: Path) -> None:
    """A .dcm file that is none was a slice once."""
    if path.suffix.lower() == ".dcm":
        raise InputError(
            f"{path}: is not a DICOM file (no DICM at byte {PREAMBLE_BYTES}, "
            f"{path.stat().st_size} bytes); remove it or copy it again"
        )


def _series(uid: str, files: Sequence[DicomFile]) -> Series:
    first = files[0]
    positions = sorted({file.patient_position for file in files})
    return Series(
        uid=uid,
        number=first.series_number,
        description=first.description,
        patient_position=", ".join(position for position in positions if position),
        files=tuple(files),
    )


def _order(series: Series) -> tuple[bool, int, str]:
    numbered = series.number.lstrip("-").isdecimal()
    return not numbered, int(series.number) if numbered else 0, series.uid


def choose_series(folder: DicomFolder, wanted: str | None) -> Series:
    """The series with that UID or number; the only one if none is wanted.

    Raises:
        InputError: There is none, or several; the message lists them.
    """
    if not folder.series:
        raise InputError(
            f"{folder.path}: holds no CT images (HU); left out: {folder.left_out_text()}"
        )
    fits = [
        series
        for series in folder.series
        if wanted is None or wanted in (series.uid, series.number)
    ]
    if len(fits) == 1:
        return fits[0]
    listed = "; ".join(str(series) for series in (fits or folder.series)[:LISTED])
    more = len(fits or folder.series) - LISTED
    tail = f"; and {more} more" if more > 0 else ""
    what = (
        f"no series {wanted!r} among"
        if not fits
        else f"{len(fits)} series, choose one by number or UID with volume.series (--series):"
        if wanted is None
        else f"{len(fits)} series have the number {wanted}, choose by UID:"
    )
    raise InputError(f"{folder.path}: {what} {listed}{tail}")


def selected(path: Path, series: Series, select: Mapping[str, str]) -> list[Frame]:
    """The images of a series that have the attributes asked for.

    Raises:
        InputError: An attribute that cannot be asked for, none that fits, or a damaged header.
    """
    for keyword in select:
        if keyword not in SELECTABLE:
            known = ", ".join(SELECTABLE)
            raise InputError(f"volume.select: must be one of {known}, got {keyword!r}")
    frames = [frame for file in series.files for frame in frames_of(file)]
    kept = [
        frame
        for frame in frames
        if all(frame.facts.get(keyword, "") == text for keyword, text in select.items())
    ]
    if not kept:
        there = {keyword: sorted({f.facts.get(keyword, "") for f in frames}) for keyword in select}
        raise InputError(
            f"{path}: no image of series {series} has {dict(select)}, there are {there}"
        )
    return kept

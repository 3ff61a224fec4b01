"""The series of a DICOM folder, and the one that is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fluoro.errors import InputError
from fluoro.volume.folder_walk import FolderWalk, walk
from fluoro.volume.formats.dicom.file_header import SELECTABLE, DicomFile, read_file
from fluoro.volume.formats.dicom.image_sets import canonical
from fluoro.volume.formats.dicom.images import Frame, frames_of

__all__ = ["DicomFolder", "Series", "choose_series", "is_dicom", "scan", "selected"]

PREAMBLE_BYTES = 128
MAGIC = b"DICM"
BARE_STARTS = (b"\x02\x00", b"\x08\x00")
"""Groups with which a data set begins that has no preamble (some scanners and archives)."""
IMAGE_CLASSES = b"1.2.840.10008.5.1.4.1.1."
"""How the SOP class of an image begins, which such a data set has among its first attributes."""
BARE_BYTES = 1024
LISTED = 12
NOT_DICOM = "not DICOM"
"""Series, or files of one kind, that a message lists; the rest is counted."""


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
        left_out: The entries that are no slices or are not read, by kind; paths below `path`.
    """

    path: Path
    series: tuple[Series, ...]
    left_out: Mapping[str, Sequence[Path]]

    def left_out_text(self) -> str:
        """`2 localizer (a, b), 1 not DICOM (c)`; `nothing` if it is."""
        kinds = (f"{len(found)} {kind} ({_names(found)})" for kind, found in self.left_out.items())
        return ", ".join(kinds) or "nothing"


def _names(paths: Sequence[Path]) -> str:
    names = ["".join(c if c.isprintable() else "?" for c in str(path)) for path in paths]
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + more


def is_dicom(path: Path) -> bool:
    """Return whether a file starts as DICOM files do, or as a data set without their preamble.

    Raises:
        InputError: It cannot be read.
    """
    try:
        with path.open("rb") as file:
            head = file.read(BARE_BYTES)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from None
    whole = head[PREAMBLE_BYTES : PREAMBLE_BYTES + len(MAGIC)] == MAGIC
    return whole or (head.startswith(BARE_STARTS) and IMAGE_CLASSES in head)


def scan(path: Path) -> DicomFolder:
    """Return all series in a folder and the folders in it, or in one file.

    Raises:
        InputError: A DICOM file that is damaged, or a .dcm file that is none.
    """
    found: dict[str, list[DicomFile]] = {}
    left_out: dict[str, list[Path]] = {}
    walked = FolderWalk(files=(path,), left_out={}) if path.is_file() else walk(path)
    for file_path in walked.files:
        reason, file = _sorted_out(file_path)
        if file is None:
            left_out.setdefault(reason, []).append(file_path)
        else:
            found.setdefault(file.series_uid, []).append(file)
    series = [_series(uid, files) for uid, files in found.items()]
    return DicomFolder(
        path=path,
        series=tuple(sorted(series, key=_order)),
        left_out={
            kind: [_below(path, each) for each in paths]
            for kind, paths in {**left_out, **walked.left_out}.items()
        },
    )


def _sorted_out(path: Path) -> tuple[str, DicomFile | None]:
    """A CT file, or why a file is none."""
    if not is_dicom(path):
        _require_no_claim(path)
        return NOT_DICOM, None
    file = read_file(path)
    reason = file.no_slice if file.is_ct else file.kind
    return reason, None if reason else file


def _below(folder: Path, path: Path) -> Path:
    """The path as seen from the folder; a file's own name if it is the file."""
    return Path(path.name) if path == folder else path.relative_to(folder)


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


def _instead(folder: DicomFolder) -> str:
    """What a folder without a series holds, and what to give in its place."""
    if not folder.left_out:
        return "it is empty"
    given = "; a CT of another format is given as the file itself, not as its folder"
    return f"left out: {folder.left_out_text()}{given if NOT_DICOM in folder.left_out else ''}"


def choose_series(folder: DicomFolder, wanted: str | None) -> Series:
    """Return the series with that UID or number; the only one if none is wanted.

    Raises:
        InputError: There is none, or several; the message lists them.
    """
    if not folder.series:
        raise InputError(f"{folder.path}: holds no CT images (HU); {_instead(folder)}")
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


def selected(path: Path, series: Series, select: Mapping[str, str | Sequence[str]]) -> list[Frame]:
    """Return the images of a series that have the attributes requested.

    Args:
        path: What to name in messages.
        series: The series.
        select: One value, or several, by attribute; empty: the images without the attribute.

    Raises:
        InputError: An attribute that cannot be requested, none that fits, or a damaged header.
    """
    for keyword in select:
        if keyword not in SELECTABLE:
            known = ", ".join(SELECTABLE)
            raise InputError(f"volume.select: must be one of {known}, got {keyword!r}")
    frames = [frame for file in series.files for frame in frames_of(file)]
    wanted = {keyword: _wanted(values) for keyword, values in select.items()}
    kept = [
        frame
        for frame in frames
        if all(canonical(frame.facts.get(key, "")) in values for key, values in wanted.items())
    ]
    if not kept:
        there = {keyword: sorted({f.facts.get(keyword, "") for f in frames}) for keyword in select}
        raise InputError(
            f"{path}: no image of series {series} has {dict(select)}, there are {there}"
        )
    return kept


def _wanted(values: str | Sequence[str]) -> set[str]:
    return {canonical(value) for value in ([values] if isinstance(values, str) else values)}

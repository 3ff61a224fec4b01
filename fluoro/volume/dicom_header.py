"""Headers of DICOM files, and the images that a CT file holds."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluoro.errors import InputError

__all__ = ["SELECTABLE", "DicomFile", "Frame", "PixelFormat", "frames_of", "read_file"]

CT_CLASSES = {
    "1.2.840.10008.5.1.4.1.1.2": "CT",
    "1.2.840.10008.5.1.4.1.1.2.1": "enhanced CT",
    "1.2.840.10008.5.1.4.1.1.2.2": "converted CT",
}
"""SOP classes whose values are CT numbers after the rescale (DICOM PS3.4 B.5)."""
DIRECTORY_CLASS = "1.2.840.10008.1.3.10"
NO_SLICES = {"LOCALIZER", "SCOUT", "TOPOGRAM", "SCREEN SAVE", "REPORT", "DOSE_INFO", "VRT"}
"""Words of ImageType that mark what is no slice of a volume."""
MACROS = {
    "ImagePositionPatient": "PlanePositionSequence",
    "ImageOrientationPatient": "PlaneOrientationSequence",
    "PixelSpacing": "PixelMeasuresSequence",
    "RescaleSlope": "PixelValueTransformationSequence",
    "RescaleIntercept": "PixelValueTransformationSequence",
    "RescaleType": "PixelValueTransformationSequence",
    "FrameType": "CTImageFrameTypeSequence",
    "FrameAcquisitionNumber": "FrameContentSequence",
    "TemporalPositionIndex": "FrameContentSequence",
    "StackID": "FrameContentSequence",
    "NominalPercentageOfCardiacPhase": "CardiacSynchronizationSequence",
    "ConvolutionKernel": "CTReconstructionSequence",
}
"""Where a multi-frame file keeps what others have at the top (DICOM PS3.3 C.7.6.16.2)."""
SELECTABLE = (
    "AcquisitionNumber", "FrameAcquisitionNumber", "TemporalPositionIdentifier",
    "TemporalPositionIndex", "NominalPercentageOfCardiacPhase", "StackID", "ConvolutionKernel",
    "KVP", "ImageType", "FrameType", "ImageOrientationPatient", "PixelSpacing", "Rows", "Columns",
    "FrameOfReferenceUID", "SliceThickness", "ReconstructionDiameter", "AcquisitionTime",
    "SeriesTime", "EchoTime",
)  # fmt: skip
"""Attributes by which images of one series can be told apart, the most telling first."""
IDENTITY = (
    "SOPClassUID", "SOPInstanceUID", "Modality", "SeriesInstanceUID", "SeriesNumber",
    "SeriesDescription", "PatientPosition", "StudyInstanceUID",
)  # fmt: skip
PIXELS = (
    "SamplesPerPixel", "PhotometricInterpretation", "NumberOfFrames", "BitsAllocated", "BitsStored",
    "HighBit", "PixelRepresentation", "PixelPaddingValue", "PixelPaddingRangeLimit",
    "ModalityLUTSequence", "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence",
)  # fmt: skip
UNIT_TOLERANCE = 1e-3
"""How far direction cosines may be from unit length and right angles: they are rounded text."""


@dataclass(frozen=True, kw_only=True)
class PixelFormat:
    """How a stored value is to be read.

    Attributes:
        bits_allocated: Of a pixel in the file.
        bits_stored: Of these, how many count.
        high_bit: The highest that counts.
        signed: Two's complement.
        padding: First and last stored value that marks what was not measured; None if none does.
    """

    bits_allocated: int
    bits_stored: int
    high_bit: int
    signed: bool
    padding: tuple[int, int] | None


@dataclass(frozen=True, kw_only=True, eq=False)
class Frame:
    """One image of a CT.

    Attributes:
        path: Its file.
        index: Which image of the file, from 0.
        rows: Number of rows.
        columns: Number of columns.
        position_mm: Centre of its first pixel, patient LPS [mm], shape (3,).
        axes: Columns are the directions of growing column index, of growing row index, and
            their normal, in patient LPS; orthonormal, right-handed, shape (3, 3).
        spacing_xy_mm: Distance between columns and between rows [mm].
        frame_of_reference: What its position refers to.
        slope: HU per stored value.
        intercept: HU at a stored 0.
        pixels: How its values are stored.
        compressed: Whether its pixels need a decoder.
        facts: `SELECTABLE` attributes that it has, as text.
    """

    path: Path
    index: int
    rows: int
    columns: int
    position_mm: NDArray[np.float64]
    axes: NDArray[np.float64]
    spacing_xy_mm: tuple[float, float]
    frame_of_reference: str
    slope: float
    intercept: float
    pixels: PixelFormat
    compressed: bool
    facts: dict[str, str]


@dataclass(frozen=True, kw_only=True, eq=False)
class DicomFile:
    """One DICOM file's header.

    Attributes:
        path: The file.
        kind: What it is, in words.
        is_ct: Whether it holds CT numbers.
        no_slice: Why it is no slice of a volume although it is a CT; empty if it is.
        series_uid: SeriesInstanceUID.
        series_number: SeriesNumber as text; empty if it has none.
        description: SeriesDescription.
        modality: Modality.
        patient_position: How the patient lay in the scanner; empty if it does not say.
        frames: Number of images.
        dataset: pydicom's dataset of the attributes that are used here.
        compressed: Whether its pixels need a decoder.
    """

    path: Path
    kind: str
    is_ct: bool
    no_slice: str
    series_uid: str
    series_number: str
    description: str
    modality: str
    patient_position: str
    frames: int
    dataset: Any
    compressed: bool


def read_file(path: Path) -> DicomFile:
    """The header of a file that starts as DICOM files do.

    Raises:
        InputError: It is damaged, or says it is a CT and lacks what says of which series.
    """
    pydicom = _pydicom()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tags = [*IDENTITY, *PIXELS, *MACROS, *SELECTABLE]
            dataset = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=tags)
            return _described(path, dataset)
    except InputError:
        raise
    except Exception as error:  # noqa: BLE001  (pydicom raises all kinds)
        text = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path}: is a damaged DICOM file: {text}") from None


def _pydicom() -> Any:
    try:
        import pydicom
    except ImportError:
        raise InputError("DICOM needs the package pydicom: pip install fluoro[dicom]") from None
    # what it finds wrong is said here where it matters
    logging.getLogger("pydicom").setLevel(logging.ERROR)
    return pydicom


def _described(path: Path, dataset: Any) -> DicomFile:
    from pydicom.uid import UID

    meta = dataset.file_meta
    sop_class = _sop_class(path, dataset)
    is_ct = sop_class in CT_CLASSES
    tags = _Tags(path, [dataset])
    uid = tags.text("SeriesInstanceUID")
    if is_ct and not uid:
        raise tags.missing("SeriesInstanceUID")
    words = {word.upper() for word in tags.text("ImageType").split("\\")}
    frames = tags.number("NumberOfFrames") if tags.text("NumberOfFrames") else 1.0
    return DicomFile(
        path=path,
        kind=CT_CLASSES.get(sop_class) or UID(sop_class).name,
        is_ct=is_ct,
        no_slice=", ".join(sorted(words & NO_SLICES)).lower(),
        series_uid=uid,
        series_number=tags.text("SeriesNumber"),
        description=tags.text("SeriesDescription"),
        modality=tags.text("Modality"),
        patient_position=tags.text("PatientPosition"),
        frames=int(frames),
        dataset=dataset,
        compressed=bool(meta.TransferSyntaxUID.is_encapsulated),
    )


def _sop_class(path: Path, dataset: Any) -> str:
    """What kind of object it is, as the file says twice: a slice must not be lost to damage."""
    inner = str(dataset.get("SOPClassUID") or "")
    outer = str(dataset.file_meta.get("MediaStorageSOPClassUID") or "")
    if not (inner or outer) or (inner and outer and inner != outer):
        raise InputError(
            f"{path}: is a damaged DICOM file: SOPClassUID (0008,0016) is "
            f"{inner or 'missing'!r}, MediaStorageSOPClassUID (0002,0002) {outer or 'missing'!r}"
        )
    return _known(path, dataset, inner or outer)


def _known(path: Path, dataset: Any, sop_class: str) -> str:
    """The class, if it is registered or a maker's own for what is no CT image."""
    from pydicom.uid import UID

    uid = UID(sop_class)
    is_image = dataset.get("Modality") == "CT" and dataset.get("Rows") is not None
    if uid.name == sop_class and (not uid.is_valid or is_image):
        raise InputError(f"{path}: SOPClassUID (0008,0016) is unknown: {sop_class[:64]!r}")
    return sop_class


class _Tags:
    """Attributes of one image: in its own functional groups, the shared ones, or at the top."""

    def __init__(self, path: Path, datasets: Sequence[Any], where: str = "") -> None:
        self._path, self._datasets, self._where = path, datasets, where

    def get(self, keyword: str) -> Any:
        for dataset in self._datasets:
            macro = MACROS.get(keyword)
            inner = dataset.get(macro) if macro else None
            for source in (inner[0] if inner else None, dataset):
                value = None if source is None else source.get(keyword)
                if value is not None and value != "":
                    return value
        return None

    def text(self, keyword: str) -> str:
        """The value as text, several with backslashes between; empty if there is none."""
        value = self._value(keyword)
        if value is None:
            return ""
        several = isinstance(value, Sequence) and not isinstance(value, str)
        text = "\\".join(str(item) for item in value) if several else str(value)
        return "".join(mark if mark.isprintable() else "?" for mark in " ".join(text.split()))

    def numbers(self, keyword: str, count: int) -> list[float]:
        """So many finite numbers.

        Raises:
            InputError: They are missing, or others.
        """
        value = self._value(keyword)
        if value is None:
            raise self.missing(keyword)
        items = list(value) if isinstance(value, Sequence) else [value]
        try:
            found = [float(item) for item in items]
        except (TypeError, ValueError):
            found = []
        if len(found) != count or not all(math.isfinite(number) for number in found):
            numbers = "a finite number" if count == 1 else f"{count} finite numbers"
            raise self.wrong(keyword, numbers)
        return found

    def number(self, keyword: str) -> float:
        """One finite number."""
        return self.numbers(keyword, 1)[0]

    def count(self, keyword: str, low: int, high: int) -> int:
        """A whole number in a range."""
        value = self.number(keyword)
        if value != int(value) or not low <= value <= high:
            raise self.wrong(keyword, f"a whole number from {low} to {high}")
        return int(value)

    def missing(self, keyword: str) -> InputError:
        return InputError(f"{self._path}: {self._where}{_named(keyword)} is missing")

    def wrong(self, keyword: str, expected: str) -> InputError:
        got = self.text(keyword)
        return InputError(
            f"{self._path}: {self._where}{_named(keyword)} must be {expected}, got {got[:80]!r}"
        )

    def _value(self, keyword: str) -> Any:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return self.get(keyword)
        except Exception as error:  # noqa: BLE001  (pydicom converts values when asked for them)
            text = " ".join(str(error).split())
            raise InputError(
                f"{self._path}: {self._where}{_named(keyword)} cannot be read: {text}"
            ) from None


def _named(keyword: str) -> str:
    from pydicom.datadict import tag_for_keyword

    tag = tag_for_keyword(keyword) or 0
    return f"{keyword} ({tag >> 16:04X},{tag & 0xFFFF:04X})"


def frames_of(file: DicomFile) -> list[Frame]:
    """The images of a CT file, localisers within it left out.

    Raises:
        InputError: An attribute that an image needs is missing or has a value it cannot have; the
            message names the file and the attribute.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _frames_of(file)
    except InputError:
        raise
    except Exception as error:  # noqa: BLE001  (pydicom reads attributes when asked for them)
        text = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{file.path}: is a damaged DICOM file: {text}") from None


def _frames_of(file: DicomFile) -> list[Frame]:
    dataset = file.dataset
    groups = dataset.get("PerFrameFunctionalGroupsSequence")
    if groups is None:
        if file.frames != 1:
            raise InputError(
                f"{file.path}: holds {file.frames} images without the position of each "
                "(PerFrameFunctionalGroupsSequence (5200,9230) is missing)"
            )
        return [_frame(file, 0, _Tags(file.path, [dataset]))]
    if len(groups) != file.frames:
        raise InputError(
            f"{file.path}: NumberOfFrames (0028,0008) is {file.frames}, but there are positions "
            f"for {len(groups)}"
        )
    shared = list(dataset.get("SharedFunctionalGroupsSequence") or [])[:1]
    tags = [
        _Tags(file.path, [group, *shared, dataset], f"frame {number}: ")
        for number, group in enumerate(groups, 1)
    ]
    return [_frame(file, at, frame) for at, frame in enumerate(tags) if not _is_no_slice(frame)]


def _is_no_slice(tags: _Tags) -> bool:
    return bool({word.upper() for word in tags.text("FrameType").split("\\")} & NO_SLICES)


def _frame(file: DicomFile, index: int, tags: _Tags) -> Frame:
    row_spacing, column_spacing = tags.numbers("PixelSpacing", 2)
    if not (row_spacing > 0 and column_spacing > 0):
        raise tags.wrong("PixelSpacing", "2 positive lengths")
    slope, intercept = _rescale(tags)
    facts = {keyword: tags.text(keyword) for keyword in SELECTABLE}
    return Frame(
        path=file.path,
        index=index,
        rows=tags.count("Rows", 1, 65535),
        columns=tags.count("Columns", 1, 65535),
        position_mm=np.array(tags.numbers("ImagePositionPatient", 3)),
        axes=_axes(tags),
        spacing_xy_mm=(column_spacing, row_spacing),
        frame_of_reference=tags.text("FrameOfReferenceUID"),
        slope=slope,
        intercept=intercept,
        pixels=_pixel_format(tags),
        compressed=file.compressed,
        facts={keyword: text for keyword, text in facts.items() if text},
    )


def _axes(tags: _Tags) -> NDArray[np.float64]:
    keyword = "ImageOrientationPatient"
    row, column = np.reshape(tags.numbers(keyword, 6), (2, 3))
    lengths = [np.linalg.norm(row), np.linalg.norm(column)]
    if max(abs(lengths[0] - 1), abs(lengths[1] - 1), abs(row @ column)) > UNIT_TOLERANCE:
        raise tags.wrong(keyword, "2 unit vectors at a right angle")
    row = row / lengths[0]
    column = column - (column @ row) * row
    column /= np.linalg.norm(column)
    return np.column_stack([row, column, np.cross(row, column)])


def _rescale(tags: _Tags) -> tuple[float, float]:
    if tags.get("ModalityLUTSequence"):
        raise tags.wrong("ModalityLUTSequence", "absent from a CT (RescaleSlope gives HU)")
    slope, intercept = tags.number("RescaleSlope"), tags.number("RescaleIntercept")
    if slope <= 0:
        raise tags.wrong("RescaleSlope", "greater than 0")
    if tags.text("RescaleType").upper() not in ("", "HU", "US", "HU_MOD"):
        raise tags.wrong("RescaleType", "HU")
    return slope, intercept


def _pixel_format(tags: _Tags) -> PixelFormat:
    if tags.text("SamplesPerPixel") and tags.number("SamplesPerPixel") != 1:
        raise tags.wrong("SamplesPerPixel", "1 (no colour)")
    if tags.text("PhotometricInterpretation") not in ("MONOCHROME1", "MONOCHROME2"):
        raise tags.wrong("PhotometricInterpretation", "MONOCHROME1 or MONOCHROME2")
    allocated = tags.count("BitsAllocated", 8, 32)
    if allocated not in (8, 16, 32):
        raise tags.wrong("BitsAllocated", "8, 16 or 32")
    stored = tags.count("BitsStored", 1, allocated)
    signed = tags.count("PixelRepresentation", 0, 1) == 1
    return PixelFormat(
        bits_allocated=allocated,
        bits_stored=stored,
        high_bit=tags.count("HighBit", stored - 1, allocated - 1),
        signed=signed,
        padding=_padding(tags, signed),
    )


def _padding(tags: _Tags, signed: bool) -> tuple[int, int] | None:
    """Range of stored values that are padding, both in the sense of the pixels' own sign."""
    if not tags.text("PixelPaddingValue"):
        return None
    value = int(tags.number("PixelPaddingValue"))
    given = tags.text("PixelPaddingRangeLimit")
    limit = int(tags.number("PixelPaddingRangeLimit")) if given else value
    if signed:
        value, limit = (_as_signed(number) for number in (value, limit))
    return min(value, limit), max(value, limit)


def _as_signed(value: int) -> int:
    """A 16-bit word that was written without its sign."""
    return value - (1 << 16) if value >= 1 << 15 else value

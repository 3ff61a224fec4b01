"""The images that a CT file of DICOM holds: place, pixels, rescale."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fluoro.errors import InputError
from fluoro.volume.formats.dicom.file_header import NO_SLICES, SELECTABLE, DicomFile
from fluoro.volume.formats.dicom.tags import Tags

__all__ = ["Frame", "PixelFormat", "frames_of", "pixel_format"]

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
        lossy: Whether its pixels have been compressed with loss, as the file says.
        gantry_tilt_deg: What the file calls the gantry's tilt [degrees]; None if it does not.
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
    lossy: bool
    gantry_tilt_deg: float | None


def frames_of(file: DicomFile) -> list[Frame]:
    """Return the images of a CT file, localisers within it left out.

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
    except Exception as error:  # noqa: BLE001  (pydicom reads attributes on access)
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
        return [_frame(file, 0, Tags(file.path, [dataset]))]
    if len(groups) != file.frames:
        raise InputError(
            f"{file.path}: NumberOfFrames (0028,0008) is {file.frames}, but there are positions "
            f"for {len(groups)}"
        )
    shared = list(dataset.get("SharedFunctionalGroupsSequence") or [])[:1]
    tags = [
        Tags(file.path, [group, *shared, dataset], f"frame {number}: ")
        for number, group in enumerate(groups, 1)
    ]
    return [_frame(file, at, frame) for at, frame in enumerate(tags) if not _is_no_slice(frame)]


def _is_no_slice(tags: Tags) -> bool:
    return bool({word.upper() for word in tags.text("FrameType").split("\\")} & NO_SLICES)


def _frame(file: DicomFile, index: int, tags: Tags) -> Frame:
    row_spacing, column_spacing = tags.numbers("PixelSpacing", 2)
    if not (row_spacing > 0 and column_spacing > 0):
        raise tags.wrong("PixelSpacing", "2 positive lengths")
    slope, intercept = _rescale(tags)
    facts = {keyword: tags.text(keyword) for keyword in SELECTABLE}
    if file.frames == 1:  # it identifies the file; one image is no set
        del facts["SOPInstanceUID"]
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
        pixels=pixel_format(tags),
        compressed=file.compressed,
        facts={keyword: text for keyword, text in facts.items() if text},
        lossy=tags.text("LossyImageCompression") == "01",
        gantry_tilt_deg=tags.hint("GantryDetectorTilt"),
    )


def _axes(tags: Tags) -> NDArray[np.float64]:
    keyword = "ImageOrientationPatient"
    row, column = np.reshape(tags.numbers(keyword, 6), (2, 3))
    lengths = [np.linalg.norm(row), np.linalg.norm(column)]
    if max(abs(lengths[0] - 1), abs(lengths[1] - 1), abs(row @ column)) > UNIT_TOLERANCE:
        raise tags.wrong(keyword, "2 unit vectors at a right angle")
    row = row / lengths[0]
    column = column - (column @ row) * row
    column /= np.linalg.norm(column)
    return np.column_stack([row, column, np.cross(row, column)])


def _rescale(tags: Tags) -> tuple[float, float]:
    if tags.get("ModalityLUTSequence"):
        raise tags.wrong("ModalityLUTSequence", "absent from a CT (RescaleSlope gives HU)")
    slope, intercept = tags.number("RescaleSlope"), tags.number("RescaleIntercept")
    if slope <= 0:
        raise tags.wrong("RescaleSlope", "greater than 0")
    if tags.text("RescaleType").upper() not in ("", "HU", "US", "HU_MOD"):
        raise tags.wrong("RescaleType", "HU")
    return slope, intercept


def pixel_format(tags: Tags) -> PixelFormat:
    """Return how the stored values of an image are to be read.

    Raises:
        InputError: A colour image, or attributes that contradict each other.
    """
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


def _padding(tags: Tags, signed: bool) -> tuple[int, int] | None:
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

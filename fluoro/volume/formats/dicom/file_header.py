"""Headers of DICOM files: what a file is, and to which series it belongs."""

from __future__ import annotations

import logging
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fluoro.errors import InputError, to_install
from fluoro.volume.formats.dicom.tags import MACROS, Tags

__all__ = ["GEOMETRY", "NO_SLICES", "ONE_PATIENT", "SELECTABLE", "DicomFile", "read_file"]

CT_CLASSES = {
    "1.2.840.10008.5.1.4.1.1.2": "CT",
    "1.2.840.10008.5.1.4.1.1.2.1": "enhanced CT",
    "1.2.840.10008.5.1.4.1.1.2.2": "converted CT",
}
"""SOP classes whose values are CT numbers after the rescale (DICOM PS3.4 B.5)."""
GEOMETRY = (
    "ImageOrientationPatient", "PixelSpacing", "Rows", "Columns", "FrameOfReferenceUID",
)  # fmt: skip
"""What all images of a volume have alike as numbers; their text may differ by rounding."""
ONE_PATIENT = {
    "PatientPosition": "patient position",
    "StudyInstanceUID": "study",
    "PatientID": "patient",
}
"""What all images of a volume have alike, where they say it, with its name in messages."""
NO_SLICES = {"LOCALIZER", "SCOUT", "TOPOGRAM", "SCREEN SAVE", "REPORT", "DOSE_INFO", "VRT"}
"""Words of ImageType that mark what is no slice of a volume."""
SELECTABLE = (
    "AcquisitionNumber", "FrameAcquisitionNumber", "TemporalPositionIdentifier",
    "TemporalPositionIndex", "NominalPercentageOfCardiacPhase", "NominalCardiacTriggerDelayTime",
    "TriggerTime", "ContrastBolusAgent", "ContrastBolusAgentPhase",
    "ContrastBolusAgentAdministered", "StackID", "ConvolutionKernel", "FilterType", "KVP",
    "ImageType", "FrameType", *GEOMETRY, "SliceThickness", "ReconstructionDiameter", "ScanOptions",
    "SeriesDescription", "ProtocolName", "ImageComments", "AcquisitionUID", "IrradiationEventUID",
    "AcquisitionTime", "AcquisitionDateTime", "SeriesTime", *ONE_PATIENT, "SOPInstanceUID",
)  # fmt: skip
"""Attributes that distinguish images of one series, the most informative first."""
IDENTITY = (
    "SOPClassUID", "SOPInstanceUID", "Modality", "SeriesInstanceUID", "SeriesNumber",
    "SeriesDescription", "PatientPosition", "StudyInstanceUID",
)  # fmt: skip
PIXELS = (
    "SamplesPerPixel", "PhotometricInterpretation", "NumberOfFrames", "BitsAllocated", "BitsStored",
    "HighBit", "PixelRepresentation", "PixelPaddingValue", "PixelPaddingRangeLimit",
    "LossyImageCompression", "ModalityLUTSequence", "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, eq=False)
class DicomFile:
    """One DICOM file's header.

    Attributes:
        path: The file.
        kind: Kind of object, in words.
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
    """Return the header of a file that starts as DICOM files do.

    Raises:
        InputError: It is damaged, or says it is a CT and lacks what says of which series.
    """
    pydicom = _pydicom()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tags = [*IDENTITY, *PIXELS, *MACROS, *SELECTABLE]
            dataset = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=tags, force=True)
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
        raise InputError(f"DICOM needs the package pydicom: {to_install('pydicom')}") from None
    # fluoro reports the faults that matter
    logging.getLogger("pydicom").setLevel(logging.ERROR)
    return pydicom


def _described(path: Path, dataset: Any) -> DicomFile:
    from pydicom.uid import UID

    sop_class = _sop_class(path, dataset)
    is_ct = sop_class in CT_CLASSES
    tags = Tags(path, [dataset])
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
        compressed=_is_compressed(dataset),
    )


def _is_compressed(dataset: Any) -> bool:
    """Whether pixels need a decoder; a data set without preamble may not say, and is plain."""
    if dataset.preamble is None and "TransferSyntaxUID" not in dataset.file_meta:
        return False
    return bool(dataset.file_meta.TransferSyntaxUID.is_encapsulated)


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

"""Headers of X-ray images: which files are read, and the attributes of each frame."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from fluoro.errors import InputError, to_install
from fluoro.paths import meant_name
from fluoro.volume.formats.dicom.pixel_decoder import DECODED
from fluoro.volume.formats.dicom.tags import Tags

__all__ = ["CLASSES", "XrayHeader", "is_xray_file", "one_line", "read_header"]

CLASSES = {
    "1.2.840.10008.5.1.4.1.1.12.1": "XA",
    "1.2.840.10008.5.1.4.1.1.12.1.1": "Enhanced XA",
    "1.2.840.10008.5.1.4.1.1.12.2": "XRF",
    "1.2.840.10008.5.1.4.1.1.12.2.1": "Enhanced XRF",
    "1.2.840.10008.5.1.4.1.1.1": "CR",
    "1.2.840.10008.5.1.4.1.1.1.1": "DX for presentation",
    "1.2.840.10008.5.1.4.1.1.1.1.1": "DX for processing",
    "1.2.840.10008.5.1.4.1.1.7": "secondary capture",
    "1.2.840.10008.5.1.4.1.1.7.2": "multi-frame secondary capture",
    "1.2.840.10008.5.1.4.1.1.7.3": "multi-frame secondary capture",
}
"""SOP classes that are read (DICOM PS3.4 B.5)."""
MODALITIES = ("XA", "RF", "DX", "CR", "DR", "RG")
"""Of a secondary capture that is an X-ray image."""
MACROS = {
    "PositionerPrimaryAngle": "PositionerPositionSequence",
    "PositionerSecondaryAngle": "PositionerPositionSequence",
    "DistanceSourceToDetector": "XRayGeometrySequence",
    "DistanceSourceToIsocenter": "XRayGeometrySequence",
    "ImagerPixelSpacing": "FramePixelDataPropertiesSequence",
    "PixelIntensityRelationship": "FramePixelDataPropertiesSequence",
    "PixelIntensityRelationshipSign": "FramePixelDataPropertiesSequence",
    "FrameType": "FramePixelDataPropertiesSequence",
    "FieldOfViewOrigin": "FieldOfViewSequence",
    "FieldOfViewRotation": "FieldOfViewSequence",
    "FieldOfViewHorizontalFlip": "FieldOfViewSequence",
    "PositionerIsocenterPrimaryAngle": "IsocenterReferenceSystemSequence",
    "PositionerIsocenterSecondaryAngle": "IsocenterReferenceSystemSequence",
    "PositionerIsocenterDetectorRotationAngle": "IsocenterReferenceSystemSequence",
    "TableXPositionToIsocenter": "IsocenterReferenceSystemSequence",
    "TableYPositionToIsocenter": "IsocenterReferenceSystemSequence",
    "TableZPositionToIsocenter": "IsocenterReferenceSystemSequence",
    "TableHorizontalRotationAngle": "IsocenterReferenceSystemSequence",
    "TableHeadTiltAngle": "IsocenterReferenceSystemSequence",
    "TableCradleTiltAngle": "IsocenterReferenceSystemSequence",
    "TableTopVerticalPosition": "TablePositionSequence",
    "TableTopLongitudinalPosition": "TablePositionSequence",
    "TableTopLateralPosition": "TablePositionSequence",
    "KVP": "FrameAcquisitionSequence",
    "XRayTubeCurrentInmA": "FrameAcquisitionSequence",
    "FrameReferenceDateTime": "FrameContentSequence",
    "FrameAcquisitionDateTime": "FrameContentSequence",
    "WindowCenter": "FrameVOILUTSequence",
    "WindowWidth": "FrameVOILUTSequence",
    **dict.fromkeys(
        (
            "CollimatorShape",
            "CollimatorLeftVerticalEdge",
            "CollimatorRightVerticalEdge",
            "CollimatorUpperHorizontalEdge",
            "CollimatorLowerHorizontalEdge",
            "CenterOfCircularCollimator",
            "RadiusOfCircularCollimator",
            "VerticesOfThePolygonalCollimator",
        ),
        "CollimatorShapeSequence",
    ),
}
"""Where an enhanced image keeps what others have at the top (DICOM PS3.3 C.8.19.6)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class XrayHeader:
    """The header of an X-ray image.

    Attributes:
        path: The file.
        kind: Its SOP class, in words.
        frames: Number of frames.
        dataset: pydicom's dataset without the pixels.
        compressed: Whether the pixels need a decoder.
    """

    path: Path
    kind: str
    frames: int
    dataset: Any
    compressed: bool

    @property
    def enhanced(self) -> bool:
        """Whether the attributes of a frame are in functional groups."""
        return self.kind.startswith("Enhanced")

    @cached_property
    def tags(self) -> Tags:
        """The attributes of the first frame."""
        return self.frame_tags(0)

    def frame_tags(self, index: int) -> Tags:
        """Return the attributes of one frame, counted from 0.

        Raises:
            InputError: A file without the frame's functional groups.
        """
        if not self.enhanced:
            return Tags(self.path, [self.dataset], macros={})
        groups = self.dataset.get("PerFrameFunctionalGroupsSequence") or []
        if len(groups) != self.frames:
            raise InputError(
                f"{self.path}: NumberOfFrames (0028,0008) is {self.frames}, but there are "
                f"functional groups for {len(groups)}"
            )
        shared = list(self.dataset.get("SharedFunctionalGroupsSequence") or [])[:1]
        return Tags(
            self.path, [groups[index], *shared, self.dataset], f"frame {index + 1}: ", MACROS
        )


def is_xray_file(path: Path | str) -> bool:
    """Whether a file is a DICOM image other than a CT's, as far as its first bytes and class say.

    Raises:
        InputError: It cannot be read.
    """
    path = Path(path)
    from fluoro.volume.formats.dicom.series import is_dicom

    if not path.is_file() or not is_dicom(path):
        return False
    with one_line(path):
        return _sop_class(path, _read(path, ["SOPClassUID", "Modality"])) in CLASSES


def read_header(path: Path | str) -> XrayHeader:
    """Return the header of an X-ray image.

    Raises:
        InputError: No DICOM file, one that is damaged, that is no X-ray image, or whose pixels
            are a video.
    """
    path = Path(path)
    from fluoro.volume.formats.dicom.series import is_dicom

    if not path.is_file():
        raise InputError(f"{path}: there is no such file{meant_name(path)}")
    if not is_dicom(path):
        raise InputError(f"{path}: is no DICOM file")
    with one_line(path):
        return _header(path, _read(path, None))


@contextmanager
def one_line(path: Path) -> Iterator[None]:
    """Turn what pydicom raises about damaged attributes into one line that names the file.

    Raises:
        InputError: Something was raised; pydicom converts values on access.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except InputError as error:
        text = str(error)
        named = text if text.startswith(str(path)) else f"{path}: {text}"
        raise InputError(named) from None
    except Exception as error:  # noqa: BLE001  (pydicom raises all kinds)
        text = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path}: is a damaged DICOM file: {text}") from None


def _header(path: Path, dataset: Any) -> XrayHeader:
    kind = _kind(path, dataset)
    syntax = dataset.file_meta.get("TransferSyntaxUID")
    if syntax is None:
        raise InputError(f"{path}: TransferSyntaxUID (0002,0010) is missing")
    _require_decoder(path, syntax)
    tags = Tags(path, [dataset], macros={})
    frames = tags.count("NumberOfFrames", 1, 10**6) if tags.text("NumberOfFrames") else 1
    return XrayHeader(
        path=path,
        kind=kind,
        frames=frames,
        dataset=dataset,
        compressed=bool(syntax.is_encapsulated),
    )


def _read(path: Path, keywords: list[str] | None) -> Any:
    try:
        import pydicom
    except ImportError:
        raise InputError(f"DICOM needs the package pydicom: {to_install('pydicom')}") from None
    logging.getLogger("pydicom").setLevel(logging.ERROR)
    return pydicom.dcmread(path, stop_before_pixels=True, specific_tags=keywords, force=True)


def _sop_class(path: Path, dataset: Any) -> str:
    return Tags(path, [dataset], macros={}).text("SOPClassUID")


def _kind(path: Path, dataset: Any) -> str:
    from pydicom.uid import UID

    sop_class = _sop_class(path, dataset)
    kind = CLASSES.get(sop_class)
    modality = Tags(path, [dataset], macros={}).text("Modality")
    if kind and ("secondary" not in kind or modality in MODALITIES):
        return kind
    if kind:
        raise InputError(
            f"{path}: is a {kind} of modality {modality or 'unknown'}; an X-ray image has "
            f"{', '.join(MODALITIES)} in Modality (0008,0060)"
        )
    name = UID(sop_class).name if sop_class else "without SOPClassUID (0008,0016)"
    raise InputError(
        f"{path}: is no X-ray image but {name[:64]}; must be XA, XRF, RF, DX, CR or Enhanced XA"
    )


def _require_decoder(path: Path, syntax: Any) -> None:
    if syntax.is_private or not syntax.is_transfer_syntax:
        raise InputError(f"{path}: the transfer syntax {str(syntax)!r} is not read")
    if syntax.is_encapsulated and str(syntax) not in DECODED:
        what = "a video" if any(w in syntax.name for w in ("MPEG", "HEVC")) else "not read"
        raise InputError(
            f"{path}: its pixels are {what} ({syntax.name}); export the frames uncompressed or as "
            "JPEG, JPEG-LS, JPEG 2000 or RLE"
        )

"""X-ray images written to the standard's text, attribute by attribute, so that any can be wrong."""

from __future__ import annotations

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

CLASSES = {
    "XA": "1.2.840.10008.5.1.4.1.1.12.1",
    "XRF": "1.2.840.10008.5.1.4.1.1.12.2",
    "CR": "1.2.840.10008.5.1.4.1.1.1",
    "DX": "1.2.840.10008.5.1.4.1.1.1.1.1",
    "SC": "1.2.840.10008.5.1.4.1.1.7",
    "Enhanced XA": "1.2.840.10008.5.1.4.1.1.12.1.1",
}
MODALITY = {"XRF": "RF", "CR": "CR", "DX": "DX", "SC": "XA"}


def ramp(frames=1, rows=6, columns=8):
    """Distinct 12-bit values, so that a permuted, mirrored or shifted read shows."""
    values = np.arange(frames * rows * columns).reshape(frames, rows, columns) * 7 + 100
    return (values % 4096).astype(np.uint16)


def xray(kind="XA", stored=None, **attributes):
    """An X-ray image with what its class demands; None takes an attribute away."""
    stored = ramp() if stored is None else np.asarray(stored)
    stored = stored[None] if stored.ndim == 2 else stored
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CLASSES[kind]
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    ds.SOPClassUID, ds.SOPInstanceUID = CLASSES[kind], meta.MediaStorageSOPInstanceUID
    ds.Modality = MODALITY.get(kind, "XA")
    ds.StudyInstanceUID, ds.SeriesInstanceUID = generate_uid(), generate_uid()
    ds.PatientName, ds.PatientID = "Ramp^Test", "1"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "SINGLE PLANE"]
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows, ds.Columns = stored.shape[1:]
    if len(stored) > 1:
        ds.NumberOfFrames, ds.FrameTime = len(stored), 66.7
        ds.FrameIncrementPointer = 0x00181063
    ds.BitsAllocated = 8 * stored.dtype.itemsize
    ds.BitsStored = 12 if ds.BitsAllocated == 16 else 8
    ds.HighBit, ds.PixelRepresentation = ds.BitsStored - 1, 0
    if kind in ("XA", "XRF", "Enhanced XA"):
        ds.PixelIntensityRelationship = "LIN"
    if kind != "Enhanced XA":
        ds.DistanceSourceToDetector, ds.DistanceSourceToPatient = 1200, 780
        ds.ImagerPixelSpacing = [0.308, 0.308]
    if kind == "XA":
        ds.PositionerPrimaryAngle, ds.PositionerSecondaryAngle = 30, -20
    ds.PixelData = stored.tobytes()
    return changed(ds, **attributes)


def enhanced(stored=None, frames=(), shared=(), **attributes):
    """An Enhanced XA image of functional groups, dictionaries of sequences' items by keyword."""
    ds = xray("Enhanced XA", stored, **attributes)
    ds.SharedFunctionalGroupsSequence = Sequence([_groups(dict(shared))])
    ds.PerFrameFunctionalGroupsSequence = Sequence([_groups(frame) for frame in frames])
    ds.NumberOfFrames = len(frames)
    return ds


def _groups(groups):
    return changed(Dataset(), **{k: Sequence([changed(Dataset(), **v)]) for k, v in groups.items()})


def changed(ds, **attributes):
    """The dataset with these attributes; None takes one away."""
    for keyword, value in attributes.items():
        if value is None:
            delattr(ds, keyword)
        else:
            setattr(ds, keyword, value)
    return ds


def item(**attributes):
    """A sequence of one item."""
    return Sequence([changed(Dataset(), **attributes)])


def saved(folder, ds, name="xa.dcm"):
    """The file of a dataset."""
    path = folder / name
    ds.save_as(path, enforce_file_format=True)
    return path


def rotating():
    """A short rotational run in which nearly every attribute that is read occurs."""
    return xray(
        stored=ramp(3, 24, 32),
        PositionerMotion="DYNAMIC",
        PositionerPrimaryAngleIncrement=[0, 1.5, 3],
        PositionerSecondaryAngleIncrement=[0, -1, -2],
        TableLongitudinalIncrement=[0, 4, 8],
        DetectorPrimaryAngle=2,
        PatientOrientation=["L", "F"],
        CollimatorShape="RECTANGULAR",
        CollimatorLeftVerticalEdge=0,
        CollimatorRightVerticalEdge=33,
        CollimatorUpperHorizontalEdge=2,
        CollimatorLowerHorizontalEdge=20,
        WindowCenter=2000,
        WindowWidth=4000,
        KVP=80,
        MaskSubtractionSequence=item(MaskOperation="AVG_SUB", MaskFrameNumbers=[1]),
    )


def full_pose():
    """An Enhanced XA image of two frames with the isocentre reference system."""
    frames = [
        {
            "IsocenterReferenceSystemSequence": {
                "PositionerIsocenterPrimaryAngle": 30.0 + number,
                "PositionerIsocenterSecondaryAngle": -20.0,
                "PositionerIsocenterDetectorRotationAngle": 3.0,
                "TableXPositionToIsocenter": 5.0,
                "TableYPositionToIsocenter": 0.0,
                "TableZPositionToIsocenter": 0.0,
            },
            "XRayGeometrySequence": {
                "DistanceSourceToDetector": 1180,
                "DistanceSourceToIsocenter": 765.0,
            },
            "FramePixelDataPropertiesSequence": {
                "ImagerPixelSpacing": [0.4, 0.4],
                "PixelIntensityRelationship": "LIN",
            },
            "FrameContentSequence": {"FrameReferenceDateTime": f"2026010112000{number}.5"},
        }
        for number in range(2)
    ]
    return enhanced(ramp(2, 24, 32), frames=frames, PatientPosition="HFS")

"""Enhanced XA images: the whole pose of every frame, in functional groups (PS3.3 C.8.19)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fluoro.geometry.carm import CarmPose
from fluoro.geometry.patient_position import room_from_patient
from fluoro.geometry.view_text import orientation_letters
from fluoro.xray_files.classic import collimator_attributes
from fluoro.xray_files.modules import (
    code_item,
    described,
    new_dataset,
    pixel_module,
    plain,
    stamp,
    technique,
)
from fluoro.xray_files.numbers import decimal
from fluoro.xray_files.posture import POSTURES
from fluoro.xray_files.private import PrivateGeometry
from fluoro.xray_files.recorded import RecordedFrame, Recording

__all__ = ["enhanced_dataset"]

CLASSIC = (
    "Exposure", "ExposureInuAs", "ExposureTime", "XRayTubeCurrent",
    "ImageAndFluoroscopyAreaDoseProduct", "EntranceDoseInmGy",
)  # fmt: skip
"""Attributes of XA that an enhanced image has others for."""
IMAGE_TYPE = ["DERIVED", "PRIMARY", "ANGIO", "NONE"]


def enhanced_dataset(
    recording: Recording, frames: Sequence[RecordedFrame], size_px: tuple[int, int], instance: int
) -> Any:
    """Return the header of an Enhanced XA image, without its pixels.

    Args:
        recording: Of the run.
        frames: One or more.
        size_px: Columns and rows.
        instance: InstanceNumber.
    """
    from pydicom.uid import generate_uid

    ds = new_dataset(recording, "enhanced_xa", "XA", instance)
    ds.ImageType = IMAGE_TYPE
    described(ds, recording)
    pixel_module(ds, *size_px, recording.bits)
    ds.AcquisitionNumber, ds.AcquisitionDateTime = 1, stamp(recording.began)
    ds.PlanesInAcquisition, ds.PresentationLUTShape = "SINGLE PLANE", "IDENTITY"
    ds.PlaneIdentification = "MONOPLANE"
    ds.AcquisitionContextSequence = []
    ds.ContentQualification = "RESEARCH"
    _posture(ds, recording)
    ds.FrameOfReferenceUID, ds.PositionReferenceIndicator = generate_uid(), ""
    ds.SynchronizationFrameOfReferenceUID = generate_uid()
    ds.SynchronizationTrigger, ds.AcquisitionTimeSynchronized = "NO TRIGGER", "N"
    _acquisition(ds, frames)
    _detector(ds, frames[0], size_px)
    ds.NumberOfFrames = len(frames)
    ds.SharedFunctionalGroupsSequence = [_shared(recording)]
    ds.PerFrameFunctionalGroupsSequence = [
        _per_frame(recording, frames[0], frame, number) for number, frame in enumerate(frames, 1)
    ]
    # a copy at the top: dciodvfy looks there for what PositionOfIsocenterProjection goes with
    ds.IsocenterReferenceSystemSequence = [_isocentre(recording, frames[0])]
    private = PrivateGeometry(
        poses=tuple(frame.pose for frame in frames), isocenter_xyz_mm=recording.isocenter_xyz_mm
    )
    private.write(ds)
    return ds


def _posture(ds: Any, recording: Recording) -> None:
    direction, way, posture, name = POSTURES[recording.patient_position]
    recumbent = code_item("102538003", "SCT", "recumbent")
    recumbent.PatientOrientationModifierCodeSequence = [code_item(posture, "SCT", name)]
    ds.PatientOrientationCodeSequence = [recumbent]
    ds.PatientGantryRelationshipCodeSequence = [code_item(direction, "SCT", way)]


def _acquisition(ds: Any, frames: Sequence[RecordedFrame]) -> None:
    technique(ds, frames)
    for old, new, scale in (
        ("ExposureInuAs", "ExposureInmAs", 1e-3),
        ("ExposureTime", "ExposureTimeInms", 1.0),
        ("XRayTubeCurrent", "XRayTubeCurrentInmA", 1.0),
        ("ImageAndFluoroscopyAreaDoseProduct", "AcquiredImageAreaDoseProduct", 1.0),
    ):
        value = ds.get(old)
        if value is not None:
            setattr(ds, new, float(value) * scale)
    for keyword in CLASSIC:
        if keyword in ds:
            delattr(ds, keyword)
    if ds.KVP is None:
        del ds.KVP
    if "AcquiredImageAreaDoseProduct" not in ds:
        ds.AcquiredImageAreaDoseProduct = None
    ds.AcquisitionDuration = max(frames[-1].time_s - frames[0].time_s, 0.001)
    ds.XRayReceptorType, ds.PositionerType = "DIGITAL_DETECTOR", "CARM"
    ds.CArmPositionerTabletopRelationship = "YES"


def _detector(ds: Any, first: RecordedFrame, size_px: tuple[int, int]) -> None:
    spacing, (column, row) = first.geometry.pixel_spacing_mm, first.geometry.central_pixel_uv
    ds.DetectorType, ds.DetectorID = "SCINTILLATOR", "SIMULATED"
    ds.DetectorElementSpacing = [decimal(spacing, 9)] * 2
    ds.PhysicalDetectorSize = [size_px[1] * spacing, size_px[0] * spacing]
    ds.PositionOfIsocenterProjection = [row - 0.5, column - 0.5]


def _shared(recording: Recording) -> Any:
    code, meaning = recording.anatomy
    region = code_item(code, "SCT", meaning)
    top = (1 << recording.bits) - 1
    groups = {
        "FrameAnatomySequence": plain(FrameLaterality="U", AnatomicRegionSequence=[region]),
        "FrameVOILUTSequence": plain(
            WindowCenter=decimal((top + 1) / 2), WindowWidth=decimal(top + 1)
        ),
        "FrameDetectorParametersSequence": plain(DetectorActivationOffsetFromExposure="0"),
        "IrradiationEventIdentificationSequence": plain(IrradiationEventUID=recording.event_uid),
    }
    return plain(**{keyword: [item] for keyword, item in groups.items()})


def _per_frame(
    recording: Recording, first: RecordedFrame, frame: RecordedFrame, number: int
) -> Any:
    lengths, pose = frame.geometry, frame.pose
    spacing = decimal(lengths.pixel_spacing_mm, 9)
    groups = {
        "FrameContentSequence": _content(recording, frame, number),
        "PatientOrientationInFrameSequence": plain(PatientOrientation=_orientation(frame)),
        "FramePixelDataPropertiesSequence": plain(
            FrameType=IMAGE_TYPE,
            ImagerPixelSpacing=[spacing, spacing],
            PixelIntensityRelationship="LIN" if recording.relationship == "LIN" else "OTHER",
            PixelIntensityRelationshipSign=recording.sign,
            GeometricalProperties="UNIFORM",
            ImageProcessingApplied=_processing(recording),
        ),
        "FieldOfViewSequence": _field(first, frame),
        "XRayGeometrySequence": plain(
            DistanceSourceToDetector=decimal(lengths.source_to_detector_mm),
            DistanceSourceToIsocenter=lengths.source_to_isocenter_mm,
        ),
        "ProjectionPixelCalibrationSequence": _calibration(frame),
        "PositionerPositionSequence": plain(
            PositionerPrimaryAngle=decimal(180 - (180 - pose.lao_deg) % 360),
            PositionerSecondaryAngle=decimal(pose.cra_deg),
        ),
        "TablePositionSequence": _table(recording, first, frame),
        "IsocenterReferenceSystemSequence": _isocentre(recording, frame),
    }
    if frame.tube and frame.tube.tube_voltage_kv:
        groups["FrameAcquisitionSequence"] = _tube(frame)
    collimator = collimator_attributes(recording, frame)
    if collimator:
        groups["CollimatorShapeSequence"] = plain(**collimator)
    return plain(**{keyword: [item] for keyword, item in groups.items()})


def _field(first: RecordedFrame, frame: RecordedFrame) -> Any:
    """The part of the detector that is read out, in the first frame's elements."""
    width_mm, height_mm = frame.geometry.detector_size_mm
    whole_mm, element_mm = first.geometry.detector_size_mm, first.geometry.pixel_spacing_mm
    origin = [(whole_mm[1] - height_mm) / 2, (whole_mm[0] - width_mm) / 2]
    return plain(
        FieldOfViewShape="RECTANGLE",
        FieldOfViewDimensionsInFloat=[height_mm, width_mm],
        FieldOfViewOrigin=[decimal(value / element_mm, 4) for value in origin],
        FieldOfViewRotation="0",
        FieldOfViewHorizontalFlip="NO",
    )


def _orientation(frame: RecordedFrame) -> list[str]:
    _, right, _, bottom = orientation_letters(frame.geometry.view(frame.pose, (0.0, 0.0, 0.0)))
    return [right, bottom]


def _processing(recording: Recording) -> str:
    chain = recording.image_chain
    return "DIGITAL_SUBTR" if chain.dsa else "EDGE_ENH" if chain.edge_enhancement else "NONE"


def _content(recording: Recording, frame: RecordedFrame, number: int) -> Any:
    moment = stamp(recording.moment(frame.time_s))
    width_ms = frame.tube.pulse_width_ms if frame.tube else None
    return plain(
        FrameAcquisitionNumber=number,
        FrameReferenceDateTime=moment,
        FrameAcquisitionDateTime=moment,
        FrameAcquisitionDuration=width_ms or 0.0,
    )


def _calibration(frame: RecordedFrame) -> Any:
    lengths = frame.geometry
    at_isocenter = (
        lengths.pixel_spacing_mm * lengths.source_to_isocenter_mm / lengths.source_to_detector_mm
    )
    return plain(
        DistanceObjectToTableTop=0.0,
        ObjectPixelSpacingInCenterOfBeam=[at_isocenter, at_isocenter],
    )


def _tube(frame: RecordedFrame) -> Any:
    tube = frame.tube
    if tube is None or tube.tube_voltage_kv is None:
        return plain()
    current = tube.tube_current_ma
    known = {} if current is None else {"XRayTubeCurrentInmA": current}
    return plain(KVP=decimal(float(tube.tube_voltage_kv), 1), **known)


def _table(recording: Recording, first: RecordedFrame, frame: RecordedFrame) -> Any:
    """Where the table top is, from an arbitrary point; it does not turn."""
    moved = np.subtract(first.pose.translation_mm, frame.pose.translation_mm)
    x, y, z = room_from_patient(recording.patient_position) @ moved
    return plain(
        TableTopVerticalPosition=decimal(float(y), 4),
        TableTopLongitudinalPosition=decimal(float(x), 4),
        TableTopLateralPosition=decimal(float(z), 4),
        TableHorizontalRotationAngle=0.0,
        TableHeadTiltAngle=0.0,
        TableCradleTiltAngle=0.0,
    )


def _isocentre(recording: Recording, frame: RecordedFrame) -> Any:
    """The positioner in the room, and the patient on the table about the untranslated isocentre."""
    room = room_from_patient(recording.patient_position)
    turned = np.eye(4)
    turned[:3, :3] = room @ frame.pose.world_from_carm((0.0, 0.0, 0.0))[:3, :3]
    angles = CarmPose.from_world_from_carm(turned, (0.0, 0.0, 0.0))
    x, y, z = (-room @ np.array(frame.pose.translation_mm)).tolist()
    return plain(
        PositionerIsocenterPrimaryAngle=angles.lao_deg,
        PositionerIsocenterSecondaryAngle=angles.cra_deg,
        PositionerIsocenterDetectorRotationAngle=angles.roll_deg,
        TableXPositionToIsocenter=x,
        TableYPositionToIsocenter=y,
        TableZPositionToIsocenter=z,
        TableHorizontalRotationAngle=0.0,
        TableHeadTiltAngle=0.0,
        TableCradleTiltAngle=0.0,
    )

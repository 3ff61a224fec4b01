"""XA and XRF images: one value for a run, increments for what moves (PS3.3 C.8.7)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fluoro.config import RectangleCollimator
from fluoro.geometry.patient_position import room_from_patient
from fluoro.geometry.view_text import orientation_letters
from fluoro.xray_files.modules import described, new_dataset, pixel_module, technique
from fluoro.xray_files.numbers import decimal
from fluoro.xray_files.private import PrivateGeometry
from fluoro.xray_files.recorded import RecordedFrame, Recording
from fluoro.xray_files.tilt import detector_angles_deg

__all__ = ["classic_dataset", "collimator_attributes"]

FRAME_TIME, FRAME_TIME_VECTOR = 0x00181063, 0x00181065
EVEN_MS = 1e-3
"""Frames whose times differ by less from an even pace [ms] have one FrameTime."""


def classic_dataset(
    recording: Recording, frames: Sequence[RecordedFrame], size_px: tuple[int, int], instance: int
) -> Any:
    """Return the header of an XA or XRF image, without its pixels.

    Args:
        recording: Of the run.
        frames: One or more, with one geometry.
        size_px: Columns and rows.
        instance: InstanceNumber.
    """
    fluoroscopy = recording.object == "XRF"
    ds = new_dataset(recording, recording.object, "RF" if fluoroscopy else "XA", instance)
    ds.ImageType = ["DERIVED", "PRIMARY", "SINGLE PLANE"]
    described(ds, recording)
    ds.Laterality = ""
    ds.AcquisitionDate, ds.AcquisitionTime = ds.ContentDate, ds.ContentTime
    ds.PatientPosition = recording.patient_position
    ds.IrradiationEventUID = recording.event_uid
    pixel_module(ds, *size_px, recording.bits)
    ds.WindowCenter, ds.WindowWidth = 1 << recording.bits >> 1, 1 << recording.bits
    ds.PixelIntensityRelationship = recording.relationship
    ds.PixelIntensityRelationshipSign = recording.sign
    technique(ds, frames)
    _times(ds, frames)
    _positioner(ds, recording, frames)
    _detector(ds, recording, frames[0])
    private = PrivateGeometry(
        poses=tuple(frame.pose for frame in frames),
        isocenter_xyz_mm=recording.isocenter_xyz_mm,
        detector_offset_mm=frames[0].geometry.detector_offset_mm,
    )
    private.write(ds)
    return ds


def _times(ds: Any, frames: Sequence[RecordedFrame]) -> None:
    if len(frames) == 1:
        return
    ds.NumberOfFrames = len(frames)
    steps_ms = np.diff([frame.time_s for frame in frames]) * 1e3
    mean_ms = float(steps_ms.mean())
    if mean_ms > 0 and np.abs(steps_ms - mean_ms).max() < EVEN_MS:
        ds.FrameIncrementPointer, ds.FrameTime = FRAME_TIME, decimal(mean_ms, 6)
    else:
        ds.FrameIncrementPointer = FRAME_TIME_VECTOR
        ds.FrameTimeVector = ["0", *(decimal(float(step), 3) for step in steps_ms)]
    if mean_ms > 0:
        ds.CineRate = max(1, round(1000 / mean_ms))
        ds.RecommendedDisplayFrameRate = ds.CineRate


def _positioner(ds: Any, recording: Recording, frames: Sequence[RecordedFrame]) -> None:
    first, lengths = frames[0].pose, frames[0].geometry
    ds.DistanceSourceToDetector = decimal(lengths.source_to_detector_mm)
    ds.DistanceSourceToPatient = decimal(lengths.source_to_isocenter_mm)
    ratio = lengths.source_to_detector_mm / lengths.source_to_isocenter_mm
    ds.EstimatedRadiographicMagnificationFactor = decimal(ratio, 6)
    ds.PositionerPrimaryAngle = decimal(_wrapped_deg(first.lao_deg))
    ds.PositionerSecondaryAngle = decimal(first.cra_deg)
    if any(lengths.detector_tilt_deg):
        primary, secondary = detector_angles_deg(lengths.detector_tilt_deg)
        ds.DetectorPrimaryAngle, ds.DetectorSecondaryAngle = decimal(primary), decimal(secondary)
    view = lengths.view(first, (0.0, 0.0, 0.0))
    _, right, _, bottom = orientation_letters(view)
    ds.PatientOrientation = [right, bottom]
    turns = np.array([(f.pose.lao_deg, f.pose.cra_deg) for f in frames])
    moves = np.array([f.pose.translation_mm for f in frames])
    ds.PositionerMotion = "DYNAMIC" if np.ptp(turns, axis=0).any() else "STATIC"
    if ds.PositionerMotion == "DYNAMIC":
        for column, name in enumerate(("Primary", "Secondary")):
            steps = [decimal(float(value)) for value in turns[:, column] - turns[0, column]]
            setattr(ds, f"Positioner{name}AngleIncrement", steps)
    _table(ds, recording, moves[0] - moves)


def _wrapped_deg(angle_deg: float) -> float:
    """The same angle in (-180, 180]."""
    return 180 - (180 - angle_deg) % 360


def _table(ds: Any, recording: Recording, moved_xyz_mm: Any) -> None:
    """The table's motion from the first frame: the C-arm's, the other way."""
    down = room_from_patient(recording.patient_position)[1]
    if not np.allclose(np.abs(down), (0, 1, 0)):  # on the side: the axes have no such names
        return
    ds.TableMotion = "DYNAMIC" if np.ptp(moved_xyz_mm, axis=0).any() else "STATIC"
    if ds.TableMotion == "STATIC":
        return
    columns = {
        "Longitudinal": moved_xyz_mm[:, 0],
        "Lateral": moved_xyz_mm[:, 2],
        "Vertical": moved_xyz_mm @ down,
    }
    for name, values in columns.items():
        setattr(ds, f"Table{name}Increment", [decimal(float(value), 4) for value in values])


def _detector(ds: Any, recording: Recording, first: RecordedFrame) -> None:
    spacing = decimal(first.geometry.pixel_spacing_mm, 9)
    ds.ImagerPixelSpacing = [spacing, spacing]
    for keyword, value in collimator_attributes(recording, first).items():
        setattr(ds, keyword, value)


def collimator_attributes(recording: Recording, frame: RecordedFrame) -> dict[str, Any]:
    """Return the collimator's shape in pixels counted from 1; none where there is no collimator."""
    collimator, given = recording.image_chain.collimator, frame.geometry
    if collimator is None:
        return {}
    columns, rows = given.detector_width_px, given.detector_height_px
    if not isinstance(collimator, RectangleCollimator):
        radius = collimator.diameter_mm / 2 / given.pixel_spacing_mm
        return {
            "CollimatorShape": "CIRCULAR",
            "CenterOfCircularCollimator": [round(rows / 2 + 0.5), round(columns / 2 + 0.5)],
            "RadiusOfCircularCollimator": max(1, round(radius)),
        }
    half_width, half_height = (
        side / 2 / given.pixel_spacing_mm for side in (collimator.width_mm, collimator.height_mm)
    )
    return {
        "CollimatorShape": "RECTANGULAR",
        "CollimatorLeftVerticalEdge": round(columns / 2 - half_width),
        "CollimatorRightVerticalEdge": round(columns / 2 + half_width) + 1,
        "CollimatorUpperHorizontalEdge": round(rows / 2 - half_height),
        "CollimatorLowerHorizontalEdge": round(rows / 2 + half_height) + 1,
    }

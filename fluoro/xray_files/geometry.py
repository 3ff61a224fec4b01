"""From the tags of an X-ray image to our C-arm: lengths, detector, and a pose for each frame.

docs/xray_files.md has the table of tags. What the file does not say stays None here and is in the
notes with the key that says it in its place.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fluoro.errors import InputError
from fluoro.geometry.carm import CarmGeometry, CarmPose
from fluoro.geometry.patient_position import room_from_patient
from fluoro.geometry.se3 import rotation_x, rotation_y, rotation_z
from fluoro.names import PatientPosition
from fluoro.volume.formats.dicom.tags import Tags, named
from fluoro.xray_files.header import XrayHeader
from fluoro.xray_files.image_orientation import ImageOrientation, direction_of, orientation_towards
from fluoro.xray_files.notes import Notes
from fluoro.xray_files.posture import patient_position
from fluoro.xray_files.private import PrivateGeometry
from fluoro.xray_files.tilt import tilt_from_detector_angles_deg

__all__ = ["FrameGeometry", "GeometryReader"]

Vector = NDArray[np.float64]
Vector3 = tuple[float, float, float]

SAME_RATIO = 0.01
"""Lengths that two attributes give may differ by this share."""
SAME_DEG = 0.5
"""Angles that two attributes give may differ by so much [degrees]."""
SQUARE_RATIO = 1e-3
"""Largest difference of the two pixel spacings that counts as square."""
FIELD_RATIO = 0.05
"""The field that FieldOfViewDimensions names may differ from the pixels' by this share: it is the
receptor's nominal one, in whole millimetres."""


@dataclass(frozen=True, kw_only=True)
class FrameGeometry:
    """What a file says of the C-arm at one frame; None where it does not.

    Attributes:
        size_px: Columns and rows of the image, turned as the C-arm has it.
        orientation: What turns the stored image so.
        source_to_detector_mm: Focal spot to detector [mm].
        source_to_isocenter_mm: Focal spot to isocentre [mm].
        pixel_spacing_mm: Distance of columns and of rows at the detector [mm].
        detector_offset_mm: Detector's middle off the central ray, along columns and rows [mm].
        detector_tilt_deg: Turns of the detector about its columns, then its rows [degrees].
        pose: Where the C-arm stood; its translation is relative to `isocenter_xyz_mm`.
        isocenter_xyz_mm: Isocentre of the untranslated C-arm in the CT's patient LPS [mm], which
            only files of fluoro's own know.
    """

    size_px: tuple[int, int]
    orientation: ImageOrientation
    source_to_detector_mm: float | None
    source_to_isocenter_mm: float | None
    pixel_spacing_mm: float | None
    detector_offset_mm: tuple[float, float]
    detector_tilt_deg: tuple[float, float]
    pose: CarmPose | None
    isocenter_xyz_mm: Vector3 | None = None

    def carm(self) -> CarmGeometry:
        """Return lengths and detector as the renderer takes them.

        Raises:
            InputError: Something is not known.
        """
        lengths = {name: getattr(self, name) for name in LENGTHS}
        unknown = [f"carm.{name}" for name, value in lengths.items() if value is None]
        if unknown:
            raise InputError(f"the file does not say {', '.join(unknown)}")
        return CarmGeometry(
            detector_width_px=self.size_px[0],
            detector_height_px=self.size_px[1],
            detector_offset_mm=self.detector_offset_mm,
            detector_tilt_deg=self.detector_tilt_deg,
            **lengths,
        )


LENGTHS = ("source_to_detector_mm", "source_to_isocenter_mm", "pixel_spacing_mm")


class GeometryReader:
    """Reads the geometry of a file's frames.

    Args:
        header: Of the file.
        notes: Where what is missing, assumed or contradictory is noted.
    """

    def __init__(self, header: XrayHeader, notes: Notes) -> None:
        self._header, self._notes = header, notes
        self._private = PrivateGeometry.of(header.dataset, header.frames)
        self._first = header.tags

    def frame(self, index: int) -> FrameGeometry:
        """Return the geometry at one frame, counted from 0."""
        tags = self._header.frame_tags(index)
        stored = (tags.count("Columns", 1, 65535), tags.count("Rows", 1, 65535))
        sdd_mm, sod_mm = self._lengths(tags)
        spacing_mm = self._spacing(tags, stored)
        pose = self._pose(tags, index)
        orientation = self._turn(tags, pose)
        return FrameGeometry(
            size_px=orientation.size_px(*stored),
            orientation=orientation,
            source_to_detector_mm=sdd_mm,
            source_to_isocenter_mm=sod_mm,
            pixel_spacing_mm=spacing_mm,
            detector_offset_mm=self._offset(tags, orientation.size_px(*stored), spacing_mm),
            detector_tilt_deg=self._tilt(tags, orientation),
            pose=pose,
            isocenter_xyz_mm=self._private.isocenter_xyz_mm if self._private else None,
        )

    # Lengths

    def _lengths(self, tags: Tags) -> tuple[float | None, float | None]:
        sdd = self._positive(tags, "DistanceSourceToDetector")
        sod = self._positive(tags, "DistanceSourceToIsocenter")
        sod = self._positive(tags, "DistanceSourceToPatient") if sod is None else sod
        ratio = self._positive(tags, "EstimatedRadiographicMagnificationFactor")
        if sdd and sod and ratio and abs(sdd / sod - ratio) > SAME_RATIO * ratio:
            self._notes.contradictory(
                f"{named('EstimatedRadiographicMagnificationFactor')} is {ratio:g}, the distances "
                f"give {sdd / sod:.4g}: the distances count"
            )
        if ratio and sdd and sod is None:
            sod = sdd / ratio
            self._notes.assumed(f"source to isocentre {sod:.5g} mm, from the magnification")
        if ratio and sod and sdd is None:
            sdd = sod * ratio
            self._notes.assumed(f"source to detector {sdd:.5g} mm, from the magnification")
        if sdd and sod and sod >= sdd:
            self._notes.contradictory(
                f"the isocentre, {sod:g} mm from the source, is not before the detector at "
                f"{sdd:g} mm: give carm.source_to_isocenter_mm"
            )
            sod = None
        if sdd is None:
            self._notes.missing("DistanceSourceToDetector", "carm.source_to_detector_mm")
        if sod is None:
            self._notes.missing(
                "DistanceSourceToIsocenter" if self._header.enhanced else "DistanceSourceToPatient",
                "carm.source_to_isocenter_mm",
            )
        return sdd, sod

    def _positive(self, tags: Tags, keyword: str) -> float | None:
        """A length; None where there is none, or 0, which devices write for it."""
        value = self._number(tags, keyword)
        if value is not None and value < 0:
            self._notes.contradictory(f"{named(keyword)} is {value:g}, less than 0: left out")
            return None
        return value or None

    def _number(self, tags: Tags, keyword: str) -> float | None:
        values = self._numbers(tags, keyword)
        return values[0] if values else None

    def _numbers(self, tags: Tags, keyword: str) -> list[float]:
        """The numbers of an attribute; none where it is missing or has others."""
        text = tags.text(keyword)
        if not text:
            return []
        try:
            return tags.numbers(keyword, text.count("\\") + 1)
        except InputError:
            self._notes.contradictory(f"{named(keyword)} is {text[:40]!r}, no number: left out")
            return []

    # The detector

    def _spacing(self, tags: Tags, size_px: tuple[int, int]) -> float | None:
        keyword = "ImagerPixelSpacing"
        found = self._square(keyword, self._numbers(tags, keyword))
        if found is None:
            found = self._calibrated_spacing(tags)
        field = self._field_spacing(tags, size_px)
        if found is None and field is not None:
            self._notes.assumed(f"pixels of {field:.5g} mm, from {named('FieldOfViewDimensions')}")
            return field
        if found is None:
            self._notes.missing(keyword, "carm.pixel_spacing_mm")
        elif field is not None and abs(field - found) > FIELD_RATIO * field:
            self._notes.contradictory(
                f"{named('FieldOfViewDimensions')} gives pixels of {field:.4g} mm, "
                f"{named(keyword)} {found:.4g} mm, which counts: is the image binned?"
            )
        return found

    def _square(self, keyword: str, values: Sequence[float]) -> float | None:
        if len(values) != 2 or min(values) <= 0:
            if values and any(values):
                self._notes.contradictory(f"{named(keyword)} must be 2 lengths, got {values}")
            return None
        rows, columns = values
        if abs(rows - columns) > SQUARE_RATIO * columns:
            self._notes.contradictory(
                f"{named(keyword)}: rows {rows:g} mm apart, columns {columns:g} mm: only square "
                "pixels are read; resample the image"
            )
            return None
        return columns

    def _calibrated_spacing(self, tags: Tags) -> float | None:
        spacing = self._square("PixelSpacing", self._numbers(tags, "PixelSpacing"))
        if spacing is None:
            return None
        ratio = self._positive(tags, "EstimatedRadiographicMagnificationFactor")
        if tags.text("PixelSpacingCalibrationType"):
            if ratio is None:
                return None
            spacing *= ratio
        self._notes.assumed(f"pixels of {spacing:.5g} mm at the detector, from PixelSpacing")
        return spacing

    def _field_spacing(self, tags: Tags, size_px: tuple[int, int]) -> float | None:
        values = self._numbers(tags, "FieldOfViewDimensions")
        if not values or min(values) <= 0:
            return None
        return max(values) / max(size_px)

    def _offset(
        self, tags: Tags, size_px: tuple[int, int], spacing_mm: float | None
    ) -> tuple[float, float]:
        """From PositionOfIsocenterProjection, in elements from the first one's centre.

        It is given along a column, then along a row: PS3.3 calls the direction in which the
        column number grows the row direction (C.8.7.5.1.4).
        """
        keyword = "PositionOfIsocenterProjection"
        found = self._numbers(tags, keyword)
        if len(found) != 2 or spacing_mm is None:
            if self._private and self._private.detector_offset_mm:
                return self._private.detector_offset_mm
            self._notes.assumed("the central ray meets the middle of the image")
            return (0.0, 0.0)
        elements = self._numbers(tags, "DetectorElementSpacing") or [spacing_mm] * 2
        origin = self._numbers(tags, "FieldOfViewOrigin") or [0.0, 0.0]
        pairs = zip(found, origin, elements, reversed(size_px), strict=True)
        v, u = (
            (count / 2) * spacing_mm - (at + 0.5 - first) * element
            for at, first, element, count in pairs
        )
        return (u, v)

    def _tilt(self, tags: Tags, orientation: ImageOrientation) -> tuple[float, float]:
        """Turns of the panel from the beam's angles against its normal."""
        primary = self._number(tags, "DetectorPrimaryAngle") or 0.0
        secondary = self._number(tags, "DetectorSecondaryAngle") or 0.0
        across, down = orientation.vector(primary, -secondary)
        return tilt_from_detector_angles_deg(across, -down)

    # The pose

    def _pose(self, tags: Tags, index: int) -> CarmPose | None:
        own = self._private.pose(index) if self._private else None
        angles = self._angles(tags, index)
        room = self._room_pose(tags)
        if room is not None:
            if angles is not None and _apart_deg(room, angles) > SAME_DEG:
                self._notes.contradictory(
                    f"the isocentre reference system gives {_angles_text(room)}, the patient's "
                    f"angles {angles[0]:g} / {angles[1]:g}: the former counts"
                )
            return self._checked(own, (room.lao_deg, room.cra_deg)) or room
        if angles is None:
            return own
        own = self._checked(own, angles)
        if own is None:
            self._notes.assumed("the detector is not turned about the beam (roll 0)")
            self._notes.assumed(
                "the table's place is not known: the isocentre starts at the CT's middle or at "
                "carm.isocenter_mm"
            )
        return own or CarmPose(
            lao_deg=angles[0], cra_deg=angles[1], translation_mm=self._moved(tags, index)
        )

    def _checked(self, own: CarmPose | None, angles: tuple[float, float]) -> CarmPose | None:
        """The pose of fluoro's own block, if the standard's attributes agree with it."""
        if own is None or _apart_deg(own, angles) <= SAME_DEG:
            return own
        self._notes.contradictory(
            f"fluoro's own block gives {_angles_text(own)}, the standard's attributes "
            f"{angles[0]:g} / {angles[1]:g}, which count"
        )
        return None

    def _angles(self, tags: Tags, index: int) -> tuple[float, float] | None:
        names = ("PositionerPrimaryAngle", "PositionerSecondaryAngle")
        values = [self._number(tags, name) for name in names]
        if None in values:
            if self._room_angles(tags) is None:
                self._notes.missing(
                    names[values.index(None)], "registration.start.pose, or the pose source's pose"
                )
            return None
        found = [value for value in values if value is not None]
        for name, value, most in zip(names, found, (180, 90), strict=True):
            if abs(value) > most:
                self._notes.contradictory(
                    f"{named(name)} is {value:g}, beyond {most} degrees: taken as it is"
                )
        if not self._header.enhanced:
            steps = [self._increment(tags, f"{name}Increment", index) for name in names]
            if None in steps:
                return None
            if tags.text("PositionerMotion") == "DYNAMIC" and not any(
                tags.text(f"{name}Increment") for name in names
            ):
                self._notes.contradictory(
                    f"{named('PositionerMotion')} is DYNAMIC, but no increments say how: taken as "
                    "static"
                )
            found = [value + (step or 0.0) for value, step in zip(found, steps, strict=True)]
        return found[0], found[1]

    def _increment(self, tags: Tags, keyword: str, index: int) -> float | None:
        """What an increment adds at a frame; None where its values do not fit the frames."""
        values = self._numbers(tags, keyword)
        if not values:
            return 0.0
        if len(values) == self._header.frames:
            return values[index]
        self._notes.contradictory(
            f"{named(keyword)} has {len(values)} values for {self._header.frames} frames: give "
            "the poses by hand"
        )
        return None

    def _moved(self, tags: Tags, index: int) -> Vector3:
        """The C-arm's translation, against that of the table, relative to the first frame."""
        across, along, down = (
            self._table_shift(tags, index, *names)
            for names in (
                ("TableLongitudinalIncrement", "TableTopLongitudinalPosition"),
                ("TableLateralIncrement", "TableTopLateralPosition"),
                ("TableVerticalIncrement", "TableTopVerticalPosition"),
            )
        )
        moved = np.array([across, 0.0, along])
        if down:
            moved += down * room_from_patient(self._position(tags))[1]
        return _triple(-moved)

    def _table_shift(self, tags: Tags, index: int, increment: str, position: str) -> float:
        if not self._header.enhanced:
            return self._increment(tags, increment, index) or 0.0
        now, first = self._number(tags, position), self._number(self._first, position)
        return 0.0 if now is None or first is None else now - first

    def _position(self, tags: Tags) -> PatientPosition:
        known = patient_position(tags)
        if known is None:
            self._notes.assumed("the patient lies head first, supine")
        return known or "HFS"

    def _room_angles(self, tags: Tags) -> tuple[float, float, float] | None:
        names = ("Primary", "Secondary", "DetectorRotation")
        values = [self._number(tags, f"PositionerIsocenter{name}Angle") for name in names]
        found = [value for value in values if value is not None]
        return (found[0], found[1], found[2]) if len(found) == 3 else None

    def _room_pose(self, tags: Tags) -> CarmPose | None:
        """The pose from the isocentre reference system (PS3.3 C.8.19.6.13); None: there is none."""
        angles = self._room_angles(tags)
        if angles is None:
            return None
        names = [f"Table{axis}PositionToIsocenter" for axis in "XYZ"]
        table_mm = np.array([self._number(tags, name) or 0.0 for name in names])
        turns = ("TableHorizontalRotationAngle", "TableHeadTiltAngle", "TableCradleTiltAngle")
        horizontal, head, cradle = (math.radians(self._number(tags, name) or 0.0) for name in turns)
        room_from_table = (rotation_y(horizontal) @ rotation_x(head) @ rotation_z(-cradle))[:3, :3]
        patient_from_room = (room_from_table @ room_from_patient(self._position(tags))).T
        carm = CarmPose(lao_deg=angles[0], cra_deg=angles[1], roll_deg=angles[2])
        world_from_carm = np.eye(4)
        world_from_carm[:3, :3] = patient_from_room @ carm.world_from_carm((0, 0, 0))[:3, :3]
        world_from_carm[:3, 3] = -patient_from_room @ table_mm
        return CarmPose.from_world_from_carm(world_from_carm, (0, 0, 0))

    # How the image lies

    def _turn(self, tags: Tags, pose: CarmPose | None) -> ImageOrientation:
        if tags.text("FieldOfViewRotation") or tags.text("FieldOfViewHorizontalFlip"):
            return self._turn_of_field(tags)
        letters = tags.text("PatientOrientation").split("\\")
        directions = [direction_of(each) for each in letters]
        if len(letters) != 2 or pose is None or directions[0] is None or directions[1] is None:
            if pose is not None:
                self._notes.assumed("the image is not mirrored: seen from the detector, head up")
            return ImageOrientation()
        u, v, *_ = pose.axes((0, 0, 0))
        orientation = orientation_towards(
            (directions[0], directions[1]), (np.array(u), np.array(v))
        )
        if orientation != ImageOrientation():
            self._notes.assumed(
                f"the image is {orientation}, as {named('PatientOrientation')} "
                f"{letters[0]}\\{letters[1]} and the angles demand"
            )
        return orientation

    def _turn_of_field(self, tags: Tags) -> ImageOrientation:
        """Undo the flip, then the clockwise turn (PS3.3 C.8.19.6.2)."""
        turned = self._number(tags, "FieldOfViewRotation") or 0.0
        if turned % 90:
            self._notes.contradictory(
                f"{named('FieldOfViewRotation')} is {turned:g}: only multiples of 90 are read"
            )
            turned = 0.0
        flipped = tags.text("FieldOfViewHorizontalFlip") == "YES"
        return ImageOrientation(mirror=flipped, quarter_turns=round(turned / 90) % 4)


def _apart_deg(pose: CarmPose, angles: tuple[float, float]) -> float:
    """Angle between the central rays of a pose and of two angles [degrees]."""
    *_, here, _ = pose.axes((0, 0, 0))
    *_, there, _ = CarmPose(lao_deg=angles[0], cra_deg=angles[1]).axes((0, 0, 0))
    return math.degrees(math.acos(min(1.0, max(-1.0, float(np.dot(here, there))))))


def _angles_text(pose: CarmPose) -> str:
    return f"{pose.lao_deg:.4g} / {pose.cra_deg:.4g}"


def _triple(values: Vector) -> Vector3:
    x, y, z = (float(value) + 0.0 for value in values)
    return x, y, z

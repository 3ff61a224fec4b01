"""The C-arm: its fixed lengths, its detector, its pose, and the view that results.

Angles follow DICOM XA (PS3.3 C.8.7.5.1.2): the primary angle is positive towards LAO, the
secondary towards cranial. docs/conventions.md has the pictures.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fluoro.errors import InputError
from fluoro.geometry.projection import View
from fluoro.geometry.se3 import rotation_x, rotation_y, rotation_z, translation

__all__ = ["CarmGeometry", "CarmPose"]

Vector3 = tuple[float, float, float]
POLE_COSINE = 1e-8
"""Below this cos(cra) the beam runs along the patient's axis: only lao and roll together count."""


@dataclass(frozen=True, kw_only=True)
class CarmGeometry:
    """A C-arm's lengths and its flat detector.

    Attributes:
        source_to_detector_mm: Focal spot to detector plane [mm] (DICOM's SID).
        source_to_isocenter_mm: Focal spot to isocentre [mm], less than the former.
        detector_width_px: Detector columns.
        detector_height_px: Detector rows.
        pixel_spacing_mm: Distance between pixel centres in both directions [mm].

    Raises:
        InputError: A length or count that is not positive, or an isocentre behind the detector.
    """

    source_to_detector_mm: float = 1020.0
    source_to_isocenter_mm: float = 510.0
    detector_width_px: int = 512
    detector_height_px: int = 512
    pixel_spacing_mm: float = 0.5

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not math.isfinite(value) or value <= 0:
                raise InputError(f"{name} must be a positive number, got {value}")
        if self.source_to_isocenter_mm >= self.source_to_detector_mm:
            raise InputError(
                f"source_to_isocenter_mm must be less than source_to_detector_mm "
                f"({self.source_to_detector_mm}), got {self.source_to_isocenter_mm}"
            )

    @property
    def detector_size_mm(self) -> tuple[float, float]:
        """Width and height of the active area [mm]."""
        return (
            self.detector_width_px * self.pixel_spacing_mm,
            self.detector_height_px * self.pixel_spacing_mm,
        )

    def view(self, pose: CarmPose, isocenter_xyz_mm: Sequence[float]) -> View:
        """The source and the detector's pixels in world LPS [mm] at one pose."""
        world_from_carm = pose.world_from_carm(isocenter_xyz_mm)
        rotation = world_from_carm[:3, :3]
        du, dv = rotation[:, 0] * self.pixel_spacing_mm, -rotation[:, 2] * self.pixel_spacing_mm
        isocenter_to_detector_mm = self.source_to_detector_mm - self.source_to_isocenter_mm
        detector_center = world_from_carm @ [0.0, -isocenter_to_detector_mm, 0.0, 1.0]
        source = world_from_carm @ [0.0, self.source_to_isocenter_mm, 0.0, 1.0]
        half = du * self.detector_width_px / 2 + dv * self.detector_height_px / 2
        return View(
            source_xyz_mm=source[:3],
            corner_xyz_mm=detector_center[:3] - half,
            column_step_xyz_mm=du,
            row_step_xyz_mm=dv,
            width_px=self.detector_width_px,
            height_px=self.detector_height_px,
        )


@dataclass(frozen=True, kw_only=True)
class CarmPose:
    """Where the C-arm stands.

    Attributes:
        lao_deg: Primary angle [degrees]; positive LAO, negative RAO.
        cra_deg: Secondary angle [degrees]; positive cranial, negative caudal.
        roll_deg: Rotation of the detector about the beam [degrees].
        translation_mm: Displacement of the whole C-arm in world LPS [mm]; a table move m is
            the translation -m.

    Raises:
        InputError: A value that is not finite.
    """

    lao_deg: float = 0.0
    cra_deg: float = 0.0
    roll_deg: float = 0.0
    translation_mm: Vector3 = (0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        values = (self.lao_deg, self.cra_deg, self.roll_deg, *self.translation_mm)
        if len(values) != 6 or not all(math.isfinite(value) for value in values):
            raise InputError(
                f"pose must be 3 finite angles [deg] and 3 finite translations [mm], got {values}"
            )

    def world_from_carm(self, isocenter_xyz_mm: Sequence[float]) -> NDArray[np.float64]:
        """4x4: T(isocentre + translation) Rz(lao) Rx(-cra) Ry(roll), C-arm frame to world LPS."""
        center = np.asarray(isocenter_xyz_mm, float) + self.translation_mm
        lao, cra, roll = np.radians([self.lao_deg, self.cra_deg, self.roll_deg])
        turn = rotation_z(lao) @ rotation_x(-cra) @ rotation_y(roll)
        return translation(center) @ turn

    @classmethod
    def from_world_from_carm(
        cls, world_from_carm: NDArray[np.float64], isocenter_xyz_mm: Sequence[float]
    ) -> CarmPose:
        """The pose whose `world_from_carm` this is; angles in (-180, 180], cranial in [-90, 90]."""
        r = np.asarray(world_from_carm, float)[:3, :3]
        cosine = math.hypot(r[0, 1], r[1, 1])
        if cosine > POLE_COSINE:
            lao = math.atan2(-r[0, 1], r[1, 1])
            x_axis = math.cos(lao) * r[0] + math.sin(lao) * r[1]  # row x of Rx(-cra) Ry(roll)
            roll = math.atan2(x_axis[2], x_axis[0])
        else:
            lao, roll = math.atan2(r[1, 0], r[0, 0]), 0.0
        cra = math.atan2(-r[2, 1], cosine)
        offset = np.asarray(world_from_carm, float)[:3, 3] - np.asarray(isocenter_xyz_mm, float)
        x, y, z = (float(value) for value in offset)
        return cls(
            lao_deg=math.degrees(lao),
            cra_deg=math.degrees(cra),
            roll_deg=math.degrees(roll),
            translation_mm=(x, y, z),
        )

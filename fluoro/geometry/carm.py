"""The C-arm: its fixed lengths, its detector, its pose, and the view that results.

Angles follow DICOM XA (PS3.3 C.8.7.5.1.2): the primary angle is positive towards LAO, the
secondary towards cranial. docs/conventions.md has the images.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fluoro.errors import InputError, require_type
from fluoro.geometry.flex import FLEX_COLUMNS, FlexTable
from fluoro.geometry.projection import View
from fluoro.geometry.se3 import rotation_x, rotation_y, rotation_z

__all__ = ["CarmGeometry", "CarmPose"]

Vector3 = tuple[float, float, float]
Vector4 = tuple[float, float, float, float]
POLE_COSINE = 1e-8
"""Below this cos(cra) the beam runs along the patient's axis: only lao and roll together count."""

POSITIVE = (
    "source_to_detector_mm",
    "source_to_isocenter_mm",
    "detector_width_px",
    "detector_height_px",
    "pixel_spacing_mm",
)
MAX_TILT_DEG = 60.0


@dataclass(frozen=True, kw_only=True)
class CarmGeometry:
    """A C-arm's lengths and its flat detector.

    Attributes:
        source_to_detector_mm: Focal spot to detector plane [mm] (DICOM's SID).
        source_to_isocenter_mm: Focal spot to isocentre [mm], less than the former.
        detector_width_px: Detector columns.
        detector_height_px: Detector rows.
        pixel_spacing_mm: Distance between pixel centres in both directions [mm].
        detector_offset_mm: Shift of the detector's middle from the central ray along its columns
            and rows [mm].
        detector_tilt_deg: Right-handed turns about the detector's columns, then its rows, with the
            point that the central ray meets held [degrees].
        flex: Motions of source and detector that come with the primary angle; None: rigid.

    Raises:
        InputError: A length or count that is not positive, an isocentre behind the detector, a
            tilt of more than 60 degrees.
    """

    source_to_detector_mm: float = 1020.0
    source_to_isocenter_mm: float = 510.0
    detector_width_px: int = 512
    detector_height_px: int = 512
    pixel_spacing_mm: float = 0.5
    detector_offset_mm: tuple[float, float] = (0.0, 0.0)
    detector_tilt_deg: tuple[float, float] = (0.0, 0.0)
    flex: FlexTable | None = None

    def __post_init__(self) -> None:
        for name in POSITIVE:
            value = getattr(self, name)
            if not math.isfinite(value) or value <= 0:
                raise InputError(f"{name} must be a positive number, got {value}")
        if self.source_to_isocenter_mm >= self.source_to_detector_mm:
            raise InputError(
                f"source_to_isocenter_mm must be less than source_to_detector_mm "
                f"({self.source_to_detector_mm}), got {self.source_to_isocenter_mm}"
            )
        _require_pair("detector_offset_mm", self.detector_offset_mm, math.inf)
        _require_pair("detector_tilt_deg", self.detector_tilt_deg, MAX_TILT_DEG)

    @property
    def detector_size_mm(self) -> tuple[float, float]:
        """Width and height of the active area [mm]."""
        return (
            self.detector_width_px * self.pixel_spacing_mm,
            self.detector_height_px * self.pixel_spacing_mm,
        )

    @property
    def central_pixel_uv(self) -> tuple[float, float]:
        """Where the ray through the isocentre lands, corner-based pixels; flex left aside."""
        u_mm, v_mm = self.detector_offset_mm
        return (
            self.detector_width_px / 2 - u_mm / self.pixel_spacing_mm,
            self.detector_height_px / 2 - v_mm / self.pixel_spacing_mm,
        )

    def cropped(self, columns: tuple[int, int], rows: tuple[int, int]) -> CarmGeometry:
        """Return the part of the detector from the first to before the second column and row.

        Raises:
            InputError: A range that is empty or leaves the detector.
        """
        counts = (self.detector_width_px, self.detector_height_px)
        for name, span, count in zip(("columns", "rows"), (columns, rows), counts, strict=True):
            if not 0 <= span[0] < span[1] <= count:
                raise InputError(f"{name} must be a range within 0 to {count}, got {tuple(span)}")
        u_mm, v_mm = (
            offset + (sum(span) - count) / 2 * self.pixel_spacing_mm
            for offset, span, count in zip(
                self.detector_offset_mm, (columns, rows), counts, strict=True
            )
        )
        return replace(
            self,
            detector_width_px=columns[1] - columns[0],
            detector_height_px=rows[1] - rows[0],
            detector_offset_mm=(u_mm, v_mm),
        )

    def binned(self, factor: int) -> CarmGeometry:
        """Return the same field with `factor` x `factor` pixels read out as one.

        Raises:
            InputError: A factor that does not divide columns and rows.
        """
        for name in ("detector_width_px", "detector_height_px"):
            count = getattr(self, name)
            if factor < 1 or count % factor:
                raise InputError(f"binning must divide {name} ({count}), got {factor}")
        return replace(
            self,
            detector_width_px=self.detector_width_px // factor,
            detector_height_px=self.detector_height_px // factor,
            pixel_spacing_mm=self.pixel_spacing_mm * factor,
        )

    def magnified(self, factor: float) -> CarmGeometry:
        """Return a field `factor` times smaller on as many pixels, about the detector's middle.

        Raises:
            InputError: A factor that is not positive.
        """
        if not (math.isfinite(factor) and factor > 0):
            raise InputError(f"magnification must be a positive number, got {factor}")
        return replace(self, pixel_spacing_mm=self.pixel_spacing_mm / factor)

    def view(self, pose: CarmPose, isocenter_xyz_mm: Sequence[float]) -> View:
        """Return the source and the detector's pixels in world LPS [mm] at one pose.

        In plain Python numbers: each frame computes it, while its kernels fill the caches.

        Raises:
            InputError: `pose` is no CarmPose.
        """
        require_type("pose", pose, CarmPose, "CarmPose(lao_deg=..., cra_deg=...)")
        *axes, center = pose.axes(isocenter_xyz_mm)
        flex = self.flex.at(pose.lao_deg).tolist() if self.flex else RIGID
        behind_mm = self.source_to_detector_mm - self.source_to_isocenter_mm
        source = _moved(center, axes, (flex[0], flex[1], self.source_to_isocenter_mm - flex[2]))
        pierced = _moved(center, axes, (flex[3], flex[4], -behind_mm - flex[5]))
        along_columns, along_rows = self._panel(axes, flex[6:])
        du = [value * self.pixel_spacing_mm for value in along_columns]
        dv = [value * self.pixel_spacing_mm for value in along_rows]
        column, row = self.central_pixel_uv
        corner = [p - u * column - v * row for p, u, v in zip(pierced, du, dv, strict=True)]
        return View(
            source_xyz_mm=np.array(source),
            corner_xyz_mm=np.array(corner),
            column_step_xyz_mm=np.array(du),
            row_step_xyz_mm=np.array(dv),
            width_px=self.detector_width_px,
            height_px=self.detector_height_px,
        )

    def _panel(
        self, axes: Sequence[Vector3], flex_deg: Sequence[float]
    ) -> tuple[Sequence[float], Sequence[float]]:
        """Directions of columns and rows: flex turns the mount, tilt the panel in it."""
        tilt_u, tilt_v = self.detector_tilt_deg
        turns = [each for each in (flex_deg, (tilt_u, tilt_v, 0.0)) if any(each)]
        if not turns:
            return axes[0], axes[1]
        panel = np.array(axes).T
        for each in turns:
            a, b, c = np.radians(each)
            panel = panel @ (rotation_x(a) @ rotation_y(b) @ rotation_z(c))[:3, :3]
        return panel[:, 0].tolist(), panel[:, 1].tolist()


def _moved(
    point: Vector3, axes: Sequence[Vector3], by_mm: tuple[float, float, float]
) -> list[float]:
    """A point moved along columns, rows and the way back to the source."""
    a, b, c = by_mm
    return [p + (a * u + b * v + c * n) for p, u, v, n in zip(point, *axes, strict=True)]


RIGID = [0.0] * len(FLEX_COLUMNS)
"""Flex is given along the beam d, where the detector's frame has the way back n = -d."""


def _require_pair(name: str, pair: tuple[float, float], most: float) -> None:
    good = len(pair) == 2 and all(math.isfinite(value) and abs(value) <= most for value in pair)
    if not good:
        bound = f" of at most {most:g}" if math.isfinite(most) else ""
        raise InputError(f"{name} must be 2 finite numbers{bound}, got {pair}")


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

    def axes(self, isocenter_xyz_mm: Sequence[float]) -> tuple[Vector3, Vector3, Vector3, Vector3]:
        """Columns, rows and the way back to the source, as unit vectors; the moved isocentre [mm].

        In world LPS; flex and tilt left aside.
        """
        (ux, nx, mx, x), (uy, ny, my, y), (uz, nz, mz, z) = self._rows(isocenter_xyz_mm)
        return (ux, uy, uz), (-mx, -my, -mz), (nx, ny, nz), (x, y, z)

    def world_from_carm(self, isocenter_xyz_mm: Sequence[float]) -> NDArray[np.float64]:
        """4x4: T(isocentre + translation) Rz(lao) Rx(-cra) Ry(roll), C-arm frame to world LPS."""
        return np.array([*self._rows(isocenter_xyz_mm), (0.0, 0.0, 0.0, 1.0)])

    def _rows(self, isocenter_xyz_mm: Sequence[float]) -> tuple[Vector4, Vector4, Vector4]:
        """Return the first three of `world_from_carm`, multiplied out, for use in every frame."""
        x, y, z = (float(c) + t for c, t in zip(isocenter_xyz_mm, self.translation_mm, strict=True))
        lao, cra, roll = map(math.radians, (self.lao_deg, self.cra_deg, self.roll_deg))
        (cl, sl), (cc, sc), (cr, sr) = ((math.cos(a), math.sin(a)) for a in (lao, cra, roll))
        return (
            (cl * cr + sl * sc * sr, -sl * cc, cl * sr - sl * sc * cr, x),
            (sl * cr - cl * sc * sr, cl * cc, sl * sr + cl * sc * cr, y),
            (-cc * sr, -sc, cc * cr, z),
        )

    @classmethod
    def from_world_from_carm(
        cls, world_from_carm: NDArray[np.float64], isocenter_xyz_mm: Sequence[float]
    ) -> CarmPose:
        """The pose whose `world_from_carm` this is; angles in (-180, 180], cranial in [-90, 90]."""
        (r00, r01, r02, x), (r10, r11, r12, y), (_, r21, _, z), _ = np.asarray(
            world_from_carm, float
        ).tolist()
        cosine = math.hypot(r01, r11)
        if cosine > POLE_COSINE:
            lao = math.atan2(-r01, r11)
            c, s = math.cos(lao), math.sin(lao)
            roll = math.atan2(c * r02 + s * r12, c * r00 + s * r10)  # row x of Rx(-cra) Ry(roll)
        else:
            lao, roll = math.atan2(r10, r00), 0.0
        cra = math.atan2(-r21, cosine)
        x0, y0, z0 = map(float, isocenter_xyz_mm)
        return cls(
            lao_deg=math.degrees(lao),
            cra_deg=math.degrees(cra),
            roll_deg=math.degrees(roll),
            translation_mm=(x - x0, y - y0, z - z0),
        )

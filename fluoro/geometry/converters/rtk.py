"""RTK 2: one projection of `ThreeDCircularProjectionGeometry`, and its projection image.

RTK's rotated frame is R = Rz(-in plane) Rx(-out of plane) Ry(-gantry) times the CT's physical
frame. In it the source is at (source offset x, y, sid), the detector in the plane z = sid - sdd,
its physical coordinates shifted by the projection offset, and pixel index i at origin + i spacing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from fluoro.geometry.converters.patient_frames import (
    IDENTITY,
    Frame,
    Matrix,
    angles_deg,
    inverse,
    moved_view,
    turn,
    view_parts,
)
from fluoro.geometry.projection import View

__all__ = ["RtkPose"]

Vector2 = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class RtkPose:
    """A projection in RTK's words, in the order of `AddProjection`.

    Attributes:
        sid_mm: Source to isocentre [mm] (RTK's sense of the letters).
        sdd_mm: Source to detector [mm].
        gantry_deg: GantryAngle.
        offset_xy_mm: ProjectionOffsetX and Y [mm].
        out_of_plane_deg: OutOfPlaneAngle.
        in_plane_deg: InPlaneAngle.
        source_offset_xy_mm: SourceOffsetX and Y [mm].
        origin_xy_mm: Origin of the projection image: the centre of its first pixel [mm].
        spacing_xy_mm: Its spacing [mm].
        size_px: Its columns and rows.
        lps_from_rtk: From the frame in which RTK has the CT to patient LPS. RTK takes a CT's
            physical coordinates as they are: the identity, unless the CT was turned for it
            (`LPS_FROM_IEC`, the isocentre moved to the origin ...).
    """

    sid_mm: float
    sdd_mm: float
    gantry_deg: float
    offset_xy_mm: Vector2 = (0.0, 0.0)
    out_of_plane_deg: float = 0.0
    in_plane_deg: float = 0.0
    source_offset_xy_mm: Vector2 = (0.0, 0.0)
    origin_xy_mm: Vector2
    spacing_xy_mm: Vector2
    size_px: tuple[int, int]
    lps_from_rtk: Frame = IDENTITY

    def with_origin(self, origin_xy_mm: Vector2) -> RtkPose:
        """The same projection with another origin of its image: the projection offset has the rest.

        RTK has one image for all projections, so they need one origin.
        """
        moved = np.add(self.offset_xy_mm, self.origin_xy_mm) - origin_xy_mm
        return replace(
            self, origin_xy_mm=origin_xy_mm, offset_xy_mm=(float(moved[0]), float(moved[1]))
        )

    def view(self) -> View:
        """Return what it projects, world LPS [mm]."""
        rtk_from_rotated = _rtk_from_rotated(
            self.gantry_deg, self.out_of_plane_deg, self.in_plane_deg
        )
        spacing = np.asarray(self.spacing_xy_mm, float)
        corner = np.add(self.offset_xy_mm, self.origin_xy_mm) - spacing / 2
        rotated = View(
            source_xyz_mm=np.array([*self.source_offset_xy_mm, self.sid_mm]),
            corner_xyz_mm=np.array([*corner, self.sid_mm - self.sdd_mm]),
            column_step_xyz_mm=np.array([spacing[0], 0.0, 0.0]),
            row_step_xyz_mm=np.array([0.0, spacing[1], 0.0]),
            width_px=self.size_px[0],
            height_px=self.size_px[1],
        )
        return moved_view(rotated, np.asarray(self.lps_from_rtk, float) @ rtk_from_rotated)

    @classmethod
    def from_view(cls, view: View, *, lps_from_rtk: ArrayLike = IDENTITY) -> RtkPose:
        """Return a view in RTK's words, with the projection offset 0.

        Raises:
            InputError: The image is seen from the source (in RTK's frame: a reflection among
                `lps_from_rtk` changes that), or the detector has no right angles.
        """
        frame = np.asarray(lps_from_rtk, float)
        parts = view_parts(moved_view(view, inverse(frame)), program="RTK", seen_from_detector=True)
        axes = np.column_stack([parts.u, parts.v, -parts.normal])
        gantry, out_of_plane, in_plane = angles_deg("YXZ", axes)
        source_x, source_y, sid = (axes.T @ parts.source).tolist()
        (dx, dy), (column, row) = parts.spacing_mm, parts.foot_uv
        return cls(
            sid_mm=sid,
            sdd_mm=parts.source_to_detector_mm,
            gantry_deg=gantry,
            out_of_plane_deg=out_of_plane,
            in_plane_deg=in_plane,
            source_offset_xy_mm=(source_x, source_y),
            origin_xy_mm=(source_x + (0.5 - column) * dx, source_y + (0.5 - row) * dy),
            spacing_xy_mm=parts.spacing_mm,
            size_px=parts.size_px,
            lps_from_rtk=tuple(tuple(line) for line in frame.tolist()),
        )


def _rtk_from_rotated(gantry_deg: float, out_of_plane_deg: float, in_plane_deg: float) -> Matrix:
    matrix = np.eye(4)
    matrix[:3, :3] = turn("YXZ", (gantry_deg, out_of_plane_deg, in_plane_deg))
    return matrix

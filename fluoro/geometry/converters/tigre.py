"""TIGRE: the fields of its `geometry`, for any set of views.

At angle 0 the source is at (+DSO, 0, 0) and the detector's centre at (DSO - DSD, 0, 0), columns run
along +y and rows along -z, moved by offDetector. Both turn by Rz(a) Ry(b) Rz(c), the detector about
its own centre by Rz(roll) Ry(pitch) Rx(yaw) before. The world is patient LPS about a point.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fluoro.errors import InputError
from fluoro.geometry.converters.patient_frames import angles_deg, turn, view_parts
from fluoro.geometry.projection import View

__all__ = ["TigreGeometry"]

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class TigreGeometry:
    """What TIGRE's `geometry` and `angles` are set to.

    Attributes:
        source_to_detector_mm: DSD by view [mm], shape (n,).
        source_to_origin_mm: DSO by view [mm], shape (n,).
        angles_rad: ZYZ angles by view, shape (n, 3).
        detector_offset_vu_mm: offDetector by view: along -rows, along columns [mm], shape (n, 2).
        detector_rotation_rad: rotDetector by view: turns about x (yaw), y (pitch) and z (roll),
            shape (n, 3).
        spacing_vu_mm: dDetector [mm].
        size_vu: nDetector.
    """

    source_to_detector_mm: Array
    source_to_origin_mm: Array
    angles_rad: Array
    detector_offset_vu_mm: Array
    detector_rotation_rad: Array
    spacing_vu_mm: tuple[float, float]
    size_vu: tuple[int, int]

    @classmethod
    def from_views(cls, views: Sequence[View], center_xyz_mm: ArrayLike) -> TigreGeometry:
        """Return the fields of some views, which are seen from the source.

        Args:
            views: One or more, with one detector; `View.mirrored` of a view from the detector.
            center_xyz_mm: Point of patient LPS that is TIGRE's origin: the volume's centre [mm].

        Raises:
            InputError: No views, images seen from the detector, detectors that differ, or one
                whose axes are not at right angles.
        """
        if not views:
            raise InputError("a TIGRE geometry must have at least one view, got none")
        center = np.asarray(center_xyz_mm, float)
        rows = [_fields(view, center) for view in views]
        first = views[0]
        spacing = _spacing(first)
        for view in views:
            same = (view.width_px, view.height_px) == (first.width_px, first.height_px)
            if not (same and np.allclose(_spacing(view), spacing, rtol=1e-6)):
                raise InputError("views must have one detector, got several")
        columns = [np.array(column) for column in zip(*rows, strict=True)]
        return cls(
            source_to_detector_mm=columns[0],
            source_to_origin_mm=columns[1],
            angles_rad=columns[2],
            detector_offset_vu_mm=columns[3],
            detector_rotation_rad=columns[4],
            spacing_vu_mm=(spacing[1], spacing[0]),
            size_vu=(first.height_px, first.width_px),
        )

    def views(self, center_xyz_mm: ArrayLike) -> list[View]:
        """Return what it projects: the inverse."""
        center = np.asarray(center_xyz_mm, float)
        return [self._view(index, center) for index in range(len(self.angles_rad))]

    def _view(self, index: int, center: Array) -> View:
        world = turn("ZYZ", np.degrees(self.angles_rad[index]))
        panel = world @ turn("ZYX", np.degrees(self.detector_rotation_rad[index][::-1]))
        distance, origin = self.source_to_detector_mm[index], self.source_to_origin_mm[index]
        offset_v, offset_u = self.detector_offset_vu_mm[index]
        middle = world @ np.array([origin - distance, offset_u, offset_v])
        (height, width), (dv, du) = self.size_vu, self.spacing_vu_mm
        u, v = panel[:, 1] * du, -panel[:, 2] * dv
        return View(
            source_xyz_mm=world @ np.array([origin, 0.0, 0.0]) + center,
            corner_xyz_mm=middle + center - u * width / 2 - v * height / 2,
            column_step_xyz_mm=u,
            row_step_xyz_mm=v,
            width_px=width,
            height_px=height,
        )


def _spacing(view: View) -> tuple[float, float]:
    """Distance of columns and of rows [mm]."""
    steps = (view.column_step_xyz_mm, view.row_step_xyz_mm)
    return float(np.linalg.norm(steps[0])), float(np.linalg.norm(steps[1]))


def _fields(view: View, center: Array) -> tuple[float, float, Array, tuple[float, float], Array]:
    """Distances, angles, offset and the panel's turn of a view."""
    parts = view_parts(view, program="TIGRE", seen_from_detector=False)
    source = view.source_xyz_mm - center
    origin_mm = float(np.linalg.norm(source))
    if origin_mm == 0:
        raise InputError("the source must not be at TIGRE's origin")
    x = source / origin_mm
    y = parts.u - (parts.u @ x) * x
    y /= np.linalg.norm(y)
    world = np.column_stack([x, y, np.cross(x, y)])
    columns, rows = view.column_step_xyz_mm, view.row_step_xyz_mm
    middle = view.corner_xyz_mm + columns * view.width_px / 2 + rows * view.height_px / 2
    there = world.T @ (middle - center)
    panel = world.T @ np.column_stack([np.cross(parts.u, -parts.v), parts.u, -parts.v])
    yaw_pitch_roll = np.radians(angles_deg("ZYX", panel))[::-1]
    angles = np.radians(angles_deg("ZYZ", world))
    return origin_mm - float(there[0]), origin_mm, angles, (there[2], there[1]), yaw_pitch_roll

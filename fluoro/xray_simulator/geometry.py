"""xray_simulator's C-arm frame: named views, clinical angles, Euler angles, projection of points.

World is patient LPS [mm]. A rotation's columns are the directions of rising image column, of rising
image row, and of the beam from source to detector. Euler angles are R = Rz Rx Ry.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fluoro.errors import InputError
from fluoro.geometry.se3 import rotation_x, rotation_y, rotation_z

__all__ = [
    "CANONICAL_FRAME",
    "VIEWS",
    "clinical_angles_to_rotation",
    "euler_zxy_to_matrix",
    "matrix_to_euler_zxy",
    "project_point_to_detector",
    "rotation_to_clinical_angles",
    "view_frame_warning",
    "view_matrix",
    "view_rotation",
    "volume_center_xyz_mm",
]

Vector3 = tuple[float, float, float]
Matrix = NDArray[np.float64]

CANONICAL_FRAME = "LPS"
"""Frame in which named views mean what they say: +X left, +Y posterior, +Z superior."""
VIEWS: dict[str, tuple[Vector3, Vector3, Vector3]] = {
    "ap": ((1, 0, 0), (0, 0, -1), (0, 1, 0)),
    "pa": ((-1, 0, 0), (0, 0, -1), (0, -1, 0)),
    "lateral_left": ((0, -1, 0), (0, 0, -1), (1, 0, 0)),
    "lateral_right": ((0, 1, 0), (0, 0, -1), (-1, 0, 0)),
}
"""Directions of columns, rows and beam of the named views; laterals by the detector's side."""
POLE_COSINE = 1e-7


def view_matrix(view: str) -> Matrix:
    """Return the 3x3 rotation of a named view.

    Raises:
        ValueError: There is no such view.
    """
    if view not in VIEWS:
        raise InputError(f"view must be one of {', '.join(VIEWS)}, got {view!r}")
    return np.array(VIEWS[view], float).T


def view_rotation(view: str) -> Vector3:
    """Return Euler angles (rx, ry, rz) [rad] of a named view.

    Raises:
        ValueError: There is no such view.
    """
    return matrix_to_euler_zxy(view_matrix(view))


def euler_zxy_to_matrix(rotation: ArrayLike) -> Matrix:
    """Return the 3x3 rotation Rz Rx Ry of Euler angles (rx, ry, rz) [rad]."""
    rx, ry, rz = (float(angle) for angle in np.asarray(rotation, float).reshape(3))
    return np.asarray((rotation_z(rz) @ rotation_x(rx) @ rotation_y(ry))[:3, :3])


def matrix_to_euler_zxy(matrix: ArrayLike) -> Vector3:
    """Return Euler angles (rx, ry, rz) [rad] of a 3x3 rotation; ry is 0 where only one is left."""
    m = np.asarray(matrix, float)
    rx = math.asin(min(1.0, max(-1.0, m[2, 1])))
    if abs(math.cos(rx)) < POLE_COSINE:
        return rx, 0.0, math.atan2(m[1, 0], m[0, 0])
    return rx, math.atan2(-m[2, 0], m[2, 2]), math.atan2(-m[0, 1], m[1, 1])


def clinical_angles_to_rotation(primary_deg: float = 0.0, secondary_deg: float = 0.0) -> Vector3:
    """Euler angles (rx, ry, rz) [rad] of a C-arm's angles [degrees]: + LAO, + cranial; 0, 0: PA."""
    turned = rotation_z(math.radians(primary_deg)) @ rotation_x(-math.radians(secondary_deg))
    return matrix_to_euler_zxy(turned[:3, :3] @ view_matrix("pa"))


def rotation_to_clinical_angles(rotation: ArrayLike) -> tuple[float, float]:
    """Return a C-arm's primary and secondary angle [degrees] of Euler angles (rx, ry, rz) [rad]."""
    m = euler_zxy_to_matrix(rotation) @ view_matrix("pa").T
    return math.degrees(math.atan2(m[1, 0], m[0, 0])), -math.degrees(math.atan2(m[2, 1], m[2, 2]))


def volume_center_xyz_mm(
    shape_zyx: Sequence[int],
    spacing_zyx_mm: Sequence[float],
    origin_xyz_mm: Sequence[float] | None = None,
) -> Vector3:
    """Centre of a volume's box whose origin is its corner, patient LPS [mm]: origin + extent / 2.

    A `PreprocessedVolume` has the centre of its first voxel as its origin, as DICOM does: its
    box's centre is `xray_simulator.volume_center_xyz_mm`.
    """
    x, y, z = origin_xyz_mm or (0.0, 0.0, 0.0)
    extent = [count * step for count, step in zip(shape_zyx, spacing_zyx_mm, strict=True)]
    return x + extent[2] / 2, y + extent[1] / 2, z + extent[0] / 2


def view_frame_warning(view: str | None, anatomical_frame: str | None) -> str | None:
    """What to warn of where a named view meets a volume whose axes are not known to be LPS."""
    if view is None or anatomical_frame == CANONICAL_FRAME:
        return None
    return (
        f"view {view!r} means the patient's {CANONICAL_FRAME} axes, but the volume's "
        f"anatomical_frame is {anatomical_frame!r}"
    )


def project_point_to_detector(
    point: ArrayLike,
    rotation: ArrayLike,
    translation: ArrayLike,
    source_to_detector_mm: float,
    source_to_isocenter_mm: float,
    detector_width_px: int,
    detector_height_px: int,
    pixel_spacing_mm: float,
    isocenter_xyz_mm: ArrayLike = (0.0, 0.0, 0.0),
    *,
    pixel_spacing_y_mm: float | None = None,
    detector_offset_xy_mm: tuple[float, float] = (0.0, 0.0),
    principal_point_px: tuple[float, float] | None = None,
) -> tuple[float, float] | None:
    """Column and row at which a point lands, pixel centres at whole numbers; None: behind the tube.

    Args:
        point: Patient LPS [mm].
        rotation: Euler angles (rx, ry, rz) [rad].
        translation: Of the isocentre [mm].
        source_to_detector_mm: Focal spot to detector [mm].
        source_to_isocenter_mm: Focal spot to isocentre [mm].
        detector_width_px: Columns.
        detector_height_px: Rows.
        pixel_spacing_mm: Distance of columns [mm].
        isocenter_xyz_mm: Isocentre before the translation, patient LPS [mm].
        pixel_spacing_y_mm: Distance of rows [mm]; None: as of columns.
        detector_offset_xy_mm: Shift of the detector along columns and rows [mm].
        principal_point_px: In its place: where the central ray lands, column and row.
    """
    dx, dy = pixel_spacing_mm, pixel_spacing_y_mm or pixel_spacing_mm
    middle = (detector_width_px - 1) / 2, (detector_height_px - 1) / 2
    offset = np.array(detector_offset_xy_mm, float)
    if principal_point_px is not None:
        offset = (np.array(middle) - principal_point_px) * (dx, dy)
    center = np.asarray(isocenter_xyz_mm, float) + np.asarray(translation, float)
    local = euler_zxy_to_matrix(rotation).T @ (np.asarray(point, float) - center)
    depth = local[2] + source_to_isocenter_mm
    if depth <= 0:
        return None
    k = source_to_detector_mm / depth
    return (
        float((k * local[0] - offset[0]) / dx + middle[0]),
        float((k * local[1] - offset[1]) / dy + middle[1]),
    )

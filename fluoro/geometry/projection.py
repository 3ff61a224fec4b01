"""Cone-beam projection: the rays of one view, and the matrices that say the same."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fluoro.errors import InputError

__all__ = ["View", "camera_matrices", "project_points"]

ORTHOGONAL_COSINE = 1e-9
"""Largest cosine between the detector's axes that still counts as a right angle (rounding)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class View:
    """One X-ray view: a point source and a flat grid of pixels, in world LPS [mm].

    Attributes:
        source_xyz_mm: Focal spot, shape (3,).
        corner_xyz_mm: Outer corner of pixel (column 0, row 0), shape (3,).
        column_step_xyz_mm: From a pixel to its neighbour in the next column, shape (3,).
        row_step_xyz_mm: From a pixel to its neighbour in the next row, shape (3,).
        width_px: Columns.
        height_px: Rows.
    """

    source_xyz_mm: NDArray[np.float64]
    corner_xyz_mm: NDArray[np.float64]
    column_step_xyz_mm: NDArray[np.float64]
    row_step_xyz_mm: NDArray[np.float64]
    width_px: int
    height_px: int

    def pixel_centers_xyz_mm(self) -> NDArray[np.float64]:
        """Centres of all pixels in world LPS [mm], shape (height, width, 3)."""
        columns = (np.arange(self.width_px) + 0.5)[None, :, None] * self.column_step_xyz_mm
        rows = (np.arange(self.height_px) + 0.5)[:, None, None] * self.row_step_xyz_mm
        return np.asarray(self.corner_xyz_mm + columns + rows)

    @property
    def pixel_from_world(self) -> NDArray[np.float64]:
        """3x4 projection matrix: world LPS [mm] to corner-based pixels (u column, v row).

        The homogeneous depth is positive for points on the detector's side of the source.
        """
        columns = [
            self.column_step_xyz_mm,
            self.row_step_xyz_mm,
            self.corner_xyz_mm - self.source_xyz_mm,
        ]
        rotation = np.linalg.inv(np.column_stack(columns))
        return np.column_stack([rotation, -rotation @ self.source_xyz_mm])


def project_points(pixel_from_world: ArrayLike, points_xyz_mm: ArrayLike) -> NDArray[np.float64]:
    """Pixels (u, v), corner-based (centres at + 0.5), of world points [mm], shape (..., 2)."""
    points = np.asarray(points_xyz_mm, float)
    homogeneous = np.concatenate([points, np.ones((*points.shape[:-1], 1))], axis=-1)
    uvw = homogeneous @ np.asarray(pixel_from_world, float).T
    return np.asarray(uvw[..., :2] / uvw[..., 2:])


def camera_matrices(view: View) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The view as a camera: `pixel_from_camera` (K) and `camera_from_world`.

    The camera's frame is right-handed, sits at the source, has +z towards the detector (depths are
    positive), +y along the detector's rows and +x = y cross z. A radiograph is shown as seen from
    the detector's side, the mirror of what a pinhole at the source sees; so for a C-arm
    fx = -source_to_detector/pitch is negative, fy = +source_to_detector/pitch.

    Returns:
        K, shape (3, 3), corner-based pixels (for integer pixel centres subtract 0.5 from K[:2, 2]),
        and the 4x4 motion from world LPS [mm] to the camera's frame [mm].
        `K @ camera_from_world[:3]` is `view.pixel_from_world` times source_to_detector [mm]: its
        depth is in mm.

    Raises:
        InputError: The detector's axes are not at right angles, so no K without skew exists.
    """
    u, v = view.column_step_xyz_mm, view.row_step_xyz_mm
    pitch_u_mm, pitch_v_mm = float(np.linalg.norm(u)), float(np.linalg.norm(v))
    cosine = float(u @ v) / (pitch_u_mm * pitch_v_mm)
    if abs(cosine) > ORTHOGONAL_COSINE:
        raise InputError(f"view must have a detector with right angles, got cosine {cosine:.3g}")
    source_to_corner = view.corner_xyz_mm - view.source_xyz_mm
    normal = np.cross(u, v) / (pitch_u_mm * pitch_v_mm)
    z = normal * np.sign(normal @ source_to_corner)
    y = v / pitch_v_mm
    x = np.cross(y, z)
    depth_mm = float(z @ source_to_corner)
    fx, fy = depth_mm * float(x @ u) / pitch_u_mm**2, depth_mm / pitch_v_mm
    cx, cy = -(source_to_corner @ u) / pitch_u_mm**2, -(source_to_corner @ v) / pitch_v_mm**2
    camera_from_world = np.eye(4)
    camera_from_world[:3, :3] = [x, y, z]
    camera_from_world[:3, 3] = -camera_from_world[:3, :3] @ view.source_xyz_mm
    return np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]]), camera_from_world

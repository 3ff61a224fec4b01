"""Cone-beam projection: the rays of one view, and the matrices that say the same."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["View", "project_points"]


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

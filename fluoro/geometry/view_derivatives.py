"""How a view moves with its parameters: what derivatives of images are taken by.

A motion is linear in its parameter: the source moves by `source`, the pixel at corner-based
coordinates (u, v) by `origin + u * columns + v * rows`, all in world LPS [mm] per unit of the
parameter. Rigid motions, lengths and detector parameters are all of that form.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fluoro.geometry.projection import View

__all__ = [
    "INTRINSIC_PARAMETERS",
    "RIGID_PARAMETERS",
    "intrinsic_motions",
    "moved",
    "rigid_motions",
]

Motions = NDArray[np.float64]
"""Shape (K, 4, 3): source, origin, columns, rows of each parameter."""

RIGID_PARAMETERS = ("omega_x", "omega_y", "omega_z", "v_x", "v_y", "v_z")
"""A twist in the world's axes: rotation [rad] about the centre, translation [mm]."""

INTRINSIC_PARAMETERS = (
    "source_to_detector_mm",
    "pixel_spacing_mm",
    "principal_u_px",
    "principal_v_px",
)
"""Length, pitch about the detector's centre, and where the central ray meets the detector [px]."""


def rigid_motions(view: View, center_xyz_mm: ArrayLike) -> Motions:
    """Return motions of source and detector together, shape (6, 4, 3).

    The view moves by exp(xi) about `center_xyz_mm`, xi = (omega [rad], v [mm]) in world axes; the
    derivative is at xi = 0.
    """
    center = np.asarray(center_xyz_mm, float)
    motions = np.zeros((6, 4, 3))
    for axis, unit in enumerate(np.eye(3)):
        arms = (view.source_xyz_mm - center, view.corner_xyz_mm - center)
        steps = (view.column_step_xyz_mm, view.row_step_xyz_mm)
        motions[axis] = np.cross(unit, [*arms, *steps])
        motions[3 + axis, :2] = unit
    return motions


def intrinsic_motions(view: View) -> Motions:
    """Return motions by the `INTRINSIC_PARAMETERS`, shape (4, 4, 3); the source stands still.

    The length grows along the detector's normal; a principal point that moves by a pixel shifts
    the detector by a pixel the other way.
    """
    u = view.column_step_xyz_mm / np.linalg.norm(view.column_step_xyz_mm)
    v = view.row_step_xyz_mm / np.linalg.norm(view.row_step_xyz_mm)
    normal = np.cross(v, u)
    normal *= np.sign(normal @ (view.corner_xyz_mm - view.source_xyz_mm))
    motions = np.zeros((4, 4, 3))
    motions[0, 1] = normal
    motions[1, 1:] = -(view.width_px * u + view.height_px * v) / 2, u, v
    motions[2, 1] = -view.column_step_xyz_mm
    motions[3, 1] = -view.row_step_xyz_mm
    return motions


def moved(view: View, motions: Motions, amounts: ArrayLike) -> View:
    """Return the view after each parameter has changed by its amount, to first order."""
    source, origin, columns, rows = np.tensordot(np.asarray(amounts, float), motions, axes=1)
    return View(
        source_xyz_mm=view.source_xyz_mm + source,
        corner_xyz_mm=view.corner_xyz_mm + origin,
        column_step_xyz_mm=view.column_step_xyz_mm + columns,
        row_step_xyz_mm=view.row_step_xyz_mm + rows,
        width_px=view.width_px,
        height_px=view.height_px,
    )

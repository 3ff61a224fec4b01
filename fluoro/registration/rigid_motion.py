"""Rigid motions of whole views about a point, by a twist."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fluoro.geometry.projection import View
from fluoro.geometry.se3 import se3_exp, se3_log, translation

__all__ = ["motion_about", "moved_view", "twist_about", "view_axes"]

Array = NDArray[np.float64]


def motion_about(twist: ArrayLike, center_xyz_mm: ArrayLike) -> Array:
    """Return the 4x4 world motion T(c) exp(twist) T(-c).

    Args:
        twist: Rotation vector [rad] and translational part [mm] in world LPS, shape (6,).
        center_xyz_mm: The point c that the rotation is about, shape (3,).
    """
    center = np.asarray(center_xyz_mm, float)
    return np.asarray(translation(center) @ se3_exp(twist) @ translation(-center))


def twist_about(motion: ArrayLike, center_xyz_mm: ArrayLike) -> Array:
    """Return the twist [rad, mm] whose `motion_about` the same point is `motion`, shape (6,)."""
    center = np.asarray(center_xyz_mm, float)
    return se3_log(translation(-center) @ np.asarray(motion, float) @ translation(center))


def moved_view(view: View, motion: ArrayLike) -> View:
    """Return the view with source and detector carried along by a 4x4 world motion [mm]."""
    matrix = np.asarray(motion, float)
    turn, shift = matrix[:3, :3], matrix[:3, 3]
    return replace(
        view,
        source_xyz_mm=turn @ view.source_xyz_mm + shift,
        corner_xyz_mm=turn @ view.corner_xyz_mm + shift,
        column_step_xyz_mm=turn @ view.column_step_xyz_mm,
        row_step_xyz_mm=turn @ view.row_step_xyz_mm,
    )


def view_axes(view: View) -> Array:
    """Return the 3x3 whose columns are world unit vectors along a view's columns, rows and beam.

    The beam points from the source to the detector; the matrix is a reflection for a C-arm,
    whose image is seen from the detector's side.
    """
    u, v = view.column_step_xyz_mm, view.row_step_xyz_mm
    normal = np.cross(u, v)
    beam = normal * np.sign(normal @ (view.corner_xyz_mm - view.source_xyz_mm))
    return np.column_stack([axis / np.linalg.norm(axis) for axis in (u, v, beam)])

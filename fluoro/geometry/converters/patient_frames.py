"""What the programs share: patient frames, Euler angles, a view taken apart."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fluoro.errors import InputError
from fluoro.geometry.projection import View
from fluoro.geometry.se3 import translation

__all__ = [
    "IDENTITY",
    "LPS_FROM_IEC",
    "LPS_FROM_RAS",
    "LPS_FROM_SUPINE_TABLE",
    "Frame",
    "Matrix",
    "ViewParts",
    "angles_deg",
    "centered_ras",
    "inverse",
    "moved_view",
    "turn",
    "view_from_parts",
    "view_parts",
]

Matrix = NDArray[np.float64]
Frame = tuple[tuple[float, ...], ...]
"""A 4x4 motion as a dataclass can hold it: four rows."""
Vector3 = tuple[float, float, float]

IDENTITY: Frame = ((1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1))
LPS_FROM_RAS: Frame = ((-1, 0, 0, 0), (0, -1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1))
LPS_FROM_IEC: Frame = ((1, 0, 0, 0), (0, 0, -1, 0), (0, 1, 0, 0), (0, 0, 0, 1))
"""IEC 61217 fixed frame of a patient head first supine: x left, y head, z front."""
LPS_FROM_SUPINE_TABLE: Frame = ((0, 1, 0, 0), (0, 0, -1, 0), (-1, 0, 0, 0), (0, 0, 0, 1))
"""World of DeepDRR's `supine()`: x to the feet, y left, z front."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ViewParts:
    """A view as lengths, axes and the foot of the perpendicular from the source.

    Attributes:
        source: Focal spot [mm], shape (3,).
        u: Unit vector along the columns.
        v: Unit vector along the rows.
        normal: Unit vector from the source to the detector, across it.
        spacing_mm: Distances of columns and of rows [mm].
        source_to_detector_mm: Length of the perpendicular [mm].
        foot_uv: Where it meets the detector, corner-based pixels.
        size_px: Columns and rows.
    """

    source: Matrix
    u: Matrix
    v: Matrix
    normal: Matrix
    spacing_mm: tuple[float, float]
    source_to_detector_mm: float
    foot_uv: tuple[float, float]
    size_px: tuple[int, int]


def view_parts(view: View, *, program: str, seen_from_detector: bool | None = None) -> ViewParts:
    """Return a view taken apart for a program.

    Args:
        view: The view.
        program: Name of the other program, for messages.
        seen_from_detector: The only side from which the program shows images; None: both.

    Raises:
        InputError: The detector's axes are not at right angles, or the image is from the side
            that the program cannot show.
    """
    if seen_from_detector is not None and view.seen_from_detector != seen_from_detector:
        side, other = ("detector", "source") if seen_from_detector else ("source", "detector")
        raise InputError(
            f"{program} shows images as seen from the {side}, this view is seen from the "
            f"{other}: give view.mirrored() and flip the image's columns"
        )
    across, down = view.column_step_xyz_mm, view.row_step_xyz_mm
    spacing = float(np.linalg.norm(across)), float(np.linalg.norm(down))
    u, v = across / spacing[0], down / spacing[1]
    if abs(u @ v) > 1e-6:
        raise InputError(f"{program} needs a detector with right angles, got cosine {u @ v:.3g}")
    corner = view.corner_xyz_mm - view.source_xyz_mm
    normal = np.cross(u, v)
    depth = float(normal @ corner)
    return ViewParts(
        source=view.source_xyz_mm,
        u=u,
        v=v,
        normal=normal * np.sign(depth),
        spacing_mm=spacing,
        source_to_detector_mm=abs(depth),
        foot_uv=(-float(corner @ u) / spacing[0], -float(corner @ v) / spacing[1]),
        size_px=(view.width_px, view.height_px),
    )


def view_from_parts(parts: ViewParts) -> View:
    """Return the view again."""
    du, dv = parts.u * parts.spacing_mm[0], parts.v * parts.spacing_mm[1]
    foot = parts.source + parts.normal * parts.source_to_detector_mm
    return View(
        source_xyz_mm=np.asarray(parts.source, float),
        corner_xyz_mm=foot - du * parts.foot_uv[0] - dv * parts.foot_uv[1],
        column_step_xyz_mm=du,
        row_step_xyz_mm=dv,
        width_px=parts.size_px[0],
        height_px=parts.size_px[1],
    )


def moved_view(view: View, new_from_old: ArrayLike) -> View:
    """Return the view in another frame: all its points moved by a 4x4 matrix."""
    matrix = np.asarray(new_from_old, float)
    linear = matrix[:3, :3]
    return View(
        source_xyz_mm=linear @ view.source_xyz_mm + matrix[:3, 3],
        corner_xyz_mm=linear @ view.corner_xyz_mm + matrix[:3, 3],
        column_step_xyz_mm=linear @ view.column_step_xyz_mm,
        row_step_xyz_mm=linear @ view.row_step_xyz_mm,
        width_px=view.width_px,
        height_px=view.height_px,
    )


def turn(order: str, angles: ArrayLike) -> Matrix:
    """Return 3x3 product of turns [degrees] about the axes of `order`, such as "ZXY": Rz Rx Ry."""
    from scipy.spatial.transform import Rotation

    return np.asarray(
        Rotation.from_euler(order, np.asarray(angles, float), degrees=True).as_matrix()
    )


def angles_deg(order: str, rotation: Matrix) -> Vector3:
    """Return the angles [degrees] whose `turn` is this rotation; at the pole the third one is 0."""
    from scipy.spatial.transform import Rotation

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Gimbal lock")
        euler = Rotation.from_matrix(rotation).as_euler(order, degrees=True)
    a, b, c = euler.tolist()
    return a, b, c


def inverse(motion: ArrayLike) -> Matrix:
    """Return the inverse of a 4x4 rigid motion."""
    return np.asarray(np.linalg.inv(np.asarray(motion, float)), np.float64)


def centered_ras(isocenter_lps_mm: ArrayLike) -> Matrix:
    """Return the 4x4 from RAS about a point to LPS [mm]."""
    return np.asarray(translation(isocenter_lps_mm) @ np.asarray(LPS_FROM_RAS, float))

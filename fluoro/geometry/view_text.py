"""What is written on an image: the angles in clinical notation, the letters at its edges."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fluoro.geometry.carm import CarmPose
from fluoro.geometry.projection import View

__all__ = ["LETTERS_BY_AXIS", "angle_label", "orientation_letters"]

SECOND_LETTER_MIN = 0.38
"""Direction cosine from which an axis earns its letter: about sin(22.5 deg), halfway to 45 deg."""

LETTERS_BY_AXIS = (("R", "L"), ("A", "P"), ("F", "H"))
"""Negative and positive end of the patient's x, y and z axis (LPS; DICOM PS3.3 C.7.6.1.1.1)."""


def angle_label(pose: CarmPose) -> str:
    """Angles as a cardiologist says them, whole degrees in (-180, 180]: `LAO 30 / CRA 15`."""
    lao, cra = _wrapped_deg(pose.lao_deg), _wrapped_deg(pose.cra_deg)
    primary = "LAO" if lao >= 0 else "RAO"
    secondary = "CRA" if cra >= 0 else "CAU"
    return f"{primary} {abs(lao)} / {secondary} {abs(cra)}"


def _wrapped_deg(angle_deg: float) -> int:
    return 180 - (180 - round(angle_deg)) % 360


def orientation_letters(view: View) -> tuple[str, str, str, str]:
    """Return the patient directions at the left, right, top and bottom edge of the image.

    One letter (R L A P H F) for the nearest patient axis, a second where the edge also points
    markedly along another; the stronger comes first, as in DICOM's Patient Orientation.
    """
    columns, rows = view.column_step_xyz_mm, view.row_step_xyz_mm
    return _letters(-columns), _letters(columns), _letters(-rows), _letters(rows)


def _letters(direction_xyz: NDArray[np.float64]) -> str:
    cosines = direction_xyz / np.linalg.norm(direction_xyz)
    strongest_first = np.argsort(-np.abs(cosines), kind="stable")
    marked = [axis for axis in strongest_first if abs(cosines[axis]) > SECOND_LETTER_MIN]
    return "".join(LETTERS_BY_AXIS[axis][int(cosines[axis] > 0)] for axis in marked[:2])

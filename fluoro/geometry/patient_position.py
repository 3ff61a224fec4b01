"""How the patient lies on the table: from the patient's axes to the room's.

Angles and images are the patient's own (docs/conventions.md), so they do not depend on it. What
does is the room: which side of the patient the table is on, and from which side the C-arm comes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from fluoro.errors import InputError
from fluoro.geometry.projection import View
from fluoro.geometry.triangles import Surface
from fluoro.names import PatientPosition

__all__ = ["room_from_patient", "turned_surface", "turned_view"]


ROOM_AXES: Mapping[PatientPosition, str] = {
    "HFS": "LPS", "HFP": "RAS", "FFS": "RPI", "FFP": "LAI", "HFDL": "ALS", "HFDR": "PRS",
}  # fmt: skip
"""Patient directions of the room's x, y (down) and z (along the table, from its foot to its head);
DICOM PS3.3 C.7.3.1.1.2. The room's axes are those of a patient who lies HFS."""
DIRECTIONS = {"L": (1, 0, 0), "P": (0, 1, 0), "S": (0, 0, 1)} | {
    "R": (-1, 0, 0), "A": (0, -1, 0), "I": (0, 0, -1),
}  # fmt: skip


def room_from_patient(position: PatientPosition) -> NDArray[np.float64]:
    """Return the 3x3 rotation from patient LPS to the room: +y down, +z to the table's head end.

    Raises:
        InputError: A position that there is not.
    """
    if position not in ROOM_AXES:
        known = ", ".join(get_args(PatientPosition))
        raise InputError(f"patient_position must be one of {known}, got {position!r}")
    return np.array([DIRECTIONS[letter] for letter in ROOM_AXES[position]], float)


def turned_view(view: View, rotation: NDArray[np.float64]) -> View:
    """Return the same view in axes turned by a 3x3 rotation about the origin."""
    return replace(
        view,
        source_xyz_mm=rotation @ view.source_xyz_mm,
        corner_xyz_mm=rotation @ view.corner_xyz_mm,
        column_step_xyz_mm=rotation @ view.column_step_xyz_mm,
        row_step_xyz_mm=rotation @ view.row_step_xyz_mm,
    )


def turned_surface(surface: Surface, rotation: NDArray[np.float64]) -> Surface:
    """Return the same surface in axes turned by a 3x3 rotation about the origin."""
    vertices = surface.vertices_xyz_mm @ rotation.T
    return replace(surface, vertices_xyz_mm=vertices.astype(np.float32))

"""Poses: Euler angles of xray_simulator's frame, named views, a C-arm's clinical angles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fluoro.errors import InputError
from fluoro.xray_simulator.geometry import (
    Vector3,
    clinical_angles_to_rotation,
    rotation_to_clinical_angles,
    view_rotation,
)

__all__ = ["Pose"]

ZERO: Vector3 = (0.0, 0.0, 0.0)


@dataclass
class Pose:
    """Where the C-arm stands; with all 0 the beam runs from the feet to the head.

    Attributes:
        rotation: Euler angles (rx, ry, rz) [rad]: Rz Rx Ry.
        translation: Of the isocentre from the volume's centre, patient LPS [mm].
        view: What the view is called; None: it has no name.

    Raises:
        InputError: Not three finite numbers each; also a ValueError.
    """

    rotation: Vector3 = ZERO
    translation: Vector3 = ZERO
    view: str | None = None

    def __post_init__(self) -> None:
        self.rotation = _vector("rotation", self.rotation)
        self.translation = _vector("translation", self.translation)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Pose:
        """Return the pose of the keys rotation, translation and view; one that is missing is 0.

        Raises:
            InputError: Other keys, or not three numbers; also a ValueError.
        """
        unknown = set(values) - {"rotation", "translation", "view"}
        if unknown:
            raise InputError(f"a pose has no {', '.join(sorted(unknown))}")
        return cls(**dict(values))

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {
            "rotation": list(self.rotation),
            "translation": list(self.translation),
            "view": self.view,
        }

    @classmethod
    def ap(cls, translation: Vector3 = ZERO) -> Pose:
        """Antero-posterior: the beam runs from front to back, the patient's left is right."""
        return cls(view_rotation("ap"), translation, "AP")

    @classmethod
    def pa(cls, translation: Vector3 = ZERO) -> Pose:
        """Postero-anterior: the beam runs from back to front, the patient's right is right."""
        return cls(view_rotation("pa"), translation, "PA")

    @classmethod
    def lateral(cls, side: str = "left", translation: Vector3 = ZERO) -> Pose:
        """Lateral, by the side on which the detector is.

        Raises:
            InputError: Another side than left or right; also a ValueError.
        """
        if side not in ("left", "right"):
            raise InputError(f"side must be left or right, got {side!r}")
        return cls(view_rotation(f"lateral_{side}"), translation, f"{side.title()} lateral")

    @classmethod
    def from_clinical_angles(
        cls, primary_deg: float = 0.0, secondary_deg: float = 0.0, translation: Vector3 = ZERO
    ) -> Pose:
        """Return the pose of a C-arm's angles [degrees]: + LAO and + cranial; 0 and 0 is PA."""
        primary = "LAO" if primary_deg >= 0 else "RAO"
        secondary = "CRAN" if secondary_deg >= 0 else "CAUD"
        label = f"{primary} {abs(primary_deg):g} / {secondary} {abs(secondary_deg):g}"
        return cls(clinical_angles_to_rotation(primary_deg, secondary_deg), translation, label)

    def clinical_angles(self) -> tuple[float, float]:
        """Return the primary and secondary angle [degrees]."""
        return rotation_to_clinical_angles(self.rotation)


def _vector(name: str, values: Any) -> Vector3:
    try:
        x, y, z = (float(value) for value in np.asarray(values, float).reshape(-1))
    except (TypeError, ValueError):
        raise InputError(f"{name} must be 3 numbers, got {values!r}") from None
    if not np.isfinite([x, y, z]).all():
        raise InputError(f"{name} must be 3 finite numbers, got {values!r}")
    return x, y, z

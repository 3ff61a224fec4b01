"""Where a run's dose has met the skin: air kerma on a cylinder about the patient's long axis.

The cylinder goes through IEC 60601-2-43's patient entrance reference point: 15 cm about the
isocentre. Patients differ from it; it shows which directions of the beam overlap.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fluoro.geometry.projection import View
from fluoro.imaging.exposure.dose_meter import DoseTotal
from fluoro.imaging.frame import FluoroFrame
from fluoro.physics.dose import REFERENCE_POINT_MM, SKIN_DOSE_PER_KERMA, reference_distance_mm

__all__ = ["SkinDoseMap"]

Array = NDArray[np.float64]

HALF_LENGTH_MM, CELL_MM = 300.0, 5.0


class SkinDoseMap:
    """Adds up the skin dose [mGy] of a run's pulses, cell by cell.

    Args:
        isocenter_xyz_mm: In the volume's frame (LPS) [mm].

    Attributes:
        dose_mgy: Shape (lengths, angles): rows from cranial to caudal, columns once around, from
            behind over the patient's right, the front and the left.
    """

    def __init__(self, isocenter_xyz_mm: Sequence[float]) -> None:
        around = round(2 * np.pi * REFERENCE_POINT_MM / CELL_MM)
        angles = (np.arange(around) + 0.5) / around * 2 * np.pi
        along = HALF_LENGTH_MM - (np.arange(round(2 * HALF_LENGTH_MM / CELL_MM)) + 0.5) * CELL_MM
        angle, z = np.meshgrid(angles, along)
        self._outwards = np.stack([-np.sin(angle), np.cos(angle), np.zeros_like(z)], axis=-1)
        self._skin = self._outwards * REFERENCE_POINT_MM + np.asarray(isocenter_xyz_mm, float)
        self._skin[..., 2] += z
        self._isocenter = [float(value) for value in isocenter_xyz_mm]
        self._before = DoseTotal()
        self.dose_mgy: Array = np.zeros(z.shape)

    @property
    def peak_mgy(self) -> float:
        """Largest dose of a cell [mGy]."""
        return float(self.dose_mgy.max())

    def add(self, frame: FluoroFrame) -> None:
        """Take a frame into account; one that is held, or not exposed, adds nothing."""
        if frame.exposure is None or not frame.pulse:
            return
        total, before = frame.exposure.total, self._before
        self._before = total
        kerma_mgy = total.reference_kerma_mgy - before.reference_kerma_mgy
        if kerma_mgy <= 0:
            return
        geometry = frame.geometry
        reference_mm = reference_distance_mm(geometry.source_to_isocenter_mm)
        nearer = (geometry.source_to_detector_mm / reference_mm) ** 2
        field_cm2 = (total.kerma_area_mgycm2 - before.kerma_area_mgycm2) / (kerma_mgy / nearer)
        width_mm, height_mm = geometry.detector_size_mm
        share = min(field_cm2 * 100 / (width_mm * height_mm), 1.0)
        view = geometry.view(frame.pose, self._isocenter)
        at_1_mm = kerma_mgy * reference_mm**2 * SKIN_DOSE_PER_KERMA
        self.dose_mgy += at_1_mm * self._lit(view, np.sqrt(share))

    def _lit(self, view: View, side: float) -> Array:
        """Return 1 over the square of the distance [1/mm2] where the beam enters, 0 elsewhere."""
        away = self._skin - view.source_xyz_mm
        steps = np.stack([view.column_step_xyz_mm, view.row_step_xyz_mm], axis=1)
        corner = view.corner_xyz_mm - view.source_xyz_mm
        columns, rows, depth = np.moveaxis(
            away @ np.linalg.inv(np.column_stack([steps, corner])).T, -1, 0
        )
        half = np.array([view.width_px, view.height_px]) / 2
        inside = np.abs(columns / depth - half[0]) <= half[0] * side
        inside &= np.abs(rows / depth - half[1]) <= half[1] * side
        enters = (away * self._outwards).sum(axis=-1) < 0
        return np.where(inside & enters & (depth > 0), 1 / (away**2).sum(axis=-1), 0.0)

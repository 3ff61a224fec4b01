"""Dose at the detector and the photons it stands for (monochromatic)."""

from __future__ import annotations

import math

__all__ = ["open_field_photons"]

PHOTONS_PER_MM2_NGY = 30.0
"""Photons per mm2 and nGy of air kerma behind 15 to 25 cm of water: IEC 62220-1-1 tabulates
29.65 (RQA 5), 32.49 (RQA 7) and 31.01 (RQA 9) per mm2 and nGy."""

MU_WATER_70_KEV_PER_MM = 0.0193
"""Linear attenuation of water at 70 keV [1/mm] (NIST XCOM: 0.1929 cm2/g at 1 g/cm3)."""

PATIENT_MM = 200.0
"""Water behind which the dose per frame is stated [mm]."""


def open_field_photons(dose_ngy: float, pixel_spacing_mm: float) -> float:
    """Photons per pixel and frame with nothing in the beam.

    Args:
        dose_ngy: Air kerma per frame at the detector behind 20 cm of water at 70 keV [nGy], > 0.
        pixel_spacing_mm: Pixel pitch [mm], > 0.

    Returns:
        dose 30 /mm2/nGy x pixel area x exp(0.0193 x 200): 47.5 times what is left behind the
        water. It depends on the dose and the pixel alone, never on the picture.
    """
    behind_patient = dose_ngy * PHOTONS_PER_MM2_NGY * pixel_spacing_mm**2
    return behind_patient * math.exp(MU_WATER_70_KEV_PER_MM * PATIENT_MM)

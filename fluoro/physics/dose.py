"""Dose at the detector, the photons it stands for, and what the tube gives for it."""

from __future__ import annotations

import math
from functools import cache

from fluoro.physics.spectrum import tube_spectrum

__all__ = [
    "SKIN_DOSE_PER_KERMA",
    "detector_photons",
    "open_field_photons",
    "open_kerma_ngy",
    "reference_distance_mm",
]

PHOTONS_PER_MM2_NGY = 30.0
"""Photons per mm2 and nGy of air kerma behind 15 to 25 cm of water: IEC 62220-1-1 tabulates
29.65 (RQA 5), 32.49 (RQA 7) and 31.01 (RQA 9) per mm2 and nGy."""

MU_WATER_70_KEV_PER_MM = 0.0193
"""Linear attenuation of water at 70 keV [1/mm] (NIST XCOM: 0.1929 cm2/g at 1 g/cm3)."""

PATIENT_MM = 200.0
"""Water behind which the dose per frame is stated [mm]."""

NOMINAL_TUBE = (80, 3.0)
"""Tube voltage [kV] and aluminium [mm] of the beam that is assumed where no tube is described."""

REFERENCE_POINT_MM = 150.0
"""From the isocentre towards the tube: IEC 60601-2-43's patient entrance reference point [mm]."""

SKIN_DOSE_PER_KERMA = 1.3 * 1.06
"""Back scatter of a patient times soft tissue against air: usual values for these beams, from
memory (Jones and Pasciak 2011 among others)."""


def open_field_photons(dose_ngy: float, pixel_spacing_mm: float) -> float:
    """Return photons per pixel and frame with nothing in the beam.

    Args:
        dose_ngy: Air kerma per frame at the detector behind 20 cm of water at 70 keV [nGy], > 0.
        pixel_spacing_mm: Pixel pitch [mm], > 0.

    Returns:
        dose 30 /mm2/nGy x pixel area x exp(0.0193 x 200): 47.5 times what is left behind the
        water. It depends on the dose and the pixel alone, never on the image.
    """
    return detector_photons(dose_ngy, pixel_spacing_mm) * math.exp(
        MU_WATER_70_KEV_PER_MM * PATIENT_MM
    )


def detector_photons(kerma_ngy: float, pixel_spacing_mm: float) -> float:
    """Return photons per pixel that an air kerma behind a patient stands for.

    Args:
        kerma_ngy: Air kerma at the detector [nGy].
        pixel_spacing_mm: Pixel pitch [mm], > 0.
    """
    return kerma_ngy * PHOTONS_PER_MM2_NGY * pixel_spacing_mm**2


def open_kerma_ngy(dose_ngy: float) -> float:
    """Return air kerma in the detector's plane with nothing in the beam [nGy].

    Args:
        dose_ngy: Air kerma per frame at the detector behind 20 cm of water [nGy].

    Returns:
        dose x kerma of the nominal beam over that of what 20 cm of water leave of it, without
        scatter: about 200 times the dose.
    """
    return dose_ngy * _open_over_behind_patient(*NOMINAL_TUBE)


@cache
def _open_over_behind_patient(tube_voltage_kv: int, aluminium_mm: float) -> float:
    beam = tube_spectrum(tube_voltage_kv, aluminium_mm)
    return beam.kerma_ugy / beam.filtered("water", PATIENT_MM).kerma_ugy


def reference_distance_mm(source_to_isocenter_mm: float) -> float:
    """From the focal spot to the patient entrance reference point [mm].

    15 cm nearer than the isocentre (IEC 60601-2-43); half way to it where that leaves less.
    """
    return max(source_to_isocenter_mm - REFERENCE_POINT_MM, source_to_isocenter_mm / 2)

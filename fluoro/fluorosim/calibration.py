"""What a `HuToMuCalibration` comes to: the attenuation of water and bone, and of CT numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluoro.fluorosim.config import HuToMuCalibration
from fluoro.physics.materials import material
from fluoro.volume.hu_to_mu import mu_water_per_mm

__all__ = ["anchors_per_mm", "calibrated_mu", "calibration_facts"]


def anchors_per_mm(calibration: HuToMuCalibration) -> tuple[float, float]:
    """Return attenuation of water and of cortical bone [1/mm].

    Water is NIST's. Bone (ICRU 44, 1.92 g/cm3) is by Elam's cross sections, within 0.03 % of NIST's
    from 40 to 100 keV.

    Raises:
        InputError: An energy outside 20 to 150 keV that is needed for one of them.
    """
    water, bone = calibration.mu_water_override_mm_inv, calibration.mu_bone_override_mm_inv
    energy_kev = calibration.reference_energy_kev
    return (
        mu_water_per_mm(energy_kev) if water is None else water,
        _bone_mu_per_mm(energy_kev) if bone is None else bone,
    )


def _bone_mu_per_mm(energy_kev: float) -> float:
    mu_water_per_mm(energy_kev)  # the same energies for both
    bone = material("cortical_bone")
    return float(bone.mass_attenuation_cm2_per_g(energy_kev)) * bone.density_g_per_cm3 / 10


def calibrated_mu(calibration: HuToMuCalibration, hu: NDArray[Any]) -> NDArray[np.float32]:
    """Return attenuation [1/mm] of CT numbers [HU], of the same shape, float32.

    Raises:
        InputError: As `anchors_per_mm`.
    """
    water, bone = anchors_per_mm(calibration)
    values = np.asarray(hu, np.float32)
    slope = np.where(values > 0, (bone - water) / calibration.hu_bone_anchor, water / 1000)
    return np.asarray(np.maximum(water + slope * values, 0), np.float32)


def calibration_facts(calibration: HuToMuCalibration) -> dict[str, Any]:
    """Return the settings and what they come to, as JSON holds them and fluorosim writes them.

    Raises:
        InputError: As `anchors_per_mm`.
    """
    water, bone = anchors_per_mm(calibration)
    return {
        "scheme": "two_anchor_piecewise_linear_v1",
        **vars(calibration),
        "mu_water_mm_inv": water,
        "mu_bone_mm_inv": bone,
    }

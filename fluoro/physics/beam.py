"""A spectrum and a detector as the image chain takes them: few energies, and how noisy they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from fluoro.physics.detector import DetectorResponse
from fluoro.physics.dose import PATIENT_MM
from fluoro.physics.materials import Material
from fluoro.physics.quadrature import Quadrature, fit_quadrature, thicknesses
from fluoro.physics.spectrum import REFERENCE_MM, Spectrum

__all__ = ["Beam", "make_beam"]

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Beam:
    """What a detector sees of a spectrum behind materials.

    Signal behind thicknesses t, relative to the open field: sum_e weights exp(-mu t). Its variance
    is that of `quanta` Poisson counts in the open field, each worth the gain: behind materials
    the gain is sum_e noise_weights exp(-mu t) / sum_e weights exp(-mu t), because harder photons
    leave more energy each.

    Attributes:
        quadrature: Energies and weights.
        mu_per_mm: Attenuation [1/mm], shape (energies, materials).
        noise_weights: They sum to 1, shape (energies,).
        quanta_per_mm2: Of the spectrum as it was given: signal squared over variance [1/mm2].
        kerma_behind_water_ngy: Of it behind 20 cm of water [nGy].
        response: The detector's.
    """

    quadrature: Quadrature
    mu_per_mm: Array
    noise_weights: Array
    quanta_per_mm2: float
    kerma_behind_water_ngy: float
    response: DetectorResponse

    def quanta_at_dose(self, dose_ngy: float) -> float:
        """Return quanta in the open field [1/mm2] at a dose behind 20 cm of water [nGy]."""
        return self.quanta_per_mm2 * dose_ngy / self.kerma_behind_water_ngy

    def quanta_at_charge(self, charge_mas: float, source_to_detector_mm: float) -> float:
        """Return quanta in the open field [1/mm2] of a tube charge [mAs]; no air in between."""
        return self.quanta_per_mm2 * charge_mas * (REFERENCE_MM / source_to_detector_mm) ** 2

    def transmission(self, material: Material, thickness_mm: Array) -> Array:
        """Return signal behind a material, relative to the open field, shape of `thickness_mm`."""
        mu = material.mu_per_mm(self.quadrature.energies_kev)
        left = np.exp(-np.multiply.outer(np.asarray(thickness_mm, float), mu))
        return np.asarray(left @ self.quadrature.weights)


def make_beam(
    spectrum: Spectrum, response: DetectorResponse, found: Sequence[Material], energies: int
) -> Beam:
    """Return the beam of a spectrum, which is taken as per mAs at 1 m, for some materials.

    Args:
        spectrum: What leaves the tube and its filters.
        response: The detector's.
        found: Materials whose thicknesses the renderer gives.
        energies: How many stand for the spectrum.
    """
    kev = spectrum.energies_kev
    absorbed = spectrum.photons_per_mm2 * response.absorbed(kev)
    signal = absorbed * response.per_photon(kev)
    square = absorbed * response.mean_square(kev)
    several = {each.name: each for each in found}  # inclusions may be of one material
    quadrature = _fitted(kev.tobytes(), signal.tobytes(), tuple(several.values()), energies)
    nodes = quadrature.energies_kev
    noise = quadrature.weights * response.mean_square(nodes) / response.per_photon(nodes)
    return Beam(
        quadrature=quadrature,
        mu_per_mm=np.stack([each.mu_per_mm(nodes) for each in found], axis=1),
        noise_weights=noise / noise.sum(),
        quanta_per_mm2=float(signal.sum() ** 2 / square.sum()),
        kerma_behind_water_ngy=spectrum.filtered("water", PATIENT_MM).kerma_ugy * 1000,
        response=response,
    )


@lru_cache(maxsize=64)
def _fitted(
    energies_kev: bytes, signal: bytes, found: tuple[Material, ...], count: int
) -> Quadrature:
    """Few energies for a signal by energy (both float64); kept, as a fit takes 0.1 s."""
    kev, by_energy = np.frombuffer(energies_kev), np.frombuffer(signal)
    at_mm = thicknesses([each.name for each in found], found)
    return fit_quadrature(kev, by_energy, found, at_mm, count)

"""What a detector makes of a photon: absorbed or not, counted or weighed by its energy."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fluoro.errors import InputError
from fluoro.names import DetectorKind
from fluoro.physics.materials import material

__all__ = ["DetectorResponse", "csi_g_per_cm2"]


@dataclass(frozen=True, kw_only=True)
class DetectorResponse:
    """A converter layer and how its signal comes about.

    The energy of an absorbed photon counts whole: fluorescence that escapes is left aside, what
    it does to the noise is in the Swank factor.

    Attributes:
        kind: "energy_integrating": an absorbed photon adds its energy; "photon_counting": 1.
        converter: Name of the converter's material; None: every photon is absorbed.
        thickness_g_per_cm2: Of the converter [g/cm2].
        swank_factor: Loss of signal to noise squared by the spread of the light of equal photons,
            0 to 1; 1 for photon counting.

    Raises:
        InputError: A thickness or a factor out of range.
    """

    kind: DetectorKind = "energy_integrating"
    converter: str | None = "caesium_iodide"
    thickness_g_per_cm2: float = 0.203
    swank_factor: float = 0.85

    def __post_init__(self) -> None:
        if not 0 < self.thickness_g_per_cm2 < math.inf:
            raise InputError(f"thickness_g_per_cm2 must be > 0, got {self.thickness_g_per_cm2}")
        if not 0 < self.swank_factor <= 1:
            raise InputError(f"swank_factor must lie in (0, 1], got {self.swank_factor}")

    def absorbed(self, energies_kev: ArrayLike) -> NDArray[np.float64]:
        """Share of photons that the converter absorbs: 1 - exp(-mu t)."""
        energies = np.asarray(energies_kev, float)
        if self.converter is None:
            return np.ones_like(energies)
        mu = material(self.converter).mass_attenuation_cm2_per_g(energies)
        return np.asarray(-np.expm1(-mu * self.thickness_g_per_cm2))

    def per_photon(self, energies_kev: ArrayLike) -> NDArray[np.float64]:
        """Signal of an absorbed photon: its energy [keV], or 1."""
        energies = np.asarray(energies_kev, float)
        return energies if self.kind == "energy_integrating" else np.ones_like(energies)

    def mean_square(self, energies_kev: ArrayLike) -> NDArray[np.float64]:
        """Mean square of an absorbed photon's signal: its square over the Swank factor."""
        swank = self.swank_factor if self.kind == "energy_integrating" else 1.0
        return np.asarray(self.per_photon(energies_kev) ** 2 / swank)


def csi_g_per_cm2(thickness_mm: float = 0.6, packing: float = 0.75) -> float:
    """Mass of a layer of caesium iodide needles per area [g/cm2].

    Args:
        thickness_mm: Of the layer, > 0 [mm].
        packing: Share of the layer that the needles fill.
    """
    return thickness_mm / 10 * packing * material("caesium_iodide").density_g_per_cm3

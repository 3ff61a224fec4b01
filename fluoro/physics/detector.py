"""What a detector makes of a photon: absorbed or not, counted or weighed by its energy."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fluoro.errors import InputError
from fluoro.names import DetectorKind
from fluoro.physics.materials import material

__all__ = ["DetectorResponse", "csi_g_per_cm2"]


@dataclass(frozen=True, kw_only=True)
class DetectorResponse:
    """A converter layer and how its signal comes about.

    Of an absorbed photon's energy that share counts which the converter keeps: K fluorescence and
    scatter escape from it. What is taken up again elsewhere counts where the photon came in.

    Attributes:
        kind: "energy_integrating": an absorbed photon adds its energy; "photon_counting": 1.
        converter: Name of the converter's material; None: every photon is absorbed.
        thickness_g_per_cm2: Of the converter [g/cm2].
        swank_factor: Loss of signal to noise squared by the spread of the light of equal energies
            that are kept, 0 to 1; what escape does comes on top. 1 for photon counting.

    Raises:
        InputError: A thickness or a factor out of range.
    """

    kind: DetectorKind = "energy_integrating"
    converter: str | None = "caesium_iodide"
    thickness_g_per_cm2: float = 0.203
    swank_factor: float = 0.925

    def __post_init__(self) -> None:
        if not 0 < self.thickness_g_per_cm2 < math.inf:
            raise InputError(f"thickness_g_per_cm2 must be > 0, got {self.thickness_g_per_cm2}")
        if not 0 < self.swank_factor <= 1:
            raise InputError(f"swank_factor must lie in (0, 1], got {self.swank_factor}")

    def absorbed(self, energies_kev: ArrayLike) -> NDArray[np.float64]:
        """Return the share of photons that the converter absorbs: 1 - exp(-mu t)."""
        energies = np.asarray(energies_kev, float)
        if self.converter is None:
            return np.ones_like(energies)
        mu = material(self.converter).mass_attenuation_cm2_per_g(energies)
        return np.asarray(-np.expm1(-mu * self.thickness_g_per_cm2))

    def per_photon(self, energies_kev: ArrayLike) -> NDArray[np.float64]:
        """Return the signal of an absorbed photon: the energy that is kept of it [keV], or 1."""
        energies = np.asarray(energies_kev, float)
        if self.kind == "photon_counting":
            return np.ones_like(energies)
        return np.asarray(energies * self._escape(energies)[0])

    def mean_square(self, energies_kev: ArrayLike) -> NDArray[np.float64]:
        """Return mean square of an absorbed photon's signal: its square over both Swank factors."""
        square = self.per_photon(energies_kev) ** 2
        if self.kind == "photon_counting":
            return np.asarray(square)
        return np.asarray(square / (self.swank_factor * self._escape(energies_kev)[1]))

    def _escape(self, energies_kev: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Share of the energy that is kept, and the Swank factor of its spread."""
        energies = np.asarray(energies_kev, float)
        if self.converter is None:
            return np.ones_like(energies), np.ones_like(energies)
        known, kept, swank = _escape_table()
        return np.interp(energies, known, kept), np.interp(energies, known, swank)


@cache
def _escape_table() -> NDArray[np.float64]:
    """Energies [keV], share that is kept, Swank factor: 0.203 g/cm2 of caesium iodide."""
    text = (files("fluoro.physics") / "data" / "csi_escape.csv").read_text("utf-8")
    rows = list(csv.reader(line for line in text.splitlines() if not line.startswith("#")))
    return np.array(rows[1:], float).T


def csi_g_per_cm2(thickness_mm: float = 0.6, packing: float = 0.75) -> float:
    """Return the mass of a layer of caesium iodide needles per area [g/cm2].

    Args:
        thickness_mm: Of the layer, > 0 [mm].
        packing: Share of the layer that the needles fill.
    """
    return thickness_mm / 10 * packing * material("caesium_iodide").density_g_per_cm3

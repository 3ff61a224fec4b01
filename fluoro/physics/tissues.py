"""From CT numbers to materials: volume shares that are linear between knots and mix what they join.

A sampled CT number goes through ramps, each rising from 0 to 1 between two knots; the thickness of
every material along a ray is a fixed combination of the ramps' integrals. So one march through one
volume gives them all.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fluoro.errors import InputError
from fluoro.names import TissueMapName
from fluoro.physics.materials import ENERGY_RANGE_KEV, Material, material

__all__ = ["TISSUE_MAPS", "TissueMap", "is_tissue", "tissue_map"]

TISSUE_MAPS: dict[str, tuple[str, ...]] = {
    "tissues": ("air", "lung", "fat", "soft_tissue", "cortical_bone"),
    "soft_and_bone": ("air", "soft_tissue", "cortical_bone"),
    "schneider": (),
}
"""Materials of each map by rising CT number; Schneider's are in data/schneider.csv."""

VACUUM_HU = -1000.0
DENSEST_HU = 30_000.0
"""Up to here the last material grows denser, in proportion to its attenuation."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TissueMap:
    """Volume shares of materials by CT number, straight lines between knots.

    Attributes:
        materials: What there is.
        knots_hu: CT numbers, ascending, shape (K,); the first is a vacuum's.
        shares: Volume of each material at its own density in a unit volume, shape (K, M); more
            than 1 where it is denser.
    """

    materials: tuple[Material, ...]
    knots_hu: NDArray[np.float64]
    shares: NDArray[np.float64]

    def volume_shares(self, hu: ArrayLike) -> NDArray[np.float64]:
        """Return shares of a voxel by CT number [HU]; the last axis has the materials."""
        values = np.asarray(hu, float)
        return np.stack([np.interp(values, self.knots_hu, share) for share in self.shares.T], -1)

    def hu(self, shares: ArrayLike, energy_kev: float) -> NDArray[np.float64]:
        """Return CT number [HU] that a scanner of one energy [keV] gives the shares."""
        mu = np.array([each.mu_per_mm(energy_kev) for each in self.materials])
        water = material("water").mu_per_mm(energy_kev)
        return np.asarray(1000 * (np.asarray(shares, float) @ mu / water - 1))

    def ramps(self, water_mu_per_mm: float) -> NDArray[np.float64]:
        """Scale [mm] and shift of each ramp, clamp(scale mu + shift, 0, 1), shape (K - 1, 2).

        Args:
            water_mu_per_mm: Attenuation that stands for water in the volume [1/mm]; CT numbers
                are 1000 (mu / water - 1).
        """
        mu = water_mu_per_mm * (1 + self.knots_hu / 1000)
        scale = 1 / np.diff(mu)
        return np.stack([scale, -mu[:-1] * scale], axis=1)

    @property
    def mix(self) -> NDArray[np.float64]:
        """Thickness of each material for one of each ramp's integral, shape (M, K - 1)."""
        return np.asarray(np.diff(self.shares, axis=0).T)


def is_tissue(name: str) -> bool:
    """Return whether a material of this name comes from a tissue map, or is water."""
    return name in TISSUE_MAPS["tissues"] or name == "water" or name.startswith("schneider_")


def tissue_map(name: TissueMapName, ct_energy_kev: float = 70.0) -> TissueMap:
    """Return the map of this name.

    `tissues` and `soft_and_bone` mix the two neighbours by volume, so that every CT number from
    -1000 HU on comes back at `ct_energy_kev`. `schneider` has the knots of Schneider et al. (2000),
    whatever the energy.

    Args:
        name: One of `TISSUE_MAPS`.
        ct_energy_kev: Effective energy of the CT scanner [keV].

    Raises:
        InputError: An unknown name, or an energy at which the materials are in another order.
    """
    if name not in TISSUE_MAPS:
        raise InputError(f"materials must be one of {', '.join(TISSUE_MAPS)}, got {name!r}")
    if name == "schneider":
        return _schneider()
    found = [material(each) for each in TISSUE_MAPS[name]]
    return _mixed(found, _hu_of(found, ct_energy_kev))


def _hu_of(found: Sequence[Material], energy_kev: float) -> NDArray[np.float64]:
    low, high = ENERGY_RANGE_KEV
    if not low <= energy_kev <= high:
        raise InputError(f"ct_energy_kev must lie in [{low:g}, {high:g}] keV, got {energy_kev:g}")
    water = material("water").mu_per_mm(energy_kev)
    own = np.array([each.mu_per_mm(energy_kev) / water for each in found])
    if not np.all(np.diff(own) > 0):
        raise InputError(
            f"ct_energy_kev must be one at which {', '.join(each.name for each in found)} "
            f"attenuate ever more, got {energy_kev:g} keV"
        )
    return np.asarray(1000 * (own - 1))


def _mixed(found: Sequence[Material], own_hu: NDArray[np.float64]) -> TissueMap:
    """Vacuum, each material at its own CT number, and the last one denser."""
    denser = (DENSEST_HU + 1000) / (own_hu[-1] + 1000)
    shares = np.vstack([np.zeros(len(found)), np.eye(len(found)), np.zeros(len(found))])
    shares[-1, -1] = denser
    return TissueMap(
        materials=tuple(found),
        knots_hu=np.concatenate([[VACUUM_HU], own_hu, [DENSEST_HU]]),
        shares=shares,
    )


@cache
def _schneider() -> TissueMap:
    text = (files("fluoro.physics") / "data" / "schneider.csv").read_text("utf-8")
    rows = list(csv.DictReader(line for line in text.splitlines() if not line.startswith("#")))
    by_name = {row["name"]: row for row in rows}  # a material's nominal density: its last row's
    found = tuple(_schneider_material(row) for row in by_name.values())
    names = list(by_name)
    shares = np.zeros((len(rows) + 1, len(found)))
    for share, row in zip(shares[1:], rows, strict=True):
        column = names.index(row["name"])
        share[column] = float(row["density_g_per_cm3"]) / found[column].density_g_per_cm3
    knots = [VACUUM_HU, *(float(row["hu"]) for row in rows)]
    return TissueMap(materials=found, knots_hu=np.array(knots), shares=shares)


def _schneider_material(row: dict[str, str]) -> Material:
    words = row["mass_percent"].split()
    percent = dict(zip(words[::2], map(float, words[1::2]), strict=True))
    total = sum(percent.values())  # the table's rows miss 100 by up to 0.2
    return Material(
        name=row["name"],
        density_g_per_cm3=float(row["density_g_per_cm3"]),
        mass_fractions={symbol: share / total for symbol, share in percent.items()},
    )

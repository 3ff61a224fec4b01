"""What materials attenuate at which energy: elements by their cross sections, mixtures by mass.

Tables: `data/elements.npz` (Elam, Ravel and Sieber 2002, baked by tools/data/bake_attenuation.py)
and `data/materials.csv` (densities and mass fractions).
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import as_file, files
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fluoro.errors import InputError

__all__ = [
    "ENERGY_RANGE_KEV",
    "Material",
    "atomic_numbers_and_weights",
    "material",
    "materials",
]

ENERGY_RANGE_KEV = (5.0, 150.0)
"""Range of the table [keV]."""
FRACTION_TOLERANCE = 0.002
"""ICRU's mass fractions are given to three digits; their sum may miss 1 by this."""


@dataclass(frozen=True, kw_only=True)
class Material:
    """A homogeneous material.

    Attributes:
        name: What a user calls it.
        density_g_per_cm3: Mass density [g/cm3].
        mass_fractions: Share of the mass by symbol of the element; they sum to 1.

    Raises:
        InputError: A density that is not positive, an element without data, fractions that do
            not sum to 1.
    """

    name: str
    density_g_per_cm3: float
    mass_fractions: Mapping[str, float]

    def __post_init__(self) -> None:
        if not 0 < self.density_g_per_cm3 < math.inf:
            raise InputError(
                f"density_g_per_cm3 of {self.name} must be > 0, got {self.density_g_per_cm3}"
            )
        unknown = sorted(self.mass_fractions.keys() - _elements().keys())
        if unknown:
            raise InputError(
                f"mass_fractions of {self.name} must be of {', '.join(sorted(_elements()))}, "
                f"got {', '.join(unknown)}"
            )
        total = sum(self.mass_fractions.values())
        if min(self.mass_fractions.values()) < 0 or abs(total - 1) > FRACTION_TOLERANCE:
            raise InputError(f"mass_fractions of {self.name} must sum to 1, got {total:g}")

    def __hash__(self) -> int:
        """Of name and density: a mapping has none."""
        return hash((self.name, self.density_g_per_cm3))

    def mass_attenuation_cm2_per_g(self, energies_kev: ArrayLike) -> NDArray[np.float64]:
        """Return mu/rho with coherent scatter [cm2/g], shape of `energies_kev` (5 to 150 keV).

        Straight lines in log-log between the tabulated energies, edges kept: within 0.03 % of
        Elam's cross sections.

        Raises:
            InputError: An energy outside the table.
        """
        energies = np.asarray(energies_kev, float)
        low, high = ENERGY_RANGE_KEV
        outside = energies[~((energies >= low) & (energies <= high))]
        if outside.size:
            raise InputError(
                f"energies_kev must lie in [{low:g}, {high:g}] keV, got {outside.flat[0]:g}"
            )
        parts = [
            share * _element_cm2_per_g(symbol, energies)
            for symbol, share in self.mass_fractions.items()
        ]
        return np.asarray(np.sum(parts, axis=0))

    @property
    def electrons_mol_per_cm3(self) -> float:
        """Electrons per volume [mol/cm3]: density times the mass fractions' mean of Z/A."""
        atoms = atomic_numbers_and_weights()
        per_g = (share * atoms[of][0] / atoms[of][1] for of, share in self.mass_fractions.items())
        return self.density_g_per_cm3 * sum(per_g)

    def mu_per_mm(self, energies_kev: ArrayLike) -> NDArray[np.float64]:
        """Return linear attenuation [1/mm], shape of `energies_kev`."""
        return self.mass_attenuation_cm2_per_g(energies_kev) * (self.density_g_per_cm3 / 10)


def _element_cm2_per_g(symbol: str, energies_kev: NDArray[np.float64]) -> NDArray[np.float64]:
    known_kev, known = _elements()[symbol]
    return np.asarray(np.exp(np.interp(np.log(energies_kev), np.log(known_kev), np.log(known))))


@cache
def _elements() -> Mapping[str, NDArray[np.float64]]:
    with as_file(files("fluoro.physics") / "data" / "elements.npz") as path, np.load(path) as table:
        return MappingProxyType({symbol: table[symbol] for symbol in table.files})


@cache
def atomic_numbers_and_weights() -> Mapping[str, tuple[int, float]]:
    """Atomic number and weight [g/mol] by symbol, of every element that a material may have."""
    text = (files("fluoro.physics") / "data" / "atoms.csv").read_text("utf-8")
    rows = csv.DictReader(line for line in text.splitlines() if not line.startswith("#"))
    return MappingProxyType({r["symbol"]: (int(r["number"]), float(r["weight"])) for r in rows})


@cache
def materials() -> Mapping[str, Material]:
    """Return the materials there are, by name."""
    text = (files("fluoro.physics") / "data" / "materials.csv").read_text("utf-8")
    rows = csv.DictReader(line for line in text.splitlines() if not line.startswith("#"))
    return MappingProxyType({row["name"]: _parsed(row) for row in rows})


def _parsed(row: Mapping[str, Any]) -> Material:
    words = row["mass_fractions"].split()
    fractions = dict(zip(words[::2], map(float, words[1::2]), strict=True))
    return Material(
        name=row["name"],
        density_g_per_cm3=float(row["density_g_per_cm3"]),
        mass_fractions=MappingProxyType(fractions),
    )


def material(name: str) -> Material:
    """Return the material of this name.

    Raises:
        InputError: There is none; the message lists those there are.
    """
    if name not in materials():
        raise InputError(f"material must be one of {', '.join(materials())}, got {name!r}")
    return materials()[name]

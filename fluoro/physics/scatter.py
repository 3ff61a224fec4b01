"""Scatter behind a patient as a kernel superposition (the form of Sun and Star-Lack 2010).

Each pencil of the beam gives off scatter in proportion to the primary that is left of it, and
spreads it over the detector in two Gaussians; how much goes into each depends on the water that
the pencil went through. The kernels (`data/scatter_kernels.csv`) are fitted to PENELOPE's scatter
of water at 80 kV, weighted by what a detector makes of it; see docs/physics.md.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cache, lru_cache
from importlib.resources import files

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fluoro.errors import InputError
from fluoro.names import DetectorKind
from fluoro.physics.detector import DetectorResponse
from fluoro.physics.dose import MU_WATER_70_KEV_PER_MM
from fluoro.physics.materials import Material, material
from fluoro.physics.spectrum import tube_spectrum

__all__ = [
    "WATER_STEP_MM",
    "ScatterKernel",
    "gap_decay_per_mm",
    "gap_per_mm",
    "losses",
    "ratio_tables",
    "scatter_kernel",
    "water_per_integral_mm",
    "water_per_mm",
]

Array = NDArray[np.float64]

WATER_STEP_MM, MOST_WATER_MM = 2.5, 450.0
"""Water at which ratios are tabulated [mm]."""

TUBE_VOLTAGE_KV, ALUMINIUM_MM = 80, 3.0
"""The beam of the kernels."""

MIDDLE_LOG, LOG_WIDTH = 4.65, 2.2
"""ln(I0/Ip) at which the wide Gaussian's height is b, and over which it changes by exp(c)."""
MOST_LOG = 8.0
"""ln(I0/Ip) behind 36 cm of water: beyond it the ratio to the primary is held."""

EXPANSION, GAP_STEP_MM, CHEST_MM, HALF_FIELD_MM = 0.7, 50.0, 120.0, 125.0
"""Of lung's room that adds to the air gap; how its effect is taken from the kernels."""

LOSSES, LOSSES_PER_MM, MIDDLE_GAP_MM = 1.12, -0.002, 175.0
"""How much a material's own attenuation takes of its scatter, at the middle air gap [mm]."""

WATER_KEV = 70.0
"""At which attenuations are compared with water's."""


@dataclass(frozen=True, kw_only=True)
class ScatterKernel:
    """Amplitudes and widths behind one air gap; lengths [mm] at the detector.

    With Ip/I0, the share of the energy of the kernels' beam that water leaves, and
    t = ln(I0/Ip), a pencil whose primary is 1 gives off A (Ip/I0)^(alpha - 1) t^beta in the narrow
    Gaussian, and b exp(c (t - 4.65) / 2.2) times that in the wide one; both by their heights.

    Attributes:
        a_per_cm2: Factor of the amplitude [1/cm2].
        alpha: Power of the primary that is left.
        beta: Power of its logarithm.
        s1_mm: Width of the narrow Gaussian [mm].
        b: Height of the wide one against the narrow one.
        c: How it grows with the logarithm.
        s2_mm: Width of the wide one [mm].
    """

    a_per_cm2: float
    alpha: float
    beta: float
    s1_mm: float
    b: float
    c: float
    s2_mm: float

    def heights(self, left: Array) -> Array:
        """Return heights of both Gaussians [1/mm2] for a primary of 1, shape (2, ...).

        Args:
            left: Share of the energy of the kernels' beam that is left, 0 to 1, shape (...).
        """
        log = np.minimum(-np.log(left), MOST_LOG)
        narrow = self.a_per_cm2 / 100 * np.exp((1 - self.alpha) * log) * log**self.beta
        wide = narrow * self.b * np.exp(self.c * (log - MIDDLE_LOG) / LOG_WIDTH)
        return np.stack([narrow, wide])


PARAMETERS = tuple(field.name for field in fields(ScatterKernel))


def scatter_kernel(air_gap_mm: float, response: DetectorResponse | None = None) -> ScatterKernel:
    """Return the kernel behind an air gap, as a detector weighs it.

    Between the gaps and detectors of the table straight lines (A: of its logarithm).

    Args:
        air_gap_mm: Between patient and detector [mm].
        response: The detector's; None: every photon adds its energy.

    Raises:
        InputError: An air gap outside the table.
    """
    response = response or DetectorResponse(converter=None)
    shares, gaps, table = _table(response.kind)
    if not gaps[0] <= air_gap_mm <= gaps[-1]:
        raise InputError(
            f"air_gap_mm must lie in [{gaps[0]:g}, {gaps[-1]:g}] mm, got {air_gap_mm:g}"
        )
    at_gap = [_between(air_gap_mm, gaps, of_detector) for of_detector in table]
    values = _between(_share(response), shares, np.array(at_gap))
    return ScatterKernel(**dict(zip(PARAMETERS, (np.exp(values[0]), *values[1:]), strict=True)))


def _between(at: float, known: Array, rows: Array) -> Array:
    return np.array([np.interp(at, known, column) for column in rows.T])


def _share(response: DetectorResponse) -> float:
    """Share of photons of 60 keV that the detector absorbs: how its kernels are ordered."""
    return float(response.absorbed(60.0))


@cache
def _table(kind: DetectorKind) -> tuple[Array, Array, Array]:
    """Shares absorbed, air gaps [mm], and parameters (the first one's logarithm)."""
    text = (files("fluoro.physics") / "data" / "scatter_kernels.csv").read_text("utf-8")
    rows = [
        row
        for row in csv.DictReader(line for line in text.splitlines() if not line.startswith("#"))
        if row["kind"] == kind
    ]
    gaps = sorted({float(row["air_gap_mm"]) for row in rows})
    masses = sorted({float(row["csi_g_per_cm2"]) for row in rows})
    shares = [
        1.0 if mass == np.inf else _share(DetectorResponse(kind=kind, thickness_g_per_cm2=mass))
        for mass in masses
    ]
    table = np.empty((len(masses), len(gaps), len(PARAMETERS)))
    for row in rows:
        values = [float(row[name]) for name in PARAMETERS]
        place = masses.index(float(row["csi_g_per_cm2"])), gaps.index(float(row["air_gap_mm"]))
        table[place] = [np.log(values[0]), *values[1:]]
    return np.array(shares), np.array(gaps), table


@lru_cache(maxsize=16)
def ratio_tables(air_gap_mm: float, response: DetectorResponse | None = None) -> Array:
    """Heights of both Gaussians [1/mm2] for a primary of 1, by the water that it went through.

    Args:
        air_gap_mm: Between patient and detector [mm].
        response: As for `scatter_kernel`.

    Returns:
        Shape (2, waters), at 0, 2.5, ... 450 mm of water.
    """
    water_mm = np.arange(0, MOST_WATER_MM + WATER_STEP_MM / 2, WATER_STEP_MM)
    return scatter_kernel(air_gap_mm, response).heights(_left_of_the_kernels_beam(water_mm))


def _left_of_the_kernels_beam(water_mm: Array) -> Array:
    """Share of the energy of the kernels' beam behind water; at no water exactly 1."""
    beam = tube_spectrum(TUBE_VOLTAGE_KV, ALUMINIUM_MM)
    weight = beam.photons_per_mm2 * beam.energies_kev
    mu = material("water").mu_per_mm(beam.energies_kev)
    left = np.exp(-np.outer(water_mm, mu)) @ (weight / weight.sum())
    return np.asarray(np.minimum(left, 1.0))


def water_per_mm(found: Sequence[Material], air_gap_mm: float) -> Array:
    """Return water [mm] that scatters as 1 mm of each material does, shape (materials,).

    Scatter is made at electrons: e, those per volume against water's. A photon that is scattered
    again, or leaves at a slant, is lost where the material attenuates more than its electrons
    scatter: (e / mu)^m, mu the attenuation at 70 keV against water's. Near the body m is larger,
    because what arrives there has been scattered more often and comes from steeper angles. So
    1 mm of cortical bone counts as 1.08 mm of water behind 50 mm of air and as 1.30 mm behind
    300 mm (by attenuation: 2.56), iodine as less than 0.2 mm. m is fitted to PENELOPE's scatter of
    water with bone (tools/data/bake_scatter.py, `fitted_losses`).

    Args:
        found: Materials.
        air_gap_mm: Between patient and detector [mm].
    """
    water = material("water")
    electrons = np.array([each.electrons_mol_per_cm3 for each in found])
    electrons /= water.electrons_mol_per_cm3
    mu = np.array([float(each.mu_per_mm(WATER_KEV)) for each in found])
    mu /= float(water.mu_per_mm(WATER_KEV))
    return np.asarray(electrons * (electrons / mu) ** losses(air_gap_mm))


def losses(air_gap_mm: ArrayLike) -> Array:
    """Return the power m of `water_per_mm`, by air gap [mm]."""
    return np.asarray(LOSSES + LOSSES_PER_MM * (np.asarray(air_gap_mm) - MIDDLE_GAP_MM))


def gap_per_mm(found: Sequence[Material]) -> Array:
    """Return air gap [mm] that 1 mm of each material adds, shape (materials,): lung alone.

    Lung takes more room than the water that it counts as, so that its scatter is made farther
    from the detector: by 0.7 of the difference. A half would be the middle of an even layer; 0.7
    is fitted to PENELOPE's thorax (tools/data/make_thorax_reference.py). Air is left aside, because
    what surrounds the patient is air too.
    """
    room = 1 - water_per_mm(found, MIDDLE_GAP_MM)
    return np.where((room > 0.4) & (room < 0.9), EXPANSION * room, 0.0)


@lru_cache(maxsize=16)
def gap_decay_per_mm(
    air_gap_mm: float, response: DetectorResponse | None = None
) -> tuple[float, float]:
    """Return how either Gaussian's share within a field of 25 cm falls with the air gap [1/mm].

    Behind 12 cm of water, from the gap to one of 5 cm more, within the table.

    Args:
        air_gap_mm: Between patient and detector [mm].
        response: As for `scatter_kernel`.
    """
    gaps = _table((response or DetectorResponse(converter=None)).kind)[1]
    near = min(air_gap_mm, float(gaps[-1]) - GAP_STEP_MM)
    shares = [_shares_in_field(gap, response) for gap in (near, near + GAP_STEP_MM)]
    narrow, wide = np.log(shares[0] / shares[1]) / GAP_STEP_MM
    return float(narrow), float(wide)


def _shares_in_field(air_gap_mm: float, response: DetectorResponse | None) -> Array:
    kernel = scatter_kernel(air_gap_mm, response)
    heights = kernel.heights(_left_of_the_kernels_beam(np.array([CHEST_MM])))[:, 0]
    widths = np.array([kernel.s1_mm, kernel.s2_mm])
    inside = [math.erf(HALF_FIELD_MM / width / math.sqrt(2)) ** 2 for width in widths]
    return np.asarray(heights * widths**2 * inside)


def water_per_integral_mm() -> float:
    """Return water [mm] for a line integral of 1 at 70 keV, where no materials are known."""
    return 1 / MU_WATER_70_KEV_PER_MM

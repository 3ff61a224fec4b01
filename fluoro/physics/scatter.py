"""Scatter behind a patient as a kernel superposition (Sun and Star-Lack 2010, thickness-free).

Each pencil of the beam gives off an amplitude that depends on how much of it is left, and spreads
it over the detector in two Gaussians. The kernels (`data/scatter_kernels.csv`) are of water at 80
kV; they are provisional, see docs/physics.md.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from fluoro.errors import InputError
from fluoro.physics.beam import Beam
from fluoro.physics.dose import MU_WATER_70_KEV_PER_MM
from fluoro.physics.materials import material
from fluoro.physics.spectrum import tube_spectrum

__all__ = ["INTEGRAL_STEP", "ScatterKernel", "amplitude_table", "scatter_kernel"]

INTEGRAL_STEP, LAST_INTEGRAL = 0.05, 16.0
"""Line integrals at which amplitudes are tabulated."""

TUBE_VOLTAGE_KV, ALUMINIUM_MM = 80, 3.0
"""The beam of the kernels."""


@dataclass(frozen=True, kw_only=True)
class ScatterKernel:
    """Amplitude and spread behind one air gap; lengths [mm] at the detector.

    Attributes:
        a_per_cm2: Factor of the amplitude [1/cm2].
        alpha: Power of the primary that is left.
        beta: Power of its logarithm.
        s1_mm: Width of the narrow Gaussian [mm].
        b: Height of the wide one; the narrow one's is 1.
        s2_mm: Width of the wide one [mm].
    """

    a_per_cm2: float
    alpha: float
    beta: float
    s1_mm: float
    b: float
    s2_mm: float


def scatter_kernel(air_gap_mm: float) -> ScatterKernel:
    """The kernel behind an air gap; between those of the table straight lines (A: of its log).

    Raises:
        InputError: An air gap outside the table.
    """
    gaps, *columns = _table()
    if not gaps[0] <= air_gap_mm <= gaps[-1]:
        raise InputError(
            f"air_gap_mm must lie in [{gaps[0]:g}, {gaps[-1]:g}] mm, got {air_gap_mm:g}"
        )
    log_a, *others = (
        float(np.interp(air_gap_mm, gaps, column)) for column in (np.log(columns[0]), *columns[1:])
    )
    alpha, beta, s1_mm, b, s2_mm = others
    return ScatterKernel(
        a_per_cm2=float(np.exp(log_a)), alpha=alpha, beta=beta, s1_mm=s1_mm, b=b, s2_mm=s2_mm
    )


@cache
def _table() -> NDArray[np.float64]:
    text = (files("fluoro.physics") / "data" / "scatter_kernels.csv").read_text("utf-8")
    rows = list(csv.reader(line for line in text.splitlines() if not line.startswith("#")))
    return np.array(rows[1:], float).T


@lru_cache(maxsize=16)
def amplitude_table(air_gap_mm: float, beam: Beam | None = None) -> NDArray[np.float64]:
    """Amplitude [1/mm2] relative to the open field, by line integral at 70 keV.

    The kernels need the primary of their own beam (80 kV, weighted by energy). A line integral at
    70 keV stands for so much water; what that leaves of either beam is known, and the amplitude
    is scaled so that scatter keeps its ratio to the primary.

    Args:
        air_gap_mm: Between patient and detector [mm].
        beam: Whose primary it is; None: photons of 70 keV.

    Returns:
        Values at 0, 0.05, ... 16.
    """
    kernel = scatter_kernel(air_gap_mm)
    integrals = np.arange(0, LAST_INTEGRAL + INTEGRAL_STEP / 2, INTEGRAL_STEP)
    water_mm = integrals / MU_WATER_70_KEV_PER_MM
    left = _left_of_the_kernels_beam(water_mm)
    primary = np.exp(-integrals) if beam is None else beam.transmission(material("water"), water_mm)
    amplitude_per_cm2 = kernel.a_per_cm2 * left**kernel.alpha * (-np.log(left)) ** kernel.beta
    return np.asarray(amplitude_per_cm2 / 100 * primary / left)


def _left_of_the_kernels_beam(water_mm: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of the energy of the kernels' beam behind water; at no water exactly 1."""
    beam = tube_spectrum(TUBE_VOLTAGE_KV, ALUMINIUM_MM)
    weight = beam.photons_per_mm2 * beam.energies_kev
    mu = material("water").mu_per_mm(beam.energies_kev)
    left = np.exp(-np.outer(water_mm, mu)) @ (weight / weight.sum())
    return np.asarray(np.minimum(left, 1.0))

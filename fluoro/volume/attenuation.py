"""CT numbers to linear attenuation: the physical map through the attenuation of water."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from fluoro.errors import InputError

__all__ = ["ENERGY_RANGE_KEV", "mu_from_hu", "mu_water_per_mm"]

ENERGY_RANGE_KEV = (20.0, 150.0)
"""Range in which the interpolated table is within 0.15 % of Elam's cross sections [keV]."""

WATER_DENSITY_G_PER_CM3 = 1.0
"""By definition of the CT number, water is 0 HU; density as in NIST's table."""


def mu_water_per_mm(energy_kev: float) -> float:
    """Linear attenuation of water [1/mm] for photons of `energy_kev`.

    NIST's mass attenuation coefficients (`fluoro/physics/data/mu_water.csv`), interpolated by a
    natural cubic spline in log-log coordinates; exact at NIST's own energies.

    Raises:
        InputError: An energy outside 20 to 150 keV.
    """
    low, high = ENERGY_RANGE_KEV
    if not low <= energy_kev <= high:
        raise InputError(f"energy_kev must lie in [{low:g}, {high:g}] keV, got {energy_kev}")
    log_energy, log_mass, curvature = _water_table()
    mass_cm2_per_g = np.exp(_spline(np.log(energy_kev), log_energy, log_mass, curvature))
    return float(mass_cm2_per_g) * WATER_DENSITY_G_PER_CM3 / 10


def mu_from_hu(
    hu_zyx: NDArray[np.int16] | NDArray[np.float32],
    energy_kev: float,
    out: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """Linear attenuation [1/mm]: max(0, mu_water(E) (1 + HU/1000)), slice by slice.

    Args:
        hu_zyx: CT numbers [HU], shape (z, y, x).
        energy_kev: Photon energy, 20 to 150 [keV].
        out: Where to write, same shape, float32; a new array if not given.

    Returns:
        `out`, or a new array of shape (z, y, x).

    Raises:
        InputError: An energy outside the range, or an `out` of another shape or type.
    """
    mu_water = mu_water_per_mm(energy_kev)
    if out is None:
        out = np.empty(hu_zyx.shape, np.float32)
    if out.shape != hu_zyx.shape or out.dtype != np.float32:
        raise InputError(f"out must be float32 {hu_zyx.shape}, got {out.dtype} {out.shape}")
    for hu_yx, mu_yx in zip(hu_zyx, out, strict=True):
        np.multiply(hu_yx, np.float32(mu_water / 1000), out=mu_yx, dtype=np.float32)
        mu_yx += np.float32(mu_water)
        np.maximum(mu_yx, 0, out=mu_yx)
    return out


@cache
def _water_table() -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Log of energy [keV], log of mass attenuation [cm2/g], and the spline's curvatures."""
    text = (files("fluoro.physics") / "data" / "mu_water.csv").read_text(encoding="utf-8")
    table = np.loadtxt(text.splitlines(), delimiter=",", skiprows=2)
    x, y = np.log(table).T
    return x, y, _natural_curvatures(x, y)


def _natural_curvatures(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Second derivatives at the knots of the cubic spline with none at its ends."""
    steps = np.diff(x)
    matrix = np.diag(2 * (steps[:-1] + steps[1:])) + np.diag(steps[1:-1], 1)
    matrix += np.diag(steps[1:-1], -1)
    inner = np.linalg.solve(matrix, 6 * np.diff(np.diff(y) / steps))
    return np.concatenate([[0.0], inner, [0.0]])


def _spline(
    at: float, x: NDArray[np.float64], y: NDArray[np.float64], curvature: NDArray[np.float64]
) -> float:
    right = int(np.clip(np.searchsorted(x, at), 1, len(x) - 1))
    left, step = right - 1, x[right] - x[right - 1]
    a, b = (x[right] - at) / step, (at - x[left]) / step
    bend = (a**3 - a) * curvature[left] + (b**3 - b) * curvature[right]
    return float(a * y[left] + b * y[right] + bend * step**2 / 6)

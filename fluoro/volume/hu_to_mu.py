"""CT numbers to linear attenuation: through the attenuation of water, or along a straight line."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluoro.errors import InputError
from fluoro.physics.cubic_spline import CubicSpline

__all__ = [
    "ENERGY_RANGE_KEV",
    "HuToMu",
    "LinearCurve",
    "PhysicalCurve",
    "mu_from_hu",
    "mu_water_per_mm",
]

ENERGY_RANGE_KEV = (20.0, 150.0)
"""Range in which the interpolated table is within 0.15 % of Elam's cross sections [keV]."""

WATER_DENSITY_G_PER_CM3 = 1.0
"""By definition of the CT number, water is 0 HU; density as in NIST's table."""


def mu_water_per_mm(energy_kev: float) -> float:
    """Return linear attenuation of water [1/mm] for photons of `energy_kev`.

    NIST's mass attenuation coefficients (`fluoro/physics/data/mu_water.csv`), interpolated by a
    natural cubic spline in log-log coordinates; exact at NIST's own energies.

    Raises:
        InputError: An energy outside 20 to 150 keV.
    """
    low, high = ENERGY_RANGE_KEV
    if not low <= energy_kev <= high:
        raise InputError(f"energy_kev must lie in [{low:g}, {high:g}] keV, got {energy_kev}")
    mass_cm2_per_g = np.exp(_water_spline()(np.log(energy_kev)))
    return float(mass_cm2_per_g) * WATER_DENSITY_G_PER_CM3 / 10


def mu_from_hu(
    hu_zyx: NDArray[np.int16] | NDArray[np.float32],
    energy_kev: float,
    out: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """Linear attenuation [1/mm]: max(0, mu_water(E) (1 + HU/1000)), slice by slice, unclipped.

    Args:
        hu_zyx: CT numbers [HU], shape (z, y, x).
        energy_kev: Photon energy, 20 to 150 [keV].
        out: Where to write, same shape, float32; a new array if not given.

    Returns:
        `out`, or a new array of shape (z, y, x).

    Raises:
        InputError: An energy outside the range, or an `out` of another shape or type.
    """
    curve = PhysicalCurve(energy_kev=energy_kev)
    if out is None:
        out = np.empty(hu_zyx.shape, np.float32)
    if out.shape != hu_zyx.shape or out.dtype != np.float32:
        raise InputError(f"out must be float32 {hu_zyx.shape}, got {out.dtype} {out.shape}")
    for hu_yx, mu_yx in zip(hu_zyx, out, strict=True):
        mu_yx[...] = hu_yx
        curve.replace_hu(mu_yx)
    return out


@dataclass(frozen=True, kw_only=True)
class PhysicalCurve:
    """mu = max(0, mu_water(E) (1 + HU/1000)): exact for water at every energy.

    Attributes:
        energy_kev: Photon energy, 20 to 150 [keV].

    Raises:
        InputError: An energy outside the range.
    """

    energy_kev: float = 70.0

    def __post_init__(self) -> None:
        mu_water_per_mm(self.energy_kev)

    @property
    def water_mu_per_mm(self) -> float:
        """Attenuation of water, 0 HU [1/mm]."""
        return mu_water_per_mm(self.energy_kev)

    def replace_hu(self, values: NDArray[np.float32]) -> None:
        """CT numbers [HU] become attenuation [1/mm], in place."""
        values *= np.float32(self.water_mu_per_mm / 1000)
        values += np.float32(self.water_mu_per_mm)
        np.maximum(values, 0, out=values)


@dataclass(frozen=True, kw_only=True)
class LinearCurve:
    """A straight line through two points, flat beyond them; by default fluorosim's.

    Attributes:
        hu_min: CT number of `mu_min_per_mm` [HU], less than `hu_max`.
        hu_max: CT number of `mu_max_per_mm` [HU].
        mu_min_per_mm: Attenuation at and below `hu_min` [1/mm], at least 0.
        mu_max_per_mm: Attenuation at and above `hu_max` [1/mm], more than `mu_min_per_mm`.

    Raises:
        InputError: Ends that are not finite, or in another order.
    """

    hu_min: float = -1000.0
    hu_max: float = 3000.0
    mu_min_per_mm: float = 0.0
    mu_max_per_mm: float = 0.02

    def __post_init__(self) -> None:
        if not -np.inf < self.hu_min < self.hu_max < np.inf:
            raise InputError(f"hu_min must be less than hu_max ({self.hu_max}), got {self.hu_min}")
        if not 0 <= self.mu_min_per_mm < self.mu_max_per_mm < np.inf:
            raise InputError(
                f"mu_min_per_mm must lie in [0, mu_max_per_mm ({self.mu_max_per_mm})), "
                f"got {self.mu_min_per_mm}"
            )

    @property
    def water_mu_per_mm(self) -> float:
        """Attenuation of water, 0 HU [1/mm]."""
        water = np.zeros(1, np.float32)
        self.replace_hu(water)
        return float(water[0])

    def replace_hu(self, values: NDArray[np.float32]) -> None:
        """CT numbers [HU] become attenuation [1/mm], in place."""
        np.clip(values, self.hu_min, self.hu_max, out=values)
        values -= np.float32(self.hu_min)
        values *= np.float32((self.mu_max_per_mm - self.mu_min_per_mm) / self.hu_span)
        values += np.float32(self.mu_min_per_mm)

    @property
    def hu_span(self) -> float:
        """Length of the sloping part [HU]."""
        return self.hu_max - self.hu_min


BONE_HU = 350.0
"""CT numbers above it count as bone for `bone_multiplier`: DiffDRR's threshold (0.6, data.py)."""


@dataclass(frozen=True, kw_only=True)
class HuToMu:
    """From CT numbers to attenuation: clip, raise bone, follow the curve.

    Attributes:
        curve: From CT numbers to attenuation.
        bone_multiplier: CT numbers above 350 HU are multiplied by it, 1 to 3, as DiffDRR does
            (and as there, before anything becomes attenuation).
        hu_clip_min: Lower CT numbers become this one [HU]; None: none do.
        hu_clip_max: Higher CT numbers become this one [HU]; None: none do.

    Raises:
        InputError: A multiplier outside its range, or clipping ends in another order.
    """

    curve: PhysicalCurve | LinearCurve = field(default_factory=PhysicalCurve)
    bone_multiplier: float = 1.0
    hu_clip_min: float | None = -1024.0
    hu_clip_max: float | None = 3071.0

    def __post_init__(self) -> None:
        if not 1 <= self.bone_multiplier <= 3:
            raise InputError(f"bone_multiplier must lie in [1, 3], got {self.bone_multiplier}")
        if not self._low < self._high:
            raise InputError(
                f"hu_clip_min must be less than hu_clip_max ({self._high:g}), got {self._low:g}"
            )

    @property
    def _low(self) -> float:
        return -np.inf if self.hu_clip_min is None else self.hu_clip_min

    @property
    def _high(self) -> float:
        return np.inf if self.hu_clip_max is None else self.hu_clip_max

    @property
    def range_hu(self) -> tuple[float, float]:
        """CT numbers that keep their difference from each other; others are flattened [HU]."""
        if isinstance(self.curve, PhysicalCurve):
            return self._low, self._high
        top = self.curve.hu_max
        top = min(top, max(top / self.bone_multiplier, BONE_HU))
        return max(self._low, self.curve.hu_min), min(self._high, top)

    def facts(self) -> dict[str, Any]:
        """Return everything that decides the result, as JSON holds it."""
        kind = "physical" if isinstance(self.curve, PhysicalCurve) else "linear"
        return {"kind": kind, "water_mu_per_mm": self.curve.water_mu_per_mm, **asdict(self)}

    def mu(self, hu: NDArray[Any]) -> NDArray[np.float32]:
        """Return attenuation [1/mm] of finite CT numbers [HU], any shape; a new array."""
        values = np.clip(hu.astype(np.float32), self._low, self._high)
        if self.bone_multiplier != 1:
            np.multiply(
                values, np.float32(self.bone_multiplier), out=values, where=values > BONE_HU
            )
        self.curve.replace_hu(values)
        return values


@cache
def _water_spline() -> CubicSpline:
    """Log of mass attenuation [cm2/g] by log of energy [keV]."""
    text = (files("fluoro.physics") / "data" / "mu_water.csv").read_text(encoding="utf-8")
    table = np.loadtxt(text.splitlines(), delimiter=",", skiprows=2)
    x, y = np.log(table).T
    return CubicSpline.through(x, y, "natural")

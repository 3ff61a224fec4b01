"""The X-ray spectrum: what leaves the tube, what its filters leave of it, and its measures.

Tube spectra: `data/spectra.npz`, baked from SpekPy by tools/data/bake_spectra.py (tungsten, 12
degree anode, 40 to 150 kV); filters by the attenuation of `fluoro.physics.materials`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import as_file, files
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fluoro.errors import InputError
from fluoro.physics.cubic_spline import CubicSpline
from fluoro.physics.materials import ENERGY_RANGE_KEV, material

__all__ = ["NAMED_SPECTRA", "Spectrum", "named_spectrum", "read_spectrum", "tube_spectrum"]

Energies = NDArray[np.float64]

NAMED_SPECTRA: Mapping[str, tuple[int, float]] = MappingProxyType(
    {"60KV_AL35": (60, 3.5), "90KV_AL40": (90, 4.0), "120KV_AL43": (120, 4.3)}
)
"""Tube voltage [kV] and aluminium [mm] of the spectra with these names in DeepDRR."""

THINNEST_MM_AL, THICKEST_MM_AL = 1.0, 100.0
"""Less than any tube's window and housing; more than any beam quality of IEC 61267."""
THICKEST_MM_CU = 5.0

LEAST_LEFT = 1e-7
"""Share of the bare tube's photons that a filter must leave: no tube makes up for less."""

REFERENCE_MM = 1000.0
"""Distance from the focal spot at which a tube's spectrum is stated [mm]."""

UGY_PER_KEV_G = 1.602176634e-16 * 1e3 * 1e6
"""One keV absorbed in one gram [uGy]."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Spectrum:
    """Photons by energy.

    Attributes:
        energies_kev: Middle of each bin [keV], ascending, within 5 to 150, shape (n,).
        photons_per_mm2: Photons in each bin [1/mm2], at least 0, shape (n,).

    Raises:
        InputError: Values that are no spectrum.
    """

    energies_kev: Energies
    photons_per_mm2: Energies

    def __post_init__(self) -> None:
        energies, photons = self.energies_kev, self.photons_per_mm2
        low, high = ENERGY_RANGE_KEV
        if energies.ndim != 1 or not energies.size or energies.shape != photons.shape:
            raise InputError(
                f"photons_per_mm2 must be one value an energy, got shapes "
                f"{photons.shape} and {energies.shape}"
            )
        if not (low <= energies[0] and energies[-1] <= high and np.all(np.diff(energies) > 0)):
            raise InputError(f"energies_kev must ascend within {low:g} to {high:g} keV")
        if not (np.all(photons >= 0) and 0 < photons.sum() < math.inf):
            raise InputError("photons_per_mm2 must be finite, at least 0 and not all 0")

    @property
    def fluence_per_mm2(self) -> float:
        """All photons [1/mm2]."""
        return float(self.photons_per_mm2.sum())

    @property
    def mean_energy_kev(self) -> float:
        """Mean energy of a photon [keV]."""
        return float(self.photons_per_mm2 @ self.energies_kev / self.fluence_per_mm2)

    @property
    def kerma_ugy(self) -> float:
        """Air kerma [uGy]: sum of photons x energy x mu_en/rho of air (NIST SRD 126)."""
        per_photon = self.energies_kev * _air_absorption_cm2_per_g(self.energies_kev)
        return float(self.photons_per_mm2 @ per_photon) * 100 * UGY_PER_KEV_G

    @property
    def photons_per_mm2_ugy(self) -> float:
        """Photons per area and air kerma [1/(mm2 uGy)]: IEC 62220-1-1's SNR_in^2."""
        return self.fluence_per_mm2 / self.kerma_ugy

    def times(self, factor: float) -> Spectrum:
        """As many times the photons: tube charge [mAs], or the square of 1 m over the distance.

        Raises:
            InputError: A factor that is not positive.
        """
        if not 0 < factor < math.inf:
            raise InputError(f"factor must be a number > 0, got {factor}")
        return Spectrum(
            energies_kev=self.energies_kev, photons_per_mm2=self.photons_per_mm2 * factor
        )

    def filtered(self, material_name: str, thickness_mm: float) -> Spectrum:
        """Return what is left behind a homogeneous layer, without scatter.

        Raises:
            InputError: An unknown material, a negative thickness, or one that leaves nothing.
        """
        if not 0 <= thickness_mm < math.inf:
            raise InputError(f"thickness_mm of {material_name} must be >= 0, got {thickness_mm}")
        mu = material(material_name).mu_per_mm(self.energies_kev)
        left = self.photons_per_mm2 * np.exp(-mu * thickness_mm)
        if left.sum() <= self.fluence_per_mm2 * 1e-12:
            raise InputError(
                f"thickness_mm: {thickness_mm:g} mm of {material_name} leaves nothing of the beam"
            )
        return Spectrum(energies_kev=self.energies_kev, photons_per_mm2=left)

    def half_value_layers_mm(self, material_name: str = "aluminium") -> tuple[float, float]:
        """Return the thickness that halves the air kerma, and what halves it once more [mm]."""
        from scipy.optimize import brentq

        mu = material(material_name).mu_per_mm(self.energies_kev)
        weight = self.photons_per_mm2 * self.energies_kev
        weight = weight * _air_absorption_cm2_per_g(self.energies_kev)

        def excess(thickness_mm: float, share: float) -> float:
            return float(weight @ np.exp(-mu * thickness_mm) / weight.sum() - share)

        softest = mu[weight > 0].min()
        half, quarter = (
            float(brentq(excess, 0, -math.log(share) / softest * 1.001, args=(share,)))
            for share in (0.5, 0.25)
        )
        return half, quarter - half


def tube_spectrum(tube_voltage_kv: int, aluminium_mm: float, copper_mm: float = 0.0) -> Spectrum:
    """Return the spectrum of a tungsten tube per mAs at 1 m, without air.

    Args:
        tube_voltage_kv: 40 to 150, whole [kV].
        aluminium_mm: Total filtration, the tube's own included, 1 to 100 [mm].
        copper_mm: Copper besides, 0 to 5 [mm].

    Raises:
        InputError: A voltage outside the table, or a filter too thin or too thick.
    """
    voltages, energies, photons = _tube_table()
    if tube_voltage_kv not in voltages:
        raise InputError(
            f"tube_voltage_kv must be a whole number of {voltages[0]} to {voltages[-1]} kV, "
            f"got {tube_voltage_kv}"
        )
    _require_filter("aluminium_mm", aluminium_mm, THINNEST_MM_AL, THICKEST_MM_AL)
    _require_filter("copper_mm", copper_mm, 0.0, THICKEST_MM_CU)
    row = photons[int(np.searchsorted(voltages, tube_voltage_kv))]
    present = row > 0
    bare = Spectrum(energies_kev=energies[present], photons_per_mm2=row[present])
    left = bare.filtered("aluminium", aluminium_mm).filtered("copper", copper_mm)
    share = left.fluence_per_mm2 / bare.fluence_per_mm2
    if share < LEAST_LEFT:
        raise InputError(
            f"aluminium_mm {aluminium_mm:g} and copper_mm {copper_mm:g} are too thick for "
            f"tube_voltage_kv {tube_voltage_kv}: they must leave at least {LEAST_LEFT:g} of the "
            f"tube's photons, they leave {share:.1g}"
        )
    return left


def _require_filter(name: str, thickness_mm: float, thinnest: float, thickest: float) -> None:
    if not thinnest <= thickness_mm <= thickest:
        raise InputError(
            f"{name} must lie in [{thinnest:g}, {thickest:g}] mm, got {thickness_mm:g}"
        )


def named_spectrum(name: str) -> Spectrum:
    """Return one of `NAMED_SPECTRA`, per mAs at 1 m.

    Raises:
        InputError: There is none of this name; the message lists those there are.
    """
    if name not in NAMED_SPECTRA:
        raise InputError(f"spectrum must be one of {', '.join(NAMED_SPECTRA)}, got {name!r}")
    return tube_spectrum(*NAMED_SPECTRA[name])


def read_spectrum(path: Path | str) -> Spectrum:
    """Read a custom spectrum: lines `energy [keV],photons [1/mm2]`, `#` starts a comment.

    A first line of words is a heading.

    Raises:
        InputError: A file that cannot be read or is no spectrum.
    """
    path = Path(path)
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as a spectrum: {error}") from None
    lines = [line.strip() for line in text.splitlines()]
    rows = [line for line in lines if line and not line.startswith("#")]
    if rows and not _numbers(rows[0]):
        rows = rows[1:]
    values = [_numbers(row) for row in rows]
    for row, pair in zip(rows, values, strict=True):
        if len(pair) != 2:
            raise InputError(f"{path}: must have lines energy_kev,photons, got {row[:60]!r}")
    try:
        energies, photons = np.array(values, float).reshape(-1, 2).T
        return Spectrum(energies_kev=energies, photons_per_mm2=photons)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _numbers(row: str) -> list[float]:
    """The row's numbers; none where a field is no number."""
    try:
        return [float(field) for field in row.split(",")]
    except ValueError:
        return []


@cache
def _tube_table() -> tuple[list[int], Energies, Energies]:
    """Voltages [kV], energies [keV], photons per mm2 and mAs (voltages, energies) at 1 m."""
    with as_file(files("fluoro.physics") / "data" / "spectra.npz") as path, np.load(path) as table:
        voltages = [int(voltage) for voltage in table["tube_voltages_kv"]]
        photons = table["photons_per_mm2_mas"].astype(float)
        return voltages, table["energies_kev"], photons


@cache
def _air_spline() -> CubicSpline:
    text = (files("fluoro.physics") / "data" / "mu_en_air.csv").read_text("utf-8")
    x, y = np.log(np.loadtxt(text.splitlines(), delimiter=",", skiprows=2)).T
    return CubicSpline.through(x, y, "not-a-knot")


def _air_absorption_cm2_per_g(energies_kev: ArrayLike) -> Energies:
    log_energies = np.log(np.asarray(energies_kev, float))
    return np.exp([_air_spline()(log_energy) for log_energy in log_energies])

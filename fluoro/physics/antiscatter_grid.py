"""An anti-scatter grid by its lamellae: what it lets through by angle and energy."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from importlib.resources import as_file, files

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fluoro.errors import InputError
from fluoro.physics.materials import material
from fluoro.physics.spectrum import tube_spectrum

__all__ = ["AntiscatterGrid"]

Array = NDArray[np.float64]

ENTRIES = 200
"""Places in a period at which a ray enters."""
PRIMARY_KEV_STEP = 8
"""Every which bin of the nominal spectrum stands for the primary."""


@dataclass(frozen=True, kw_only=True)
class AntiscatterGrid:
    """Lead lamellae and what is between them; the lamellae point to a focus.

    Attributes:
        ratio: Height of a lamella over the width between two.
        lines_per_cm: Lamellae per length [1/cm].
        lead_um: Thickness of a lamella [um].
        interspace: Material between the lamellae.

    Raises:
        InputError: Lamellae without room between them.
    """

    ratio: float = 13.0
    lines_per_cm: float = 70.0
    lead_um: float = 30.0
    interspace: str = "pmma"

    def __post_init__(self) -> None:
        if self.gap_mm <= 0:
            raise InputError(
                f"lead_um must be less than the period of {1e3 * self.period_mm:g} um, "
                f"got {self.lead_um:g}"
            )

    @property
    def period_mm(self) -> float:
        """From lamella to lamella [mm]."""
        return 10 / self.lines_per_cm

    @property
    def gap_mm(self) -> float:
        """Between two lamellae [mm]."""
        return self.period_mm - self.lead_um / 1e3

    @property
    def height_mm(self) -> float:
        """Of the lamellae [mm]."""
        return self.ratio * self.gap_mm

    def transmission(self, energies_kev: ArrayLike, across: ArrayLike) -> Array:
        """Return the share of photons that come through, the mean over the places where they enter.

        Absorption in lead and interspace; what they scatter or fluoresce is left aside.

        Args:
            energies_kev: Shape (energies,).
            across: Slope against the lamellae, across them: tangent of the angle; shape (slopes,).

        Returns:
            Shape (energies, slopes).
        """
        energies, slopes = (np.atleast_1d(np.asarray(v, float)) for v in (energies_kev, across))
        share = self._share_of_lead(np.abs(slopes) * self.height_mm)
        way_mm = self.height_mm * np.hypot(1, slopes)
        lead, between = (material(n).mu_per_mm(energies) for n in ("lead", self.interspace))
        mixed = between[:, None, None] + (lead - between)[:, None, None] * share.T
        return np.asarray(np.exp(-mixed * way_mm).mean(axis=1))

    def _share_of_lead(self, walk_mm: Array) -> Array:
        """Share of a ray's way that lies in lead, by its walk across, shape (walks, entries)."""
        period, lead = self.period_mm, self.lead_um / 1e3
        start = (np.arange(ENTRIES) + 0.5) / ENTRIES * period

        def before(at_mm: Array) -> Array:
            return np.floor(at_mm / period) * lead + np.minimum(at_mm % period, lead)

        walk = np.maximum(walk_mm, 1e-9)[:, None]
        return np.asarray(
            (before(start + walk) - before(np.broadcast_to(start, walk.shape[:1] + start.shape)))
            / walk
        )

    def primary(self, across: ArrayLike) -> Array:
        """Return the share of the primary that comes through, by its slope against the lamellae.

        Of 80 kV behind 20 cm of water, by energy.
        """
        beam = tube_spectrum(80, 3.0).filtered("water", 200.0)
        kev = beam.energies_kev[::PRIMARY_KEV_STEP]
        weight = (beam.photons_per_mm2 * beam.energies_kev)[::PRIMARY_KEV_STEP]
        return np.asarray(weight @ self.transmission(kev, across) / weight.sum())

    @cached_property
    def central_primary(self) -> float:
        """Share of the primary that comes through along the lamellae."""
        return float(self.primary(0.0)[0])

    def scatter(self, air_gap_mm: float) -> Array:
        """Return the share of scatter that comes through, of the narrow and of the wide Gaussian.

        The angles and energies are PENELOPE's behind 20 cm of water at 80 kV.

        Args:
            air_gap_mm: Between patient and detector [mm].
        """
        angles = _angles()
        through = self.transmission(angles["energies_kev"], angles["slopes"])
        shares = (angles["weights"] * through).sum(axis=(2, 3)) / angles["weights"].sum(axis=(2, 3))
        return np.array([np.interp(air_gap_mm, angles["gaps_mm"], each) for each in shares.T])


@cache
def _angles() -> dict[str, Array]:
    """Weights of scatter by (gap, Gaussian, energy, slope across), and where these lie."""
    path = files("fluoro.physics") / "data" / "scatter_angles.npz"
    with as_file(path) as file, np.load(file) as found:
        return {name: found[name].astype(float) for name in found.files}

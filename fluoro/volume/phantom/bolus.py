"""A bolus of contrast agent: its concentration by time, and the vessels it runs through."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fluoro.config import ContrastConfig
from fluoro.physics.materials import material
from fluoro.volume.phantom.vessels import Tube, VesselMap, draw_vessels, vessel_tubes

__all__ = ["CURVE_STEPS_PER_S", "Bolus", "concentration", "concentration_table", "make_bolus"]

CURVE_STEPS_PER_S = 64.0
WASHOUTS = 8.0
"""Multiple of `washout_s` after which 0.03 % remains, taken as nothing."""
MG_PER_ML = 1e-3
"""In g/cm3."""


def concentration(config: ContrastConfig, after_s: ArrayLike) -> NDArray[np.float64]:
    """Return the share of the full concentration at times after the bolus has arrived [s].

    It rises smoothly within `spread_s`, stays for the rest of `duration_s`, and is then
    diluted exponentially.
    """
    at = np.asarray(after_s, float)
    rise = np.clip(at / config.spread_s, 0, 1)
    end_s = max(config.duration_s, config.spread_s)
    washed = np.exp(-np.maximum(at - end_s, 0) / config.washout_s)
    return np.asarray(rise * rise * (3 - 2 * rise) * washed)


def concentration_table(config: ContrastConfig) -> NDArray[np.float32]:
    """Return the same from 0 in steps of 1/64 s until nothing is left, the last value 0."""
    end_s = max(config.duration_s, config.spread_s) + WASHOUTS * config.washout_s
    table = concentration(config, np.arange(int(end_s * CURVE_STEPS_PER_S) + 1) / CURVE_STEPS_PER_S)
    return np.append(table, 0).astype(np.float32)


@dataclass(frozen=True, kw_only=True, eq=False)
class Bolus:
    """Contrast agent on its way through vessels.

    Attributes:
        vessels: Where they lie.
        config: Injection.
    """

    vessels: VesselMap
    config: ContrastConfig

    @property
    def travel_s(self) -> NDArray[np.float32]:
        """When it arrives in each voxel of the vessels, after the injection [s]."""
        return np.asarray(self.vessels.travel_mm / np.float32(self.config.speed_mm_per_s))

    @property
    def amount(self) -> NDArray[np.float32]:
        """Share of each voxel that pure iodine fills at full concentration."""
        density = material("iodine").density_g_per_cm3
        iodine = self.config.iodine_mg_per_ml * MG_PER_ML / density
        return np.asarray(self.vessels.share * np.float32(iodine))

    @property
    def gone_s(self) -> float:
        """After the injection, when nothing is left anywhere [s]."""
        table = concentration_table(self.config)
        return float(self.travel_s.max(initial=0)) + (len(table) - 1) / CURVE_STEPS_PER_S

    def shares(self, since_s: float) -> NDArray[np.float32]:
        """Return the share of iodine in each voxel, shape (z, y, x): the kernel's reference.

        Args:
            since_s: After the injection [s].
        """
        table = concentration_table(self.config)
        at = (since_s - self.travel_s.astype(float)) * CURVE_STEPS_PER_S
        level = np.interp(at, np.arange(len(table)), table)
        box = np.zeros(self.vessels.grid.shape_zyx, np.float32)
        box.ravel()[self.vessels.index] = self.amount * level
        return box


def make_bolus(config: ContrastConfig, tubes: list[Tube] | None = None) -> Bolus:
    """Return the configured bolus in vessels; None: those of the thorax phantom."""
    pieces = vessel_tubes(config.vessels) if tubes is None else tubes
    return Bolus(vessels=draw_vessels(pieces, config.spacing_mm), config=config)

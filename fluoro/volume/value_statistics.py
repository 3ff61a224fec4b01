"""What a volume's numbers were on their way from a CT to attenuation, counted plane by plane."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["StatisticsCounter", "ValueStatistics", "doubts_of", "water_corners"]

Range = tuple[float, float]
LINE_HU = (-1000.0, 3071.0)
"""From where on a map is no longer flat, and where CT numbers are clipped, as a rule."""
NO_AIR_HU = -500
"""A CT has voxels below this [HU]: at least the air around the patient."""
NO_AIR = f"no voxel is below {NO_AIR_HU} HU: are these CT numbers?"
MASKED = "its corners are exactly 0 HU, which is water: is the background masked? Air is -1000 HU"
MASKED_SHARE = 0.9
"""Share of the planes' corners that are exactly 0 HU in a CT whose background was set to 0."""


def doubts_of(lowest_hu: float, corners_of_water: float) -> list[str]:
    """Return what to say of CT numbers that are hardly those of a whole CT, one line each.

    Args:
        lowest_hu: Lowest CT number [HU].
        corners_of_water: As `water_corners` of the whole volume.
    """
    if lowest_hu > NO_AIR_HU:
        return [NO_AIR]
    return [MASKED] if corners_of_water >= MASKED_SHARE else []


def water_corners(hu: NDArray[Any]) -> float:
    """Return the share of planes' corners that are exactly 0 HU.

    Args:
        hu: CT numbers [HU], shape (..., y, x).
    """
    corners = np.atleast_2d(hu)[..., [0, -1], :][..., [0, -1]]
    return float(np.mean(corners == 0))


@dataclass(frozen=True, kw_only=True)
class ValueStatistics:
    """Ranges of a volume's numbers, and how many CT numbers were out of range.

    Attributes:
        hu_range: Lowest and highest CT number as read [HU]; None: unknown.
        mu_range: Lowest and highest attenuation [1/mm].
        voxels: How many CT numbers were read.
        kept_range_hu: Range outside which CT numbers are flattened [HU].
        below: How many lay below it.
        above: How many lay above it.
        water_mu_per_mm: Attenuation of water in it [1/mm]; None: unknown.
        corners_of_water: Share of the planes' corners that are exactly 0 HU.
    """

    hu_range: Range | None
    mu_range: Range
    voxels: int = 0
    kept_range_hu: Range = (-np.inf, np.inf)
    below: int = 0
    above: int = 0
    water_mu_per_mm: float | None = None
    corners_of_water: float = 0.0

    def water(self) -> float | None:
        """Attenuation of water [1/mm]: as known, or from the ranges as if the map were a line."""
        if self.water_mu_per_mm is not None or self.hu_range is None:
            return self.water_mu_per_mm
        low, high = np.clip(self.hu_range, *LINE_HU).tolist()
        if not low < 0 < high:
            return None
        water = float(np.interp(0, (low, high), self.mu_range))
        return water if water > 0 else None

    def remark(self) -> str:
        """Return one line on the CT numbers out of range; empty if there are none."""
        low, high = self.kept_range_hu
        parts = [
            f"{count} CT numbers ({count / self.voxels:.2%}) lie {where} HU"
            for count, where in (
                (self.below, f"below {low:g}"),
                (self.above, f"above {high:g}"),
            )
            if count
        ]
        return " and ".join(parts) + " and are taken as that" if parts else ""

    def doubts(self) -> list[str]:
        """Return what to say of CT numbers that were counted and are hardly those of a whole CT."""
        if self.voxels == 0 or self.hu_range is None:
            return []
        return doubts_of(self.hu_range[0], self.corners_of_water)

    def facts(self) -> dict[str, Any]:
        """As JSON holds it."""
        low, high = self.kept_range_hu
        return {
            "hu_range": self.hu_range,
            "mu_range": self.mu_range,
            "water_mu_per_mm": self.water_mu_per_mm,
            "corners_of_water": self.corners_of_water,
            "out_of_range": {
                "voxels": self.voxels,
                "range_hu": [_finite(low), _finite(high)],
                "below": self.below,
                "above": self.above,
            },
        }

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> ValueStatistics:
        """Return the statistics that `facts` has described.

        Raises:
            KeyError, TypeError, ValueError: Not what `facts` gives.
        """
        out, hu_range = facts["out_of_range"], facts["hu_range"]
        low, high = out["range_hu"]
        return cls(
            hu_range=None if hu_range is None else (float(hu_range[0]), float(hu_range[1])),
            mu_range=(float(facts["mu_range"][0]), float(facts["mu_range"][1])),
            voxels=int(out["voxels"]),
            kept_range_hu=(
                -np.inf if low is None else float(low),
                np.inf if high is None else float(high),
            ),
            below=int(out["below"]),
            above=int(out["above"]),
            water_mu_per_mm=facts["water_mu_per_mm"],
            corners_of_water=float(facts.get("corners_of_water", 0.0)),  # older files have none
        )


class StatisticsCounter:
    """Counts while planes pass."""

    def __init__(self, kept_range_hu: Range = (-np.inf, np.inf)) -> None:
        self.kept_range_hu = kept_range_hu
        self.voxels = self.below = self.above = 0
        self._hu = self._mu = (np.inf, -np.inf)
        self._corners: list[float] = []

    def count_hu(self, hu: NDArray[Any]) -> None:
        """A plane of CT numbers as read."""
        low, high = self.kept_range_hu
        self.voxels += hu.size
        self._corners.append(water_corners(hu))
        self._hu = _widened(self._hu, hu)
        if self._hu[0] < low:
            self.below += int(np.count_nonzero(hu < low))
        if self._hu[1] > high:
            self.above += int(np.count_nonzero(hu > high))

    def count_mu(self, mu: NDArray[np.float32]) -> None:
        """A plane of attenuation as it is kept."""
        self._mu = _widened(self._mu, mu)

    def statistics(self, water_mu_per_mm: float | None, hu_range: Range | None) -> ValueStatistics:
        """Return all planes' together; `hu_range` where no CT numbers were counted."""
        return ValueStatistics(
            hu_range=self._hu if self.voxels else hu_range,
            mu_range=self._mu,
            voxels=self.voxels,
            kept_range_hu=self.kept_range_hu,
            below=self.below,
            above=self.above,
            water_mu_per_mm=water_mu_per_mm,
            corners_of_water=float(np.mean(self._corners)) if self._corners else 0.0,
        )


def _widened(known: Range, values: NDArray[Any]) -> Range:
    return min(known[0], float(values.min())), max(known[1], float(values.max()))


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None

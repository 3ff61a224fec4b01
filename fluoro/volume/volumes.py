"""The two volumes of the house: CT numbers as read, and the attenuation that is rendered."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fluoro.errors import InputError
from fluoro.volume.grid import VolumeGrid
from fluoro.volume.hu_to_mu import mu_water_per_mm
from fluoro.volume.value_statistics import ValueStatistics

__all__ = ["HuVolume", "MuVolume"]


@dataclass(frozen=True, kw_only=True)
class HuVolume:
    """CT numbers on a grid.

    Attributes:
        hu_zyx: CT numbers [HU], shape (z, y, x), int16 or float32, finite.
        grid: Where the voxels lie in the patient.
        source: What it was made from (a path, or a phantom's name), for records and messages.
    """

    hu_zyx: NDArray[np.int16] | NDArray[np.float32]
    grid: VolumeGrid
    source: str = ""

    def __post_init__(self) -> None:
        _require_same_shape(self.hu_zyx, self.grid, "hu_zyx")


@dataclass(frozen=True, kw_only=True)
class MuVolume:
    """Linear attenuation on a grid.

    Attributes:
        mu_zyx: Linear attenuation [1/mm], shape (z, y, x), float32, C-contiguous; may be a
            memory map.
        grid: Where the voxels lie in the patient.
        source: What it was made from, for records and messages.
        statistics: Ranges of its numbers; None: not counted.

    Raises:
        InputError: Another shape than the grid's, or an array of another kind.
    """

    mu_zyx: NDArray[np.float32]
    grid: VolumeGrid
    source: str = ""
    statistics: ValueStatistics | None = None

    def __post_init__(self) -> None:
        _require_same_shape(self.mu_zyx, self.grid, "mu_zyx")
        if self.mu_zyx.dtype != np.float32:
            raise InputError(f"mu_zyx must be C-contiguous float32, got {self.mu_zyx.dtype}")
        if not self.mu_zyx.flags.c_contiguous:
            raise InputError(
                "mu_zyx must be C-contiguous float32 (np.ascontiguousarray), got other strides: "
                f"{self.mu_zyx.strides} for shape {self.mu_zyx.shape}"
            )

    @property
    def water_mu_per_mm(self) -> float:
        """Attenuation of water in it [1/mm]; that at 70 keV where it is unknown."""
        known = self.statistics.water() if self.statistics else None
        return mu_water_per_mm(70.0) if known is None else known


def _require_same_shape(values: NDArray[np.generic], grid: VolumeGrid, name: str) -> None:
    if values.shape != grid.shape_zyx:
        raise InputError(f"{name} must have the grid's shape {grid.shape_zyx}, got {values.shape}")

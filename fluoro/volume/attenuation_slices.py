"""From CT numbers to attenuation, plane by plane: cropped, mapped, resampled, counted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluoro.errors import InputError
from fluoro.volume.grid import VolumeGrid
from fluoro.volume.hu_to_mu import HuToMu
from fluoro.volume.resample import Corner, IndexBox, Resampling, cropped_grid, index_box
from fluoro.volume.slice_reader import VolumePlanes
from fluoro.volume.value_statistics import StatisticsCounter, ValueStatistics

__all__ = ["MuPlanes"]

Spacing = tuple[float, float, float]


class MuPlanes:
    """Planes of attenuation [1/mm], (y, x) float32, one for each z of `grid`; to be used once.

    Resampling comes after the map: attenuation is what adds up in a voxel that holds two tissues.

    Args:
        planes: CT numbers [HU]; or attenuation [1/mm] where `to_mu` is None.
        to_mu: From one to the other.
        crop_mm: Lowest and highest corner of what is kept, patient LPS [mm]; None: all.
        spacing_xyz_mm: Edges of the new voxels [mm]; None: as they are.
        known: Of the volume where `to_mu` is None.

    Attributes:
        grid: Of the planes that come out.
        source: Of the planes that go in.

    Raises:
        InputError: A crop or a spacing that leaves nothing.
    """

    def __init__(
        self,
        planes: VolumePlanes,
        *,
        to_mu: HuToMu | None,
        crop_mm: tuple[Corner, Corner] | None = None,
        spacing_xyz_mm: Spacing | None = None,
        known: ValueStatistics | None = None,
    ) -> None:
        self.source = planes.source
        self._planes, self._to_mu, self._known = planes, to_mu, known
        try:
            self._box = _box(planes.grid, crop_mm)
            grid = cropped_grid(planes.grid, self._box)
            self._resampling = _resampling(grid, spacing_xyz_mm)
        except InputError as error:
            raise InputError(f"{planes.source}: {error}") from None
        self.grid = self._resampling.grid if self._resampling else grid
        self._tally = StatisticsCounter(to_mu.range_hu) if to_mu else StatisticsCounter()

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        planes: Iterator[NDArray[np.float32]] = map(self._mu, self._cropped())
        if self._resampling:
            planes = self._resampling.planes(planes)
        for plane in planes:
            self._tally.count_mu(plane)
            yield plane

    def statistics(self) -> ValueStatistics:
        """Return what was counted; complete after the last plane."""
        known = self._known
        water = known.water_mu_per_mm if known else None
        if self._to_mu:
            water = self._to_mu.curve.water_mu_per_mm
        return self._tally.statistics(water, known.hu_range if known else None)

    def _cropped(self) -> Iterator[NDArray[Any]]:
        z, y, x = self._box
        for plane in self._planes.read(z.start, z.stop):
            yield plane[y, x]

    def _mu(self, plane: NDArray[Any]) -> NDArray[np.float32]:
        if self._to_mu is None:
            return np.asarray(plane, np.float32)
        self._tally.count_hu(plane)
        return self._to_mu.mu(plane)


def _box(grid: VolumeGrid, crop_mm: tuple[Corner, Corner] | None) -> IndexBox:
    if crop_mm is None:
        z, y, x = grid.shape_zyx
        return slice(0, z), slice(0, y), slice(0, x)
    return index_box(grid, *crop_mm)


def _resampling(grid: VolumeGrid, spacing_xyz_mm: Spacing | None) -> Resampling | None:
    """What makes the new grid; None where it is the old one."""
    if spacing_xyz_mm is None or np.allclose(spacing_xyz_mm, grid.spacing_xyz_mm, rtol=1e-6):
        return None
    return Resampling(grid, spacing_xyz_mm)

"""The volume as a beam of many energies sees it: the tissues' attenuation at an energy."""

from __future__ import annotations

import numpy as np

from fluoro.errors import InputError
from fluoro.physics.materials import ENERGY_RANGE_KEV
from fluoro.physics.tissues import DENSEST_HU, TissueMap, tissue_map
from fluoro.volume.volumes import MuVolume

__all__ = ["at_energy"]


def at_energy(volume: MuVolume, energy_kev: float, tissues: TissueMap | None = None) -> MuVolume:
    """Return every voxel's CT number as tissues, and what they attenuate at an energy.

    Unlike a map that is exact for water alone it follows that fat, soft tissue and bone differ
    more at low energies. For images of many energies take about the mean of the open beam.

    Args:
        volume: Attenuation of which CT numbers follow by its water, 1000 (mu / water - 1).
        energy_kev: Photon energy, 5 to 150 [keV].
        tissues: By CT number; None: air, lung, fat, soft tissue and bone.

    Returns:
        Attenuation [1/mm] on the same grid. It no longer gives CT numbers.

    Raises:
        InputError: An energy outside the tables.
    """
    low, high = ENERGY_RANGE_KEV
    if not low <= energy_kev <= high:
        raise InputError(f"energy_kev must lie in [{low:g}, {high:g}] keV, got {energy_kev:g}")
    found = tissues or tissue_map("tissues")
    knots_hu = np.unique(np.append(found.knots_hu, DENSEST_HU))
    mu_per_mm = np.array([float(each.mu_per_mm(energy_kev)) for each in found.materials])
    at_knots = found.volume_shares(knots_hu) @ mu_per_mm
    own_knots = volume.water_mu_per_mm * (1 + knots_hu / 1000)
    made = np.empty(volume.mu_zyx.shape, np.float32)
    for own_yx, made_yx in zip(volume.mu_zyx, made, strict=True):
        made_yx[...] = np.interp(own_yx, own_knots, at_knots)
    return MuVolume(mu_zyx=made, grid=volume.grid, source=volume.source)

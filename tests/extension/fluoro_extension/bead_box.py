"""A phantom: a box of water with beads of bone on a helix, as calibration phantoms have."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fluoro.volume.grid import VolumeGrid
from fluoro.volume.volumes import HuVolume

EDGE_MM, BEADS, BEAD_MM = 120.0, 12, 8.0
AIR, WATER, BONE = -1000, 0, 1500


def make_bead_box(
    spacing_mm: float = 1.4, progress: Callable[[float], None] = lambda _: None
) -> HuVolume:
    """Return CT numbers [HU], int16, of the box in 20 mm of air, its centre at the origin."""
    count = round((EDGE_MM + 40) / spacing_mm)
    at = (np.arange(count) - (count - 1) / 2) * spacing_mm
    z, y, x = np.meshgrid(at, at, at, indexing="ij", sparse=True)
    inside = np.maximum(np.maximum(abs(z), abs(y)), abs(x)) <= EDGE_MM / 2
    hu = np.where(inside, WATER, AIR).astype(np.int16)
    for number in range(BEADS):
        turn = 2 * np.pi * number / BEADS
        bead = (40 * np.cos(turn), 40 * np.sin(turn), -44 + 8.0 * number)
        hu[(x - bead[0]) ** 2 + (y - bead[1]) ** 2 + (z - bead[2]) ** 2 <= (BEAD_MM / 2) ** 2] = (
            BONE
        )
        progress((number + 1) / BEADS)
    first = (float(at[0]),) * 3
    grid = VolumeGrid(shape_zyx=hu.shape, spacing_xyz_mm=(spacing_mm,) * 3, origin_xyz_mm=first)
    return HuVolume(hu_zyx=hu, grid=grid, source="bead box")

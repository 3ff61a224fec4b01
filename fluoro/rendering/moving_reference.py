"""The oracle of moving volumes: samples displaced one by one, in float64."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fluoro.geometry.projection import View
from fluoro.rendering.reference import clip_rays, march_steps, trilinear
from fluoro.volume.grid import VolumeGrid
from fluoro.volume.volumes import MuVolume

__all__ = ["moved_integrals", "moved_points"]

Array = NDArray[np.float64]


def moved_points(
    points: Array, grid: VolumeGrid, displacements_mm: NDArray[np.float32], nodes: VolumeGrid
) -> Array:
    """Where points (R, 3), voxel index, lie at rest: each by the field's own interpolation."""
    world = points * grid.spacing_xyz_mm + grid.origin_xyz_mm
    at = (world - nodes.origin_xyz_mm) / nodes.spacing_xyz_mm
    parts = [trilinear(displacements_mm[..., axis], at) for axis in range(3)]
    return np.asarray(points + np.stack(parts, axis=-1) / grid.spacing_xyz_mm)


def moved_integrals(
    volume: MuVolume,
    view: View,
    step_mm: float,
    displacements_mm: NDArray[np.float32],
    nodes: VolumeGrid,
    knot_steps: int = 0,
) -> Array:
    """Line integrals of the moved volume, shape (height, width).

    Args:
        volume: At rest.
        view: One view.
        step_mm: Longest step [mm].
        displacements_mm: At the nodes [mm], shape (z, y, x, 3).
        nodes: Where they lie.
        knot_steps: 0: the field is looked up at every sample; else at every so-manieth step and
            linear in between, as the kernel does it.
    """
    rays, count = clip_rays(view, volume.grid), march_steps(volume, view, step_mm)
    share = 1 / np.maximum(count, 1)

    def point(along: float) -> Array:
        return np.asarray(rays.start + (along * share)[:, None] * rays.extent)

    def displaced(along: float) -> Array:
        return moved_points(point(along), volume.grid, displacements_mm, nodes) - point(along)

    total = np.zeros(len(count))
    for n in range(int(count.max(initial=0))):
        if knot_steps:
            knot, part = n // knot_steps * knot_steps, (n % knot_steps + 0.5) / knot_steps
            d = (1 - part) * displaced(knot) + part * displaced(knot + knot_steps)
        else:
            d = displaced(n + 0.5)
        values = trilinear(volume.mu_zyx, point(n + 0.5) + d)
        total += np.where(n < count, values, 0.0)
    return np.asarray((total * rays.length_mm * share).reshape(view.height_px, view.width_px))

"""The reference of moving volumes: samples displaced one by one, in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluoro.geometry.projection import View
from fluoro.rendering.moving_renderer import moving_box
from fluoro.rendering.reference import clip_rays, trilinear
from fluoro.volume.grid import VolumeGrid
from fluoro.volume.volumes import MuVolume

__all__ = ["is_inside", "moved_integrals", "moved_points", "moved_sums"]

Array = NDArray[np.float64]


def moved_points(
    points: Array, grid: VolumeGrid, displacements_mm: NDArray[np.float32], nodes: VolumeGrid
) -> Array:
    """Where points (R, 3), voxel index, lie at rest: each by the field's own interpolation."""
    to_nodes = nodes.index_from_world @ grid.world_from_index
    at = points @ to_nodes[:3, :3].T + to_nodes[:3, 3]
    parts = [trilinear(displacements_mm[..., axis], at) for axis in range(3)]
    return np.asarray(points + np.stack(parts, axis=-1) @ grid.index_from_world[:3, :3].T)


def is_inside(points: Array, grid: VolumeGrid) -> NDArray[np.bool_]:
    """Whether points (R, 3), voxel index, lie in a grid, its outer faces included, shape (R,)."""
    size = np.asarray(grid.shape_xyz)
    return np.asarray(np.all(np.abs(points - (size - 1) / 2) <= size / 2, axis=-1))


def moved_integrals(
    volume: MuVolume,
    view: View,
    step_mm: float,
    displacements_mm: NDArray[np.float32],
    nodes: VolumeGrid,
    knot_steps: int = 0,
) -> Array:
    """Return line integrals of the moved volume, shape (height, width).

    Args:
        volume: At rest.
        view: One view.
        step_mm: Longest step [mm].
        displacements_mm: At the nodes, patient LPS [mm], shape (z, y, x, 3).
        nodes: Where they lie.
        knot_steps: Steps between two look-ups of the field, which is linear in between, as in
            the kernel; 0: a look-up at every sample.
    """
    return moved_sums(
        lambda points: trilinear(volume.mu_zyx, points),
        volume.grid,
        view,
        step_mm,
        (displacements_mm, nodes),
        knot_steps,
    )


def moved_sums(
    sample: Callable[[Array], Array],
    grid: VolumeGrid,
    view: View,
    step_mm: float,
    moved: tuple[NDArray[np.float32], VolumeGrid] | None,
    knot_steps: int = 0,
    *,
    solid: bool = False,
) -> Array:
    """Integrals [mm times the sample's unit] along displaced rays, shape (..., height, width).

    Args:
        sample: Values (R, ...) at points (R, 3) of the volume at rest, voxel index.
        grid: Of the volume.
        view: One view.
        step_mm: Longest step [mm].
        moved: Displacements at the nodes [mm], shape (z, y, x, 3), and the nodes' grid; None: rays
            are straight.
        knot_steps: As for `moved_integrals`.
        solid: Whether nothing lies beyond the grid, as for `MovingRenderer`.
    """
    box, before = moving_box(grid, moved[0]) if solid and moved else (grid, np.zeros(3))
    rays = clip_rays(view, box)
    start = rays.start - before
    count = np.ceil(rays.length_mm / step_mm).astype(int)
    share = 1 / np.maximum(count, 1)

    def point(along: float) -> Array:
        return np.asarray(start + (along * share)[:, None] * rays.extent)

    def displaced(along: float) -> Array:
        if moved is None:
            return np.zeros(3)
        return moved_points(point(along), grid, *moved) - point(along)

    total: Any = 0.0
    for n in range(int(count.max(initial=0))):
        if knot_steps:
            knot, part = n // knot_steps * knot_steps, (n % knot_steps + 0.5) / knot_steps
            d = (1 - part) * displaced(knot) + part * displaced(knot + knot_steps)
        else:
            d = displaced(n + 0.5)
        at = point(n + 0.5) + d
        counts = (n < count) & is_inside(at, grid) if solid else n < count
        total = total + np.where(counts, sample(at).T, 0.0)
    sums = total * rays.length_mm * share
    return np.asarray(sums.reshape(*np.shape(sums)[:-1], view.height_px, view.width_px))

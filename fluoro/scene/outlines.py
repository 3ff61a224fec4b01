"""Closed surfaces around voxels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fluoro.errors import InputError
from fluoro.geometry.closed_surface import merged_corners, volume_mm3
from fluoro.geometry.triangles import Surface, box
from fluoro.volume.grid import VolumeGrid

__all__ = ["centred", "grid_box", "outline"]


def outline(values_zyx: NDArray[np.float32], level: float, grid: VolumeGrid) -> Surface:
    """Return the closed surface where the interpolated values pass a level.

    Where the values are above the level at a face of the grid, the surface is closed there.

    Args:
        values_zyx: Shape (z, y, x).
        level: Below it lies the outside.
        grid: Where the voxels lie.

    Raises:
        InputError: No voxel is above the level.
    """
    from skimage.measure import marching_cubes

    if not values_zyx.max() > level:
        raise InputError(f"no voxel is above {level:g}")
    # beyond a face its values go on for a voxel, and what lies further out than the face goes back
    low = min(float(values_zyx.min()), level - 1)
    padded = np.pad(np.pad(values_zyx, 1, mode="edge"), 1, constant_values=low)
    vertices, faces, *_ = marching_cubes(padded, level)  # type: ignore[no-untyped-call]
    last = np.array(values_zyx.shape) - 0.5
    index = np.clip(vertices - 2.0, -0.5, last)[:, ::-1]
    world = grid.world_from_index
    corners, triangles = merged_corners(index @ world[:3, :3].T + world[:3, 3], faces)
    if volume_mm3(corners, triangles) < 0:  # marching cubes turns all of them to one side
        triangles = triangles[:, ::-1]
    return Surface(vertices_xyz_mm=corners.astype(np.float32), faces=triangles.astype(np.int32))


def grid_box(grid: VolumeGrid) -> Surface:
    """Return the box of a volume, voxel face to voxel face."""
    half = np.asarray(grid.direction) * grid.size_xyz_mm / 2
    if np.linalg.det(half) < 0:
        half = -half
    return box(grid.center_xyz_mm, list(half.T))


def centred(surface: Surface) -> tuple[Surface, NDArray[np.float64]]:
    """Return a surface with the middle of its box as the origin, and where that was, shape (3,)."""
    vertices = surface.vertices_xyz_mm.astype(float)
    middle = (vertices.min(axis=0) + vertices.max(axis=0)) / 2
    return replace(surface, vertices_xyz_mm=(vertices - middle).astype(np.float32)), middle

"""Path lengths through closed triangle meshes in NumPy: every ray against every triangle."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fluoro.geometry.projection import View

__all__ = ["mesh_lengths"]

TRIANGLES_AT_ONCE = 64


def mesh_lengths(corners_xyz_mm: NDArray[np.float64], view: View) -> NDArray[np.float64]:
    """Return the path length of each ray [mm], shape (height, width).

    A ray o + t d crosses the triangle a, b, c where o + t d = a + u (b - a) + v (c - a) with
    u, v >= 0 and u + v <= 1 (Moeller and Trumbore 1997). It leaves where d runs along the
    triangle's normal. A ray through an edge may be counted twice or not at all.

    Args:
        corners_xyz_mm: Corners, counter-clockwise from outside, in the world, shape (T, 3, 3).
        view: Rays from the source to the pixels' centres.
    """
    direction = view.pixel_centers_xyz_mm() - view.source_xyz_mm
    total = np.zeros(direction.shape[:2])
    for first in range(0, len(corners_xyz_mm), TRIANGLES_AT_ONCE):
        part = corners_xyz_mm[first : first + TRIANGLES_AT_ONCE]
        total += _exits_less_entries(part, view.source_xyz_mm, direction)
    return np.asarray(total * np.linalg.norm(direction, axis=2))


def _exits_less_entries(
    corners: NDArray[np.float64], source: NDArray[np.float64], direction: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Sum over triangles of t where a ray leaves, less t where it enters; t in [0, 1]."""
    a, b, c = np.moveaxis(corners, 1, 0)
    normal = np.cross(b - a, c - a)
    from_a = source - a
    along = direction @ normal.T
    safe = np.where(along == 0, 1.0, along)
    t = -np.einsum("ij,ij->i", normal, from_a) / safe
    turned = np.cross(from_a, direction[..., None, :])
    u = np.einsum("hwij,ij->hwi", turned, c - a) / -safe
    v = np.einsum("hwij,ij->hwi", turned, b - a) / safe
    hit = (along != 0) & (u >= 0) & (v >= 0) & (u + v <= 1)
    return np.asarray((hit * np.sign(along) * np.clip(t, 0, 1)).sum(axis=2))

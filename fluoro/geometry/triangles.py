"""Triangle surfaces, and the few simple solids that the drawn C-arm is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Surface", "box", "merged", "subdivided", "swept_bar"]

BOX_FACES = (
    (0, 2, 1), (0, 3, 2), (4, 5, 6), (4, 6, 7), (0, 1, 5), (0, 5, 4),
    (1, 2, 6), (1, 6, 5), (2, 3, 7), (2, 7, 6), (3, 0, 4), (3, 4, 7),
)  # fmt: skip
"""Triangles of a box whose corners 0-3 go round one side and 4-7 round the opposite one."""

RING = ((-1, -1), (1, -1), (1, 1), (-1, 1))
"""The corners of a rectangle, once round."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Surface:
    """A triangle mesh in world LPS.

    Attributes:
        vertices_xyz_mm: Corners [mm], shape (N, 3), float32.
        faces: Three vertex numbers a triangle, shape (M, 3), int32; counter-clockwise from outside.
    """

    vertices_xyz_mm: NDArray[np.float32]
    faces: NDArray[np.int32]


def box(center_xyz_mm: ArrayLike, half_axes_xyz_mm: Sequence[ArrayLike]) -> Surface:
    """A box from its centre and its three right-handed half-axes [mm], each of shape (3,)."""
    a, b, c = (np.asarray(axis, float) for axis in half_axes_xyz_mm)
    center = np.asarray(center_xyz_mm, float)
    corners = [center + i * a + j * b + k * c for k in (-1, 1) for i, j in RING]
    return _surface(np.array(corners), np.array(BOX_FACES))


def swept_bar(
    path_xyz_mm: NDArray[np.float64], half_width_xyz_mm: ArrayLike, half_heights_xyz_mm: ArrayLike
) -> Surface:
    """Return a closed bar of rectangular section along a polyline.

    Args:
        path_xyz_mm: Middle of the bar, shape (N, 3), N >= 2.
        half_width_xyz_mm: Half the section's width, the same all along, shape (3,).
        half_heights_xyz_mm: Half the section's height at each point, shape (N, 3); width, height
            and direction of travel are right-handed.
    """
    width, heights = np.asarray(half_width_xyz_mm, float), np.asarray(half_heights_xyz_mm, float)
    rings = np.stack([path_xyz_mm + i * width + j * heights for i, j in RING], axis=1)
    starts = 4 * np.arange(len(path_xyz_mm) - 1)[:, None, None]
    sides = (np.array(BOX_FACES[4:]) + starts).reshape(-1, 3)
    last = 4 * (len(path_xyz_mm) - 1)
    ends = np.array([(0, 2, 1), (0, 3, 2), (last, last + 1, last + 2), (last, last + 2, last + 3)])
    return _surface(rings.reshape(-1, 3), np.concatenate([sides, ends]))


def merged(surfaces: Sequence[Surface]) -> Surface:
    """Several surfaces as one."""
    starts = np.cumsum([0, *(len(surface.vertices_xyz_mm) for surface in surfaces)])
    return _surface(
        np.concatenate([surface.vertices_xyz_mm for surface in surfaces]),
        np.concatenate([s.faces + start for s, start in zip(surfaces, starts, strict=False)]),
    )


def subdivided(surface: Surface, longest_mm: float) -> Surface:
    """The same surface with every triangle that has a longer edge cut in four, until none has."""
    vertices, faces = surface.vertices_xyz_mm, surface.faces
    while (long := _longest_edges(vertices, faces) > longest_mm).any():
        a, b, c = vertices[faces[long]].transpose(1, 0, 2)
        ab, bc, ca = (a + b) / 2, (b + c) / 2, (c + a) / 2
        quarters = np.stack([a, ab, ca, ab, b, bc, ca, bc, c, ab, bc, ca], axis=1).reshape(-1, 3)
        new_faces = np.arange(len(quarters)).reshape(-1, 3) + len(vertices)
        vertices = np.concatenate([vertices, quarters])
        faces = np.concatenate([faces[~long], new_faces])
    return _surface(vertices, faces)


def _longest_edges(vertices: NDArray[Any], faces: NDArray[Any]) -> NDArray[np.float64]:
    corners = vertices[faces]
    edges = corners - np.roll(corners, 1, axis=1)
    return np.asarray(np.linalg.norm(edges, axis=2).max(axis=1))


def _surface(vertices: NDArray[Any], faces: NDArray[Any]) -> Surface:
    return Surface(vertices_xyz_mm=vertices.astype(np.float32), faces=faces.astype(np.int32))

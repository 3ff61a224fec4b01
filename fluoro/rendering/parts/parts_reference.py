"""The reference of the parts: constructive solid geometry, one ray and one place at a time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from fluoro.geometry.projection import View
from fluoro.volume.posed_solid import Tubes

__all__ = ["shell_at", "tube_pieces", "tube_reference"]

Array = NDArray[np.float64]


def tube_reference(tubes: Tubes, view: View, materials: int) -> tuple[Array, Array]:
    """Return the exact way through tubes, from every place at which a ray crosses a surface.

    Between two such places the shell is that of the point in the middle: the innermost one of all
    tubes that the point lies in.

    Args:
        tubes: The tubes.
        view: One view.
        materials: How many materials there are.

    Returns:
        Thickness of each material [mm], shape (materials, height, width), and length of the union
        [mm], shape (height, width).
    """
    pixels = view.pixel_centers_xyz_mm().reshape(-1, 3)
    found = np.zeros((materials, len(pixels)))
    for number, pixel in enumerate(pixels):
        for begin, end, material in tube_pieces(tubes, view.source_xyz_mm, pixel):
            found[material, number] += end - begin
    shape = (view.height_px, view.width_px)
    return found.reshape(materials, *shape), found.sum(axis=0).reshape(shape)


def tube_pieces(tubes: Tubes, source: Array, pixel: Array) -> Iterator[tuple[float, float, int]]:
    """Yield where each piece of a ray that lies in a tube begins and ends, and its material.

    Args:
        tubes: The tubes.
        source: Of the ray [mm], shape (3,); places count from here [mm].
        pixel: Where it ends [mm], shape (3,).
    """
    far = float(np.linalg.norm(pixel - source))
    unit = (pixel - source) / far
    places = np.array(sorted({0.0, far, *_crossings(tubes, source, unit, far)}))
    middles = source + ((places[1:] + places[:-1]) / 2)[:, None] * unit
    shells = shell_at(tubes, middles)
    for begin, end, material in zip(places[:-1], places[1:], shells, strict=True):
        if material >= 0:
            yield float(begin), float(end), int(material)


def shell_at(tubes: Tubes, points_xyz_mm: Array) -> NDArray[np.int_]:
    """Return the material at each point, shape (points,); -1: none.

    That of the innermost shell of all tubes that a point lies in, of two such the first tube's.
    """
    start, end = tubes.ends_xyz_mm[:, 0], tubes.ends_xyz_mm[:, 1]
    way = end - start
    square = np.maximum((way**2).sum(axis=1), 1e-30)
    to_point = points_xyz_mm[:, None] - start
    along = np.clip((to_point * way).sum(axis=2) / square, 0, 1)
    distance = np.linalg.norm(to_point - along[..., None] * way, axis=2)
    found = np.full(len(points_xyz_mm), -1)
    for shell in range(tubes.radii_mm.shape[1]):
        inside = distance < tubes.radii_mm[:, shell]
        here = inside.any(axis=1)
        found[here] = tubes.materials[inside.argmax(axis=1)[here], shell]
    return found


def _crossings(tubes: Tubes, source: Array, unit: Array, far: float) -> list[float]:
    """Where a line crosses the surface of any ball or cylinder of any shell [mm]."""
    begun, ended = source - tubes.ends_xyz_mm[:, 0], source - tubes.ends_xyz_mm[:, 1]
    axis = (begun - ended) / np.maximum(np.linalg.norm(begun - ended, axis=1, keepdims=True), 1e-30)
    across = begun - axis * (begun * axis).sum(axis=1, keepdims=True)
    turn = unit - axis * (axis @ unit)[:, None]
    straight = np.broadcast_to(unit, turn.shape)
    found = [
        root
        for offset, way in ((begun, straight), (ended, straight), (across, turn))
        for radii in tubes.radii_mm.T
        for root in _roots(offset[radii > 0], way[radii > 0], radii[radii > 0])
    ]
    return [each for each in found if 0 < each < far]


def _roots(offset: Array, way: Array, radius: Array) -> list[float]:
    """Where |offset + t way| = radius, of each row."""
    square, half = (way**2).sum(axis=1), (offset * way).sum(axis=1)
    inside = half**2 - square * ((offset**2).sum(axis=1) - radius**2)
    hit = (square > 1e-14) & (inside > 0)
    root = np.sqrt(inside[hit])
    sums = np.concatenate([-half[hit] - root, -half[hit] + root])
    return list(sums / np.tile(square[hit], 2))

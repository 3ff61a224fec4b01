"""Vessels of the thorax phantom that contrast runs through, and when it arrives where.

A tree is a list of tubes. Each knows how far its ends lie along the vessels from where contrast is
injected; that distance over the bolus's speed is the time of arrival. Aorta and pulmonary arteries
are those that the phantom is painted with, the coronary arteries are drawn here: without contrast
they do not show.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fluoro.volume.grid import VolumeGrid
from fluoro.volume.phantom.heart import CHAMBERS, GREAT_VESSELS, unit_frame
from fluoro.volume.phantom.lungs import ARTERIES, tree_branches
from fluoro.volume.phantom.shapes import Points, smooth_path

__all__ = [
    "TREES",
    "Tube",
    "VesselMap",
    "coronary_tubes",
    "course_tubes",
    "draw_vessels",
    "joined_tubes",
    "vessel_tubes",
]

STEP_MM = 5.0
"""Length of the straight pieces that a vessel is made of."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Tube:
    """A straight piece of a vessel.

    Attributes:
        ends: Both ends: x, y, z and radius [mm], shape (2, 4).
        travel_mm: Distance of both ends from the injection along the vessels [mm].
    """

    ends: NDArray[np.float64]
    travel_mm: tuple[float, float]


@dataclass(frozen=True, kw_only=True, eq=False)
class VesselMap:
    """The voxels that vessels lie in.

    Attributes:
        grid: A box around the vessels, patient LPS.
        index: Flat indices of voxels that hold some of a vessel, ascending, int32, shape (n,).
        share: Of each voxel, what is vessel, 0 to 1, float32.
        travel_mm: How far it lies from the injection along the vessels [mm], float32.
    """

    grid: VolumeGrid
    index: NDArray[np.int32]
    share: NDArray[np.float32]
    travel_mm: NDArray[np.float32]


def vessel_tubes(tree: str) -> list[Tube]:
    """Return all pieces of one of `TREES`, those nearer to the injection first."""
    return list(TREES[tree]())


def course_tubes(points: Points, travel_mm: float) -> Iterator[Tube]:
    """Yield a vessel along a smooth curve through points (x, y, z, radius)."""
    for a, b in itertools.pairwise(smooth_path(points, STEP_MM)):
        length = float(np.linalg.norm(b[:3] - a[:3]))
        yield Tube(ends=np.array([a, b]), travel_mm=(travel_mm, travel_mm + length))
        travel_mm += length


def joined_tubes(points: Points, tubes: list[Tube]) -> Iterator[Tube]:
    """Yield a vessel that leaves from the nearest place of those that are there."""
    starts = np.array([tube.ends[1, :3] for tube in tubes])
    apart = np.linalg.norm(starts - points[0, :3], axis=1)
    nearest = tubes[int(apart.argmin())]
    return course_tubes(points, nearest.travel_mm[1] + float(apart.min()))


def _great(*names: str) -> list[Tube]:
    """The first vessel from its beginning, the others from where they leave those before."""
    first, *others = (np.array(GREAT_VESSELS[name], float) for name in names)
    tubes = list(course_tubes(first, 0.0))
    for points in others:
        tubes += joined_tubes(points, tubes)
    return tubes


def _aorta() -> list[Tube]:
    return _great(
        "aorta",
        "brachiocephalic trunk",
        "left carotid artery",
        "left subclavian artery",
        "right subclavian artery",
    )


def _pulmonary() -> list[Tube]:
    tubes = _great("pulmonary trunk", "right pulmonary artery", "left pulmonary artery")
    for tree in ARTERIES:
        reached: dict[tuple[float, ...], float] = {}
        for start, points in tree_branches(tree):
            if start not in reached:
                new = list(joined_tubes(points, tubes))
            else:
                new = list(course_tubes(points, reached[start]))
            tubes += new
            reached[tuple(points[-1, :3])] = new[-1].travel_mm[1]
    return tubes


LEFT_VENTRICLE = CHAMBERS[0]
EPICARDIUM_MM = 3.0
"""Coronary arteries run so far outside the left ventricle's blood."""

LEFT_MAIN = ((4, -30, 22, 2.3), (14, -40, 26, 2.3), (22, -50, 24, 2.2))
"""From the aortic root to where it divides (x, y, z, radius)."""

CORONARIES = (
    ((118, -52, 2.0), (100, -48, 1.9), (75, -42, 1.7), (50, -38, 1.5), (25, -30, 1.2), (6, 0, 0.8)),
    ((118, -60, 1.9), (112, -90, 1.8), (108, -125, 1.6), (106, -160, 1.3), (104, -185, 0.9)),
    ((92, -47, 1.3), (75, -64, 1.2), (55, -80, 1.0), (35, -90, 0.7)),
    ((70, -41, 1.2), (55, -56, 1.0), (38, -70, 0.8), (22, -80, 0.6)),
    ((112, -88, 1.4), (92, -96, 1.3), (66, -104, 1.1), (42, -112, 0.8), (24, -120, 0.6)),
    ((108, -128, 1.3), (88, -132, 1.2), (62, -138, 1.0), (40, -144, 0.7)),
    ((106, -158, 1.1), (84, -162, 1.0), (60, -168, 0.7)),
)
"""Anterior descending artery, circumflex artery, two diagonals, three marginals.

On the left ventricle: angle from its apex, angle about its axis [degrees], radius [mm]."""


def _on_the_heart(way: tuple[tuple[float, float, float], ...]) -> Points:
    """Points (x, y, z, radius) of a way over the left ventricle's surface."""
    center, radii, direction = LEFT_VENTRICLE
    frame = unit_frame(direction)
    theta, phi, radius = np.array(way, float).T
    theta, phi = np.radians(theta), np.radians(phi)
    turned = np.column_stack(
        [np.cos(theta), np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi)]
    )
    outside = np.add(radii, EPICARDIUM_MM)
    return np.column_stack([center + (turned * outside) @ frame, radius])


def coronary_tubes() -> list[Tube]:
    """Return the left coronary artery with its branches, on the left ventricle."""
    tubes = list(course_tubes(np.array(LEFT_MAIN, float), 0.0))
    division = tubes[-1].ends[1]
    for number, way in enumerate(CORONARIES):
        points = _on_the_heart(way)
        if number < 2:
            points = np.vstack([division, points])
        tubes += joined_tubes(_wound(points), tubes)
    return tubes


def _wound(points: Points) -> Points:
    """The same way with small bends, as arteries have them."""
    path = smooth_path(points, 4.0)
    along = np.arange(len(path))
    bend = np.sin(along * 0.7) * np.minimum(along, 3) / 3
    side = np.gradient(path[:, :3], axis=0)
    side = np.cross(side, (0.3, -0.8, 0.5))
    side /= np.linalg.norm(side, axis=1, keepdims=True) + 1e-9
    path[:, :3] += 0.8 * bend[:, None] * side
    return path


TREES: dict[str, Callable[[], list[Tube]]] = {
    "aorta": _aorta,
    "pulmonary": _pulmonary,
    "coronary": coronary_tubes,
}


def draw_vessels(tubes: list[Tube], spacing_mm: float) -> VesselMap:
    """Return voxels of a tree; edges are ramps one voxel wide, as the phantom's are.

    Args:
        tubes: Of the tree.
        spacing_mm: Edge of the voxels [mm].
    """
    grid = _box(tubes, spacing_mm)
    distance = np.full(grid.shape_zyx, np.float32(spacing_mm), np.float32)
    travel = np.zeros(grid.shape_zyx, np.float32)
    for tube in tubes:
        _draw(grid, tube, distance, travel)
    share = np.clip(0.5 - distance / np.float32(spacing_mm), 0, 1).ravel()
    (index,) = np.nonzero(share)
    return VesselMap(
        grid=grid,
        index=index.astype(np.int32),
        share=share[index],
        travel_mm=travel.ravel()[index],
    )


def _box(tubes: list[Tube], spacing_mm: float) -> VolumeGrid:
    ends = np.concatenate([tube.ends for tube in tubes])
    reach = ends[:, 3:] + 2 * spacing_mm
    low, high = (ends[:, :3] - reach).min(axis=0), (ends[:, :3] + reach).max(axis=0)
    nx, ny, nz = (math.ceil(edge / spacing_mm) + 1 for edge in high - low)
    x, y, z = low.tolist()
    return VolumeGrid(
        shape_zyx=(nz, ny, nx), spacing_xyz_mm=(spacing_mm,) * 3, origin_xyz_mm=(x, y, z)
    )


def _draw(
    grid: VolumeGrid, tube: Tube, distance: NDArray[np.float32], travel: NDArray[np.float32]
) -> None:
    """Where this piece is the nearest so far, distance and travel become its own."""
    (start, end), spacing = tube.ends, grid.spacing_xyz_mm[0]
    reach = max(start[3], end[3]) + 1.5 * spacing
    low = np.minimum(start, end)[:3] - reach - grid.origin_xyz_mm
    high = np.maximum(start, end)[:3] + reach - grid.origin_xyz_mm
    first = np.maximum(np.floor(low / spacing).astype(int), 0)
    stop = np.minimum(np.ceil(high / spacing).astype(int) + 1, grid.shape_xyz)
    box = tuple(slice(a, b) for a, b in zip(first[::-1], stop[::-1], strict=True))
    x, y, z = (
        origin + spacing * np.arange(a, b)
        for origin, a, b in zip(grid.origin_xyz_mm, first, stop, strict=True)
    )
    span = end[:3] - start[:3]
    length = float(np.linalg.norm(span)) or 1e-6
    px, py, pz = (
        x[None, None, :] - start[0],
        y[None, :, None] - start[1],
        z[:, None, None] - start[2],
    )
    along = np.clip((px * span[0] + py * span[1] + pz * span[2]) / length**2, 0, 1)
    apart = np.sqrt(
        (px - along * span[0]) ** 2 + (py - along * span[1]) ** 2 + (pz - along * span[2]) ** 2
    )
    here = apart - (start[3] + along * (end[3] - start[3]))
    nearer = here < distance[box]
    distance[box][nearer] = here[nearer]
    begin, finish = tube.travel_mm
    travel[box][nearer] = (begin + along * (finish - begin))[nearer]

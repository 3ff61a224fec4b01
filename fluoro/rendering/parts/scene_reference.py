"""The reference of `SceneParts`: posed solids one ray at a time, by intervals, in float64."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fluoro.geometry.projection import View
from fluoro.rendering.material_reference import tissue_sample
from fluoro.rendering.parts.parts_reference import tube_pieces
from fluoro.rendering.reference import clip_rays
from fluoro.volume.grid import VolumeGrid
from fluoro.volume.material_volume import MaterialVolume
from fluoro.volume.posed_solid import PosedSolid, TubeSolid, in_order, materials_of, numbers_of
from fluoro.volume.rigid_solids import OutlinedSolid, SampledSolid

__all__ = ["draw_posed"]

Array = NDArray[np.float64]
TOUCHING_MM = 1e-9
"""Between two spans that are one."""
Span = tuple[float, float]


class Sampled(NamedTuple):
    """A volume that is displaced.

    Attributes:
        sample: Shares at points, voxel index, shape (R, 3).
        grid: Where the voxels lie.
        planes: Thickness of its materials [mm], shape (materials, height, width).
        box: What a moved volume can lie in; None: the grid.
    """

    sample: Callable[[Array], Array]
    grid: VolumeGrid
    planes: Array
    box: VolumeGrid | None = None


def draw_posed(
    volume: MaterialVolume, view: View, time_s: float, layers: Sequence[Sampled]
) -> Array:
    """Return the thickness of the posed solids' materials, and take out what they displace.

    Args:
        volume: Whose posed solids are drawn.
        view: One view.
        time_s: Moment of the run [s].
        layers: Of the tissues, whose planes parts of a CT are added to, then of the inclusions;
            their planes are changed.

    Returns:
        Thickness of each material [mm], shape (materials of posed solids, height, width).
    """
    planes = np.zeros((len(materials_of(volume.posed)), view.height_px, view.width_px))
    for row, column in np.ndindex(view.height_px, view.width_px):
        ray = _Ray(view.part((column, column + 1), (row, row + 1)))
        taken: list[Span] = []
        for solid in in_order(volume.posed):
            numbers = numbers_of(solid, volume.posed)
            before = taken if solid.displaces else []
            for begin, end, material in ray.pieces(solid, time_s):
                left = _without((begin, end), before)
                if isinstance(solid, SampledSolid):
                    grid = solid.volume.grid.moved(solid.track.at(time_s))
                    part = MaterialVolume(volume=solid.volume, tissues=volume.tissues)
                    layers[0].planes[:, row, column] += ray.sums(tissue_sample(part), grid, left)
                else:
                    planes[numbers[material], row, column] += sum(b - a for a, b in left)
                before = [*before, *left]
            taken = before if solid.displaces else taken
        for sample, grid, thickness, box in layers:
            if taken:
                gone = ray.sums(sample, grid, _joined(taken), box)
                thickness[:, row, column] = np.maximum(thickness[:, row, column] - gone, 0.0)
    return planes


class _Ray:
    """The ray of a view of one pixel; places count from the source [mm]."""

    def __init__(self, view: View) -> None:
        self._view, self._source = view, view.source_xyz_mm
        self._pixel = view.pixel_centers_xyz_mm()[0, 0]
        self._far = float(np.linalg.norm(self._pixel - self._source))
        self._unit = (self._pixel - self._source) / self._far

    def pieces(self, solid: PosedSolid, time_s: float) -> Iterable[tuple[float, float, int]]:
        """Return where each piece in a solid begins and ends, and the number of its material."""
        if isinstance(solid, TubeSolid):
            return tube_pieces(solid.tubes(time_s), self._source, self._pixel)
        assert isinstance(solid, OutlinedSolid)
        pose = solid.track.at(time_s)
        surface = solid.surface
        corners = surface.vertices_xyz_mm.astype(float)[surface.faces]
        return [(*each, 0) for each in self._inside(corners @ pose[:3, :3].T + pose[:3, 3])]

    def _inside(self, corners: Array) -> Iterable[Span]:
        """Where it enters a closed mesh and where it leaves (Moeller and Trumbore 1997)."""
        a, ab, ac = corners[:, 0], corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
        across = np.cross(self._unit, ac)
        determinant = (ab * across).sum(axis=1)
        per = 1 / np.where(determinant == 0, np.inf, determinant)
        way = self._source - a
        u, turned = (way * across).sum(axis=1) * per, np.cross(way, ab)
        v, place = turned @ self._unit * per, (turned * ac).sum(axis=1) * per
        hit = (determinant != 0) & (u >= 0) & (v >= 0) & (u + v <= 1)
        enters = determinant > 0
        begin, end = (np.sort(place[hit & each]) for each in (enters, ~enters))
        pairs = zip(begin.clip(0, self._far), end.clip(0, self._far), strict=False)
        return [(float(one), float(other)) for one, other in pairs]

    def sums(
        self,
        sample: Callable[[Array], Array],
        grid: VolumeGrid,
        spans: Sequence[Span],
        box: VolumeGrid | None = None,
    ) -> Array:
        """What spans have of a sampled volume: midpoints of steps of at most half a voxel."""
        clipped = clip_rays(self._view, box or grid)
        to_box = np.array((box or grid).index_from_world)
        source = to_box[:3, :3] @ self._source + to_box[:3, 3]
        inverse = np.array(grid.index_from_world)
        first = float(np.linalg.norm((clipped.start[0] - source) * grid.spacing_xyz_mm))
        last = first + float(clipped.length_mm[0])
        total = sample(np.zeros((1, 3)))[0] * 0.0
        for begin, end in spans:
            low, high = max(begin, first), min(end, last)
            if high <= low:
                continue
            count = int(np.ceil((high - low) / (min(grid.spacing_xyz_mm) / 2)))
            places = low + (np.arange(count) + 0.5) * (high - low) / count
            points = self._source + places[:, None] * self._unit
            index = points @ inverse[:3, :3].T + inverse[:3, 3]
            total = total + sample(index).sum(axis=0) * (high - low) / count
        return np.asarray(total)


def _without(span: Span, taken: Sequence[Span]) -> list[Span]:
    """What of a span is in none of others."""
    left = [span]
    for begin, end in taken:
        left = [
            (low, high)
            for a, b in left
            for low, high in ((a, min(b, begin)), (max(a, end), b))
            if low < high
        ]
    return left


def _joined(spans: Sequence[Span]) -> list[Span]:
    """Spans apart from each other, in order."""
    found: list[Span] = []
    for begin, end in sorted(spans):
        if found and begin <= found[-1][1] + TOUCHING_MM:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((begin, end))
    return found

"""Inclusions from a configuration: labels of a segmentation, rods and balls; what they displace."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluoro.config import BallInclusion, InclusionConfig, LabelInclusion, RodInclusion
from fluoro.errors import InputError
from fluoro.physics.materials import Material, material
from fluoro.volume.grid import VolumeGrid
from fluoro.volume.materials import MOST_LABELS, Inclusion, LabelledInclusion
from fluoro.volume.open_ct import open_ct
from fluoro.volume.volumes import MuVolume

__all__ = ["displaced", "make_inclusions"]

VOXELS_ACROSS = 12
"""Voxels across a rod or a ball."""

MOST_ALONG = 2048
"""Voxels along a rod; a longer or thinner one gets coarser voxels along its axis."""

EXTRA_LABEL = 0.35
"""What one more label adds to the cost of a march, of that of a march for one (docs/physics.md)."""

AnyInclusion = Inclusion | LabelledInclusion


def make_inclusions(config: InclusionConfig) -> list[AnyInclusion]:
    """The inclusions that one entry of the configuration stands for.

    Raises:
        InputError: Labels that cannot be read or are not there.
    """
    if isinstance(config, LabelInclusion):
        return _labels(config)
    made_of = _material(config.material, config.density_g_per_cm3)
    if isinstance(config, RodInclusion):
        return [_rod(config, made_of)]
    return [_ball(config, made_of)]


def displaced(volume: MuVolume, inclusions: Sequence[AnyInclusion]) -> MuVolume:
    """The volume without what the inclusions take the place of; a copy in memory.

    Each voxel keeps the share that no inclusion fills, sampled at its centre.
    """
    if not inclusions:
        return volume
    mu = np.array(volume.mu_zyx)
    for each in inclusions:
        _take_out(mu, volume.grid, each)
    return replace(volume, mu_zyx=mu)


def _material(name: str, density_g_per_cm3: float | None) -> Material:
    found = material(name)
    return (
        found if density_g_per_cm3 is None else replace(found, density_g_per_cm3=density_g_per_cm3)
    )


@dataclass(frozen=True, kw_only=True)
class _Group:
    """Labels that take one march, through the box of all their voxels and a voxel more."""

    labels: tuple[int, ...]
    names: tuple[str, ...]
    box: tuple[slice, slice, slice]

    @property
    def cost(self) -> float:
        """Of its march, by the voxels that it goes through."""
        voxels = float(prod(each.stop - each.start for each in self.box))
        return voxels * (1.0 + EXTRA_LABEL * (len(self.names) - 1))

    def with_(self, other: _Group) -> _Group:
        z, y, x = (
            slice(int(min(a.start, b.start)), int(max(a.stop, b.stop)))
            for a, b in zip(self.box, other.box, strict=True)
        )
        names = tuple(dict.fromkeys(self.names + other.names))
        return _Group(labels=self.labels + other.labels, names=names, box=(z, y, x))


def _labels(config: LabelInclusion) -> list[AnyInclusion]:
    """Labels are marched together where that is cheaper; those of one material are then one."""
    ct = open_ct(config.path)
    labels = np.stack([np.array(plane) for plane in ct.slices(0, ct.grid.shape_zyx[0])])
    there = np.unique(labels)
    missing = sorted(set(config.materials) - set(there.tolist()))
    if missing:
        shown = ", ".join(f"{value:g}" for value in there[:20])
        raise InputError(f"{config.path}: must have voxels of label {missing[0]}, has only {shown}")
    alone = [
        _Group(labels=(label,), names=(name,), box=_box(labels == label))
        for label, name in config.materials.items()
    ]
    return [_of_group(each, labels, config.materials, ct.grid) for each in _together(alone)]


def _together(groups: list[_Group]) -> list[_Group]:
    """Groups joined two by two, the most worthwhile first, while one march costs less than two."""
    while pairs := [pair for pair in itertools.combinations(groups, 2) if _saved(*pair) > 0]:
        one, other = max(pairs, key=lambda pair: _saved(*pair))
        groups = [one.with_(other) if each is one else each for each in groups if each is not other]
    return groups


def _saved(one: _Group, other: _Group) -> float:
    """By one march for both; nothing where they are too many."""
    both = one.with_(other)
    return one.cost + other.cost - both.cost if len(both.names) <= MOST_LABELS else 0.0


def _box(inside: NDArray[np.bool_]) -> tuple[slice, slice, slice]:
    """The voxels that are inside, and a voxel more, where there are any."""
    box = []
    for axis in range(3):
        at = np.flatnonzero(inside.any(axis=tuple(a for a in range(3) if a != axis)))
        box.append(slice(max(at[0] - 1, 0), min(at[-1] + 2, inside.shape[axis])))
    z, y, x = box
    return z, y, x


def _of_group(
    group: _Group, labels: NDArray[Any], name_of: Mapping[int, str], grid: VolumeGrid
) -> AnyInclusion:
    z, y, x = group.box
    here = labels[z, y, x]
    number = np.zeros(here.shape, np.uint8)
    for label in group.labels:
        number[here == label] = 1 + group.names.index(name_of[label])
    origin = grid.world_from_index @ [x.start, y.start, z.start, 1.0]
    placed = replace(grid, shape_zyx=here.shape, origin_xyz_mm=tuple(origin[:3].tolist()))
    materials = tuple(material(name) for name in group.names)
    if len(materials) == 1:
        share = number.astype(np.float32)
        return Inclusion(material=materials[0], share_zyx=share, grid=placed)
    return LabelledInclusion(materials=materials, label_zyx=number, grid=placed)


def _ball(config: BallInclusion, made_of: Material) -> Inclusion:
    edge = config.diameter_mm / VOXELS_ACROSS
    count = VOXELS_ACROSS + 4
    at = (np.arange(count) - (count - 1) / 2) * edge
    r = np.sqrt(at[:, None, None] ** 2 + at[:, None] ** 2 + at**2)
    share = np.clip((config.diameter_mm / 2 - r) / edge + 0.5, 0, 1)
    grid = VolumeGrid(
        shape_zyx=(count,) * 3,
        spacing_xyz_mm=(edge,) * 3,
        origin_xyz_mm=tuple(float(value) + at[0] for value in config.center_mm),
    )
    return Inclusion(material=made_of, share_zyx=share.astype(np.float32), grid=grid)


def _rod(config: RodInclusion, made_of: Material) -> Inclusion:
    """A cylinder with flat ends on a grid along its axis."""
    start, end = np.array(config.from_mm), np.array(config.to_mm)
    length = float(np.linalg.norm(end - start))
    axes = _axes_along((end - start) / length)
    edge = config.diameter_mm / VOXELS_ACROSS
    along = int(np.clip(np.ceil(length / edge), 1, MOST_ALONG))
    step = length / along
    count = VOXELS_ACROSS + 4
    at = (np.arange(count) - (count - 1) / 2) * edge
    disc = np.clip((config.diameter_mm / 2 - np.hypot(at[:, None], at)) / edge + 0.5, 0, 1)
    origin = start + axes @ np.array([at[0], at[0], step / 2])
    x, y, z = axes.tolist()
    grid = VolumeGrid(
        shape_zyx=(along, count, count),
        spacing_xyz_mm=(edge, edge, step),
        origin_xyz_mm=(float(origin[0]), float(origin[1]), float(origin[2])),
        direction=(tuple(x), tuple(y), tuple(z)),
    )
    share = np.ascontiguousarray(np.broadcast_to(disc, grid.shape_zyx), np.float32)
    return Inclusion(material=made_of, share_zyx=share, grid=grid)


def _axes_along(z: NDArray[np.float64]) -> NDArray[np.float64]:
    """A right-handed frame whose last column is `z`."""
    x = np.cross(np.eye(3)[np.abs(z).argmin()], z)
    x /= np.linalg.norm(x)
    return np.stack([x, np.cross(z, x), z], axis=1)


def _take_out(mu: NDArray[np.float32], grid: VolumeGrid, each: AnyInclusion) -> None:
    """Scale the voxels within the inclusion's box by what it leaves of them."""
    from scipy.ndimage import map_coordinates

    corners = np.array(np.meshgrid(*([-0.5, n - 0.5] for n in each.grid.shape_xyz))).reshape(3, -1)
    placed = each.grid.world_from_index @ np.vstack([corners, np.ones(8)])
    index = (grid.index_from_world @ placed)[:3]
    low = np.clip(np.floor(index.min(axis=1)).astype(int), 0, grid.shape_xyz)
    high = np.clip(np.ceil(index.max(axis=1)).astype(int) + 1, 0, grid.shape_xyz)
    if np.any(high <= low):
        return
    box = tuple(slice(a, b) for a, b in zip(low[::-1], high[::-1], strict=True))
    z, y, x = np.meshgrid(*(np.arange(s.start, s.stop) for s in box), indexing="ij")
    here = np.stack([x.ravel(), y.ravel(), z.ravel(), np.ones(x.size)])
    there = (each.grid.index_from_world @ grid.world_from_index @ here)[2::-1]
    share = map_coordinates(each.filled_zyx(), there, order=1, mode="constant", cval=0.0)
    mu[box] *= 1 - share.reshape(x.shape).astype(np.float32)

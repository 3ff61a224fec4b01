"""Which labels of a segmentation are marched together, each through a box of its own."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluoro.physics.materials import material
from fluoro.volume.grid import VolumeGrid
from fluoro.volume.material_volume import MOST_LABELS, Inclusion, LabelledInclusion, Solid

__all__ = ["grouped"]

EXTRA_LABEL = 0.35
"""What one more label adds to the cost of a march, of that of a march for one (docs/physics.md)."""


MOST_ALONE = 32
"""Labels up to which each may have a march of its own; of more, those of one material are one."""


def grouped(labels: NDArray[Any], grid: VolumeGrid, materials: Mapping[int, str]) -> list[Solid]:
    """Return labels as solids: those of one material are one, and boxes are as tight as pays.

    Args:
        labels: Label of each voxel, shape (z, y, x).
        grid: Where the voxels lie in the patient.
        materials: Name of the material by label; every label must have voxels.
    """
    alone = [
        _Group(labels=(label,), names=(name,), box=_box(labels == label))
        for label, name in materials.items()
    ]
    if len(alone) > MOST_ALONE:
        alone = _by_material(alone)
    return [_of_group(each, labels, materials, grid) for each in _together(alone)]


def _by_material(groups: Sequence[_Group]) -> list[_Group]:
    """One group a material."""
    found: dict[tuple[str, ...], _Group] = {}
    for each in groups:
        found[each.names] = found[each.names].with_(each) if each.names in found else each
    return list(found.values())


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
) -> Solid:
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

"""A volume of labels: which structure each voxel of the patient belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fluoro.errors import InputError
from fluoro.volume.grid import VolumeGrid
from fluoro.volume.labels.structures import MOST_STRUCTURES, Structure, selected
from fluoro.volume.resample import cropped_grid

__all__ = ["LabelVolume", "nearest_on_grid"]

Box = tuple[slice, slice, slice]


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelVolume:
    """Which structure each voxel belongs to.

    Attributes:
        structures: Of the labels 1, 2, ... in turn, at most 255.
        label_zyx: Label of each voxel, 0: none; shape (z, y, x), uint8.
        grid: Where the voxels lie in the patient.
        source: What was read, for records and messages.

    Raises:
        InputError: Labels of another shape or type, or without a structure; too many structures.
    """

    structures: tuple[Structure, ...]
    label_zyx: NDArray[np.uint8]
    grid: VolumeGrid
    source: str = ""

    def __post_init__(self) -> None:
        labels, count = self.label_zyx, len(self.structures)
        if labels.shape != self.grid.shape_zyx or labels.dtype != np.uint8:
            raise InputError(
                f"label_zyx must be uint8 of shape {self.grid.shape_zyx}, "
                f"got {labels.dtype} {labels.shape}"
            )
        if not 1 <= count <= MOST_STRUCTURES:
            raise InputError(f"structures must be 1 to {MOST_STRUCTURES}, got {count}")
        if labels.max() > count:
            raise InputError(f"label_zyx must lie in [0, {count}], got {labels.max()}")

    def counts(self) -> NDArray[np.int64]:
        """Return how many voxels each structure has, shape (structures,)."""
        found = np.zeros(len(self.structures) + 1, np.int64)
        for plane in self.label_zyx:
            found += np.bincount(plane.ravel(), minlength=len(found))
        return found[1:]

    def volumes_mm3(self) -> NDArray[np.float64]:
        """Return the volume of each structure [mm3], shape (structures,)."""
        voxel_mm3 = float(np.prod(self.grid.spacing_xyz_mm))
        return np.asarray(self.counts() * voxel_mm3, np.float64)

    def boxes(self) -> list[Box | None]:
        """Return the smallest box of voxels around each structure (z, y, x); None: it has none."""
        from scipy.ndimage import find_objects

        found: list[Box | None] = find_objects(self.label_zyx, len(self.structures))
        return found

    def labels_of(self, wanted: Sequence[int | str], key: str) -> list[int]:
        """Return the labels that numbers, names, patterns and groups mean.

        Args:
            wanted: As in the configuration.
            key: Key of the configuration, for messages.

        Raises:
            InputError: An entry that means none of the structures here.
        """
        known = {each.number: each for each in self.structures}
        chosen = {each.number for each in selected(wanted, known, key)}
        return [n for n, each in enumerate(self.structures, 1) if each.number in chosen]

    def subset(self, labels: Sequence[int]) -> LabelVolume:
        """Return the volume of some labels alone, which become 1, 2, ... in turn.

        Args:
            labels: At least one.
        """
        if list(labels) == list(range(1, len(self.structures) + 1)):
            return self
        table = np.zeros(256, np.uint8)
        table[list(labels)] = np.arange(1, len(labels) + 1)
        chosen = tuple(self.structures[label - 1] for label in labels)
        return replace(self, structures=chosen, label_zyx=table[self.label_zyx])

    def box(self) -> Box:
        """Return the smallest box of voxels that has all labels, (z, y, x)."""
        there = self.label_zyx > 0
        sides = []
        for axis in range(3):
            others = tuple(each for each in range(3) if each != axis)
            at = np.flatnonzero(there.any(axis=others))
            sides.append(slice(int(at[0]), int(at[-1]) + 1) if at.size else slice(0, 1))
        z, y, x = sides
        return z, y, x

    def cropped(self) -> LabelVolume:
        """Return the labels in the smallest box that has them all."""
        box = self.box()
        return replace(self, label_zyx=self.label_zyx[box], grid=cropped_grid(self.grid, box))

    def inside(self, labels: Sequence[int]) -> NDArray[np.bool_]:
        """Return whether each voxel has one of some labels, shape (z, y, x)."""
        table = np.zeros(256, bool)
        table[list(labels)] = True
        return np.asarray(table[self.label_zyx])


def nearest_on_grid(
    values_zyx: NDArray[np.uint8], grid: VolumeGrid, wanted: VolumeGrid
) -> NDArray[np.uint8]:
    """Return values on another grid: those of the nearest voxel, 0 outside; shape (z, y, x).

    Args:
        values_zyx: Shape (z, y, x).
        grid: Where they lie.
        wanted: The other grid.
    """
    there_from_here = grid.index_from_world @ wanted.world_from_index
    if grid.shape_zyx == wanted.shape_zyx and np.allclose(there_from_here, np.eye(4), atol=1e-3):
        return values_zyx
    found = np.zeros(wanted.shape_zyx, np.uint8)
    last = np.array(grid.shape_xyz)[:, None, None] - 1
    x, y = np.arange(wanted.shape_xyz[0]), np.arange(wanted.shape_xyz[1])
    (along_x, along_y, along_z, start) = there_from_here[:3].T[..., None, None]
    in_plane = along_x * x + along_y * y[:, None] + start
    for z, plane in enumerate(found):
        index = np.floor(in_plane + z * along_z + 0.5).astype(np.int64)
        inside = ((index >= 0) & (index <= last)).all(axis=0)
        i, j, k = index[:, inside]
        plane[inside] = values_zyx[k, j, i]
    return found

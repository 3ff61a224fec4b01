"""A volume of materials: tissues by the CT number, and what was put into the patient."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fluoro.errors import InputError
from fluoro.physics.materials import Material
from fluoro.physics.tissues import TissueMap
from fluoro.volume.grid import VolumeGrid
from fluoro.volume.posed_solid import PosedSolid, materials_of
from fluoro.volume.volumes import MuVolume

__all__ = [
    "MOST_LABELS",
    "Inclusion",
    "LabelledInclusion",
    "Layer",
    "MaterialVolume",
    "Solid",
    "TissueInclusion",
]

MOST_LABELS = 8
"""Materials of one labelled inclusion: what one march sums side by side."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Layer:
    """What a kernel reads of a solid, to add a plane of thicknesses a material.

    Attributes:
        samples_zyx: Attenuation, shares or labels, shape (z, y, x), float32.
        ramps: Scale and shift of each ramp, clamp(scale sample + shift, 0, 1), shape (R, 2).
        mix: Thickness of each material for one of each ramp's integral, shape (materials, R).
        labels: Whether samples are labels 1, 2, ...: each has a ramp of its own, 1 where it is.
    """

    samples_zyx: NDArray[np.float32]
    ramps: NDArray[np.float64]
    mix: NDArray[np.float64]
    labels: bool = False


class Solid(Protocol):
    """Matter in the beam besides the tissues: where it is, and what it is made of."""

    @property
    def materials(self) -> tuple[Material, ...]:
        """Return what it is made of: a plane of the renderer's image each."""
        ...

    @property
    def grid(self) -> VolumeGrid:
        """Return where its voxels lie in the patient."""
        ...

    def layer(self) -> Layer:
        """Return what the renderer's kernel reads."""
        ...

    def filled_zyx(self) -> NDArray[np.float32]:
        """Return the share of each voxel that it fills, 0 to 1, shape (z, y, x)."""
        ...

    def without(self, taken_zyx: NDArray[np.float32]) -> Solid:
        """Return the solid without what others take of it.

        Args:
            taken_zyx: Share of each voxel that others fill, 0 to 1, shape (z, y, x).
        """
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Inclusion:
    """One more material, on a grid of its own: an implant, an instrument, a contrast agent.

    Attributes:
        material: What it is made of.
        share_zyx: Share of each voxel that it fills, 0 to 1, shape (z, y, x), float32.
        grid: Where the voxels lie in the patient.

    Raises:
        InputError: Shares of another shape, type or range.
    """

    material: Material
    share_zyx: NDArray[np.float32]
    grid: VolumeGrid

    def __post_init__(self) -> None:
        shares = self.share_zyx
        if shares.shape != self.grid.shape_zyx or shares.dtype != np.float32:
            raise InputError(
                f"share_zyx must be float32 of shape {self.grid.shape_zyx}, "
                f"got {shares.dtype} {shares.shape}"
            )
        if not (shares.min() >= 0 and shares.max() <= 1):
            raise InputError(
                f"share_zyx must lie in [0, 1], got {shares.min():g} to {shares.max():g}"
            )

    @property
    def materials(self) -> tuple[Material, ...]:
        """The one material."""
        return (self.material,)

    def layer(self) -> Layer:
        """Return the shares, whose ramp is themselves."""
        return Layer(
            samples_zyx=self.share_zyx, ramps=np.array([[1.0, 0.0]]), mix=np.array([[1.0]])
        )

    def filled_zyx(self) -> NDArray[np.float32]:
        """Return the share of each voxel that is filled, 0 to 1, shape (z, y, x)."""
        return self.share_zyx

    def without(self, taken_zyx: NDArray[np.float32]) -> Inclusion:
        """Return the inclusion without the share of each voxel that others take, (z, y, x)."""
        return replace(self, share_zyx=self.share_zyx * (1 - taken_zyx))


@dataclass(frozen=True, kw_only=True, eq=False)
class TissueInclusion(Inclusion):
    """A structure whose density varies: its shares are of the density that is its material's.

    Attributes:
        inside_zyx: Whether each voxel is the structure's, and no other tissue's, shape (z, y, x).
    """

    inside_zyx: NDArray[np.bool_]

    def filled_zyx(self) -> NDArray[np.float32]:
        """Return the share of each voxel that is the structure's, 0 or 1, shape (z, y, x)."""
        return self.inside_zyx.astype(np.float32)


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelledInclusion:
    """Several materials on one grid, each voxel all of one or none: labels of a segmentation.

    Between voxels each material's share is interpolated, as that of an `Inclusion`.

    Attributes:
        materials: Of the labels 1, 2, ..., at most `MOST_LABELS`.
        label_zyx: Label of each voxel, 0: none; shape (z, y, x), uint8.
        grid: Where the voxels lie in the patient.

    Raises:
        InputError: Labels of another shape or type, or without a material; too many materials.
    """

    materials: tuple[Material, ...]
    label_zyx: NDArray[np.uint8]
    grid: VolumeGrid

    def __post_init__(self) -> None:
        labels, count = self.label_zyx, len(self.materials)
        if labels.shape != self.grid.shape_zyx or labels.dtype != np.uint8:
            raise InputError(
                f"label_zyx must be uint8 of shape {self.grid.shape_zyx}, "
                f"got {labels.dtype} {labels.shape}"
            )
        if not 1 <= count <= MOST_LABELS:
            raise InputError(f"materials must be 1 to {MOST_LABELS}, got {count}")
        if labels.max() > count:
            raise InputError(
                f"label_zyx must lie in [0, {count}], as materials do, got {labels.max()}"
            )

    def layer(self) -> Layer:
        """Return the labels."""
        count = len(self.materials)
        samples = self.label_zyx.astype(np.float32)
        return Layer(
            samples_zyx=samples, ramps=np.zeros((count, 2)), mix=np.eye(count), labels=True
        )

    def filled_zyx(self) -> NDArray[np.float32]:
        """Return the share of each voxel that is filled, 0 or 1, shape (z, y, x)."""
        return (self.label_zyx > 0).astype(np.float32)

    def without(self, taken_zyx: NDArray[np.float32]) -> LabelledInclusion:
        """Return the inclusion without the voxels of which others take half or more, (z, y, x)."""
        return replace(
            self, label_zyx=np.where(taken_zyx < 0.5, self.label_zyx, 0).astype(np.uint8)
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class MaterialVolume:
    """What a polychromatic beam goes through.

    Attributes:
        volume: Attenuation from which CT numbers follow: 1000 (mu / water - 1).
        tissues: Materials by CT number.
        inclusions: What is there besides.
        posed: What is there besides and is somewhere else in every frame.
    """

    volume: MuVolume
    tissues: TissueMap
    inclusions: tuple[Solid, ...] = ()
    posed: tuple[PosedSolid, ...] = ()

    @property
    def materials(self) -> tuple[Material, ...]:
        """The tissues, the inclusions, the posed solids: one plane of the renderer's image each."""
        inclusions = (one for each in self.inclusions for one in each.materials)
        return (*self.tissues.materials, *inclusions, *materials_of(self.posed))

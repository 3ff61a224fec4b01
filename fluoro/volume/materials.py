"""A volume of materials: tissues by the CT number, and what was put into the patient."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fluoro.errors import InputError
from fluoro.physics.materials import Material
from fluoro.physics.tissues import TissueMap
from fluoro.volume.grid import VolumeGrid
from fluoro.volume.volumes import MuVolume

__all__ = ["Inclusion", "MaterialVolume"]


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


@dataclass(frozen=True, kw_only=True, eq=False)
class MaterialVolume:
    """What a polychromatic beam goes through.

    Attributes:
        volume: Attenuation from which CT numbers follow: 1000 (mu / water - 1).
        tissues: Materials by CT number.
        inclusions: What is there besides.
    """

    volume: MuVolume
    tissues: TissueMap
    inclusions: tuple[Inclusion, ...] = ()

    @property
    def materials(self) -> tuple[Material, ...]:
        """The tissues, then the inclusions: one plane of the renderer's picture each."""
        return (*self.tissues.materials, *(each.material for each in self.inclusions))

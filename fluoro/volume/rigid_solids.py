"""Rigid solids with a pose per frame: closed meshes, and parts of a CT."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fluoro.geometry.triangles import Surface
from fluoro.physics.materials import Material
from fluoro.physics.tissues import TissueMap
from fluoro.volume.posed_solid import LivePose, LiveSample, PosedSolid
from fluoro.volume.volumes import MuVolume

__all__ = ["CutOut", "MeshSolid", "OutlinedSolid", "SampledSolid", "Track"]


class Track(Protocol):
    """A pose by time."""

    def at(self, time_s: float) -> NDArray[np.float64]:
        """Return `world_from_object` at a moment of the run [s], 4x4 [mm]."""
        ...

    def steer(self, parent_from_object: NDArray[np.float64]) -> None:
        """From now on the object is here.

        Raises:
            InputError: Not a rigid motion of finite numbers.
        """
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class CutOut:
    """Which voxels of the patient's structures a solid has taken along.

    Attributes:
        box: Voxels of the patient (z, y, x).
        inside_zyx: Which of them, shape of the box.
        rest: `world_from_object` where they came from, 4x4 [mm].
    """

    box: tuple[slice, slice, slice]
    inside_zyx: NDArray[np.bool_]
    rest: NDArray[np.float64]


class OutlinedSolid(PosedSolid):
    """What lies inside a closed surface that moves as a whole.

    Args:
        name: What a user calls it.
        surface: Closed, counter-clockwise from outside, in the object's coordinates.
        track: Its pose by time.
        displaces: Whether it takes the tissue's place.
        priority: Who takes the place where two overlap.
    """

    def __init__(
        self,
        name: str,
        surface: Surface,
        track: Track,
        *,
        displaces: bool = True,
        priority: int = 0,
    ) -> None:
        self.name, self.displaces, self.priority = name, displaces, priority
        self.surface, self.track = surface, track

    def steer(self, sample: LiveSample) -> None:
        """From now on the solid is where a sample says.

        Raises:
            InputError: No pose, or one that is not rigid.
        """
        if not isinstance(sample, LivePose):
            super().steer(sample)
        else:
            self.track.steer(sample.matrix)


class MeshSolid(OutlinedSolid):
    """A closed mesh of one material; arguments as for `OutlinedSolid`.

    Args:
        material: What it is made of.
    """

    def __init__(
        self,
        name: str,
        surface: Surface,
        material: Material,
        track: Track,
        *,
        displaces: bool = True,
        priority: int = 0,
    ) -> None:
        super().__init__(name, surface, track, displaces=displaces, priority=priority)
        self.materials = (material,)


class SampledSolid(OutlinedSolid):
    """A part of a CT: tissues by the CT number; arguments as for `OutlinedSolid`.

    Its tissues are those of the patient, and add to the same planes.

    Args:
        volume: Attenuation, on a grid in the object's coordinates.
        tissues: Materials by CT number; the patient's.

    Attributes:
        cut_out: Which voxels of the patient's structures it is; None: it is no part of them.
    """

    materials: tuple[Material, ...] = ()
    cut_out: CutOut | None = None

    def __init__(
        self,
        name: str,
        surface: Surface,
        volume: MuVolume,
        tissues: TissueMap,
        track: Track,
        *,
        displaces: bool = True,
        priority: int = 0,
    ) -> None:
        super().__init__(name, surface, track, displaces=displaces, priority=priority)
        self.volume, self.tissues = volume, tissues

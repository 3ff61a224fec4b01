"""Solids that are somewhere else in every frame: instruments, fragments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fluoro.errors import InputError
from fluoro.physics.materials import Material

__all__ = [
    "MOST_SHELLS",
    "LiveInsertion",
    "LivePoints",
    "LivePose",
    "LiveSample",
    "PosedSolid",
    "TubeSolid",
    "Tubes",
    "in_order",
    "materials_of",
    "numbers_of",
    "require_rigid",
]

MOST_SHELLS = 4
"""Materials of a cross-section, one inside the other: shaders/parts/tubes.slang."""


class PosedSolid:
    """Matter in the beam whose place follows from the time; what draws it knows its kind.

    The renderer draws solids of higher `priority` first, of equal ones the first in the list.
    Each gets of a ray what those before have left. What displaces takes the tissue's place.

    Attributes:
        name: What a user calls it; unique in a scene.
        materials: What it is made of.
        displaces: Whether it takes the tissue's place; False: it adds to it.
        priority: Who takes the place where two overlap.
        stale_s: Silence of live samples after which the log tells of it [s]; None: never.
    """

    name: str
    materials: tuple[Material, ...]
    displaces: bool = True
    priority: int = 0
    stale_s: float | None = 1.0

    def center_line(self, time_s: float) -> NDArray[np.float64] | None:
        """Return points along its middle from the tip on, patient LPS [mm], shape (N, 3).

        Args:
            time_s: Moment of the run [s].

        Returns:
            The points; None: it has no such line.
        """
        del time_s
        return None

    def steer(self, sample: LiveSample) -> None:
        """Move the solid to where a sample says, from now on and at any time.

        Raises:
            InputError: A sample of another kind than the solid takes, or with impossible values.
        """
        raise InputError(f"{self.name} cannot be steered by {type(sample).__name__}")


@dataclass(frozen=True, kw_only=True, eq=False)
class LivePose:
    """Where a rigid solid is: `world_from_object`, or `parent_from_object` of one with a parent.

    Attributes:
        matrix: Rigid, 4x4 [mm].
    """

    matrix: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class LivePoints:
    """Where a wire is.

    Attributes:
        points_xyz_mm: Along it, its tip last, patient LPS [mm], shape (N, 3).
    """

    points_xyz_mm: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class LiveInsertion:
    """How far a wire is in along its path.

    Attributes:
        inserted_mm: Way of the tip along the path [mm]; None: as it was.
        roll_deg: By which the wire is turned about itself [deg]; None: as it was.
    """

    inserted_mm: float | None = None
    roll_deg: float | None = None


LiveSample = LivePose | LivePoints | LiveInsertion


def require_rigid(name: str, matrix: ArrayLike) -> NDArray[np.float64]:
    """Return a pose in float64.

    Raises:
        InputError: Not a rigid motion of finite numbers, shape (4, 4).
    """
    found = np.asarray(matrix, float)
    if found.shape != (4, 4) or not np.isfinite(found).all():
        raise InputError(f"pose of {name} must be 4x4 finite numbers, got shape {found.shape}")
    turn = found[:3, :3]
    if np.abs(turn @ turn.T - np.eye(3)).max() > 1e-4 or np.linalg.det(turn) < 0:
        raise InputError(f"pose of {name} must be rigid, got {turn.round(4).tolist()}")
    return found


@dataclass(frozen=True, kw_only=True, eq=False)
class Tubes:
    """Straight pieces of wires: all points within a radius of a line, with shells inside.

    Attributes:
        ends_xyz_mm: Both ends of each line, patient LPS [mm], shape (N, 2, 3).
        radii_mm: Of each shell, the outermost first, falling; 0: there is none; shape (N, shells).
        materials: Number of each shell's material, shape (N, shells).

    Raises:
        InputError: Arrays of other shapes, ends that are not finite, radii that rise or are
            negative.
    """

    ends_xyz_mm: NDArray[np.float64]
    radii_mm: NDArray[np.float64]
    materials: NDArray[np.int_]

    def __post_init__(self) -> None:
        count = len(self.ends_xyz_mm)
        if self.ends_xyz_mm.shape != (count, 2, 3) or not np.isfinite(self.ends_xyz_mm).all():
            raise InputError(
                f"ends_xyz_mm must be finite, shape (N, 2, 3), got {self.ends_xyz_mm.shape}"
            )
        radii, shells = self.radii_mm, self.radii_mm.shape[-1]
        if radii.shape != (count, shells) or self.materials.shape != radii.shape:
            raise InputError(
                f"radii_mm and materials must be of shape ({count}, shells), got {radii.shape} and "
                f"{self.materials.shape}"
            )
        if not 1 <= shells <= MOST_SHELLS:
            raise InputError(f"a tube must have 1 to {MOST_SHELLS} shells, got {shells}")
        if not (radii >= 0).all() or not (np.diff(radii, axis=1) <= 0).all():
            raise InputError("radii_mm must be at least 0 and fall from the outermost shell on")


class TubeSolid(PosedSolid):
    """A solid of tubes: a wire, a catheter, a stent, a screw."""

    def tubes(self, time_s: float) -> Tubes:
        """Return its pieces at a moment of the run [s].

        Raises:
            NotImplementedError: The base has no pieces.
        """
        raise NotImplementedError


def in_order(solids: Sequence[PosedSolid]) -> list[PosedSolid]:
    """Return solids in the order in which they take their place: by priority, the highest first."""
    return sorted(solids, key=lambda each: -each.priority)


def materials_of(solids: Sequence[PosedSolid]) -> tuple[Material, ...]:
    """Return the materials of solids, each once: a plane of the renderer's image each."""
    found: list[Material] = []
    for each in (one for solid in solids for one in solid.materials):
        if each not in found:
            found.append(each)
    return tuple(found)


def numbers_of(solid: PosedSolid, solids: Sequence[PosedSolid]) -> list[int]:
    """Return the number of each of a solid's materials among those of all solids."""
    found = materials_of(solids)
    return [found.index(each) for each in solid.materials]

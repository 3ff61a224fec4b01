"""Structures of which parts have moved: what stays, and what goes along with a fragment.

Landmarks go along too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fluoro.volume.grid import VolumeGrid
from fluoro.volume.labels.label_volume import LabelVolume
from fluoro.volume.posed_solid import PosedSolid
from fluoro.volume.rigid_solids import CutOut, SampledSolid

__all__ = ["MovingLabels", "MovingPoints", "split_labels"]


@dataclass(frozen=True, kw_only=True, eq=False)
class MovingLabels:
    """Labels that a fragment takes along, where they are at rest.

    Attributes:
        labels: Of the same structures as all.
        solid: The fragment.
    """

    labels: LabelVolume
    solid: SampledSolid

    def motion(self, time_s: float) -> NDArray[np.float64]:
        """Return how they have moved from rest at a moment of the run [s], 4x4 [mm]."""
        return _motion(self.solid, time_s)


class MovingPoints:
    """Points of the patient, of which those in a fragment's voxels, or next to one, move with it.

    Args:
        points_xyz_mm: Where they are at rest, patient LPS [mm], shape (N, 3).
        grid: The patient's.
        posed: The scene's objects.
    """

    def __init__(
        self, points_xyz_mm: NDArray[np.float64], grid: VolumeGrid, posed: Sequence[PosedSolid]
    ) -> None:
        self._points = points_xyz_mm
        matrix = grid.index_from_world
        voxels = np.rint(points_xyz_mm @ matrix[:3, :3].T + matrix[:3, 3]).astype(int)[:, ::-1]
        self._fragments = _fragments(posed)
        self._carrier = np.full(len(voxels), -1)
        for reach in (0, 1):
            for number, (_, cut) in enumerate(self._fragments):
                near = np.array([_has_near(cut, voxel, reach) for voxel in voxels], bool)
                self._carrier[near & (self._carrier < 0)] = number

    def at(self, time_s: float) -> NDArray[np.float64]:
        """Return where they are at a moment of the run [s], patient LPS [mm], shape (N, 3)."""
        found = self._points.copy()
        for number, (solid, _) in enumerate(self._fragments):
            own, motion = self._carrier == number, _motion(solid, time_s)
            found[own] = found[own] @ motion[:3, :3].T + motion[:3, 3]
        return found


def _motion(solid: SampledSolid, time_s: float) -> NDArray[np.float64]:
    """How a fragment has moved from rest at a moment of the run [s], 4x4 [mm]."""
    assert solid.cut_out is not None
    return np.asarray(solid.track.at(time_s) @ np.linalg.inv(solid.cut_out.rest))


def _fragments(posed: Sequence[PosedSolid]) -> list[tuple[SampledSolid, CutOut]]:
    """What has been cut out of the patient."""
    solids = [each for each in posed if isinstance(each, SampledSolid)]
    return [(each, each.cut_out) for each in solids if each.cut_out]


def _has_near(cut: CutOut, voxel: NDArray[np.int_], reach: int) -> bool:
    """Whether a voxel (z, y, x) is within `reach` voxels of one that was cut out."""
    window = tuple(
        slice(max(number - side.start - reach, 0), max(number - side.start + reach + 1, 0))
        for number, side in zip(voxel.tolist(), cut.box, strict=True)
    )
    return bool(cut.inside_zyx[window].any())


def split_labels(
    labels: LabelVolume, posed: Sequence[PosedSolid]
) -> tuple[LabelVolume, list[MovingLabels]]:
    """Return labels without those that fragments take along, and these for each fragment.

    Args:
        labels: On the patient's grid.
        posed: The scene's objects; those that are no part of the patient are left out.
    """
    fragments = _fragments(posed)
    if not fragments:
        return labels, []
    still, moving = labels.label_zyx.copy(), []
    for solid, cut in fragments:
        own = np.zeros_like(still)
        own[cut.box] = np.where(cut.inside_zyx, still[cut.box], 0)
        still[cut.box][cut.inside_zyx] = 0
        if own.any():
            moving.append(MovingLabels(labels=replace(labels, label_zyx=own), solid=solid))
    return replace(labels, label_zyx=still), moving

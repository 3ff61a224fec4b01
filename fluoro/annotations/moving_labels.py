"""Structures of which parts have moved: what stays, and what goes along with a fragment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fluoro.volume.labels.label_volume import LabelVolume
from fluoro.volume.posed_solid import PosedSolid
from fluoro.volume.rigid_solids import SampledSolid

__all__ = ["MovingLabels", "split_labels"]


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
        assert self.solid.cut_out is not None
        return np.asarray(self.solid.track.at(time_s) @ np.linalg.inv(self.solid.cut_out.rest))


def split_labels(
    labels: LabelVolume, posed: Sequence[PosedSolid]
) -> tuple[LabelVolume, list[MovingLabels]]:
    """Return labels without those that fragments take along, and these for each fragment.

    Args:
        labels: On the patient's grid.
        posed: The scene's objects; those that are no part of the patient are left out.
    """
    fragments = [each for each in posed if isinstance(each, SampledSolid) and each.cut_out]
    if not fragments:
        return labels, []
    still, moving = labels.label_zyx.copy(), []
    for solid in fragments:
        cut = solid.cut_out
        assert cut is not None
        own = np.zeros_like(still)
        own[cut.box] = np.where(cut.inside_zyx, still[cut.box], 0)
        still[cut.box][cut.inside_zyx] = 0
        if own.any():
            moving.append(MovingLabels(labels=replace(labels, label_zyx=own), solid=solid))
    return replace(labels, label_zyx=still), moving

"""How a registration went, seen from the truth or from the pose that was found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fluoro.registration.measures.metrics import cube_corners_xyz_mm, mtre_mm
from fluoro.registration.report.result import Step

__all__ = ["Convergence", "Station", "leading"]

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Station:
    """One iteration and its distance from where it should be.

    Attributes:
        number: Counts the iterations of all levels and starts, from 1; 0 is the start.
        step: The iteration.
        distance_mm: mTRE, to the truth or to the pose that was found.
    """

    number: int
    step: Step
    distance_mm: float


class Convergence:
    """Measures iterations against a goal.

    Args:
        goal: 4x4 motion of the views from where they started to where they should be.
        center_xyz_mm: Isocentre, and centre of the 120 mm cube, world LPS [mm].
    """

    def __init__(self, goal: ArrayLike, center_xyz_mm: ArrayLike) -> None:
        self._goal = np.asarray(goal, float)
        self._corners = cube_corners_xyz_mm(center_xyz_mm)

    def distance_mm(self, motion: ArrayLike) -> float:
        """Return the mTRE between a motion of the views and the goal [mm]."""
        return mtre_mm(motion, self._goal, self._corners)

    def stations(self, history: Sequence[Step]) -> list[Station]:
        """Return every iteration, in its order."""
        return [
            Station(number=n + 1, step=step, distance_mm=self.distance_mm(step.motion))
            for n, step in enumerate(history)
        ]


def leading(stations: Sequence[Station]) -> list[Station]:
    """Return those that brought the cost of their level below all before them on it.

    Costs of levels cannot be compared, so each level starts again.
    """
    best, level, found = np.inf, None, []
    for station in stations:
        if station.step.level != level:
            best, level = np.inf, station.step.level
        if station.step.cost < best:
            best = station.step.cost
            found.append(station)
    return found

"""Poses over time."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from fluoro.geometry.carm import CarmPose
from fluoro.geometry.se3 import interpolate

__all__ = ["Trajectory", "waypoint_trajectory"]

Trajectory = Callable[[float], CarmPose]
"""Seconds since the run's start to the pose."""

ORIGIN = (0.0, 0.0, 0.0)


def waypoint_trajectory(
    times_s: NDArray[np.float64], poses: Sequence[CarmPose], *, repeat: bool
) -> Trajectory:
    """Return poses interpolated in SE(3) between times [s], which rise strictly.

    Args:
        times_s: Shape (n,).
        poses: As many.
        repeat: Start again after the last one; else hold it.
    """
    motions = [pose.world_from_carm(ORIGIN) for pose in poses]
    span_s = times_s[-1] - times_s[0]

    def pose(time_s: float) -> CarmPose:
        if repeat and time_s > times_s[-1] and span_s > 0:
            time_s = times_s[0] + (time_s - times_s[0]) % span_s
        return _between(times_s, motions, time_s)

    return pose


def _between(
    times_s: NDArray[np.float64], motions: Sequence[NDArray[np.float64]], time_s: float
) -> CarmPose:
    """The pose at a time; before the first way-point and after the last these are held."""
    after = int(np.searchsorted(times_s, time_s, side="right"))
    if after == 0 or after == len(times_s):
        return CarmPose.from_world_from_carm(motions[min(after, len(motions) - 1)], ORIGIN)
    start, end = times_s[after - 1], times_s[after]
    fraction = (time_s - start) / (end - start)
    motion = interpolate(motions[after - 1], motions[after], float(fraction))
    return CarmPose.from_world_from_carm(motion, ORIGIN)

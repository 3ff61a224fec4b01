"""How far two poses are apart, and what share of many registrations succeeded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fluoro.errors import InputError
from fluoro.geometry.projection import View, project_points
from fluoro.geometry.se3 import so3_log

__all__ = [
    "GROSS_FAILURE_MM",
    "SUCCESS_MM",
    "Stratum",
    "capture_range_mm",
    "cube_corners_xyz_mm",
    "geodesic_distance",
    "mrpe_mm",
    "mtre_mm",
    "strata",
    "success_rate",
]

Array = NDArray[np.float64]

SUCCESS_MM = 2.0
"""A registration with a smaller mTRE counts as a success (van de Kraats et al. 2005)."""
GROSS_FAILURE_MM = 10.0
"""A registration with a larger mTRE is a gross failure."""
CUBE_EDGE_MM = 120.0
"""Edge of the cube whose corners stand in for anatomical targets: the middle of a chest."""


def cube_corners_xyz_mm(center_xyz_mm: ArrayLike, edge_mm: float = CUBE_EDGE_MM) -> Array:
    """Return the corners of a cube about a point in world LPS [mm], shape (8, 3)."""
    signs = np.array(np.meshgrid([-1, 1], [-1, 1], [-1, 1])).reshape(3, -1).T
    return np.asarray(center_xyz_mm, float) + signs * edge_mm / 2


def mtre_mm(
    estimated_world_from_carm: ArrayLike, true_world_from_carm: ArrayLike, targets_xyz_mm: ArrayLike
) -> float:
    """Return the mean target registration error: mean |T_est p - T_true p|, T = carm_from_world.

    Args:
        estimated_world_from_carm: 4x4 pose that was found.
        true_world_from_carm: 4x4 pose that is right.
        targets_xyz_mm: Points of the patient in world LPS [mm], shape (N, 3), N >= 1.

    Raises:
        InputError: Targets of another shape.
    """
    points = _points(targets_xyz_mm)
    between = np.linalg.inv(np.asarray(estimated_world_from_carm, float))
    between = np.asarray(true_world_from_carm, float) @ between
    # |T_est p - T_true p| does not change under the rigid motion T_true^-1
    offsets = points @ between[:3, :3].T + between[:3, 3] - points
    return float(np.linalg.norm(offsets, axis=1).mean())


def mrpe_mm(estimated: View, true: View, targets_xyz_mm: ArrayLike) -> float:
    """Return the mean reprojection distance of targets between two views, on the detector [mm].

    Args:
        estimated: The view that was found.
        true: The right view, of the same detector.
        targets_xyz_mm: Points of the patient in world LPS [mm], shape (N, 3), N >= 1.

    Raises:
        InputError: Targets of another shape.
    """
    points = _points(targets_xyz_mm)
    offsets_px = project_points(estimated.pixel_from_world, points) - project_points(
        true.pixel_from_world, points
    )
    pitch = [np.linalg.norm(step) for step in (true.column_step_xyz_mm, true.row_step_xyz_mm)]
    return float(np.linalg.norm(offsets_px * pitch, axis=1).mean())


def geodesic_distance(a: ArrayLike, b: ArrayLike) -> tuple[float, float]:
    """Return angle of the turn [degrees] and distance of the origins [mm] between two 4x4 poses."""
    first, second = np.asarray(a, float), np.asarray(b, float)
    turn = so3_log(first[:3, :3].T @ second[:3, :3])
    angle_deg = float(np.degrees(np.linalg.norm(turn)))
    return angle_deg, float(np.linalg.norm(first[:3, 3] - second[:3, 3]))


def success_rate(mtres_mm: ArrayLike, below_mm: float = SUCCESS_MM) -> float:
    """Return the share of registrations whose mTRE is below a limit, 0 to 1; nan is a failure.

    Raises:
        InputError: No registration.
    """
    values = np.atleast_1d(np.asarray(mtres_mm, float))
    if values.size == 0:
        raise InputError("mtres_mm must hold at least one registration, got none")
    return float((values < below_mm).mean())


def capture_range_mm(
    start_mtres_mm: ArrayLike,
    final_mtres_mm: ArrayLike,
    *,
    bin_mm: float = 10.0,
    share: float = 0.95,
) -> float:
    """Upper edge [mm] of the last bin of start distances up to which all bins succeed.

    A bin succeeds when at least `share` of its registrations end below `SUCCESS_MM`; an empty bin
    ends the range (van de Kraats et al. 2005). 0 if the first bin fails.

    Raises:
        InputError: Starts and ends of different number, or none.
    """
    found = 0.0
    for stratum in strata(start_mtres_mm, final_mtres_mm, bin_mm=bin_mm):
        if stratum.low_mm > found or stratum.success < share:
            break
        found = stratum.high_mm
    return found


@dataclass(frozen=True, kw_only=True)
class Stratum:
    """Registrations that started about as far away.

    Attributes:
        low_mm: Least mTRE at the start, included [mm].
        high_mm: Largest mTRE at the start, not included [mm].
        count: Registrations.
        success: Share that ended below 2 mm.
        below_1_mm: Share that ended below 1 mm.
        median_mm: Median of the final mTRE [mm].
        p95_mm: 95th percentile of the final mTRE [mm].
    """

    low_mm: float
    high_mm: float
    count: int
    success: float
    below_1_mm: float
    median_mm: float
    p95_mm: float


def strata(
    start_mtres_mm: ArrayLike, final_mtres_mm: ArrayLike, *, bin_mm: float = 10.0
) -> list[Stratum]:
    """Results by the distance of the start, nearest first, without empty bins.

    Raises:
        InputError: Starts and ends of different number, or none, or a bin that is not positive.
    """
    starts, finals = np.asarray(start_mtres_mm, float), np.asarray(final_mtres_mm, float)
    if starts.shape != finals.shape or starts.ndim != 1 or starts.size == 0:
        raise InputError(
            f"start and final mTRE must be as many, at least one; got {starts.shape} and "
            f"{finals.shape}"
        )
    if not bin_mm > 0:
        raise InputError(f"bin_mm must be a positive length, got {bin_mm}")
    numbers = np.floor(starts / bin_mm).astype(int)
    return [_stratum(n * bin_mm, bin_mm, finals[numbers == n]) for n in np.unique(numbers)]


def _stratum(low_mm: float, bin_mm: float, finals: Array) -> Stratum:
    failed_last = np.where(np.isnan(finals), np.inf, finals)
    return Stratum(
        low_mm=float(low_mm),
        high_mm=float(low_mm + bin_mm),
        count=len(finals),
        success=success_rate(finals),
        below_1_mm=success_rate(finals, 1.0),
        median_mm=float(np.quantile(failed_last, 0.5, method="higher")),
        p95_mm=float(np.quantile(failed_last, 0.95, method="higher")),
    )


def _points(targets_xyz_mm: ArrayLike | Sequence[Sequence[float]]) -> Array:
    points = np.asarray(targets_xyz_mm, float)
    if points.ndim != 2 or points.shape[1] != 3 or len(points) == 0:
        raise InputError(f"targets_xyz_mm must have shape (N, 3), N >= 1, got {points.shape}")
    return points

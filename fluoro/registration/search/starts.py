"""Starting poses: random ones at a wanted distance, and the spread of a multi-start."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fluoro.errors import InputError
from fluoro.registration.measures.metrics import cube_corners_xyz_mm
from fluoro.registration.rigid_motion import motion_about

__all__ = ["spread_twists", "twist_at_mtre"]

Array = NDArray[np.float64]

START_SCALE_MM = 100.0
"""A random start's turn [rad] times this is as large on average as its shift [mm]: about the
distance of the 120 mm cube's corners from its centre, so that both count alike in the mTRE."""


def twist_at_mtre(
    random: np.random.Generator, mtre_mm: float, center_xyz_mm: ArrayLike = (0.0, 0.0, 0.0)
) -> Array:
    """Return a random twist [rad, mm] that displaces the cube's corners by `mtre_mm` on average.

    The direction is isotropic in (rotation x `START_SCALE_MM`, translation). Its length follows
    from `mtre_mm`.

    Args:
        random: Source of the direction.
        mtre_mm: Wanted mean displacement of the corners of a 120 mm cube about the centre
            [mm], 0 to 150.
        center_xyz_mm: Centre of cube and rotation in world LPS [mm].

    Raises:
        InputError: A distance outside that range.
    """
    from scipy.optimize import brentq

    if not 0 <= mtre_mm <= 150:
        raise InputError(f"mtre_mm must lie in [0, 150], got {mtre_mm}")
    direction = random.normal(size=6)
    direction /= np.linalg.norm(direction)
    direction[:3] /= START_SCALE_MM

    def excess(scale: float) -> float:
        return displacement_mm(scale * direction, center_xyz_mm) - mtre_mm

    if mtre_mm == 0:
        return np.zeros(6)
    largest = 0.95 * np.pi / max(float(np.linalg.norm(direction[:3])), 0.95 * np.pi / 500)
    if excess(largest) < 0:
        return twist_at_mtre(random, mtre_mm, center_xyz_mm)
    return np.asarray(brentq(excess, 0.0, largest, xtol=1e-9) * direction)


def displacement_mm(twist: ArrayLike, center_xyz_mm: ArrayLike) -> float:
    """Mean displacement [mm] of the corners of the 120 mm cube by a twist about its centre."""
    corners = cube_corners_xyz_mm(center_xyz_mm)
    motion = motion_about(twist, center_xyz_mm)
    offsets = corners @ motion[:3, :3].T + motion[:3, 3] - corners
    return float(np.linalg.norm(offsets, axis=1).mean())


def spread_twists(count: int, sigmas: ArrayLike, seed: int) -> Array:
    """Evenly spread normal twists: scrambled Sobol points; the first is zero, shape (count, 6).

    Args:
        count: How many, at least 1.
        sigmas: Standard deviation of each component [rad, mm], shape (6,).
        seed: Of the scrambling.
    """
    from scipy.special import ndtri
    from scipy.stats import qmc  # imports for longer than a stream takes to start

    power = int(np.ceil(np.log2(max(count, 2))))
    points = qmc.Sobol(6, scramble=True, rng=seed).random_base2(power)[: max(count - 1, 0)]
    normal = ndtri(np.clip(points, 1e-6, 1 - 1e-6))
    return np.concatenate([np.zeros((1, 6)), normal * np.asarray(sigmas, float)])

"""From drawn directions and drawn poses in other programs' words to the C-arm's keys."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fluoro.geometry.carm import CarmPose
from fluoro.geometry.converters.diffdrr import camera_axes
from fluoro.geometry.converters.patient_frames import LPS_FROM_RAS, turn

__all__ = ["direction_angles", "euler_pose"]

Vector3 = tuple[float, float, float]


def direction_angles(
    lao_deg: float, cra_deg: float, off_rad: float, around_rad: float
) -> dict[str, float]:
    """Return the angles of a beam that is off an axis.

    Args:
        lao_deg: Primary angle of the axis [degrees].
        cra_deg: Secondary angle of the axis [degrees], within 89 of 0.
        off_rad: Angle between beam and axis [rad].
        around_rad: On which side of the axis [rad].

    Returns:
        `lao_deg` in (-180, 180] and `cra_deg` in [-90, 90].
    """
    lao, cra = math.radians(lao_deg), math.radians(cra_deg)
    axis = np.array([math.sin(lao) * math.cos(cra), -math.cos(lao) * math.cos(cra), math.sin(cra)])
    aside = np.array([math.cos(lao), math.sin(lao), 0.0])
    up = np.cross(aside, axis)
    sine = math.sin(off_rad)
    beam = math.cos(off_rad) * axis + sine * (
        math.cos(around_rad) * aside + math.sin(around_rad) * up
    )
    x, y, z = beam.tolist()
    return {
        "lao_deg": math.degrees(math.atan2(x, -y)),
        "cra_deg": math.degrees(math.asin(min(max(z, -1.0), 1.0))),
    }


def euler_pose(rotation_deg: Vector3, shift_mm: Vector3) -> dict[str, Any]:
    """Return the C-arm's pose of DiffDRR's Euler angles, orientation "PA".

    Args:
        rotation_deg: Angles in the order ZXY [degrees].
        shift_mm: Of the camera, before the turn, from where its beam meets the isocentre [mm].

    Returns:
        The keys `lao_deg`, `cra_deg`, `roll_deg` and `translation_mm`.
    """
    lps = np.asarray(LPS_FROM_RAS, float)[:3, :3]
    rotation = turn("ZXY", rotation_deg)
    u, v, beam = (lps @ rotation @ camera_axes("PA", reverse_x_axis=True)).T
    world_from_carm = np.eye(4)
    world_from_carm[:3, :3] = np.column_stack([u, -beam, -v])
    world_from_carm[:3, 3] = lps @ rotation @ np.asarray(shift_mm)
    pose = CarmPose.from_world_from_carm(world_from_carm, (0.0, 0.0, 0.0))
    return {
        "lao_deg": pose.lao_deg,
        "cra_deg": pose.cra_deg,
        "roll_deg": pose.roll_deg,
        "translation_mm": list(pose.translation_mm),
    }

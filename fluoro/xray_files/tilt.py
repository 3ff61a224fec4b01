"""The panel's tilt and DICOM's detector angles (PS3.3 C.8.7.5.1.4)."""

from __future__ import annotations

import math

__all__ = ["detector_angles_deg", "tilt_from_detector_angles_deg"]

Pair = tuple[float, float]


def detector_angles_deg(tilt_deg: Pair) -> Pair:
    """Primary and secondary detector angle [degrees] of a panel turned about columns, then rows.

    They are the beam's angles against the panel's normal: + to higher columns, + to lower rows.
    """
    a, b = map(math.radians, tilt_deg)
    return tilt_deg[1], math.degrees(math.atan2(math.sin(a), math.cos(a) * math.cos(b)))


def tilt_from_detector_angles_deg(primary_deg: float, secondary_deg: float) -> Pair:
    """Turns of the panel about its columns, then its rows [degrees]: the inverse."""
    a, b = math.radians(secondary_deg), math.radians(primary_deg)
    return math.degrees(math.atan(math.tan(a) * math.cos(b))), primary_deg

"""Ribs and their cartilages, breastbone, collar bones, shoulder blades, heads of the humeri."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from fluoro.volume.phantom.canvas import Canvas
from fluoro.volume.phantom.shapes import Points, hermite, mirrored, smooth_path
from fluoro.volume.phantom.spine import VERTEBRAE
from fluoro.volume.phantom.trunk import cage_point

__all__ = ["RibCurve", "paint_girdle", "paint_ribs", "paint_sternum", "rib_curves"]

CORTICAL_HU, MARROW_HU, CARTILAGE_HU = 1150.0, 230.0, 110.0
RIB_STEP_MM = 4.0

_RIB_HEIGHTS = {
    2: ((150, 137), (120, 134), (90, 117), (60, 99), (42, 88)),
    3: ((150, 124), (120, 121), (90, 101), (60, 75), (41, 62)),
    4: ((150, 106), (120, 102), (90, 80), (60, 48), (41, 32)),
    5: ((150, 88), (120, 84), (90, 58), (60, 20), (42, 2)),
    6: ((150, 66), (120, 61), (90, 32), (60, -10), (44, -28)),
    7: ((150, 43), (120, 36), (90, 4), (60, -40), (46, -58)),
    8: ((150, 18), (120, 8), (90, -28), (60, -72), (52, -84)),
    9: ((150, -12), (120, -25), (90, -60), (62, -102)),
    10: ((150, -43), (120, -60), (90, -93), (72, -120)),
    11: ((150, -79), (120, -105), (100, -128)),
    12: ((152, -106), (140, -119), (128, -133)),
}
"""Height [mm] of ribs 2 to 12 by angle on the cage: 180 degrees at the spine, 0 at the sternum."""

_FIRST_RIB = ((37, 42, 139), (58, 32, 138), (71, 8, 132), (66, -20, 124), (48, -43, 116))
_STERNUM = (
    (0, -52, 126, 7, 27), (0, -59, 110, 7, 25), (0, -67, 88, 6, 19), (0, -71, 78, 5.5, 17),
    (0, -76, 55, 5.5, 18), (0, -82, 20, 5.5, 20), (0, -87, -8, 5, 18), (0, -88, -18, 4, 9),
    (0, -88, -34, 3, 6),
)  # fmt: skip
"""Breastbone from the notch down: x, y, z, half thickness, half width [mm]."""

_STERNAL_JOINTS = {1: 112, 2: 84, 3: 62, 4: 42, 5: 24, 6: 8, 7: -6}
"""Height [mm] at which the cartilages of the true ribs meet the breastbone."""


@dataclass(frozen=True, kw_only=True, eq=False)
class RibCurve:
    """The middle line of one rib.

    Attributes:
        number: 1 (top) to 12.
        side: +1 the patient's left, -1 right.
        points_xyz_mm: From its head at the spine to its front end, shape (n, 3).
        outward: Unit normals of its flat face, shape (n, 3).
    """

    number: int
    side: int
    points_xyz_mm: Points
    outward: Points


def rib_curves() -> tuple[RibCurve, ...]:
    """Return all 12 pairs, right and left of each pair in turn."""
    return tuple(_rib(number, side) for number in range(1, 13) for side in (-1, 1))


def _rib(number: int, side: int) -> RibCurve:
    vertebra = next(v for v in VERTEBRAE if v.name == f"T{number}")
    head = vertebra.at(vertebra.half_width_mm + 3, 8, vertebra.height_mm / 2)
    tubercle = vertebra.at(
        vertebra.transverse_mm + 4, vertebra.half_depth_mm + 13, vertebra.height_mm / 4 + 2
    )
    shaft = np.array(_FIRST_RIB, float) if number == 1 else _shaft(number)
    points = smooth_path(mirrored(np.vstack([head, tubercle, shaft]), side), RIB_STEP_MM)
    return RibCurve(
        number=number, side=side, points_xyz_mm=points, outward=_outward(points, number)
    )


def _shaft(number: int) -> Points:
    table = np.array(_RIB_HEIGHTS[number], float)[::-1]
    angles = np.linspace(table[-1, 0], table[0, 0], 14)
    return cage_point(angles, hermite(table[:, 0], table[:, 1], angles))


def _outward(points: Points, number: int) -> Points:
    """Normals of the flat face: away from the lung; the first rib lies flat, facing up."""
    normals = points - (0.0, 10.0, 0.0)
    normals[:, 2] = 1e3 if number == 1 else 0.0
    return np.asarray(normals / np.linalg.norm(normals, axis=1, keepdims=True))


def paint_ribs(canvas: Canvas) -> None:
    """Costal cartilages, then the ribs: a cortical shell around marrow."""
    curves = rib_curves()
    canvas.part = "costal_cartilages"
    for curve in curves:
        if curve.number <= 10:
            _paint_cartilage(canvas, curve)
    for curve in curves:
        bone = canvas.union_around(curve.points_xyz_mm, 12.0)
        height = 5.5 if curve.number > 10 else min(4.9 + 0.4 * curve.number, 6.6)
        growth = np.minimum(np.linspace(0.65, 1.55, len(curve.points_xyz_mm)), 1.1)
        half = growth[:, None] * (3.6, height)
        bone.ribbon(curve.points_xyz_mm, curve.outward, half)
        canvas.part = f"rib_{_side(curve.side)}_{curve.number}"
        bone.fill((0.0, CORTICAL_HU), (1.4, MARROW_HU))


def _side(side: int) -> str:
    return "left" if side > 0 else "right"


def _paint_cartilage(canvas: Canvas, curve: RibCurve) -> None:
    """From the rib's end to the breastbone, or to the cartilage above."""
    end, side = curve.points_xyz_mm[-1], curve.side
    joint = _STERNAL_JOINTS.get(curve.number)
    if joint is None:
        joint, reach = end[2] + 30.0, 40.0 + 9 * (curve.number - 8)
    else:
        reach = 22.0 if curve.number > 1 else 25.0
    front = float(hermite([-40, 20, 90, 126], [-89, -82, -66, -52], joint))
    goal = np.array([side * reach, front - (6 if reach > 30 else 0), joint])
    middle = (end + goal) / 2 + (side * 5, -9, -0.16 * (goal[2] - end[2]) - 3)
    path = smooth_path([end, middle, goal], RIB_STEP_MM)
    outward = _outward(path, curve.number)
    cartilage = canvas.union_around(path, 12.0)
    cartilage.ribbon(path, outward, (4.0, 6.0))
    cartilage.fill((0.0, CARTILAGE_HU))


def paint_sternum(canvas: Canvas) -> None:
    """Manubrium, body and xiphoid process."""
    path = smooth_path(_STERNUM, RIB_STEP_MM)
    canvas.part = "sternum"
    bone = canvas.union_around(path, 30.0)
    forward = np.tile((0.0, -1.0, -0.2), (len(path), 1))
    bone.ribbon(path[:, :3], forward, path[:, 3:])
    bone.fill((0.0, 600.0), (1.2, 120.0))


CLAVICLE = (
    (19, -57, 121, 9), (36, -64, 122, 7.5), (62, -62, 126, 6.5), (90, -40, 133, 6.5),
    (116, -8, 142, 7), (138, 24, 150, 7.5),
)  # fmt: skip
"""Collar bone from the breastbone to the acromion: x, y, z, radius [mm]."""
_BLADE = ((104, 84, -4), (66, 82, 108), (126, 34, 122))
"""Corners of the shoulder blade: lower angle, upper angle, neck of the socket [mm]."""
_BORDERS = (
    ((104, 84, -4, 3.6), (85, 91, 50, 2.8), (66, 82, 108, 2.8)),
    ((66, 82, 108, 2.8), (94, 66, 120, 2.2), (126, 34, 122, 4.0)),
    ((104, 84, -4, 4.2), (121, 68, 50, 4.4), (128, 38, 112, 7.0)),
    ((74, 92, 86, 3.0), (106, 86, 116, 4.4), (136, 66, 140, 6.0), (148, 34, 152, 6.0)),
    ((124, 34, 122, 6.0), (116, 8, 138, 5.5), (122, -12, 134, 5.0)),
)
"""Its medial, upper and lateral borders, its spine with the acromion, the coracoid (x, y, z, r)."""
_SOCKET = ((126, 34, 120, 11.0), (132, 30, 126, 13.0))
_HUMERUS = ((154, 20, 140, 22.0), (158, 18, 150, 22.0), (168, 12, 176, 13.0), (186, 4, 215, 11.5))


def paint_girdle(canvas: Canvas) -> None:
    """Collar bones, shoulder blades and the raised upper arms, both sides."""
    for side in (-1, 1):
        canvas.part = f"clavicula_{_side(side)}"
        _paint_tubes(canvas, (CLAVICLE,), side, (2.0, 320.0))
        canvas.part = f"scapula_{_side(side)}"
        _paint_blade(canvas, side)
        _paint_tubes(canvas, (*_BORDERS, _SOCKET), side, (1.3, 230.0))
        canvas.part = f"humerus_{_side(side)}"
        _paint_tubes(canvas, (_HUMERUS,), side, (2.4, 120.0))


def _paint_tubes(
    canvas: Canvas,
    tubes: tuple[tuple[tuple[float, ...], ...], ...],
    side: int,
    marrow: tuple[float, float],
) -> None:
    points = [np.array(tube, float) * (side, 1, 1, 1) for tube in tubes]
    bone = canvas.union_around(np.vstack(points), 26.0)
    for tube in points:
        bone.tube(tube[:, :3], tube[:, 3])
    bone.fill((0.0, CORTICAL_HU), marrow)


def _paint_blade(canvas: Canvas, side: int) -> None:
    """The thin plate between the borders: strips from the medial to the lateral border."""
    low, high, neck = (np.array(corner, float) * (side, 1, 1) for corner in _BLADE)
    share = np.linspace(0.05, 0.95, 16)[:, None]
    medial = low + share * (high - low) + np.sin(np.pi * share) * (0, 8, 0)
    lateral = low + share * (neck - low) + np.sin(np.pi * share) * (side * 6, 6, 0)
    plate = canvas.union_around(np.vstack([medial, lateral]), 10.0)
    outward = np.cross(high - low, neck - low)
    normals = np.array([outward, outward])
    for ends in zip(medial, lateral, strict=True):
        path = smooth_path(np.array(ends), 12.0)
        for pair in itertools.pairwise(path):
            plate.ribbon(np.array(pair), normals, (1.3, 7.0))
    plate.fill((0.0, 500.0))

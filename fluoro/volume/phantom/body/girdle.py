"""Collar bones, shoulder blades, upper arms and forearms.

Lengths: clavicle 150, scapula 155 by 105, head of the humerus 47 mm across (Iannotti et al., JBJS
Am 74 (1992) 491), joint space 4 mm. Drawn with the arms down; raised arms turn the shoulder blade
by 35 degrees.
"""

from __future__ import annotations

import numpy as np

from fluoro.volume.phantom.body.build import Build
from fluoro.volume.phantom.body.spine import CORTEX_HU
from fluoro.volume.phantom.body.tables import side_name
from fluoro.volume.phantom.body.trunk import SHOULDER_X_MM
from fluoro.volume.phantom.canvas import Canvas, Union
from fluoro.volume.phantom.shapes import Points, smooth_path

__all__ = ["girdle_landmarks", "paint_girdle"]

CLAVICLE = (
    (14, -57, 121, 11, 9.5), (32, -64, 124, 8.0, 7.2), (60, -62, 130, 6.8, 6.4),
    (92, -38, 137, 6.6, 6.2), (118, -6, 142, 8, 5.6), (134, 18, 144, 10, 5.4),
)  # fmt: skip
"""From the breastbone to the acromion: x, y, z, half depth, half height [mm]."""

MEDIAL = ((100, 96, -4), (91, 99, 20), (83, 99, 48), (78, 96, 74), (76, 89, 98), (78, 80, 116))
LATERAL = (
    (104, 94, -4),
    (113, 86, 20),
    (119, 74, 48),
    (122, 60, 76),
    (120, 48, 96),
    (106, 58, 122),
)
"""Borders of the blade from its lower angle to its upper one [mm]."""
SPINE_OF_BLADE = ((78, 97, 90, 3.5), (96, 93, 103, 4.5), (116, 82, 118, 5.5), (138, 66, 136, 6.5))
ACROMION = ((138, 66, 136), (152, 50, 143), (155, 32, 146), (147, 20, 146))
CORACOID = ((114, 34, 122, 7.0), (110, 12, 136, 6.5), (118, -8, 134, 5.5), (124, -14, 128, 5.0))
SOCKET = (120, 33, 110)
FACING = (0.86, -0.5, 0.08)
"""Where the socket looks."""
SOCKET_MM = (4.5, 13.0, 19.0)
HEAD_MM, JOINT_MM = 23.5, 4.0
PIVOT = (100, 40, 120)
TURN_DEG = 35.0
SHAFT = {
    "down": ((0, 0, -8, 21), (12, 4, -26, 15.5), (18, 5, -48, 11.8), (24, 6, -110, 10.8),
             (32, 8, -190, 10.8), (40, 10, -262, 12), (42, 11, -280, 13)),
    "raised": ((4, -2, 8, 21), (12, -6, 26, 15.5), (18, -8, 46, 11.8), (40, -16, 105, 10.8),
               (62, -22, 180, 10.8), (76, -28, 262, 12)),
}  # fmt: skip
"""Humerus from the middle of its head: x, y, z, radius [mm]."""


def _turned(points: Points, build: Build) -> Points:
    """Points of the shoulder blade as the arms' position turns it."""
    if build.arms == "down":
        return points
    angle = np.radians(TURN_DEG)
    turn = np.array(
        [[np.cos(angle), 0, -np.sin(angle)], [0, 1, 0], [np.sin(angle), 0, np.cos(angle)]]
    )
    return np.asarray((points - PIVOT) @ turn.T + PIVOT + (-2, 4, 6))


def _placed(points: Points, side: int) -> Points:
    """Points (n, 3 or more) of the left side, on `side`."""
    placed = np.array(points, float)
    placed[:, 0] = SHOULDER_X_MM + side * placed[:, 0]
    return placed


def _blade(points: object, build: Build, side: int) -> Points:
    table = np.array(points, float)
    turned = np.column_stack([_turned(table[:, :3], build), table[:, 3:]])
    return _placed(turned, side)


def _head(build: Build) -> Points:
    facing = np.array(FACING) / np.linalg.norm(FACING)
    head = np.array(SOCKET) + facing * (SOCKET_MM[0] * 0.4 + JOINT_MM + HEAD_MM)
    return np.asarray(_turned(head[None], build)[0])


def paint_girdle(canvas: Canvas, build: Build) -> None:
    """Collar bones, shoulder blades and arms, both sides."""
    for side in (-1, 1):
        _paint_clavicle(canvas, build, side)
        _paint_scapula(canvas, build, side)
        _paint_humerus(canvas, build, side)
        if build.arms == "down":
            _paint_forearm(canvas, build, side)


def _paint_clavicle(canvas: Canvas, build: Build, side: int) -> None:
    canvas.part = f"clavicula_{side_name(side)}"
    points = np.array(CLAVICLE, float)
    if build.arms == "raised":
        points[:, 2] += np.linspace(0, 10, len(points))
        points[:, 0] *= np.linspace(1, 0.93, len(points))
    path = _placed(smooth_path(points, 4.0), side)
    bone = canvas.union_around(path, 14.0)
    if bone.distance.size:
        bone.ribbon(path[:, :3], np.tile((0.0, -1.0, 0.0), (len(path), 1)), path[:, 3:])
        bone.fill((0.0, CORTEX_HU), (2.2, 300.0), mottle_hu=40)


def _paint_scapula(canvas: Canvas, build: Build, side: int) -> None:
    canvas.part = f"scapula_{side_name(side)}"
    medial, lateral = _blade(MEDIAL, build, side), _blade(LATERAL, build, side)
    spine, coracoid = _blade(SPINE_OF_BLADE, build, side), _blade(CORACOID, build, side)
    bone = canvas.union_around(np.vstack([medial, lateral, spine[:, :3], coracoid[:, :3]]), 60.0)
    if not bone.distance.size:
        return
    rows = smooth_path(medial, 12.0), smooth_path(lateral, 12.0)
    count = min(map(len, rows))
    near, far = (_resampled(row, count) for row in rows)
    bone.sheet(near, far, 1.2)
    bone.tube(near, np.interp(np.arange(count), (0, count - 1), (3.4, 2.4)))
    bone.tube(far, np.interp(np.arange(count), (0, count * 0.7, count - 1), (4.6, 5.6, 3.0)))
    bone.tube(spine[:, :3], spine[:, 3])
    bone.sheet(spine[:, :3], _blade(np.array(SPINE_OF_BLADE)[:, :3] - (0, 14, 6), build, side), 1.6)
    _draw_acromion(bone, build, side)
    bone.tube(coracoid[:, :3], coracoid[:, 3])
    _draw_socket(bone, build, side)
    bone.fill((0.0, CORTEX_HU), (1.2, 230.0), mottle_hu=40)


def _resampled(path: Points, count: int) -> Points:
    at = np.linspace(0, len(path) - 1, count)
    return np.column_stack([np.interp(at, np.arange(len(path)), column) for column in path.T])


def _draw_acromion(bone: Union, build: Build, side: int) -> None:
    path = smooth_path(_blade(ACROMION, build, side), 5.0)
    upwards = np.tile((-0.25 * side, 0.0, 1.0), (len(path), 1))
    width = np.interp(np.linspace(0, 1, len(path)), (0, 0.4, 1), (8, 13, 11))
    bone.ribbon(path, upwards, np.column_stack([np.full(len(path), 4.6), width]))


def _draw_socket(bone: Union, build: Build, side: int) -> None:
    """The glenoid with its neck."""
    center = _blade([SOCKET], build, side)[0]
    facing = _blade([np.array(SOCKET) + FACING], build, side)[0] - center
    facing /= np.linalg.norm(facing)
    level = np.cross((0.0, 0.0, 1.0), facing)
    level /= np.linalg.norm(level)
    frame = np.array([facing, level, np.cross(facing, level)])
    bone.ellipsoid(center - facing * 2.5, SOCKET_MM, frame)
    bone.segment((*(center - facing * 22.0), 6.0), (*(center - facing * 9.5), 9.0))


def _paint_humerus(canvas: Canvas, build: Build, side: int) -> None:
    canvas.part = f"humerus_{side_name(side)}"
    center = _head(build)
    shaft = np.array(SHAFT[build.arms]) + np.array([*center, 0.0])
    course = _placed(shaft, side)
    bone = canvas.union_around(course, 34.0)
    if not bone.distance.size:
        return
    x, y, z = _placed(center[None], side)[0]
    rise = 1 if build.arms == "down" else -1
    bone.ellipsoid((x, y, z), (HEAD_MM,) * 3)
    bone.ellipsoid((x + side * 14, y + 3, z + rise * 2), (11, 14, 17))
    bone.ellipsoid((x + side * 4, y - 16, z - rise * 6), (8, 8, 13))
    bone.tube(course[:, :3], course[:, 3])
    bone.fill((0.0, CORTEX_HU), (1.6, 210.0), mottle_hu=55)
    hollow = canvas.union_around(course[2:], 20.0)
    if hollow.distance.size:
        hollow.tube(course[2:, :3], np.maximum(course[2:, 3] - 4.2, 1))
        hollow.fill((0.0, 20.0))


def _paint_forearm(canvas: Canvas, build: Build, side: int) -> None:
    """Radius and ulna, as far as the wrist."""
    elbow = _head(build) + np.array([44, 10, -292])
    for name, shift, reach in (("radius", (8, -4, 0), 9.0), ("ulna", (-8, 6, 14), 9.0)):
        canvas.part = f"{name}_{side_name(side)}"
        start = elbow + shift
        end = elbow + np.array([28 + shift[0], -34 + shift[1], -236])
        course = _placed(np.array([[*start, reach], [*(start + end) / 2, 6.5], [*end, 8.0]]), side)
        bone = canvas.union_around(course, 14.0)
        if bone.distance.size:
            bone.tube(course[:, :3], course[:, 3])
            bone.fill((0.0, CORTEX_HU), (2.4, 60.0))


def girdle_landmarks(build: Build) -> dict[str, tuple[float, float, float]]:
    """Return ends of the collar bones, socket, head of the humerus, angles of the blades [mm]."""
    found = {}
    for side in (-1, 1):
        name = side_name(side)
        found[f"sternal end of {name} clavicle"] = _placed(np.array([CLAVICLE[0][:3]]), side)[0]
        found[f"glenoid {name}"] = _blade([SOCKET], build, side)[0]
        found[f"humeral head {name}"] = _placed(_head(build)[None], side)[0]
        found[f"lower angle of scapula {name}"] = _blade([MEDIAL[0]], build, side)[0]
        found[f"acromion {name}"] = _blade([ACROMION[2]], build, side)[0]
    return {name: (float(x), float(y), float(z)) for name, (x, y, z) in found.items()}

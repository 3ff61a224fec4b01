"""Collar bones, shoulder blades, upper arms and forearms.

Lengths: clavicle 150, scapula 155 by 105, head of the humerus 47 mm across (Iannotti et al., JBJS
Am 74 (1992) 491), joint space 4 mm. Drawn with the arms down; raised arms turn the shoulder blade
by 26 degrees in its own plane, along the chest's wall.
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
    (23, -60, 122, 10, 11.5), (36, -64, 125, 7.6, 7.2), (64, -62, 130, 6.2, 6.4),
    (101, -38, 137, 6.0, 6.0), (130, -6, 143, 7.5, 5.4), (148, 18, 145, 9.5, 5.2),
)  # fmt: skip
"""From the breastbone to the acromion: x, y, z, half depth, half height [mm]."""

BLADE = (
    ((80, 80, 117, 2.2), (100, 70, 122, 1.6), (121, 55, 121, 3.5)),
    ((76, 89, 98, 2.2), (104, 76, 98, 1.0), (131, 47, 100, 6.0)),
    ((78, 96, 74, 2.2), (106, 84, 76, 0.9), (130, 60, 78, 5.2)),
    ((83, 99, 48, 2.2), (105, 90, 48, 1.0), (125, 74, 48, 4.8)),
    ((91, 99, 20, 2.4), (104, 95, 20, 1.3), (117, 86, 20, 4.4)),
    ((99, 97, -5, 3.4), (102, 96, -6, 3.4), (106, 94, -4, 3.8)),
)
"""Rows from the upper border to the lower angle, each from the medial border over the thin middle
to the lateral border: x, y, z and half thickness [mm]."""
SPINE_OF_BLADE = ((78, 97, 90, 2.6), (100, 93, 103, 3.6), (126, 82, 119, 4.6), (150, 66, 138, 5.8))
ACROMION = ((150, 66, 138), (166, 50, 145), (170, 32, 147), (161, 20, 147))
CORACOID = ((128, 36, 120, 7.0), (123, 12, 136, 6.5), (132, -8, 135, 5.5), (138, -14, 129, 5.0))
SOCKET = (134, 33, 110)
FACING = (0.86, -0.5, 0.08)
"""Where the socket looks."""
SOCKET_MM = (6.0, 14.0, 19.5)
HEAD_MM, JOINT_MM = 23.5, 4.0
SUNK_MM = 1.0
"""The point of the socket lies so far below its surface."""
PIVOT = (100, 40, 120)
TURN_DEG, TURN_AXIS, TURN_SHIFT_MM = 26.0, (0.707, 0.707, 0.0), (-13.0, 7.0, 10.0)
"""How raised arms turn the left shoulder blade about the pivot, and move it."""
SHAFT = {
    "down": ((3, 0, -8, 19), (12, 4, -26, 15.5), (18, 5, -48, 11.8), (24, 6, -110, 10.8),
             (32, 8, -190, 10.8), (40, 10, -262, 12), (42, 11, -280, 13)),
    "raised": ((4, -2, 8, 19), (12, -6, 26, 15.5), (18, -8, 46, 11.8), (40, -16, 105, 10.8),
               (62, -22, 180, 10.8), (76, -28, 262, 12)),
}  # fmt: skip
"""Humerus from the middle of its head: x, y, z, radius [mm]."""


def _turned(points: Points, build: Build) -> Points:
    """Points of the shoulder blade as the arms' position turns it."""
    if build.arms == "down":
        return points
    angle, axis, arm = np.radians(TURN_DEG), np.array(TURN_AXIS), points - PIVOT
    along_axis = np.outer(arm @ axis, axis) * (1 - np.cos(angle))
    turned = np.cos(angle) * arm + np.sin(angle) * np.cross(arm, axis) + along_axis
    return np.asarray(turned + PIVOT + TURN_SHIFT_MM)


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
    head = np.array(SOCKET) + facing * (JOINT_MM + HEAD_MM - SUNK_MM)
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
        points[:, 2] += np.linspace(0, 14, len(points))
        points[:, 0] *= np.linspace(1, 0.92, len(points))
    points[:, 3:] *= build.robustness
    path = _placed(smooth_path(points, 4.0), side)
    bone = canvas.union_around(path, 14.0)
    if bone.distance.size:
        bone.ribbon(path[:, :3], np.tile((0.0, -1.0, 0.0), (len(path), 1)), path[:, 3:])
        bone.fill((0.0, CORTEX_HU), (2.2, 300.0), mottle_hu=40)


def _paint_scapula(canvas: Canvas, build: Build, side: int) -> None:
    """The thin blade with its borders, its spine and the acromion, the coracoid, the socket."""
    canvas.part = f"scapula_{side_name(side)}"
    net = np.array(BLADE, float)
    blade = _blade(net.reshape(-1, 4), build, side).reshape(net.shape)
    spine, coracoid = _blade(SPINE_OF_BLADE, build, side), _blade(CORACOID, build, side)
    acromion = _blade(ACROMION, build, side)
    points = (blade.reshape(-1, 4)[:, :3], spine[:, :3], coracoid[:, :3], acromion)
    bone = canvas.union_around(np.vstack(points), 24.0)
    if not bone.distance.size:
        return
    bone.patch(blade)
    ridge, beak, top = bone.empty(), bone.empty(), bone.empty()
    ridge.tube(spine[:, :3], spine[:, 3])
    foot = _blade(np.array(SPINE_OF_BLADE)[:3, :3] - (0, 14, 5), build, side)
    ridge.sheet(spine[:3, :3], foot, 1.4)
    _draw_acromion(top, acromion, side)
    beak.tube(coracoid[:, :3], coracoid[:, 3])
    for part, blend_mm in ((ridge, 6.0), (top, 8.0), (beak, 6.0)):
        bone.join(part, blend_mm)
    _draw_socket(bone, build, side)
    bone.fill((0.0, CORTEX_HU), (1.2, 210.0), mottle_hu=45)


def _draw_acromion(bone: Union, acromion: Points, side: int) -> None:
    path = smooth_path(acromion, 5.0)
    upwards = np.tile((-0.25 * side, 0.0, 1.0), (len(path), 1))
    width = np.interp(np.linspace(0, 1, len(path)), (0, 0.4, 1), (8, 12, 10))
    bone.ribbon(path, upwards, np.column_stack([np.full(len(path), 4.2), width]))


def _draw_socket(bone: Union, build: Build, side: int) -> None:
    """The glenoid on its neck, hollow about the head of the humerus."""
    center = _blade([SOCKET], build, side)[0]
    facing = _blade([np.array(SOCKET) + FACING], build, side)[0] - center
    facing /= np.linalg.norm(facing)
    level = np.cross((0.0, 0.0, 1.0), facing)
    level /= np.linalg.norm(level)
    frame = np.array([facing, level, np.cross(facing, level)])
    socket, hollow = bone.empty(), bone.empty()
    socket.ellipsoid(center - facing * 1.0, SOCKET_MM, frame)
    socket.segment((*(center - facing * 22.0), 6.0), (*(center - facing * 8.0), 9.5))
    bone.join(socket, 8.0)
    hollow.ellipsoid(_placed(_head(build)[None], side)[0], (HEAD_MM + JOINT_MM,) * 3)
    bone.hollow(hollow)


def _paint_humerus(canvas: Canvas, build: Build, side: int) -> None:
    canvas.part = f"humerus_{side_name(side)}"
    center = _head(build)
    shaft = np.array(SHAFT[build.arms]) + np.array([*center, 0.0])
    shaft[:, 3] *= build.robustness
    course = _placed(shaft, side)
    bone = canvas.union_around(course, 34.0)
    if not bone.distance.size:
        return
    x, y, z = _placed(center[None], side)[0]
    rise = 1 if build.arms == "down" else -1
    bone.tube(course[:, :3], course[:, 3])
    head, great, small = bone.empty(), bone.empty(), bone.empty()
    head.ellipsoid((x, y, z), (HEAD_MM,) * 3)
    great.ellipsoid((x + side * 15, y + 4, z + rise * 1), (10, 13, 15))
    small.ellipsoid((x + side * 4, y - 17, z - rise * 6), (7, 7, 11))
    for part in (great, small, head):
        bone.join(part, 6.0)
    bone.fill((0.0, CORTEX_HU), (1.2, 185.0), mottle_hu=70)
    hollow = canvas.union_around(course[2:], 20.0)
    if hollow.distance.size:
        hollow.tube(course[2:, :3], np.maximum(course[2:, 3] - 4.2, 1))
        hollow.fill((0.0, 20.0))


def _paint_forearm(canvas: Canvas, build: Build, side: int) -> None:
    """Radius and ulna, as far as the wrist."""
    for name in FOREARM:
        canvas.part = f"{name}_{side_name(side)}"
        course = _forearm_course(name, build, side)
        bone = canvas.union_around(course, 14.0)
        if bone.distance.size:
            bone.tube(course[:, :3], course[:, 3])
            bone.fill((0.0, CORTEX_HU), (2.4, 60.0))


FOREARM = {"radius": (8, -4, 0), "ulna": (-8, 6, 14)}
"""Upper end of each bone from the elbow [mm]."""


def _forearm_course(name: str, build: Build, side: int) -> Points:
    """Course of a bone of the forearm: x, y, z, radius [mm], shape (3, 4)."""
    shift = np.array(FOREARM[name])
    elbow = _head(build) + np.array([44, 10, -292])
    start, end = elbow + shift, elbow + np.array([28 + shift[0], -34 + shift[1], -236])
    course = np.array([[*start, 9.0], [*(start + end) / 2, 6.5], [*end, 8.0]])
    return _placed(course * (1, 1, 1, build.robustness), side)


def girdle_landmarks(build: Build) -> dict[str, tuple[float, float, float]]:
    """Return ends of the collar bones, socket, head of the humerus, angles of the blades [mm]."""
    found = {}
    for side in (-1, 1):
        name = side_name(side)
        found[f"sternal end of {name} clavicle"] = _placed(np.array([CLAVICLE[0][:3]]), side)[0]
        found[f"glenoid {name}"] = _blade([SOCKET], build, side)[0]
        found[f"humeral head {name}"] = _placed(_head(build)[None], side)[0]
        found[f"lower angle of scapula {name}"] = _blade([BLADE[-1][0][:3]], build, side)[0]
        found[f"acromion {name}"] = _blade([ACROMION[2]], build, side)[0]
        for bone in FOREARM if build.arms == "down" else ():
            found[f"middle of {bone} {name}"] = _forearm_course(bone, build, side)[1, :3]
    return {name: (float(x), float(y), float(z)) for name, (x, y, z) in found.items()}

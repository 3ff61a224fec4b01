"""Hip bones and the upper halves of the femora.

Femoral heads 48 mm across and 178 mm apart, neck-shaft angle 127 degrees, cup inclined 45 and
anteverted 20 degrees, joint space 3.5 mm (Noble et al., CORR 235 (1988) 148; Lequesne et al., Ann.
Rheum. Dis. 63 (2004) 1145). A female pelvis is wider with a larger angle under the symphysis.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from fluoro.volume.phantom.body.build import Build
from fluoro.volume.phantom.body.spine import CORTEX_HU
from fluoro.volume.phantom.body.tables import side_name
from fluoro.volume.phantom.body.trunk import HIPS_X_MM
from fluoro.volume.phantom.canvas import Canvas, Union
from fluoro.volume.phantom.shapes import (
    Axes,
    Field,
    Points,
    along,
    ellipsoid,
    smooth_max,
    smooth_path,
)

__all__ = ["paint_pelvis", "pelvis_landmarks"]

WING = (
    ((122, -50, -266, 6.0), (136, -24, -238, 7.5), (126, 10, -216, 6.0), (104, 42, -213, 6.0),
     (74, 70, -230, 6.5), (46, 90, -262, 7.0)),
    ((117, -48, -280, 4.6), (124, -25, -257, 3.2), (114, 4, -238, 2.4), (96, 34, -236, 2.4),
     (72, 62, -250, 4.5), (48, 85, -276, 6.5)),
    ((105, -42, -300, 5.8), (110, -22, -283, 4.5), (101, 0, -268, 2.3), (86, 26, -264, 2.6),
     (69, 50, -272, 6.0), (50, 76, -290, 5.5)),
    ((99, -34, -313, 7.0), (103, -16, -303, 8.0), (96, 3, -294, 7.0), (82, 25, -290, 6.0),
     (66, 46, -290, 7.5), (56, 62, -298, 4.0)),
    ((97, -24, -322, 8.5), (99, -10, -316, 9.5), (93, 8, -311, 9.0), (83, 24, -308, 8.0),
     (74, 36, -306, 6.5), (68, 44, -308, 4.5)),
    ((91, -14, -330, 8.0), (95, -2, -325, 8.5), (90, 12, -323, 8.5), (85, 26, -324, 8.0),
     (80, 34, -326, 7.5), (77, 40, -328, 5.5)),
)  # fmt: skip
"""The ilium from its crest down to the roof of the socket, each row from front to back: middle of
the plate (x, y, z) and half thickness [mm]. It is thin in the middle of the fossa."""
BRIM = ((60, 50, -290, 5.5), (74, 34, -303, 6.5), (82, 8, -316, 7), (76, -20, -331, 7.5),
        (58, -42, -343, 6.5), (36, -56, -350, 6), (18, -62, -355, 6.5))  # fmt: skip
"""The arcuate line from the sacroiliac joint along the inlet, and the upper branch of the pubis."""
COLUMN = ((76, 40, -312, 6), (81, 36, -330, 9), (80, 36, -356, 10), (73, 43, -384, 11.5),
          (66, 46, -402, 13), (62, 42, -418, 11))  # fmt: skip
"""From the sciatic notch to the ischial tuberosity."""
PUBIS = (
    ((9, -62, -354, 6.0), (7.8, -63, -366, 6.5), (8.3, -60, -379, 6.5), (13.5, -55, -390, 5.0)),
    ((22, -61, -353, 6.0), (22, -59, -366, 5.5), (22, -55, -380, 4.5), (24, -49, -392, 4.0)),
)
"""Body of the pubis, from the symphysis to the foramen."""
QUADRILATERAL = (
    ((72, -20, -334, 4.0), (74, 4, -326, 4.0), (76, 26, -322, 4.5), (76, 38, -320, 4.0)),
    ((66, -20, -348, 4.0), (62, 2, -346, 2.8), (66, 24, -346, 3.5), (74, 40, -346, 5.0)),
    ((68, -14, -358, 4.0), (61, 2, -366, 3.2), (65, 20, -370, 4.5), (73, 38, -372, 6.0)),
)
"""The plate between socket and lesser pelvis: its lower end is the teardrop."""
RAMUS = ((66, 46, -406, 6), (49, 12, -417, 5.5), (34, -20, -408, 4.8), (24, -42, -396, 5),
         (18, -55, -383, 5))  # fmt: skip
RAMUS_FLAT_MM = 8.5
SPINE = ((72, 46, -352, 6), (54, 57, -362, 2.5))
HEAD = (89.0, 0.0, -345.0)
HEAD_MM, JOINT_MM, CUP_MM = 24.0, 3.5, 5.0
OPENING = (0.68, -0.28, -0.68)
WALL_MM = 29.0
"""From the middle of the head to the inner face of the pelvis."""
SHAFT = ((130, 9, -370, 18), (129, 11, -392, 18), (125, 12, -420, 16), (120, 10, -460, 14.5),
         (110, 6, -540, 14), (100, 4, -660, 14.5))  # fmt: skip


TROCHANTERS = ((136, 16, -350), (113, 25, -402))


UNEVEN = 0.015
"""How much wider, and higher at the side, the left half is than the middle of both."""


def _placed(points: ArrayLike, side: int, build: Build) -> Points:
    """Points (n, 3 or more) of the left side, on `side`, wider in a woman."""
    placed = np.array(points, float)
    if build.female:
        low = np.interp(placed[:, 2], (-420, -300), (1.12, 1.04))
        placed[:, 0] *= low
        placed[:, 2] += np.interp(placed[:, 2], (-420, -340), (8, 0))
    placed[:, 2] += side * UNEVEN * placed[:, 0]
    placed[:, 0] = HIPS_X_MM + side * (1 + UNEVEN * side) * placed[:, 0]
    return placed


def paint_pelvis(canvas: Canvas, build: Build) -> None:
    """Both hip bones, then both femora."""
    for side in (-1, 1):
        _paint_hip(canvas, build, side)
    _paint_symphysis(canvas)
    for side in (-1, 1):
        _paint_sacroiliac_joint(canvas, build, side)
        _paint_femur(canvas, build, side)


def _paint_hip(canvas: Canvas, build: Build, side: int) -> None:
    """The ilium, the rim of the inlet, ischium and pubis about the foramen, and the socket."""
    canvas.part = f"hip_{side_name(side)}"
    wing = _net(WING, side, build)
    course = _placed([*BRIM, *COLUMN, *RAMUS], side, build)
    bone = canvas.union_around(np.vstack([wing.reshape(-1, 4)[:, :3], course[:, :3]]), 18.0)
    if not bone.distance.size:
        return
    bone.patch(wing)
    for line in (BRIM, COLUMN):
        _blend_tube(bone, _placed(line, side, build), 9.0)
    ramus = smooth_path(_placed(RAMUS, side, build), 5.0)
    half = np.column_stack([ramus[:, 3], np.full(len(ramus), RAMUS_FLAT_MM)])
    lower, pubis = bone.empty(), bone.empty()
    lower.ribbon(ramus[:, :3], np.tile((side * 0.5, -0.85, -0.15), (len(ramus), 1)), half)
    pubis.patch(_net(PUBIS, side, build), 6.0)
    bone.join(pubis, 9.0)
    bone.join(lower, 9.0)
    _blend_tube(bone, _placed(SPINE, side, build), 8.0)
    _draw_cup(bone, build, side)
    bone.fill((0.0, CORTEX_HU), (1.4, 190.0), mottle_hu=75)


def _net(net: object, side: int, build: Build) -> Points:
    """A net of points (m, n, 4) of the left side, on `side`."""
    table = np.array(net, float)
    return _placed(table.reshape(-1, table.shape[2]), side, build).reshape(table.shape)


def _blend_tube(bone: Union, course: Points, blend_mm: float) -> None:
    part = bone.empty()
    part.tube(course[:, :3], course[:, 3])
    bone.join(part, blend_mm)


def _draw_cup(bone: Union, build: Build, side: int) -> None:
    """The acetabulum: a socket about the head, open outwards, forwards and down, with its fossa."""
    center = _placed([HEAD], side, build)[0]
    opening = np.array(OPENING) * (side, 1, 1)
    opening /= np.linalg.norm(opening)
    cup, wall = bone.empty(), bone.empty()
    wall.patch(_net(QUADRILATERAL, side, build))
    cup.add(center - 60.0, center + 60.0, lambda axes: _cup(axes, center, opening, side))
    bone.join(cup, 12.0)
    bone.join(wall, 8.0)
    hollow = bone.empty()
    hollow.ellipsoid(center, (HEAD_MM + JOINT_MM,) * 3)
    fossa = center + np.array((side * -10.0, 0.0, -10.0))
    hollow.ellipsoid(fossa, (16.5, 11.0, 17.0))
    bone.hollow(hollow)


def _cup(axes: Axes, center: Points, opening: Points, side: int) -> Field:
    """Distance to a ball about the head, cut by the opening and by the wall of the pelvis."""
    ball = ellipsoid(axes, center - opening * 4, (HEAD_MM + JOINT_MM + CUP_MM,) * 3)
    rim = along(axes, opening, center + opening * 8.0)
    wall = along(axes, (-side, 0.0, 0.0), center - (side * WALL_MM, 0.0, 0.0))
    return smooth_max(smooth_max(ball, rim, 5.0), wall, 6.0)


def _paint_symphysis(canvas: Canvas) -> None:
    canvas.part = "pubic_symphysis"
    block = canvas.block((4, -74, -392), (16, -46, -344))
    if min(block.shape_zyx):
        canvas.paint(block, ellipsoid(block.axes, (10, -61, -367), (2.4, 8, 17)), 95.0)


JOINT = (
    ((57, 40, -258), (56, 45, -271), (54, 51, -282), (52, 57, -293), (50, 63, -305)),
    ((50, 74, -258), (50, 75, -271), (49, 77, -282), (48, 80, -293), (47, 83, -305)),
)
"""Front and back edge of the sacroiliac joint [mm]; its lower third lies along the middle plane."""
JOINT_LAYERS = ((2.4, 480.0), (1.5, 30.0))
"""Half thickness [mm] and CT number of the plates of bone on both sides, and of the cartilage."""


def _paint_sacroiliac_joint(canvas: Canvas, build: Build, side: int) -> None:
    """A layer of cartilage between dense plates of sacrum and hip bone."""
    canvas.part = ""
    front, back = (_placed(edge, side, build) for edge in JOINT)
    for half_mm, hu in JOINT_LAYERS:
        layer = canvas.union_around(np.vstack([front, back]), 6.0)
        if layer.distance.size:
            layer.sheet(front, back, half_mm)
            layer.fill((0.0, hu))


def _paint_femur(canvas: Canvas, build: Build, side: int) -> None:
    canvas.part = f"femur_{side_name(side)}"
    course = _placed(SHAFT, side, build)
    course[:, 3] *= build.robustness
    center = _placed([HEAD], side, build)[0]
    bone = canvas.union_around(np.vstack([course[:, :3], center]), 40.0)
    if not bone.distance.size:
        return
    bone.tube(course[:, :3], course[:, 3])
    neck = np.array([center, center + np.array([side * 20, 5, -13]), course[0, :3]])
    _blend_tube(bone, np.column_stack([neck, (15, 14.5, 17.5)]), 10.0)
    trochanter = _placed(TROCHANTERS, side, build)
    great, small, head = bone.empty(), bone.empty(), bone.empty()
    great.ellipsoid(trochanter[0], (12, 17, 19))
    great.segment((*trochanter[0], 11.0), (*course[1, :3], 15.0))
    small.ellipsoid(trochanter[1], (9, 9, 13))
    head.ellipsoid(center, (HEAD_MM,) * 3)
    for part, blend_mm in ((great, 12.0), (small, 14.0), (head, 5.0)):
        bone.join(part, blend_mm)
    bone.fill((0.0, CORTEX_HU), (1.7, 230.0), mottle_hu=70)
    _paint_trabeculae(canvas, center, course, side)
    hollow = canvas.union_around(course[1:], 20.0)
    if hollow.distance.size:
        wall = np.interp(course[1:, 2], (-470, -430, -395), (6.5, 4.5, 14.0))
        hollow.tube(course[1:, :3], np.maximum(course[1:, 3] - wall, 1.0))
        hollow.fill((0.0, 10.0))


def _paint_trabeculae(canvas: Canvas, center: Points, course: Points, side: int) -> None:
    """The principal compressive group, from the inner cortex to the top of the head."""
    canvas.part = f"femur_{side_name(side)}"
    calcar = course[1, :3] - (side * 14, 0, 0)
    group = canvas.union_around(np.vstack([calcar, center]), 24.0)
    if group.distance.size:
        middle, top = (center + np.array(shift) for shift in ((side * 6, 0, -6), (0, 0, 12)))
        group.tube(np.array([calcar, middle, top]), (3, 9, 11))
        group.fill((0.0, 330.0), mottle_hu=70)


LANDMARKS = {
    "anterior superior iliac spine": WING[0][0][:3],
    "femoral head": HEAD,
    "greater trochanter": (136, 16, -334),
    "ischial spine": SPINE[1][:3],
    "ischial tuberosity": COLUMN[-1][:3],
    "pubic tubercle": (26, -66, -352),
}


def pelvis_landmarks(build: Build) -> dict[str, tuple[float, float, float]]:
    """Return points of both hip bones and femora, and the middle of the symphysis [mm]."""
    points = {"pubic symphysis": (HIPS_X_MM, -60.0, -370.0)}
    for name, point in LANDMARKS.items():
        for side in (-1, 1):
            x, y, z = _placed([point], side, build)[0].tolist()
            points[f"{name} {side_name(side)}"] = (x, y, z)
    return points

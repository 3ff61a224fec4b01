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
from fluoro.volume.phantom.shapes import Points, ellipsoid, smooth_max, smooth_path

__all__ = ["paint_pelvis", "pelvis_landmarks"]

CREST = ((120, -48, -264, 5.5), (134, -28, -240, 6.5), (130, 12, -214, 6.0), (102, 52, -214, 6.5),
         (70, 78, -234, 7.0), (46, 90, -264, 7.5))  # fmt: skip
FOSSA = ((110, -42, -284), (112, -20, -270), (108, 12, -262), (88, 42, -258), (66, 66, -264),
         (48, 82, -278))  # fmt: skip
ROOF = ((100, -38, -306), (98, -18, -314), (92, 8, -314), (78, 36, -304), (62, 54, -296),
        (50, 72, -292))  # fmt: skip
"""The wing of the ilium: its crest (x, y, z, radius), its thin middle, its lower edge [mm]."""
BRIM = ((56, 48, -284, 8), (74, 34, -300, 9), (84, 8, -314, 9), (78, -22, -330, 8),
        (56, -48, -343, 7.5), (30, -61, -350, 7.5), (13, -64, -358, 7.5))  # fmt: skip
"""From the sacroiliac joint along the inlet to the pubis."""
COLUMN = ((70, 46, -304, 8), (80, 38, -330, 10), (80, 36, -362, 11), (72, 44, -392, 14),
          (64, 42, -414, 15))  # fmt: skip
"""From the sciatic notch to the ischial tuberosity."""
RAMUS = ((62, 32, -424, 9), (44, 2, -420, 6.5), (28, -30, -406, 6.0), (14, -54, -386, 6.5))
SPINE = ((74, 46, -358, 6), (52, 57, -364, 2.5))
HEAD = (89.0, 0.0, -345.0)
HEAD_MM, JOINT_MM, CUP_MM = 24.0, 3.5, 5.5
OPENING = (0.68, -0.28, -0.68)
SHAFT = ((130, 9, -370, 18), (129, 11, -392, 18), (125, 12, -420, 16), (120, 10, -460, 14.5),
         (110, 6, -540, 14), (100, 4, -660, 14.5))  # fmt: skip


def _placed(points: ArrayLike, side: int, build: Build) -> Points:
    """Points (n, 3 or more) of the left side, on `side`, wider in a woman."""
    placed = np.array(points, float)
    if build.female:
        low = np.interp(placed[:, 2], (-420, -300), (1.12, 1.04))
        placed[:, 0] *= low
        placed[:, 2] += np.interp(placed[:, 2], (-420, -340), (8, 0))
    placed[:, 0] = HIPS_X_MM + side * placed[:, 0]
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
    canvas.part = f"hip_{side_name(side)}"
    crest, fossa, roof = (_placed(line, side, build) for line in (CREST, FOSSA, ROOF))
    lower = _placed(RAMUS, side, build)
    bone = canvas.union_around(np.vstack([crest[:, :3], roof, lower[:, :3]]), 40.0)
    if not bone.distance.size:
        return
    bone.tube(crest[:, :3], crest[:, 3])
    dense = [smooth_path(line, 10.0) for line in (crest[:, :3], fossa, roof)]
    upper, middle, edge = (_resampled(line, 16) for line in dense)
    bone.sheet(upper, middle, 2.8)
    bone.sheet(middle, edge, 3.6)
    bone.tube(edge, np.interp(np.arange(16), (0, 4, 10, 15), (6.5, 6.5, 4.5, 6.0)))
    _draw_walls(bone, build, side)
    for line in (BRIM, COLUMN, RAMUS):
        course = _placed(line, side, build)
        bone.tube(course[:, :3], course[:, 3])
    start, tip = _placed(SPINE, side, build)
    bone.segment(start, tip)
    bone.ellipsoid(_placed([(13, -60, -370)], side, build)[0], (9.5, 9, 19))
    _draw_cup(bone, build, side)
    bone.fill((0.0, CORTEX_HU), (1.5, 210.0), mottle_hu=60)


def _draw_walls(bone: Union, build: Build, side: int) -> None:
    """What closes the bone between brim, notch and column: the back of the socket, the joint."""
    brim, column, roof, crest = (
        _placed(line, side, build)[:, :3] for line in (BRIM, COLUMN, ROOF, CREST)
    )
    inlet, back = (_resampled(smooth_path(line, 8.0), 8) for line in (brim[:5], column[:4]))
    bone.sheet(inlet, back, 2.6)
    bone.sheet(roof[2:5][::-1], np.array([brim[0], brim[1], brim[2]]), 4.0)
    bone.sheet(crest[4:], np.array([brim[0], roof[5]]), 7.0)


def _resampled(path: Points, count: int) -> Points:
    at = np.linspace(0, len(path) - 1, count)
    return np.column_stack([np.interp(at, np.arange(len(path)), column) for column in path.T])


def _draw_cup(bone: Union, build: Build, side: int) -> None:
    """The acetabulum: a shell about the head, open outwards, forwards and down."""
    center = _placed([HEAD], side, build)[0]
    opening = np.array(OPENING) * (side, 1, 1)
    opening /= np.linalg.norm(opening)
    inner = HEAD_MM + JOINT_MM
    outer = inner + CUP_MM
    part = bone.block.part(center - outer - 4, center + outer + 4)
    view = bone.distance[part.slices]
    if not view.size:
        return
    x, y, z = (axis - np.float32(c) for axis, c in zip(part.axes, center, strict=True))
    beyond = x * np.float32(opening[0]) + y * np.float32(opening[1]) + z * np.float32(opening[2])
    shell = ellipsoid(part.axes, center - opening * 3, (outer,) * 3)
    np.minimum(view, smooth_max(shell, np.asarray(beyond - np.float32(7)), 4.0), out=view)
    hollow = ellipsoid(part.axes, center, (inner,) * 3)
    np.maximum(view, -hollow, out=view)


def _paint_symphysis(canvas: Canvas) -> None:
    canvas.part = ""
    block = canvas.block((4, -74, -392), (16, -46, -344))
    if min(block.shape_zyx):
        canvas.paint(block, ellipsoid(block.axes, (10, -60, -370), (3.5, 9, 19)), 95.0)


JOINT = (
    ((51, 42, -262), (50, 50, -280), (46, 60, -300)),
    ((42, 72, -264), (42, 76, -282), (41, 80, -300)),
)
"""Front and back edge of the sacroiliac joint [mm]."""


def _paint_sacroiliac_joint(canvas: Canvas, build: Build, side: int) -> None:
    """A thin layer of cartilage between sacrum and hip bone."""
    canvas.part = ""
    front, back = (_placed(edge, side, build) for edge in JOINT)
    joint = canvas.union_around(np.vstack([front, back]), 6.0)
    if joint.distance.size:
        joint.sheet(front, back, 1.1)
        joint.fill((0.0, 80.0))


def _paint_femur(canvas: Canvas, build: Build, side: int) -> None:
    canvas.part = f"femur_{side_name(side)}"
    course = _placed(SHAFT, side, build)
    center = _placed([HEAD], side, build)[0]
    bone = canvas.union_around(np.vstack([course[:, :3], center]), 40.0)
    if not bone.distance.size:
        return
    bone.ellipsoid(center, (HEAD_MM,) * 3)
    neck = np.array([center, center + np.array([side * 20, 5, -13]), course[0, :3]])
    bone.tube(neck, (17, 15.5, 17.5))
    bone.tube(course[:, :3], course[:, 3])
    trochanter = _placed([(135, 16, -353), (118, 24, -402)], side, build)
    bone.ellipsoid(trochanter[0], (14.5, 18, 21))
    bone.segment((*trochanter[0], 13.0), (*course[1, :3], 16.0))
    bone.ellipsoid(trochanter[1], (9, 10, 13))
    bone.fill((0.0, CORTEX_HU), (1.7, 230.0), mottle_hu=70)
    _paint_trabeculae(canvas, center, course, side)
    hollow = canvas.union_around(course[2:], 20.0)
    if hollow.distance.size:
        wall = np.interp(course[2:, 2], (-470, -400), (6.5, 3.0))
        hollow.tube(course[2:, :3], course[2:, 3] - wall)
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
    "anterior superior iliac spine": CREST[0][:3],
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

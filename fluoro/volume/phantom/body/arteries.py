"""Great vessels of the body, from the head to the groins, with their radii.

Radii: aorta 15 to 8 mm (Wolak et al., JACC Imaging 1 (2008) 200), carotids 3.2, renals 2.8, common
iliacs 4.8, coronaries 2.2 to 0.7 mm (Dodge et al., Circulation 86 (1992) 232).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fluoro.volume.phantom.body.chest import PULMONARY_ARTERIES, lung_distance
from fluoro.volume.phantom.canvas import Canvas
from fluoro.volume.phantom.lungs import tree_branches
from fluoro.volume.phantom.shapes import smooth_path
from fluoro.volume.phantom.vessels import Tube, coronary_tubes, course_tubes, joined_tubes

__all__ = ["ARTERIES", "VEINS", "artery_landmarks", "body_tubes", "paint_vessels"]

BLOOD_HU, GULLET_HU = 46.0, 30.0

Course = tuple[tuple[float, float, float, float], ...]

ARTERIES: dict[str, Course] = {
    "aorta": (
        (3, -26, 14, 15), (-10, -38, 30, 16), (-16, -36, 45, 15.5), (-14, -32, 62, 15),
        (-8, -18, 80, 14), (3, 0, 89, 14), (16, 20, 85, 14), (18, 38, 68, 13), (15, 49, 45, 12),
        (11, 51, 20, 11.5), (7, 46, -4, 11.5), (8, 35, -32, 11), (13, 18, -62, 11),
        (17, 4, -92, 10.5), (18, -8, -122, 10), (20, -17, -150, 9), (18, -21, -175, 8.5),
        (14, -18, -196, 8.5),
    ),
    "brachiocephalic_trunk": ((-8, -20, 82, 6.5), (-16, -30, 103, 6), (-26, -22, 122, 5.5)),
    "common_carotid_artery_right": (
        (-26, -22, 122, 3.6), (-36, -26, 144, 3.4), (-41, -30, 190, 3.2), (-42, -30, 215, 3.6)),
    "internal_carotid_artery_right": (
        (-42, -30, 215, 3.2), (-43, -24, 250, 2.6), (-36, -28, 278, 2.4), (-26, -42, 294, 2.2)),
    "subclavian_artery_right": (
        (-26, -22, 122, 4.5), (-50, -12, 136, 4.3), (-90, -14, 126, 4), (-116, 8, 105, 3.6)),
    "common_carotid_artery_left": (
        (-1, -6, 92, 3.8), (0, -17, 125, 3.6), (8, -20, 150, 3.4), (10, -28, 190, 3.2),
        (12, -30, 215, 3.6)),
    "internal_carotid_artery_left": (
        (12, -30, 215, 3.2), (14, -24, 250, 2.6), (8, -28, 278, 2.4), (-2, -42, 294, 2.2)),
    "subclavian_artery_left": (
        (4, 10, 92, 5), (14, -4, 120, 4.6), (36, -8, 136, 4.3), (66, -12, 126, 4),
        (84, 8, 105, 3.6)),
    "celiac_trunk": ((17, -2, -93, 3.4), (16, -22, -97, 3.2), (-6, -30, -100, 2.6),
                     (-30, -36, -96, 2.2)),
    "splenic_artery": ((16, -22, -97, 2.6), (40, -10, -92, 2.4), (70, 12, -84, 2.2)),
    "superior_mesenteric_artery": (
        (18, -6, -106, 3.4), (19, -28, -125, 3.2), (14, -36, -165, 2.8), (0, -36, -205, 2)),
    "renal_artery_left": ((19, -8, -120, 2.9), (42, 4, -126, 2.7), (64, 16, -130, 2.3)),
    "renal_artery_right": ((18, -8, -122, 2.9), (-8, 4, -128, 2.7), (-44, 12, -136, 2.3)),
    "iliac_artery_left": (
        (14, -18, -196, 5), (30, -6, -226, 4.8), (54, 10, -262, 4.4), (76, -22, -310, 4.2),
        (86, -48, -350, 4.2), (90, -44, -400, 4), (88, -30, -520, 3.6), (86, -18, -640, 3.2)),
    "iliac_artery_right": (
        (14, -18, -196, 5), (-6, -6, -226, 4.8), (-34, 10, -262, 4.4), (-56, -22, -310, 4.2),
        (-66, -48, -350, 4.2), (-70, -44, -400, 4), (-68, -30, -520, 3.6), (-66, -18, -640, 3.2)),
    "internal_iliac_artery_left": (
        (54, 10, -262, 3.6), (56, 40, -290, 3), (50, 58, -325, 2.4)),
    "internal_iliac_artery_right": (
        (-34, 10, -262, 3.6), (-36, 40, -290, 3), (-30, 58, -325, 2.4)),
}  # fmt: skip
"""Course (x, y, z) and radius of each artery [mm], the aorta first, each after its parent."""

VEINS: dict[str, Course] = {
    "superior_vena_cava": (
        (-24, -19, 10, 10), (-32, -14, 50, 9.5), (-32, -20, 78, 9), (-34, -27, 96, 8)),
    "brachiocephalic_vein_right": ((-34, -27, 96, 7), (-37, -29, 112, 7), (-45, -26, 130, 6.5)),
    "brachiocephalic_vein_left": (
        (-34, -27, 94, 7), (-10, -36, 104, 7), (12, -32, 118, 6.5), (34, -20, 132, 6)),
    "inferior_vena_cava": (
        (-10, -10, -20, 11), (-14, -7, -50, 11), (-19, -12, -90, 11), (-17, -10, -130, 10.5),
        (-12, -12, -190, 10), (-6, -4, -212, 9)),
    "iliac_vena_left": ((-6, -4, -212, 6), (30, 12, -250, 6), (74, -12, -318, 5.5),
                        (78, -36, -400, 5)),
    "iliac_vena_right": ((-6, -4, -212, 6), (-28, 12, -250, 6), (-52, -12, -318, 5.5),
                         (-58, -36, -400, 5)),
    "pulmonary_vein": ((4, 12, 22, 9), (-20, 12, 20, 8), (-38, 12, 18, 6.5)),
    "pulmonary_vein_left": ((4, 12, 22, 9), (18, 18, 22, 8), (30, 20, 20, 6.5)),
    "portal_vein_and_splenic_vein": (
        (72, 8, -84, 4), (30, -8, -92, 5), (-6, -26, -102, 6), (-34, -32, -84, 5.5)),
}  # fmt: skip

PULMONARY: dict[str, Course] = {
    "pulmonary_trunk": ((20, -54, 16, 14), (22, -44, 36, 14), (16, -24, 50, 12.5)),
    "pulmonary_artery_right": (
        (16, -24, 50, 11.5),
        (-14, -8, 48, 10.5),
        (-40, -1, 45, 9),
        (-50, 6, 28, 7.5),
        (-54, 14, 4, 5.5),
        (-56, 20, -18, 4),
    ),
    "pulmonary_artery_left": (
        (16, -24, 50, 11.5),
        (24, 2, 57, 10.5),
        (33, 17, 50, 9),
        (39, 24, 30, 7.5),
        (44, 28, 6, 5.5),
        (48, 32, -14, 4),
    ),
}
GULLET = (
    (-14, -10, 195, 6.5), (-13, -5, 130, 7), (-9, 3, 105, 7.5), (-5, 20, 70, 8), (3, 33, 30, 8),
    (4, 27, -10, 8), (10, 10, -32, 8), (24, -6, -52, 8), (38, -12, -64, 8),
)  # fmt: skip

RIGHT_CORONARY = (
    (-6, -34, 20, 2.1), (-18, -48, 16, 2.0), (-32, -48, 4, 1.9), (-38, -36, -12, 1.8),
    (-32, -16, -26, 1.6), (-10, -2, -32, 1.4), (10, -10, -38, 1.1), (36, -26, -41, 0.7),
)  # fmt: skip
"""Round the groove between right atrium and ventricle, then under the septum."""


def paint_vessels(canvas: Canvas) -> None:
    """Gullet, veins, pulmonary arteries, then arteries; blood of one density."""
    _paint(canvas, {"esophagus": GULLET}, GULLET_HU)
    _paint(canvas, VEINS | PULMONARY | ARTERIES, BLOOD_HU)


def _paint(canvas: Canvas, courses: dict[str, Course], hu: float) -> None:
    for name, course in courses.items():
        points = np.array(course, float)
        canvas.part = name.removesuffix("_left") if name.startswith("pulmonary_vein") else name
        drawn = canvas.union_around(points, 20.0)
        if drawn.distance.size:
            drawn.tube(points[:, :3], points[:, 3])
            drawn.fill((0.0, hu))


def body_tubes(tree: str) -> list[Tube]:
    """Return the pieces of a tree that contrast runs through, those nearer to the injection first.

    Args:
        tree: `aorta` with its branches to the head and the groins, `pulmonary`, or `coronary`, both
            of them.
    """
    if tree == "coronary":
        right = list(course_tubes(np.array(RIGHT_CORONARY, float), 0.0))
        return [*coronary_tubes(), *right]
    if tree == "aorta":
        return _joined(ARTERIES)
    tubes = _joined(PULMONARY)
    for branches in PULMONARY_ARTERIES:
        reached: dict[tuple[float, ...], float] = {}
        for start, points in tree_branches(branches, lung_distance):
            if start in reached:
                new = list(course_tubes(points, reached[start]))
            else:
                new = list(joined_tubes(points, tubes))
            tubes += new
            reached[tuple(points[-1, :3])] = new[-1].travel_mm[1]
    return tubes


def _joined(courses: dict[str, Course]) -> list[Tube]:
    first, *others = (np.array(course, float) for course in courses.values())
    tubes = list(course_tubes(first, 0.0))
    for points in others:
        tubes += joined_tubes(points, tubes)
    return tubes


def scaled_tubes(tubes: list[Tube], scale: float) -> list[Tube]:
    """Return tubes of a body that is larger or smaller than the drawn one."""
    return [
        replace(
            tube,
            ends=np.asarray(tube.ends * scale),
            travel_mm=(tube.travel_mm[0] * scale, tube.travel_mm[1] * scale),
        )
        for tube in tubes
    ]


def artery_landmarks() -> dict[str, tuple[float, float, float]]:
    """Return where arteries begin and divide [mm]."""
    points: dict[str, tuple[float, ...]] = {
        "aortic root": ARTERIES["aorta"][0],
        "aortic arch": max(ARTERIES["aorta"], key=lambda point: point[2]),
        "aortic bifurcation": ARTERIES["aorta"][-1],
        "pulmonary bifurcation": PULMONARY["pulmonary_trunk"][-1],
    }
    for side in ("left", "right"):
        points[f"carotid bifurcation {side}"] = ARTERIES[f"common_carotid_artery_{side}"][-1]
        points[f"renal artery ostium {side}"] = ARTERIES[f"renal_artery_{side}"][0]
    for name, course in (VEINS | PULMONARY | ARTERIES | {"esophagus": GULLET}).items():
        points[f"middle of {name.replace('_', ' ')}"] = _middle(course)
    return {name: _point(np.array(point)) for name, point in points.items()}


def _middle(course: Course) -> tuple[float, ...]:
    """The point half way along a vessel."""
    path = smooth_path(course, 1.0)
    return tuple(path[len(path) // 2].tolist())


def _point(values: NDArray[np.float64]) -> tuple[float, float, float]:
    x, y, z = values[:3].tolist()
    return x, y, z

"""The rib cage of the body: ribs, costal cartilages, breastbone.

Midlines are those of the chest CT; sections are 6 to 8 mm by 11 to 14 mm with a cortex of about
1 mm (Mohr et al., J. Biomech. 40 (2007) 1369).
"""

from __future__ import annotations

import numpy as np

from fluoro.volume.phantom.body.build import Build
from fluoro.volume.phantom.body.spine import VERTEBRAE, Vertebra, vertebrae_of
from fluoro.volume.phantom.body.tables import MIDDLE_XY_MM, rib_midline, side_name
from fluoro.volume.phantom.canvas import Canvas, Union
from fluoro.volume.phantom.shapes import Points, smooth_path

__all__ = ["cage_landmarks", "paint_ribs", "paint_sternum", "rib_path"]

RIB_CORTEX_HU, RIB_MARROW_HU, CARTILAGE_HU = 1400.0, 110.0, 105.0
CALCIFIED_HU, RIM_HU = 480.0, 270.0
"""Rims of the costal cartilages: an adult's calcify at their edges, the first one most (McCormick,
Skeletal Radiol. 9 (1983) 161)."""
STEP_MM = 4.0
STERNUM = (
    (-13, -52, 126, 5.5, 11), (-12, -55, 119, 6.5, 20), (-12, -60, 109, 7, 27),
    (-11, -66, 90, 6, 18), (-11, -70, 80, 5.5, 17),
    (-9, -75, 55, 5.5, 18), (-6, -80, 22, 5.5, 20), (-4, -85, -8, 5, 18), (-3, -86, -18, 4, 9),
    (-2, -86, -34, 3, 6),
)  # fmt: skip
"""Breastbone from the notch down: x, y, z, half thickness, half width [mm]."""
_JOINT_Z_MM = {1: 112, 2: 84, 3: 62, 4: 42, 5: 24, 6: 8, 7: -6}


def rib_path(number: int, side: int, vertebrae: tuple[Vertebra, ...] = VERTEBRAE) -> Points:
    """Return the midline of a rib from its head at the vertebra to the front [mm], shape (n, 3)."""
    vertebra = next(each for each in vertebrae if each.name == f"T{number}")
    rise = 0.32 if 2 <= number <= 10 else 0.1
    head = vertebra.at(
        side * (vertebra.half_width_mm + 3.8), vertebra.half_depth_mm * 0.75,
        vertebra.height_mm * rise,
    )  # fmt: skip
    tubercle = vertebra.at(
        side * (vertebra.transverse_mm + 3), vertebra.half_depth_mm + 12, vertebra.height_mm * 0.2
    )
    shaft = rib_midline(number, side) if number > 1 else _first_midline(side)
    start = [head] if number > 10 else [head, tubercle]
    far = side * (shaft[:, 0] - start[-1][0]) > 9.0
    far[len(far) // 2 :] = True
    return smooth_path(np.vstack([*start, shaft[far]]), STEP_MM)


def _first_midline(side: int) -> Points:
    """The first rib, a quarter of the way to the other one's mirror image.

    The CT's differ by up to 15 mm in height, and the right one turns sharply.
    """
    own, other = rib_midline(1, side), rib_midline(1, -side)
    twice_middle_x = (own[:, 0] + other[:, 0]).mean()
    other[:, 0] = twice_middle_x - other[:, 0]
    return np.asarray(0.75 * own + 0.25 * other)


def _outward(path: Points, number: int, side: int) -> Points:
    """Normals of the flat face: away from the lung; the first rib lies flat, facing up."""
    if number == 1:
        return np.tile((side * 0.35, -0.3, 1.0), (len(path), 1))
    normals = path - (MIDDLE_XY_MM[0] + side * 25, MIDDLE_XY_MM[1], 0.0)
    normals[:, 2] = np.linalg.norm(normals[:, :2], axis=1) * np.interp(number, (2, 5), (0.8, 0.15))
    return np.asarray(normals / np.linalg.norm(normals, axis=1, keepdims=True))


def _half_sizes(number: int, count: int) -> Points:
    """Half thickness and half height along a rib [mm]: slender at the neck, wide in front."""
    height = 5.2 if number > 10 else min(5.0 + 0.35 * number, 6.6)
    at = np.linspace(0, 1, count)
    growth = np.interp(at, (0, 0.05, 0.12, 0.3, 0.9, 1.0), (0.8, 0.62, 0.9, 1.0, 1.05, 1.2))
    thick = np.interp(at, (0, 0.03, 0.2, 1.0), (2.6, 3.4, 3.6, 3.1))
    return np.column_stack([thick, height * growth])


def paint_ribs(canvas: Canvas, build: Build) -> None:
    """Costal cartilages, then the ribs: a cortical shell around marrow."""
    pairs = [(number, side) for number in range(1, 13) for side in (-1, 1)]
    canvas.part = "costal_cartilages"
    for number, side in pairs:
        if number <= 10:
            _paint_cartilage(canvas, number, side)
    for number, side in pairs:
        canvas.part = f"rib_{side_name(side)}_{number}"
        path = rib_path(number, side, vertebrae_of(build))
        half = _half_sizes(number, len(path)) * build.robustness
        bone = canvas.union_around(path, 12.0)
        if bone.distance.size:
            outward = _outward(path, number, side)
            bone.ribbon(path, outward, half)
            _round_end(bone, path, outward[-1], half[-1])
            bone.fill((0.0, RIB_CORTEX_HU), (0.9, RIB_MARROW_HU), mottle_hu=40)


def _round_end(bone: Union, path: Points, outward: Points, half: Points) -> None:
    """Half a disc on the front end, which is cut square."""
    ahead = path[-1] - path[-2]
    ahead /= np.linalg.norm(ahead)
    flat = outward - np.dot(outward, ahead) * ahead
    flat /= np.linalg.norm(flat)
    frame = np.array([flat, np.cross(ahead, flat), ahead])
    bone.ellipsoid(path[-1], (half[0], half[1], half[1]), frame)


def _paint_cartilage(canvas: Canvas, number: int, side: int) -> None:
    path = _cartilage_path(number, side)
    cartilage = canvas.union_around(path, 12.0)
    if cartilage.distance.size:
        cartilage.ribbon(path, _outward(path, 9, side), (4.0, 6.0))
        rim = CALCIFIED_HU if number == 1 else RIM_HU
        cartilage.fill((0.0, rim), (1.4, CARTILAGE_HU), mottle_hu=25)


def _cartilage_path(number: int, side: int) -> Points:
    """From the rib's end to the breastbone, or to the cartilage above [mm], shape (n, 3)."""
    end = rib_path(number, side)[-1]
    if number in _JOINT_Z_MM:
        joint, reach = float(_JOINT_Z_MM[number]), 20.0 if number > 1 else 24.0
    else:
        joint, reach = end[2] + 30.0, 36.0 + 9 * (number - 8)
    sternum = np.array(STERNUM)[::-1]
    x, y = (float(np.interp(joint, sternum[:, 2], sternum[:, i])) for i in (0, 1))
    goal = np.array([x + side * reach, y + (6 if reach > 30 else 1), joint])
    middle = (end + goal) / 2 + (side * 5, -7, -0.16 * (goal[2] - end[2]) - 3)
    return smooth_path([end, middle, goal], STEP_MM)


SEAMS_MM = (84.0, -19.0)
"""Heights of the joints between manubrium, body and xiphoid process."""
SEAM_MM = 1.6
"""From each joint to the bone on both sides."""


def paint_sternum(canvas: Canvas) -> None:
    """Manubrium, body with notches for the cartilages, xiphoid process; joints between them."""
    path = smooth_path(STERNUM, STEP_MM)
    canvas.part = "sternum"
    bone = canvas.union_around(path, 30.0)
    if not bone.distance.size:
        return
    waves = 1 + 0.07 * np.cos((path[:, 2] - 84) * 2 * np.pi / 19.5) * (path[:, 2] < 84)
    path[:, 4] *= waves
    forward = np.tile((0.0, -1.0, -0.2), (len(path), 1))
    bone.ribbon(path[:, :3], forward, path[:, 3:])
    z = bone.block.axes[2]
    for seam in SEAMS_MM:
        np.maximum(bone.distance, np.float32(SEAM_MM) - np.abs(z - np.float32(seam)),
                   out=bone.distance)  # fmt: skip
    bone.fill((0.0, 850.0), (1.1, 130.0), mottle_hu=35)


def cage_landmarks() -> dict[str, tuple[float, float, float]]:
    """Return the front ends of the ribs, the notch and the tip of the breastbone [mm]."""
    points = {
        f"front end of rib {number} {side_name(side)}": rib_path(number, side)[-1].tolist()
        for number in range(1, 13)
        for side in (-1, 1)
    }
    for number in range(1, 11):
        for side in (-1, 1):
            path = _cartilage_path(number, side)
            points[f"cartilage of rib {number} {side_name(side)}"] = path[len(path) // 2].tolist()
    points["jugular notch"], points["xiphoid"] = list(STERNUM[0][:3]), list(STERNUM[-1][:3])
    return {name: (float(x), float(y), float(z)) for name, (x, y, z) in points.items()}

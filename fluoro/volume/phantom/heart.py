"""Heart, great vessels, gullet and windpipe of the thorax phantom."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fluoro.volume.phantom.canvas import Canvas
from fluoro.volume.phantom.shapes import Axes, Field, ellipsoid, smooth_max, smooth_min
from fluoro.volume.phantom.trunk import dome_distance

__all__ = [
    "AIRWAYS",
    "CHAMBERS",
    "GREAT_VESSELS",
    "heart_distance",
    "paint_airways",
    "paint_great_vessels",
    "paint_heart",
    "unit_frame",
]

BLOOD_HU, EPICARDIAL_HU, GULLET_HU = 45.0, -70.0, 30.0
AIRWAY_WALL_HU, AIRWAY_WALL_MM, AIR_HU = 40.0, 1.6, -1000.0

CHAMBERS = (
    ((40, -26, -12), (60, 41, 35), (0.74, -0.40, -0.54)),
    ((19, -42, -10), (50, 32, 31), (0.80, -0.25, -0.42)),
    ((-12, -20, 4), (23, 30, 36), (0.0, 0.1, 1.0)),
    ((4, 8, 22), (36, 22, 22), (1.0, 0.0, 0.1)),
    ((32, -16, 26), (16, 20, 20), (1.0, 0.0, 0.0)),
)
"""Left and right ventricle, right and left atrium, its auricle.

Centre, radii [mm], direction of the first radius."""

GREAT_VESSELS = {
    "aorta": (
        (4, -22, 18, 15), (-12, -37, 45, 16), (-12, -35, 68, 15.5), (-3, -22, 86, 14.5),
        (12, 2, 93, 14), (27, 24, 86, 13.5), (28, 40, 66, 12.5), (26, 45, 40, 12), (23, 43, 0, 12),
        (17, 36, -40, 11.5), (10, 21, -80, 11), (4, 3, -120, 10.5), (2, -11, -160, 10),
        (2, -19, -195, 9.5),
    ),
    "pulmonary trunk": ((20, -54, 16, 14), (27, -42, 40, 14), (23, -20, 54, 12.5)),
    "right pulmonary artery": ((23, -20, 54, 11.5), (-8, -9, 50, 10.5), (-36, -4, 46, 9.5)),
    "left pulmonary artery": ((23, -20, 54, 11.5), (34, 4, 59, 11), (42, 18, 50, 9)),
    "superior vena cava": (
        (-28, -20, 10, 10), (-29, -25, 60, 9.5), (-31, -30, 95, 9), (-36, -29, 114, 8),
        (-50, -26, 130, 6.5),
    ),
    "left brachiocephalic vein": ((-30, -32, 98, 7), (0, -40, 106, 7), (48, -26, 130, 6.5)),
    "inferior vena cava": ((-24, -12, -5, 11), (-20, -10, -50, 11), (-17, -6, -195, 10.5)),
    "brachiocephalic trunk": (
        (-4, -24, 90, 7), (-16, -22, 112, 6.5), (-28, -18, 134, 4.5), (-28, -12, 195, 3.5),
    ),
    "left carotid artery": ((3, -14, 96, 4.5), (10, -14, 124, 4), (26, -12, 195, 3.5)),
    "left subclavian artery": (
        (15, 4, 96, 5.5), (24, 2, 122, 5), (48, -8, 138, 4.5), (84, -14, 138, 4),
    ),
    "right subclavian artery": ((-26, -18, 130, 4.5), (-48, -8, 138, 4.5), (-84, -14, 138, 4)),
    "right lower pulmonary vein": ((0, 12, 20, 10), (-36, 14, 18, 7.5)),
    "left lower pulmonary vein": ((4, 12, 22, 10), (38, 18, 20, 7.5)),
}  # fmt: skip
"""Course (x, y, z) and radius [mm]."""

VESSEL_PARTS = {
    "superior_vena_cava": ("superior vena cava",),
    "inferior_vena_cava": ("inferior vena cava",),
    "brachiocephalic_vein_left": ("left brachiocephalic vein",),
    "brachiocephalic_trunk": ("brachiocephalic trunk",),
    "common_carotid_artery_left": ("left carotid artery",),
    "subclavian_artery_left": ("left subclavian artery",),
    "subclavian_artery_right": ("right subclavian artery",),
    "pulmonary_vein": ("right lower pulmonary vein", "left lower pulmonary vein"),
    "aorta": ("aorta",),
}
"""Courses by the name that TotalSegmentator has for the vessel; later ones lie over earlier."""

GULLET = ((2, -4, 195, 7), (2, 4, 140, 7), (4, 28, 86, 8), (4, 34, 40, 8), (6, 30, -10, 8),
          (16, 8, -50, 8), (34, -8, -62, 8))  # fmt: skip
AIRWAYS = (
    ((0, -26, 195, 9), (0, -18, 150, 9.5), (-1, -6, 118, 9.5), (-4, 6, 90, 9.5), (-6, 14, 64, 10)),
    ((-6, 14, 64, 9), (-22, 18, 50, 8.6), (-36, 22, 34, 7.6)),
    ((-6, 14, 64, 8), (14, 20, 50, 7.6), (34, 24, 38, 7)),
)  # fmt: skip
"""Windpipe, right and left main bronchus: course and outer radius [mm]."""


def unit_frame(direction: tuple[float, float, float]) -> NDArray[np.float64]:
    """Rows: `direction` and two unit vectors at right angles to it."""
    first = np.asarray(direction) / np.linalg.norm(direction)
    second = np.cross(first, (0.0, 0.0, 1.0) if abs(first[2]) < 0.9 else (1.0, 0.0, 0.0))
    second /= np.linalg.norm(second)
    return np.array([first, second, np.cross(first, second)])


def heart_distance(axes: Axes) -> Field:
    """Return the distance to the surface of the heart [mm]."""
    chambers = [ellipsoid(axes, c, r, unit_frame(d)) for c, r, d in CHAMBERS]
    ventricles = smooth_min(chambers[0], chambers[1], 12.0)
    atria = smooth_min(chambers[2], chambers[3], 8.0)
    atria = smooth_min(atria, chambers[4], 10.0)
    return smooth_max(smooth_min(ventricles, atria, 14.0), -dome_distance(axes), 6.0)


def paint_heart(canvas: Canvas) -> None:
    """The heart, left of the midline, in a thin coat of fat; it rests on the diaphragm."""
    block = canvas.block((-80, -95, -65), (112, 50, 75))
    distance = heart_distance(block.axes)
    canvas.paint(block, distance - 3.0, EPICARDIAL_HU)
    canvas.part = "heart"
    canvas.paint(block, distance, BLOOD_HU)


def paint_great_vessels(canvas: Canvas) -> None:
    """Aorta with its arch, pulmonary arteries, caval veins, vessels of the neck; the gullet."""
    low, high = (-90, -80, -200), (90, 60, 200)
    canvas.part = "esophagus"
    gullet = canvas.union((-10, -30, -75), (50, 50, 200))
    gullet.tube(np.array(GULLET)[:, :3], np.array(GULLET)[:, 3])
    gullet.fill((0.0, GULLET_HU))
    vessels = canvas.union(low, high)
    for course in GREAT_VESSELS.values():
        points = np.array(course, float)
        vessels.tube(points[:, :3], points[:, 3])
    canvas.part = ""
    vessels.fill((0.0, BLOOD_HU))
    _note_vessels(canvas)


def _note_vessels(canvas: Canvas) -> None:
    """Notes which vessel is where; they are painted as one, without seams."""
    if canvas.part_zyx is None:
        return
    for name, courses in VESSEL_PARTS.items():
        canvas.part = name
        drawn = canvas.union((-90, -80, -200), (90, 60, 200))
        for course in courses:
            points = np.array(GREAT_VESSELS[course], float)
            drawn.tube(points[:, :3], points[:, 3])
        drawn.note()


def paint_airways(canvas: Canvas) -> None:
    """Windpipe and main bronchi: a wall around air."""
    canvas.part = "trachea"
    airways = canvas.union((-50, -50, 10), (50, 50, 200))
    for course in AIRWAYS:
        points = np.array(course, float)
        airways.tube(points[:, :3], points[:, 3])
    airways.fill((0.0, AIRWAY_WALL_HU), (AIRWAY_WALL_MM, AIR_HU))

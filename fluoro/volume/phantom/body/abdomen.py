"""Belly: fat with bowel, liver, spleen, stomach, kidneys, pancreas, colon with gas, bladder."""

from __future__ import annotations

import itertools

import numpy as np

from fluoro.volume.phantom.body.chest import diaphragm_distance
from fluoro.volume.phantom.body.tables import pleura, side_name
from fluoro.volume.phantom.canvas import Block, Canvas, Union
from fluoro.volume.phantom.shapes import (
    Axes,
    Field,
    Points,
    Vector3,
    ellipsoid,
    on_lattice,
    smooth_max,
    smooth_min,
    smooth_noise,
    smooth_path,
)

__all__ = ["abdomen_landmarks", "paint_abdomen"]

VISCERAL_FAT_HU, BOWEL_HU, GAS_HU = -98.0, 34.0, -985.0
BELLY_BOX = ((-150, -125, -405), (165, 110, 30))
DIAPHRAGM_MM = 3.0

ORGANS: tuple[tuple[str, Vector3, Vector3, float], ...] = (
    ("liver", (-62, -12, -78), (62, 80, 76), 58.0),
    ("liver", (-48, -8, -120), (52, 58, 42), 58.0),
    ("liver", (12, -50, -64), (66, 42, 34), 58.0),
    ("gallbladder", (-46, -56, -128), (14, 18, 26), 12.0),
    ("spleen", (84, 30, -64), (30, 38, 34), 52.0),
    ("stomach", (44, -42, -92), (38, 40, 48), 32.0),
    ("stomach", (20, -62, -130), (42, 24, 26), 32.0),
    ("pancreas", (20, -28, -112), (58, 11, 13), 40.0),
    ("duodenum", (-26, -32, -136), (18, 15, 34), 30.0),
    ("adrenal_gland_left", (43, 6, -96), (5, 12, 12), 30.0),
    ("adrenal_gland_right", (-27, 5, -92), (6, 14, 8), 30.0),
)
"""Name, centre, radii [mm], CT number, in painting order; centres of the chest CT."""

GAS: tuple[tuple[str, Vector3, Vector3], ...] = (
    ("stomach", (48, -66, -76), (24, 15, 17)),
    ("stomach", (62, -58, -66), (16, 14, 12)),
    ("small_bowel", (20, -72, -176), (15, 8, 9)),
    ("small_bowel", (48, -62, -215), (8, 6, 13)),
    ("small_bowel", (-28, -70, -232), (12, 7, 7)),
    ("colon", (12, 62, -352), (11, 9, 17)),
)
"""Bubbles: organ, centre, radii [mm]."""

COLON = (
    (-74, 4, -276, 24), (-84, 6, -244, 26), (-92, 10, -205, 25), (-98, 2, -165, 23),
    (-86, -42, -140, 22), (-60, -76, -136, 21), (-20, -92, -150, 20), (30, -92, -146, 20),
    (76, -76, -112, 20), (104, -30, -78, 20), (112, 12, -88, 18), (112, 28, -140, 17),
    (108, 26, -200, 16), (98, 16, -250, 15), (74, -4, -282, 15), (40, 4, -296, 15),
    (14, 26, -304, 15), (12, 52, -330, 17), (11, 58, -365, 15),
)  # fmt: skip
"""From the caecum to the rectum: x, y, z, radius [mm]."""
HAUSTRUM_MM, FOLD_MM, FOLD_DEPTH = 24.0, 3.5, 0.36
"""Of the colon: between two folds, half width of a fold, and its share of the radius."""
FILLINGS = (
    (0.02, 0.16, "stool"), (0.25, 0.34, "gas"), (0.38, 0.45, "gas"), (0.49, 0.58, "gas"),
    (0.62, 0.70, "stool"), (0.74, 0.80, "gas"), (0.86, 0.90, "gas"), (0.92, 0.97, "stool"),
)  # fmt: skip
"""Parts of the colon's length, and what is in them."""
KIDNEYS = {1: (80, 27, -136), -1: (-66, 22, -144)}
PSOAS = ((28, 24, -95, 9), (40, 18, -140, 15), (50, 10, -200, 19), (62, 2, -260, 19),
         (80, -22, -330, 15), (98, 10, -402, 9))  # fmt: skip
BLADDER = ((10, -32, -345), (38, 32, 26))
BOWEL = (
    (-50, -50, -190), (-20, -60, -205), (30, -58, -195), (62, -40, -190), (40, -70, -225),
    (-10, -72, -240), (-52, -60, -240), (-36, -30, -225), (20, -40, -250), (60, -50, -250),
    (30, -62, -278), (-16, -50, -276), (-48, -40, -272), (-10, -24, -300), (44, -30, -296),
)  # fmt: skip


def belly_distance(axes: Axes) -> Field:
    """Return the distance to the peritoneum [mm]: the belly's wall, diaphragm, floor."""
    wall = pleura().distance(axes)
    z = axes[2]
    pelvis = ellipsoid(axes, (10, -6, -270), (118, 92, 140))
    upper = smooth_max(wall + 2, -z - np.float32(190), 12.0)
    inside = smooth_min(upper, pelvis, 25.0)
    return smooth_max(inside, np.asarray(diaphragm_distance(axes)), 6.0)


def _fat_texture(axes: Axes) -> Field:
    return smooth_noise(axes, 14.0, seed=2)


def paint_abdomen(canvas: Canvas) -> None:
    """The belly's organs, within the muscles that enclose them."""
    block = canvas.block(*BELLY_BOX)
    if not min(block.shape_zyx):
        return
    belly = on_lattice(block.axes, belly_distance)
    canvas.part = ""
    canvas.paint(block, belly, 50.0)
    belly = belly + np.float32(DIAPHRAGM_MM)
    fat = VISCERAL_FAT_HU + 8 * on_lattice(block.axes, _fat_texture)
    canvas.paint(block, belly, fat)
    _paint_psoas(canvas)
    _paint_bowel(canvas)
    for name, center, radii, hu in ORGANS:
        _paint_organ(canvas, block, belly, name, (center, radii), hu)
    for side in (-1, 1):
        _paint_kidney(canvas, side)
    _paint_colon(canvas)
    for name, center, radii in GAS:
        _paint_bubble(canvas, name, center, radii)
    canvas.part = "urinary_bladder"
    around = canvas.block(np.subtract(BLADDER[0], 45), np.add(BLADDER[0], 45))
    shape = ellipsoid(around.axes, *BLADDER)
    canvas.paint(around, shape, 40.0)
    canvas.paint(around, shape + np.float32(3.5), 8.0)


def _paint_organ(
    canvas: Canvas,
    belly: Block,
    inside: Field,
    name: str,
    organ: tuple[Vector3, Vector3],
    hu: float,
) -> None:
    """An ellipsoid (centre, radii), lumpy, cut by the belly whose distance is given."""
    center, radii = organ
    low, high = np.subtract(center, radii) - 6, np.add(center, radii) + 6
    block, part = canvas.block(low, high), belly.part(low, high)
    if not min(block.shape_zyx):
        return
    shape = ellipsoid(block.axes, center, radii) + 2 * smooth_noise(block.axes, 24.0, seed=3)
    canvas.part = name
    cut = smooth_max(shape, inside[part.slices], 5.0)
    canvas.paint(block, cut, hu + 4 * smooth_noise(block.axes, 6.0, seed=3))


def _paint_bubble(canvas: Canvas, name: str, center: Vector3, radii: Vector3) -> None:
    """Gas of an irregular outline."""
    low, high = np.subtract(center, radii) - 8, np.add(center, radii) + 8
    block = canvas.block(low, high)
    if not min(block.shape_zyx):
        return
    wobble = 2.2 * smooth_noise(block.axes, 9.0, seed=31)
    canvas.part = name
    canvas.paint(block, ellipsoid(block.axes, center, radii) + wobble, GAS_HU)


def _paint_kidney(canvas: Canvas, side: int) -> None:
    """A bean with its sinus of fat, in fat that makes room for itself in the liver."""
    center = np.array(KIDNEYS[side], float)
    block = canvas.block(center - 70, center + 70)
    if not min(block.shape_zyx):
        return
    tilt = np.array([[0.94, -0.25 * side, 0.0], [0.25 * side, 0.94, 0.0], [0.0, 0.0, 1.0]])
    axis = np.array([side * 0.2, 0.12, -0.97])
    frame = np.array([tilt[0], np.cross(axis, tilt[0]), axis])
    frame /= np.linalg.norm(frame, axis=1, keepdims=True)
    canvas.part = ""
    canvas.paint(block, ellipsoid(block.axes, center, (36, 33, 62), frame), -104.0)
    canvas.part = f"kidney_{side_name(side)}"
    kidney = ellipsoid(block.axes, center, (28, 26, 55), frame)
    sinus = ellipsoid(block.axes, center - (side * 19, 4, 0), (16, 10, 22))
    canvas.paint(block, smooth_max(kidney, -sinus, 6.0), 36.0)
    canvas.part = ""


def _paint_psoas(canvas: Canvas) -> None:
    for side in (-1, 1):
        canvas.part = f"iliopsoas_{side_name(side)}"
        points = np.array(PSOAS, float)
        points[:, 0] = 10 + side * (points[:, 0] - 4)
        muscle = canvas.union_around(points, 24.0)
        if muscle.distance.size:
            path = smooth_path(points, 6.0)
            half = np.column_stack([path[:, 3] * 0.95, path[:, 3] * 1.35])
            muscle.ribbon(path[:, :3], np.tile((1.0, 0.0, 0.0), (len(path), 1)), half)
            muscle.fill((0.0, 58.0))


def _paint_bowel(canvas: Canvas) -> None:
    """Loops of small bowel: a winding tube, collapsed or with fluid."""
    canvas.part = "small_bowel"
    path = smooth_path(np.column_stack([np.array(BOWEL, float), np.full(len(BOWEL), 13.0)]), 6.0)
    turn = np.arange(len(path)) * 0.9
    path[:, 0] += 16 * np.sin(turn)
    path[:, 2] += 12 * np.cos(turn * 0.8)
    loops = canvas.union_around(path, 30.0)
    if loops.distance.size:
        _draw(loops, path)
        loops.fill((0.0, BOWEL_HU), (2.0, 22.0), mottle_hu=10)


def _paint_colon(canvas: Canvas) -> None:
    """A wall with haustra around gas, stool and fluid."""
    path = smooth_path(COLON, 3.0)
    along = np.arange(len(path)) * 3.0
    from_fold = (along + HAUSTRUM_MM / 2) % HAUSTRUM_MM - HAUSTRUM_MM / 2
    folds = 1 - FOLD_DEPTH * np.exp(-((from_fold / FOLD_MM) ** 2))
    smooth_end = np.interp(np.linspace(0, 1, len(path)), (0.7, 0.9), (0, 1))
    path[:, 3] *= folds + (1 - folds) * smooth_end
    canvas.part = "colon"
    wall = canvas.union_around(path, 30.0)
    if not wall.distance.size:
        return
    _draw(wall, path)
    wall.fill((0.0, 36.0), (2.0, 25.0))
    for start, stop, kind in FILLINGS:
        piece = path[int(start * len(path)) : int(stop * len(path))].copy()
        piece[:, 3] -= 3.5 + 1.5 * np.sin(np.arange(len(piece)) * 0.7)
        if kind == "gas":
            piece[:, 1] -= 0.12 * piece[:, 3]
            piece[:, 2] += 0.16 * piece[:, 3] * np.sin(np.arange(len(piece)) * 3.0 * np.pi / 24)
            piece[:, 3] *= np.sin(np.linspace(0.4, np.pi - 0.4, len(piece))) ** 0.35
        filling = canvas.union_around(piece, 30.0)
        if filling.distance.size and len(piece) > 1:
            _draw(filling, piece)
            hu, mottle = (GAS_HU, 0.0) if kind == "gas" else (-80.0, 160.0)
            filling.fill((0.0, hu), mottle_hu=mottle)


def _draw(shape: Union, path: Points) -> None:
    for a, b in itertools.pairwise(path):
        shape.segment(a, b)


def abdomen_landmarks() -> dict[str, tuple[float, float, float]]:
    """Return the middles of the belly's organs, the psoas muscles and the kidneys [mm]."""
    points: dict[str, Vector3] = {}
    for name, center, _, _ in ORGANS:
        points.setdefault(f"middle of {name.replace('_', ' ')}", center)
    points["middle of urinary bladder"] = BLADDER[0]
    points["caecum"] = COLON[0][:3]
    points["small bowel"] = BOWEL[1]
    for side in (-1, 1):
        x, y, z = KIDNEYS[side]
        points[f"middle of kidney {side_name(side)}"] = (x + side * 10, y, z)
        x, y, z, _ = PSOAS[2]
        points[f"iliopsoas at L4 {side_name(side)}"] = (10 + side * (x - 4), y, z)
    return {name: (float(x), float(y), float(z)) for name, (x, y, z) in points.items()}

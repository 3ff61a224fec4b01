"""The trunk of the thorax phantom: skin, fat, muscle, rib cage surface, lungs, diaphragm, belly."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fluoro.volume.phantom.canvas import Block, Canvas
from fluoro.volume.phantom.shapes import (
    Axes,
    Field,
    Points,
    Vector3,
    capsule,
    ellipsoid,
    hermite,
    ring_distance,
    smooth_max,
    smooth_min,
    smooth_noise,
)

__all__ = [
    "cage_distance",
    "cage_point",
    "dome_distance",
    "lung_box",
    "lung_distance",
    "lung_part",
    "paint_belly",
    "paint_body",
    "paint_lungs",
]

SKIN_HU, FAT_HU, MUSCLE_HU, LUNG_HU = 20.0, -100.0, 45.0, -862.0
SKIN_MM = 2.0
DIAPHRAGM_MM = 3.0
PLEURA_MM = 6.0
"""Lung surface to the middle of the ribs."""

BODY = np.array([
    (-195, 151, -122, 106), (-160, 150, -122, 106), (-100, 148, -117, 114), (-60, 149, -114, 122),
    (-20, 152, -110, 128), (20, 160, -110, 131), (60, 166, -104, 129), (90, 168, -96, 126),
    (120, 160, -87, 118), (140, 144, -80, 112), (155, 122, -75, 105), (170, 95, -70, 95),
    (185, 70, -66, 84), (200, 64, -64, 80),
], float)  # fmt: skip
"""Outline of the trunk and neck by height: z, half width, front y, back y [mm]."""

CAGE = np.array([
    (-195, 130, -106, 76), (-140, 133, -104, 80), (-100, 133, -101, 87), (-60, 131, -98, 94),
    (-20, 126, -94, 99), (20, 121, -89, 104), (60, 116, -83, 101), (80, 112, -78, 97),
    (100, 105, -68, 89), (120, 94, -46, 80), (132, 85, -30, 72), (142, 76, -16, 66),
    (200, 60, -5, 60),
], float)  # fmt: skip
"""Surface through the middle of the ribs by height: z, half width, front y, back y [mm]."""

DOMES = (
    ((-60.0, -12.0, -92.0), (63.0, 86.0, 90.0)),
    ((61.0, -9.0, -114.0), (63.0, 87.0, 86.0)),
    ((4.0, -30.0, -117.0), (64.0, 66.0, 74.0)),
)
"""Diaphragm: centres and radii of the right dome, the left dome and the central tendon [mm]."""

MEDIASTINUM = np.array([
    (-200, 16, 16, 16, 16), (-60, 12, 12, 10, 16), (-20, 8, 18, 11, 15), (20, 7, 25, 11, 15),
    (50, 7, 26, 13, 15), (80, 7, 23, 20, 15), (100, 14, 24, 20, 16), (120, 24, 26, 22, 18),
    (160, 34, 30, 26, 22),
], float)  # fmt: skip
"""Half width between the lungs by height: z; then at the depths of `MEDIASTINUM_Y_MM`."""
MEDIASTINUM_Y_MM = (-70.0, -8.0, 34.0, 66.0)
"""Behind the breastbone, through the great vessels, through the gullet, beside the spine."""
MEDIASTINUM_LEFT_MM = np.float32(2.5)
"""Its middle lies this far left of the midline: the right lung is the larger."""

RECESS = np.array([(-95, -56), (-60, -72), (0, -92), (50, -114), (75, -118), (110, -104)], float)
"""How far the lungs reach down between diaphragm and wall: y, lowest z [mm]."""


def _ring(table: NDArray[np.float64], x: Field, y: Field, z: Field, power: float) -> Field:
    """Distance to the surface that `table` (z, half width, front, back) describes."""
    height = z.ravel()
    width, front, back = hermite(table[:, 0], table[:, 1:], height).T.astype(np.float32)
    below, above = (hermite(table[:, 0], table[:, 1], height + dz) for dz in (-1.0, 1.0))
    slope = (above - below) / 2
    shape = z.shape
    middle, depth = ((front + back) / 2).reshape(shape), ((back - front) / 2).reshape(shape)
    distance = ring_distance(x, y - middle, width.reshape(shape), depth, power)
    flattening = (1 / np.sqrt(1 + slope**2)).astype(np.float32)
    return np.asarray(distance * flattening.reshape(shape))


def cage_distance(axes: Axes) -> Field:
    """Return the distance to the surface through the middle of the ribs [mm]."""
    return _ring(CAGE, *axes, power=2.4)


def cage_point(angle_deg: ArrayLike, z_mm: ArrayLike) -> Points:
    """Point of that surface on the patient's left: 0 degrees in front, 90 lateral, 180 behind."""
    angle, z = np.radians(angle_deg), np.asarray(z_mm, float)
    width, front, back = hermite(CAGE[:, 0], CAGE[:, 1:], z).T
    u, v = np.sin(angle), -np.cos(angle)
    scale = (np.abs(u / width) ** 2.4 + np.abs(v / ((back - front) / 2)) ** 2.4) ** (-1 / 2.4)
    return np.column_stack([scale * u, scale * v + (front + back) / 2, z])


def _body_distance(axes: Axes) -> Field:
    """Distance to the skin: trunk and neck, joined by the raised arms."""
    distance = _ring(BODY, *axes, power=2.5)
    if axes[2].max() < 40:
        return distance
    for side in (-1, 1):
        arm = capsule(axes, (side * 132, 20, 112), (side * 200, 0, 240), (54.0, 44.0))
        distance = smooth_min(distance, arm, 36.0)
    return distance


def _fat_thickness(x: Field, y: Field) -> Field:
    """Subcutaneous fat [mm]: thinner over the breastbone and the spine than at the flanks."""
    return np.float32(9) + np.float32(6) * np.minimum(np.abs(x) / 120, 1) + 0 * y


def paint_body(canvas: Canvas) -> None:
    """Skin, subcutaneous fat, and muscle marbled with fat down to the rib cage and inside it."""
    for block in canvas.slabs():
        x, y, _ = block.axes
        distance = _body_distance(block.axes)
        marbling = 18 * smooth_noise(block.axes, 9.0, seed=1)
        canvas.paint(block, distance, SKIN_HU)
        canvas.paint(block, distance + SKIN_MM, FAT_HU + marbling * np.float32(0.3))
        inner = np.asarray(distance + SKIN_MM + _fat_thickness(x, y))
        canvas.paint(block, inner, np.asarray(np.minimum(MUSCLE_HU - 10 + marbling, 65)))


def dome_distance(axes: Axes) -> Field:
    """Return the distance to the upper face of the diaphragm [mm], negative below it."""
    domes = [ellipsoid(axes, center, radii) for center, radii in DOMES]
    return smooth_min(smooth_min(domes[0], domes[1], 10.0), domes[2], 22.0)


def paint_belly(canvas: Canvas) -> None:
    """Diaphragm, visceral fat with gut in it, liver, spleen, stomach with its bubble, kidneys."""
    block = canvas.block((-140, -115, -200), (140, 110, 5))
    inside = cage_distance(block.axes) + PLEURA_MM
    below = smooth_min(dome_distance(block.axes), block.axes[2] + 100, 6.0)
    belly = smooth_max(inside, below, 6.0)
    canvas.paint(block, belly, MUSCLE_HU)
    gut = np.asarray(np.clip(smooth_noise(block.axes, 17.0, seed=2) * 90, -75, 45))
    belly += DIAPHRAGM_MM
    canvas.paint(block, belly, gut)
    for name, center, radii, hu in VISCERA:
        canvas.part = VISCERA_PARTS[name]
        _paint_organ(canvas, block, belly, (center, radii), hu)


def _paint_organ(
    canvas: Canvas, belly: Block, distance: Field, organ: tuple[Vector3, Vector3], hu: float
) -> None:
    """An ellipsoid (centre, radii), cut by the belly whose `distance` is given."""
    center, radii = organ
    low, high = np.subtract(center, radii) - 3, np.add(center, radii) + 3
    block, part = canvas.block(low, high), belly.part(low, high)
    shape = smooth_max(ellipsoid(block.axes, center, radii), distance[part.slices], 4.0)
    canvas.paint(block, shape, hu + 6 * smooth_noise(block.axes, 6.0, seed=3))


VISCERA = (
    ("right liver", (-58, -10, -92), (60, 78, 84), 58.0),
    ("left liver", (8, -50, -70), (62, 42, 34), 58.0),
    ("spleen", (84, 38, -80), (26, 44, 42), 50.0),
    ("stomach", (52, -28, -96), (44, 44, 58), 30.0),
    ("stomach bubble", (50, -54, -72), (24, 13, 17), -980.0),
    ("left kidney", (62, 36, -140), (27, 26, 50), 35.0),
    ("right kidney", (-62, 34, -148), (27, 26, 50), 35.0),
    ("colon", (96, -42, -120), (24, 26, 26), 10.0),
    ("colon gas", (98, -54, -116), (11, 10, 14), -950.0),
    ("hepatic flexure", (-84, -62, -172), (30, 24, 18), 10.0),
    ("hepatic flexure gas", (-84, -72, -168), (18, 10, 11), -950.0),
)
"""Organs below the diaphragm in painting order: name, centre, radii [mm], CT number."""

VISCERA_PARTS = {
    "right liver": "liver",
    "left liver": "liver",
    "spleen": "spleen",
    "stomach": "stomach",
    "stomach bubble": "stomach",
    "left kidney": "kidney_left",
    "right kidney": "kidney_right",
    "colon": "colon",
    "colon gas": "colon",
    "hepatic flexure": "colon",
    "hepatic flexure gas": "colon",
}
"""Names that TotalSegmentator has for them."""


def lung_distance(axes: Axes, side: int) -> Field:
    """Return the distance to the surface of the left (side +1) or right (-1) lung [mm]."""
    x, y, z = axes
    wall = cage_distance(axes) + PLEURA_MM
    middle = _mediastinum_half_width(y, z)
    lung = smooth_max(wall, middle - side * (x - MEDIASTINUM_LEFT_MM), 12.0)
    apex = ellipsoid(axes, (side * 49, 18, 84), (80, 104, 64))
    lung = np.asarray(np.where(z > 84, smooth_max(lung, apex, 8.0), lung))
    return smooth_max(smooth_max(lung, -dome_distance(axes), 3.0), _recess(x, y) - z, 16.0)


def _recess(x: Field, y: Field) -> Field:
    """Lowest height [mm] to which the lungs reach: deepest behind and halfway to the side."""
    depth = hermite(RECESS[:, 0], RECESS[:, 1], y.ravel()).astype(np.float32).reshape(y.shape)
    return np.asarray(depth + np.float32(0.004) * (np.abs(x) - 62) ** 2)


def _mediastinum_half_width(y: Field, z: Field) -> Field:
    """Half width [mm] of what lies between the lungs, eased from depth to depth."""
    table = hermite(MEDIASTINUM[:, 0], MEDIASTINUM[:, 1:], z.ravel()).astype(np.float32)
    widths = [column.reshape(z.shape) for column in table.T]
    total: Field = widths[0] + np.float32(0) * y
    for (low, high), (a, b) in zip(
        itertools.pairwise(MEDIASTINUM_Y_MM), itertools.pairwise(widths), strict=True
    ):
        share = np.clip((y - np.float32(low)) / np.float32(high - low), 0, 1)
        total += (b - a) * share * share * (3 - 2 * share)
    return total


def lung_box(side: int) -> tuple[Points, Points]:
    """Return corners of the box around one lung [mm]."""
    low, high = np.array([2.0, -100.0, -115.0]), np.array([132.0, 108.0, 155.0])
    if side < 0:
        low[0], high[0] = -high[0], -low[0]
    return low, high


def lung_part(side: int) -> str:
    """Return the name of the left (side +1) or right (-1) lung."""
    return "lung_left" if side > 0 else "lung_right"


def paint_lungs(canvas: Canvas) -> None:
    """Both lungs: denser towards the back, where blood gathers in the supine, and mottled."""
    for side in (-1, 1):
        block = canvas.block(*lung_box(side))
        distance = lung_distance(block.axes, side)
        mottle = 22 * smooth_noise(block.axes, 8.0, seed=4) + 14 * smooth_noise(
            block.axes, 22.0, seed=5
        )
        gravity = np.float32(0.25) * block.axes[1]
        canvas.part = lung_part(side)
        canvas.paint(block, distance, LUNG_HU + gravity + mottle)

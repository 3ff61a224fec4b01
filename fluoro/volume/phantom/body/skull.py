"""Skull with its sinuses, lower jaw and teeth; brain, orbits, throat, thyroid gland.

Sizes: cranium 184 mm long, 144 mm wide, vault 6 mm thick with two tables (Moreira-Gonzalez et al.,
J. Craniofac. Surg. 17 (2006) 866), orbits 40 by 36 mm, cup of the sella 11 mm.
"""

from __future__ import annotations

import numpy as np

from fluoro.volume.phantom.body.tables import side_name
from fluoro.volume.phantom.canvas import Canvas, Union
from fluoro.volume.phantom.shapes import (
    Axes,
    Field,
    Points,
    ellipsoid,
    on_lattice,
    smooth_max,
    smooth_noise,
    smooth_path,
)

__all__ = ["paint_head", "paint_skull", "skull_landmarks"]

HEAD_X_MM = -14.0
TABLE_HU, DIPLOE_HU, FACE_HU, BRAIN_HU, AIR_HU = 1500.0, 550.0, 950.0, 36.0, -1000.0
VAULT = ((HEAD_X_MM, -26, 328), (66, 86, 65))
"""Centre and radii of the space within [mm]."""
VAULT_MM, TABLE_MM = 6.3, 1.7
FLOOR = (
    (-120, 316),
    (-84, 311),
    (-72, 294),
    (-34, 288),
    (-22, 282),
    (0, 266),
    (30, 268),
    (70, 284),
)
"""Of the space within, by depth: y, z of the fossae [mm]."""
HEAD_BOX = ((-110, -150, 195), (82, 95, 412))


def _within(axes: Axes) -> Field:
    """Distance to the space within the skull [mm]."""
    x, y, z = axes
    table = np.array(FLOOR, float)
    floor = np.interp(y.ravel(), table[:, 0], table[:, 1]).astype(np.float32).reshape(y.shape)
    middle = np.exp(-(((x - np.float32(HEAD_X_MM)) / 15) ** 2)) * np.exp(-(((y + 48) / 20) ** 2))
    flat = np.float32(0.85) * (floor + np.float32(13) * middle - z)
    return smooth_max(ellipsoid(axes, *VAULT), np.asarray(flat, np.float32), 7.0)


def paint_head(canvas: Canvas) -> None:
    """Thyroid gland, and the throat's air from the nose to the windpipe."""
    canvas.part = "thyroid_gland"
    for side in (-1, 1):
        block = canvas.block((-60, -60, 100), (40, 20, 180))
        if min(block.shape_zyx):
            lobe = ellipsoid(block.axes, (-15 + side * 17, -24, 142), (8, 9, 21))
            canvas.paint(block, lobe, 95.0)
    canvas.part = ""
    throat = canvas.union((-40, -75, 190), (15, 0, 285))
    throat.tube(((-14, -60, 272), (-14, -42, 266), (-14, -36, 245), (-14, -38, 222),
                 (-14, -42, 205), (-14, -38, 192)), (9, 8, 7, 7, 5, 8))  # fmt: skip
    throat.fill((0.0, AIR_HU))


def paint_skull(canvas: Canvas) -> None:
    """Brain within two tables, the base with its dense ridges, the face with its sinuses."""
    block = canvas.block(*HEAD_BOX)
    if not min(block.shape_zyx):
        return
    within = on_lattice(block.axes, _within, 2.0)
    canvas.part = "skull"
    canvas.paint(block, within - np.float32(VAULT_MM), TABLE_HU)
    canvas.paint(block, within - np.float32(VAULT_MM - TABLE_MM), DIPLOE_HU)
    canvas.paint(block, within - np.float32(TABLE_MM), TABLE_HU)
    canvas.part = "brain"
    canvas.paint(block, within, BRAIN_HU + 3 * smooth_noise(block.axes, 12.0, seed=41))
    canvas.part = ""
    for side in (-1, 1):
        ventricle = ellipsoid(block.axes, (HEAD_X_MM + side * 11, -30, 338), (7, 34, 11))
        canvas.paint(block, ventricle, 10.0)
    _paint_base(canvas)
    _paint_face(canvas)
    _paint_jaw(canvas)
    _paint_air(canvas)


def _sided(points: object, side: int) -> Points:
    """Points (n, 3 or more) of the left side, on `side` of the head's middle."""
    placed = np.array(points, float)
    placed[..., 0] = HEAD_X_MM + side * placed[..., 0]
    return placed


def _union(canvas: Canvas) -> Union:
    return canvas.union(*HEAD_BOX)


def _paint_base(canvas: Canvas) -> None:
    """Petrous ridges, mastoids with their cells, clivus and sella; the great foramen."""
    canvas.part = "skull"
    bone = _union(canvas)
    for side in (-1, 1):
        ridge = _sided(((12, -40, 284, 5), (34, -26, 286, 7), (56, -14, 284, 9)), side)
        bone.tube(ridge[:, :3], ridge[:, 3])
        bone.ellipsoid(_sided((56, -2, 266), side), (10, 14, 20))
        bone.ellipsoid(_sided((17, -10, 263), side), (7, 11, 5))
    clivus = ((HEAD_X_MM, -50, 297), (HEAD_X_MM, -30, 280), (HEAD_X_MM, -18, 268))
    bone.tube(clivus, (8, 7, 5))
    bone.ribbon(np.array([(-20, -36, 303), (-8, -36, 303.0)]), np.array([(0, 1, 0.0)] * 2), (2, 5))
    bone.fill((0.0, TABLE_HU), (2.0, 900.0), mottle_hu=150)
    canvas.part = ""
    hole = _union(canvas)
    hole.segment((HEAD_X_MM, 0, 255, 15), (HEAD_X_MM, -2, 272, 15))
    hole.fill((0.0, 40.0))
    for side in (-1, 1):
        _paint_cells(canvas, side)


def _paint_cells(canvas: Canvas, side: int) -> None:
    """Air cells of the mastoid: noise between bone and air."""
    center = _sided((56, -2, 268), side)
    block = canvas.block(center - 24, center + 24)
    if not min(block.shape_zyx):
        return
    cells = smooth_noise(block.axes, 4.0, seed=42) * 3 + ellipsoid(block.axes, center, (9, 13, 19))
    canvas.paint(block, np.asarray(cells + 4), -500.0)


def _paint_face(canvas: Canvas) -> None:
    """Orbits with their rims, cheek bones, upper jaw, nasal bones, palate."""
    canvas.part = "skull"
    bone = _union(canvas)
    angle = np.radians(np.arange(0, 361, 20))
    for side in (-1, 1):
        rim = np.column_stack([33 + 20 * np.cos(angle), -100 + 8 * np.cos(angle),
                               295 + 18 * np.sin(angle)])  # fmt: skip
        bone.tube(_sided(rim, side), 3.2)
        apex = _sided([(13, -60, 292)] * len(rim), side)
        bone.sheet(_sided(rim, side), apex, 1.0)
        cheek = _sided(((30, -104, 266, 7), (48, -96, 270, 8), (60, -74, 274, 5), (66, -52, 278, 4),
                        (68, -32, 281, 4)), side)  # fmt: skip
        bone.tube(cheek[:, :3], cheek[:, 3])
        bone.ellipsoid(_sided((25, -90, 264), side), (17, 20, 19))
        plate = _sided(((16, -52, 284), (17, -50, 252)), side)
        bone.ribbon(plate, np.array([(1.0, 0, 0)] * 2), (1.4, 9))
    bone.tube(((HEAD_X_MM, -116, 312), (HEAD_X_MM, -126, 296), (HEAD_X_MM, -131, 283)), (6, 5, 2.5))
    bone.ellipsoid((HEAD_X_MM, -92, 253), (24, 28, 3.5))
    bone.tube(_arch(28, 56, 247), 5.5)
    bone.fill((0.0, FACE_HU), (1.4, 350.0), mottle_hu=60)
    _paint_teeth(canvas, 238.0, 26.0, 54.0)


def _arch(half_width: float, depth: float, z: float) -> Points:
    """A row of teeth: a parabola open to the back, shape (15, 3)."""
    t = np.linspace(-1, 1, 15)
    return np.column_stack([HEAD_X_MM + half_width * t, -118 + depth * t * t, z + 0 * t])


def _paint_teeth(canvas: Canvas, z: float, half_width: float, depth: float) -> None:
    """Dentine with enamel on the crowns."""
    canvas.part = "teeth"
    teeth = _union(canvas)
    for number, point in enumerate(_arch(half_width, depth, z)):
        wide = 2.6 + 0.3 * abs(number - 7)
        teeth.ellipsoid(point, (wide, wide + 0.4, 9.5))
    teeth.fill((0.0, 2300.0), (1.2, 1700.0))


JAW = ((46, -56, 224), (38, -82, 217), (22, -106, 212), (0, -116, 210))
"""The left half of the lower jaw's body, from its angle to the chin [mm]."""


def _paint_jaw(canvas: Canvas) -> None:
    """The lower jaw with its teeth: condyles, rami, body."""
    canvas.part = "mandible"
    bone = _union(canvas)
    for side in (-1, 1):
        ramus = _sided(((50, -38, 272), (49, -46, 250), (46, -54, 226)), side)
        bone.ribbon(smooth_path(ramus, 6.0), np.tile((1.0, 0, 0), (20, 1)), (4.2, 14.0))
        bone.segment((*ramus[0], 6.0), (*(ramus[0] + (0, 0, 6)), 6.0))
        body = smooth_path(_sided(JAW, side), 6.0)
        share = np.linspace(1, 0, len(body))
        outward = np.column_stack([side * share, 0.8 * share - 1, 0 * share])
        bone.ribbon(body, outward, (5.2, 12.5))
    bone.fill((0.0, TABLE_HU), (2.2, 300.0), mottle_hu=70)
    _paint_teeth(canvas, 226.0, 24.0, 52.0)


SINUSES = (
    ((10, -112, 321), (9, 4.5, 11)), ((25, -90, 265), (14, 17, 16)), ((8, -58, 288), (8, 12, 8)),
    ((9, -84, 291), (4.5, 18, 9)),
)  # fmt: skip
"""Frontal, maxillary, sphenoid and ethmoid sinus of the left: centre, radii [mm]."""


def _paint_air(canvas: Canvas) -> None:
    """Orbital fat and eyes; air of the sinuses and the nose, with septum and turbinates."""
    canvas.part = ""
    for side in (-1, 1):
        fat = _union(canvas)
        fat.segment((*_sided((32, -100, 295), side), 16.0), (*_sided((15, -66, 292), side), 3.0))
        fat.fill((0.0, -85.0))
        eye = _union(canvas)
        eye.ellipsoid(_sided((32, -104, 295), side), (12, 12, 12))
        eye.fill((0.0, 18.0))
        for center, radii in SINUSES:
            _paint_sinus(canvas, _sided(center, side), radii)
        _paint_sinus(canvas, _sided((6, -94, 269), side), (4.5, 26, 18))
        canvas.part = ""
    turbinates = _union(canvas)
    for side in (-1, 1):
        for z in (262, 272, 281):
            turbinates.segment(
                (*_sided((7, -112, z), side), 2.6), (*_sided((7, -74, z), side), 2.6)
            )
    turbinates.fill((0.0, 30.0))


def _paint_sinus(canvas: Canvas, center: Points, radii: tuple[float, float, float]) -> None:
    """Air in a thin wall of bone."""
    reach = max(radii) + 5
    block = canvas.block(center - reach, center + reach)
    if min(block.shape_zyx):
        shape = ellipsoid(block.axes, center, radii)
        canvas.part = "skull"
        canvas.paint(block, shape - np.float32(1.0), FACE_HU)
        canvas.part = ""
        canvas.paint(block, shape, AIR_HU)


def skull_landmarks() -> dict[str, tuple[float, float, float]]:
    """Return nasion, sella, basion, vertex, and the ear points [mm]."""
    points = {
        "nasion": (HEAD_X_MM, -122.0, 306.0),
        "sella": (HEAD_X_MM, -44.0, 299.0),
        "basion": (HEAD_X_MM, -17.0, 266.0),
        "vertex": (HEAD_X_MM, -26.0, 399.0),
        "menton": (HEAD_X_MM, -118.0, 199.0),
    }
    for side in (-1, 1):
        x, y, z = _sided((66, -24, 280), side).tolist()
        points[f"porion {side_name(side)}"] = (x, y, z)
    return points

"""Skull with its sinuses, lower jaw and teeth; brain, orbits, throat, thyroid gland.

Sizes: cranium 184 mm long, 144 mm wide, vault 6 mm thick with two tables (Moreira-Gonzalez et al.,
J. Craniofac. Surg. 17 (2006) 866), orbits 40 by 36 mm, cup of the sella 11 mm.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from fluoro.volume.phantom.body.build import Build
from fluoro.volume.phantom.body.tables import side_name
from fluoro.volume.phantom.canvas import Block, Canvas, Union
from fluoro.volume.phantom.shapes import (
    Axes,
    Field,
    Points,
    capsule,
    ellipsoid,
    hermite,
    on_lattice,
    smooth_max,
    smooth_min,
    smooth_noise,
    smooth_path,
)

__all__ = ["paint_head", "paint_skull", "skull_landmarks"]

HEAD_X_MM = -14.0
TABLE_HU, DIPLOE_HU, FACE_HU, BRAIN_HU, AIR_HU = 1500.0, 520.0, 950.0, 36.0, -1000.0
SUTURE_HU = 80.0
VAULT = (
    ((HEAD_X_MM, -44, 327), (57, 66, 59)),
    ((HEAD_X_MM, -12, 330), (65, 68, 63)),
    ((HEAD_X_MM, 4, 303), (53, 55, 39)),
)
"""Three ellipsoids whose rounded union is the space within: centres and radii [mm]."""
VAULT_BLEND_MM = 26.0
VAULT_MM, TABLE_MM, FLOOR_MM = 6.0, 1.6, 2.6
"""Thickness of the vault, of each of its tables, and of the base."""
FLOOR = (
    (-120, 318), (-84, 311), (-74, 298), (-66, 287), (-34, 283), (-24, 282), (-8, 269), (6, 264),
    (26, 263), (44, 268), (58, 278), (70, 292),
)  # fmt: skip
"""Of the space within, by depth: y, z of the fossae [mm]."""
SUTURES = (
    ((-36, 400), (-42, 370), (-54, 335), (-66, 308)),
    ((74, 366), (60, 345), (44, 312), (26, 288)),
    ((-62, 322), (-30, 322), (0, 312), (28, 292)),
)
"""Coronal, lambdoid and squamous suture, seen from the side: y, z [mm]."""
GROOVES = (
    ((-44, 288), (-50, 306), (-44, 330), (-22, 356), (4, 378)),
    ((-49, 304), (-20, 318), (14, 332), (44, 352)),
    ((-44, 330), (-40, 356), (-34, 384)),
    ((-20, 318), (10, 350), (20, 370)),
    ((72, 300), (50, 284), (24, 280)),
)
"""Furrows of the middle meningeal artery and of the transverse sinus, seen from the side [mm]."""
SUTURE_MM, GROOVE_MM = 0.5, 0.9
HEAD_BOX = ((-110, -150, 195), (82, 95, 412))


def _vault(axes: Axes) -> Field:
    """Distance to the vault's inner table, as if it had no floor [mm]."""
    first, second, third = (ellipsoid(axes, *each) for each in VAULT)
    both = smooth_min(first, second, VAULT_BLEND_MM)
    return smooth_min(both, third, VAULT_BLEND_MM)


def _floor(axes: Axes) -> Field:
    """Distance to the floor of the space within [mm]: it rises between the middle fossae."""
    x, y, z = axes
    table = np.array(FLOOR, float)
    floor = hermite(table[:, 0], table[:, 1], y.ravel()).astype(np.float32).reshape(y.shape)
    middle = np.exp(-(((x - np.float32(HEAD_X_MM)) / 15) ** 2)) * np.exp(-(((y + 48) / 18) ** 4))
    ridges = np.exp(-(((np.abs(x - np.float32(HEAD_X_MM)) - 32) / 13) ** 2))
    orbit = np.float32(5) * ridges * np.exp(-(((y + 98) / 20) ** 2))
    return np.asarray(0.85 * (floor + 14 * middle + orbit - z), np.float32)


def _thickness(axes: Axes) -> Field:
    """Thickness of the vault [mm]: uneven, thin at the temples, thick at the back of the head."""
    x, y, z = axes
    temple = np.exp(-(((z - 305) / 22) ** 2)) * np.exp(-(((y + 45) / 35) ** 2))
    side = np.minimum(((x - np.float32(HEAD_X_MM)) / 60) ** 2, 1)
    inion = np.exp(-(((z - 298) / 12) ** 2)) * np.maximum(y - 40, 0) / 30
    uneven = 0.7 * smooth_noise(axes, 14.0, seed=43)
    return np.asarray(VAULT_MM - 2.8 * temple * side + 1.8 * inion * (1 - side) + uneven)


def _line_distance(axes: Axes, courses: Sequence[Points]) -> Field:
    """Distance to lines (n, 2) of y and z seen from the side [mm], x not counted."""
    seen = (np.zeros((1, 1, 1), np.float32), axes[1], axes[2])
    pieces = [
        capsule(seen, (0, *a), (0, *b), (0.0, 0.0))
        for course in courses
        for a, b in itertools.pairwise(course.tolist())
    ]
    return np.asarray(np.minimum.reduce(pieces))


def _curve(course: tuple[tuple[int, int], ...], step_mm: float) -> Points:
    """A smooth line (n, 2) through points of y and z [mm]."""
    flat = np.array(course, float)
    return smooth_path(np.column_stack([flat, np.zeros(len(flat))]), step_mm)[:, :2]


def _jagged(course: tuple[tuple[int, int], ...], seed: int) -> Points:
    """A line (n, 2) with the teeth of a suture [mm]."""
    path = _curve(course, 2.2)
    heading = np.gradient(path, axis=0)
    aside = np.column_stack([-heading[:, 1], heading[:, 0]])
    aside /= np.linalg.norm(aside, axis=1, keepdims=True)
    teeth = np.random.default_rng(seed).uniform(-1.9, 1.9, len(path))
    return np.asarray(path + teeth[:, None] * aside)


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


def paint_skull(canvas: Canvas, build: Build) -> None:
    """Brain within two tables, the base with its dense ridges, the face with its sinuses."""
    block = canvas.block(*HEAD_BOX)
    if not min(block.shape_zyx):
        return
    vault, floor, thickness = (
        on_lattice(block.axes, field, 2.0) for field in (_vault, _floor, _thickness)
    )
    outer = smooth_max(vault - thickness, floor - np.float32(FLOOR_MM), 7.0)
    within = smooth_max(vault, floor, 7.0)
    canvas.part = "skull"
    canvas.paint(block, outer, TABLE_HU)
    diploe = np.maximum(outer + np.float32(TABLE_MM), np.float32(TABLE_MM) - within)
    canvas.paint(block, diploe, DIPLOE_HU + 170 * smooth_noise(block.axes, 3.0, seed=44))
    _paint_lines(canvas, block, within, outer)
    canvas.part = "brain"
    canvas.paint(block, within, BRAIN_HU + 3 * smooth_noise(block.axes, 12.0, seed=41))
    canvas.part = ""
    for side in (-1, 1):
        ventricle = ellipsoid(block.axes, (HEAD_X_MM + side * 11, -30, 338), (7, 34, 11))
        canvas.paint(block, ventricle, 10.0)
    _paint_base(canvas, build)
    _paint_face(canvas, build)
    _paint_jaw(canvas, build)
    _paint_air(canvas)


def _paint_lines(canvas: Canvas, block: Block, within: Field, outer: Field) -> None:
    """Sutures through both tables, and furrows of vessels in the inner one."""
    sutures = [_jagged(course, number) for number, course in enumerate(SUTURES)]
    suture = _line_distance(block.axes, sutures) - np.float32(SUTURE_MM)
    canvas.paint(block, np.maximum(suture, outer), SUTURE_HU)
    furrows = [_curve(course, 6.0) for course in GROOVES]
    groove = _line_distance(block.axes, furrows) - np.float32(GROOVE_MM)
    canvas.paint(block, np.maximum(groove, within - np.float32(2 * TABLE_MM)), BRAIN_HU)


def _sided(points: object, side: int) -> Points:
    """Points (n, 3 or more) of the left side, on `side` of the head's middle."""
    placed = np.array(points, float)
    placed[..., 0] = HEAD_X_MM + side * placed[..., 0]
    return placed


def _union(canvas: Canvas) -> Union:
    return canvas.union(*HEAD_BOX)


def _paint_base(canvas: Canvas, build: Build) -> None:
    """Petrous ridges, mastoids with their cells, clivus and sella; the great foramen."""
    canvas.part = "skull"
    bone = _union(canvas)
    for side in (-1, 1):
        ridge = _sided(((12, -40, 284, 5), (34, -26, 286, 7), (56, -14, 284, 9)), side)
        bone.tube(ridge[:, :3], ridge[:, 3])
        mastoid = np.array((10, 14, 15 if build.female else 20))
        bone.ellipsoid(_sided((56, -2, 266), side), mastoid)
        bone.ellipsoid(_sided((17, -10, 263), side), (7, 11, 5))
    clivus = ((HEAD_X_MM, -44, 295), (HEAD_X_MM, -30, 281), (HEAD_X_MM, -18, 268))
    bone.tube(clivus, (8, 7, 5))
    bone.ellipsoid((HEAD_X_MM, -110, 318), (2.0, 7.0, 7.0))
    bone.fill((0.0, TABLE_HU), (2.0, 900.0), mottle_hu=150)
    canvas.part = ""
    hole = _union(canvas)
    hole.segment((HEAD_X_MM, 0, 255, 15), (HEAD_X_MM, -2, 272, 15))
    hole.fill((0.0, 40.0))
    _paint_sella(canvas)
    for side in (-1, 1):
        _paint_cells(canvas, side)
        canal = _union(canvas)
        canal.tube(_sided(((78, -21, 279), (62, -20, 280), (48, -20, 281)), side), (4.0, 3.4, 3.6))
        canal.fill((0.0, AIR_HU))


SELLA = ((HEAD_X_MM, -47, 304), (8.5, 7.0, 8.5))
"""Centre and radii of its cup [mm]."""


def _paint_sella(canvas: Canvas) -> None:
    """The body of the sphenoid bone with the cup of the sella between its clinoid processes."""
    canvas.part = "skull"
    body, horns = _union(canvas), _union(canvas)
    body.ellipsoid((HEAD_X_MM, -52, 292), (15, 21, 11))
    body.fill((0.0, FACE_HU), (1.2, 400.0))
    canvas.part = "brain"
    cup = _union(canvas)
    cup.ellipsoid(*SELLA)
    cup.fill((0.0, BRAIN_HU))
    canvas.part = "skull"
    back = np.array([(HEAD_X_MM, -38, 293), (HEAD_X_MM, -38, 304), (HEAD_X_MM, -40, 310.0)])
    horns.ribbon(back, np.array([(0, 1.0, 0)] * 3), (1.8, 8.0))
    for side in (-1, 1):
        horns.tube(_sided(((11, -64, 305), (12, -56, 309), (11, -52, 308)), side), (3.2, 2.6, 1.8))
        horns.tube(_sided(((13, -62, 307), (34, -68, 310), (54, -72, 314)), side), (2.6, 1.8, 1.8))
    horns.fill((0.0, TABLE_HU))
    canvas.part = ""


def _paint_cells(canvas: Canvas, side: int) -> None:
    """Air cells of the mastoid: noise between bone and air."""
    center = _sided((56, -2, 268), side)
    block = canvas.block(center - 24, center + 24)
    if not min(block.shape_zyx):
        return
    cells = smooth_noise(block.axes, 4.0, seed=42) * 3 + ellipsoid(block.axes, center, (9, 13, 19))
    canvas.paint(block, np.asarray(cells + 4), -500.0)


FRONT_OF_MAXILLA = (
    ((10, -118, 268, 1.6), (24, -110, 270, 1.8), (38, -100, 272, 2.5)),
    ((7, -119, 257, 2.0), (22, -111, 258, 1.6), (36, -96, 260, 2.2)),
    ((6, -119, 246, 4.0), (18, -112, 246, 4.0), (29, -94, 246, 4.0)),
)


def _net(net: object, side: int) -> Points:
    """A net of points (m, n, 4) of the left side, on `side`."""
    return _sided(np.array(net, float), side)


def _paint_face(canvas: Canvas, build: Build) -> None:
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
        if not build.female:
            brow = _sided(((8, -117, 316, 5.0), (24, -114, 318, 4.5), (42, -102, 314, 3.0)), side)
            bone.tube(brow[:, :3], brow[:, 3])
        frame = _sided(((7, -117, 304, 3.5), (11, -116, 286, 3.2), (17, -112, 268, 4.0),
                        (20, -112, 252, 5.0)), side)  # fmt: skip
        bone.tube(frame[:, :3], frame[:, 3])
        pillar = _sided(((52, -90, 304, 4.0), (51, -95, 286, 4.0), (48, -96, 272, 6.0)), side)
        bone.tube(pillar[:, :3], pillar[:, 3])
        bone.patch(_net(FRONT_OF_MAXILLA, side))
        plate = _sided(((16, -52, 284), (17, -50, 252)), side)
        bone.ribbon(plate, np.array([(1.0, 0, 0)] * 2), (1.4, 9))
    bone.tube(
        ((HEAD_X_MM, -116, 312), (HEAD_X_MM, -126, 296), (HEAD_X_MM, -132, 282)), (6, 5.5, 3.2)
    )
    bone.ellipsoid((HEAD_X_MM, -86, 254), (24, 33, 2.6))
    bone.segment((HEAD_X_MM, -114, 256, 3.0), (HEAD_X_MM, -125, 258, 1.6))
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


RAMUS = (
    ((50, -35, 266, 4.0), (49, -48, 262, 2.4), (48, -62, 262, 2.8)),
    ((49, -37, 250, 4.4), (48, -50, 250, 3.2), (47, -65, 250, 3.4)),
    ((47, -42, 234, 5.0), (46, -56, 234, 4.5), (45, -73, 234, 4.5)),
    ((45, -52, 222, 5.0), (43, -64, 218, 5.0), (42, -78, 217, 5.0)),
)


def _paint_jaw(canvas: Canvas, build: Build) -> None:
    """The lower jaw with its teeth: condyles, rami, body."""
    canvas.part = "mandible"
    bone = _union(canvas)
    for side in (-1, 1):
        bone.patch(_net(RAMUS, side), 5.0)
        neck = _sided(((50, -38, 266, 4.5), (52, -33, 276, 3.6)), side)
        bone.segment(*neck)
        bone.ellipsoid(_sided((53, -32, 279), side), (9.0, 4.6, 4.6))
        bone.tube(_sided(((48, -62, 258), (48, -65, 268), (48, -64, 277)), side), (4.0, 3.0, 1.6))
        body = smooth_path(_sided(JAW, side), 6.0)
        share = np.linspace(1, 0, len(body))
        outward = np.column_stack([side * share, 0.8 * share - 1, 0 * share])
        bone.ribbon(body, outward, np.array((5.2, 12.5)) * build.robustness)
    bone.fill((0.0, TABLE_HU), (2.8, 450.0), mottle_hu=90)
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
        wobble = np.float32(0.9) * smooth_noise(block.axes, 8.0, seed=46)
        shape = ellipsoid(block.axes, center, radii) + wobble
        canvas.part = "skull"
        canvas.paint(block, shape - np.float32(1.0), FACE_HU)
        canvas.part = ""
        canvas.paint(block, shape, AIR_HU)


def skull_landmarks() -> dict[str, tuple[float, float, float]]:
    """Return nasion, sella, basion, vertex, and the ear points [mm]."""
    points = {
        "nasion": (HEAD_X_MM, -122.0, 306.0),
        "sella": (HEAD_X_MM, -47.0, 301.0),
        "basion": (HEAD_X_MM, -17.0, 266.0),
        "vertex": (HEAD_X_MM, -26.0, 399.0),
        "upper incisors": (HEAD_X_MM, -118.0, 238.0),
        "middle of the brain": (HEAD_X_MM, -60.0, 350.0),
        "menton": (HEAD_X_MM, -118.0, 199.0),
    }
    for side in (-1, 1):
        x, y, z = _sided((62, -20, 286), side).tolist()
        points[f"thyroid gland {side_name(side)}"] = (-15.0 + side * 17, -24.0, 142.0)
        points[f"porion {side_name(side)}"] = (x, y, z)
    return points

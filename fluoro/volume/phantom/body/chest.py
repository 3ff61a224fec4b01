"""Lungs with lobes, fissures, vessels and bronchi; diaphragm; heart with its chambers; airways."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np

from fluoro.volume.phantom.body.tables import (
    MIDDLE_XY_MM,
    inner_face,
    lower_face,
    pleura,
    side_name,
)
from fluoro.volume.phantom.canvas import Block, Canvas
from fluoro.volume.phantom.heart import AIRWAYS, CHAMBERS, unit_frame
from fluoro.volume.phantom.lungs import ARTERIES, BRONCHI, VEINS, Tree, tree_branches
from fluoro.volume.phantom.shapes import (
    Axes,
    Field,
    ellipsoid,
    on_lattice,
    smooth_max,
    smooth_min,
    smooth_noise,
)

__all__ = [
    "PULMONARY_ARTERIES",
    "chest_landmarks",
    "diaphragm_distance",
    "heart_distance",
    "lung_distance",
    "paint_airways",
    "paint_heart",
    "paint_lung_trees",
    "paint_lungs",
]

LUNG_HU, FISSURE_HU, VESSEL_HU, FAT_HU, BLOOD_HU, MYOCARDIUM_HU = (
    -840.0,
    -420.0,
    40.0,
    -95.0,
    45.0,
    52.0,
)
APEX = {1: ((31, 8, 84), (66, 92, 62)), -1: ((-61, 6, 80), (66, 92, 56))}
"""Centre and radii of the lung's dome above 84 mm [mm]."""
LUNG_BOX = {1: ((-10, -105, -115), (136, 108, 155)), -1: ((-136, -105, -115), (12, 108, 150))}
END_RADIUS_MM = 0.45
"""Of the last branches that are drawn: vessels thin out towards the pleura."""


def _moved(trees: tuple[Tree, ...]) -> tuple[Tree, ...]:
    """Trees whose roots lie at this body's hila, 10 mm to the right of the thorax phantom's."""
    return tuple(
        replace(tree, root_xyz_mm=tuple(np.add(tree.root_xyz_mm, (-10, 0, 0)).tolist()))
        for tree in trees
    )


PULMONARY_ARTERIES, PULMONARY_VEINS = _moved(ARTERIES), _moved(VEINS)
BRONCHIAL_TREES = _moved(BRONCHI)


INWARDS_MM = {
    1: ((84, 96, 108, 120, 132), (0, 3, 6, 3, 0)),
    -1: ((30, 50, 90, 125), (0, -4, -4, 0)),
}
"""By height: how much further a lung reaches to the middle than its measured face, which is smooth.
The left one closes in above the arch of the aorta, which stands out as a knob below it; the right
one leaves room for the tissue about windpipe, main bronchus and azygos vein."""


def lung_distance(axes: Axes, side: int) -> Field:
    """Return the distance to the surface of the left (side +1) or right (-1) lung [mm]."""
    x, y, z = axes
    across = side * (x - np.float32(MIDDLE_XY_MM[0]))
    medial = np.float32(side) * inner_face(side).distance(z, y, x)
    medial = medial - np.interp(z, *INWARDS_MM[side]).astype(np.float32)
    lung = smooth_max(pleura().distance(axes), medial, 8.0)
    lung = smooth_max(lung, lower_face(side).distance(y, across, z), 5.0)
    center, radii = APEX[side]
    apex = ellipsoid(axes, center, radii)
    return np.asarray(np.where(z > center[2], smooth_max(lung, apex, 8.0), lung), np.float32)


def diaphragm_distance(axes: Axes) -> Field:
    """Return the height above the diaphragm [mm], negative below it."""
    x, y, z = axes
    across = x - np.float32(MIDDLE_XY_MM[0])
    left, right = (-lower_face(side).distance(y, side * across, z) for side in (1, -1))
    share = np.clip(across / 40 + np.float32(0.5), 0, 1)
    return np.asarray(share * np.minimum(left, z + 30) + (1 - share) * right, np.float32)


def _fissures(axes: Axes, side: int) -> tuple[Field, Field]:
    """Distances to the oblique and the horizontal fissure [mm], positive above them."""
    x, y, z = axes
    wave = np.float32(5) * np.sin(x / 21 + side) + np.float32(3) * np.sin(y / 17)
    top, slope = (90.0, 0.98) if side > 0 else (72.0, 0.92)
    oblique = (z - np.float32(top) + np.float32(slope) * (np.float32(60) - y) + wave) * np.float32(
        0.72
    )
    horizontal = z - np.float32(26) - np.float32(0.06) * (x + 60) + wave
    return np.asarray(oblique, np.float32), np.asarray(horizontal, np.float32)


def paint_lungs(canvas: Canvas) -> None:
    """Lobes, denser towards the back, mottled; thin fissures between them."""
    for side in (-1, 1):
        block = canvas.block(*LUNG_BOX[side])
        if min(block.shape_zyx):
            _paint_lung(canvas, block, side)


def _paint_lung(canvas: Canvas, block: Block, side: int) -> None:
    distance = on_lattice(block.axes, lambda axes: lung_distance(axes, side), 2.5)
    mottle = on_lattice(block.axes, _mottle, 2.5)
    canvas.part = ""
    canvas.paint(block, distance - np.float32(1.2), MYOCARDIUM_HU)
    hu = np.float32(LUNG_HU) + np.float32(0.25) * block.axes[1] + mottle
    canvas.part = f"lung_upper_lobe_{side_name(side)}"
    canvas.paint(block, distance, hu)
    oblique, horizontal = _fissures(block.axes, side)
    for name, share in _lobes(side, oblique, horizontal):
        canvas.part = name
        canvas.note(block, np.maximum(distance, share))
    canvas.part = ""
    sheets = [np.abs(oblique)]
    if side < 0:
        sheets.append(np.maximum(np.abs(horizontal), -oblique))
    for sheet in sheets:
        inside = np.maximum(sheet - np.float32(0.4), distance + 1)
        _lay(canvas, block, inside, FISSURE_HU)


def _mottle(axes: Axes) -> Field:
    return np.asarray(18 * smooth_noise(axes, 5.0, seed=4) + 14 * smooth_noise(axes, 22.0, seed=5))


def _lay(canvas: Canvas, block: Block, distance: Field, hu: float) -> None:
    """Paints a thin sheet without a part of its own: lobes keep their names."""
    noted, canvas.part_zyx = canvas.part_zyx, None
    canvas.paint(block, distance, hu)
    canvas.part_zyx = noted


def _lobes(side: int, oblique: Field, horizontal: Field) -> list[tuple[str, Field]]:
    """Names, and where each is: negative."""
    lobes = [(f"lung_lower_lobe_{side_name(side)}", oblique)]
    if side < 0:
        lobes.insert(0, ("lung_middle_lobe_right", horizontal))
    return lobes


def paint_lung_trees(canvas: Canvas) -> None:
    """Pulmonary arteries and veins that thin out, then bronchi with their walls."""
    if not min(canvas.block(*LUNG_BOX[1]).shape_zyx):
        return
    canvas.part = "lung_vessels"
    for tree in PULMONARY_ARTERIES + PULMONARY_VEINS:
        _paint_vessels(canvas, tree)
    canvas.part = "lung_trachea_bronchia"
    for tree in BRONCHIAL_TREES:
        shape = canvas.union(*LUNG_BOX[tree.side])
        for _, path in tree_branches(tree, lung_distance):
            for a, b in itertools.pairwise(path):
                shape.segment(a, b)
        shape.fill((0.0, 20.0), (1.0, -1000.0))


THIN_MM = 1.1
"""Vessels of a smaller radius are drawn with this one and as much less density, so that voxels as
large as they are show no beads."""
CLASSES_MM = ((0.0, 0.62), (0.62, 0.85), (0.85, 99.0))
"""Radii of the vessels that are drawn together."""


def _paint_vessels(canvas: Canvas, tree: Tree) -> None:
    """A tree of vessels that thin out, the thin ones first."""
    shapes = [canvas.union(*LUNG_BOX[tree.side]) for _ in CLASSES_MM]
    for _, path in tree_branches(tree, lung_distance):
        for a, b in itertools.pairwise(path):
            ends = a * (1, 1, 1, 0.95), b * (1, 1, 1, 0.82)
            middle = (ends[0][3] + ends[1][3]) / 2
            number = next(i for i, (low, high) in enumerate(CLASSES_MM) if low <= middle < high)
            for end in ends:
                end[3] = max(end[3], THIN_MM if number < 2 else END_RADIUS_MM)
            shapes[number].segment(*ends)
    for shape, (low, high) in zip(shapes, CLASSES_MM, strict=True):
        share = min(1.0, (max(low, 0.5) + min(high, THIN_MM)) ** 2 / (4 * THIN_MM**2))
        hu = VESSEL_HU if high > THIN_MM else LUNG_HU + share * (VESSEL_HU - LUNG_HU)
        shape.fill((0.0, hu))


CHAMBER_NAMES = (
    "heart_ventricle_left", "heart_ventricle_right", "heart_atrium_right", "heart_atrium_left",
    "atrial_appendage_left",
)  # fmt: skip
WALL_MM = (10.0, 4.0, 2.5, 2.5, 2.0)
"""Thickness of each chamber's wall."""


def heart_distance(axes: Axes) -> Field:
    """Return the distance to the surface of the heart [mm]."""
    chambers = [ellipsoid(axes, c, r, unit_frame(d)) for c, r, d in CHAMBERS]
    ventricles = smooth_min(chambers[0], chambers[1], 12.0)
    atria = smooth_min(smooth_min(chambers[2], chambers[3], 8.0), chambers[4], 10.0)
    heart = smooth_min(ventricles, atria, 14.0)
    return smooth_max(heart, -np.asarray(_floor(axes)), 6.0)


def _floor(axes: Axes) -> Field:
    """Height above the heart's bed on the diaphragm [mm]."""
    x, y, z = axes
    return np.asarray(z + np.float32(38) + np.float32(0.05) * (x - 30) - np.float32(0.06) * y)


def paint_heart(canvas: Canvas) -> None:
    """The heart in a coat of fat: muscle, and blood in its chambers."""
    block = canvas.block((-80, -98, -65), (112, 50, 75))
    if not min(block.shape_zyx):
        return
    distance = on_lattice(block.axes, heart_distance, 2.5)
    canvas.part = ""
    canvas.paint(block, distance - np.float32(3.5), -70.0)
    canvas.part = "heart_myocardium"
    canvas.paint(block, distance, MYOCARDIUM_HU)
    for name, chamber, wall in zip(CHAMBER_NAMES, CHAMBERS, WALL_MM, strict=True):
        center, radii, direction = chamber
        blood = ellipsoid(block.axes, center, radii, unit_frame(direction)) + np.float32(wall)
        canvas.part = name
        canvas.paint(block, np.maximum(blood, distance + np.float32(wall)), BLOOD_HU)


AIRWAY_WIDTH = 1.22
"""Beside the thorax phantom's: the windpipe is 23 mm wide, 20 mm of it air; men's have 13 to 25 mm
(Breatnach et al., AJR 142 (1984) 903)."""


def paint_airways(canvas: Canvas) -> None:
    """Windpipe and main bronchi: a wall around air."""
    canvas.part = "trachea"
    airways = canvas.union((-55, -60, 10), (50, 50, 215))
    for course in AIRWAYS:
        points = np.array(course, float)
        points[:, 0] -= np.interp(points[:, 2], (60, 85, 120), (9, 12, 14))
        points[:, 1] -= np.interp(points[:, 2], (150, 195), (0, 12))
        airways.tube(points[:, :3], points[:, 3] * AIRWAY_WIDTH)
    airways.fill((0.0, 60.0), (1.5, -1000.0))


LOBE_LANDMARKS = {
    "middle of upper lobe left": (70.0, -30.0, 60.0),
    "middle of lower lobe left": (70.0, 60.0, -20.0),
    "middle of upper lobe right": (-80.0, -30.0, 70.0),
    "middle of middle lobe right": (-85.0, -60.0, -5.0),
    "middle of lower lobe right": (-80.0, 60.0, -20.0),
}


def _chamber_landmarks() -> dict[str, tuple[float, float, float]]:
    """Middles of the heart's chambers, and the first forks of bronchi and vessels [mm]."""
    found = {}
    for name, (center, _, _) in zip(CHAMBER_NAMES, CHAMBERS, strict=True):
        found[f"middle of {name.replace('_', ' ')}"] = center
    for name, trees in (("bronchus", BRONCHIAL_TREES), ("vein", PULMONARY_VEINS)):
        for tree in trees:
            _, path = next(iter(tree_branches(tree, lung_distance)))
            found[f"fork of {name} {side_name(tree.side)}"] = path[-1, :3].tolist()
    return {name: (float(x), float(y), float(z)) for name, (x, y, z) in found.items()}


def chest_landmarks() -> dict[str, tuple[float, float, float]]:
    """Return the carina, the apex of the heart and the tops of both domes [mm]."""
    x, y, z = AIRWAYS[0][-1][:3]
    center, radii, direction = CHAMBERS[0]
    apex = np.array(center) + radii[0] * unit_frame(direction)[0]
    return {
        "carina": (float(x) - 9.0, float(y), float(z)),
        **_chamber_landmarks(),
        **LOBE_LANDMARKS,
        "apex of the heart": (float(apex[0]), float(apex[1]), max(float(apex[2]), -36.0)),
    }

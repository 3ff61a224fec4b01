"""The spine of the body: C1 to L5, discs, sacrum and coccyx.

Widths and depths of bodies, pedicles and processes: Panjabi et al., Spine 16 (1991) 861 and
17 (1992) 299; Berry et al., Spine 12 (1987) 362. Centres of T1 to L2 are those of the chest CT.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

import numpy as np

from fluoro.volume.phantom.body.build import Build
from fluoro.volume.phantom.body.tables import vertebral_centers
from fluoro.volume.phantom.canvas import Canvas, Union
from fluoro.volume.phantom.shapes import (
    Axes,
    Field,
    Points,
    along,
    ellipsoid,
    smooth_max,
    smooth_noise,
)

__all__ = [
    "SACRUM",
    "VERTEBRAE",
    "Vertebra",
    "midline_x",
    "paint_spine",
    "spine_landmarks",
    "vertebrae_of",
]

CORTEX_HU, PLATE_HU, MARROW_HU, DISC_HU = 1300.0, 1150.0, 175.0, 85.0
PEDICLE_HU, ARCH_MARROW_HU, CORD_HU, FLUID_HU = 1250.0, 200.0, 35.0, 8.0
ARCH_HU = {"C": 1050.0, "T": 850.0, "L": 1050.0}


@dataclass(frozen=True, kw_only=True)
class Vertebra:
    """One vertebra, lengths in mm.

    Attributes:
        name: C1 ... L5.
        center_xyz_mm: Middle of its body in patient LPS.
        down: Unit vector along the spine, towards the feet.
        height_mm: Height of the body.
        half_width_mm: Of the body.
        half_depth_mm: Of the body.
        pedicle_mm: Half width and half height of the pedicle.
        transverse_mm: Midline to the tip of the transverse process.
        spinous_mm: Fall and reach of the spinous process behind the canal.
        canal_mm: Width of the canal, from pedicle to pedicle.
    """

    name: str
    center_xyz_mm: tuple[float, float, float]
    down: tuple[float, float, float]
    height_mm: float
    half_width_mm: float
    half_depth_mm: float
    pedicle_mm: tuple[float, float]
    transverse_mm: float
    spinous_mm: tuple[float, float]
    canal_mm: float

    @property
    def pedicle_x_mm(self) -> float:
        """Midline to the middle of a pedicle."""
        return self.canal_mm / 2 + self.pedicle_mm[0]

    @property
    def frame(self) -> Points:
        """Rows: left, back and down, at right angles to each other."""
        down = np.array(self.down)
        left = np.array([1.0, 0, 0]) - down[0] * down
        left /= np.linalg.norm(left)
        return np.array([left, np.cross(left, down), down])

    def at(self, left_mm: float, back_mm: float, up_mm: float) -> Points:
        """Return the patient LPS [mm] of a point given in the vertebra's own directions."""
        return np.asarray(self.center_xyz_mm) + (left_mm, back_mm, -up_mm) @ self.frame


_ABOVE = (
    ("C1", -14, -15, 253), ("C2", -15, -17, 236), ("C3", -16, -19, 218), ("C4", -17, -18, 201),
    ("C5", -18, -14.5, 184.5), ("C6", -18.5, -8, 168.5), ("C7", -18.5, 1.5, 152.5),
)  # fmt: skip
_BELOW = (("L3", 13, 7, -167), ("L4", 12, 5, -201.5), ("L5", 10.5, 12, -236))
SACRUM = ((10, 31, -265), (10, 52, -287), (10, 66, -310), (10, 70, -333), (10, 62, -353),
          (10, 48, -372), (10, 38, -382))  # fmt: skip
"""Middles of S1 to S5 and two pieces of the coccyx [mm]."""
_SIZES = {
    "C3": (9, 7.7, 2.7, 3.6, 24, 5, 24, 23), "C4": (9.3, 7.9, 2.7, 3.6, 24, 6, 24, 24),
    "C5": (9.7, 8, 2.8, 3.4, 25, 7, 26, 25), "C6": (10.5, 8.2, 3, 3.4, 26, 8, 32, 25.5),
    "C7": (11.3, 8.4, 3.3, 3.7, 30, 9, 42, 24.5), "T1": (13.5, 8.8, 4.1, 4.9, 37, 10, 42, 21.8),
    "T2": (13, 9.4, 3.8, 5.8, 34, 14, 40, 19.5), "T3": (12.8, 10, 3.2, 5.9, 32, 17, 38, 18.6),
    "T4": (12.8, 10.8, 2.8, 5.9, 31, 19, 37, 17.4), "T5": (12.9, 11.5, 2.8, 5.8, 31, 21, 36, 17.2),
    "T6": (13.4, 12.4, 2.9, 5.9, 31, 22, 35, 17.2), "T7": (14, 13.1, 3, 6, 30, 22, 35, 17.3),
    "T8": (14.6, 13.8, 3.1, 6.1, 29, 21, 34, 17.8), "T9": (15.2, 14.2, 3.3, 6.6, 28, 18, 34, 17.9),
    "T10": (15.9, 14.5, 3.6, 7.2, 26, 14, 33, 18.2),
    "T11": (16.8, 14.8, 4.2, 7.9, 22, 10, 32, 19.4), "T12": (18.2, 15.2, 4.2, 7.9, 20, 8, 32, 22.2),
    "L1": (20.2, 17, 4.3, 7.6, 35, 7, 32, 23.7), "L2": (20.8, 17.2, 4.4, 7.4, 38, 7, 34, 23.8),
    "L3": (21.6, 17.4, 5, 7.2, 44, 7, 35, 24.3), "L4": (22.8, 17.4, 6.2, 7, 42, 7, 32, 25.4),
    "L5": (24, 17.2, 7.6, 7, 45, 7, 26, 27.1),
}  # fmt: skip
"""Half width, half depth; half width and height of the pedicle; transverse process; fall and reach
of the spinous process; width of the canal between the pedicles [mm]."""


UPRIGHT = ((60.0, 90.0, 136.0, 165.0), (1.0, 0.72, 0.66, 1.0))
"""By height [mm]: how much of the slope of the spine its bodies follow. T1 is tilted by 26 degrees
in adults (Lee et al., J. Spinal Disord. Tech. 25 (2012) E41), by 41 in the CT with this midline."""


def _vertebrae() -> tuple[Vertebra, ...]:
    measured = [(name, *center) for name, center in vertebral_centers().items()]
    rows = [*_ABOVE, *measured, *_BELOW, ("S1", *SACRUM[0])]
    centers = np.array([row[1:] for row in rows], float)
    along = np.gradient(centers, axis=0)
    along[:, 0] *= 0.5
    along[:, 1] *= np.interp(centers[:, 2], *UPRIGHT)
    pitch = np.linalg.norm(np.gradient(centers, axis=0), axis=1)
    down = along / np.linalg.norm(along, axis=1)[:, None]
    return tuple(
        _vertebra(row[0], center, direction, step)
        for row, center, direction, step in zip(rows, centers, down, pitch, strict=True)
        if row[0] in _SIZES
    )


def _vertebra(name: str, center: Points, down: Points, pitch: float) -> Vertebra:
    width, depth, pedicle_width, pedicle_height, transverse, fall, reach, canal = _SIZES[name]
    x, y, z = center.tolist()
    dx, dy, dz = down.tolist()
    return Vertebra(
        name=name,
        center_xyz_mm=(x, y, z),
        down=(dx, dy, dz),
        height_mm=float(pitch * {"C": 0.72, "T": 0.79, "L": 0.74}[name[0]]),
        half_width_mm=width,
        half_depth_mm=depth,
        pedicle_mm=(pedicle_width, pedicle_height),
        transverse_mm=transverse,
        spinous_mm=(fall, reach),
        canal_mm=canal,
    )


VERTEBRAE = _vertebrae()
"""C3 to L5; atlas and axis are drawn apart."""
FEMALE_SHARE = 0.88
"""Width and depth of a woman's vertebral bodies beside a man's of the same stature: their area is a
quarter less (Gilsanz et al., Radiology 190 (1994) 678)."""


def vertebrae_of(build: Build) -> tuple[Vertebra, ...]:
    """Return C3 to L5 of this body."""
    share = FEMALE_SHARE if build.female else 1.0
    return tuple(
        replace(
            each, half_width_mm=each.half_width_mm * share, half_depth_mm=each.half_depth_mm * share
        )
        for each in VERTEBRAE
    )


def midline_x(z_mm: float) -> float:
    """Return x of the middle of the body at a height [mm]: the spine is curved a little."""
    centers = np.array([v.center_xyz_mm for v in VERTEBRAE])[::-1]
    return float(np.interp(z_mm, centers[:, 2], centers[:, 0]))


def spine_landmarks() -> dict[str, tuple[float, float, float]]:
    """Return the middles of the vertebral bodies and the promontory [mm]."""
    points = {f"{each.name} body": each.center_xyz_mm for each in VERTEBRAE}
    for upper, lower in itertools.pairwise(VERTEBRAE):
        middle = (np.array(upper.center_xyz_mm) + lower.center_xyz_mm) / 2
        points[f"disc {upper.name}/{lower.name}"] = (*middle.tolist(),)
    lumbar = next(each for each in VERTEBRAE if each.name == "L1")
    cone = lumbar.at(0, lumbar.half_depth_mm + 8, 0).tolist()
    return points | {
        "anterior arch of C1": (-14.0, -27.0, 253.0),
        "tip of the dens": (-14.0, -20.0, 260.0),
        "conus medullaris": (cone[0], cone[1], cone[2]),
        "sacral promontory": (10.0, 13.0, -264.0),
        "tip of the coccyx": (SACRUM[0][0] * 1.0, COCCYX[-1][0] * 1.0, COCCYX[-1][1] * 1.0),
    }


def paint_spine(canvas: Canvas, build: Build) -> None:
    """Canal first, then discs, bodies and arches over it, sacrum and coccyx."""
    vertebrae = vertebrae_of(build)
    _paint_canal(canvas, vertebrae)
    canvas.part = "intervertebral_discs"
    for vertebra in vertebrae:
        _paint_disc(canvas, vertebra)
    for vertebra in vertebrae:
        canvas.part = f"vertebrae_{vertebra.name}"
        _paint_body(canvas, vertebra)
        _paint_arch(canvas, vertebra)
    _paint_axis(canvas)
    canvas.part = "vertebrae_C1"
    _paint_atlas(canvas)
    canvas.part = "sacrum"
    _paint_sacrum(canvas, build)


def _paint_canal(canvas: Canvas, vertebrae: tuple[Vertebra, ...]) -> None:
    centers = [v.at(0, v.half_depth_mm + 8.0, 0) for v in vertebrae]
    points = np.array([(-14, 0, 262), (-15, 1, 236), *centers, (10, 50, -262), (10, 68, -287)])
    canvas.part = "spinal_cord"
    canal = canvas.union_around(points, 14.0)
    canal.tube(points, 8.0)
    canal.fill((0.0, FLUID_HU), (2.5, CORD_HU))


HOLLOW_MM = 1.7
"""How far the end plates sink in the middle."""


def _drum(
    axes: Axes, vertebra: Vertebra, half_height_mm: float, waist_mm: float, hollow_mm: float = 0.0
) -> Field:
    """Distance to a drum across the spine, hollow behind.

    It is slimmer by `waist_mm` at mid height, and its ends sink by `hollow_mm` in the middle.
    """
    u, v, w = (along(axes, row, vertebra.center_xyz_mm) for row in vertebra.frame)
    waist = np.float32(waist_mm) * (1 - np.minimum((w / np.float32(half_height_mm)) ** 2, 1))
    flat = np.zeros((1, 1, 1), np.float32)
    section = (vertebra.half_width_mm, vertebra.half_depth_mm, 1e3)
    side = ellipsoid((u, v, flat), (0, 0, 0), section) + waist
    behind = (vertebra.half_width_mm * 0.8, vertebra.half_width_mm * 0.5, 1e3)
    canal = ellipsoid((u, v, flat), (0, vertebra.half_depth_mm * 1.45, 0), behind)
    outside = np.minimum((u / section[0]) ** 2 + (v / section[1]) ** 2, 1)
    ends = np.abs(w) - np.float32(half_height_mm) + np.float32(hollow_mm) * (1 - outside)
    return smooth_max(smooth_max(side, -canal, 4.0), np.asarray(ends, np.float32), 2.0)


def _paint_disc(canvas: Canvas, vertebra: Vertebra) -> None:
    half = vertebra.height_mm * 0.72
    reach = max(vertebra.half_width_mm, half) + 6
    center = np.array(vertebra.center_xyz_mm)
    block = canvas.block(center - reach, center + reach)
    canvas.paint(block, _drum(block.axes, vertebra, half, 0.0), DISC_HU)


def _paint_body(canvas: Canvas, vertebra: Vertebra) -> None:
    """Thin cortex at the waist, dense end plates, marrow with trabeculae along the spine."""
    reach = vertebra.half_width_mm + 10
    center = np.array(vertebra.center_xyz_mm)
    block = canvas.block(center - reach, center + reach)
    if not min(block.shape_zyx):
        return
    half = vertebra.height_mm / 2
    waist = 0.12 * vertebra.half_width_mm
    shell = _drum(block.axes, vertebra, half, waist, HOLLOW_MM)
    canvas.paint(block, shell, PLATE_HU)
    x, y, z = block.axes
    along = (x * np.float32(0.9), y * np.float32(0.9), z * np.float32(0.45))
    trabeculae = MARROW_HU + 55 * smooth_noise(along, 2.4, seed=6)
    inner = _drum(block.axes, vertebra, half - 1.3, waist, HOLLOW_MM)
    canvas.paint(block, np.maximum(inner, shell + np.float32(1.0)), trabeculae)


SPINOUS_MM = {"C": (2.4, 3.5), "T": (2.4, 5.5), "L": (3.2, 9.5)}
"""Half thickness and half height of the spinous process."""
SPINOUS_CORTEX = {"C": (900.0, 0.9), "T": (700.0, 0.6), "L": (1050.0, 1.0)}
"""Its CT number and thickness [mm]."""


def _paint_arch(canvas: Canvas, vertebra: Vertebra) -> None:
    """Pedicles, laminae, joints, transverse and spinous processes."""
    _paint_spinous(canvas, vertebra)
    corners = [vertebra.at(s * 52, b, u) for s in (-1, 1) for b in (0, 72) for u in (-48, 22)]
    arch = canvas.union_around(np.array(corners), 2.0)
    if not arch.distance.size:
        return
    for side in (-1, 1):
        _draw_half_arch(arch, vertebra, side)
    arch.fill((0.0, ARCH_HU[vertebra.name[0]]), (1.2, ARCH_MARROW_HU), mottle_hu=45)
    for side in (-1, 1):
        _paint_pedicle(canvas, vertebra, side)


def _paint_spinous(canvas: Canvas, vertebra: Vertebra) -> None:
    """A plate with a thin cortex, and its thick end: a drop from the front."""
    edge, (fall, reach) = vertebra.half_depth_mm, vertebra.spinous_mm
    aside = 1.4 * _difference(vertebra, 0)
    root, tip = vertebra.at(0, edge + 17, -4), vertebra.at(aside, edge + 9 + reach, -4 - fall)
    bone = canvas.union_around(np.array([root, tip]), 14.0)
    if not bone.distance.size:
        return
    thick, deep = SPINOUS_MM[vertebra.name[0]]
    bone.ribbon(np.array([root, tip]), np.array([(1.0, 0.0, 0.0)] * 2), (thick, deep))
    bone.segment((*tip, 3.4), (*(tip - (0, 0, 2.0)), 3.4))
    hu, cortex_mm = SPINOUS_CORTEX[vertebra.name[0]]
    bone.fill((0.0, hu), (cortex_mm, ARCH_MARROW_HU), mottle_hu=45)


def _paint_pedicle(canvas: Canvas, vertebra: Vertebra, side: int) -> None:
    """The densest cortex of a vertebra, from the body to the joints: a ring from the front."""
    edge, (width, height) = vertebra.half_depth_mm, vertebra.pedicle_mm
    across, up = vertebra.pedicle_x_mm, vertebra.height_mm / 2 - height - 0.5
    ends = [vertebra.at(side * (across + out), edge + back, up) for out, back in ((0, -5), (1, 8))]
    bone = canvas.union_around(np.array(ends), height + 6.0)
    if bone.distance.size:
        left = vertebra.frame[0]
        bone.ribbon(np.array(ends), np.array([left, left]), (width + 0.6, height + 0.4))
        bone.fill((0.0, PEDICLE_HU), (1.1, ARCH_MARROW_HU))


TRANSVERSE_RISE_MM = {"L1": -3.0, "L2": -1.0, "L3": 0.0, "L4": 5.0, "L5": 7.0}
"""Of the tips over their roots in the lumbar spine: those of L4 and L5 point up."""
FACETS_MM = {"C": ((3, 11), (3, 15)), "T": ((1, 9), (0, 15)), "L": ((5, 11), (-5, 16))}
"""Upper and lower joint process: outwards and backwards from the pedicle. Joints face forwards in
the thoracic spine and inwards in the lumbar one (Masharawi et al., Spine 29 (2004) 1755)."""


PILLAR_MM = {"C": 3.8, "T": 2.0, "L": 3.6}
"""Radius of the joint processes."""
JOINT_HEIGHT = {"C": (0.95, -0.95), "T": (0.7, -0.7), "L": (1.15, -1.95)}
"""Ends of the upper and the lower joint process, as shares of half the body's height."""


def _draw_half_arch(arch: Union, vertebra: Vertebra, side: int) -> None:
    edge, half = vertebra.half_depth_mm, vertebra.height_mm / 2
    across = vertebra.pedicle_x_mm
    up = half - vertebra.pedicle_mm[1] - 0.5
    kind = vertebra.name[0]
    pillar = vertebra.at(side * (across + (3 if kind == "C" else 1)), edge + 9, up - 1)
    tip_up = up + 3 if kind == "T" else up - 2 + TRANSVERSE_RISE_MM.get(vertebra.name, 0.0)
    tip_back = edge + (2 if kind == "C" else 19 if kind == "T" else 11)
    reach = vertebra.transverse_mm * (1 + _difference(vertebra, side) * 0.06)
    tip = vertebra.at(side * reach, tip_back, tip_up + 2 * _difference(vertebra, -side))
    thick = PILLAR_MM[kind]
    if kind == "L":
        _draw_blade(arch, vertebra, pillar, tip)
    else:
        arch.segment((*pillar, thick + 0.3), (*tip, 3.4 if kind == "T" else 3.0))
    _draw_lamina(arch, vertebra, side, pillar)
    for rise, (out, back) in zip((1.0, -1.0), FACETS_MM[kind], strict=True):
        height = up + half * JOINT_HEIGHT[kind][0 if rise > 0 else 1]
        joint = vertebra.at(side * (across + out), edge + back, height)
        arch.segment((*pillar, thick), (*joint, thick + 0.2))


BLADE_MM = ((2.8, 5.4), (2.2, 4.2), (2.0, 3.4), (2.0, 3.0))
"""Half thickness and half height of a lumbar transverse process from its root to its tip."""


def _draw_blade(arch: Union, vertebra: Vertebra, root: Points, tip: Points) -> None:
    """A flat transverse process that grows less high."""
    course = root + np.linspace(0, 1, len(BLADE_MM))[:, None] * (tip - root)
    arch.ribbon(course, np.tile(vertebra.frame[1], (len(course), 1)), np.array(BLADE_MM))


def _difference(vertebra: Vertebra, side: int) -> float:
    """How the two sides of a vertebra differ, -1 to 1: no two are alike."""
    return float(np.sin(17.0 * vertebra.center_xyz_mm[2] + 2.3 * side))


LAMINA_MM = {"C": 1.8, "T": 1.2, "L": 2.2}
"""Half thickness of the laminae."""


def _draw_lamina(arch: Union, vertebra: Vertebra, side: int, pillar: Points) -> None:
    """A plate from the pillar to the root of the spinous process."""
    half, edge = vertebra.height_mm / 2, vertebra.half_depth_mm
    outer = [pillar - vertebra.frame[2] * rise for rise in (half * 0.35, -half * 0.95)]
    inner = [vertebra.at(side * 1.0, edge + 19, rise) for rise in (-1.0, -half * 1.3)]
    arch.sheet(np.array(outer), np.array(inner), LAMINA_MM[vertebra.name[0]])


def _paint_axis(canvas: Canvas) -> None:
    """C2 with its dens, as a body with an arch."""
    canvas.part = "vertebrae_C2"
    bone = canvas.union((-60, -45, 215), (35, 60, 268))
    bone.tube(((-15.5, -18, 228), (-15, -18, 240), (-14.5, -19, 250), (-14, -20, 259)),
              (9, 7.5, 5, 4))  # fmt: skip
    for side in (-1, 1):
        joint = np.array([-15 + side * 15, -14, 240])
        bone.ellipsoid(joint, (9, 9, 5))
        lamina = ((-15 + side * 14, -8, 236), (-15 + side * 12, 8, 233), (-15, 20, 229))
        bone.tube(lamina, (4, 4, 5))
        bone.segment((*joint, 3.5), (-15 + side * 26, -8, 236, 3.0))
    bone.segment((-15, 20, 229, 4.5), (-15, 26, 225, 4.5))
    bone.fill((0.0, CORTEX_HU), (1.3, ARCH_MARROW_HU), mottle_hu=45)


def _paint_atlas(canvas: Canvas) -> None:
    """C1: a ring with two lateral masses."""
    bone = canvas.union((-70, -45, 235), (45, 45, 275))
    angle = np.radians(np.arange(0, 361, 20))
    ring = np.column_stack([-14 + 22 * np.sin(angle), -4 - 23 * np.cos(angle), 253 + 0 * angle])
    bone.tube(ring, 3.6)
    for side in (-1, 1):
        bone.ellipsoid((-14 + side * 20, -13, 252), (9, 11, 8))
        bone.segment((-14 + side * 20, -10, 252, 5), (-14 + side * 39, -4, 251, 4))
    bone.fill((0.0, CORTEX_HU), (1.3, ARCH_MARROW_HU), mottle_hu=45)


FORAMEN_MM = ((18.0, 6.0), (17.0, 5.6), (15.5, 5.0), (13.5, 4.2))
"""Of the sacral foramina: from the midline, and radius."""
SACRAL_NET = (
    ((53, 44, -259, 9.5), (30, 32, -263, 9.5), (0, 31, -265, 14.0)),
    ((54, 52, -272, 9.0), (30, 42, -275, 9.0), (0, 41, -276, 13.0)),
    ((51, 62, -286, 8.0), (28, 54, -287, 8.5), (0, 52, -287, 11.0)),
    ((44, 72, -306, 6.0), (24, 67, -309, 7.0), (0, 66, -310, 9.0)),
    ((31, 75, -328, 4.6), (17, 71, -331, 5.5), (0, 70, -333, 7.0)),
    ((19, 68, -346, 3.6), (10, 65, -349, 4.5), (0, 64, -350, 5.5)),
)
"""Rows from S1 to S5, each from the left wing to the midline: x from the midline, y, z and half
thickness [mm]."""
COCCYX = ((58, -359, 9.0, 3.4), (50, -369, 6.5, 3.2), (43, -377, 4.8, 3.0), (38, -384, 3.6, 2.6))
"""Its four pieces: y, z, half width and half depth [mm]."""


def _paint_sacrum(canvas: Canvas, build: Build) -> None:
    """Fused bodies, wings that meet the hip bones, foramina, crest, and the coccyx."""
    bone = canvas.union((-65, 0, -395), (85, 105, -235))
    if not bone.distance.size:
        return
    wide = 1.06 if build.female else 1.0
    half = np.array(SACRAL_NET, float) * (wide, 1, 1, 1)
    whole = np.concatenate([half, half[:, -2::-1] * (-1, 1, 1, 1)], axis=1)
    whole[..., 0] += SACRUM[0][0]
    bone.patch(whole, 6.0)
    body = bone.empty()
    body.add((-30, -5, -300), (50, 80, -230), _s1_body)
    bone.join(body, 6.0)
    crest = bone.empty()
    for rise, (x, y, z) in enumerate(SACRUM[:4]):
        crest.segment((x, y + 15, z - 4, 4.0 - 0.5 * rise), (x, y + 19, z - 12, 4.4 - 0.5 * rise))
    bone.join(crest, 6.0)
    bone.hollow(_foramina(bone, wide))
    bone.fill((0.0, 850.0), (1.2, 200.0), mottle_hu=75)
    _paint_promontory(canvas)
    _paint_coccyx(canvas)


def _foramina(bone: Union, wide: float) -> Union:
    """The holes of the sacrum, wider in front."""
    holes = bone.empty()
    for side in (-1, 1):
        for level, (across, r) in enumerate(FORAMEN_MM):
            y, z = (np.array(SACRUM[level][1:]) + SACRUM[level + 1][1:]) / 2
            x = SACRUM[0][0] + side * across * wide
            holes.segment((x + side * 5, y - 26, z - 13, r + 1.5), (x, y, z, r))
            holes.segment((x, y, z, r * 0.8), (x - side * 2, y + 24, z + 9, r * 0.7))
    return holes


def _paint_coccyx(canvas: Canvas) -> None:
    """Four pieces that grow smaller, with gaps between them."""
    pieces = canvas.union((-10, 20, -395), (30, 75, -345))
    down = np.array((0.0, -0.7, -0.71))
    frame = np.array([(1.0, 0.0, 0.0), np.cross((1.0, 0.0, 0.0), down), down])
    for y, z, wide, deep in COCCYX:
        pieces.ellipsoid((SACRUM[0][0], y, z), (wide, deep, 5.2), frame)
    pieces.fill((0.0, 900.0), (1.1, 220.0), mottle_hu=40)


S1_PLATE, S1_DOWN = (10.0, 22.0, -254.5), (0.0, 24.0, -26.0)
"""Middle of the upper end plate of S1 [mm], and the direction that it turns its back to."""
S1_MM = (23.0, 15.5, 26.0)
"""Half width, half depth and height of the body of S1."""


def _s1_frame() -> Points:
    """Rows: left, back and down of the body of S1."""
    down = np.array(S1_DOWN) / np.linalg.norm(S1_DOWN)
    return np.array([(1.0, 0.0, 0.0), np.cross((1.0, 0.0, 0.0), down), down])


def _s1_body(axes: Axes) -> Field:
    """Distance to the body of S1: a drum below its upper end plate."""
    u, v, w = (along(axes, row, S1_PLATE) for row in _s1_frame())
    half_width, half_depth, height = S1_MM
    flat = np.zeros((1, 1, 1), np.float32)
    side = ellipsoid((u, v, flat), (0, 0, 0), (half_width, half_depth, 1e3))
    return smooth_max(side, np.asarray(np.maximum(-w, w - np.float32(height))), 2.0)


def _paint_promontory(canvas: Canvas) -> None:
    """The upper end plate of S1."""
    plate = canvas.union((-25, 0, -275), (45, 60, -235))
    center = np.array(S1_PLATE) + 0.8 * _s1_frame()[2]
    plate.ellipsoid(center, (S1_MM[0] - 1, S1_MM[1] - 1, 1.6), _s1_frame())
    plate.fill((0.0, PLATE_HU))

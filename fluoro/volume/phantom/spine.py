"""The spine of the thorax phantom: C5 to L4 with discs, arches, processes and the canal."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fluoro.volume.phantom.canvas import Canvas, Union
from fluoro.volume.phantom.shapes import (
    Axes,
    Field,
    Points,
    Vector3,
    ellipsoid,
    smooth_max,
    smooth_noise,
)

__all__ = ["VERTEBRAE", "Vertebra", "paint_spine"]

CORTICAL_HU, MARROW_HU, DISC_HU, CORD_HU = 800.0, 220.0, 80.0, 30.0
ARCH_MARROW_HU = 240.0


@dataclass(frozen=True, kw_only=True)
class Vertebra:
    """One vertebra, lengths in mm.

    Attributes:
        name: C5 ... L4.
        center_xyz_mm: Middle of its body in patient LPS.
        down: Unit vector along the spine, towards the feet.
        height_mm: Height of the body.
        half_width_mm: Of the body.
        half_depth_mm: Of the body.
        transverse_mm: Midline to the tip of the transverse process.
        spinous_drop_mm: How far the spinous process falls on its way back.
        spinous_reach_mm: Back of the body to the tip of the spinous process.
    """

    name: str
    center_xyz_mm: tuple[float, float, float]
    down: tuple[float, float, float]
    height_mm: float
    half_width_mm: float
    half_depth_mm: float
    transverse_mm: float
    spinous_drop_mm: float
    spinous_reach_mm: float

    @property
    def back(self) -> Points:
        """Unit vector from the body to the spinous process, at right angles to `down`."""
        return np.cross((1.0, 0.0, 0.0), self.down)

    def at(self, left_mm: float, back_mm: float, up_mm: float) -> Points:
        """Return the patient LPS [mm] of a point given in the vertebra's own directions."""
        offset = left_mm * np.array([1.0, 0, 0]) + back_mm * self.back - up_mm * np.array(self.down)
        return np.asarray(self.center_xyz_mm) + offset


_TABLE = (
    ("C5", -1, 178, 12, 8, 25, 8, 36), ("C6", 3, 163, 13, 8, 26, 8, 38),
    ("C7", 9, 149, 14, 8.5, 31, 10, 44), ("T1", 15, 136, 15, 9, 37, 12, 42),
    ("T2", 24, 121, 15, 9.5, 34, 14, 40), ("T3", 35, 104, 15, 10.5, 33, 16, 38),
    ("T4", 46, 86, 14.5, 11.5, 32, 18, 36), ("T5", 55, 67, 14.5, 12.5, 32, 21, 35),
    ("T6", 62, 47, 14.5, 13.5, 32, 22, 34), ("T7", 66, 25, 15, 14.5, 31, 22, 34),
    ("T8", 67, 2, 15.5, 15, 31, 21, 34), ("T9", 64, -22, 16.5, 15.5, 30, 18, 34),
    ("T10", 58, -47, 17.5, 16, 28, 14, 34), ("T11", 50, -73, 19, 16, 24, 10, 36),
    ("T12", 39, -100, 20.5, 16, 20, 8, 38), ("L1", 28, -129, 21.5, 16.5, 33, 7, 42),
    ("L2", 17, -160, 22.5, 17, 38, 7, 45), ("L3", 9, -193, 23.5, 17, 42, 7, 46),
)  # fmt: skip
"""Name, y and z of the body's centre, its half width and half depth, reach of the transverse
process, fall and reach of the spinous process [mm]."""


def _vertebrae() -> tuple[Vertebra, ...]:
    centers = np.array([(0.0, row[1], row[2]) for row in _TABLE])
    along = np.gradient(centers, axis=0)
    spacing = np.linalg.norm(along, axis=1)
    down = along / spacing[:, None]
    return tuple(
        Vertebra(
            name=row[0],
            center_xyz_mm=(0.0, float(row[1]), float(row[2])),
            down=(0.0, float(direction[1]), float(direction[2])),
            height_mm=float(0.8 * pitch),
            half_width_mm=float(row[3]),
            half_depth_mm=float(row[4]),
            transverse_mm=float(row[5]),
            spinous_drop_mm=float(row[6]),
            spinous_reach_mm=float(row[7]),
        )
        for row, direction, pitch in zip(_TABLE, down, spacing, strict=True)
    )


VERTEBRAE = _vertebrae()
"""From the neck to the loin: kyphotic, on the midline."""


def paint_spine(canvas: Canvas) -> None:
    """Canal first, then discs, bodies and arches over it."""
    centers = np.array([v.at(0, v.half_depth_mm + 8.5, 0) for v in VERTEBRAE])
    canvas.part = "spinal_cord"
    canal = canvas.union_around(centers, 14.0)
    canal.tube(centers, 8.5)
    canal.fill((0.0, 0.0), (2.0, CORD_HU))
    canvas.part = ""
    for vertebra in VERTEBRAE:
        _paint_disc(canvas, vertebra)
    for vertebra in VERTEBRAE:
        canvas.part = f"vertebrae_{vertebra.name}"
        _paint_body(canvas, vertebra)
        _paint_arch(canvas, vertebra)


def _drum(axes: Axes, vertebra: Vertebra, half_height_mm: float, waist_mm: float) -> Field:
    """Distance to a drum across the spine, slimmer by `waist_mm` at mid height."""
    frame = np.array([(1.0, 0.0, 0.0), vertebra.back, vertebra.down])
    x, y, z = axes
    cx, cy, cz = (np.float32(c) for c in vertebra.center_xyz_mm)
    u = x - cx
    v = (y - cy) * np.float32(frame[1, 1]) + (z - cz) * np.float32(frame[1, 2])
    w = (y - cy) * np.float32(frame[2, 1]) + (z - cz) * np.float32(frame[2, 2])
    waist = np.float32(waist_mm) * (1 - np.minimum((w / np.float32(half_height_mm)) ** 2, 1))
    section = (vertebra.half_width_mm, vertebra.half_depth_mm, 1e3)
    side = ellipsoid((u, v, np.zeros((1, 1, 1), np.float32)), (0, 0, 0), section) + waist
    return smooth_max(side, np.abs(w) - np.float32(half_height_mm), 3.0)


def _paint_disc(canvas: Canvas, vertebra: Vertebra) -> None:
    half = vertebra.height_mm * 0.68
    reach = max(vertebra.half_width_mm, half) + 6
    block = canvas.block(
        np.subtract(vertebra.center_xyz_mm, reach), np.add(vertebra.center_xyz_mm, reach)
    )
    canvas.paint(block, _drum(block.axes, vertebra, half, 0.0), DISC_HU)


def _paint_body(canvas: Canvas, vertebra: Vertebra) -> None:
    """Cortical shell, thicker end plates, marrow with trabecular mottle."""
    reach = vertebra.half_width_mm + 8
    block = canvas.block(
        np.subtract(vertebra.center_xyz_mm, reach), np.add(vertebra.center_xyz_mm, reach)
    )
    body = _drum(block.axes, vertebra, vertebra.height_mm / 2, 1.8)
    canvas.paint(block, body, CORTICAL_HU)
    trabeculae = MARROW_HU + 25 * smooth_noise(block.axes, 4.0, seed=6)
    canvas.paint(block, body + 1.4, trabeculae)


def _paint_arch(canvas: Canvas, vertebra: Vertebra) -> None:
    """Pedicles, laminae, joints, transverse and spinous processes."""
    corners = [vertebra.at(s * 46, b, u) for s in (-1, 1) for b in (0, 68) for u in (-45, 20)]
    arch = canvas.union_around(np.array(corners), 2.0)
    for side in (-1, 1):
        _draw_half_arch(arch, vertebra, side)
    edge, drop = vertebra.half_depth_mm, vertebra.spinous_drop_mm
    tip = vertebra.at(0, edge + vertebra.spinous_reach_mm - 3.5, -4 - drop)
    path = np.array([vertebra.at(0, edge + 18, -4), tip])
    arch.ribbon(path, np.array([(1.0, 0.0, 0.0)] * 2), (2.6, 6.0))
    arch.segment((*tip, 3.4), (*(tip - (0, 0, 1.5)), 3.4))
    arch.fill((0.0, CORTICAL_HU), (1.2, ARCH_MARROW_HU))


def _draw_half_arch(arch: Union, vertebra: Vertebra, side: int) -> None:
    edge, up = vertebra.half_depth_mm, vertebra.height_mm / 4
    pillar = vertebra.at(side * 13, edge + 11, up - 1)
    lamina = np.array([pillar, vertebra.at(0, edge + 20, -3)])
    tip = vertebra.at(side * vertebra.transverse_mm, edge + 18, up + 2)
    arch.segment((*vertebra.at(side * 11, edge - 3, up), 4.0), (*pillar, 4.0))
    arch.segment((*pillar, 4.2), (*tip, 3.6))
    arch.ribbon(lamina, _outward(vertebra, side), (2.6, vertebra.height_mm * 0.36))
    for rise in (-1.0, 1.0):
        joint = vertebra.at(side * 13, edge + 13, up + rise * vertebra.height_mm * 0.42)
        arch.segment((*pillar, 3.6), (*joint, 4.0))


def _outward(vertebra: Vertebra, side: int) -> NDArray[np.float64]:
    direction: Vector3 = (0.5 * side, *(0.87 * vertebra.back[1:]))
    return np.array([direction, direction])

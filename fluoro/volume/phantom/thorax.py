"""An anthropomorphic thorax made in code: a supine adult man, arms raised, as CT numbers.

Every organ is an implicit surface or a tube along a curve, drawn in patient LPS with the origin
in the middle of the box; no voxel comes from a patient. docs/phantom.md tells the anatomy, where
its sizes come from and how closely its radiograph resembles that of a chest CT.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from fluoro.errors import InputError
from fluoro.volume.grid import VolumeGrid
from fluoro.volume.phantom.bones import CLAVICLE, paint_girdle, paint_ribs, paint_sternum
from fluoro.volume.phantom.canvas import Canvas
from fluoro.volume.phantom.heart import (
    AIRWAYS,
    GREAT_VESSELS,
    paint_airways,
    paint_great_vessels,
    paint_heart,
)
from fluoro.volume.phantom.lungs import paint_lung_trees
from fluoro.volume.phantom.spine import VERTEBRAE, paint_spine
from fluoro.volume.phantom.trunk import paint_belly, paint_body, paint_lungs
from fluoro.volume.volumes import HuVolume

__all__ = ["make_thorax", "thorax_landmarks", "thorax_parts"]

BOX_XYZ_MM = (392.0, 364.0, 378.0)
"""Edges of the volume: 280 x 260 x 270 voxels of 1.4 mm."""

SPACING_RANGE_MM = (0.5, 10.0)

PAINTERS = (
    paint_body,
    paint_belly,
    paint_lungs,
    paint_lung_trees,
    paint_heart,
    paint_great_vessels,
    paint_airways,
    paint_spine,
    paint_ribs,
    paint_sternum,
    paint_girdle,
)
"""In painting order: what comes later lies over what came before."""


def make_thorax(
    spacing_mm: float = 1.4, progress: Callable[[float], None] = lambda _: None
) -> HuVolume:
    """Return CT numbers [HU] of the thorax phantom, int16, axes along patient L, P and S.

    The same anatomy at every spacing, and the same numbers in each run. The box is 392 mm wide,
    364 mm deep and 378 mm high (to within a voxel) and centred on the patient's (0, 0, 0).

    Args:
        spacing_mm: Edge of the cubic voxels [mm], 0.5 to 10. At the default the volume has
            270 x 260 x 280 voxels (z, y, x) and is made in about 0.4 GB of memory.
        progress: Told which share of the organs, 0 to 1, is painted.

    Raises:
        InputError: A spacing outside that range.
    """
    low, high = SPACING_RANGE_MM
    if not (math.isfinite(spacing_mm) and low <= spacing_mm <= high):
        raise InputError(f"spacing_mm must lie in [{low}, {high}], got {spacing_mm}")
    canvas = _painted(Canvas(_grid(spacing_mm)), progress)
    hu = np.clip(np.rint(canvas.hu_zyx), -1000, 3000).astype(np.int16)
    return HuVolume(hu_zyx=hu, grid=canvas.grid, source=f"thorax phantom, {spacing_mm:g} mm")


def thorax_parts(spacing_mm: float = 1.4) -> tuple[list[str], NDArray[np.uint8], VolumeGrid]:
    """Return the phantom's parts: their names, and which is where.

    A part has the voxels whose centres lie within its shape; what is painted later lies over what
    came before. Names are TotalSegmentator's where it has one; each lung is one part.

    Args:
        spacing_mm: As for `make_thorax`.

    Returns:
        Names of the parts 1, 2, ...; number of the part of each voxel, 0: none, shape (z, y, x),
        uint8; where the voxels lie.
    """
    canvas = _painted(Canvas(_grid(spacing_mm), note_parts=True), lambda _: None)
    assert canvas.part_zyx is not None
    return canvas.parts, canvas.part_zyx, canvas.grid


def thorax_landmarks() -> dict[str, tuple[float, float, float]]:
    """Return named points of the phantom, patient LPS [mm].

    Middles of the vertebral bodies, the carina, the aortic root and the top of its arch, the ends
    of the collar bones at the breastbone.
    """
    points = {f"{each.name} body": each.center_xyz_mm for each in VERTEBRAE}
    aorta = GREAT_VESSELS["aorta"]
    x, y, z = (float(value) for value in max(aorta, key=lambda point: point[2])[:3])
    points["aortic root"] = _point(aorta[0])
    points["aortic arch"] = (x, y, z)
    points["carina"] = _point(AIRWAYS[0][-1])
    for name, side in (("left", 1.0), ("right", -1.0)):
        x, y, z = _point(CLAVICLE[0])
        points[f"sternal end of {name} clavicle"] = (side * x, y, z)
    return points


def _point(values: Sequence[float]) -> tuple[float, float, float]:
    x, y, z = (float(value) for value in values[:3])
    return x, y, z


def _painted(canvas: Canvas, progress: Callable[[float], None]) -> Canvas:
    for number, paint in enumerate(PAINTERS, start=1):
        canvas.part = ""
        paint(canvas)
        progress(number / len(PAINTERS))
    return canvas


def _grid(spacing_mm: float) -> VolumeGrid:
    nx, ny, nz = (math.ceil(edge / spacing_mm - 1e-6) for edge in BOX_XYZ_MM)
    x, y, z = (-(n - 1) / 2 * spacing_mm for n in (nx, ny, nz))
    return VolumeGrid(
        shape_zyx=(nz, ny, nx),
        spacing_xyz_mm=(spacing_mm, spacing_mm, spacing_mm),
        origin_xyz_mm=(x, y, z),
    )

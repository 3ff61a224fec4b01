"""A parametric human body made in code, as CT numbers: regions by name, or all of it.

Every organ is an implicit surface or a tube along a curve, drawn in patient LPS for a man of
1760 mm; other statures scale it. docs/phantom.md tells the anatomy and where its sizes come from.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from fluoro.errors import InputError
from fluoro.names import BodyRegion
from fluoro.volume.grid import VolumeGrid
from fluoro.volume.host_memory import require_memory
from fluoro.volume.phantom.body.abdomen import abdomen_landmarks, paint_abdomen
from fluoro.volume.phantom.body.arteries import artery_landmarks, paint_vessels
from fluoro.volume.phantom.body.build import REGIONS_MM, Build
from fluoro.volume.phantom.body.cage import cage_landmarks, paint_ribs, paint_sternum
from fluoro.volume.phantom.body.chest import (
    chest_landmarks,
    paint_airways,
    paint_heart,
    paint_lung_trees,
    paint_lungs,
)
from fluoro.volume.phantom.body.girdle import girdle_landmarks, paint_girdle
from fluoro.volume.phantom.body.pelvis import paint_pelvis, pelvis_landmarks
from fluoro.volume.phantom.body.skull import paint_head, paint_skull, skull_landmarks
from fluoro.volume.phantom.body.spine import paint_spine, spine_landmarks
from fluoro.volume.phantom.body.trunk import paint_skin
from fluoro.volume.phantom.canvas import Canvas
from fluoro.volume.volumes import HuVolume

__all__ = ["body_grid", "body_landmarks", "body_parts", "make_body"]

SPACING_RANGE_MM = (0.5, 10.0)
BYTES_PER_VOXEL = 40
"""While it is painted: CT numbers and intermediate fields of the largest organ."""
HU_RANGE = (-1000, 3000)
RAMP_VOXELS = 1.5
"""Width of an edge."""


def _painters(build: Build) -> tuple[Callable[[Canvas], None], ...]:
    """In painting order: what comes later lies over what came before."""
    return (
        partial(paint_skin, build=build),
        paint_abdomen,
        paint_lungs,
        paint_lung_trees,
        paint_heart,
        paint_vessels,
        paint_airways,
        paint_head,
        partial(paint_spine, build=build),
        partial(paint_ribs, build=build),
        paint_sternum,
        partial(paint_girdle, build=build),
        partial(paint_pelvis, build=build),
        partial(paint_skull, build=build),
    )


def make_body(
    spacing_mm: float = 2.0,
    progress: Callable[[float], None] = lambda _: None,
    *,
    region: BodyRegion = "whole",
    build: Build | None = None,
) -> HuVolume:
    """Return CT numbers [HU] of a region of the body phantom, int16, axes along patient L, P and S.

    The same anatomy at every spacing, and the same numbers in each run. The origin lies in the
    middle of the chest.

    Args:
        spacing_mm: Edge of the cubic voxels [mm], 0.5 to 10.
        progress: Told which share of the organs, 0 to 1, is painted.
        region: What of the body.
        build: Its stature, sex, habitus and arms; None: an average man, arms down.

    Raises:
        InputError: A spacing outside that range, an unknown region, too little memory.
    """
    person = build or Build()
    canvas = _painted(region, person, spacing_mm, progress, note_parts=False)
    hu = canvas.hu_zyx
    np.clip(np.rint(hu, out=hu), *HU_RANGE, out=hu)
    return HuVolume(
        hu_zyx=hu.astype(np.int16),
        grid=body_grid(region, person, spacing_mm),
        source=f"body phantom ({region}), {spacing_mm:g} mm",
    )


def body_parts(
    region: BodyRegion, build: Build, spacing_mm: float
) -> tuple[list[str], NDArray[np.uint8], VolumeGrid]:
    """Return the parts of a region: their names, and which is where.

    A part has the voxels whose centres lie within its shape; what is painted later lies over what
    came before. Names are TotalSegmentator's where it has one.

    Args:
        region: As for `make_body`.
        build: As for `make_body`.
        spacing_mm: As for `make_body`.

    Returns:
        Names of the parts 1, 2, ...; number of the part of each voxel, 0: none, shape (z, y, x),
        uint8; where the voxels lie.
    """
    canvas = _painted(region, build, spacing_mm, lambda _: None, note_parts=True)
    assert canvas.part_zyx is not None
    return canvas.parts, canvas.part_zyx, body_grid(region, build, spacing_mm)


def body_landmarks(build: Build) -> dict[str, tuple[float, float, float]]:
    """Return named points of the whole body, patient LPS [mm]."""
    points = {
        **spine_landmarks(),
        **cage_landmarks(),
        **chest_landmarks(),
        **abdomen_landmarks(),
        **artery_landmarks(),
        **girdle_landmarks(build),
        **pelvis_landmarks(build),
        **skull_landmarks(),
    }
    scale = build.scale
    return {name: (x * scale, y * scale, z * scale) for name, (x, y, z) in points.items()}


def _painted(
    region: BodyRegion,
    build: Build,
    spacing_mm: float,
    progress: Callable[[float], None],
    *,
    note_parts: bool,
) -> Canvas:
    if region not in REGIONS_MM:
        raise InputError(f"region must be one of {', '.join(REGIONS_MM)}, got {region}")
    low, high = SPACING_RANGE_MM
    if not (math.isfinite(spacing_mm) and low <= spacing_mm <= high):
        raise InputError(f"spacing_mm must lie in [{low}, {high}], got {spacing_mm}")
    grid = body_grid(region, build, spacing_mm)
    require_memory(
        f"body phantom ({region}, {spacing_mm:g} mm)", math.prod(grid.shape_zyx) * BYTES_PER_VOXEL
    )
    canvas = Canvas(_drawn(grid, build.scale), note_parts=note_parts, ramp_voxels=RAMP_VOXELS)
    painters = _painters(build)
    for number, paint in enumerate(painters, start=1):
        canvas.part = ""
        paint(canvas)
        progress(number / len(painters))
    return canvas


def body_grid(region: BodyRegion, build: Build, spacing_mm: float) -> VolumeGrid:
    """Return voxels of a region of this body."""
    low, high = (np.array(corner) * build.scale for corner in REGIONS_MM[region])
    counts = [math.ceil(edge / spacing_mm - 1e-6) for edge in (high - low).tolist()]
    start = (low + high) / 2 - (np.array(counts) - 1) / 2 * spacing_mm
    x, y, z = start.tolist()
    return VolumeGrid(
        shape_zyx=(counts[2], counts[1], counts[0]),
        spacing_xyz_mm=(spacing_mm,) * 3,
        origin_xyz_mm=(x, y, z),
    )


def _drawn(grid: VolumeGrid, scale: float) -> VolumeGrid:
    """The same voxels where the anatomy is drawn."""
    x, y, z = (value / scale for value in grid.origin_xyz_mm)
    return VolumeGrid(
        shape_zyx=grid.shape_zyx,
        spacing_xyz_mm=(grid.spacing_xyz_mm[0] / scale,) * 3,
        origin_xyz_mm=(x, y, z),
    )

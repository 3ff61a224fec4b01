"""Skin, fat and muscle of the trunk, neck, arms and thighs."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from fluoro.volume.phantom.body.build import Build
from fluoro.volume.phantom.canvas import Block, Canvas
from fluoro.volume.phantom.shapes import (
    Axes,
    Field,
    capsule,
    ellipsoid,
    hermite,
    on_lattice,
    ring_distance,
    smooth_max,
    smooth_min,
    smooth_noise,
)

__all__ = ["ARMS", "SHOULDER_X_MM", "paint_skin", "skin_distance"]

SKIN_HU, FAT_HU, MUSCLE_HU = 15.0, -102.0, 48.0
SKIN_MM = 1.8
AVERAGE_FAT_MM = 12.0
"""Of the outline in `RINGS`."""

RINGS = np.array([
    (-460, 10, 158, -80, 100), (-420, 10, 170, -90, 110), (-380, 10, 173, -95, 115),
    (-340, 10, 172, -100, 118), (-300, 9, 166, -106, 113), (-260, 8, 157, -113, 102),
    (-220, 6, 149, -120, 94), (-180, 4, 146, -127, 92), (-150, 3, 146, -125, 95),
    (-120, 4, 147, -119, 102), (-80, 3, 147, -116, 116), (-40, 0, 147, -112, 127),
    (0, -6, 152, -107, 131), (40, -8, 158, -101, 131), (80, -10, 163, -95, 127),
    (100, -12, 163, -90, 121), (120, -14, 160, -84, 114), (140, -15, 150, -78, 104),
    (155, -16, 130, -73, 98), (170, -16, 103, -70, 90), (185, -16, 77, -71, 78),
    (205, -15, 62, -76, 60), (230, -15, 58, -76, 50), (280, -14, 56, -70, 46),
], float)  # fmt: skip
"""Outline of trunk and neck by height: z, middle, half width, front y, back y [mm]."""
POWER = 2.4

SHOULDER_X_MM = -16.0
"""Middle between the shoulders: the spine is curved a little."""
ARMS = {
    "down": ((136, 33, 120, 49), (160, 29, 102, 52), (178, 30, 20, 47), (190, 32, -150, 40),
             (196, 24, -200, 42), (210, 4, -330, 33), (218, -8, -420, 26), (220, -14, -500, 28)),
    "raised": ((118, 24, 112, 53), (136, 26, 138, 55), (170, 8, 210, 46), (196, -6, 300, 42),
               (205, -12, 420, 38)),
}  # fmt: skip
"""Outline of the left arm from the middle of the shoulders: x, y, z, radius [mm]."""
THIGH = ((90, 8, -370, 84), (90, 12, -450, 86), (86, 16, -560, 80), (82, 18, -700, 70))
HIPS_X_MM = 10.0
HEAD = (((-14, -24, 328), (81, 101, 82)), ((-14, -62, 262), (60, 66, 66)),
        ((-14, -78, 222), (40, 46, 24)))  # fmt: skip
"""Centres and radii of the head's outline: cranium, face, jaw [mm]."""


def skin_distance(axes: Axes, build: Build) -> Field:
    """Return the distance to the skin [mm], negative inside."""
    z = axes[2]
    distance = _ring(axes, build)
    distance = smooth_max(distance, -z - np.float32(415), 40.0)
    if z.max() > 180:
        distance = smooth_max(distance, z - np.float32(255), 30.0)
        for center, radii in HEAD:
            distance = smooth_min(distance, ellipsoid(axes, center, radii), 24.0)
        nose = capsule(axes, (-14, -121, 283), (-14, -136, 262), (5.0, 9.0))
        distance = smooth_min(distance, nose, 10.0)
    for side in (-1, 1):
        course = np.array(ARMS[build.arms]) * (side, 1, 1, build.robustness)
        course[:, [0, 3]] += SHOULDER_X_MM, 0.3 * _growth(build)
        arm = _limb(axes, course)
        distance = smooth_min(distance, arm, 44.0 if build.arms == "raised" else 14.0)
        if z.min() < -300:
            thigh = np.array(THIGH) * (side, 1, 1, 1) + (HIPS_X_MM, 0, 0, _growth(build) * 0.5)
            distance = smooth_min(distance, _limb(axes, thigh), 22.0)
    return _with_breasts(axes, distance, build)


def _growth(build: Build) -> float:
    return build.fat_mm - AVERAGE_FAT_MM


def _ring(axes: Axes, build: Build) -> Field:
    x, y, z = axes
    shape = z.shape
    height = z.ravel()
    middle, width, front, back = (
        column.reshape(shape)
        for column in hermite(RINGS[:, 0], RINGS[:, 1:], height).T.astype(np.float32)
    )
    trunk = np.interp(height, (-420, -300, 130, 190), (0.7, 1, 1, 0.25)).reshape(shape)
    more = (np.float32(_growth(build)) * trunk).astype(np.float32)
    belly = np.interp(height, (-380, -210, -150, 0), (0, 1, 1, 0)).reshape(shape)
    front = front - more * np.float32(0.8) - (np.float32(build.belly_mm) * belly)
    if build.female:
        hips = np.interp(height, (-420, -330, -180, -80, 60), (6, 8, -9, -9, -8)).reshape(shape)
        width = width + hips.astype(np.float32)
    width, back = width + more, back + more * np.float32(0.8)
    return ring_distance(
        x - middle, y - (front + back) / 2, width, (back - front) / 2, POWER
    ).astype(np.float32)


def _limb(axes: Axes, course: NDArray[np.float64]) -> Field:
    distance: Field = np.full((1, 1, 1), 1e3, np.float32)
    low, high = float(axes[2].min()), float(axes[2].max())
    for a, b in itertools.pairwise(course):
        if min(a[2], b[2]) - 90 < high and max(a[2], b[2]) + 90 > low:
            part = capsule(axes, a[:3], b[:3], (a[3], b[3]))
            distance = smooth_min(distance, part, 4.0)
    return distance


def _with_breasts(axes: Axes, distance: Field, build: Build) -> Field:
    if not build.female or axes[2].min() > 110 or axes[2].max() < -60:
        return distance
    for side in (-1, 1):
        breast = ellipsoid(axes, (-8 + side * 76, -102, 18), (56, 36, 52))
        distance = smooth_min(distance, breast, 24.0)
    return distance


def _fat_mm(axes: Axes, build: Build) -> Field:
    """Thickness of subcutaneous fat: thin over breastbone, spine and limbs, thick at the flanks."""
    x, y, z = axes
    side = np.minimum(np.abs(x - np.float32(-6)) / 120, 1)
    share = np.float32(0.45) + np.float32(0.75) * side * side
    flank = np.interp(z.ravel(), (-400, -260, -100, 60, 140, 200), (1.5, 1.35, 1.2, 0.8, 0.45, 0.3))
    limb = np.where(np.abs(x + 6) > 158, np.float32(0.45), np.float32(1.0))
    return np.asarray(
        np.float32(build.fat_mm) * share * limb * flank.reshape(z.shape).astype(np.float32) + 0 * y
    )


def paint_skin(canvas: Canvas, build: Build) -> None:
    """Skin, subcutaneous fat, and muscles with fat between them down to the rib cage."""
    for block in canvas.slabs():
        distance = on_lattice(block.axes, lambda axes: skin_distance(axes, build))
        marbling = on_lattice(block.axes, lambda axes: smooth_noise(axes, 9.0, seed=1))
        canvas.paint(block, distance, SKIN_HU)
        canvas.paint(block, distance + np.float32(SKIN_MM), FAT_HU + marbling * np.float32(6))
        _paint_breasts(canvas, block.axes, block.slices, build)
        fat = on_lattice(block.axes, lambda axes: _fat_mm(axes, build), 8.0)
        fat *= 1 + np.float32(0.12) * marbling
        inner = np.asarray(distance + np.float32(SKIN_MM) + fat)
        planes = on_lattice(block.axes, _muscle_planes)
        sheets = np.float32(-95) * np.maximum(1 - np.abs(planes) * 9, 0)
        muscle = np.minimum(np.float32(MUSCLE_HU - 8) + 12 * marbling, 62) + sheets
        canvas.paint(block, inner, np.asarray(muscle))


def _muscle_planes(axes: Axes) -> Field:
    """Noise that is 0 where fat lies between two muscles, drawn out along the body."""
    x, y, z = axes
    return smooth_noise((x, y, z * np.float32(0.3)), 13.0, seed=21)


def _paint_breasts(
    canvas: Canvas, axes: Axes, slices: tuple[slice, slice, slice], build: Build
) -> None:
    """Glandular tissue within the breasts' fat."""
    if not build.female:
        return
    for side in (-1, 1):
        gland = ellipsoid(axes, (-8 + side * 76, -106, 16), (38, 22, 36))
        texture = np.asarray(20 + 45 * smooth_noise(axes, 7.0, seed=22))
        canvas.paint(Block(slices=slices, axes=axes), gland, np.minimum(texture, 50))

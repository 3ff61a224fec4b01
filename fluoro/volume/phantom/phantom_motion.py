"""How a phantom moves: a displacement for every point, by the time of the frame.

An image at time t is that of the volume at rest (breathed out, the heart full), each point x
shown with what lies at x + d(x, t): d = breath(t) B(x) + beat(t) H(x), two fields on a coarse grid.
Tissue is neither made nor lost by design, but density does not follow: a fuller lung stays as
dense as it was.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fluoro.config import MotionConfig
from fluoro.volume.grid import VolumeGrid
from fluoro.volume.phantom.heart import heart_distance
from fluoro.volume.phantom.shapes import Axes, Field
from fluoro.volume.phantom.thorax import BOX_XYZ_MM
from fluoro.volume.phantom.trunk import cage_distance, dome_distance

__all__ = ["MovingAnatomy", "ThoraxMotion", "beat", "breath"]

NODE_MM = 10.0
"""Between neighbouring nodes: fields fade over 15 mm or more."""

SYSTOLE, RELAXED = 0.35, 0.65
"""End of contraction and of relaxation, as shares of a beat."""

HEART_CENTER_MM = np.array([27.0, -22.0, 2.0])
"""About which the heart shrinks."""
HEART_FADE_MM = 30.0
"""Outside the heart its motion has died away."""

WALL_FADE_MM = 18.0
"""Inside the ribs: over this depth the organs' descent sets in."""
APEX_MM, DOME_MM = 140.0, 10.0
"""Heights between which the descent grows from nothing to its whole."""
BELLY_MM, FLOOR_MM = -130.0, -230.0
"""Heights between which the belly, which is pushed forward, takes it up."""
SPINE_MM = (0.0, 62.0, 42.0)
"""The spine: x and y of its middle, and how far it holds tissue back."""
CHEST_SHARE = 0.25
"""Of the descent, by which the front of the chest is lifted forward."""


def beat(phase: float) -> float:
    """Contraction at a phase of the beat (0 to 1, repeating): 0 full, 1 at the end of systole."""
    at = phase % 1.0
    if at < SYSTOLE:
        return 0.5 - 0.5 * math.cos(math.pi * at / SYSTOLE)
    if at < RELAXED:
        return 0.5 + 0.5 * math.cos(math.pi * (at - SYSTOLE) / (RELAXED - SYSTOLE))
    return 0.0


def breath(phase: float) -> float:
    """Return the depth of the breath at a phase (0 to 1, repeating): 0 breathed out, 1 in."""
    return 0.5 - 0.5 * math.cos(2 * math.pi * phase)


@dataclass(frozen=True, kw_only=True)
class MovingAnatomy:
    """What moves in a phantom: distances to its surfaces [mm], negative inside or below.

    Attributes:
        cage: Surface through the middle of the ribs.
        dome: Upper face of the diaphragm.
        heart: Surface of the heart.
        box_xyz_mm: Edges of the box that holds what moves, about (0, 0, 0).
        scale: Lengths of the phantom beside those that the distances are drawn with.
    """

    cage: Callable[[Axes], Field]
    dome: Callable[[Axes], Field]
    heart: Callable[[Axes], Field]
    box_xyz_mm: tuple[float, float, float]
    scale: float = 1.0


THORAX = MovingAnatomy(
    cage=cage_distance, dome=dome_distance, heart=heart_distance, box_xyz_mm=BOX_XYZ_MM
)


class ThoraxMotion:
    """Displacements of a phantom's chest and belly.

    Args:
        config: Rates and amplitudes.
        anatomy: What moves; the thorax phantom's by default.

    Attributes:
        grid: The nodes, patient LPS.
    """

    def __init__(self, config: MotionConfig, anatomy: MovingAnatomy = THORAX) -> None:
        self._config = config
        self.grid = _node_grid(anatomy)
        axes = _axes(self.grid, anatomy.scale)
        self._breathing = _breathing(axes, anatomy)
        self._beating = np.float32(anatomy.scale) * _beating(axes, anatomy)

    def displacements_mm(self, time_s: float) -> NDArray[np.float32]:
        """Return where tissue seen at each node lies at rest, less the node [mm], (z, y, x, 3)."""
        config = self._config
        depth = config.breath_mm * breath(time_s * config.breaths_per_min / 60)
        contraction = config.heart_contraction * beat(time_s * config.heart_rate_per_min / 60)
        stretch = 1 / (1 - contraction) - 1
        moved = np.float32(depth) * self._breathing + np.float32(stretch) * self._beating
        return np.asarray(moved, np.float32)


def _node_grid(anatomy: MovingAnatomy) -> VolumeGrid:
    edges = [edge * anatomy.scale for edge in anatomy.box_xyz_mm]
    counts = [math.ceil(edge / NODE_MM) + 1 for edge in edges]
    x, y, z = (-(count - 1) / 2 * NODE_MM for count in counts)
    return VolumeGrid(
        shape_zyx=(counts[2], counts[1], counts[0]),
        spacing_xyz_mm=(NODE_MM,) * 3,
        origin_xyz_mm=(x, y, z),
    )


def _axes(grid: VolumeGrid, scale: float) -> Axes:
    """Coordinates of the nodes where the anatomy is drawn."""
    x, y, z = (
        ((origin + spacing * np.arange(count)) / scale).astype(np.float32)
        for origin, spacing, count in zip(
            grid.origin_xyz_mm, grid.spacing_xyz_mm, grid.shape_xyz, strict=True
        )
    )
    return x[None, None, :], y[None, :, None], z[:, None, None]


def _eased(value: Field, low: float, high: float) -> Field:
    """0 where value is at `low`, 1 at `high`, smooth in between."""
    share = np.clip((value - np.float32(low)) / np.float32(high - low), 0, 1)
    return np.asarray(share * share * (3 - 2 * share))


def _breathing(axes: Axes, anatomy: MovingAnatomy) -> Field:
    """Displacement for a descent of 1 mm: organs from above, the front of the chest from behind."""
    x, y, z = axes
    inside = _eased(-anatomy.cage(axes), 0.0, WALL_FADE_MM)
    spine_x, spine_y, spine_mm = SPINE_MM
    from_spine = np.sqrt((x - np.float32(spine_x)) ** 2 + (y - np.float32(spine_y)) ** 2)
    free = inside * _eased(from_spine, 0.5 * spine_mm, spine_mm)
    height = _eased(-z, -APEX_MM, DOME_MM) * _eased(z, FLOOR_MM, BELLY_MM)
    down = free * height
    front = _eased(-y, -30.0, 60.0) * _eased(-anatomy.cage(axes), -40.0, 10.0)
    lift = np.float32(CHEST_SHARE) * front * _eased(-z, -APEX_MM, 0.0) * _eased(z, -220.0, -60.0)
    zero = np.zeros(down.shape, np.float32)
    return np.stack([zero, lift + zero, down], axis=-1).astype(np.float32)


def _beating(axes: Axes, anatomy: MovingAnatomy) -> Field:
    """Displacement for a stretch of 1 about the heart's middle; the lungs around give way."""
    share = _eased(-anatomy.heart(axes), -HEART_FADE_MM, 0.0)
    rests = _eased(anatomy.dome(axes), -12.0, 6.0)
    parts = [
        (axis - np.float32(center)) * share * rests
        for axis, center in zip(axes, HEART_CENTER_MM, strict=True)
    ]
    return np.stack(np.broadcast_arrays(*parts), axis=-1).astype(np.float32)

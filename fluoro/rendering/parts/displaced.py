"""What the spans of posed solids take out of a sampled volume, or add of it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fluoro.rendering.parts.base import Canvas
from fluoro.rendering.ray_kernels import DISPLACE, DISPLACED_JACOBIAN, Quantity
from fluoro.rendering.ray_volume import RayVolume, Reading
from fluoro.volume.grid import VolumeGrid

__all__ = ["Displaced", "launch_displace"]


class Displaced(NamedTuple):
    """A sampled volume along whose rays spans lie.

    Attributes:
        rays: The volume.
        quantity: What is summed of it.
        uniforms: Of its materials: `ramps`, `mix`, `material_count`.
        first_plane: Its first plane, counted over all views.
        grid: Where it is; None: the volume's own.
        reading: How it is marched through; None: as it is at rest.
    """

    rays: RayVolume
    quantity: Quantity
    uniforms: dict[str, Any]
    first_plane: int
    grid: VolumeGrid | None = None
    reading: Reading | None = None


def launch_displace(
    volume: Displaced,
    canvas: Canvas,
    taken: dict[str, Any],
    *,
    sign: float,
    least_mm: float,
    seen: Any = None,
) -> None:
    """Add what lies in the spans of the rays to a volume's planes, with its derivatives.

    Args:
        volume: The volume.
        canvas: What is drawn onto.
        taken: Uniforms of the spans (`TakenRays` in shaders/taken.slang).
        sign: 1: it is added, -1: it is taken out.
        least_mm: What is left of a thickness is at least this [mm].
        seen: Motions of the view as the volume sees them, of the device; None: no derivatives.
    """
    plain = {name: each for name, each in taken.items() if name != "end_slopes"}
    common = {
        "first_plane": volume.first_plane,
        "span_anchor": canvas.anchor,
        "sign": sign,
        **volume.uniforms,
    }
    reading = volume.reading or volume.rays.marched_reading(volume.quantity)
    volume.rays.launch(
        DISPLACE,
        reading._replace(grid=volume.grid) if volume.grid else reading,
        [canvas.view],
        thicknesses=canvas.image,
        least=least_mm,
        **common,
        **plain,
    )
    if canvas.slopes is None:
        return
    grid = volume.grid or volume.rays.grid
    turn = np.ascontiguousarray(grid.index_from_world[:3, :3], np.float32)
    volume.rays.launch(
        DISPLACED_JACOBIAN,
        volume.rays.marched_gradient_reading(volume.quantity)._replace(grid=grid),
        [canvas.view],
        weights=canvas.slopes.weights,
        world_views=canvas.packed,
        index_from_mm=volume.rays.device.to_device(turn),
        volume_motions=seen,
        **canvas.slopes.parameters,
        **common,
        **taken,
    )

"""What draws one solid with a pose: its kernel, and what the kernel draws onto."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fluoro.geometry.projection import View
from fluoro.rendering.devices.base import ComputeDevice
from fluoro.volume.grid import VolumeGrid
from fluoro.volume.posed_solid import PosedSolid

__all__ = ["MOST_SPANS", "Canvas", "Part"]

MOST_SPANS = 16
"""Separate pieces of a ray that solids may take: shaders/taken.slang."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Canvas:
    """One view that posed solids are drawn onto.

    Kernels work in millimetres: `packed` is the view on a grid of 1 mm, whose origin is `grid`'s
    and whose axes are the patient's. A span of a ray [mm] counts from the view's anchor.

    Attributes:
        view: The view.
        time_s: Moment of the run [s].
        grid: One voxel of 1 mm in the middle of the patient.
        packed: The view as `View.load` of shaders/rays.slang reads it, on the device.
        image: Thicknesses [mm], shape (..., planes, height, width), on the device.
        planes: Plane of `image` for each of the solid's materials, counted over all views.
        keeps: Whether spans go on from those of the solids before (it displaces), or not.
        taken: Uniforms `span_counts` and `spans` (`TakenRays` in shaders/taken.slang).
    """

    view: View
    time_s: float
    grid: VolumeGrid
    packed: Any
    image: Any
    planes: Sequence[int]
    keeps: bool
    taken: dict[str, Any]

    def uniforms(self) -> dict[str, Any]:
        """What every kernel of a part takes."""
        return {
            "views": self.packed,
            "image_size": (self.view.width_px, self.view.height_px, 1),
            "thicknesses": self.image,
            "keeps": int(self.keeps),
            **{f"taken.{name}": value for name, value in self.taken.items()},
        }


class Part:
    """Draws one solid.

    Args:
        solid: The solid.
        device: Where.
    """

    def __init__(self, solid: Any, device: ComputeDevice) -> None:
        self.solid: PosedSolid = solid
        self.device = device

    def draw(self, canvas: Canvas) -> None:
        """Add the solid's thicknesses to its planes, and its spans to what is taken."""
        raise NotImplementedError

"""What draws one solid with a pose: its kernel, and what the kernel draws onto."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fluoro.geometry.projection import View
from fluoro.rendering.devices.base import ComputeDevice, KernelText
from fluoro.rendering.parts.slopes import SLOPE_FLOATS, Slopes, sloped
from fluoro.volume.grid import VolumeGrid
from fluoro.volume.posed_solid import PosedSolid

__all__ = ["MOST_SPANS", "Canvas", "Part", "RaySpans"]

MOST_SPANS = 16
"""Separate pieces of a ray that solids may take: shaders/taken.slang."""

CELL = 16
"""Pixels of a cell: shaders/taken.slang."""

CLEARED_COLUMNS = 1024
"""Columns that a thread clears on the CPU: RUN in shaders/parts/clear.slang."""


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
        anchor: Parameter of a ray, from the source (0) to the pixel (1), where its spans have 0.
        tissue_plane: Plane of `image` for the patient's first tissue, counted over all views.
        planes: Plane of `image` for each of the solid's materials, counted over all views.
        keeps: Whether spans go on from those of the solids before (it displaces), or not.
        taken: Uniforms `span_counts`, `touched` and `spans` (`TakenRays` in shaders/taken.slang).
        number: Of the solid, in the order of drawing.
        slopes: What derivatives are added up with respect to; None: none are.
    """

    view: View
    time_s: float
    grid: VolumeGrid
    packed: Any
    image: Any
    anchor: float
    tissue_plane: int
    planes: Sequence[int]
    keeps: bool
    taken: dict[str, Any]
    number: int = 0
    slopes: Slopes | None = None

    def kernel(self, module: str) -> str | KernelText:
        """Return the kernel of a part, with derivatives where they are wanted."""
        return sloped(module) if self.slopes else module

    def uniforms(self) -> dict[str, Any]:
        """Return what every kernel of a part takes."""
        more: dict[str, Any] = {}
        if self.slopes:
            named = {f"parameters.{name}": each for name, each in self.slopes.parameters.items()}
            more = {**named, "weights": self.slopes.weights, "solid": self.number}
        return {
            **more,
            "views": self.packed,
            "image_size": (self.view.width_px, self.view.height_px, 1),
            "thicknesses": self.image,
            "keeps": int(self.keeps),
            **{f"taken.{name}": value for name, value in self.taken.items()},
        }


class RaySpans:
    """Spans of the rays of one view: the same arrays for every view of its size.

    Args:
        device: Where they lie.
        most: Spans of a ray; 0: none is kept.
    """

    def __init__(self, device: ComputeDevice, most: int = MOST_SPANS) -> None:
        self._device, self._most = device, most
        self._slopes: Any = None
        self._made: tuple[tuple[int, int], dict[str, Any]] | None = None

    def cleared(
        self,
        view: View,
        image: Any,
        first_plane: int = 0,
        planes: int = 0,
        *,
        with_slopes: bool = False,
    ) -> dict[str, Any]:
        """Return uniforms `span_counts`, `touched` and `spans` (`TakenRays`) without a span.

        Args:
            view: One view.
            image: Thicknesses [mm] of all views, on the device, of which some planes become 0.
            first_plane: The first of these.
            planes: How many.
            with_slopes: Also return `end_slopes`: how the ends of spans move.
        """
        size = (view.height_px, view.width_px)
        if self._made is None or self._made[0] != size:
            self._made = size, self._empty(size)
        taken = self._made[1]
        run = CLEARED_COLUMNS if self._device.rays_per_thread > 1 else 1
        columns = -(-view.width_px // run)
        uniforms = {
            "image_size": (view.width_px, view.height_px, 1),
            "first_plane": first_plane,
            "cleared_planes": planes,
            "thicknesses": image,
            "span_counts": taken["span_counts"],
            "touched": taken["touched"],
        }
        self._device.launch("clear", "clear_parts", (columns, view.height_px, 1), uniforms)
        if not with_slopes:
            return taken
        shape = (self._most, 2, SLOPE_FLOATS, *size)
        if self._slopes is None or self._slopes.shape != shape:
            self._slopes = self._device.empty(shape)
        return {**taken, "end_slopes": self._slopes}

    def _empty(self, size: tuple[int, int]) -> dict[str, Any]:
        cells = size[0] * size[1] // CELL + 1
        return {
            "span_counts": self._device.to_device(np.zeros(size, np.int32)),
            "touched": self._device.to_device(np.zeros(cells, np.int32)),
            "spans": self._device.empty((self._most, 2, *size) if self._most else (1,)),
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
        """Add the solid's thicknesses to its planes, and its spans to what is taken.

        Raises:
            NotImplementedError: The base draws nothing.
        """
        raise NotImplementedError

    def measure(self, canvas: Canvas) -> None:
        """Add the way through the solid to the planes, of which there is one at least."""
        self.draw(canvas)

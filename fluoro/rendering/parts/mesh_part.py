"""Draws closed meshes, and parts of a CT inside of one."""

from __future__ import annotations

from typing import Any

import numpy as np

from fluoro.rendering.devices.base import ComputeDevice
from fluoro.rendering.mesh_tracer import MeshTracer
from fluoro.rendering.parts.base import Canvas, Part, RaySpans
from fluoro.rendering.parts.displaced import Displaced, launch_displace
from fluoro.rendering.projectors import PROJECTORS
from fluoro.rendering.ray_kernels import ramps
from fluoro.rendering.ray_volume import RayVolume
from fluoro.volume.rigid_solids import MeshSolid, OutlinedSolid, SampledSolid

__all__ = ["MeshPart", "SampledPart"]

LEAST_MM = -1e6
"""What is added to is not held to a range: it may be below 0 where weights are."""


class OutlinedPart(Part):
    """Finds what of each ray lies inside of an `OutlinedSolid`."""

    def __init__(self, solid: OutlinedSolid, device: ComputeDevice) -> None:
        super().__init__(solid, device)
        self._outlined, self._tracer = solid, MeshTracer(solid.surface, device)

    def trace(self, entry: str, canvas: Canvas, plane: int, left: dict[str, Any]) -> None:
        """Run an entry point of shaders/parts/mesh.slang.

        Args:
            entry: Its name.
            canvas: What is drawn onto.
            plane: Plane of the image that thickness is added to.
            left: Uniforms `span_counts`, `touched` and `spans`, written where the entry does.
        """
        world_from_object = self._outlined.track.at(canvas.time_s)
        object_from_world = np.asarray(np.linalg.inv(world_from_object))
        traced = self._tracer.traced(canvas.view, object_from_world)
        if 0 in traced.threads:
            return
        uniforms = canvas.uniforms()
        views = uniforms.pop("views")
        uniforms.pop("image_size")
        if canvas.slopes:
            turn = self.device.to_device(
                np.ascontiguousarray(world_from_object[:3, :3], np.float32)
            )
            uniforms |= {"turn": turn, "world_views": views}
        self.device.launch(
            canvas.kernel("mesh"),
            entry,
            traced.threads,
            {
                **uniforms,
                **traced.uniforms,
                **{f"left.{name}": value for name, value in left.items()},
                "plane": plane,
                "span_shift": traced.middle - canvas.anchor,
            },
        )


class MeshPart(OutlinedPart):
    """Draws a `MeshSolid`."""

    def __init__(self, solid: MeshSolid, device: ComputeDevice) -> None:
        super().__init__(solid, device)

    def draw(self, canvas: Canvas) -> None:
        """Add the solid's thickness to its plane, and its spans to what is taken."""
        self.trace("add_mesh", canvas, canvas.planes[0], canvas.taken)


class SampledPart(OutlinedPart):
    """Draws a `SampledSolid`: finds its spans, then samples it along them."""

    def __init__(self, solid: SampledSolid, device: ComputeDevice) -> None:
        super().__init__(solid, device)
        self._sampled = solid
        volume, tissues = solid.volume, solid.tissues
        table = tissues.ramps(volume.water_mu_per_mm)
        self._quantity = ramps(len(table))
        step_mm = min(volume.grid.spacing_xyz_mm) / 2
        march = PROJECTORS["march"]
        self._rays = RayVolume(device, march, volume.mu_zyx, volume.grid, step_mm)
        self._materials = {
            "ramps": device.to_device(table.astype(np.float32)),
            "mix": device.to_device(tissues.mix.astype(np.float32)),
            "material_count": len(tissues.mix),
        }
        self._spans = RaySpans(device)

    def draw(self, canvas: Canvas) -> None:
        """Add the tissues' thicknesses to the patient's planes, and the spans to what is taken."""
        slopes = canvas.slopes
        left = self._spans.cleared(canvas.view, canvas.image, with_slopes=slopes is not None)
        self.trace("mesh_spans", canvas, 0, left)
        grid = self._rays.grid.moved(self._outlined.track.at(canvas.time_s))
        launch_displace(
            Displaced(self._rays, self._quantity, self._materials, canvas.tissue_plane, grid),
            canvas,
            left,
            sign=1.0,
            least_mm=LEAST_MM,
            seen=slopes.solids[canvas.number] if slopes else None,
        )

    def measure(self, canvas: Canvas) -> None:
        """Add the way through the solid's outline to a plane."""
        self.trace("add_mesh", canvas, canvas.planes[0], canvas.taken)

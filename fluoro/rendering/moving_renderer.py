"""Line integrals of a volume that moves: `march` with every sample displaced."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluoro.geometry.projection import View
from fluoro.rendering.array_checks import require_out
from fluoro.rendering.devices.base import ComputeDevice
from fluoro.rendering.projectors import PROJECTORS
from fluoro.rendering.ray_kernels import PROJECT
from fluoro.rendering.ray_volume import RayVolume, Reading
from fluoro.volume.grid import VolumeGrid

__all__ = ["MovingRenderer", "knot_steps", "moved_uniforms"]

KNOT_MM = 10.0
"""Along a ray the field is looked up so often, or at every step."""


class MovingRenderer:
    """Integrates a volume at rest along rays that are bent by a displacement field.

    A sample at x takes what lies at x + d(x). The field is looked up every 10 mm (`KNOT_MM`)
    and is linear along the ray in between.

    Args:
        values: Attenuation [1/mm], shape (z, y, x); an array of the device is read in place.
        grid: Where its voxels lie; axes along patient L, P and S.
        device: Where to render.
        step_mm: Longest step [mm]; None: half the smallest voxel edge.
    """

    def __init__(
        self, values: Any, grid: VolumeGrid, device: ComputeDevice, *, step_mm: float | None = None
    ) -> None:
        self.device, self.grid = device, grid
        self.step_mm = step_mm or min(grid.spacing_xyz_mm) / 2
        self._rays = RayVolume(device, PROJECTORS["march"], values, grid, self.step_mm)

    def render(
        self, view: View, displacements_mm: NDArray[np.float32], nodes: VolumeGrid, out: Any = None
    ) -> Any:
        """Line integrals (dimensionless) of one view, shape (height, width).

        Args:
            view: One view.
            displacements_mm: At the nodes [mm], shape (z, y, x, 3).
            nodes: Where they lie; axes along patient L, P and S.
            out: float32 array of the device to write into; None: a new one.

        Raises:
            InputError: An `out` that does not fit.
        """
        moved = moved_uniforms(self.device, self.grid, displacements_mm, nodes, self.step_mm)
        return self._launch(self._rays.moved_reading(moved), view, out)

    def render_still(self, view: View, out: Any = None) -> Any:
        """The same at rest, as `DrrRenderer` does it.

        Args:
            view: One view.
            out: As for `render`.
        """
        return self._launch(self._rays.reading([view]), view, out)

    def _launch(self, reading: Reading, view: View, out: Any) -> Any:
        shape = (view.height_px, view.width_px)
        image = self.device.empty(shape) if out is None else require_out(self.device, out, shape)
        self._rays.launch(PROJECT, reading, [view], integrals=image)
        return image


def knot_steps(step_mm: float) -> int:
    """Steps from one look at the field to the next."""
    return max(1, round(KNOT_MM / step_mm))


def moved_uniforms(
    device: ComputeDevice,
    grid: VolumeGrid,
    displacements_mm: NDArray[np.float32],
    nodes: VolumeGrid,
    step_mm: float,
) -> dict[str, Any]:
    """A displacement field as the kernels read it: in voxels, one component after the other."""
    spacing = np.asarray(grid.spacing_xyz_mm)
    voxels = np.moveaxis(displacements_mm / spacing.astype(np.float32), -1, 0)
    packed = np.append(voxels, np.float32(0))  # nodes are read in pairs along x
    scale = spacing / nodes.spacing_xyz_mm
    shift = np.subtract(grid.origin_xyz_mm, nodes.origin_xyz_mm) / nodes.spacing_xyz_mm
    return {
        "nodes": device.to_device(packed),
        "node_count": nodes.shape_xyz,
        "node_scale": tuple(float(value) for value in scale),
        "node_shift": tuple(float(value) for value in shift),
        "knot_steps": knot_steps(step_mm),
    }

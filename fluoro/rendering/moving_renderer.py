"""Line integrals of a volume that moves: `march` with every sample displaced."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fluoro.geometry.projection import View
from fluoro.rendering.array_checks import require_out
from fluoro.rendering.devices.base import ComputeDevice
from fluoro.rendering.projectors import PROJECTORS
from fluoro.rendering.ray_kernels import PROJECT
from fluoro.rendering.ray_volume import RayVolume, Reading
from fluoro.volume.grid import VolumeGrid

__all__ = ["MovedVolume", "MovingRenderer", "knot_steps", "moved_volume", "moving_box"]

KNOT_MM = 10.0
"""Along a ray the field is looked up so often, or at every step."""


class MovingRenderer:
    """Integrates a volume at rest along rays that are bent by a displacement field.

    A sample at x takes what lies at x + d(x). The field is looked up every 10 mm (`KNOT_MM`)
    and is linear along the ray in between.

    Args:
        values: Attenuation [1/mm], shape (z, y, x); an array of the device is read in place.
        grid: Where its voxels lie in the patient.
        device: Where to render.
        step_mm: Longest step [mm]; None: half the smallest voxel edge.
        solid: Whether nothing lies beyond the grid, and the volume moves out of its own box. False:
            the image ends where the box ends, and the edge holds, as a patient continues beyond a
            CT.
    """

    def __init__(
        self,
        values: Any,
        grid: VolumeGrid,
        device: ComputeDevice,
        *,
        step_mm: float | None = None,
        solid: bool = False,
    ) -> None:
        self.device, self.grid, self._solid = device, grid, solid
        self.step_mm = step_mm or min(grid.spacing_xyz_mm) / 2
        self._rays = RayVolume(device, PROJECTORS["march"], values, grid, self.step_mm)

    def render(
        self, view: View, displacements_mm: NDArray[np.float32], nodes: VolumeGrid, out: Any = None
    ) -> Any:
        """Return line integrals (dimensionless) of one view, shape (height, width).

        Args:
            view: One view.
            displacements_mm: At the nodes, patient LPS [mm], shape (z, y, x, 3).
            nodes: Where they lie in the patient.
            out: float32 array of the device to write into; None: a new one.

        Raises:
            InputError: An `out` that does not fit.
        """
        moved = moved_volume(self._rays, displacements_mm, nodes, solid=self._solid)
        return self._launch(self._rays.moved_reading(*moved), view, out)

    def render_still(self, view: View, out: Any = None) -> Any:
        """Return the same at rest, as `DrrRenderer` does it.

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


class MovedVolume(NamedTuple):
    """How a kernel finds what has moved.

    Attributes:
        box: Grid whose voxel indices rays have, and to whose box they are clipped.
        uniforms: The displacement field, in voxels, one component after the other.
        solid: Whether nothing lies beyond the volume's own box.
    """

    box: VolumeGrid
    uniforms: dict[str, Any]
    solid: bool


def moved_volume(
    rays: RayVolume, displacements_mm: NDArray[np.float32], nodes: VolumeGrid, *, solid: bool
) -> MovedVolume:
    """Return a displacement field as the kernels read it for a volume.

    Args:
        rays: The volume at rest.
        displacements_mm: As for `MovingRenderer.render`.
        nodes: As for `MovingRenderer.render`.
        solid: As for `MovingRenderer`.
    """
    voxels = _in_voxels(rays.grid, displacements_mm)
    box, before = moving_box(rays.grid, displacements_mm) if solid else (rays.grid, np.zeros(3))
    voxels -= before.astype(np.float32)[:, None]
    node_from_index = nodes.index_from_world @ box.world_from_index
    x, y, z = (tuple(row[:3].tolist()) for row in node_from_index[:3])
    uniforms = {
        "nodes": rays.device.to_device(np.append(voxels, np.float32(0))),  # read in pairs along x
        "node_count": nodes.shape_xyz,
        "node_x": x,
        "node_y": y,
        "node_z": z,
        "node_shift": tuple(node_from_index[:3, 3].tolist()),
        "knot_steps": knot_steps(rays.step_mm),
        "box_size": box.shape_xyz,
    }
    return MovedVolume(box, uniforms, solid)


def moving_box(
    grid: VolumeGrid, displacements_mm: NDArray[np.float32]
) -> tuple[VolumeGrid, NDArray[np.float64]]:
    """Return a grid that holds all that a solid can move into, and how much it starts before.

    What is seen at x lies at x + d at rest: the box grows by the largest d at its near faces, by
    the largest -d at its far ones, in whole voxels.

    Args:
        grid: Of the solid at rest.
        displacements_mm: As for `MovingRenderer.render`.

    Returns:
        The widened grid, and the number of voxels before the first one of `grid`, shape (3,).
    """
    voxels = _in_voxels(grid, displacements_mm)
    before = np.ceil(np.maximum(voxels.max(axis=1), 0)).astype(float)
    behind = np.ceil(np.maximum(-voxels.min(axis=1), 0)).astype(float)
    nx, ny, nz = (int(count) for count in before + grid.shape_xyz + behind)
    x, y, z, _ = (grid.world_from_index @ [*-before, 1.0]).tolist()
    return replace(grid, shape_zyx=(nz, ny, nx), origin_xyz_mm=(x, y, z)), before


def _in_voxels(grid: VolumeGrid, displacements_mm: NDArray[np.float32]) -> NDArray[np.float32]:
    """Displacements along the axes of a grid [voxels], shape (3, nodes)."""
    turn = grid.index_from_world[:3, :3].astype(np.float32)
    along = np.ascontiguousarray(displacements_mm.reshape(-1, 3).T)
    voxels = np.empty_like(along)
    for row, into in zip(turn, voxels, strict=True):  # BLAS would start threads
        np.multiply(along[0], row[0], out=into)
        into += along[1] * row[1]
        into += along[2] * row[2]
    return voxels

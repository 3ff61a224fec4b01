"""Path lengths of rays through closed triangle meshes, and their derivatives."""

from __future__ import annotations

from itertools import product
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fluoro.errors import InputError
from fluoro.geometry.closed_surface import volume_mm3
from fluoro.geometry.projection import View
from fluoro.geometry.triangle_tree import MOST_TRIANGLES, triangle_tree
from fluoro.geometry.triangles import Surface
from fluoro.rendering.devices.base import ComputeDevice
from fluoro.volume.host_memory import require_memory

__all__ = ["FLOATS_PER_VIEW", "MeshTracer", "Traced", "pack_mesh_view"]

FLOATS_PER_VIEW = 32
"""VIEW in shaders/meshes.slang."""

BYTES_PER_TRIANGLE = 230
"""Most memory that a triangle takes while the tree is built (measured by tracemalloc: 225)."""

MIDDLE = 12
"""Place of `middle` in a packed view."""


class Traced(NamedTuple):
    """How a kernel traces a mesh.

    Attributes:
        uniforms: Members of `Mesh` in shaders/meshes.slang.
        threads: Along columns, rows and views, those that may see the mesh.
        middle: Where the mesh's centre is, of a ray's length from the source.
    """

    uniforms: dict[str, Any]
    threads: tuple[int, int, int]
    middle: float


class MeshTracer:
    """Finds where rays cross a closed surface.

    Args:
        surface: Closed, counter-clockwise from outside, in coordinates of its own [mm].
        device: Where rays are traced.

    Raises:
        InputError: A surface that is inside out or encloses nothing, or too many triangles.
    """

    def __init__(self, surface: Surface, device: ComputeDevice) -> None:
        _require_inside(surface)
        corners = surface.vertices_xyz_mm[surface.faces].astype(float)
        low, high = corners.min(axis=(0, 1)), corners.max(axis=(0, 1))
        self.device, self.center_xyz_mm = device, (low + high) / 2
        self._box_xyz_mm = np.array([*product(*np.array([low, high]).T)])
        local = (corners - self.center_xyz_mm).astype(np.float32)
        tree = triangle_tree(local)
        self._mesh = {
            "mesh.triangles": device.to_device(local[tree.order]),
            "mesh.nodes": device.to_device(tree.nodes),
            "mesh.children": device.to_device(tree.children),
            "mesh.leaves": device.to_device(tree.leaves),
            "mesh.node_count": len(tree.nodes),
            "mesh.radius_mm": float(np.abs(local).max()),
        }

    def traced(self, view: View, object_from_world: NDArray[np.float64]) -> Traced:
        """Return how a kernel traces the mesh.

        Args:
            view: One view.
            object_from_world: Where the mesh is: rigid, shape (4, 4).
        """
        packed = pack_mesh_view(view, object_from_world, self.center_xyz_mm)
        first, threads = self._window(view, object_from_world)
        uniforms = {
            **self._mesh,
            "mesh.views": self.device.to_device(packed),
            "mesh.image_size": (view.width_px, view.height_px, 1),
            "mesh.first": (*first, 0),
        }
        return Traced(uniforms, (*threads, 1), float(packed[MIDDLE]))

    def _window(
        self, view: View, object_from_world: NDArray[np.float64]
    ) -> tuple[tuple[int, int], tuple[int, int]]:
        """First thread along columns and rows that may see the mesh, and how many."""
        seen = view.project(
            self._box_xyz_mm @ object_from_world[:3, :3] - _turned_back(object_from_world)
        )
        size = np.array([view.width_px, view.height_px])
        low, high = np.zeros(2), size.astype(float)
        if np.isfinite(seen).all():
            low, high = seen.min(axis=0) - 1, seen.max(axis=0) + 1
        lanes = np.array([self.device.rays_per_thread, 1])
        first = np.clip(np.floor(low), 0, size).astype(int) // lanes
        last = -(-np.clip(np.ceil(high), 0, size).astype(int) // lanes)
        count = np.maximum(last - first, 0)
        return (int(first[0]), int(first[1])), (int(count[0]), int(count[1]))


def _turned_back(object_from_world: NDArray[np.float64]) -> NDArray[np.float64]:
    """The shift of `object_from_world` in the world's axes."""
    return np.asarray(object_from_world[:3, :3].T @ object_from_world[:3, 3])


def _require_inside(surface: Surface) -> None:
    count = len(surface.faces)
    if not 0 < count <= MOST_TRIANGLES:
        raise InputError(f"a surface must have 1 to {MOST_TRIANGLES} triangles, got {count}")
    require_memory(f"a surface of {count} triangles", BYTES_PER_TRIANGLE * count)
    volume = volume_mm3(surface.vertices_xyz_mm.astype(float), surface.faces.astype(np.int64))
    if not volume > 0:
        raise InputError(f"a surface must enclose a volume, and face outwards, got {volume:g} mm^3")


def pack_mesh_view(
    view: View, object_from_world: NDArray[np.float64], center_xyz_mm: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Return a view as `MeshView.load` of shaders/meshes.slang reads it, shape (32,).

    Computed in float64 from the mesh's centre: numbers are as small as the mesh in the image, so
    that single precision keeps a few millionths of a millimetre.

    Args:
        view: In the world.
        object_from_world: Rigid, shape (4, 4).
        center_xyz_mm: Origin of the kernel's coordinates, in the object's, shape (3,).
    """
    turn = object_from_world[:3, :3]
    source = turn @ view.source_xyz_mm + object_from_world[:3, 3] - center_xyz_mm
    corner = turn @ (view.corner_xyz_mm - view.source_xyz_mm)
    column, row = turn @ view.column_step_xyz_mm, turn @ view.row_step_xyz_mm
    size = (view.width_px, view.height_px)
    at = _middle(np.linalg.solve(np.column_stack([column, row, corner]), -source), size)
    central = corner + at[0] * column + at[1] * row
    from_mesh = np.linalg.inv(np.column_stack([column, row, central]))
    offsets = from_mesh @ -source
    middle = np.float32(offsets[2])
    planes = np.column_stack([from_mesh, offsets - [0, 0, float(middle)]])
    facing = -np.sign(np.linalg.det(from_mesh))
    values = [*planes.ravel(), middle, *at, facing, *central, *column, *row]
    return np.array([*values, *[0.0] * (FLOATS_PER_VIEW - len(values))], np.float32)


def _middle(seen: NDArray[Any], size: tuple[int, int]) -> NDArray[np.float64]:
    """The pixel where a point (column t, row t, t) is seen, in whole pixels of the image."""
    ahead = max(float(seen[2]), 1e-3)
    return np.clip(np.round(seen[:2] / ahead), 0, size)

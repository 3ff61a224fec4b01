"""All solids of a scene that have a pose, drawn onto a renderer's planes, one after the other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from fluoro.geometry.projection import View
from fluoro.rendering.devices.base import ComputeDevice
from fluoro.rendering.packing import pack_views
from fluoro.rendering.parts import make_part
from fluoro.rendering.parts.base import MOST_SPANS, Canvas, Part
from fluoro.rendering.ray_kernels import DISPLACE
from fluoro.rendering.ray_volume import RayVolume, Reading
from fluoro.volume.grid import VolumeGrid
from fluoro.volume.posed_solid import PosedSolid, in_order, numbers_of

__all__ = ["Displaced", "SceneParts", "ThicknessOfEach"]


class Displaced(NamedTuple):
    """A sampled volume whose thickness the parts reduce.

    Attributes:
        rays: The volume.
        reading: How it is marched through.
        uniforms: Of its materials: `ramps`, `mix`, `material_count`.
        first_plane: Its first plane, counted over all views.
    """

    rays: RayVolume
    reading: Reading
    uniforms: dict[str, Any]
    first_plane: int


class ThicknessOfEach:
    """Draws posed solids one by one, each whole: what others take of it counts too.

    Args:
        solids: The solids.
        device: Where.
        grid: Of the patient.
    """

    def __init__(
        self, solids: Sequence[PosedSolid], device: ComputeDevice, grid: VolumeGrid
    ) -> None:
        self._device, self._grid = device, _middle(grid)
        self._parts = [make_part(each, device) for each in solids]

    def render(self, view: View, time_s: float) -> Any:
        """Return the way through each solid [mm], shape (solids, height, width), of the device.

        Args:
            view: One view.
            time_s: Moment of the run [s].
        """
        size = (view.height_px, view.width_px)
        image = self._device.empty((len(self._parts), *size))
        taken = {
            "span_counts": self._device.empty(size, np.int32),
            "spans": self._device.empty((1,)),
        }
        _clear(self._device, view, image, (0, len(self._parts)), taken)
        packed = self._device.to_device(pack_views([view], self._grid))
        for number, part in enumerate(self._parts):
            part.draw(
                Canvas(
                    view=view,
                    time_s=time_s,
                    grid=self._grid,
                    packed=packed,
                    image=image,
                    planes=[number] * len(part.solid.materials),
                    keeps=False,
                    taken=taken,
                )
            )
        return image


class SceneParts:
    """Draws posed solids: their thicknesses, and what they displace.

    Args:
        solids: The solids.
        device: Where.
        grid: Of the patient.
        first_plane: Of the renderer's image, for the solids' first material.
    """

    def __init__(
        self,
        solids: Sequence[PosedSolid],
        device: ComputeDevice,
        grid: VolumeGrid,
        first_plane: int,
    ) -> None:
        self._device, self._first_plane = device, first_plane
        self._grid = _middle(grid)
        self._planes = 1 + max(number for each in solids for number in numbers_of(each, solids))
        self._parts: list[tuple[Part, list[int]]] = [
            (make_part(each, device), numbers_of(each, solids)) for each in in_order(solids)
        ]
        self._taken: tuple[tuple[int, int], dict[str, Any]] | None = None

    def draw(
        self,
        view: View,
        time_s: float,
        image: Any,
        offset: int,
        displaced: Iterable[Displaced],
        least_mm: float = 0.0,
    ) -> None:
        """Draw all solids, then take out what they displace.

        Args:
            view: One view.
            time_s: Moment of the run [s].
            image: Thicknesses [mm] of all views, on the device.
            offset: Planes of the image before the view's.
            displaced: Volumes that they displace.
            least_mm: What is left of a thickness is at least this [mm].
        """
        taken, first = self._spans(view), offset + self._first_plane
        _clear(self._device, view, image, (first, self._planes), taken)
        packed = pack_views([view], self._grid)
        for part, numbers in self._parts:
            part.draw(
                Canvas(
                    view=view,
                    time_s=time_s,
                    grid=self._grid,
                    packed=self._device.to_device(packed),
                    image=image,
                    planes=[first + number for number in numbers],
                    keeps=part.solid.displaces,
                    taken=taken,
                )
            )
        if any(part.solid.displaces for part, _ in self._parts):
            for each in displaced:
                self._displace(each, view, image, (float(packed[0, 12]), least_mm), taken)

    def _spans(self, view: View) -> dict[str, Any]:
        """Arrays for the spans of a view's rays, the same ones for every view of its size."""
        size = (view.height_px, view.width_px)
        if self._taken is None or self._taken[0] != size:
            counts = self._device.empty(size, np.int32)
            spans = self._device.empty((MOST_SPANS, 2, *size))
            self._taken = size, {"span_counts": counts, "spans": spans}
        return self._taken[1]

    def _displace(
        self,
        volume: Displaced,
        view: View,
        image: Any,
        limits: tuple[float, float],
        taken: dict[str, Any],
    ) -> None:
        volume.rays.launch(
            DISPLACE,
            volume.reading,
            [view],
            thicknesses=image,
            first_plane=volume.first_plane,
            span_anchor=limits[0],
            least=limits[1],
            **taken,
            **volume.uniforms,
        )


def _middle(grid: VolumeGrid) -> VolumeGrid:
    """One voxel of 1 mm in the middle of the patient."""
    middle = grid.world_from_index @ [*((np.array(grid.shape_xyz) - 1) / 2), 1.0]
    x, y, z = (float(value) for value in middle[:3])
    return VolumeGrid(shape_zyx=(1, 1, 1), spacing_xyz_mm=(1.0, 1.0, 1.0), origin_xyz_mm=(x, y, z))


def _clear(
    device: ComputeDevice, view: View, image: Any, planes: tuple[int, int], taken: dict[str, Any]
) -> None:
    """Set planes (the first, and how many) to 0, and have nothing of the rays taken."""
    uniforms = {
        "image_size": (view.width_px, view.height_px, 1),
        "first_plane": planes[0],
        "cleared_planes": planes[1],
        "thicknesses": image,
        "span_counts": taken["span_counts"],
    }
    columns = -(-view.width_px // device.rays_per_thread)
    device.launch("clear", "clear_parts", (columns, view.height_px, 1), uniforms)

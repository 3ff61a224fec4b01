"""All solids of a scene that have a pose, drawn onto a renderer's planes, one after the other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluoro.geometry.projection import View
from fluoro.rendering.devices.base import ComputeDevice
from fluoro.rendering.packing import pack_views
from fluoro.rendering.parts import make_part
from fluoro.rendering.parts.base import Canvas, Part, RaySpans
from fluoro.rendering.parts.displaced import Displaced, launch_displace
from fluoro.rendering.parts.slopes import Slopes, SolidMotion, make_slopes
from fluoro.volume.grid import VolumeGrid
from fluoro.volume.posed_solid import PosedSolid, in_order, materials_of, numbers_of

__all__ = ["SceneParts", "ThicknessOfEach"]


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
        self._spans = RaySpans(device, most=0)

    def render(self, view: View, time_s: float) -> Any:
        """Return the way through each solid [mm], shape (solids, height, width), of the device.

        Args:
            view: One view.
            time_s: Moment of the run [s].
        """
        count = len(self._parts)
        image = self._device.empty((count, view.height_px, view.width_px))
        taken = self._spans.cleared(view, image, 0, count)
        packed = pack_views([view], self._grid)
        for number, part in enumerate(self._parts):
            part.measure(
                Canvas(
                    view=view,
                    time_s=time_s,
                    grid=self._grid,
                    packed=self._device.to_device(packed),
                    anchor=float(packed[0, 12]),
                    tissue_plane=0,
                    image=image,
                    planes=[number] * max(len(part.solid.materials), 1),
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
        self._planes = len(materials_of(solids))
        self._parts: list[tuple[Part, list[int]]] = [
            (make_part(each, device), numbers_of(each, solids)) for each in in_order(solids)
        ]
        self._spans = RaySpans(device)

    def draw(
        self,
        view: View,
        time_s: float,
        image: Any,
        offset: int,
        displaced: Iterable[Displaced],
        least_mm: float = 0.0,
        slopes: Slopes | None = None,
    ) -> None:
        """Draw all solids, then take out what they displace.

        Args:
            view: One view.
            time_s: Moment of the run [s].
            image: Thicknesses [mm] of all views, on the device.
            offset: Planes of the image before the view's.
            displaced: Volumes that they displace.
            least_mm: What is left of a thickness is at least this [mm].
            slopes: What derivatives are added up with respect to; None: none are.
        """
        first = offset + self._first_plane
        taken = self._spans.cleared(
            view, image, first, self._planes, with_slopes=slopes is not None
        )
        packed = pack_views([view], self._grid)
        canvas = Canvas(
            view=view,
            time_s=time_s,
            grid=self._grid,
            packed=self._device.to_device(packed),
            anchor=float(packed[0, 12]),
            tissue_plane=offset,
            image=image,
            planes=(),
            keeps=True,
            taken=taken,
            slopes=slopes,
        )
        for number, (part, numbers) in enumerate(self._parts):
            planes = [first + each for each in numbers]
            keeps = part.solid.displaces
            part.draw(replace(canvas, planes=planes, keeps=keeps, number=number))
        if any(part.solid.displaces for part, _ in self._parts):
            seen = slopes.view if slopes else None
            for each in displaced:
                launch_displace(each, canvas, taken, sign=-1.0, least_mm=least_mm, seen=seen)

    def slopes(
        self,
        view: View,
        motions: NDArray[np.float64],
        moved: Sequence[SolidMotion],
        weights: Any,
        jacobian: Any,
    ) -> Slopes:
        """Return what `draw` takes to add up derivatives.

        Args:
            view: Where the parameters are 0.
            motions: What each of K parameters does to the view, shape (K, 4, 3) [mm].
            moved: How solids move with them.
            weights: Worth of a millimetre of each material, shape (planes, height, width).
            jacobian: What they are added to, shape (K, height, width).

        Raises:
            InputError: A solid of another scene, or motions of another shape.
        """
        solids = [part.solid for part, _ in self._parts]
        return make_slopes(self._device, view, motions, solids, moved, (weights, jacobian))


def _middle(grid: VolumeGrid) -> VolumeGrid:
    """One voxel of 1 mm in the middle of the patient."""
    middle = grid.world_from_index @ [*((np.array(grid.shape_xyz) - 1) / 2), 1.0]
    x, y, z = (float(value) for value in middle[:3])
    return VolumeGrid(shape_zyx=(1, 1, 1), spacing_xyz_mm=(1.0, 1.0, 1.0), origin_xyz_mm=(x, y, z))

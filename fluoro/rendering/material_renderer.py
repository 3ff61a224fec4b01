"""Radiographs of materials: how much of each lies in a ray's way, from one march."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fluoro.errors import InputError
from fluoro.geometry.projection import View
from fluoro.geometry.view_derivatives import rigid_motions
from fluoro.names import MaterialProjector
from fluoro.rendering.array_checks import require_array, require_out
from fluoro.rendering.devices.base import ComputeDevice
from fluoro.rendering.moving_renderer import knot_steps, node_uniforms
from fluoro.rendering.packed_volume import CellCopies
from fluoro.rendering.packing import pack_motions, pack_views, x_never_leads
from fluoro.rendering.renderer import (
    EXACT,
    check_volume,
    common_size,
    copies_serve_joseph,
    readable_in_pairs,
)
from fluoro.volume.grid import VolumeGrid
from fluoro.volume.material_volume import MaterialVolume, Solid
from fluoro.volume.volumes import MuVolume

__all__ = ["MaterialRenderer"]

RAMP_COUNTS = (1, 4, 6, 9)
"""For which shaders/drr_tissues.slang has entry points."""

LABEL_COUNTS = (2, 4, 8)
"""The same for labels."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Layer:
    """A volume whose samples become materials; its arrays lie on the device."""

    labels: bool
    samples: Any
    grid: VolumeGrid
    ramps: Any
    mix: Any
    ramp_count: int
    first_plane: int
    material_count: int
    step_mm: float

    def uniforms(self, views: Any, copies: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """What kernels take of the layer; of `copies`, where they do not read its samples."""
        in_place = {"mu_per_mm": self.samples, "step_mm": self.step_mm}
        return {
            **(in_place if copies is None else copies),
            "size": self.grid.shape_xyz,
            "spacing_mm": tuple(float(edge) for edge in self.grid.spacing_xyz_mm),
            "views": views,
            "ramps": self.ramps,
            "mix": self.mix,
            "material_count": self.material_count,
            "first_plane": self.first_plane,
        }


class MaterialRenderer:
    """Integrates the share of every material along the rays of cone-beam views.

    The samples and their weights are those of `DrrRenderer`. Each sample is a CT number,
    interpolated as an attenuation; the tissue map turns it into shares. So all tissues come from
    one march through one volume; each inclusion takes another one through its own box, and a
    labelled one (`LabelledInclusion`) one for all its materials.

    Args:
        volume: Tissues and inclusions. On the CPU Joseph reads the tissues from exact copies of the
            volume, of 4 bytes a voxel for each axis that leads a ray of some view so far; where
            three do not fit in half of the memory left, it reads in place. Inclusions are read in
            place.
        device: Where to render.
        projector: "march" or "joseph".
        step_mm: Longest step of "march" [mm]; None: half the smallest voxel edge, of each volume.

    Raises:
        InputError: As for `DrrRenderer`.
    """

    def __init__(
        self,
        volume: MaterialVolume,
        device: ComputeDevice,
        *,
        projector: MaterialProjector = "march",
        step_mm: float | None = None,
    ) -> None:
        if projector not in ("march", "joseph"):
            raise InputError(f"projector must be march or joseph for materials, got {projector!r}")
        check_volume(volume.volume, projector, step_mm)
        self.device = device
        self.grid = volume.volume.grid
        self.projector = projector
        self.materials = volume.materials
        self._layers = _layers(volume, device, step_mm)
        self._cells = self._copies(volume.volume)

    def render(self, views: View | Sequence[View], out: Any = None) -> Any:
        """Thickness of each material [mm at its own density] of one view or a batch.

        Args:
            views: One view, or several with the same number of pixels.
            out: float32 array of the device to write into, shape (materials, height, width), or
                (N, materials, height, width) for a batch; None: a new one.

        Returns:
            `out`.

        Raises:
            InputError: No view, views of different sizes, or an `out` that does not fit.
        """
        batch = [views] if isinstance(views, View) else list(views)
        planes = (len(self.materials), *common_size(batch))
        shape = planes if isinstance(views, View) else (len(batch), *planes)
        image = self.device.empty(shape) if out is None else require_out(self.device, out, shape)
        for layer in self._layers:
            cells = self._cells_of(layer)
            self._launch(
                "drr_cell_tissues" if cells else "drr_tissues",
                "labels" if layer.labels else "tissues",
                layer,
                batch,
                "cells" if cells else self._variant(layer, batch),
                cells,
                thicknesses=image,
                plane_count=planes[0],
            )
        return image

    def render_moved(
        self, view: View, displacements_mm: NDArray[np.float32], nodes: VolumeGrid
    ) -> Any:
        """Thickness of each material [mm] of one view, shape (materials, height, width), moved.

        Args:
            view: One view.
            displacements_mm: As for `fluoro.rendering.moving_renderer.MovingRenderer`.
            nodes: Where they lie.

        Raises:
            InputError: Another projector than march.
        """
        if self.projector != "march":
            raise InputError(f"projector must be march for a moving volume, got {self.projector}")
        image = self.device.empty((len(self.materials), view.height_px, view.width_px))
        for layer in self._layers:
            self._launch(
                "drr_moving_tissues",
                "moving",
                layer,
                [view],
                variant="labels" if layer.labels else "march",
                thicknesses=image,
                plane_count=len(self.materials),
                knot_steps=knot_steps(layer.step_mm),
                **node_uniforms(self.device, layer.grid, displacements_mm, nodes),
            )
        return image

    def samples(self, layer: int) -> Any:
        """The voxels of the tissues (0) or of an inclusion, on the device, to be written to.

        Attenuation, shares, or the labels of a labelled inclusion as floats. From here on they are
        read in place: copies would not have what is written.
        """
        chosen = self._layers[layer]
        if self._cells_of(chosen):
            self._cells = None
        return chosen.samples

    def copies_bytes(self) -> int:
        """Memory of the copies that have been made for views so far [bytes]."""
        return self._cells.made_bytes() if self._cells else 0

    def render_derivatives(
        self, view: View, motions: NDArray[np.float64], weights: ArrayLike
    ) -> tuple[Any, Any]:
        """Weighted thicknesses and their exact derivatives by parameters of the view.

        Args:
            view: Where the parameters are 0.
            motions: What each of K parameters does (fluoro.geometry.view_derivatives), shape
                (K, 4, 3).
            weights: What a millimetre of each material is worth in each pixel, shape (materials,
                height, width); such as a signal's derivative by the thicknesses. They are held.

        Returns:
            sum of weights x thicknesses, shape (height, width), and its derivatives per unit of
            each parameter, shape (K, height, width); float32 arrays of the device.

        Raises:
            InputError: Motions or weights of another shape.
        """
        motions = np.asarray(motions, float)
        if motions.ndim != 3 or motions.shape[1:] != (4, 3) or not np.isfinite(motions).all():
            raise InputError(f"motions must be finite and of shape (K, 4, 3), got {motions.shape}")
        shape = (view.height_px, view.width_px)
        worth = require_array(
            self.device,
            "weights",
            self.device.to_device(np.asarray(weights, np.float32)),
            (len(self.materials), *shape),
        )
        total, jacobian = self.device.empty(shape), self.device.empty((len(motions), *shape))
        for number, layer in enumerate(self._layers):
            cells = self._cells_of(layer)
            self._launch(
                "drr_cell_tissues_jacobian" if cells else "drr_tissues_jacobian",
                "label_jacobian" if layer.labels else "jacobian",
                layer,
                [view],
                "cells" if cells else self.projector,
                cells,
                weights=worth,
                total=total,
                jacobian=jacobian,
                motions=self.device.to_device(pack_motions(motions, layer.grid)),
                parameter_count=len(motions),
                adds=min(number, 1),
            )
        return total, jacobian

    def render_jacobian(
        self, view: View, center_xyz_mm: ArrayLike, weights: ArrayLike
    ) -> tuple[Any, Any]:
        """Weighted thicknesses and their derivatives by a rigid motion of source and detector.

        Args:
            view: Where the C-arm stands.
            center_xyz_mm: About which it turns, usually the isocentre, world LPS [mm].
            weights: As for `render_derivatives`.

        Returns:
            As `render_derivatives`, by the twist (omega_x, omega_y, omega_z [1/rad], v_x, v_y,
            v_z [1/mm]) in world axes, shape (6, height, width).
        """
        return self.render_derivatives(view, rigid_motions(view, center_xyz_mm), weights)

    def render_vjp(
        self, view: View, center_xyz_mm: ArrayLike, upstream: ArrayLike
    ) -> NDArray[np.float64]:
        """Derivative by the twist of a function of the thicknesses.

        Args:
            view: Where the C-arm stands.
            center_xyz_mm: About which it turns, world LPS [mm].
            upstream: The function's derivative by each thickness, shape (materials, height,
                width).

        Returns:
            The derivative, shape (6,).
        """
        jacobian = self.render_jacobian(view, center_xyz_mm, upstream)[1]
        return np.asarray(self.device.to_host(jacobian).sum(axis=(1, 2), dtype=float))

    def backproject(
        self, views: View | Sequence[View], upstream: Any, layer: int = 0, out: Any = None
    ) -> Any:
        """The derivative by each voxel of a function of the thicknesses.

        Args:
            views: One view, or several of one size.
            upstream: The function's derivative by each thickness, shape (materials, height,
                width), or (N, materials, height, width) for a batch; of the device, or on the
                host.
            layer: By the attenuation of the tissues' voxels (0), or by the shares of the
                so-manieth inclusion's.
            out: float32 array of the device to add to, shape (z, y, x); None: zeros.

        Returns:
            `out`: derivatives by attenuation [mm per 1/mm] or by share [mm].

        Raises:
            InputError: An upstream or `out` that does not fit, or a labelled inclusion, whose
                labels are whole numbers.
        """
        batch = [views] if isinstance(views, View) else list(views)
        height, width = common_size(batch)
        planes = (len(self.materials), height, width)
        shape = planes if isinstance(views, View) else (len(batch), *planes)
        chosen = self._layers[layer]
        if chosen.labels:
            raise InputError(f"layer must be one with shares, got {layer}, which has labels")
        if isinstance(upstream, np.ndarray):
            upstream = self.device.to_device(np.ascontiguousarray(upstream, np.float32))
        given = require_array(self.device, "upstream", upstream, shape)
        if out is None:
            out = self.device.to_device(np.zeros(chosen.grid.shape_zyx, np.float32))
        views_there = self.device.to_device(pack_views(batch, chosen.grid))
        self.device.launch(
            "drr_tissues_backproject",
            f"backproject_tissues_{self.projector}",
            (width, height, len(batch)),
            {
                **chosen.uniforms(views_there),
                "ramp_count": chosen.ramp_count,
                "plane_count": planes[0],
                "upstream": given,
                "image_size": (width, height, len(batch)),
                "by_voxel": require_out(self.device, out, chosen.grid.shape_zyx),
            },
        )
        return out

    def _launch(
        self,
        module: str,
        entry: str,
        layer: _Layer,
        batch: Sequence[View],
        variant: str,
        cells: CellCopies | None = None,
        **uniforms: Any,
    ) -> None:
        height, width = batch[0].height_px, batch[0].width_px
        views = self.device.to_device(pack_views(batch, layer.grid))
        of_layer = layer.uniforms(views, cells.uniforms(batch) if cells else None)
        self.device.launch(
            module,
            f"{entry}_{variant}_{layer.ramp_count}",
            (-(-width // self.device.rays_per_thread), height, len(batch)),
            {**of_layer, "image_size": (width, height, len(batch)), **uniforms},
        )

    def _variant(self, layer: _Layer, batch: Sequence[View]) -> str:
        """The projector's fastest kernel that reads the layer in place."""
        across = self.projector == "joseph" and layer.grid.shape_xyz[0] > 1
        across = across and all(x_never_leads(view, layer.grid) for view in batch)
        return "joseph_across" if across else self.projector

    def _copies(self, volume: MuVolume) -> CellCopies | None:
        """Of the tissues, for Joseph on the CPU where they fit."""
        fit = copies_serve_joseph(self.grid, self.device, EXACT)
        if self.projector != "joseph" or not fit:
            return None
        mu = self._layers[0].samples
        return CellCopies(mu, volume.mu_zyx, self.grid, self.device, thickness=1, exact=True)

    def _cells_of(self, layer: _Layer) -> CellCopies | None:
        """Where the tissues are read from; inclusions are read in place."""
        return self._cells if layer is self._layers[0] else None


def _layers(volume: MaterialVolume, device: ComputeDevice, step_mm: float | None) -> list[_Layer]:
    tissues, base = volume.tissues, volume.volume
    ramps = tissues.ramps(base.water_mu_per_mm)
    layers = [_layer(device, base.mu_zyx, base.grid, ramps, tissues.mix, 0, step_mm)]
    plane = len(tissues.materials)
    for each in volume.inclusions:
        layers.append(_inclusion_layer(device, each, plane, step_mm))
        plane += len(each.materials)
    return layers


def _inclusion_layer(
    device: ComputeDevice, solid: Solid, first_plane: int, step_mm: float | None
) -> _Layer:
    part = solid.layer()
    arrays = (part.samples_zyx, solid.grid, part.ramps, part.mix)
    return _layer(device, *arrays, first_plane, step_mm, labels=part.labels)


def _layer(
    device: ComputeDevice,
    samples: NDArray[np.float32],
    grid: VolumeGrid,
    ramps: NDArray[np.float64],
    mix: NDArray[np.float64],
    first_plane: int,
    step_mm: float | None,
    *,
    labels: bool = False,
) -> _Layer:
    count = next(each for each in (LABEL_COUNTS if labels else RAMP_COUNTS) if each >= len(ramps))
    missing = count - len(ramps)
    padded = np.pad(ramps, [(0, missing), (0, 0)]).astype(np.float32)
    worth = np.pad(mix, [(0, 0), (0, missing)]).astype(np.float32)
    return _Layer(
        labels=labels,
        samples=device.to_device(readable_in_pairs(samples)),
        grid=grid,
        ramps=device.to_device(padded),
        mix=device.to_device(worth),
        ramp_count=count,
        first_plane=first_plane,
        material_count=len(mix),
        step_mm=float(step_mm or min(grid.spacing_xyz_mm) / 2),
    )

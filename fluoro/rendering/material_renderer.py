"""Radiographs of materials: how much of each lies in a ray's way, from one march."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fluoro.errors import InputError, require_type
from fluoro.geometry.projection import View
from fluoro.geometry.view_derivatives import rigid_motions
from fluoro.rendering.array_checks import require_array, require_out
from fluoro.rendering.devices.base import ComputeDevice
from fluoro.rendering.moving_renderer import moved_volume
from fluoro.rendering.packed_volume import PackedVolume, Precision
from fluoro.rendering.packing import pack_motions
from fluoro.rendering.parts.displaced import Displaced
from fluoro.rendering.parts.scene_parts import SceneParts
from fluoro.rendering.parts.slopes import Slopes, SolidMotion
from fluoro.rendering.projectors import PROJECTORS, Projector, names_where
from fluoro.rendering.ray_kernels import (
    BACKPROJECT_THICKNESSES,
    THICKNESSES,
    WEIGHTED_JACOBIAN,
    Quantity,
    labels,
    ramps,
)
from fluoro.rendering.ray_volume import RayVolume, Reading
from fluoro.rendering.renderer import checked_projector, common_size, copies_fit, listed_views
from fluoro.volume.grid import VolumeGrid
from fluoro.volume.material_volume import MaterialVolume
from fluoro.volume.volumes import MuVolume

__all__ = ["MaterialRenderer"]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Layer:
    """A volume whose samples become materials; its arrays lie on the device."""

    rays: RayVolume
    quantity: Quantity
    labels: bool
    ramps: Any
    mix: Any
    first_plane: int
    material_count: int

    def materials(self) -> dict[str, Any]:
        """Return what a task takes to make materials of sums."""
        return {"ramps": self.ramps, "mix": self.mix, "material_count": self.material_count}

    def uniforms(self) -> dict[str, Any]:
        """Return what all tasks take of the layer."""
        return {**self.materials(), "first_plane": self.first_plane}


class MaterialRenderer:
    """Integrates the share of every material along the rays of cone-beam views.

    The samples and their weights are those of `DrrRenderer`. Each sample is a CT number,
    interpolated as an attenuation; the tissue map turns it into shares. So all tissues come from
    one march through one volume; each inclusion takes another one through its own box, and a
    labelled one (`LabelledInclusion`) one for all its materials.

    Args:
        volume: Tissues and inclusions. On the CPU Joseph reads the tissues from exact copies of the
            volume, of 4 bytes a voxel for each axis that leads a ray of some view so far; where
            three do not fit in half of the memory left, it reads in place. Slab reads them from
            copies of 1 byte a voxel, as `DrrRenderer` does. Inclusions are read in place, with
            slab by Joseph's method.
        device: Where to render.
        projector: One that separates materials.
        step_mm: Longest step of "march" [mm]; None: half the smallest voxel edge, of each volume.

    Raises:
        InputError: As for `DrrRenderer`.
    """

    def __init__(
        self,
        volume: MaterialVolume,
        device: ComputeDevice,
        *,
        projector: str = "march",
        step_mm: float | None = None,
    ) -> None:
        require_type("volume", volume, MaterialVolume, "fluoro.scene.assemble.material_volume")
        require_type("device", device, ComputeDevice, "fluoro.open_device")
        able = names_where(lambda each: each.materials)
        if projector not in able:
            wanted = f"{', '.join(able[:-1])} or {able[-1]}"
            raise InputError(f"projector must be {wanted} for materials, got {projector!r}")
        method = checked_projector(volume.volume, projector, step_mm)
        self.device = device
        self.grid = volume.volume.grid
        self.projector = projector
        self.materials, self.posed = volume.materials, volume.posed
        self._layers = _layers(volume, device, method, step_mm)
        self._parts = _parts(volume, device)
        copies = self._copies(volume.volume, method)
        self._layers[0].rays.copies = self._layers[0].rays.gradient_copies = copies
        self._of_copies = _materials_of_copies(volume, copies, device) if copies else {}

    def render(self, views: View | Sequence[View], out: Any = None, *, time_s: float = 0.0) -> Any:
        """Return the thickness of each material [mm at its own density] of one view or a batch.

        Args:
            views: One view, or several with the same number of pixels.
            out: float32 array of the device to write into, shape (materials, height, width), or
                (N, materials, height, width) for a batch; None: a new one.
            time_s: Moment of the run, at which posed solids are where they are [s].

        Returns:
            `out`.

        Raises:
            InputError: No view, views of different sizes, or an `out` that does not fit.
        """
        batch = listed_views(views)
        planes = (len(self.materials), *common_size(batch))
        shape = planes if isinstance(views, View) else (len(batch), *planes)
        image = self.device.empty(shape) if out is None else require_out(self.device, out, shape)
        for layer in self._layers:
            self._project(layer, layer.rays.reading(batch, layer.quantity), batch, image)
        if self._parts:
            readings = [each.rays.marched_reading(each.quantity) for each in self._layers]
            for number, view in enumerate(batch):
                self._draw(self._parts, view, time_s, image, number, readings)
        return image

    def render_moved(
        self,
        view: View,
        displacements_mm: NDArray[np.float32],
        nodes: VolumeGrid,
        *,
        time_s: float = 0.0,
    ) -> Any:
        """Thickness of each material [mm] of one view, shape (materials, height, width), moved.

        Inclusions move with the tissues around them, also out of their boxes at rest; posed solids
        do not.

        Args:
            view: One view.
            displacements_mm: As for `fluoro.rendering.moving_renderer.MovingRenderer`.
            nodes: Where they lie.
            time_s: As for `render`.

        Raises:
            InputError: Another projector than march.
        """
        if PROJECTORS[self.projector].moving is None:
            raise InputError(f"projector must be march for a moving volume, got {self.projector}")
        image = self.device.empty((len(self.materials), view.height_px, view.width_px))
        readings = []
        for number, layer in enumerate(self._layers):
            moved = moved_volume(layer.rays, displacements_mm, nodes, solid=number > 0)
            readings.append(layer.rays.moved_reading(*moved, layer.quantity))
            self._project(layer, readings[-1], [view], image)
        if self._parts:
            self._draw(self._parts, view, time_s, image, 0, readings)
        return image

    def samples(self, layer: int) -> Any:
        """Return the voxels of the tissues (0) or of an inclusion, on the device, to be written to.

        Attenuation, shares, or the labels of a labelled inclusion as floats. From here on they are
        read in place: copies would not have what is written.

        Raises:
            InputError: Tissues of slab, which has no kernel that reads in place.
        """
        rays = self._layers[layer].rays
        if not rays.projector.in_place:
            able = names_where(lambda each: each.materials and each.in_place)
            raise InputError(
                f"projector {self.projector!r} reads tissues from copies, which cannot be written "
                f"to: use {' or '.join(able)}"
            )
        rays.copies = rays.gradient_copies = None
        return rays.values

    def make_copies(self, views: Sequence[View], device: ComputeDevice) -> None:
        """Make the copies from which the tissues of these views are rendered.

        Args:
            views: As for `DrrRenderer.make_copies`.
            device: As for `DrrRenderer.make_copies`.
        """
        copies = self._layers[0].rays.copies
        if copies:
            copies.make(views, device)

    def copies_bytes(self) -> int:
        """Memory of the copies that have been made for views so far [bytes]."""
        copies = self._layers[0].rays.copies
        return copies.made_bytes() if copies else 0

    def render_derivatives(
        self,
        view: View,
        motions: NDArray[np.float64],
        weights: Any,
        *,
        time_s: float = 0.0,
        moved: Sequence[SolidMotion] = (),
    ) -> tuple[Any, Any]:
        """Return weighted thicknesses and their derivatives with respect to view and posed solids.

        They are exact but where a ray meets the surface of a posed solid at less than about one
        degree: the derivative has no bound there, and is that of this angle.

        Args:
            view: Where the parameters are 0.
            motions: What each of K parameters does (fluoro.geometry.view_derivatives), shape
                (K, 4, 3).
            weights: Weight of a millimetre of each material in each pixel, shape (materials,
                height, width), e.g. a signal's derivative w.r.t. thickness; taken as constant;
                of the device, or on the host.
            time_s: As for `render`.
            moved: How posed solids move with the same parameters; none: all stay.

        Returns:
            sum of weights x thicknesses, shape (height, width), and its derivatives per unit of
            each parameter, shape (K, height, width); float32 arrays of the device.

        Raises:
            InputError: Motions or weights of another shape, or a solid of another scene.
        """
        motions = np.asarray(motions, float)
        if motions.ndim != 3 or motions.shape[1:] != (4, 3) or not np.isfinite(motions).all():
            raise InputError(f"motions must be finite and of shape (K, 4, 3), got {motions.shape}")
        shape = (view.height_px, view.width_px)
        if isinstance(weights, np.ndarray) or not self.device.owns(weights):
            weights = self.device.to_device(np.asarray(weights, np.float32))
        worth = require_array(self.device, "weights", weights, (len(self.materials), *shape))
        total, jacobian = self.device.empty(shape), self.device.empty((len(motions), *shape))
        for number, layer in enumerate(self._layers):
            layer.rays.launch(
                WEIGHTED_JACOBIAN,
                layer.rays.gradient_reading([view], layer.quantity),
                [view],
                weights=worth,
                integrals=total,
                jacobian=jacobian,
                motions=self.device.to_device(pack_motions(motions, layer.rays.grid)),
                parameter_count=len(motions),
                adds=min(number, 1),
                **self._uniforms(layer, layer.rays.gradient_copies),
            )
        if self._parts:
            slopes = self._parts.slopes(view, motions, moved, worth, jacobian)
            return self._with_parts(view, time_s, total, slopes), jacobian
        return total, jacobian

    def render_jacobian(
        self, view: View, center_xyz_mm: ArrayLike, weights: Any
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
        self, view: View, center_xyz_mm: ArrayLike, upstream: Any
    ) -> NDArray[np.float64]:
        """Return the derivative, with respect to the twist, of a function of the thicknesses.

        Args:
            view: Where the C-arm stands.
            center_xyz_mm: About which it turns, world LPS [mm].
            upstream: Derivative with respect to each thickness, shape (materials, height,
                width); of the device, or on the host.

        Returns:
            The derivative, shape (6,).
        """
        jacobian = self.render_jacobian(view, center_xyz_mm, upstream)[1]
        return np.asarray(self.device.to_host(jacobian).sum(axis=(1, 2), dtype=float))

    def backproject(
        self, views: View | Sequence[View], upstream: Any, layer: int = 0, out: Any = None
    ) -> Any:
        """Return the derivative, with respect to each voxel, of a function of the thicknesses.

        Args:
            views: One view, or several of one size.
            upstream: Derivative with respect to each thickness, shape (materials, height,
                width), or (N, materials, height, width) for a batch; of the device, or on the
                host.
            layer: By the attenuation of the tissues' voxels (0), or by the shares of the
                so-manieth inclusion's.
            out: float32 array of the device to add to, shape (z, y, x); None: zeros.

        Returns:
            `out`: derivatives w.r.t. attenuation [mm per 1/mm] or share [mm].

        Raises:
            InputError: An upstream or `out` that does not fit, or a labelled inclusion, whose
                labels are whole numbers.
        """
        batch = listed_views(views)
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
            out = self.device.to_device(np.zeros(chosen.rays.grid.shape_zyx, np.float32))
        chosen.rays.launch(
            BACKPROJECT_THICKNESSES,
            chosen.rays.transposed_reading(),
            batch,
            chosen.quantity.size,
            plane_count=planes[0],
            upstream=given,
            by_voxel=require_out(self.device, out, chosen.rays.grid.shape_zyx),
            **chosen.uniforms(),
        )
        return out

    def _project(self, layer: _Layer, reading: Reading, batch: Sequence[View], image: Any) -> None:
        layer.rays.launch(
            THICKNESSES,
            reading,
            batch,
            thicknesses=image,
            plane_count=len(self.materials),
            **self._uniforms(layer, layer.rays.copies),
        )

    def _uniforms(self, layer: _Layer, copies: PackedVolume | None) -> dict[str, Any]:
        """What tasks take of a layer that is read from copies, or in place."""
        return {**layer.uniforms(), **(self._of_copies if copies else {})}

    def _draw(
        self,
        parts: SceneParts,
        view: View,
        time_s: float,
        image: Any,
        number: int,
        readings: Sequence[Reading],
        least_mm: float = 0.0,
        slopes: Slopes | None = None,
    ) -> None:
        """Draw posed solids into a view of an image, and take out what they displace."""
        offset = number * len(self.materials)
        displaced = [
            Displaced(
                each.rays,
                each.quantity,
                each.materials(),
                offset + each.first_plane,
                reading=reading,
            )
            for each, reading in zip(self._layers, readings, strict=True)
        ]
        parts.draw(view, time_s, image, offset, displaced, least_mm, slopes)

    def _with_parts(self, view: View, time_s: float, before: Any, slopes: Slopes) -> Any:
        """Weighted thicknesses with what posed solids change; adds up derivatives."""
        assert self._parts is not None
        shape = (len(self.materials), view.height_px, view.width_px)
        image = self.device.to_device(np.zeros(shape, np.float32))
        readings = [each.rays.marched_reading(each.quantity) for each in self._layers]
        self._draw(self._parts, view, time_s, image, 0, readings, least_mm=-1e30, slopes=slopes)
        worth, change = self.device.to_host(slopes.weights), self.device.to_host(image)
        total = self.device.to_host(before) + np.einsum("mhw,mhw->hw", worth, change, dtype=float)
        return self.device.to_device(total.astype(np.float32))

    def _copies(self, volume: MuVolume, method: Projector) -> PackedVolume | None:
        """Of the tissues, where they are needed, or on the CPU where they fit."""
        if method.copies is None:
            return None
        mu = self._layers[0].rays.values
        if method.copies.needed:
            planes = method.copies.planes
            return PackedVolume(mu, volume.mu_zyx, self.grid, self.device, thickness=planes)
        if not copies_fit(self.grid, self.device, Precision.EXACT):
            return None
        return PackedVolume(
            mu, volume.mu_zyx, self.grid, self.device, thickness=1, precision=Precision.EXACT
        )


def _parts(volume: MaterialVolume, device: ComputeDevice) -> SceneParts | None:
    """What draws posed solids; None: there are none, and no kernel runs for them."""
    if not volume.posed:
        return None
    before = replace(volume, posed=()).materials
    return SceneParts(volume.posed, device, volume.volume.grid, len(before))


def _materials_of_copies(
    volume: MaterialVolume, copies: PackedVolume, device: ComputeDevice
) -> dict[str, Any]:
    """Return what tasks take of the tissues in place of `_Layer.materials`: samples are counts."""
    scale, shift = volume.tissues.ramps(volume.volume.water_mu_per_mm).T
    ramps = np.stack([scale * copies.count_per_mm, shift + scale * copies.low_per_mm], axis=1)
    return {
        "ramps": device.to_device(ramps.astype(np.float32)),
        "mix": device.to_device((volume.tissues.mix / copies.count_per_mm).astype(np.float32)),
        "low_counts": 0.0,
    }


def _layers(
    volume: MaterialVolume, device: ComputeDevice, method: Projector, step_mm: float | None
) -> list[_Layer]:
    tissues, base = volume.tissues, volume.volume
    table = tissues.ramps(base.water_mu_per_mm)
    rays = _rays(device, method, base.mu_zyx, base.grid, step_mm)
    layers = [_layer(rays, ramps(len(table)), table, tissues.mix, 0)]
    plane = len(tissues.materials)
    method = method if method.in_place else PROJECTORS["joseph"]
    for solid in volume.inclusions:
        part = solid.layer()
        rays = _rays(device, method, part.samples_zyx, solid.grid, step_mm)
        quantity = (labels if part.labels else ramps)(len(part.ramps))
        layers.append(_layer(rays, quantity, part.ramps, part.mix, plane, of_labels=part.labels))
        plane += len(solid.materials)
    return layers


def _rays(
    device: ComputeDevice,
    method: Projector,
    values: NDArray[np.float32],
    grid: VolumeGrid,
    step_mm: float | None,
) -> RayVolume:
    return RayVolume(device, method, values, grid, step_mm or min(grid.spacing_xyz_mm) / 2)


def _layer(
    rays: RayVolume,
    quantity: Quantity,
    table: NDArray[np.float64],
    mix: NDArray[np.float64],
    first_plane: int,
    *,
    of_labels: bool = False,
) -> _Layer:
    return _Layer(
        rays=rays,
        quantity=quantity,
        labels=of_labels,
        ramps=rays.device.to_device(table.astype(np.float32)),
        mix=rays.device.to_device(mix.astype(np.float32)),
        first_plane=first_plane,
        material_count=len(mix),
    )

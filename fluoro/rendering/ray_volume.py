"""A volume on a device, and the launch of kernels that follow rays through it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fluoro.errors import InputError
from fluoro.geometry.projection import View
from fluoro.rendering.devices.base import ComputeDevice
from fluoro.rendering.packed_volume import PackedVolume
from fluoro.rendering.packing import pack_views, x_never_leads
from fluoro.rendering.projectors import PROJECTORS, Projector, SlangType
from fluoro.rendering.ray_kernels import (
    EXACT_CELLS,
    PLAIN,
    RAYS_ENTRY,
    ROOT_CELLS,
    Quantity,
    ray_kernel,
)
from fluoro.volume.grid import VolumeGrid

__all__ = ["RayVolume", "Reading", "Size", "readable_in_pairs"]

Size = tuple[int, int, int]
"""Columns, rows and views of a batch of images."""


class Reading(NamedTuple):
    """How a kernel reads a volume.

    Attributes:
        packet: Slang struct that does so.
        source: Uniforms of what it reads.
        grid: Whose voxel indices rays have; None: the volume's own.
    """

    packet: SlangType
    source: Mapping[str, Any]
    grid: VolumeGrid | None = None


class RayVolume:
    """Attenuation, shares or labels that one projector integrates.

    Args:
        device: Where they lie.
        projector: How rays are integrated.
        values: Shape (z, y, x), float32; an array of the device is read in place.
        grid: Where the voxels lie.
        step_mm: Longest step [mm]; without effect on a projector without steps.

    Attributes:
        values: On the device.
        copies: What is read instead, or None.
        gradient_copies: The same for derivatives.
    """

    def __init__(
        self,
        device: ComputeDevice,
        projector: Projector,
        values: Any,
        grid: VolumeGrid,
        step_mm: float,
    ) -> None:
        self.device, self.projector, self.grid, self.step_mm = device, projector, grid, step_mm
        pairs = readable_in_pairs(values) if isinstance(values, np.ndarray) else values
        self.values = device.to_device(pairs)
        self.copies: PackedVolume | None = None
        self.gradient_copies: PackedVolume | None = None
        self._place = {
            "size": grid.shape_xyz,
            "spacing_mm": tuple(float(edge) for edge in grid.spacing_xyz_mm),
            "step_mm": float(step_mm),
        }

    def launch(
        self,
        task: SlangType,
        reading: Reading,
        views: Sequence[View],
        *arguments: int,
        rows: tuple[int, int] | None = None,
        places: NDArray[np.float32] | None = None,
        **uniforms: Any,
    ) -> None:
        """Run a task on the rays of views.

        Args:
            task: Generic struct of a packet (`fluoro.rendering.ray_kernels`).
            reading: How it reads the volume.
            views: One or more of one size.
            arguments: Of the task, besides the packet.
            rows: The first row and the one after the last; None: all.
            places: Column and row [px] of the rays of each view, whose images are one row then,
                shape (N, 2); None: the pixels'.
            uniforms: The task's.
        """
        width, (first, stop) = views[0].width_px, rows or (0, views[0].height_px)
        if places is not None:
            width, (first, stop) = len(places), (0, 1)
        kernel = ray_kernel(task, reading.packet, *arguments, listed=places is not None)
        lanes = 1 if kernel.scatters else self.device.rays_per_thread
        self.device.launch(
            kernel,
            RAYS_ENTRY,
            (-(-width // lanes), stop - first, len(views)),
            {
                **reading.source,
                "views": self.device.to_device(pack_views(views, reading.grid or self.grid)),
                "image_size": (width, stop - first, len(views)),
                "first_row": first,
                "places": self.values if places is None else self.device.to_device(places),
                **uniforms,
            },
        )

    def reading(self, views: Sequence[View], quantity: Quantity = PLAIN) -> Reading:
        """Return the fastest way to sum a quantity for these views."""
        if self.copies:
            return self._from_copies(self.copies, views, quantity.sums)
        packet, across = self.projector.packet, self.projector.across
        if across and self.grid.shape_xyz[0] > 1:
            packet = across if all(x_never_leads(view, self.grid) for view in views) else packet
        return self._in_place(packet, quantity.sums)

    def gradient_reading(self, views: Sequence[View], quantity: Quantity = PLAIN) -> Reading:
        """Return the fastest way to sum a quantity's derivatives for these views."""
        if self.gradient_copies:
            return self._from_copies(self.gradient_copies, views, quantity.field, gradient=True)
        return self._in_place(self.projector.gradient, quantity.field)

    def marched_reading(self, quantity: Quantity) -> Reading:
        """Return how a quantity is summed by march in parts of rays, whatever the projector."""
        return self._in_place(PROJECTORS["march"].packet, quantity.sums)

    def marched_gradient_reading(self, quantity: Quantity) -> Reading:
        """Return how its derivatives are summed in parts of rays."""
        return self._in_place(PROJECTORS["march"].gradient, quantity.field)

    def moved_reading(
        self, box: VolumeGrid, field: Mapping[str, Any], solid: bool, quantity: Quantity = PLAIN
    ) -> Reading:
        """Return how a quantity is summed that has moved (`moving_renderer.MovedVolume`)."""
        packet = self._present(self.projector.moving).of(quantity.sums, int(solid))
        return Reading(packet, {**self._volume(), **field}, box)

    def textured_reading(self, texture: Mapping[str, Any]) -> Reading:
        """Return how attenuation is sampled by a texture unit (`ComputeDevice.texture`)."""
        packet = self._present(self.projector.texture).of(PLAIN.sums)
        return Reading(packet, {**texture, **self._place})

    def transposed_reading(self) -> Reading:
        """Return how samples are given back to the voxels."""
        return Reading(self.projector.backprojector, self._volume())

    def _from_copies(
        self,
        copies: PackedVolume,
        views: Sequence[View],
        summed: SlangType,
        *,
        gradient: bool = False,
    ) -> Reading:
        of = self.projector.copies
        generic = (of.gradient if gradient else of.packet) if of else None
        packet = self._present(generic).of(EXACT_CELLS if copies.exact else ROOT_CELLS, summed)
        place = {name: self._place[name] for name in ("size", "spacing_mm")}
        return Reading(packet, {**copies.uniforms(views), **place})

    def _in_place(self, packet: SlangType | None, summed: SlangType) -> Reading:
        return Reading(self._present(packet).of(summed), self._volume())

    def _volume(self) -> dict[str, Any]:
        return {"mu_per_mm": self.values, **self._place}

    def _present(self, struct: SlangType | None) -> SlangType:
        if struct is None:
            raise InputError(f"projector {self.projector.name!r} has no kernel for this")
        return struct


def readable_in_pairs(mu_zyx: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the voxels, with one more behind the last where a voxel has no neighbour along x."""
    return mu_zyx if mu_zyx.shape[2] > 1 else np.append(mu_zyx, np.float32(0))

"""One line integral a structure: channels, differentiable with respect to pose and voxels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fluoro.errors import InputError
from fluoro.geometry.projection import View
from fluoro.rendering.devices.base import ComputeDevice
from fluoro.rendering.renderer import DrrRenderer
from fluoro.volume.labels.label_volume import LabelVolume
from fluoro.volume.labels.load import label_share, masked_box
from fluoro.volume.volumes import MuVolume

__all__ = ["LabelChannels"]


class LabelChannels:
    """Renders each structure alone, through the box around it.

    A voxel belongs to one structure, and attenuation is interpolated between voxels: so edges are
    as soft as those of the volume, and with Joseph's method the channels of all structures and the
    rest add up to the volume's line integrals. With `siddon` voxels, and edges, are crisp. With
    `soft_edge_mm` a voxel near an edge belongs to both sides in part; the sum stays.

    Args:
        volume: Attenuation [1/mm].
        labels: K structures, on the volume's grid.
        device: Where to render.
        projector: As for `DrrRenderer`.
        soft_edge_mm: Standard deviation of the blur of the structures' edges [mm]; 0: none.

    Raises:
        InputError: Labels on another grid, or a structure without voxels.
    """

    def __init__(
        self,
        volume: MuVolume,
        labels: LabelVolume,
        device: ComputeDevice,
        *,
        projector: str = "joseph",
        soft_edge_mm: float = 0.0,
    ) -> None:
        if not 0 <= soft_edge_mm < np.inf:
            raise InputError(f"soft_edge_mm must be 0 or a length, got {soft_edge_mm}")
        if labels.label_zyx.shape != volume.mu_zyx.shape:
            raise InputError(
                f"labels must lie on the volume's grid, {volume.mu_zyx.shape}, "
                f"got {labels.label_zyx.shape}"
            )
        for each, voxels in zip(labels.structures, labels.counts(), strict=True):
            if not voxels:
                raise InputError(
                    f"labels must have voxels of every structure, {each.name} has none"
                )
        self.labels, self.device, self._shape = labels, device, volume.mu_zyx.shape
        self._soft_edge_mm = soft_edge_mm
        numbers = range(1, len(labels.structures) + 1)
        parts = [masked_box(volume, labels, [n], soft_edge_mm) for n in numbers]
        self.renderers = [DrrRenderer(part, device, projector=projector) for part, _ in parts]

    def render(
        self, views: View | Sequence[View], *, pixels: NDArray[np.integer] | None = None
    ) -> NDArray[np.float32]:
        """Return line integrals, shape (K, height, width), or (N, K, height, width) of a batch.

        Args:
            views: One view, or several of one size.
            pixels: Row and column of each of P pixels, shape (P, 2), which take the place of height
                and width: shape (K, P) or (N, K, P); None: all.
        """
        images = [self.device.to_host(r.render(views, pixels=pixels)) for r in self.renderers]
        return np.stack(images, axis=0 if isinstance(views, View) else 1)

    def render_jacobian(
        self,
        view: View,
        center_xyz_mm: ArrayLike,
        *,
        pixels: NDArray[np.integer] | None = None,
    ) -> NDArray[np.float32]:
        """Return the channels' derivatives by a twist of the view, shape (K, 6, height, width).

        Args:
            view: Where the C-arm stands.
            center_xyz_mm: About which it turns, world LPS [mm].
            pixels: As for `render`: shape (K, 6, P).
        """
        found = [r.render_jacobian(view, center_xyz_mm, pixels=pixels)[1] for r in self.renderers]
        return np.stack([self.device.to_host(each) for each in found])

    def render_vjp(
        self,
        view: View,
        center_xyz_mm: ArrayLike,
        upstream: NDArray[Any],
        *,
        pixels: NDArray[np.integer] | None = None,
    ) -> NDArray[np.float64]:
        """Return the derivative by a twist of a function of the channels, shape (6,).

        Args:
            view: Where the C-arm stands.
            center_xyz_mm: About which it turns, world LPS [mm].
            upstream: Derivative with respect to each integral, shape (K, height, width) or (K, P).
            pixels: As for `render`.
        """
        parts = [
            each.render_vjp(view, center_xyz_mm, weights, pixels=pixels)[1]
            for each, weights in zip(self.renderers, upstream, strict=True)
        ]
        return np.asarray(np.sum(parts, axis=0), float)

    def backproject(
        self,
        views: View | Sequence[View],
        upstream: NDArray[np.float32],
        *,
        pixels: NDArray[np.integer] | None = None,
    ) -> NDArray[np.float32]:
        """Return the derivative w.r.t. the attenuation of each voxel [mm], shape (z, y, x).

        A voxel of no structure has none.

        Args:
            views: One view, or several of one size.
            upstream: Derivative with respect to each integral, of the shape that `render` returns.
            pixels: As for `render`.
        """
        found = np.zeros(self._shape, np.float32)
        by_channel = upstream if isinstance(views, View) else np.moveaxis(upstream, 1, 0)
        parts = zip(self.renderers, by_channel, strict=True)
        for label, (renderer, weights) in enumerate(parts, start=1):
            share, box = label_share(self.labels, [label], self._soft_edge_mm)
            worth = np.ascontiguousarray(weights, np.float32)
            by_voxel = self.device.to_host(renderer.backproject(views, worth, pixels=pixels))
            found[box] += share * by_voxel
        return found

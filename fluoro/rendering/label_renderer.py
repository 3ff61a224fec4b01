"""What a view shows of labelled structures: masks, path lengths, line integrals and channels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluoro.errors import InputError
from fluoro.geometry.projection import View
from fluoro.rendering.devices.base import ComputeDevice
from fluoro.rendering.packing import pack_views
from fluoro.volume.grid import VolumeGrid
from fluoro.volume.labels.label_volume import LabelVolume
from fluoro.volume.volumes import MuVolume

__all__ = ["LabelImages", "LabelRenderer", "bits_of"]

BITS = 32
"""Labels in a word of the masks."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelImages:
    """What one view shows of K labels; arrays of the device.

    Attributes:
        masks: Where a ray passes through a label, as bits: `bits_of` unpacks them; shape
            (ceil(K / 32), height, width), uint32.
        visible: Where a label has its share of the line integral, as bits; None: not requested.
        lengths_mm: Path length in each label [mm], shape (K, height, width); None: not requested.
        integrals: Line integral through each label, shape (K, height, width); None: not requested.
    """

    masks: Any
    visible: Any = None
    lengths_mm: Any = None
    integrals: Any = None


@dataclass(frozen=True, kw_only=True, eq=False)
class _Voxels:
    """Labels on the device, four voxels a word, on a grid."""

    words: Any
    mu: Any
    grid: VolumeGrid


class LabelRenderer:
    """Samples labels along the rays of a view as Joseph's method does.

    There is one sample a voxel plane across the axis that leads the ray, in the middle of the ray's
    way through the plane; it belongs to the label of the nearest voxel, and stands for that way.
    Ways of less than 1e-4 planes have no sample.
    Masks and lengths take the samples of the smallest box that has all labels
    (`LabelVolume.cropped`), integrals those of the whole volume.

    Args:
        labels: Which structure each voxel belongs to, at most 255.
        device: Where to render.
        volume: Attenuation on the same grid, for integrals; None: these are not requested.

    Raises:
        InputError: A volume on another grid.
    """

    def __init__(
        self, labels: LabelVolume, device: ComputeDevice, volume: MuVolume | None = None
    ) -> None:
        if volume is not None and volume.mu_zyx.shape != labels.label_zyx.shape:
            raise InputError(
                f"volume must lie on the grid of the labels, {labels.grid.shape_zyx}, "
                f"got {volume.mu_zyx.shape}"
            )
        self.labels, self.device, self._volume = labels, device, volume
        self._nothing = device.to_device(np.zeros(1, np.uint32))

    def masks(self, view: View) -> LabelImages:
        """Return where the rays of a view pass through each label."""
        masks = self._empty_bits(view)
        self._launch("label_masks", view, self._cropped, masks=masks)
        return LabelImages(masks=masks)

    def lengths(self, view: View) -> LabelImages:
        """Return masks, and how far the rays of a view run in each label."""
        masks, lengths = self._empty_bits(view), self._empty_planes(view)
        self._launch("label_lengths", view, self._cropped, masks=masks, sums=lengths)
        return LabelImages(masks=masks, lengths_mm=lengths)

    def add_moved(self, view: View, motion: NDArray[np.float64], images: LabelImages) -> None:
        """Add the labels where a motion has brought them, to masks and lengths of others.

        Args:
            view: One view.
            motion: Rigid, of the patient's coordinates, 4x4 [mm].
            images: Of `masks` or `lengths`, of a renderer with the same structures.
        """
        voxels = replace(self._cropped, grid=self._cropped.grid.moved(motion))
        if images.lengths_mm is None:
            self._launch("label_masks_added", view, voxels, masks=images.masks)
        else:
            given = {"masks": images.masks, "sums": images.lengths_mm}
            self._launch("label_lengths_added", view, voxels, **given)

    def integrals(self, view: View, visible_share: float = 0.0) -> LabelImages:
        """Return masks, masks of what is visible, and the line integrals through each label.

        Args:
            view: One view.
            visible_share: Share of a pixel's line integral from which on a label is visible there.

        Raises:
            InputError: The renderer has no volume.
        """
        masks, visible = self._empty_bits(view), self._empty_bits(view)
        integrals = self._empty_planes(view)
        self._launch(
            "label_integrals",
            view,
            self._whole,
            masks=masks,
            visible=visible,
            sums=integrals,
            visible_share=float(visible_share),
        )
        return LabelImages(masks=masks, visible=visible, integrals=integrals)

    @cached_property
    def _cropped(self) -> _Voxels:
        """The box around all labels: rays need not be followed outside of it."""
        labels = self.labels.cropped()
        return self._voxels(labels.label_zyx, labels.grid, self._nothing)

    @cached_property
    def _whole(self) -> _Voxels:
        if self._volume is None:
            raise InputError("integrals need the volume that LabelRenderer is made with")
        mu = self.device.to_device(self._volume.mu_zyx)
        return self._voxels(self.labels.label_zyx, self.labels.grid, mu)

    def _voxels(self, label_zyx: NDArray[np.uint8], grid: VolumeGrid, mu: Any) -> _Voxels:
        flat = np.ascontiguousarray(label_zyx).ravel()
        words = np.concatenate([flat, np.zeros(-flat.size % 4, np.uint8)]).view("<u4")
        return _Voxels(words=self.device.to_device(words), mu=mu, grid=grid)

    def _empty_bits(self, view: View) -> Any:
        words = -(-len(self.labels.structures) // BITS)
        return self.device.empty((words, view.height_px, view.width_px), np.uint32)

    def _empty_planes(self, view: View) -> Any:
        return self.device.empty((len(self.labels.structures), view.height_px, view.width_px))

    def _launch(self, entry: str, view: View, voxels: _Voxels, **given: Any) -> None:
        columns = -(-view.width_px // self.device.rays_per_thread)
        uniforms = {
            "labels": voxels.words,
            "mu_per_mm": voxels.mu,
            "size": voxels.grid.shape_xyz,
            "spacing_mm": tuple(float(edge) for edge in voxels.grid.spacing_xyz_mm),
            "views": self.device.to_device(pack_views([view], voxels.grid)),
            "label_count": len(self.labels.structures),
            "image_size": (view.width_px, view.height_px, 1),
            "visible_share": 0.0,
            "visible": self._nothing,
            "sums": self._nothing,
            **given,
        }
        self.device.launch("label_truth", entry, (columns, view.height_px, 1), uniforms)


def bits_of(words: NDArray[np.uint32], label: int) -> NDArray[np.bool_]:
    """Return the mask of a label, shape (height, width).

    Args:
        words: Masks of `LabelImages`, on the host.
        label: From 1.
    """
    return np.asarray((words[(label - 1) // BITS] >> np.uint32((label - 1) % BITS)) & 1, bool)

"""The reference of `LabelRenderer`: in float64 just what its kernels do, a label at a time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fluoro.geometry.projection import View
from fluoro.rendering.reference import clip_rays, joseph_samples
from fluoro.volume.labels.label_volume import LabelVolume

__all__ = ["label_sums_reference"]


def label_sums_reference(
    labels: LabelVolume, view: View, mu_zyx: NDArray[np.float32] | None = None
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return what the rays of a view sum up in each label, and where rounding may decide.

    Args:
        labels: K of them.
        view: One view.
        mu_zyx: Attenuation of each voxel [1/mm], for line integrals; None: path lengths [mm].

    Returns:
        Sums of no label and of each, shape (K + 1, height, width); and whether a sample of the
        pixel lies within 1e-3 voxels of a voxel's face, or stands for less than 1e-3 mm, shape
        (height, width).
    """
    rays, last = clip_rays(view, labels.grid), np.array(labels.grid.shape_xyz) - 1
    pixels = len(rays.start)
    sums = np.zeros((len(labels.structures) + 1, pixels))
    near = np.zeros(pixels, bool)
    for points, weight_mm in joseph_samples(rays, labels.grid):
        index = np.clip(points, 0, last)
        x, y, z = np.floor(index + 0.5).astype(int).T
        value = weight_mm if mu_zyx is None else weight_mm * mu_zyx[z, y, x]
        sums[labels.label_zyx[z, y, x], np.arange(pixels)] += value
        edge = np.abs((index + 0.5) - np.rint(index + 0.5)).min(axis=1)
        near |= (weight_mm > 0) & ((edge < 1e-3) | (weight_mm < 1e-3))
    shape = (view.height_px, view.width_px)
    return sums.reshape(-1, *shape), near.reshape(shape)

"""The reference of `MaterialRenderer`: the computation of its kernels in float64."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from fluoro.geometry.projection import View
from fluoro.rendering.reference import (
    clip_rays,
    joseph_reference,
    joseph_samples,
    march_reference,
    march_steps,
    slab_reference,
    trilinear,
)
from fluoro.volume.material_volume import LabelledInclusion, Layer, MaterialVolume
from fluoro.volume.volumes import MuVolume

__all__ = [
    "label_joseph_reference",
    "label_march_reference",
    "layer_sample",
    "tissue_joseph_reference",
    "tissue_march_reference",
    "tissue_sample",
    "tissue_slab_reference",
]

Array = NDArray[np.float64]


def tissue_march_reference(
    volume: MaterialVolume, view: View, step_mm: float, steps: NDArray[np.int_] | None = None
) -> Array:
    """Return the thickness of each tissue [mm], shape (tissues, height, width).

    Samples in the middles of ceil(length / step) equal steps, each a CT number that the tissue
    map turns into shares. `steps` holds the numbers of another view, for derivatives.
    """
    base: MuVolume = volume.volume
    rays = clip_rays(view, base.grid)
    count = march_steps(base, view, step_mm) if steps is None else steps
    share = 1 / np.maximum(count, 1)
    total = np.zeros((len(count), len(volume.tissues.materials)))
    for n in range(int(count.max(initial=0))):
        points = rays.start + ((n + 0.5) * share)[:, None] * rays.extent
        total += np.where((n < count)[:, None], _shares(volume, points), 0.0)
    thickness = total * (rays.length_mm * share)[:, None]
    return np.asarray(thickness.T.reshape(-1, view.height_px, view.width_px))


def tissue_joseph_reference(volume: MaterialVolume, view: View) -> Array:
    """Thickness of each tissue [mm], shape (tissues, height, width): one sample a voxel plane."""
    rays = clip_rays(view, volume.volume.grid)
    total = np.zeros((len(rays.start), len(volume.tissues.materials)))
    for points, weight in joseph_samples(rays, volume.volume.grid):
        total += weight[:, None] * _shares(volume, points)
    return np.asarray(total.T.reshape(-1, view.height_px, view.width_px))


def tissue_slab_reference(
    volume: MaterialVolume, view: View, hold: Callable[[Array], Array] = np.asarray
) -> Array:
    """The same with one sample for each two voxel planes, of their mean as `hold` leaves it."""
    return slab_reference(volume.volume, view, 2, hold, lambda mu: _shares_of(volume, mu))


def tissue_sample(volume: MaterialVolume) -> Callable[[Array], Array]:
    """Return what gives the share of each tissue (R, tissues) at points (R, 3), voxel index."""
    return lambda points: _shares(volume, points)


def layer_sample(layer: Layer) -> Callable[[Array], Array]:
    """Return what gives the share of each material (R, materials) at points (R, 3), voxel index."""
    count = len(layer.ramps)
    inside = [(layer.samples_zyx == n + 1).astype(float) for n in range(count * layer.labels)]

    def ramps(points: Array) -> Array:
        if layer.labels:
            return np.stack([trilinear(each, points) for each in inside], axis=-1)
        values = trilinear(layer.samples_zyx, points)[:, None]
        return np.clip(values * layer.ramps[:, 0] + layer.ramps[:, 1], 0, 1)

    return lambda points: ramps(points) @ layer.mix.T


def label_march_reference(
    inclusion: LabelledInclusion, view: View, step_mm: float, steps: NDArray[np.int_] | None = None
) -> Array:
    """Thickness of each label's material [mm], shape (materials, height, width): one by one."""
    return np.stack([march_reference(each, view, step_mm, steps) for each in _where(inclusion)])


def label_joseph_reference(inclusion: LabelledInclusion, view: View) -> Array:
    """Return the same with one sample a voxel plane."""
    return np.stack([joseph_reference(each, view) for each in _where(inclusion)])


def _where(inclusion: LabelledInclusion) -> list[MuVolume]:
    """Volumes that are 1 where a label is, and 0 elsewhere."""
    return [
        MuVolume(mu_zyx=(inclusion.label_zyx == n).astype(np.float32), grid=inclusion.grid)
        for n in range(1, len(inclusion.materials) + 1)
    ]


def _shares(volume: MaterialVolume, points: Array) -> Array:
    """Volume shares at index points."""
    return _shares_of(volume, trilinear(volume.volume.mu_zyx, points))


def _shares_of(volume: MaterialVolume, mu_per_mm: Array) -> Array:
    """Volume shares of samples."""
    return volume.tissues.volume_shares(1000 * (mu_per_mm / volume.volume.water_mu_per_mm - 1))

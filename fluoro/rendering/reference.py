"""The reference implementation: slow, readable float64 NumPy for every kernel.

`exact_integrals` is the true integral of the trilinear interpolant. `march_reference`,
`joseph_reference`, `slab_reference` and `siddon_reference` do in float64 what the kernels of the
same name do in float32.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fluoro.geometry.projection import View
from fluoro.volume.grid import VolumeGrid
from fluoro.volume.volumes import MuVolume

__all__ = [
    "exact_integrals",
    "joseph_reference",
    "joseph_samples",
    "march_reference",
    "march_samples",
    "march_steps",
    "planes_crossed",
    "siddon_reference",
    "slab_reference",
    "slab_samples",
    "voxels_crossed",
]

Array = NDArray[np.float64]
GAUSS_OFFSET = 0.5 / np.sqrt(3.0)
"""Two-point Gauss-Legendre nodes lie at 0.5 -+ this in [0, 1]; exact for cubics."""


class Segments(NamedTuple):
    """Rays clipped to a volume's support, in index coordinates (x, y, z)."""

    start: Array  # (R, 3)
    extent: Array  # (R, 3)
    length_mm: Array  # (R,), 0 where the ray misses


def clip_rays(view: View, grid: VolumeGrid) -> Segments:
    """Return segments of all rays of a view, row by row; between source and detector only."""
    m = grid.index_from_world
    source = m[:3, :3] @ view.source_xyz_mm + m[:3, 3]
    pixels = view.pixel_centers_xyz_mm().reshape(-1, 3) @ m[:3, :3].T + m[:3, 3]
    direction = pixels - source
    safe = np.where(np.abs(direction) < 1e-20, 1e-20, direction)
    a = (-0.5 - source) / safe
    b = (np.asarray(grid.shape_xyz) - 0.5 - source) / safe
    enter = np.maximum(np.minimum(a, b).max(axis=1), 0.0)
    leave = np.minimum(np.maximum(a, b).min(axis=1), 1.0)
    inside = np.maximum(leave - enter, 0.0)[:, None]
    extent = inside * direction
    length = np.linalg.norm(extent * grid.spacing_xyz_mm, axis=1)
    return Segments(source + enter[:, None] * direction, extent, length)


def trilinear(mu_zyx: NDArray[Any], points: Array, weight_bits: int | None = None) -> Array:
    """Trilinear interpolation at index points (..., 3); beyond the outermost centres edges hold.

    With `weight_bits` the weights are rounded to that precision, as texture units do: 8 on NVIDIA's
    GPUs (CUDA C++ Programming Guide, "Texture Fetching").
    """
    from scipy.ndimage import map_coordinates

    held = np.clip(points, 0, np.array(mu_zyx.shape[::-1]) - 1)
    if weight_bits is not None:
        held = np.round(held * 2**weight_bits) / 2**weight_bits
    at_zyx = np.moveaxis(held, -1, 0)[::-1]
    return np.asarray(map_coordinates(mu_zyx, at_zyx, float, order=1, mode="nearest"))


def exact_integrals(volume: MuVolume, view: View) -> Array:
    """Return the exact line integrals of the trilinear interpolant, shape (height, width).

    Between crossings of the planes through voxel centres the interpolant is a cubic along the
    ray, which two-point Gauss-Legendre integrates exactly.
    """
    rays = clip_rays(view, volume.grid)
    cuts = _plane_crossings(rays, volume.grid, offset=0.0)
    width = np.diff(cuts, axis=1)
    total = np.zeros(len(cuts))
    for node in (0.5 - GAUSS_OFFSET, 0.5 + GAUSS_OFFSET):
        at = cuts[:, :-1] + node * width
        points = rays.start[:, None] + at[..., None] * rays.extent[:, None]
        total += 0.5 * (trilinear(volume.mu_zyx, points) * width).sum(axis=1)
    return _as_image(total * rays.length_mm, view)


def _plane_crossings(rays: Segments, grid: VolumeGrid, offset: float) -> Array:
    """Sorted fractions of each segment, 0 and 1 included, where it crosses k + offset planes."""
    safe = np.where(np.abs(rays.extent) < 1e-20, 1e-20, rays.extent)
    cuts = [np.zeros((len(safe), 1)), np.ones((len(safe), 1))]
    for axis, count in enumerate(grid.shape_xyz):
        planes = np.arange(-1, count + 1) + offset
        cuts.append((planes - rays.start[:, axis, None]) / safe[:, axis, None])
    return np.sort(np.clip(np.concatenate(cuts, axis=1), 0.0, 1.0), axis=1)


def _as_image(values: Array, view: View) -> Array:
    return np.asarray(values.reshape(view.height_px, view.width_px))


def march_steps(volume: MuVolume, view: View, step_mm: float) -> NDArray[np.int_]:
    """Return how many steps each ray takes, row by row."""
    return np.ceil(clip_rays(view, volume.grid).length_mm / step_mm).astype(int)


def march_reference(
    volume: MuVolume,
    view: View,
    step_mm: float,
    steps: NDArray[np.int_] | None = None,
    weight_bits: int | None = None,
) -> Array:
    """Samples in the middles of ceil(length / step) equal steps, shape (height, width).

    `steps` holds the numbers of another view (`march_steps`), for derivatives; `weight_bits` is as
    for `trilinear`.
    """
    rays = clip_rays(view, volume.grid)
    count = march_steps(volume, view, step_mm) if steps is None else steps
    share = 1 / np.maximum(count, 1)
    total = np.zeros(len(count))
    for n in range(int(count.max(initial=0))):
        points = rays.start + ((n + 0.5) * share)[:, None] * rays.extent
        total += np.where(n < count, trilinear(volume.mu_zyx, points, weight_bits), 0.0)
    return _as_image(total * rays.length_mm * share, view)


def march_samples(rays: Segments, step_mm: float) -> Iterator[tuple[Array, Array]]:
    """The march's samples: index points (R, 3) and the lengths that they stand for [mm], (R,)."""
    count = np.ceil(rays.length_mm / step_mm).astype(int)
    share = 1 / np.maximum(count, 1)
    for n in range(int(count.max(initial=0))):
        points = rays.start + ((n + 0.5) * share)[:, None] * rays.extent
        yield points, np.where(n < count, rays.length_mm * share, 0.0)


def joseph_reference(volume: MuVolume, view: View) -> Array:
    """Return one bilinear sample a voxel plane across the dominant axis, shape (height, width)."""
    rays = clip_rays(view, volume.grid)
    total = np.zeros(len(rays.start))
    for points, weight_mm in joseph_samples(rays, volume.grid):
        total += trilinear(volume.mu_zyx, points) * weight_mm
    return _as_image(total, view)


def joseph_samples(rays: Segments, grid: VolumeGrid) -> Iterator[tuple[Array, Array]]:
    """Joseph's samples: index points (R, 3) and the lengths that they stand for [mm], (R,)."""
    lead = np.abs(rays.extent).argmax(axis=1)[:, None]
    s = np.take_along_axis(rays.start, lead, axis=1)[:, 0]
    e = np.take_along_axis(rays.extent, lead, axis=1)[:, 0]
    first, last = np.minimum(s, s + e), np.maximum(s, s + e)
    top = np.asarray(grid.shape_xyz)[lead[:, 0]] - 1
    lowest = np.clip(np.floor(first + 0.5), 0, top)
    highest = np.clip(np.ceil(last - 0.5), 0, top)
    hit = rays.length_mm > 0
    safe = np.where(hit, e, 1.0)
    for n in range(int((highest - lowest).max(initial=-1)) + 1):
        plane = lowest + n
        lower, upper = np.maximum(first, plane - 0.5), np.minimum(last, plane + 0.5)
        at = (0.5 * (lower + upper) - s) / safe
        points = rays.start + at[:, None] * rays.extent
        np.put_along_axis(points, lead, plane[:, None], axis=1)
        weight = np.where(hit & (plane <= highest), upper - lower, 0.0)
        yield points, weight * rays.length_mm / np.abs(safe)


def slab_samples(rays: Segments, grid: VolumeGrid) -> Iterator[tuple[Array, Array]]:
    """Samples of slabs of two planes: index points (R, 3) and their lengths [mm], (R,).

    A point lies between the planes, where the interpolant is their mean; beyond the last plane,
    where that plane stands for the missing one.
    """
    lead = np.abs(rays.extent).argmax(axis=1)[:, None]
    s = np.take_along_axis(rays.start, lead, axis=1)[:, 0]
    e = np.take_along_axis(rays.extent, lead, axis=1)[:, 0]
    first, last = np.minimum(s, s + e), np.maximum(s, s + e)
    top = (np.asarray(grid.shape_xyz)[lead[:, 0]] - 1) // 2
    lowest = np.clip(np.floor((first + 0.5) / 2), 0, top)
    highest = np.clip(np.ceil((last + 0.5) / 2) - 1, 0, top)
    hit = rays.length_mm > 0
    safe = np.where(hit, e, 1.0)
    for n in range(int((highest - lowest).max(initial=-1)) + 1):
        middle = 2 * (lowest + n) + 0.5
        lower, upper = np.maximum(first, middle - 1), np.minimum(last, middle + 1)
        at = (0.5 * (lower + upper) - s) / safe
        points = rays.start + at[:, None] * rays.extent
        np.put_along_axis(points, lead, middle[:, None], axis=1)
        weight = np.where(hit & (lowest + n <= highest), upper - lower, 0.0)
        yield points, weight * rays.length_mm / np.abs(safe)


def slab_reference(
    volume: MuVolume,
    view: View,
    planes: int = 2,
    hold: Callable[[Array], Array] = np.asarray,
    of: Callable[[Array], Array] = np.asarray,
) -> Array:
    """Return one bilinear sample a slab of `planes` voxel planes, shape (height, width).

    It is taken from their mean, where the ray crosses the middle of the slab. Slabs lie across the
    dominant axis from the volume's first plane on; the last plane stands for those that the last
    slab lacks. `hold` is what becomes of the means when they are stored. `of` is what is summed of
    samples (R,): (R,), or M quantities, (R, M), and the result has shape (M, height, width).
    """
    rays = clip_rays(view, volume.grid)
    lead = np.abs(rays.extent).argmax(axis=1)
    total = np.zeros((len(lead), *of(np.zeros(1)).shape[1:]))
    for axis in np.unique(lead):
        mine = lead == axis
        slabs = _slab_means(volume.mu_zyx, 2 - axis, planes, hold)
        part = Segments(*(each[mine] for each in rays))
        total[mine] = _sum_slabs(slabs, part, axis, planes, of)
    return total.T.reshape(*total.shape[1:], view.height_px, view.width_px)


def _slab_means(
    mu_zyx: NDArray[np.float32], axis: int, planes: int, hold: Callable[[Array], Array]
) -> Array:
    """The volume with each plane across `axis` replaced by the mean of its slab."""
    moved = np.moveaxis(np.asarray(mu_zyx, float), axis, 0)
    count = len(moved)
    filled = np.concatenate([moved, *[moved[-1:]] * (-count % planes)])
    means = hold(filled.reshape(-1, planes, *moved.shape[1:]).mean(axis=1))
    return np.moveaxis(np.repeat(means, planes, axis=0)[:count], 0, axis)


def _sum_slabs(
    mu_zyx: Array, rays: Segments, axis: int, planes: int, of: Callable[[Array], Array]
) -> Array:
    """Integrals, along rays that `axis` leads through slabs of equal planes, of samples."""
    s, e = rays.start[:, axis], rays.extent[:, axis]
    first, last = np.minimum(s, s + e), np.maximum(s, s + e)
    top = mu_zyx.shape[2 - axis] - 1
    lowest = np.clip(np.floor((first + 0.5) / planes), 0, top // planes)
    highest = np.clip(np.ceil((last + 0.5) / planes) - 1, 0, top // planes)
    hit = rays.length_mm > 0
    safe = np.where(hit, e, 1.0)
    total = np.zeros((*of(np.zeros(1)).shape[:0:-1], len(s)))
    for n in range(int((highest - lowest).max(initial=-1)) + 1):
        plane = (lowest + n) * planes  # the slab's first one
        lower = np.maximum(first, plane - 0.5)
        upper = np.minimum(last, plane + planes - 0.5)
        points = rays.start + ((0.5 * (lower + upper) - s) / safe)[:, None] * rays.extent
        points[:, axis] = plane
        weight = np.where(hit & (lowest + n <= highest), upper - lower, 0.0)
        total += of(trilinear(mu_zyx, points)).T * weight
    return np.asarray((total * rays.length_mm / np.abs(safe)).T)


def siddon_reference(volume: MuVolume, view: View) -> Array:
    """Return the exact path through voxels of constant value, shape (height, width)."""
    rays = clip_rays(view, volume.grid)
    cuts = _plane_crossings(rays, volume.grid, offset=0.5)
    width = np.diff(cuts, axis=1)
    middle = cuts[:, :-1] + 0.5 * width
    points = rays.start[:, None] + middle[..., None] * rays.extent[:, None]
    last = np.asarray(volume.grid.shape_xyz) - 1
    x, y, z = np.moveaxis(np.clip(np.floor(points + 0.5), 0, last).astype(int), -1, 0)
    values = np.asarray(volume.mu_zyx)[z, y, x].astype(float)
    return _as_image((values * width).sum(axis=1) * rays.length_mm, view)


def planes_crossed(volume: MuVolume, view: View) -> float:
    """Return the number of voxel planes across the leading axis that all rays cross together."""
    return float(np.abs(clip_rays(view, volume.grid).extent).max(axis=1).sum())


def voxels_crossed(volume: MuVolume, view: View) -> float:
    """Return the number of voxels that all rays cross together: of the faces between, as many."""
    return float(np.abs(clip_rays(view, volume.grid).extent).sum())

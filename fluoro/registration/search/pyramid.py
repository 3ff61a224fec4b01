"""Coarser detectors and coarser volumes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fluoro.errors import InputError
from fluoro.geometry.projection import View
from fluoro.volume.grid import VolumeGrid
from fluoro.volume.volumes import MuVolume

__all__ = ["bin_image", "bin_view", "coarser_volume", "downsampled", "downsampling_factors"]


def bin_view(view: View, factor: int) -> View:
    """Return the view of a detector whose pixels are `factor` x `factor` of this one's.

    Columns and rows at the far edges that do not fill a pixel are left out.

    Raises:
        InputError: A factor below 1 or larger than the detector.
    """
    if not 1 <= factor <= min(view.width_px, view.height_px):
        raise InputError(
            f"factor must lie in [1, {min(view.width_px, view.height_px)}], got {factor}"
        )
    return replace(
        view,
        column_step_xyz_mm=view.column_step_xyz_mm * factor,
        row_step_xyz_mm=view.row_step_xyz_mm * factor,
        width_px=view.width_px // factor,
        height_px=view.height_px // factor,
    )


def bin_image(
    image: NDArray[np.float32], mask: NDArray[np.bool_], factor: int
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return means over `factor` x `factor` pixels that count, and where at least half of them do.

    Args:
        image: Values, shape (height, width).
        mask: Pixels that count, same shape.
        factor: Pixels of an edge.
    """
    weight = _block_sums(mask.astype(np.float64), factor)
    total = _block_sums(np.where(mask, image, 0).astype(np.float64), factor)
    mean = np.divide(total, weight, out=np.zeros_like(total), where=weight > 0)
    return mean.astype(np.float32), weight >= 0.5 * factor * factor


def _block_sums(values: NDArray[np.float64], factor: int) -> NDArray[np.float64]:
    height, width = (count // factor for count in values.shape)
    inside = values[: height * factor, : width * factor]
    return np.asarray(inside.reshape(height, factor, width, factor).sum(axis=(1, 3)))


def coarser_volume(volume: MuVolume, edge_mm: float) -> MuVolume:
    """The volume with voxels joined along each axis until their edges come close to `edge_mm`."""
    return downsampled(volume, downsampling_factors(volume.grid, edge_mm))


def downsampling_factors(grid: VolumeGrid, edge_mm: float) -> tuple[int, int, int]:
    """Return the voxels to join along z, y and x, so that their edges come close to `edge_mm`."""
    factors = [max(1, round(edge_mm / spacing)) for spacing in grid.spacing_xyz_mm]
    x, y, z = (min(f, n) for f, n in zip(factors, grid.shape_xyz, strict=True))
    return z, y, x


def downsampled(volume: MuVolume, factors_zyx: tuple[int, int, int]) -> MuVolume:
    """Return means over blocks of voxels; voxels at the far faces that fill no block are left out.

    Args:
        volume: Attenuation [1/mm].
        factors_zyx: Voxels joined along z, y and x.

    Raises:
        InputError: A factor below 1 or larger than the volume.
    """
    shape = volume.grid.shape_zyx
    if any(not 1 <= f <= n for f, n in zip(factors_zyx, shape, strict=True)):
        raise InputError(f"factors_zyx must lie in [1, {shape}], got {factors_zyx}")
    if factors_zyx == (1, 1, 1):
        return volume
    z, y, x = (n // f for n, f in zip(shape, factors_zyx, strict=True))
    fz, fy, fx = factors_zyx
    planes = np.empty((z, y, x), np.float32)
    for k in range(z):  # a slab at a time: the volume may be a memory map
        slab = volume.mu_zyx[k * fz : (k + 1) * fz, : y * fy, : x * fx].sum(axis=0)
        rows = slab.reshape(y, fy, x * fx).sum(axis=1)
        planes[k] = rows.reshape(y, x, fx).sum(axis=2) / np.float32(fz * fy * fx)
    return MuVolume(mu_zyx=planes, grid=_joined(volume.grid, factors_zyx), source=volume.source)


def _joined(grid: VolumeGrid, factors_zyx: tuple[int, int, int]) -> VolumeGrid:
    fz, fy, fx = factors_zyx
    nz, ny, nx = grid.shape_zyx
    dx, dy, dz = grid.spacing_xyz_mm
    first = grid.world_from_index @ [(fx - 1) / 2, (fy - 1) / 2, (fz - 1) / 2, 1.0]
    return replace(
        grid,
        shape_zyx=(nz // fz, ny // fy, nx // fx),
        spacing_xyz_mm=(dx * fx, dy * fy, dz * fz),
        origin_xyz_mm=(float(first[0]), float(first[1]), float(first[2])),
    )

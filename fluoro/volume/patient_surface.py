"""Skin and bone as triangles, for drawing the patient: a coarse copy of the volume, contoured."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fluoro.errors import InputError
from fluoro.geometry.triangles import Surface
from fluoro.volume.volumes import MuVolume

__all__ = ["PatientSurfaces", "Surface", "body_surface", "bone_surface", "skin_surface"]

Array = NDArray[np.float32]

SKIN_PER_WATER, BONE_PER_WATER = 0.25, 1.25
"""Attenuation at which skin (-750 HU) and bone (250 HU) are drawn, relative to water."""
SHEET_BLOCKS = 2
"""What is at most twice as many blocks thick counts as a sheet beside the body."""


class PatientSurfaces:
    """Skin and bone of a volume, made once, at the first call; from any thread.

    Args:
        volume: Attenuation of the patient.
    """

    def __init__(self, volume: MuVolume) -> None:
        self._volume, self._lock = volume, threading.Lock()
        self._made: tuple[Surface, Surface] | None = None

    def __call__(self) -> tuple[Surface, Surface]:
        """Return skin and bone, patient LPS [mm]; the first call takes about a second."""
        with self._lock:
            if self._made is None:
                water = self._volume.water_mu_per_mm
                self._made = skin_surface(self._volume, water), bone_surface(self._volume, water)
            return self._made


def skin_surface(volume: MuVolume, water_mu_per_mm: float, max_voxels: int = 96) -> Surface:
    """The outside of the body, patient LPS [mm]; `water_mu_per_mm` at the volume's energy."""
    return body_surface(volume, SKIN_PER_WATER * water_mu_per_mm, max_voxels, envelope=True)


def bone_surface(volume: MuVolume, water_mu_per_mm: float, max_voxels: int = 160) -> Surface:
    """Return the skeleton, and contrast agent as dense, patient LPS [mm]."""
    return body_surface(volume, BONE_PER_WATER * water_mu_per_mm, max_voxels)


def body_surface(
    volume: MuVolume,
    mu_per_mm: float,
    max_voxels: int = 96,
    max_faces: int = 60_000,
    *,
    envelope: bool = False,
) -> Surface:
    """Return the surface in patient LPS where the attenuation passes a level.

    The volume is averaged over blocks first and closed at its faces, so that a body that leaves
    the volume is capped. Skin: 0.25 x water with `envelope`; bone: 1.25 x water.

    Args:
        volume: Attenuation; a memory map is read once, slab by slab.
        mu_per_mm: Level [1/mm], greater than 0.
        max_voxels: Blocks along the longest edge of the box, at least 2.
        max_faces: Largest number of triangles, at least 100; blocks grow until it is met.
        envelope: Only the outside of the largest piece: no lungs, no airways, no couch.

    Returns:
        The triangles; none where no voxel reaches the level.

    Raises:
        InputError: A level, size or count outside its range.
    """
    _require(mu_per_mm > 0, "mu_per_mm", "greater than 0", mu_per_mm)
    _require(max_voxels >= 2, "max_voxels", "at least 2", max_voxels)
    _require(max_faces >= 100, "max_faces", "at least 100", max_faces)
    coarse, centers_zyx = _block_means(volume, max_voxels)
    if envelope:
        coarse = _envelope(coarse, mu_per_mm)
    vertices, faces = _contour(coarse, mu_per_mm)
    if len(faces) > max_faces:
        fewer = min(max_voxels - 1, int(max_voxels * (max_faces / len(faces)) ** 0.5))
        return body_surface(volume, mu_per_mm, max(2, fewer), max_faces, envelope=envelope)
    return _in_patient(volume, vertices, faces, centers_zyx)


def _require(holds: bool, name: str, expected: str, got: float) -> None:
    if not holds:
        raise InputError(f"{name} must be {expected}, got {got}")


def _block_means(volume: MuVolume, max_voxels: int) -> tuple[Array, list[NDArray[np.float64]]]:
    """Means over nearly cubic blocks, and the index of each block's middle along z, y and x."""
    block_mm = volume.grid.size_xyz_mm.max() / max_voxels
    steps_zyx = [
        max(1, int(np.ceil(block_mm / s - 1e-9))) for s in volume.grid.spacing_xyz_mm[::-1]
    ]
    starts_zyx = [np.arange(0, n, k) for n, k in zip(volume.mu_zyx.shape, steps_zyx, strict=True)]
    slabs = [volume.mu_zyx[z : z + steps_zyx[0]] for z in starts_zyx[0]]
    means = np.stack([_slab_means(slab, *starts_zyx[1:]) for slab in slabs])
    middles = [
        (starts + np.append(starts[1:], n) - 1) / 2
        for starts, n in zip(starts_zyx, volume.mu_zyx.shape, strict=True)
    ]
    return means, middles


def _slab_means(slab: Array, y_starts: NDArray[np.intp], x_starts: NDArray[np.intp]) -> Array:
    sums = np.add.reduceat(np.add.reduceat(slab.mean(axis=0), y_starts, 0), x_starts, 1)
    rows = np.diff(np.append(y_starts, slab.shape[1]))
    columns = np.diff(np.append(x_starts, slab.shape[2]))
    return np.asarray(sums / np.outer(rows, columns), np.float32)


def _envelope(mu: Array, level: float) -> Array:
    """The largest piece above the level with all that its axial outlines enclose; the rest below.

    Values next to the skin stay as they are, so that it is contoured as smoothly as before.
    """
    from scipy import ndimage

    body = _largest_piece(mu >= level)
    filled = np.stack([ndimage.binary_fill_holes(axial) for axial in body])
    cavities = np.where(body, mu, 2 * level)
    return np.where(filled, cavities, np.minimum(mu, 0.9 * level)).astype(np.float32)


def _largest_piece(above: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The largest piece, without thin sheets that touch it, such as the couch and its pad."""
    from scipy import ndimage

    thick = ndimage.binary_opening(above, iterations=SHEET_BLOCKS)
    labels, count = ndimage.label(thick if thick.any() else above)
    if count == 0:
        return above
    largest = labels == 1 + np.argmax(np.bincount(labels.ravel())[1:])
    return np.asarray(ndimage.binary_dilation(largest, iterations=SHEET_BLOCKS, mask=above))


def _contour(mu: Array, level: float) -> tuple[Array, NDArray[np.int32]]:
    from skimage.measure import marching_cubes

    closed = np.pad(mu, 1)
    if not closed.max() > level:
        return np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32)
    vertices, faces, *_ = marching_cubes(closed, level)  # type: ignore[no-untyped-call]
    return vertices - 1, faces


def _in_patient(
    volume: MuVolume,
    vertices_zyx: Array,
    faces: NDArray[np.int32],
    centers_zyx: Sequence[NDArray[np.float64]],
) -> Surface:
    """Block numbers to patient millimetres; a reflected grid turns the triangles round."""
    index_zyx = [
        _interpolated(vertices_zyx[:, axis], centers, volume.mu_zyx.shape[axis])
        for axis, centers in enumerate(centers_zyx)
    ]
    world_from_index = volume.grid.world_from_index
    vertices = np.stack(index_zyx[::-1], axis=1) @ world_from_index[:3, :3].T
    mirrored = np.linalg.det(world_from_index[:3, :3]) < 0
    return Surface(
        vertices_xyz_mm=(vertices + world_from_index[:3, 3]).astype(np.float32),
        faces=(faces[:, ::-1] if mirrored else faces).astype(np.int32),
    )


def _interpolated(blocks: Array, centers: NDArray[np.float64], voxels: int) -> NDArray[np.float64]:
    """Voxel index at fractional block numbers; the closing layers lie a block beyond the ends."""
    step = centers[1] - centers[0] if len(centers) > 1 else voxels
    padded = np.concatenate([[centers[0] - step], centers, [centers[-1] + step]])
    return np.asarray(np.interp(blocks, np.arange(-1, len(centers) + 1), padded))

"""Errors of images and gradients against the exact float64 integral, on some of the pixels."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness.scene import moved, sparse_view
from fluoro.geometry.projection import View
from fluoro.rendering.devices.cpu.worker_threads import available_cores
from fluoro.rendering.reference import clip_rays, exact_integrals
from fluoro.volume.volumes import MuVolume

__all__ = ["Truth", "find_truth", "gradient_every"]

Array = NDArray[np.float64]

IMAGE_EVERY, IMAGE_COLUMNS = 2, 100
"""The image is compared in each second column and row; larger ones in this many columns."""
GRADIENT_EVERY, GRADIENT_COLUMNS = 5, 40
"""The loss of the gradient task reads each fifth column; of larger images this many."""
RAYS_AT_ONCE = 2000
FACE_VOXEL = 1e-6
"""Nearness to an outer face that counts as on it."""
SHIFT_MM = 0.01
"""Of the central differences of the exact loss."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Truth:
    """What a view's image and gradient should be.

    Attributes:
        every: The image is compared in each so-manieth column and row.
        integrals: Exact line integrals there.
        is_uncut: Which of them have rays that do not pass the first or last slice's outer face,
            where the patient is cut off: programs differ in what they take for the last half voxel.
        shift_gradient: Of the loss by a shift of the whole C-arm in world LPS [1/mm], shape (3,).
    """

    every: int = IMAGE_EVERY
    integrals: Array
    is_uncut: NDArray[np.bool_]
    shift_gradient: Array

    def image_errors(self, image: NDArray[np.float32]) -> dict[str, float]:
        """Root mean square and 99.9th percentile of the deviation, in line integrals.

        Of all pixels, and of those whose rays are not cut, if there are any.
        """
        off = np.abs(image[:: self.every, :: self.every] - self.integrals)
        uncut = off[self.is_uncut]
        errors = {"error_rmse": _rms(off), "error_p999": float(np.quantile(off, 0.999))}
        if uncut.size:
            errors["uncut_rmse"] = _rms(uncut)
            errors["uncut_p999"] = float(np.quantile(uncut, 0.999))
        return errors

    def gradient_error(self, shift_gradient: Array) -> float:
        """Length of the deviation as a part of the gradient's length."""
        off = np.linalg.norm(np.asarray(shift_gradient) - self.shift_gradient)
        return float(off / np.linalg.norm(self.shift_gradient))


def _rms(values: Array) -> float:
    return float(np.sqrt(np.mean(values**2)))


def gradient_every(view: View) -> int:
    """The loss of the gradient task looks at each so-manieth column and row."""
    return max(GRADIENT_EVERY, round(view.width_px / GRADIENT_COLUMNS))


def find_truth(volume: MuVolume, view: View) -> Truth:
    """The truth of a view; 20 s of one core for the chest CT."""
    every = max(IMAGE_EVERY, round(view.width_px / IMAGE_COLUMNS))
    sparse = sparse_view(view, every)
    return Truth(
        every=every,
        integrals=exact_image(volume, sparse),
        is_uncut=_uncut_rays(volume, sparse),
        shift_gradient=np.array([_exact_slope(volume, view, axis) for axis in np.eye(3)]),
    )


def _uncut_rays(volume: MuVolume, view: View) -> NDArray[np.bool_]:
    rays, slices = clip_rays(view, volume.grid), volume.grid.shape_zyx[0]
    ends_z = np.stack([rays.start[:, 2], rays.start[:, 2] + rays.extent[:, 2]])
    on_a_face = np.abs(np.abs(ends_z - (slices - 1) / 2) - slices / 2) < FACE_VOXEL
    uncut = ~on_a_face.any(axis=0)
    return np.asarray(uncut.reshape(view.height_px, view.width_px))


def exact_image(volume: MuVolume, view: View) -> Array:
    """Exact line integrals in blocks of rows, which bounds the memory, a thread a core."""
    rows = max(1, RAYS_AT_ONCE // view.width_px)
    parts = [
        view.part((0, view.width_px), (first, min(first + rows, view.height_px)))
        for first in range(0, view.height_px, rows)
    ]
    with ThreadPoolExecutor(available_cores()) as pool:
        return np.concatenate(list(pool.map(partial(exact_integrals, volume), parts)))


def _exact_slope(volume: MuVolume, view: View, axis: Array) -> float:
    sparse = sparse_view(view, gradient_every(view))
    losses = [
        0.5 * np.sum(exact_image(volume, moved(sparse, shift * axis)) ** 2)
        for shift in (SHIFT_MM, -SHIFT_MM)
    ]
    return float(losses[0] - losses[1]) / (2 * SHIFT_MM)

"""Gauss-Legendre: two samples in each step, which integrate a cubic exactly."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fluoro.rendering.projectors.base import Projector, SlangType

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fluoro.geometry.projection import View
    from fluoro.volume.volumes import MuVolume

__all__ = ["PROJECTOR"]


def _reference(volume: MuVolume, view: View, step_mm: float, *_: object) -> NDArray[np.float64]:
    import numpy as np

    from fluoro.rendering.reference import GAUSS_OFFSET, clip_rays, trilinear

    rays = clip_rays(view, volume.grid)
    steps = np.ceil(rays.length_mm / (2 * step_mm)).astype(int)
    share, total = 1 / np.maximum(steps, 1), np.zeros(len(steps))
    for n in range(int(steps.max())):
        for place in (0.5 - GAUSS_OFFSET, 0.5 + GAUSS_OFFSET):
            points = rays.start + ((n + place) * share)[:, None] * rays.extent
            total += np.where(n < steps, trilinear(volume.mu_zyx, points) / 2, 0)
    return (total * rays.length_mm * share).reshape(view.height_px, view.width_px)


def _samples(volume: MuVolume, view: View, step_mm: float) -> int:
    from fluoro.rendering.reference import march_steps

    return int(2 * march_steps(volume, view, 2 * step_mm).sum())


PROJECTOR = Projector(
    name="gauss",
    text="takes two Gauss-Legendre samples in each step of at most twice step_mm",
    reference=_reference,
    packet=SlangType("gauss", "Gauss"),
    backprojector=SlangType("gauss", "Gauss").of(SlangType("sums", "PlainSums")),
    steps=True,
    samples=_samples,
    voxels_per_sample=8,
)

"""The trapezoidal rule at equal steps: as march, but with samples at the ends of a ray's path."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from fluoro.rendering.projectors.base import Projector, SlangType

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fluoro.geometry.projection import View
    from fluoro.rendering.reference import Segments
    from fluoro.volume.grid import VolumeGrid
    from fluoro.volume.volumes import MuVolume


def _points(
    rays: Segments, _: VolumeGrid, step_mm: float
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    import numpy as np

    count = np.ceil(rays.length_mm / step_mm).astype(int)
    for n in range(int(count.max(initial=0)) + 1):
        weight = np.where(n > count, 0.0, np.where((n == 0) | (n == count), 0.5, 1.0))
        share = 1 / np.maximum(count, 1)
        yield rays.start + (n * share)[:, None] * rays.extent, weight * rays.length_mm * share


def _reference(volume: MuVolume, view: View, step_mm: float, *_: object) -> NDArray[np.float64]:
    import numpy as np

    from fluoro.rendering.reference import clip_rays, trilinear

    samples = _points(clip_rays(view, volume.grid), volume.grid, step_mm)
    parts = [trilinear(volume.mu_zyx, points) * length_mm for points, length_mm in samples]
    return np.sum(parts, axis=0).reshape(view.height_px, view.width_px)


def _samples(volume: MuVolume, view: View, step_mm: float) -> int:
    from fluoro.rendering.reference import march_steps

    return int((march_steps(volume, view, step_mm) + 1).sum())


PROJECTOR = Projector(
    name="trapezoid",
    text="is the trapezoidal rule at equal steps of at most step_mm",
    reference=_reference,
    points=_points,
    packet=SlangType("trapezoid", "Trapezoid"),
    backprojector=SlangType("trapezoid", "Trapezoid").of(SlangType("sums", "PlainSums")),
    steps=True,
    samples=_samples,
    voxels_per_sample=8,
)

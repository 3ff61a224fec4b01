"""March: samples of the trilinear interpolant at equal steps fitted to each ray's path."""

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

__all__ = ["PROJECTOR"]


def _steps(volume: MuVolume, view: View | None, step_mm: float) -> NDArray[np.int_] | None:
    from fluoro.rendering.reference import march_steps

    return march_steps(volume, view, step_mm) if view else None


def _reference(
    volume: MuVolume, view: View, step_mm: float, steps_of: View | None = None
) -> NDArray[np.float64]:
    from fluoro.rendering.reference import march_reference

    return march_reference(volume, view, step_mm, _steps(volume, steps_of, step_mm))


def _points(
    rays: Segments, _: VolumeGrid, step_mm: float
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    from fluoro.rendering.reference import march_samples

    return march_samples(rays, step_mm)


def _samples(volume: MuVolume, view: View, step_mm: float) -> int:
    from fluoro.rendering.reference import march_steps

    return int(march_steps(volume, view, step_mm).sum())


PROJECTOR = Projector(
    name="march",
    text="samples the trilinear interpolant at equal steps of at most step_mm",
    reference=_reference,
    points=_points,
    packet=SlangType("march", "March"),
    gradient=SlangType("march", "MarchGradient"),
    backprojector=SlangType("march", "March").of(SlangType("sums", "PlainSums")),
    texture=SlangType("texture_march", "TextureMarch"),
    moving=SlangType("moving_march", "MovingMarch"),
    steps=True,
    samples=_samples,
    voxels_per_sample=8,
)

"""Siddon's method (1985): the exact path through voxels of constant value."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fluoro.rendering.projectors.base import Projector, SlangType

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fluoro.geometry.projection import View
    from fluoro.volume.volumes import MuVolume

__all__ = ["PROJECTOR"]


def _reference(volume: MuVolume, view: View, *_: object) -> NDArray[np.float64]:
    from fluoro.rendering.reference import siddon_reference

    return siddon_reference(volume, view)


def _samples(volume: MuVolume, view: View, *_: object) -> int:
    from fluoro.rendering.reference import voxels_crossed

    return round(voxels_crossed(volume, view))


PROJECTOR = Projector(
    name="siddon",
    text="takes voxels as constant",
    reference=_reference,
    packet=SlangType("siddon", "Siddon"),
    gradient=SlangType("siddon", "SiddonGradient"),
    backprojector=SlangType("siddon", "Siddon").of(SlangType("sums", "PlainSums")),
    samples=_samples,
    smooth=False,  # voxels are constant: its derivative jumps where a ray leaves one
    voxels_per_sample=1,
)

"""Slab: one bilinear sample for each two voxel planes, from their mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fluoro.rendering.projectors.base import Copies, Projector, SlangType

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from fluoro.geometry.projection import View
    from fluoro.rendering.reference import Segments
    from fluoro.volume.grid import VolumeGrid
    from fluoro.volume.volumes import MuVolume

__all__ = ["PROJECTOR"]

PLANES = 2
"""That one sample stands for."""


def _reference(volume: MuVolume, view: View, *_: object) -> NDArray[np.float64]:
    """Of what the copies hold."""
    from fluoro.rendering.packed_volume import packed_values
    from fluoro.rendering.reference import slab_reference

    low = min(float(volume.mu_zyx.min()), 0.0)
    largest = float(volume.mu_zyx.max()) - low or 1.0
    return slab_reference(volume, view, PLANES, lambda mu: packed_values(mu - low, largest) + low)


def _points(
    rays: Segments, grid: VolumeGrid, *_: object
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    from fluoro.rendering.reference import slab_samples

    return slab_samples(rays, grid)


def _samples(volume: MuVolume, view: View, *_: object) -> int:
    from fluoro.rendering.reference import planes_crossed

    return round(planes_crossed(volume, view) / PLANES)


PROJECTOR = Projector(
    name="slab",
    text="takes one sample for each two voxel planes, from their mean, which is the fastest on a "
    "CPU and can show as faint stripes in views near 45 degrees",
    reference=_reference,
    points=_points,
    backprojector=SlangType("slab", "SlabVoxels").of(PLANES),
    copies=Copies(
        packet=SlangType("slab", "SlabPacket"),
        gradient=SlangType("slab", "SlabGradient"),
        planes=PLANES,
        needed=True,
    ),
    samples=_samples,
    voxels_per_sample=4,
)

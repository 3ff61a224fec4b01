"""Joseph's method (1982): one bilinear sample a voxel plane across the ray's dominant axis."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from fluoro.rendering.projectors.base import Copies, Projector, SlangType

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fluoro.geometry.projection import View
    from fluoro.rendering.reference import Segments
    from fluoro.volume.grid import VolumeGrid
    from fluoro.volume.volumes import MuVolume

__all__ = ["PROJECTOR"]


def _reference(volume: MuVolume, view: View, *_: object) -> NDArray[np.float64]:
    from fluoro.rendering.reference import joseph_reference

    return joseph_reference(volume, view)


def _points(
    rays: Segments, grid: VolumeGrid, *_: object
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    from fluoro.rendering.reference import joseph_samples

    return joseph_samples(rays, grid)


def _samples(volume: MuVolume, view: View, *_: object) -> int:
    from fluoro.rendering.reference import planes_crossed

    return round(planes_crossed(volume, view))


PROJECTOR = Projector(
    name="joseph",
    text="takes one bilinear sample a voxel plane, which is faster on a CPU",
    reference=_reference,
    points=_points,
    packet=SlangType("joseph", "Joseph"),
    across=SlangType("joseph", "JosephAcross"),
    gradient=SlangType("joseph", "JosephGradient"),
    backprojector=SlangType("joseph", "Joseph").of(SlangType("sums", "PlainSums")),
    copies=Copies(
        packet=SlangType("slab", "SlabPacket"),
        gradient=SlangType("slab", "SlabGradient"),
        planes=1,
        needed=False,
    ),
    samples=_samples,
    voxels_per_sample=4,
)

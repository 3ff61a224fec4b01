"""A ball: a marker, a calibration bead."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from fluoro.config.section import Vector
from fluoro.scene.base import ShapeSection

if TYPE_CHECKING:
    from fluoro.volume.material_volume import Solid

__all__ = ["BallInclusion"]

VOXEL_MM, VOXELS_ACROSS = 0.75, (12, 64)
"""Edge of a ball's voxels [mm], and the least and most of them across it."""


class BallInclusion(ShapeSection):
    """A ball: a marker, a calibration bead."""

    kind: Literal["ball"]
    center_mm: Vector = Field(description="Patient LPS [mm].")
    diameter_mm: Annotated[float, Field(ge=0.05, le=500)] = Field(description="[mm]")

    def solids(self) -> list[Solid]:
        """Return the ball on a grid of its own."""
        import numpy as np

        from fluoro.volume.grid import VolumeGrid
        from fluoro.volume.material_volume import Inclusion

        across = int(np.clip(np.ceil(self.diameter_mm / VOXEL_MM), *VOXELS_ACROSS))
        edge, count = self.diameter_mm / across, across + 4
        at = (np.arange(count) - (count - 1) / 2) * edge
        r = np.sqrt(at[:, None, None] ** 2 + at[:, None] ** 2 + at**2)
        share = np.clip((self.diameter_mm / 2 - r) / edge + 0.5, 0, 1)
        x, y, z = (float(value + at[0]) for value in self.center_mm)
        grid = VolumeGrid(
            shape_zyx=(count,) * 3, spacing_xyz_mm=(edge,) * 3, origin_xyz_mm=(x, y, z)
        )
        return [Inclusion(material=self.made_of(), share_zyx=share.astype(np.float32), grid=grid)]

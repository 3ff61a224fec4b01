"""A block of one material, its edges along the patient's axes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from fluoro.config.section import Vector
from fluoro.scene.base import ShapeSection

if TYPE_CHECKING:
    from fluoro.volume.material_volume import Solid


class BlockInclusion(ShapeSection):
    """A cube of one material, its edges along the patient's axes."""

    kind: Literal["block"]
    center_mm: Vector = Field(description="Patient LPS [mm].")
    edge_mm: Annotated[float, Field(ge=1, le=200)] = Field(description="[mm]")

    def solids(self) -> list[Solid]:
        """Return the cube on a grid of its own: voxels of air about 8 x 8 x 8 of the material."""
        import numpy as np

        from fluoro.volume.grid import VolumeGrid
        from fluoro.volume.material_volume import Inclusion

        edge_mm = self.edge_mm / 8
        share = np.zeros((10, 10, 10), np.float32)
        share[1:9, 1:9, 1:9] = 1.0
        x, y, z = (float(center - 4.5 * edge_mm) for center in self.center_mm)
        grid = VolumeGrid(
            shape_zyx=(10, 10, 10), spacing_xyz_mm=(edge_mm,) * 3, origin_xyz_mm=(x, y, z)
        )
        return [Inclusion(material=self.made_of(), share_zyx=share, grid=grid)]

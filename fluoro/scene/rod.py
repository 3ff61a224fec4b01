"""A straight rod: a needle, a nail, a piece of a catheter, a vessel."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, model_validator

from fluoro.config.section import Vector
from fluoro.config.validation_errors import KeyValueError
from fluoro.scene.base import ShapeSection

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fluoro.volume.material_volume import Solid

__all__ = ["RodInclusion"]

VOXELS_ACROSS = 12
"""Voxels across a rod."""

MOST_ALONG = 2048
"""Voxels along a rod; a longer or thinner one gets coarser voxels along its axis."""


class RodInclusion(ShapeSection):
    """A straight rod: a needle, a nail, a piece of a catheter, a vessel."""

    kind: Literal["rod"]
    from_mm: Vector = Field(description="One end of its axis, patient LPS [mm].")
    to_mm: Vector = Field(description="The other end.")
    diameter_mm: Annotated[float, Field(ge=0.05, le=500)] = Field(description="[mm]")

    @model_validator(mode="after")
    def _has_length(self) -> RodInclusion:
        if math.dist(self.from_mm, self.to_mm) < 0.01:
            raise KeyValueError("to_mm", "must be at least 0.01 mm away from from_mm")
        return self

    def solids(self) -> list[Solid]:
        """Return a cylinder with flat ends on a grid along its axis."""
        import numpy as np

        from fluoro.volume.grid import VolumeGrid
        from fluoro.volume.material_volume import Inclusion

        start, end = np.array(self.from_mm), np.array(self.to_mm)
        length = float(np.linalg.norm(end - start))
        axes = _axes_along((end - start) / length)
        edge = self.diameter_mm / VOXELS_ACROSS
        along = int(np.clip(np.ceil(length / edge), 1, MOST_ALONG))
        step = length / along
        count = VOXELS_ACROSS + 4
        at = (np.arange(count) - (count - 1) / 2) * edge
        disc = np.clip((self.diameter_mm / 2 - np.hypot(at[:, None], at)) / edge + 0.5, 0, 1)
        origin = start + axes @ np.array([at[0], at[0], step / 2])
        x, y, z = axes.tolist()
        grid = VolumeGrid(
            shape_zyx=(along, count, count),
            spacing_xyz_mm=(edge, edge, step),
            origin_xyz_mm=(float(origin[0]), float(origin[1]), float(origin[2])),
            direction=(tuple(x), tuple(y), tuple(z)),
        )
        share = np.ascontiguousarray(np.broadcast_to(disc, grid.shape_zyx), np.float32)
        return [Inclusion(material=self.made_of(), share_zyx=share, grid=grid)]


def _axes_along(z: NDArray[Any]) -> NDArray[Any]:
    """Return a right-handed frame whose last column is `z`."""
    import numpy as np

    x = np.cross(np.eye(3)[np.abs(z).argmin()], z)
    x /= np.linalg.norm(x)
    return np.stack([x, np.cross(z, x), z], axis=1)

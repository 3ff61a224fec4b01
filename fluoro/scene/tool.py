"""A rigid instrument: K-wire, needle, screw, stent, phantom of beads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from fluoro.config.section import MaterialName
from fluoro.names import ToolName
from fluoro.scene.base import PlacedSection

if TYPE_CHECKING:
    from fluoro.scene.setup import SceneSetup
    from fluoro.volume.posed_solid import PosedSolid

__all__ = ["ToolInclusion"]


class ToolInclusion(PlacedSection):
    """A rigid instrument whose tip is its origin and whose z runs from the tip back."""

    kind: Literal["tool"]
    preset: ToolName = Field(description="Its shape.")
    length_mm: Annotated[float, Field(gt=0, le=1000)] | None = Field(
        None, description="From the tip back; null: the preset's [mm]."
    )
    diameter_mm: Annotated[float, Field(ge=0.05, le=200)] | None = Field(
        None, description="Outer one; null: the preset's [mm]."
    )
    material: MaterialName | None = Field(None, description="null: the preset's.")

    def posed(self, setup: SceneSetup) -> Sequence[PosedSolid]:
        """Return the instrument."""
        from fluoro.scene.tool_solid import ToolSolid

        solid = ToolSolid(
            self.preset,
            self.track(setup.tracks),
            length_mm=self.length_mm,
            diameter_mm=self.diameter_mm,
            made_of=self.material,
        )
        return [self.described(solid)]

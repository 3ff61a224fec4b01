"""A wire along a path: guide-wire, catheter, needle, K-wire, or one of the user's own."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, Strict, model_validator

from fluoro.config.schema_rules import one_of, rules
from fluoro.config.section import Section, Turn, Vector
from fluoro.config.validation_errors import KeyValueError
from fluoro.names import WireName
from fluoro.scene.base import PosedSection
from fluoro.scene.cross_sections import WIRES, WirePart

if TYPE_CHECKING:
    from fluoro.scene.setup import SceneSetup
    from fluoro.volume.posed_solid import PosedSolid

__all__ = ["InsertionKey", "WireInclusion"]


class InsertionKey(Section):
    """How far a wire is in at a moment."""

    time_s: Annotated[float, Field(ge=0, le=1e6)] = Field(description="[s]")
    inserted_mm: Annotated[float, Field(ge=0, le=10_000)] = Field(
        description="Way of the tip along the path [mm]."
    )
    roll_deg: Turn = Field(0.0, description="By which the wire is turned about itself [deg].")


class WireInclusion(PosedSection):
    """A wire along a path, from the path's start to its tip; its ends are round."""

    model_config = rules(one_of("preset", "parts"))

    kind: Literal["wire"]
    preset: WireName | None = Field(None, description="What it is made of; or `parts`.")
    parts: (
        Annotated[tuple[WirePart, ...], Strict(False), Field(min_length=1, max_length=64)] | None
    ) = Field(
        None, description="Cross-sections along the wire, the tip's first, in place of a preset."
    )
    path_mm: Annotated[tuple[Vector, ...], Strict(False), Field(min_length=2, max_length=4096)] = (
        Field(description="Way-points that the wire goes through, patient LPS [mm].")
    )
    spline: bool = Field(True, description="A smooth curve through them; off: straight lines.")
    inserted: Annotated[tuple[InsertionKey, ...], Strict(False), Field(max_length=4096)] = Field(
        (), description="By rising time, linear in between; none: to the path's end."
    )
    tip_angle_deg: Annotated[float, Field(ge=0, le=180)] = Field(
        0.0, description="By which the tip is bent off the path, in the plane of roll_deg [deg]."
    )
    tip_length_mm: Annotated[float, Field(gt=0, le=100)] = Field(
        10.0, description="Length of the bend; without effect where tip_angle_deg is 0."
    )
    piece_mm: Annotated[float, Field(ge=0.05, le=100)] = Field(
        1.0, description="Longest straight piece that a curve is made of [mm]."
    )

    @model_validator(mode="after")
    def _made_of_something(self) -> WireInclusion:
        if (self.preset is None) == (self.parts is None):
            given = "neither" if self.preset is None else "both"
            raise ValueError(f"must have either preset or parts, got {given}")
        return self

    @model_validator(mode="after")
    def _goes_somewhere(self) -> WireInclusion:
        for number, (one, other) in enumerate(itertools.pairwise(self.path_mm)):
            if math.dist(one, other) < 0.01:
                where = f"path_mm.{number + 1}"
                raise KeyValueError(where, "must be at least 0.01 mm away from the point before")
        times = [each.time_s for each in self.inserted]
        for number, (earlier, later) in enumerate(itertools.pairwise(times)):
            if later <= earlier:
                where = f"inserted.{number + 1}.time_s"
                raise KeyValueError(where, f"must be greater than {earlier:g}, got {later:g}")
        return self

    def made_from(self) -> tuple[WirePart, ...]:
        """Return its parts, the tip's first."""
        return WIRES[self.preset] if self.preset else self.parts or ()

    def posed(self, setup: SceneSetup) -> Sequence[PosedSolid]:
        """Return the wire.

        Raises:
            InputError: More pieces than a wire may have.
        """
        del setup
        import numpy as np

        from fluoro.scene.wire_solid import WireSolid

        keys = self.inserted
        solid = WireSolid(
            self.title,
            self.made_from(),
            np.array(self.path_mm),
            spline=self.spline,
            piece_mm=self.piece_mm,
            insertions=np.array([(k.time_s, k.inserted_mm, k.roll_deg) for k in keys]),
            tip_angle_deg=self.tip_angle_deg,
            tip_length_mm=self.tip_length_mm,
        )
        return [self.described(solid)]

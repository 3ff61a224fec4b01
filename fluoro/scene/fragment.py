"""A piece of the patient that moves: a bone, or a part of one behind a cut."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, Strict, model_validator

from fluoro.config.labels import Structures
from fluoro.config.section import Section, Vector
from fluoro.config.validation_errors import KeyValueError
from fluoro.scene.base import PlacedSection

if TYPE_CHECKING:
    from fluoro.scene.setup import SceneSetup
    from fluoro.volume.posed_solid import PosedSolid

__all__ = ["Cut", "FragmentInclusion"]


class Cut(Section):
    """A plane through a structure."""

    point_mm: Vector = Field(description="Where it goes through, patient LPS [mm].")
    normal: Vector = Field(description="To the side that the fragment is on.")

    @model_validator(mode="after")
    def _normal_has_a_length(self) -> Cut:
        if math.hypot(*self.normal) < 1e-6:
            raise KeyValueError("normal", "must be at least 1e-6 long")
        return self


class FragmentInclusion(PlacedSection):
    """Structures of the patient that move; soft tissue fills the place that they leave.

    Its poses are motions from where the CT has it: `position_mm` is a shift, and `rotation_deg`
    turns it about its middle.
    """

    kind: Literal["fragment"]
    structures: Structures = Field(description="Of `volume.labels`; together they move as one.")
    cuts: Annotated[tuple[Cut, ...], Strict(False), Field(max_length=8)] = Field(
        (), description="Only what is on this side of every plane."
    )
    rim_mm: Annotated[float, Field(ge=0, le=10)] = Field(
        1.5,
        description="What is denser than the gap's filling within this distance of the structures "
        "moves with them: their voxels are bone in part.",
    )
    gap_hu: Annotated[float, Field(ge=-1000, le=3000)] = Field(
        40.0, description="CT number of what fills the place that it leaves."
    )

    def posed(self, setup: SceneSetup) -> Sequence[PosedSolid]:
        """Return the fragment, and put the filling in its place in the patient's `rest`.

        Raises:
            InputError: No labels, a structure that is unknown, or none on this side of the cuts.
        """
        from fluoro.geometry.se3 import translation
        from fluoro.scene.fragments import cut_out
        from fluoro.scene.pose_track import PoseTrack
        from fluoro.volume.rigid_solids import SampledSolid

        patient = setup.patient
        cuts = [(each.point_mm, each.normal) for each in self.cuts]
        piece = cut_out(patient, self.structures, cuts, rim_mm=self.rim_mm, gap_hu=self.gap_hu)
        held = setup.tracks[self.parent] if self.parent else None
        rest = PoseTrack(self.title, [0.0], [translation(piece.middle_xyz_mm)], held)
        track = self.track(setup.tracks, rest)
        solid = SampledSolid(self.title, piece.surface, piece.volume, patient.tissues, track)
        solid.displaces, solid.priority = self.displaces, self.priority
        solid.cut_out = piece.cut_out
        return [solid]

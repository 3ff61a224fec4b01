"""Another CT in the beam, with a pose: a second patient part, an implant at high resolution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from fluoro.config.section import CtPath, MaterialName
from fluoro.errors import of_key
from fluoro.names import ObjectOrigin
from fluoro.scene.base import PlacedSection

if TYPE_CHECKING:
    from fluoro.scene.setup import SceneSetup
    from fluoro.volume.posed_solid import PosedSolid

__all__ = ["VolumeInclusion"]


class VolumeInclusion(PlacedSection):
    """Another CT: its tissues by the CT number, or one material where it is dense."""

    kind: Literal["volume"]
    path: CtPath = Field(description="CT in any format that `volume.path` may have.")
    above_hu: Annotated[float, Field(ge=-1000, le=30_000)] | None = Field(
        -300.0, description="Only what is denser is there; null: the whole box."
    )
    material: MaterialName | None = Field(
        None, description="What it is made of, whatever its CT number; null: tissues."
    )
    origin: ObjectOrigin = Field(
        "file", description="What `poses` place: the file's origin, or the middle of what is there."
    )

    def posed(self, setup: SceneSetup) -> Sequence[PosedSolid]:
        """Return the CT.

        Raises:
            InputError: A file that cannot be read, or one that is nowhere as dense.
        """
        from fluoro.physics.materials import material
        from fluoro.scene.placed_volume import placed_volume
        from fluoro.volume.rigid_solids import MeshSolid, OutlinedSolid, SampledSolid

        patient, middle = setup.patient, self.origin == "middle"
        with of_key("path"):
            surface, volume = placed_volume(
                self.path, self.above_hu, patient.config, about_middle=middle
            )
        track = self.track(setup.tracks)
        solid: OutlinedSolid
        if self.material:
            solid = MeshSolid(self.title, surface, material(self.material), track)
        else:
            solid = SampledSolid(self.title, surface, volume, patient.tissues, track)
        solid.displaces, solid.priority = self.displaces, self.priority
        return [solid]

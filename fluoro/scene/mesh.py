"""A closed triangle mesh from a file: an instrument, an implant."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from fluoro.config.section import FilePath
from fluoro.errors import of_key
from fluoro.names import AxesName, ObjectOrigin
from fluoro.scene.base import PlacedSection, ShapeSection

if TYPE_CHECKING:
    from fluoro.scene.setup import SceneSetup
    from fluoro.volume.posed_solid import PosedSolid

__all__ = ["MeshInclusion"]


class MeshInclusion(PlacedSection, ShapeSection):
    """What lies inside a closed triangle mesh; open meshes are refused."""

    kind: Literal["mesh"]
    path: FilePath = Field(description="STL, OBJ or PLY, relative to the YAML file.")
    unit_mm: Annotated[float, Field(gt=0, le=10_000)] = Field(
        1.0, description="Length of the file's unit [mm]; 1000 for metres."
    )
    axes: AxesName = Field("LPS", description="Of the file; RAS is turned to LPS.")
    origin: ObjectOrigin = Field(
        "file",
        description="What `poses` place: the file's origin, or the middle of the box.",
    )

    def posed(self, setup: SceneSetup) -> Sequence[PosedSolid]:
        """Return the mesh.

        Raises:
            InputError: A file that is missing or damaged, a mesh that is open or has no volume.
        """
        from fluoro.scene.mesh_files import load_mesh
        from fluoro.scene.outlines import centred
        from fluoro.volume.rigid_solids import MeshSolid

        with of_key("path"):
            surface = load_mesh(self.path, unit_mm=self.unit_mm, axes=self.axes)
        if self.origin == "middle":
            surface = centred(surface)[0]
        return [
            MeshSolid(
                self.title,
                surface,
                self.made_of(),
                self.track(setup.tracks),
                displaces=self.displaces,
                priority=self.priority,
            )
        ]

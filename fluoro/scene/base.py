"""What every object in the beam has in common: its section of the YAML, and the solids it makes.

The modules of this folder hold models of the configuration, so they import what computes when it is
needed: `fluoro.config` loads without NumPy.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, TypeVar

from pydantic import Field, Strict, model_validator

from fluoro.config.section import MaterialName, Section, Turn, Vector, list_of
from fluoro.config.validation_errors import KeyValueError

if TYPE_CHECKING:
    from fluoro.physics.materials import Material
    from fluoro.scene.pose_track import PoseTrack
    from fluoro.scene.setup import SceneSetup
    from fluoro.volume.material_volume import Solid
    from fluoro.volume.posed_solid import PosedSolid

__all__ = [
    "ObjectName",
    "PlacedSection",
    "PoseKey",
    "PosedSection",
    "SceneSection",
    "ShapeSection",
    "parents_first",
]

Described = TypeVar("Described", bound="PosedSolid")

ObjectName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,40}$")]


class SceneSection(Section):
    """Base of what is put into a patient: a subclass adds `kind`, geometry and material."""

    displaces: bool = Field(
        True, description="Takes the tissue's place; off: it adds to it, as a contrast agent does."
    )
    priority: Annotated[int, Field(ge=-100, le=100)] = Field(
        0,
        description="Where two objects overlap, one that displaces takes the place of those with "
        "lower priority. Of equal ones both count; of objects that move the first in the list.",
    )

    def solids(self) -> Sequence[Solid]:
        """Return the solids at rest that the section stands for.

        Raises:
            InputError: A file that cannot be used.
        """
        return ()

    def posed(self, setup: SceneSetup) -> Sequence[PosedSolid]:
        """Return the solids with a pose per frame that the section stands for.

        Args:
            setup: What the objects of a scene share.

        Raises:
            InputError: A file that cannot be used.
        """
        del setup
        return ()


class PosedSection(SceneSection):
    """Base of objects that are somewhere else in every frame.

    They displace while the image is rendered, so the voxels stay as they are.
    """

    name: ObjectName | None = Field(
        None, description="By which it is steered while the stream runs, and annotated."
    )
    stale_s: Annotated[float, Field(ge=0.05, le=3600)] | None = Field(
        1.0, description="Silence of live samples after which the log tells of it; null: never [s]."
    )

    def described(self, solid: Described) -> Described:
        """Return a solid with what every such section says of it."""
        solid.name, solid.stale_s = self.title, self.stale_s
        solid.displaces, solid.priority = self.displaces, self.priority
        return solid

    @property
    def title(self) -> str:
        """The name, or the kind of an object without one."""
        return self.name or str(getattr(self, "kind", "object"))


class PoseKey(Section):
    """Where an object is at a moment."""

    time_s: Annotated[float, Field(ge=0, le=1e6)] = Field(0.0, description="[s]")
    position_mm: Vector = Field((0.0, 0.0, 0.0), description="Of its origin, patient LPS [mm].")
    rotation_deg: Annotated[tuple[Turn, Turn, Turn], Strict(False), list_of(3)] = Field(
        (0.0, 0.0, 0.0), description="About the object's x, then y, then z, all at rest [deg]."
    )
    axis: Vector | None = Field(
        None, description="Where its z points after that rotation; null: along the patient's z."
    )

    @model_validator(mode="after")
    def _axis_has_a_length(self) -> PoseKey:
        if self.axis is not None and math.hypot(*self.axis) < 1e-6:
            raise KeyValueError("axis", "must be greater than 0 in length")
        return self


class PlacedSection(PosedSection):
    """Base of rigid objects with a pose by time: in between it is interpolated in SE(3)."""

    poses: Annotated[tuple[PoseKey, ...], Strict(False), Field(max_length=4096)] = Field(
        (), description="By rising time; before the first and after the last it rests; none: [{}]."
    )
    parent: ObjectName | None = Field(
        None, description="Name of another object that has poses, and that it moves with."
    )

    @model_validator(mode="after")
    def _times_rise(self) -> PlacedSection:
        times = [each.time_s for each in self.poses]
        for number, (earlier, later) in enumerate(itertools.pairwise(times)):
            if later <= earlier:
                where = f"poses.{number + 1}.time_s"
                raise KeyValueError(where, f"must be greater than {earlier:g}, got {later:g}")
        return self

    def track(self, tracks: dict[str, PoseTrack], rest: PoseTrack | None = None) -> PoseTrack:
        """Return the object's pose by time, and add it to the tracks under the object's name.

        Args:
            tracks: Of the objects so far, by name.
            rest: Where the poses are counted from; None: from the parent, or the patient.
        """
        from fluoro.scene.pose_track import PoseTrack, pose_matrix

        held = rest or (tracks[self.parent] if self.parent else None)
        keys = self.poses or (PoseKey(),)
        poses = [pose_matrix(each.position_mm, each.rotation_deg, each.axis) for each in keys]
        made = PoseTrack(self.title, [each.time_s for each in keys], poses, held)
        if self.name:
            tracks[self.name] = made
        return made


def parents_first(sections: Iterable[SceneSection]) -> list[SceneSection]:
    """Return the sections, each behind its parent.

    Raises:
        KeyValueError: A name that two have, or a parent that is unknown or the object's own child;
            the key begins with the section's number.
    """
    sections = list(sections)
    _require_names_once(sections)
    _require_known_parents(sections)
    found: list[SceneSection] = []
    ready: set[str | None] = {None}
    left = sections
    while left:
        next_ones = [each for each in left if _parent(each) in ready]
        if not next_ones:
            where = f"{sections.index(left[0])}.parent"
            raise KeyValueError(where, f"must not go in a circle, got {_parent(left[0])}")
        found += next_ones
        left = [each for each in left if _parent(each) not in ready]
        ready |= {each.name for each in next_ones if isinstance(each, PosedSection)}
    return found


def _require_names_once(sections: Sequence[SceneSection]) -> None:
    seen: set[str] = set()
    for number, each in enumerate(sections):
        name = each.name if isinstance(each, PosedSection) else None
        if name in seen:
            raise KeyValueError(
                f"{number}.name", f"must differ from other objects' names, got {name}"
            )
        seen |= {name} if name else set()


def _require_known_parents(sections: Sequence[SceneSection]) -> None:
    able = {each.name for each in sections if isinstance(each, PlacedSection)}
    for number, parent in enumerate(map(_parent, sections)):
        if parent is not None and parent not in able:
            raise KeyValueError(f"{number}.parent", f"must be an object with poses, got {parent}")


def _parent(section: SceneSection) -> str | None:
    return section.parent if isinstance(section, PlacedSection) else None


class ShapeSection(SceneSection):
    """Base of objects of one material with a shape in closed form."""

    material: MaterialName = Field(description="What it is made of.")
    density_g_per_cm3: Annotated[float, Field(gt=0, le=30)] | None = Field(
        None, description="null: the material's own; iodine at 20 mg/ml is 0.02."
    )

    def made_of(self) -> Material:
        """Return the material at its density."""
        from dataclasses import replace

        from fluoro.physics.materials import material

        found, density = material(self.material), self.density_g_per_cm3
        return found if density is None else replace(found, density_g_per_cm3=density)

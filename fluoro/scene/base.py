"""What every object in the beam has in common: its section of the YAML, and the solids it makes.

The modules of this folder hold models of the configuration, so they import what computes when it is
needed: `fluoro.config` loads without NumPy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from fluoro.config.section import MaterialName, Section

if TYPE_CHECKING:
    from fluoro.physics.materials import Material
    from fluoro.volume.material_volume import Solid

__all__ = ["SceneSection", "ShapeSection"]


class SceneSection(Section):
    """Base of what is put into a patient: a subclass adds `kind`, geometry and material."""

    displaces: bool = Field(
        True, description="Takes the tissue's place; off: it adds to it, as a contrast agent does."
    )
    priority: Annotated[int, Field(ge=-100, le=100)] = Field(
        0,
        description="Where two objects overlap, one that displaces takes the place of those with "
        "lower priority; of equal ones both count.",
    )

    def solids(self) -> Sequence[Solid]:
        """Return the solids that the section stands for.

        Raises:
            InputError: A file that cannot be used.
        """
        raise NotImplementedError


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

"""What wires are made of along their length: cross-sections of shells, and the presets.

Sizes are those of common products; a section of the YAML (`parts`) replaces them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field, Strict, model_validator

from fluoro.config.section import MaterialName, Section
from fluoro.config.validation_errors import KeyValueError

if TYPE_CHECKING:
    from fluoro.physics.materials import Material

__all__ = ["WIRES", "Shell", "WirePart"]


class Shell(Section):
    """One material of a cross-section, a disc that the next shell takes the middle of."""

    diameter_mm: Annotated[float, Field(ge=0.01, le=100)] = Field(description="Outer one [mm].")
    material: MaterialName = Field(description="What it is made of.")
    density_g_per_cm3: Annotated[float, Field(gt=0, le=30)] | None = Field(
        None, description="null: the material's own; that of a coil or braid is its mean."
    )

    def made_of(self) -> Material:
        """Return the material at its density."""
        from dataclasses import replace

        from fluoro.physics.materials import material

        found, density = material(self.material), self.density_g_per_cm3
        return found if density is None else replace(found, density_g_per_cm3=density)


class WirePart(Section):
    """A piece of a wire with one cross-section."""

    length_mm: Annotated[float, Field(gt=0, le=3000)] = Field(description="Along the wire [mm].")
    shells: Annotated[tuple[Shell, ...], Strict(False), Field(min_length=1, max_length=4)] = Field(
        description="The outermost first."
    )

    @model_validator(mode="after")
    def _shells_fall(self) -> WirePart:
        widths = [each.diameter_mm for each in self.shells]
        for number in range(1, len(widths)):
            if widths[number] >= widths[number - 1]:
                where = f"shells.{number}.diameter_mm"
                raise KeyValueError(
                    where, f"must be less than {widths[number - 1]:g}, got {widths[number]:g}"
                )
        return self


def _shell(diameter_mm: float, material: str, density_g_per_cm3: float | None = None) -> Shell:
    return Shell(diameter_mm=diameter_mm, material=material, density_g_per_cm3=density_g_per_cm3)


def _part(length_mm: float, *shells: Shell) -> WirePart:
    return WirePart(length_mm=length_mm, shells=shells)


def _trocar(diameter_mm: float, length_mm: float, steps: int) -> tuple[WirePart, ...]:
    """A point that grows to the full diameter."""
    return tuple(
        _part(length_mm / steps, _shell(diameter_mm * (n + 0.5) / steps, "steel"))
        for n in range(steps)
    )


_CATHETER = (
    _shell(1.67, "catheter_nylon"),
    _shell(1.47, "steel", 2.4),
    _shell(1.37, "ptfe"),
    _shell(1.2, "blood"),
)
_BAND = (_shell(1.69, "platinum"), _shell(1.6, "catheter_nylon"), _shell(1.2, "blood"))

WIRES: dict[str, tuple[WirePart, ...]] = {
    "guide_wire": (
        _part(30.0, _shell(0.89, "platinum", 16.8), _shell(0.49, "blood"), _shell(0.2, "steel")),
        _part(1500.0, _shell(0.89, "ptfe"), _shell(0.81, "steel")),
    ),
    "coronary_wire": (
        _part(30.0, _shell(0.36, "platinum", 16.8), _shell(0.2, "blood"), _shell(0.08, "steel")),
        _part(1800.0, _shell(0.36, "ptfe"), _shell(0.34, "steel")),
    ),
    "catheter": (
        _part(1.0, *_CATHETER[:1], *_CATHETER[2:]),
        _part(1.0, *_BAND),
        _part(18.0, *_CATHETER),
        _part(1.0, *_BAND),
        _part(1000.0, *_CATHETER),
    ),
    "needle": (_part(90.0, _shell(1.27, "steel"), _shell(0.84, "blood")),),
    "k_wire": (*_trocar(2.0, 5.0, 10), _part(295.0, _shell(2.0, "steel"))),
}
"""Parts of each wire from the tip on: guide-wires of 0.035 and 0.014 inch with a coil of platinum
(pi / 4 of its place is metal), a catheter of 5 French with a braid (3 tenths metal) and two marker
bands, a needle of 18 gauge, a Kirschner wire of 2 mm with a trocar point."""

"""How solids with a pose per frame are drawn: one kind of part a module."""

from __future__ import annotations

from fluoro.rendering.devices.base import ComputeDevice
from fluoro.rendering.parts.base import Part
from fluoro.rendering.parts.mesh_part import MeshPart, SampledPart
from fluoro.rendering.parts.tube_part import TubePart
from fluoro.volume.posed_solid import PosedSolid, TubeSolid
from fluoro.volume.rigid_solids import MeshSolid, SampledSolid

__all__ = ["PARTS", "make_part"]

PARTS: dict[type[PosedSolid], type[Part]] = {
    TubeSolid: TubePart,
    MeshSolid: MeshPart,
    SampledSolid: SampledPart,
}
"""What draws which kind of solid; a new kind is added here."""


def make_part(solid: PosedSolid, device: ComputeDevice) -> Part:
    """Return what draws a solid on a device."""
    (found,) = [part for kind, part in PARTS.items() if isinstance(solid, kind)]
    return found(solid, device)

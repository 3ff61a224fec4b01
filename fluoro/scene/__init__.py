"""What is in the beam besides the patient: one kind of object a module."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fluoro.lazy_names import lazy_names

if TYPE_CHECKING:
    from fluoro.scene.assemble import material_volume, posed_solids, scene_solids
    from fluoro.scene.ball import BallInclusion
    from fluoro.scene.base import SceneSection, ShapeSection
    from fluoro.scene.labels import LabelInclusion
    from fluoro.scene.mesh_files import load_mesh
    from fluoro.scene.rod import RodInclusion
    from fluoro.scene.tool import ToolInclusion
    from fluoro.scene.wire import WireInclusion

__all__ = [
    "BallInclusion",
    "LabelInclusion",
    "RodInclusion",
    "SceneSection",
    "ShapeSection",
    "ToolInclusion",
    "WireInclusion",
    "load_mesh",
    "material_volume",
    "posed_solids",
    "scene_solids",
]

if not TYPE_CHECKING:  # a type checker is to miss a name that is not there
    __getattr__, __dir__ = lazy_names(__name__)

"""`volume.materials.inclusions`: what is put into a patient."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fluoro.config.plugin_sections import by_kind, kinds
from fluoro.scene.ball import BallInclusion
from fluoro.scene.base import SceneSection, parents_first
from fluoro.scene.fragment import FragmentInclusion
from fluoro.scene.labels import LabelInclusion
from fluoro.scene.mesh import MeshInclusion
from fluoro.scene.rod import RodInclusion
from fluoro.scene.tool import ToolInclusion
from fluoro.scene.volume import VolumeInclusion
from fluoro.scene.wire import WireInclusion

__all__ = [
    "SCENE_OBJECTS",
    "BallInclusion",
    "FragmentInclusion",
    "InclusionConfig",
    "LabelInclusion",
    "MeshInclusion",
    "RodInclusion",
    "ToolInclusion",
    "VolumeInclusion",
    "WireInclusion",
    "parents_first",
]

BUILT_IN: tuple[type[SceneSection], ...] = (
    LabelInclusion,
    RodInclusion,
    BallInclusion,
    WireInclusion,
    ToolInclusion,
    MeshInclusion,
    FragmentInclusion,
    VolumeInclusion,
)
"""Fluoro's own kinds of objects in the beam; a new one is added here."""

SCENE_OBJECTS = kinds("scene_objects", SceneSection, BUILT_IN)
"""Every kind of object in the beam, those of plugins last."""

if TYPE_CHECKING:
    InclusionConfig = SceneSection
else:
    InclusionConfig = by_kind(SCENE_OBJECTS)

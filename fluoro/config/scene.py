"""`volume.materials.inclusions`: what is put into a patient."""

from __future__ import annotations

from typing import Annotated, get_args

from pydantic import Field

from fluoro.scene.ball import BallInclusion
from fluoro.scene.base import SceneSection
from fluoro.scene.labels import LabelInclusion
from fluoro.scene.rod import RodInclusion

__all__ = ["SCENE_OBJECTS", "BallInclusion", "InclusionConfig", "LabelInclusion", "RodInclusion"]

InclusionConfig = Annotated[
    LabelInclusion | RodInclusion | BallInclusion, Field(discriminator="kind")
]
"""Every kind of object in the beam; a new one is added here."""

SCENE_OBJECTS: tuple[type[SceneSection], ...] = get_args(get_args(InclusionConfig)[0])
"""The same as a list."""

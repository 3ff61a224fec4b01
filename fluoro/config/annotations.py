"""The section `annotations`: what is said of every frame."""

from __future__ import annotations

from pydantic import Field

from fluoro.annotations.base import AnnotationSection
from fluoro.annotations.boxes import BoxConfig
from fluoro.annotations.landmarks import LandmarkConfig
from fluoro.annotations.masks import MaskConfig
from fluoro.config.labels import Structures
from fluoro.config.section import Section

__all__ = ["AnnotationsConfig", "BoxConfig", "LandmarkConfig", "MaskConfig"]


class AnnotationsConfig(Section):
    """The truth of every frame: recorded as COCO, shown on the console, sent over DDS."""

    structures: Structures | None = Field(
        None, description="Of volume.labels, as `volume.labels.structures`; null: all of them."
    )
    masks: MaskConfig | None = Field(None, description="null: none.")
    boxes: BoxConfig | None = Field(None, description="null: none. {}: around each structure.")
    landmarks: LandmarkConfig | None = Field(None, description="null: none.")

    def sections(self) -> dict[str, AnnotationSection]:
        """Return the sections that are given, by name; a new kind of annotation is a key above."""
        found = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: each for name, each in found.items() if isinstance(each, AnnotationSection)}

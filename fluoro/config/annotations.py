"""The section `annotations`: masks, boxes and landmarks of every frame."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from fluoro import plugins
from fluoro.annotations.base import AnnotationSection
from fluoro.annotations.boxes import BoxConfig
from fluoro.annotations.instruments import InstrumentConfig
from fluoro.annotations.landmarks import LandmarkConfig
from fluoro.annotations.masks import MaskConfig
from fluoro.config.labels import Structures
from fluoro.config.plugin_sections import extended
from fluoro.config.section import Section

__all__ = ["AnnotationsConfig", "BoxConfig", "InstrumentConfig", "LandmarkConfig", "MaskConfig"]


def _is_annotation(found: object) -> bool:
    return isinstance(found, type) and issubclass(found, AnnotationSection)


def _keys_of_plugins(_section: type[Section]) -> dict[str, Any]:
    """Return the sections of plugins' annotations."""
    added = plugins.find("annotations", _is_annotation, "a class of AnnotationSection")
    return {
        name: (kind | None, Field(None, description="null: none.")) for name, kind in added.items()
    }


@extended("annotations", _keys_of_plugins)
class AnnotationsConfig(Section):
    """The truth of every frame: recorded as COCO, shown on the console, sent over DDS."""

    structures: Structures | None = Field(
        None, description="Of volume.labels, as `volume.labels.structures`; null: all of them."
    )
    masks: MaskConfig | None = Field(None, description="null: none.")
    boxes: BoxConfig | None = Field(None, description="null: none. {}: around each structure.")
    landmarks: LandmarkConfig | None = Field(None, description="null: none.")
    instruments: InstrumentConfig | None = Field(
        None, description="null: none. {}: of each object with a pose, its wire's line too."
    )

    def sections(self) -> dict[str, AnnotationSection]:
        """Return the sections that are given, by name; a new kind of annotation is a key above."""
        found = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: each for name, each in found.items() if isinstance(each, AnnotationSection)}

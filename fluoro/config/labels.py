"""The section `volume.labels`: structures by name in the volume."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, Strict, model_validator

from fluoro.config.reading import ReadOptions
from fluoro.config.schema_rules import at, const, rules, when
from fluoro.config.section import CtPath, FilePath, MaterialName
from fluoro.config.validation_errors import KeyValueError

__all__ = ["LabelsConfig", "LabelsPath", "StructureName", "Structures", "labels_section"]

AUTO = "auto"
MOST_STRUCTURES = 255

StructureName = Annotated[int, Field(ge=1, le=65535)] | Annotated[str, Field(min_length=1)]
"""A number, a name, a pattern such as `rib_*`, or a group such as `bone`."""
Structures = Annotated[
    tuple[StructureName, ...], Strict(False), Field(min_length=1, max_length=MOST_STRUCTURES)
]
LabelsPath = Literal["auto"] | CtPath


class LabelsConfig(ReadOptions):
    """Structures by name in the volume: for masks, materials, rendering and registration."""

    model_config = rules(
        when(at("names"), then=at("path")),
        when(at("series"), then=at("path")),
        when(at("select", {"minProperties": 1}), then=at("path")),
        when(at("gaps", const("interpolate")), then=at("path")),
        when(at("nifti_transform"), then=at("path")),
        when(at("array"), then=at("path")),
        when(at("soft_edge_mm", {"exclusiveMinimum": 0}), then=at("render")),
    )

    path: LabelsPath | None = Field(
        None,
        description="Whole numbers in any format that a CT may have, relative to the YAML file, on "
        "any grid; `cache:chest-ct`: those that `app.py fetch chest-ct` brings; `auto`: what "
        "`app.py segment` made of the CT; null: the parts of a phantom.",
    )
    names: (
        Literal["totalsegmentator"]
        | Annotated[dict[int, str], Field(min_length=1)]
        | FilePath
        | None
    ) = Field(
        None,
        description="What the numbers mean: the 117 classes of TotalSegmentator v2, "
        "{number: name}, or a YAML or CSV file of numbers and names; null: known with `path`.",
    )
    structures: Structures | None = Field(
        None,
        description="Numbers, names, patterns such as rib_* or groups such as bone; at most 255 "
        "structures; null: all that have voxels.",
    )
    render: Structures | None = Field(
        None, description="Only these are in the beam, the rest is air; null: all is."
    )
    soft_edge_mm: Annotated[float, Field(ge=0, le=20)] = Field(
        0.0,
        description="Standard deviation of the blur of the edges of what `render` keeps [mm]; 0: "
        "edges are those of the voxels.",
    )
    bone_attenuation_multiplier: Annotated[float, Field(ge=0, le=10)] = Field(
        1.0, description="Multiplies the attenuation of structures of the group bone."
    )
    materials: dict[StructureName, MaterialName] = Field(
        {},
        description="What structures are made of, by number, name, pattern or group; their density "
        "follows the CT number. Only with image_chain.xray.",
    )

    @model_validator(mode="after")
    def _a_file_has_names_and_choices(self) -> LabelsConfig:
        given = ["names"] if self.names is not None else list(self.given())
        if self.path is None and given:
            raise KeyValueError(given[0], "has no effect without path")
        return self

    @model_validator(mode="after")
    def _edges_are_those_of_render(self) -> LabelsConfig:
        if self.soft_edge_mm and self.render is None:
            raise KeyValueError("soft_edge_mm", "has no effect without render")
        return self


def labels_section() -> BeforeValidator:
    """Return what takes `auto` for `{path: auto}`."""

    def whole(value: object) -> object:
        return {"path": AUTO} if value == AUTO else value

    return BeforeValidator(whole, json_schema_input_type=LabelsConfig | Literal["auto"] | None)

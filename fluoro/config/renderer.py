"""The section `renderer`: how line integrals are computed, and on what."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Literal, get_args

from pydantic import AfterValidator, Field, WithJsonSchema, model_validator

from fluoro.config.schema_rules import at, const, never, rules
from fluoro.config.section import Section
from fluoro.config.validation_errors import KeyValueError, shown
from fluoro.names import DeviceName
from fluoro.rendering.projectors import PROJECTORS, names_where

__all__ = [
    "RendererConfig",
]

DEVICES = get_args(DeviceName)
DEVICE = f"^({'|'.join(DEVICES)}|cuda:[0-9]{{1,2}})$"


def _checked(device: str) -> str:
    if not re.fullmatch(DEVICE, device):
        raise ValueError(
            f"must be {', '.join(map(repr, DEVICES))}, or 'cuda:1' for the second NVIDIA GPU, "
            f"got {shown(device)}"
        )
    return device


Device = Annotated[
    str, AfterValidator(_checked), WithJsonSchema({"type": "string", "pattern": DEVICE})
]


if TYPE_CHECKING:
    ProjectorChoice = str
else:
    ProjectorChoice = Literal[tuple(PROJECTORS)]


class RendererConfig(Section):
    """Line integrals from the volume, on one device."""

    model_config = rules(
        never(at("projector", const(*names_where(lambda p: not p.steps))), at("step_mm")),
        never(
            at("projector", const(*names_where(lambda p: not p.texture))),
            at("texture", const(True)),
        ),
        never(
            at("projector", const(*names_where(lambda p: not p.in_place))), at("fused", const(True))
        ),
    )

    projector: ProjectorChoice = Field(
        "march",
        description="How a ray is integrated. "
        + "; ".join(f"{name} {projector.text}" for name, projector in PROJECTORS.items())
        + ".",
    )
    step_mm: Annotated[float, Field(ge=0.001, le=1000, allow_inf_nan=False)] | None = Field(
        None, description="Longest step of march [mm]; null: half the smallest voxel edge."
    )
    texture: bool = Field(
        False,
        description="Let a GPU's texture units interpolate for march, NVIDIA's with weights of 8 "
        "bits; refused on the CPU, with image_chain.xray and with volume.motion.",
    )
    fused: bool = Field(
        False,
        description="One kernel of a GPU from the ray to the last stage before one that looks at "
        "neighbouring pixels: Beer-Lambert, noise, window. Refused on the CPU, with projector "
        "slab, image_chain.xray, image_chain.scatter, volume.motion and volume.contrast.",
    )
    device: Device = Field(
        "auto",
        description="auto: the first of cuda, vulkan or metal on a real GPU, and cpu that renders "
        "a small scene as it should; cuda:1 is the second NVIDIA GPU; llvmpipe is Vulkan on the "
        "CPU. A device that is named is taken or is an error.",
    )
    workers: Annotated[int, Field(ge=0, le=1024)] = Field(
        0, description="CPU threads that render; 0: one per core. Without effect on a GPU."
    )

    @model_validator(mode="after")
    def _projector_uses_the_keys(self) -> RendererConfig:
        given = {
            "step_mm": (self.step_mm is not None, names_where(lambda p: p.steps)),
            "texture": (self.texture, names_where(lambda p: p.texture)),
            "fused": (self.fused, names_where(lambda p: p.in_place)),
        }
        for key, (is_given, able) in given.items():
            if is_given and self.projector not in able:
                wrong = f"has no effect with projector: {self.projector}"
                raise KeyValueError(key, f"{wrong}; use {' or '.join(able)}")
        return self

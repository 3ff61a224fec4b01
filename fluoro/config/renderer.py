"""The section `renderer`: how line integrals are computed, and on what."""

from __future__ import annotations

import re
from typing import Annotated, get_args

from pydantic import AfterValidator, Field, WithJsonSchema, model_validator

from fluoro.config.schema_rules import at, const, never, rules
from fluoro.config.section import Section
from fluoro.config.validation_errors import KeyValueError, shown
from fluoro.names import DeviceName, Projector

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


class RendererConfig(Section):
    """Line integrals from the volume, on one device."""

    model_config = rules(
        never(at("projector", const("joseph", "slab", "siddon")), at("step_mm")),
        never(at("projector", const("joseph", "slab", "siddon")), at("texture", const(True))),
        never(at("projector", const("slab")), at("fused", const(True))),
    )

    projector: Projector = Field(
        "march",
        description="How a ray is integrated; march uses step_mm. joseph is the faster on a CPU, "
        "slab the fastest: one sample for each two voxel planes, which can show as faint stripes "
        "in views near 45 degrees.",
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
    def _step_belongs_to_march(self) -> RendererConfig:
        if self.step_mm is not None and self.projector != "march":
            raise KeyValueError(
                "step_mm", f"has no effect with projector: {self.projector}; use march"
            )
        if self.texture and self.projector != "march":
            raise KeyValueError(
                "texture", f"has no effect with projector: {self.projector}; use march"
            )
        if self.fused and self.projector == "slab":
            raise KeyValueError("fused", "has no effect with projector: slab; use march or joseph")
        return self

"""The sections `registration` and `optimiser`, and where a pose search starts."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from fluoro.config.poses import PoseConfig
from fluoro.config.schema_rules import at, never, rules
from fluoro.config.section import Section
from fluoro.mistakes import KeyValueError

__all__ = [
    "OptimiserConfig",
    "RegistrationConfig",
    "StartConfig",
]


class StartConfig(Section):
    """Where a pose search starts: at a given pose, or displaced from the truth at random."""

    model_config = rules(
        never(at("pose"), at("seed", {})),
        never(at("pose"), at("mtre_mm", {})),
    )

    pose: PoseConfig | None = Field(None, description="Start here; null: by seed and mtre_mm.")
    seed: Annotated[int, Field(ge=0, lt=2**63)] = Field(
        0, description="Of the direction in which the start is displaced."
    )
    mtre_mm: Annotated[float, Field(ge=0, le=150)] = Field(
        20.0,
        description="Mean displacement of the corners of a 120 mm cube at the isocentre [mm].",
    )

    @model_validator(mode="after")
    def _one_start(self) -> StartConfig:
        for key in sorted(self.model_fields_set & {"seed", "mtre_mm"}):
            if self.pose is not None:
                raise KeyValueError(key, "has no effect beside pose")
        return self


class RegistrationConfig(Section):
    """Estimates the pose of the stream's newest frame from its picture alone."""

    enabled: bool = Field(False, description="Run it.")
    width_px: Annotated[int, Field(ge=32, le=1024)] = Field(
        128, description="Detector columns it works at; frames are binned to about that."
    )
    measure: Literal["mse", "ncc", "local_ncc", "local_fit", "multiscale_ncc", "gradient_ncc"] = (
        Field(
            "local_fit",
            description="Likeness of rendered image and frame; scatter and a spectrum do not bias "
            "local_fit and local_ncc, and do bias the others, although they are believed.",
        )
    )
    start: StartConfig = Field(StartConfig(), description="Where it believes the C-arm at first.")
    predict: bool = Field(True, description="Continue the motion at constant velocity.")
    search_starts: Annotated[int, Field(ge=0, le=4096)] = Field(
        64, description="Poses tried where the pose is lost; 0: it is not searched for."
    )
    turn_bound_deg: Annotated[float, Field(gt=0, le=175)] = Field(
        60.0, description="Largest turn from the expected pose about each axis [degrees]."
    )
    shift_bound_mm: Annotated[float, Field(gt=0, le=1000)] = Field(
        200.0, description="Largest shift from the expected pose along each axis [mm]."
    )
    least_agreement: Annotated[float, Field(ge=0, le=1)] = Field(
        0.7, description="Least correlation of fine structure at which a pose is believed."
    )


class OptimiserConfig(Section):
    """A user's own optimiser, fed with loss and gradient frame by frame until it stops."""

    class_: Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$", alias="class")] = Field(
        description="module:Class, such as examples.my_optimiser:MomentumDescent."
    )
    settings: dict[str, Any] = Field({}, description="Keywords of the class.")
    width_px: Annotated[int, Field(ge=16, le=1024)] = Field(
        128, description="Detector columns it works at; frames are binned to about that."
    )
    measure: Literal[
        "mse",
        "ncc",
        "local_ncc",
        "local_fit",
        "multiscale_ncc",
        "gradient_ncc",
        "mutual_information",
    ] = Field("ncc", description="The loss.")
    jacobian: bool = Field(
        False, description="Hand the optimiser the image's Jacobian, (6, height, width), too."
    )
    start: StartConfig = Field(StartConfig(), description="First pose.")

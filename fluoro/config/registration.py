"""The sections `registration` and `optimiser`, and where a pose search starts."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, Strict, model_validator

from fluoro.config.labels import Structures
from fluoro.config.plugin_sections import words
from fluoro.config.poses import PoseConfig
from fluoro.config.schema_rules import absent_or, at, const, never, rules
from fluoro.config.section import Section
from fluoro.config.validation_errors import KeyValueError
from fluoro.names import (
    DEGREES_OF_FREEDOM,
    MEASURES,
    Freedom,
    Hypotheses,
    LossName,
    OptimiserName,
)
from fluoro.rendering.projectors import names_where

__all__ = [
    "MultiStart",
    "OptimiserConfig",
    "RegistrationConfig",
    "RegistrationSettings",
    "StartConfig",
]


if TYPE_CHECKING:
    MeasureChoice = str
    ProjectorChoice = str
else:
    MeasureChoice = words("measures", MEASURES)
    ProjectorChoice = Literal[tuple(names_where(lambda each: each.registers))]


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


class MultiStart(Section):
    """Many starts on the coarsest level, about the expected pose, of which ever fewer go on."""

    starts: Annotated[int, Field(ge=1, le=4096)] = Field(
        64,
        description="Poses tried, the expected one included; 1: only that, so that a stream's pose "
        "is not searched for where it is lost.",
    )
    turn_sigma_deg: Annotated[float, Field(ge=0, le=90)] = Field(
        10.0, description="Spread about each axis [degrees]."
    )
    shift_sigma_mm: Annotated[float, Field(ge=0, le=500)] = Field(
        20.0, description="Spread along columns and rows [mm]."
    )
    depth_sigma_mm: Annotated[float, Field(ge=0, le=500)] = Field(
        20.0, description="Spread along the beam [mm]."
    )
    seed: Annotated[int, Field(ge=0, lt=2**63)] = Field(0, description="Of the spread.")

    def wider(self, attempt: int) -> MultiStart:
        """For attempt 1, 2 ... twice as many starts as before, spread half as far again."""
        factor = 1.5**attempt
        return self.model_copy(
            update={
                "starts": self.starts * 2**attempt,
                "turn_sigma_deg": self.turn_sigma_deg * factor,
                "shift_sigma_mm": self.shift_sigma_mm * factor,
                "depth_sigma_mm": self.depth_sigma_mm * factor,
                "seed": self.seed + attempt,
            }
        )


class RegistrationSettings(Section):
    """How a pose is sought: by `app.py register`, in a stream, and by a `Registrar`."""

    model_config = rules(
        never(
            at("measure", const("mutual_information")),
            absent_or("optimiser", const("levenberg_marquardt")),
        )
    )

    widths_px: Annotated[
        tuple[Annotated[int, Field(ge=8, le=4096)], ...], Strict(False), Field(min_length=1)
    ] = Field(
        (32, 64, 128),
        description="Detector columns of each level, rising; images are binned to about that.",
    )
    voxels_per_pixel: Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)] = Field(
        0.5,
        description="Voxels are joined up to this many pixel widths at the isocentre; 0: never.",
    )
    measure: MeasureChoice | None = Field(
        None,
        description="Likeness of rendered image and target, on the last level; in a stream on all "
        "but the first. null: local_ncc for one image, local_fit in a stream, where it is as "
        "exact in half the time. Scatter and a spectrum do not bias these two; they do bias the "
        "others, although the poses are believed. A stream does not take mutual_information.",
    )
    optimiser: OptimiserName = Field(
        "levenberg_marquardt", description="On the last level; a stream takes no other."
    )
    loss: LossName = Field(
        "huber", description="Weight of large residuals with levenberg_marquardt."
    )
    max_iterations: Annotated[int, Field(ge=1, le=10_000)] = Field(
        25, description="On each level; to follow a pose in a stream at most 15."
    )
    step_mm: Annotated[float, Field(gt=0, le=10)] = Field(
        0.05,
        description="A shorter step ends the last level, with lbfgs and adam a tenth of it; to "
        "follow a pose in a stream at least 0.2 [mm].",
    )
    fixed: Annotated[tuple[Freedom, ...], Strict(False)] = Field(
        (), description="Turns about and shifts along the starting view's axes that are held."
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
    hypotheses: Hypotheses = Field(
        "doubt",
        description="When the image is also tried mirrored, inverted and turned by 90, 180 and 270 "
        "degrees, from the given start: where its pose is not believed, or not with a confidence "
        "of 0.9; always; never.",
    )
    multi_start: MultiStart = Field(
        MultiStart(), description="Where the expected pose is not believed."
    )
    attempts: Annotated[int, Field(ge=1, le=8)] = Field(
        2,
        description="Rounds of ever wider starts, while the pose that the expected one leads to is "
        "not believed; without effect where multi_start has a single start.",
    )
    projector: ProjectorChoice | None = Field(
        None,
        description="Of the images that are held against the target. null: joseph for one image; "
        "slab, the fastest, in a stream.",
    )

    @model_validator(mode="after")
    def _fits(self) -> RegistrationSettings:
        if not all(a < b for a, b in pairwise(self.widths_px)):
            raise KeyValueError("widths_px", f"must rise, got {list(self.widths_px)}")
        if set(self.fixed) == set(DEGREES_OF_FREEDOM):
            raise KeyValueError("fixed", "must leave at least one degree of freedom, got all six")
        if self.optimiser == "levenberg_marquardt" and self.measure == "mutual_information":
            raise KeyValueError(
                "optimiser",
                "levenberg_marquardt needs a sum of squares, which mutual_information is not: use "
                "lbfgs or adam",
            )
        return self


class _RegistrationTask(Section):
    """The task of a registration; the settings say how it is done."""

    enabled: bool = Field(False, description="Run it; in a stream only.")
    start: StartConfig = Field(
        StartConfig(), description="Where the search starts; in a stream: before its first frame."
    )
    predict: bool = Field(
        True, description="Continue the motion at constant velocity; in a stream only."
    )
    labels: Structures | None = Field(
        None,
        description="Only these structures of volume.labels are held against the target; null: all "
        "that is in the volume.",
    )
    tissues_at_kev: Annotated[float, Field(ge=20, le=150)] | None = Field(
        None,
        description="Attenuation of air, lung, fat, soft tissue and bone at this energy, for "
        "images of many: about the mean of the open beam [keV]; null: as `volume` has it.",
    )


class RegistrationConfig(RegistrationSettings, _RegistrationTask):
    """Finds the pose of one image, or tracks that of a stream's newest frame, by images alone."""


class OptimiserConfig(Section):
    """A user's own optimiser, fed with loss and gradient frame by frame until it stops."""

    class_: Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$", alias="class")] = Field(
        description="module:Class, such as examples.my_optimiser:MomentumDescent; it runs "
        "only with --allow-plugins and its module."
    )
    settings: dict[str, Any] = Field({}, description="Keywords of the class.")
    width_px: Annotated[int, Field(ge=16, le=1024)] = Field(
        128, description="Detector columns it works at; frames are binned to about that."
    )
    measure: MeasureChoice = Field("ncc", description="The loss.")
    jacobian: bool = Field(
        False, description="Hand the optimiser the image's Jacobian, (6, height, width), too."
    )
    start: StartConfig = Field(StartConfig(), description="First pose.")

    @property
    def module(self) -> str:
        """The module of the class."""
        return self.class_.partition(":")[0]

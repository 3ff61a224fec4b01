"""Parts of `image_chain` that a console does to the image: curves, subtraction, roadmap."""

from __future__ import annotations

import itertools
from typing import Annotated, Literal

from pydantic import Field, Strict, model_validator

from fluoro.config.detector import Share
from fluoro.config.section import Finite, Positive, Section, list_of
from fluoro.config.validation_errors import KeyValueError

__all__ = [
    "DsaConfig",
    "EdgeEnhancementConfig",
    "GammaCurve",
    "LutConfig",
    "PixelShift",
    "PointsCurve",
    "RoadmapConfig",
    "Shares",
    "ShutterConfig",
    "SigmoidCurve",
    "SubtractionWindowConfig",
    "WindowConfig",
]


class WindowConfig(Section):
    """The fixed display window; the unit is that of the image before it.

    With the log on: attenuation line integrals (dimensionless, about 0 to 8); with the log off:
    transmission relative to the open field.
    """

    level: Finite = Field(3.0, description="Value shown mid-grey.")
    width: Positive = Field(5.0, description="Range shown from black to white.")


class EdgeEnhancementConfig(Section):
    """Unsharp masking of what is about to be windowed."""

    amount: Annotated[float, Field(gt=0, le=20)] = Field(
        0.7, description="How much of what a blur takes away is added."
    )
    sigma_mm: Annotated[float, Field(gt=0, le=100)] = Field(
        1.5, description="Of that blur, at the detector [mm]."
    )


Shares = Annotated[tuple[Share, Share, Share, Share], Strict(False), list_of(4)]
PixelShift = Annotated[float, Field(ge=-256, le=256, allow_inf_nan=False)]


class RoadmapConfig(Section):
    """The vessels at their fullest, traced in a subtraction, then laid bright over what follows."""

    frames: Annotated[int, Field(ge=1, le=100_000)] = Field(
        60, description="Frames after the mask over which they are traced."
    )
    opacity: Annotated[float, Field(gt=0, le=2)] = Field(
        0.7, description="Share of them that is subtracted from the live image."
    )


class SubtractionWindowConfig(WindowConfig):
    """The fixed display window of subtracted frames: ln(mask) - ln(live), vessels above 0."""

    level: Finite = Field(0.2, description="Value shown mid-grey.")
    width: Positive = Field(1.0, description="Range shown from black to white.")


class DsaConfig(Section):
    """Digital subtraction angiography: ln(mask) - ln(live), what came after the mask alone."""

    first_frame: Annotated[int, Field(ge=0)] = Field(
        0, description="Frame that the mask starts with; those before it are not subtracted."
    )
    mask_frames: Annotated[int, Field(ge=1, le=256)] = Field(
        4, description="Frames whose mean is the mask."
    )
    pixel_shift: Annotated[tuple[PixelShift, PixelShift], Strict(False), list_of(2)] = Field(
        (0.0, 0.0), description="Moves the mask to the right and down before it is subtracted."
    )
    window: SubtractionWindowConfig = Field(
        SubtractionWindowConfig(), description="Display window of subtracted frames."
    )
    roadmap: RoadmapConfig | None = Field(None, description="null: none.")


class ShutterConfig(Section):
    """The console's shutter: what the collimator covers is shown black, its noise with it."""

    margin_mm: Annotated[float, Field(ge=-500, le=500)] = Field(
        0.0,
        description="How far beyond the collimator's field, at the detector, the image still "
        "shows [mm]; below 0: within it.",
    )


class SigmoidCurve(Section):
    """An S: soft at both ends, steep in the middle, from 0 to 1."""

    kind: Literal["sigmoid"]
    slope: Annotated[float, Field(gt=0, le=20)] = Field(
        4.0, description="Of the logistic curve over the window, before it is stretched to 0 and 1."
    )


class GammaCurve(Section):
    """A power of the display value."""

    kind: Literal["gamma"]
    gamma: Annotated[float, Field(ge=0.1, le=10)] = Field(
        description="Above 1 darkens, below 1 brightens."
    )


class PointsCurve(Section):
    """Straight lines between given points."""

    kind: Literal["points"]
    points: Annotated[
        tuple[Annotated[tuple[Share, Share], Strict(False), list_of(2)], ...],
        Strict(False),
        Field(min_length=2, max_length=64),
    ] = Field(description="Pairs [display value, what is shown], from [0, ...] to [1, ...].")

    @model_validator(mode="after")
    def _covers_the_window(self) -> PointsCurve:
        at = [x for x, _ in self.points]
        if at[0] != 0 or at[-1] != 1 or any(b <= a for a, b in itertools.pairwise(at)):
            raise KeyValueError("points", f"must ascend from 0 to 1, got display values {at}")
        return self


LutConfig = Annotated[SigmoidCurve | GammaCurve | PointsCurve, Field(discriminator="kind")]

"""Parts of `image_chain` in the detector and its read-out."""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import Field, Strict, model_validator

from fluoro.config.section import Length, Positive, Rate, Section, list_of
from fluoro.config.validation_errors import KeyValueError

__all__ = [
    "DigitiserConfig",
    "FourRates",
    "ImageIntensifierConfig",
    "LagConfig",
    "MtfConfig",
    "Share",
    "VeilingGlareConfig",
]


class ImageIntensifierConfig(Section):
    """A round input screen, darker towards its rim, centred on the detector's used part."""

    diameter_mm: Length = Field(description="Of the input screen, at the detector [mm].")
    vignetting: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.25, description="Share of the light that is lost at the rim."
    )
    pin_cushion: Annotated[float, Field(ge=0, le=0.5)] = Field(
        0.0,
        description="The curved screen shows its middle smaller by this share; the rim stays.",
    )


class MtfConfig(Section):
    """Blur of a scintillator on pixels: its transfer is 1 / (1 + H f^2) sinc(a f).

    The aperture acts before the quanta are counted, the light behind: noise has the light's
    transfer alone.
    """

    h_mm2: Annotated[float, Field(ge=0, le=100)] = Field(
        0.5, description="H, the spread of the light [mm2]."
    )
    aperture_mm: Length | None = Field(
        None, description="a, the sensitive part of a pixel [mm]; null: the pixel pitch."
    )


class VeilingGlareConfig(Section):
    """Light that strays far within an image intensifier or its optics."""

    fraction: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.08, description="Share of a pixel's signal that strays."
    )
    sigma_mm: Length = Field(40.0, description="How far: a Gaussian's sigma at the detector [mm].")


FourRates = Annotated[
    tuple[Rate, Rate, Rate, Rate],
    Strict(False),
    list_of(4),
]


class LagConfig(Section):
    """Part of each frame's signal comes out in later frames, in four exponentials.

    The response to one frame is direct + sum of b exp(-a k) after k frames; what is direct makes
    the whole 1. As given: the flat panel of RTK's lag correction (applications/rtklagcorrection).
    """

    rates_per_frame: FourRates = Field(
        (0.7055, 0.1141, 0.0212, 0.0033), description="a: decay from frame to frame."
    )
    amplitudes: FourRates = Field(
        (2.911e-3, 0.4454e-3, 0.0748e-3, 0.0042e-3), description="b: share in the same frame."
    )

    @model_validator(mode="after")
    def _something_is_direct(self) -> LagConfig:
        pairs = zip(self.amplitudes, self.rates_per_frame, strict=True)
        trapped = sum(b / -math.expm1(-a) for b, a in pairs)
        if trapped >= 1:
            raise KeyValueError("amplitudes", f"trap more than there is: {trapped:.3g} of 1")
        return self


class DigitiserConfig(Section):
    """The analogue-to-digital converter."""

    bits: Annotated[int, Field(ge=4, le=16)] = Field(14, description="Of a pixel's value.")
    full_scale: Positive = Field(
        1.2, description="Signal, relative to the open field, at which it saturates."
    )


Share = Annotated[float, Field(ge=0, le=1)]

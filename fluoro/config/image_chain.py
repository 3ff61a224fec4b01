"""The section `image_chain`: from line integrals to the picture."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from fluoro.config.beam import BowTieConfig, CollimatorConfig, ScatterConfig, WedgeConfig
from fluoro.config.detector import (
    DigitiserConfig,
    ImageIntensifierConfig,
    LagConfig,
    MtfConfig,
    VeilingGlareConfig,
)
from fluoro.config.display import (
    DsaConfig,
    EdgeEnhancementConfig,
    LutConfig,
    ShutterConfig,
    WindowConfig,
)
from fluoro.config.schema_rules import NULL, absent_or, at, const, never, rules, when
from fluoro.config.section import Finite, NonNegative, Positive, Section, Sigma
from fluoro.config.xray import BrightnessConfig, XrayConfig
from fluoro.mistakes import KeyValueError
from fluoro.names import Polarity, Side

__all__ = [
    "ImageChainConfig",
]


_NEED_SIGNAL = (
    *(absent_or(key, const(True)) for key in ("poisson", "log")),
    *(
        at(key, {"exclusiveMinimum": 0})
        for key in (
            *("blur_sigma_mm", "electronic_noise_photons", "focal_spot_mm", "pixel_gain_spread"),
            "dead_pixel_fraction",
        )
    ),
    at("gain", {"not": const(1)}),
    at("bias", {"not": const(0)}),
    at("inverse_square", const(True)),
    *(
        at(key)
        for key in (
            *("brightness", "xray", "heel_anode_side", "collimator", "wedge", "bow_tie", "mtf"),
            *("veiling_glare", "scatter", "image_intensifier", "lag", "digitiser"),
        )
    ),
)
"""Stages that need a signal, in the words of the schema."""


class ImageChainConfig(Section):
    """From line integrals to the picture: counts, noise, blur, log, window, polarity."""

    model_config = rules(
        when(
            at("brightness.tube_steps", {"minItems": 1}),
            then={
                "allOf": [
                    at("xray"),
                    absent_or("xray.spectrum", NULL),
                    absent_or("xray.spectrum_csv", NULL),
                ]
            },
        ),
        never(at("dsa"), absent_or("beer_lambert", const(True)), at("log", const(False))),
        when(at("shutter"), then=at("collimator")),
        never(at("xray.tube_current_ma"), at("xray.pulse_width_ms"), at("dose_ngy", {})),
        *(never(at("beer_lambert", const(False)), stage) for stage in _NEED_SIGNAL),
    )

    dose_ngy: Positive = Field(
        20.0, description="Air kerma per frame at the detector behind 20 cm of water [nGy]."
    )
    brightness: BrightnessConfig | None = Field(
        None, description="Moves dose_ngy from frame to frame; null: it stays."
    )
    pulse_rate_hz: Annotated[float, Field(ge=0.5, le=60)] | None = Field(
        None,
        description="Pulses per second, at most run.fps, usually 3.75, 7.5, 15 or 30; between them "
        "the last picture is held. null: a pulse for every frame.",
    )
    xray: XrayConfig | None = Field(
        None, description="Tube and detector; null: photons of one energy, hu_to_mu.energy_kev."
    )
    beer_lambert: bool = Field(True, description="Off: line integrals go straight to the window.")
    inverse_square: bool = Field(
        False, description="Distance and slant weaken the beam towards the detector's corners."
    )
    heel_anode_side: Side | None = Field(
        None, description="Side of the picture that the anode's heel darkens; null: no heel effect."
    )
    collimator: CollimatorConfig | None = Field(None, description="null: open.")
    wedge: WedgeConfig | None = Field(None, description="null: none.")
    bow_tie: BowTieConfig | None = Field(None, description="null: none.")
    focal_spot_mm: Annotated[float, Field(ge=0, le=10)] = Field(
        0.0, description="It blurs the patient as at the isocentre [mm]; 0: a point."
    )
    scatter: ScatterConfig | None = Field(None, description="null: primary only.")
    poisson: bool = Field(True, description="Quantum noise.")
    blur_sigma_mm: Sigma = Field(0.0, description="Detector blur, Gaussian sigma [mm].")
    mtf: MtfConfig | None = Field(None, description="Detector blur by its transfer; null: none.")
    veiling_glare: VeilingGlareConfig | None = Field(None, description="null: none.")
    image_intensifier: ImageIntensifierConfig | None = Field(None, description="null: flat panel.")
    lag: LagConfig | None = Field(None, description="Memory of earlier frames; {}: a flat panel's.")
    electronic_noise_photons: NonNegative = Field(
        0.0, description="Standard deviation of the read-out noise, in photons per pixel."
    )
    pixel_gain_spread: Annotated[float, Field(ge=0, le=0.5)] = Field(
        0.0, description="Standard deviation of a pixel's gain, the same in every frame."
    )
    dead_pixel_fraction: Annotated[float, Field(ge=0, le=0.5)] = Field(
        0.0, description="Of the pixels, those that never answer."
    )
    gain: Positive = Field(1.0, description="Multiplies the signal relative to the open field.")
    bias: Finite = Field(0.0, description="Added after the gain, relative to the open field.")
    digitiser: DigitiserConfig | None = Field(None, description="null: neither steps nor end.")
    log: bool = Field(True, description="-ln(signal) before the window.")
    recursive_filter_weight: Annotated[float, Field(ge=0.01, le=1)] = Field(
        1.0, description="Of the newest frame in the mean that is shown; 1: no temporal filter."
    )
    dsa: DsaConfig | None = Field(None, description="null: no subtraction.")
    edge_enhancement: EdgeEnhancementConfig | None = Field(None, description="null: none.")
    window: WindowConfig = Field(WindowConfig(), description="Fixed display window.")
    polarity: Polarity = Field(
        "bone_dark", description="bone_dark: live fluoroscopy; bone_bright: radiograph."
    )
    lut: LutConfig | None = Field(None, description="Curve of the display; null: straight.")
    shutter: ShutterConfig | None = Field(
        None, description="Blanks what the collimator covers; null: its noise is shown."
    )

    @model_validator(mode="after")
    def _tube_steps_need_a_tube(self) -> ImageChainConfig:
        if not (self.brightness and self.brightness.tube_steps):
            return self
        if self.xray is None or self.xray.spectrum or self.xray.spectrum_csv:
            raise KeyValueError(
                "brightness.tube_steps", "need xray with a tube_voltage_kv, no spectrum of its own"
            )
        return self

    @model_validator(mode="after")
    def _subtraction_needs_the_log(self) -> ImageChainConfig:
        if self.dsa and self.beer_lambert and not self.log:
            raise KeyValueError("dsa", "needs log: true, it is ln(mask) - ln(live)")
        return self

    @model_validator(mode="after")
    def _shutter_follows_the_collimator(self) -> ImageChainConfig:
        if self.shutter and self.collimator is None:
            raise KeyValueError("shutter", "needs a collimator, whose field it follows")
        return self

    @model_validator(mode="after")
    def _one_dose(self) -> ImageChainConfig:
        charged = self.xray is not None and self.xray.charge_mas is not None
        if charged and "dose_ngy" in self.model_fields_set:
            raise KeyValueError("dose_ngy", "has no effect beside xray.tube_current_ma")
        return self

    @model_validator(mode="after")
    def _needs_beer_lambert(self) -> ImageChainConfig:
        if self.beer_lambert:
            return self
        wants = [
            name
            for name, on in {
                "brightness": self.brightness,
                "xray": self.xray,
                "poisson": self.poisson,
                "log": self.log,
                "blur_sigma_mm": self.blur_sigma_mm > 0,
                "electronic_noise_photons": self.electronic_noise_photons > 0,
                "gain": self.gain != 1,
                "bias": self.bias != 0,
                "inverse_square": self.inverse_square,
                "heel_anode_side": self.heel_anode_side,
                "collimator": self.collimator,
                "wedge": self.wedge,
                "bow_tie": self.bow_tie,
                "focal_spot_mm": self.focal_spot_mm > 0,
                "mtf": self.mtf,
                "veiling_glare": self.veiling_glare,
                "scatter": self.scatter,
                "image_intensifier": self.image_intensifier,
                "lag": self.lag,
                "pixel_gain_spread": self.pixel_gain_spread > 0,
                "dead_pixel_fraction": self.dead_pixel_fraction > 0,
                "digitiser": self.digitiser,
            }.items()
            if on
        ]
        if wants:
            raise KeyValueError("beer_lambert", f"false leaves no signal for {', '.join(wants)}")
        return self

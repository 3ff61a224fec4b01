"""The section `image_chain`: from line integrals to the image."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any

from pydantic import ConfigDict, Field, model_validator
from pydantic.fields import FieldInfo

from fluoro.config.beam import (
    BowTieConfig,
    CollimatorConfig,
    GridConfig,
    ScatterConfig,
    WedgeConfig,
)
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
from fluoro.config.plugin_sections import extended, sections
from fluoro.config.schema_rules import NULL, Rule, absent_or, at, const, never, when
from fluoro.config.section import Finite, NonNegative, Positive, Section, Sigma
from fluoro.config.validation_errors import KeyValueError
from fluoro.config.xray import BrightnessConfig, XrayConfig
from fluoro.names import Polarity, Side
from fluoro.plugins import names

__all__ = [
    "ImageChainConfig",
    "keys_that_need_signal",
    "keys_without_inverse",
]


@dataclass(frozen=True)
class _NeedsSignal:
    """Marks a key that has no effect on line integrals: without `beer_lambert` it must be off."""


_SIGNAL = _NeedsSignal()


def _rules(schema: dict[str, Any]) -> None:
    """Add to the JSON Schema what the validators say about several keys together."""
    schema["allOf"] = [
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
        never(at("grid"), at("scatter.grid_factor", {"not": const(1)})),
        never(at("xray.tube_current_ma"), at("xray.pulse_width_ms"), at("dose_ngy", {})),
        *(
            never(at("beer_lambert", const(False)), _is_on(key, field))
            for key, field in _signal_fields().items()
        ),
    ]


def _is_on(key: str, field: FieldInfo) -> Rule:
    """Return the schema of sections in which a key is on."""
    if field.default is True:
        return absent_or(key, const(True))
    if field.default is False:
        return at(key, const(True))
    if field.default is None:
        return at(key)
    if any(getattr(mark, "ge", None) == field.default for mark in field.metadata):
        return at(key, {"exclusiveMinimum": field.default})
    return at(key, {"not": const(field.default)})


def _signal_fields() -> dict[str, FieldInfo]:
    fields = ImageChainConfig.model_fields
    return {key: field for key, field in fields.items() if _SIGNAL in field.metadata}


def _keys_of_plugins(section: type[Section]) -> dict[str, Any]:
    """Return the keys of plugins' stages; behind a stage of photons is one of photons."""

    def key(stage: Any) -> tuple[Any, Any]:
        behind = section.model_fields.get(stage.follows)
        on_photons = behind is not None and _SIGNAL in behind.metadata and stage.follows != "log"
        kind = stage.section | None
        field = Field(None, description=f"{stage.text} null: off.")
        return (Annotated[kind, _SIGNAL] if on_photons else kind), field

    return {name: key(stage) for name, stage in sections("stages").items()}


@extended("stages", _keys_of_plugins)
class ImageChainConfig(Section):
    """From line integrals to the image: counts, noise, blur, log, window, polarity."""

    model_config = ConfigDict(json_schema_extra=_rules)

    dose_ngy: Positive = Field(
        20.0, description="Air kerma per frame at the detector behind 20 cm of water [nGy]."
    )
    brightness: Annotated[BrightnessConfig | None, _SIGNAL] = Field(
        None, description="Moves dose_ngy from frame to frame; null: it stays."
    )
    pulse_rate_hz: Annotated[float, Field(ge=0.5, le=60)] | None = Field(
        None,
        description="Pulses per second, at most run.fps, usually 3.75, 7.5, 15 or 30; between them "
        "the last image is held. null: a pulse for every frame.",
    )
    xray: Annotated[XrayConfig | None, _SIGNAL] = Field(
        None, description="Tube and detector; null: photons of one energy, hu_to_mu.energy_kev."
    )
    beer_lambert: bool = Field(True, description="Off: line integrals go straight to the window.")
    inverse_square: Annotated[bool, _SIGNAL] = Field(
        False, description="Distance and slant weaken the beam towards the detector's corners."
    )
    heel_anode_side: Annotated[Side | None, _SIGNAL] = Field(
        None, description="Side of the image that the anode's heel darkens; null: no heel effect."
    )
    collimator: Annotated[CollimatorConfig | None, _SIGNAL] = Field(None, description="null: open.")
    wedge: Annotated[WedgeConfig | None, _SIGNAL] = Field(None, description="null: none.")
    bow_tie: Annotated[BowTieConfig | None, _SIGNAL] = Field(None, description="null: none.")
    focal_spot_mm: Annotated[float, Field(ge=0, le=10), _SIGNAL] = Field(
        0.0, description="It blurs the patient as at the isocentre [mm]; 0: a point."
    )
    scatter: Annotated[ScatterConfig | None, _SIGNAL] = Field(
        None, description="null: primary only."
    )
    grid: Annotated[GridConfig | None, _SIGNAL] = Field(
        None, description="Anti-scatter grid; dose_ngy is behind it. null: none."
    )
    poisson: Annotated[bool, _SIGNAL] = Field(True, description="Quantum noise.")
    blur_sigma_mm: Annotated[Sigma, _SIGNAL] = Field(
        0.0, description="Detector blur, Gaussian sigma [mm]."
    )
    mtf: Annotated[MtfConfig | None, _SIGNAL] = Field(
        None, description="Detector blur by its transfer; null: none."
    )
    veiling_glare: Annotated[VeilingGlareConfig | None, _SIGNAL] = Field(
        None, description="null: none."
    )
    image_intensifier: Annotated[ImageIntensifierConfig | None, _SIGNAL] = Field(
        None, description="null: flat panel."
    )
    lag: Annotated[LagConfig | None, _SIGNAL] = Field(
        None, description="Memory of earlier frames; {}: a flat panel's."
    )
    electronic_noise_photons: Annotated[NonNegative, _SIGNAL] = Field(
        0.0, description="Standard deviation of the read-out noise, in photons per pixel."
    )
    pixel_gain_spread: Annotated[float, Field(ge=0, le=0.5), _SIGNAL] = Field(
        0.0, description="Standard deviation of a pixel's gain, the same in every frame."
    )
    dead_pixel_fraction: Annotated[float, Field(ge=0, le=0.5), _SIGNAL] = Field(
        0.0, description="Of the pixels, those that never answer."
    )
    gain: Annotated[Positive, _SIGNAL] = Field(
        1.0, description="Multiplies the signal relative to the open field."
    )
    bias: Annotated[Finite, _SIGNAL] = Field(
        0.0, description="Added after the gain, relative to the open field."
    )
    digitiser: Annotated[DigitiserConfig | None, _SIGNAL] = Field(
        None, description="null: neither steps nor end."
    )
    log: Annotated[bool, _SIGNAL] = Field(True, description="-ln(signal) before the window.")
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
    def _one_grid(self) -> ImageChainConfig:
        if self.grid and self.scatter and self.scatter.grid_factor != 1:
            raise KeyValueError("scatter.grid_factor", "has no effect beside grid")
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
        wants = []
        for key, field in _signal_fields().items():
            off = False if isinstance(field.default, bool) else field.default
            if getattr(self, key) != off:
                wants.append(key)
        if wants:
            raise KeyValueError("beer_lambert", f"false leaves no signal for {', '.join(wants)}")
        return self


def keys_without_inverse() -> tuple[str, ...]:
    """Return the keys whose stages change the display in a way that registration cannot undo."""
    added = (name for name in names("stages") if name not in keys_that_need_signal())
    return ("brightness", "dsa", "lut", *added)


@cache
def keys_that_need_signal() -> frozenset[str]:
    """Return the keys of `image_chain` that have no effect without `beer_lambert`."""
    return frozenset(_signal_fields())

"""Parts of `image_chain` about the tube: spectrum, exposure, brightness control."""

from __future__ import annotations

import itertools
from typing import Annotated

from pydantic import Field, Strict, model_validator

from fluoro.config.display import Shares
from fluoro.config.schema_rules import at, const, never, rules, when
from fluoro.config.section import FilePath, Positive, Section, require_order
from fluoro.config.validation_errors import KeyValueError
from fluoro.names import DetectorKind, SpectrumName

__all__ = [
    "BrightnessConfig",
    "DetectorResponseConfig",
    "TableConfig",
    "TubeStep",
    "XrayConfig",
]


class TubeStep(Section):
    """A tube voltage, and the most that current and pulse may be at it."""

    tube_voltage_kv: Annotated[int, Field(ge=40, le=150)] = Field(description="[kV]")
    tube_current_ma: Positive = Field(description="Largest tube current [mA].")
    pulse_width_ms: Positive = Field(description="Length of a pulse [ms].")


class BrightnessConfig(Section):
    """Automatic brightness control: the dose follows what reaches the detector.

    After each pulse the dose is multiplied by target over measured. The signal is then relative to
    the target, so that with the log on 0 is where the detector receives it: window.level belongs
    near 0 then, and one for line integrals shows white.
    """

    target_ngy: Positive = Field(
        20.0, description="Air kerma per frame that the detector is to receive, mean of roi [nGy]."
    )
    roi: Shares = Field(
        (0.35, 0.35, 0.65, 0.65),
        description="Left, top, right and bottom of what is measured, as shares of the image.",
    )
    least_dose_ngy: Positive = Field(0.5, description="dose_ngy does not fall below [nGy].")
    most_dose_ngy: Positive = Field(500.0, description="dose_ngy does not rise above [nGy].")
    slew: Annotated[float, Field(gt=1, le=100)] = Field(
        1.25, description="Largest factor by which the dose changes from pulse to pulse."
    )
    dead_band: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.05, description="Relative error up to which nothing is changed."
    )
    tube_steps: Annotated[tuple[TubeStep, ...], Strict(False), Field(max_length=16)] = Field(
        (),
        description="With xray: voltages that the control takes in turn, each once the current of "
        "the one before is at its limit; []: the voltage stays, the current follows.",
    )

    @model_validator(mode="after")
    def _voltages_ascend(self) -> BrightnessConfig:
        voltages = [step.tube_voltage_kv for step in self.tube_steps]
        if any(b <= a for a, b in itertools.pairwise(voltages)):
            raise KeyValueError("tube_steps", f"must have ascending voltages, got {voltages}")
        return self

    @model_validator(mode="after")
    def _in_order(self) -> BrightnessConfig:
        require_order(self, "least_dose_ngy", "most_dose_ngy")
        left, top, right, bottom = self.roi
        if left >= right or top >= bottom:
            raise KeyValueError("roi", f"must be left, top, right, bottom, got {list(self.roi)}")
        return self


class DetectorResponseConfig(Section):
    """What the detector makes of a photon; its converter is caesium iodide."""

    kind: DetectorKind = Field(
        "energy_integrating", description="An absorbed photon adds its energy, or counts as one."
    )
    csi_mm: Annotated[float, Field(gt=0, le=10)] = Field(0.6, description="Its thickness [mm].")
    packing: Annotated[float, Field(gt=0, le=1)] = Field(
        0.75, description="Share of it that the needles fill."
    )
    swank_factor: Annotated[float, Field(gt=0, le=1)] = Field(
        0.925,
        description="What the spread of a kept energy's light leaves of the signal to noise "
        "squared, fluorescence left to itself; without effect on photon_counting.",
    )


class TableConfig(Section):
    """What the patient lies on, in the beam before the patient: aluminium that stands for it."""

    top_mm_al: Annotated[float, Field(ge=0, le=5)] = Field(
        0.8, description="Table top, aluminium equivalent [mm]."
    )
    mattress_mm_al: Annotated[float, Field(ge=0, le=5)] = Field(
        0.2, description="Mattress, aluminium equivalent [mm]."
    )

    @property
    def aluminium_mm(self) -> float:
        """Both together [mm]."""
        return self.top_mm_al + self.mattress_mm_al


class XrayConfig(Section):
    """The tube, its filters and the detector's response: a beam of many energies."""

    model_config = rules(
        never(at("spectrum"), at("spectrum_csv")),
        *(
            never(at(own), at(key, {"not": const(default)}))
            for own in ("spectrum", "spectrum_csv")
            for key, default in (("tube_voltage_kv", 80), ("aluminium_mm", 3), ("copper_mm", 0))
        ),
        when(at("tube_current_ma"), then=at("pulse_width_ms")),
        when(at("pulse_width_ms"), then=at("tube_current_ma")),
    )

    tube_voltage_kv: Annotated[int, Field(ge=40, le=150)] = Field(
        80, description="Tube voltage [kV]; tungsten, 12 degrees."
    )
    aluminium_mm: Annotated[float, Field(ge=1, le=100)] = Field(
        3.0, description="Total filtration, the tube's own included [mm]."
    )
    copper_mm: Annotated[float, Field(ge=0, le=5)] = Field(
        0.0, description="Copper filter besides [mm]."
    )
    spectrum: SpectrumName | None = Field(
        None, description="A spectrum by DeepDRR's name, instead of voltage and filters."
    )
    spectrum_csv: FilePath | None = Field(
        None,
        description="File of a custom spectrum, lines energy_kev,photons (per mm2 and mAs at 1 m "
        "where the tube current counts), relative to the YAML file.",
    )
    table: TableConfig | None = Field(None, description="Under the patient; null: none.")
    tube_current_ma: Positive | None = Field(
        None, description="Tube current [mA]; null: dose_ngy says how many photons there are."
    )
    pulse_width_ms: Positive | None = Field(None, description="Length of a frame's pulse [ms].")
    energies: Annotated[int, Field(ge=3, le=12)] | None = Field(
        None,
        description="How many energies stand for the spectrum; null: 5, with inclusions 8 "
        "(errors in docs/physics.md).",
    )
    detector: DetectorResponseConfig = Field(
        DetectorResponseConfig(), description="The detector's response."
    )

    @model_validator(mode="after")
    def _one_spectrum(self) -> XrayConfig:
        given = [key for key in ("spectrum", "spectrum_csv") if getattr(self, key) is not None]
        tube = ("tube_voltage_kv", "aluminium_mm", "copper_mm")
        beside = [key for key in tube if getattr(self, key) != XrayConfig.model_fields[key].default]
        if len(given) > 1:
            raise KeyValueError("spectrum", "must not stand beside spectrum_csv")
        if given and beside:
            raise KeyValueError(beside[0], f"has no effect beside {given[0]}")
        return self

    @model_validator(mode="after")
    def _current_and_pulse(self) -> XrayConfig:
        if (self.tube_current_ma is None) != (self.pulse_width_ms is None):
            missing = "tube_current_ma" if self.tube_current_ma is None else "pulse_width_ms"
            raise KeyValueError(missing, "must be given beside the other of the two")
        return self

    @property
    def charge_mas(self) -> float | None:
        """Tube charge of a frame [mAs]; None: the dose decides."""
        if self.tube_current_ma is None or self.pulse_width_ms is None:
            return None
        return self.tube_current_ma * self.pulse_width_ms / 1000

"""The tube's setting for a dose: voltage, current, pulse, and back."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from fluoro.config import BrightnessConfig, GridConfig, TubeStep, XrayConfig
from fluoro.geometry.carm import CarmGeometry
from fluoro.imaging.configured_beam import primary_share, spectrum_of, tube_output_of
from fluoro.physics.dose import PATIENT_MM
from fluoro.physics.spectrum import REFERENCE_MM

__all__ = [
    "TubeSetting",
    "chosen_step",
    "dose_of_charge_ngy",
    "open_over_dose",
    "tube_setting",
    "with_voltage",
]


SPARE = 0.6
"""Of a lower step's limit: up to there it is gone back to."""


@dataclass(frozen=True, kw_only=True)
class TubeSetting:
    """How the tube gives a pulse.

    Attributes:
        tube_voltage_kv: Tube voltage [kV]; None: the spectrum is given as a table.
        charge_mas: Tube charge [mAs].
        pulse_width_ms: Length of the pulse [ms]; None: not known.
    """

    tube_voltage_kv: int | None
    charge_mas: float
    pulse_width_ms: float | None

    @property
    def tube_current_ma(self) -> float | None:
        """Tube current [mA]; None: not known."""
        return self.charge_mas / self.pulse_width_ms * 1000 if self.pulse_width_ms else None


def with_voltage(config: XrayConfig, tube_voltage_kv: int) -> XrayConfig:
    """Return the same beam at another tube voltage [kV]."""
    return config.model_copy(update={"tube_voltage_kv": tube_voltage_kv})


def _without_charge(config: XrayConfig) -> XrayConfig:
    return config.model_copy(update={"tube_current_ma": None, "pulse_width_ms": None})


@cache
def _kerma(config: XrayConfig) -> tuple[float, float]:
    """Air kerma per mAs at 1 m, of the tube and behind the table and 20 cm of water [nGy]."""
    behind = spectrum_of(config).filtered("water", PATIENT_MM)
    return tube_output_of(config).kerma_ugy * 1000, behind.kerma_ugy * 1000


def open_over_dose(config: XrayConfig, grid: GridConfig | None = None) -> float:
    """The tube's air kerma over that behind table, 20 cm of water and grid, at equal distance."""
    free_ngy, behind_ngy = _kerma(_without_charge(config))
    return free_ngy / (behind_ngy * primary_share(grid))


def dose_of_charge_ngy(
    config: XrayConfig, charge_mas: float, geometry: CarmGeometry, grid: GridConfig | None = None
) -> float:
    """Return air kerma at the detector behind 20 cm of water [nGy] of a tube charge [mAs]."""
    nearer = (REFERENCE_MM / geometry.source_to_detector_mm) ** 2
    return _kerma(_without_charge(config))[1] * charge_mas * nearer * primary_share(grid)


def tube_setting(
    config: XrayConfig,
    dose_ngy: float,
    geometry: CarmGeometry,
    pulse_width_ms: float | None,
    grid: GridConfig | None = None,
) -> TubeSetting:
    """What the tube is set to for a dose [nGy], its voltage being that of the configuration."""
    own = config.spectrum or config.spectrum_csv
    return TubeSetting(
        tube_voltage_kv=None if own else config.tube_voltage_kv,
        charge_mas=dose_ngy / dose_of_charge_ngy(config, 1.0, geometry, grid),
        pulse_width_ms=pulse_width_ms,
    )


def chosen_step(
    brightness: BrightnessConfig,
    config: XrayConfig,
    dose_ngy: float,
    geometry: CarmGeometry,
    before: int = 0,
    grid: GridConfig | None = None,
) -> tuple[int, float]:
    """Return the lowest voltage that can give the dose, and what it then gives [nGy].

    Beyond the last one's current the dose is what the tube has. A step is left downwards only
    where the lower one has current to spare: the same image needs more dose at a lower voltage.

    Args:
        brightness: The steps.
        config: Filters of the tube.
        dose_ngy: Wanted, at the detector behind 20 cm of water [nGy].
        geometry: The distance.
        before: Number of the step that the last pulse was made at.
        grid: What it leaves of the primary.

    Returns:
        Number of the step, and the dose [nGy].
    """
    steps = brightness.tube_steps
    most_ngy = [_most_ngy(config, step, geometry, grid) for step in steps]
    for number, limit_ngy in enumerate(most_ngy):
        if dose_ngy <= limit_ngy * (SPARE if number < before else 1.0):
            return number, dose_ngy
    return len(steps) - 1, most_ngy[-1]


def _most_ngy(
    config: XrayConfig, step: TubeStep, geometry: CarmGeometry, grid: GridConfig | None
) -> float:
    charge_mas = step.tube_current_ma * step.pulse_width_ms / 1000
    at_step = with_voltage(config, step.tube_voltage_kv)
    return dose_of_charge_ngy(at_step, charge_mas, geometry, grid)

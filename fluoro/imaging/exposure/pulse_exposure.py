"""What the next pulse is made with: dose, tube, and the chain's configuration for it."""

from __future__ import annotations

from fluoro.config import GridConfig, ImageChainConfig, XrayConfig
from fluoro.geometry.carm import CarmGeometry
from fluoro.imaging.exposure.dose_meter import Pulse
from fluoro.imaging.exposure.tube import (
    chosen_step,
    dose_of_charge_ngy,
    open_over_dose,
    tube_setting,
    with_voltage,
)
from fluoro.imaging.frame_history import KeptNumbers

__all__ = ["beams_of_pulses", "pulse_of"]


def pulse_of(
    config: ImageChainConfig, kept: KeptNumbers, geometry: CarmGeometry | None
) -> tuple[Pulse, ImageChainConfig]:
    """Return the pulse of the frame at hand, and the configuration in which its dose decides.

    With a brightness control the dose is what it has come to, and the tube's charge follows it;
    where it takes the tube's voltage from steps, the beam is that of the step.

    Args:
        config: As it is given.
        kept: By the brightness control; its tube's step is kept in turn.
        geometry: The distance, where a tube is described.
    """
    xray = config.xray
    if xray is None or geometry is None:
        dose_ngy = kept.value("brightness", config.dose_ngy)
        return Pulse(dose_ngy=float(dose_ngy)), config
    if config.brightness is None:
        given_ngy = _given_ngy(config, xray, geometry)
        return _tube_pulse(xray, given_ngy, geometry, config.grid), config
    dose_ngy = kept.value("brightness", _given_ngy(config, xray, geometry))
    width_ms = xray.pulse_width_ms
    if config.brightness.tube_steps:
        before = round(kept.value("brightness_step", 0.0))
        number, dose_ngy = chosen_step(
            config.brightness, xray, dose_ngy, geometry, before, config.grid
        )
        kept.keep("brightness_step", float(number))
        step = config.brightness.tube_steps[number]
        xray, width_ms = with_voltage(xray, step.tube_voltage_kv), step.pulse_width_ms
    xray = xray.model_copy(update={"tube_current_ma": None, "pulse_width_ms": None})
    pulse = _tube_pulse(xray, dose_ngy, geometry, config.grid, width_ms)
    return pulse, config.model_copy(update={"xray": xray})


def beams_of_pulses(config: ImageChainConfig) -> list[XrayConfig]:
    """Return the tube's settings that pulses may have: one, or one for each step of the control."""
    if config.xray is None:
        return []
    steps = config.brightness.tube_steps if config.brightness else ()
    at_steps = [with_voltage(config.xray, step.tube_voltage_kv) for step in steps]
    return at_steps or [config.xray]


def _given_ngy(config: ImageChainConfig, xray: XrayConfig, geometry: CarmGeometry) -> float:
    """The configured dose, or that of the tube's charge [nGy]."""
    if xray.charge_mas is None:
        return float(config.dose_ngy)
    return dose_of_charge_ngy(xray, xray.charge_mas, geometry, config.grid)


def _tube_pulse(
    xray: XrayConfig,
    dose_ngy: float,
    geometry: CarmGeometry,
    grid: GridConfig | None,
    width_ms: float | None = None,
) -> Pulse:
    return Pulse(
        dose_ngy=dose_ngy,
        tube=tube_setting(xray, dose_ngy, geometry, width_ms or xray.pulse_width_ms, grid),
        open_ngy=dose_ngy * open_over_dose(xray, grid),
    )

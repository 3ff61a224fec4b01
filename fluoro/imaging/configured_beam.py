"""The configured beam: from the tube's settings to the stages of a chain of many energies."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from fluoro.config import DetectorResponseConfig, GridConfig, XrayConfig
from fluoro.errors import InputError
from fluoro.geometry.carm import CarmGeometry
from fluoro.physics.antiscatter_grid import AntiscatterGrid
from fluoro.physics.beam import Beam, make_beam
from fluoro.physics.detector import DetectorResponse, csi_g_per_cm2
from fluoro.physics.dose import PATIENT_MM, detector_photons, open_field_photons
from fluoro.physics.materials import Material, material
from fluoro.physics.spectrum import Spectrum, named_spectrum, read_spectrum, tube_spectrum
from fluoro.physics.tissues import is_tissue

__all__ = [
    "Beams",
    "detector_signal_of",
    "grid_of",
    "open_field_of",
    "primary_share",
    "response_of",
    "spectrum_of",
    "tube_output_of",
]

FEW, MANY = 5, 8
"""Energies that stand for a spectrum behind tissues, and behind metal or contrast agents."""


def spectrum_of(config: XrayConfig) -> Spectrum:
    """Return the configured spectrum that meets the patient, behind the table, per mAs at 1 m.

    Raises:
        InputError: A custom spectrum that cannot be read.
    """
    given = tube_output_of(config)
    if config.table is None or not config.table.aluminium_mm:
        return given
    return given.filtered("aluminium", config.table.aluminium_mm)


def tube_output_of(config: XrayConfig) -> Spectrum:
    """Return the configured spectrum behind the tube's filters, per mAs at 1 m.

    Raises:
        InputError: A custom spectrum that cannot be read.
    """
    if config.spectrum_csv is not None:
        return read_spectrum(config.spectrum_csv)
    if config.spectrum is not None:
        return named_spectrum(config.spectrum)
    return tube_spectrum(config.tube_voltage_kv, config.aluminium_mm, config.copper_mm)


def response_of(config: DetectorResponseConfig) -> DetectorResponse:
    """Return the configured detector's response."""
    return DetectorResponse(
        kind=config.kind,
        thickness_g_per_cm2=csi_g_per_cm2(config.csi_mm, config.packing),
        swank_factor=config.swank_factor,
    )


@lru_cache(maxsize=16)
def grid_of(config: GridConfig) -> AntiscatterGrid:
    """Return the configured grid."""
    return AntiscatterGrid(
        ratio=config.ratio,
        lines_per_cm=config.lines_per_cm,
        lead_um=config.lead_um,
        interspace=config.interspace,
    )


def primary_share(config: GridConfig | None) -> float:
    """Return the share of the primary that a grid lets through in its middle; without one 1."""
    return 1.0 if config is None else grid_of(config).central_primary


class Beams:
    """Beams for a renderer's materials, each made once: the fit takes some tenths of a second.

    Args:
        materials: Whose thicknesses the renderer gives, in its order.
    """

    def __init__(self, materials: Sequence[Material]) -> None:
        self.materials = tuple(materials)
        self._known: dict[XrayConfig, Beam] = {}

    def beam(self, config: XrayConfig) -> Beam:
        """Return the beam of a configuration; tube current and pulse do not matter.

        Raises:
            InputError: There are no materials, or a spectrum that cannot be read.
        """
        if not self.materials:
            raise InputError("image_chain.xray needs the thicknesses of materials")
        key = config.model_copy(update={"tube_current_ma": None, "pulse_width_ms": None})
        if key not in self._known:
            count = FEW if all(is_tissue(each.name) for each in self.materials) else MANY
            self._known[key] = make_beam(
                spectrum_of(config),
                response_of(config.detector),
                self.materials,
                config.energies or count,
            )
        return self._known[key]


def open_field_of(
    config: XrayConfig | None,
    beam: Beam | None,
    dose_ngy: float,
    pixel_spacing_mm: float,
    geometry: CarmGeometry | None,
    grid: GridConfig | None = None,
) -> float:
    """Return photons, or a beam's quanta, per pixel and frame with nothing in between but a grid.

    Raises:
        InputError: The tube's charge decides, and the distance is not given.
    """
    if config is None or beam is None:
        return open_field_photons(dose_ngy, pixel_spacing_mm)
    area_mm2 = pixel_spacing_mm**2
    if config.charge_mas is None:
        return beam.quanta_at_dose(dose_ngy) * area_mm2
    if geometry is None:
        raise InputError("geometry must be given with image_chain.xray.tube_current_ma, got None")
    quanta = beam.quanta_at_charge(config.charge_mas, geometry.source_to_detector_mm)
    return quanta * area_mm2 * primary_share(grid)


def detector_signal_of(beam: Beam | None, kerma_ngy: float, pixel_spacing_mm: float) -> float:
    """Signal per pixel, in photons of the open field, that a kerma behind a patient stands for."""
    if beam is None:
        return detector_photons(kerma_ngy, pixel_spacing_mm)
    left = beam.transmission(material("water"), np.array([PATIENT_MM]))
    return float(beam.quanta_at_dose(kerma_ngy) * left[0]) * pixel_spacing_mm**2

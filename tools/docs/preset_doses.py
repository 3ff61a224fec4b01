"""Prints the dose figures of the console's presets as a table for docs/physics.md.

python -m tools.docs.preset_doses

Each preset runs at few pixels until its brightness control has settled.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from fluoro.config import Config, load_config
from fluoro.geometry.from_config import make_geometry
from fluoro.imaging.chain import ImageChain
from fluoro.imaging.exposure.dose_meter import DoseMeter, Exposure
from fluoro.rendering.devices.selection import open_device
from fluoro.rendering.patient_renderer import make_patient
from fluoro.volume.load import load_volume

ROOT = Path(__file__).parents[2]
PIXELS, SPACING_MM, PULSES = 48, 4.0, 24
PRESETS = ("cardiac", "vascular_dsa", "ortho_mobile", "low_dose", "radiograph")


@dataclass(frozen=True)
class PresetDose:
    """What a preset's settled pulse costs.

    Attributes:
        detector_ngy: Air kerma that reaches the detector [nGy]; None: no brightness control.
        frame_ugy: Air kerma at the reference point a pulse [uGy].
        rate_mgy_per_min: The same by time [mGy/min].
        kap_gycm2_per_min: Kerma-area product by time [Gy cm2/min].
        tube: Voltage and charge.
    """

    detector_ngy: float | None
    frame_ugy: float
    rate_mgy_per_min: float
    kap_gycm2_per_min: float
    tube: str


def coarse(name: str) -> Config:
    """Return a preset with few pixels and large voxels, its field of view kept."""
    path = ROOT / "configs" / f"{name}.yaml"
    carm = load_config(path).carm
    scale = carm.detector_width_px / PIXELS
    rows = round(carm.detector_height_px / scale)
    changes = [
        f"volume.spacing_mm={SPACING_MM}",
        f"renderer.step_mm={SPACING_MM}",
        f"carm.detector_width_px={PIXELS}",
        f"carm.detector_height_px={rows}",
        f"carm.pixel_spacing_mm={carm.pixel_spacing_mm * scale}",
    ]
    return load_config(path, changes)


def dose_of(name: str) -> PresetDose:
    """Return the figures of a preset's last pulse of `PULSES`."""
    config = coarse(name)
    device, volume = open_device("cpu"), load_volume(config.volume)
    patient, geometry = make_patient(config, volume, device), make_geometry(config.carm)
    chain, meter = ImageChain(device, 0, patient.materials), DoseMeter()
    isocenter = config.carm.isocenter_mm or volume.grid.center_xyz_mm.tolist()
    view = geometry.view(config.pose_source.trajectory()(0.0), isocenter)
    integrals, given = patient.render(view, 0.0, None), config.image_chain
    done: list[Exposure] = []
    for number in range(PULSES):
        chain.apply(integrals, given, number, geometry.pixel_spacing_mm, geometry)
        done.append(meter.add(chain.pulse, given, geometry, is_pulse=True, beam_s=0.0))
    before, last = done[-2].total, done[-1].total
    kerma_mgy = last.reference_kerma_mgy - before.reference_kerma_mgy
    product = last.kerma_area_mgycm2 - before.kerma_area_mgycm2
    per_min = 60 * (given.pulse_rate_hz or config.run.fps)
    tube = chain.pulse.tube
    return PresetDose(
        detector_ngy=chain.pulse.measured_ngy,
        frame_ugy=kerma_mgy * 1e3,
        rate_mgy_per_min=kerma_mgy * per_min,
        kap_gycm2_per_min=product * 1e-3 * per_min,
        tube=f"{tube.tube_voltage_kv} kV, {tube.charge_mas:.2g} mAs" if tube else "none described",
    )


def main() -> int:
    """Print a row for each preset."""
    for name in PRESETS:
        found = dose_of(name)
        at = "" if found.detector_ngy is None else f"{found.detector_ngy:.3g}"
        cells = [at, f"{found.frame_ugy:.3g}", f"{found.rate_mgy_per_min:.3g}"]
        cells += [f"{found.kap_gycm2_per_min:.3g}", found.tube]
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Bakes X-ray spectra and the heel effect into fluoro/physics/data.

    pip install '.[bake]'              in a virtual environment of its own
    python tools/data/bake_spectra.py       a minute

SpekPy 2.5 (MIT; Poludniowski, Omar et al., Med. Phys. 48, 2021), model "casim": tungsten, 12
degrees, 1 m from the focal spot, no filter; the fluence of SpekPy is per mAs and without air.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import spekpy

DATA = Path(__file__).parents[2] / "fluoro" / "physics" / "data"
ANODE_DEG = 12
VOLTAGES_KV = range(40, 151)
BIN_KEV = 0.5
LOWEST_KEV = 5.0
HEEL_VOLTAGE_KV = 80
HEEL_FILTER_MM_AL = 3.0
HEEL_SLOPES = np.round(np.arange(-0.21, 0.3001, 0.01), 2)
"""Tangents of the angle from the central ray, negative towards the anode."""


def spectra():
    """Photons per mm2, mAs and bin of 0.5 keV at 1 m, shape (voltages, bins)."""
    count = int((max(VOLTAGES_KV) - LOWEST_KEV) / BIN_KEV)
    photons = np.zeros((len(VOLTAGES_KV), count), np.float32)
    for row, voltage in zip(photons, VOLTAGES_KV, strict=True):
        tube = spekpy.Spek(kvp=voltage, th=ANODE_DEG, physics="casim", dk=BIN_KEV)
        energies, per_cm2_kev = tube.get_spectrum(edges=False)
        above = energies > LOWEST_KEV
        row[: above.sum()] = per_cm2_kev[above] * BIN_KEV / 100
    return photons


def heel():
    """Air kerma relative to the central ray at the same distance from the focal spot."""
    kerma = []
    for slope in HEEL_SLOPES:
        tube = spekpy.Spek(
            kvp=HEEL_VOLTAGE_KV, th=ANODE_DEG, physics="casim", dk=BIN_KEV, x=100 * slope, z=100
        )
        kerma.append(tube.filter("Al", HEEL_FILTER_MM_AL).get_kerma() * (1 + slope**2))
    return np.array(kerma) / kerma[list(HEEL_SLOPES).index(0.0)]


def main():
    """Write spectra.npz and heel.csv."""
    energies = LOWEST_KEV + BIN_KEV * (0.5 + np.arange((max(VOLTAGES_KV) - LOWEST_KEV) / BIN_KEV))
    np.savez_compressed(
        DATA / "spectra.npz",
        tube_voltages_kv=np.array(VOLTAGES_KV),
        energies_kev=energies,
        photons_per_mm2_mas=spectra(),
    )
    with (DATA / "heel.csv").open("w", newline="") as file:
        file.write(
            "# Air kerma along the anode-cathode direction, relative to the central ray, at equal "
            "distance from the focal spot; slope: tangent of the angle, negative towards the "
            f"anode. SpekPy 2.5.4, casim, W, {ANODE_DEG} degrees, {HEEL_VOLTAGE_KV} kV, "
            f"{HEEL_FILTER_MM_AL} mm Al (tools/data/bake_spectra.py).\n"
        )
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["slope", "relative_kerma"])
        writer.writerows([f"{s:g}", f"{k:.5f}"] for s, k in zip(HEEL_SLOPES, heel(), strict=True))


if __name__ == "__main__":
    main()

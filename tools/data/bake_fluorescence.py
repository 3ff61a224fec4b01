"""Makes the table of what escapes from caesium iodide: PENELOPE, a pencil into a layer.

    pip install '.[bake]'                        in a virtual environment of its own
    python -m tools.data.bake_fluorescence       from the repository's root; some minutes

A photon that the layer attenuates leaves it part of its energy as K fluorescence, or scattered.
For each energy: the mean share of the energy that is kept, and the square of the mean over the
mean of the square (Swank), both over photons that interact.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fluoro.physics.detector import DetectorResponse
from fluoro.physics.materials import material
from fluoro.physics.spectrum import tube_spectrum
from tools.data import penelope

TABLE = Path(__file__).parents[2] / "fluoro" / "physics" / "data" / "csi_escape.csv"
HEAD = """\
# Caesium iodide, 0.203 g/cm2: mean share of a photon's energy that is kept where it interacts, and
# the Swank factor of its spread. PENELOPE (pypenred 1.15.2.0) by tools/data/bake_fluorescence.py.
energy_kev,kept,swank
"""
ENERGIES_KEV = (
    *(10.0, 20.0, 30.0, 33.1, 33.25, 34.5, 35.9, 36.1, 38.0, 41.0, 45.0, 50.0),
    *(55.0, 62.0, 70.0, 80.0, 95.0, 110.0, 130.0, 150.0),
)
"""The K edges of iodine and caesium lie at 33.17 and 35.98 keV."""
HISTORIES = 4e4


def kept_and_swank(energy_kev: float, mass_g_per_cm2: float, seed: int) -> tuple[float, float]:
    """Return the mean share kept, and the Swank factor, of photons that interact."""
    left_kev = escaped_kev(energy_kev, mass_g_per_cm2, seed)
    absorbed = DetectorResponse(thickness_g_per_cm2=mass_g_per_cm2).absorbed(energy_kev)
    share = np.concatenate([1 - left_kev / energy_kev, np.ones(int(HISTORIES) - len(left_kev))])
    mean, square = share.mean(), (share**2).mean()
    return float(mean / absorbed), float(mean**2 / square / absorbed)


def escaped_kev(energy_kev: float, mass_g_per_cm2: float, seed: int) -> NDArray[np.float64]:
    """Return the energy that leaves the layer on both sides, of each history that loses some."""
    thick_cm = mass_g_per_cm2 / material("caesium_iodide").density_g_per_cm3
    planes = [penelope.plane(z) for z in (0.0, thick_cm, -1.0, thick_cm + 1)]
    around = (4, -1)
    layer = penelope.Body("caesium_iodide", [(0, 1), (1, -1), around])
    outside = penelope.Body("water", [(2, 1), (3, -1), around], without=[0])
    source = {
        **penelope.pencil(z_cm=1e-6),
        "energy": {"type": "MONOENERGETIC", "energy": energy_kev * 1e3},
    }
    surfaces = [*planes, penelope.cylinder(penelope.BODIES_CM)]
    beam = tube_spectrum(80, 3.0)
    photons, history = penelope.recorded(surfaces, [layer, outside], beam, HISTORIES, seed, source)
    return np.bincount(np.unique(history, return_inverse=True)[1], photons[:, 0])


def main() -> int:
    """Simulate every energy and write the table."""
    lines = []
    for seed, energy_kev in enumerate(ENERGIES_KEV, 31):
        kept, swank = kept_and_swank(energy_kev, 0.203, seed)
        lines.append(f"{energy_kev:g},{kept:.4f},{swank:.4f}")
        print(lines[-1], flush=True)
    TABLE.write_text(HEAD + "\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

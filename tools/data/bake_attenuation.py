"""Bakes mass attenuation coefficients of the elements into fluoro/physics/data/elements.npz.

    pip install '.[bake]'              in a virtual environment of its own
    python tools/data/bake_attenuation.py

Elam's cross sections (public domain, through xraydb): photoelectric, incoherent, coherent.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import xraydb

DATA = Path(__file__).parents[2] / "fluoro" / "physics" / "data"
RANGE_KEV = (5.0, 150.0)
RATIO = 1.02
"""From one energy to the next: straight lines between them in log-log are then within 0.03 %."""
EDGE = 2e-4
"""An absorption edge has a point this close on either side of it, relative; Elam's cross sections
jump up to 3 eV beside the energies that xraydb lists as edges."""


def elements():
    """Symbols that materials.csv uses."""
    text = (DATA / "materials.csv").read_text("utf-8")
    rows = [line.split(",")[2] for line in text.splitlines() if not line.startswith("#")][1:]
    return sorted({symbol for row in rows for symbol in re.findall(r"[A-Z][a-z]?", row)})


def energies_kev(symbol):
    """Ascending energies [keV], with a pair around each absorption edge."""
    low, high = RANGE_KEV
    grid = np.geomspace(low, high, 1 + int(np.ceil(np.log(high / low) / np.log(RATIO))))
    edges = [edge.energy / 1000 for edge in xraydb.xray_edges(symbol).values()]
    edges = [edge for edge in edges if low < edge < high]
    pairs = [edge * (1 + side * EDGE) for edge in edges for side in (-1, 1)]
    return np.unique(np.concatenate([grid, pairs]))


def main():
    """Write the table: one array (2, n) an element, energies [keV] above mu/rho [cm2/g]."""
    tables = {}
    for symbol in elements():
        energies = energies_kev(symbol)
        tables[symbol] = np.stack([energies, xraydb.mu_elam(symbol, energies * 1000)])
    np.savez_compressed(DATA / "elements.npz", **tables)


if __name__ == "__main__":
    main()

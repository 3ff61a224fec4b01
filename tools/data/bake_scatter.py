"""Fits the scatter kernels of water and compares them with the shipped table.

    pip install '.[bake]'                          in a separate virtual environment
    python -m tools.data.bake_scatter              from the repository's root; some minutes
    python -m tools.data.bake_scatter --write      replaces the table

A pencil of 80 kV (3 mm Al) enters slabs of water; tools/check/check_scatter.py transports its
photons. Scattered energy in rings of the detector's plane is fitted by two Gaussians, its amplitude
over the slabs by A (Ip/I0)^alpha ln(I0/Ip)^beta (Sun and Star-Lack, PMB 55 (2010) 6695).

The shipped table, fluoro/physics/data/scatter_kernels.csv, is older: it was fitted to an earlier
Monte Carlo of fluoro that is not in the tree. So check_scatter.py is independent of the shipped
table, but not of one that --write makes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from fluoro.physics.scatter import scatter_kernel

Array = NDArray[np.float64]

TABLE = Path(__file__).parents[2] / "fluoro" / "physics" / "data" / "scatter_kernels.csv"
NAMES = ("a_per_cm2", "alpha", "beta", "s1_mm", "b", "s2_mm")
GAPS_MM = (100.0, 200.0, 300.0)
SLABS_MM = (50.0, 100.0, 150.0, 200.0, 250.0)
RINGS_MM = np.arange(0, 251, 10.0)
"""Radii between rings of the detector's plane: as far as a detector of 30 cm reaches."""
CIRCLES_MM = (50.0, 100.0, 150.0)
"""Radii within which the scattered energy of the shipped table is compared."""
START = {100.0: (25.0, 0.7, 110.0), 200.0: (35.0, 0.7, 170.0), 300.0: (45.0, 0.7, 220.0)}
"""Where the fit of s1, b and s2 starts, by air gap."""


def ring_shares(s1_mm: float, b: float, s2_mm: float) -> Array:
    """Return the integral [mm2] of exp(-r2/2 s1^2) + b exp(-r2/2 s2^2) over each ring."""
    inside = [
        height * 2 * np.pi * s**2 * (1 - np.exp(-(RINGS_MM**2) / (2 * s**2)))
        for height, s in ((1.0, s1_mm), (b, s2_mm))
    ]
    return np.asarray(np.diff(inside[0] + inside[1]))


def fit_shape(rings: Array, start: Sequence[float]) -> tuple[Array, Array]:
    """Return (s1_mm, b, s2_mm), and the amplitude of each slab [1/mm2].

    Args:
        rings: Share of the entering energy in each ring, shape (slabs, rings).
        start: Where s1, b and s2 start.
    """
    scale = np.sqrt(rings.mean(axis=1, keepdims=True) * np.maximum(rings, 1e-9))

    def amplitudes(shape: Array) -> Array:
        weighted = ring_shares(*shape) / scale
        return np.asarray((weighted * rings / scale).sum(axis=1) / (weighted**2).sum(axis=1))

    def residuals(shape: Array) -> Array:
        model = amplitudes(shape)[:, None] * ring_shares(*shape)
        return np.asarray(((model - rings) / scale).ravel())

    shape = least_squares(residuals, start, x_scale=start).x
    return shape, amplitudes(shape)


def fit_amplitude(primary: Array, amplitudes_per_mm2: Array) -> Array:
    """Return (a_per_cm2, alpha, beta) of amplitudes over the primary's shares, shape (slabs,)."""
    columns = np.stack([np.ones_like(primary), np.log(primary), np.log(-np.log(primary))], axis=1)
    log_a, alpha, beta = np.linalg.lstsq(columns, np.log(100 * amplitudes_per_mm2), rcond=None)[0]
    return np.array([np.exp(log_a), alpha, beta])


def simulate(batches: int) -> tuple[Array, Array]:
    """Return shares of the primary, shape (slabs,), and of rings, shape (gaps, slabs, rings)."""
    from tools.check import check_scatter as transport

    water = transport.Water()
    beams = [transport.beam_energy(water, slab_mm) for slab_mm in SLABS_MM]
    rings = np.zeros((len(GAPS_MM), len(SLABS_MM), RINGS_MM.size - 1))
    for column, slab_mm in enumerate(SLABS_MM):
        entering_kev = beams[column][0] * transport.PHOTONS * batches
        for seed in range(batches):
            for at, to, energy in transport.leaving_photons(water, slab_mm, seed):
                for row, gap_mm in enumerate(GAPS_MM):
                    reach = at[:2] + (slab_mm + gap_mm - at[2]) / to[2] * to[:2]
                    found = np.histogram(np.hypot(*reach), RINGS_MM, weights=energy)[0]
                    rings[row, column] += found / entering_kev
    return np.array([primary for _, primary in beams]), rings


def fitted_rows(primary: Array, rings: Array) -> list[list[float]]:
    """Return one row of the table an air gap: the gap [mm], then the values of `NAMES`."""
    rows = []
    for gap_mm, each in zip(GAPS_MM, rings, strict=True):
        shape, amplitudes_per_mm2 = fit_shape(each, START[gap_mm])
        rows.append([gap_mm, *fit_amplitude(primary, amplitudes_per_mm2), *shape])
    return rows


def shipped_to_simulated(primary: Array, rings: Array) -> Iterator[str]:
    """Yield a line an air gap and circle: shipped / simulated energy inside, for each slab."""
    for gap_mm, found in zip(GAPS_MM, rings, strict=True):
        kernel = scatter_kernel(gap_mm)
        per_cm2 = kernel.a_per_cm2 * primary**kernel.alpha * (-np.log(primary)) ** kernel.beta
        shares = ring_shares(kernel.s1_mm, kernel.b, kernel.s2_mm)
        for radius_mm in CIRCLES_MM:
            inside = RINGS_MM[1:] <= radius_mm
            ratios = per_cm2 / 100 * shares[inside].sum() / found[:, inside].sum(axis=1)
            text = ", ".join(f"{ratio:.2f}" for ratio in ratios)
            where = f"{gap_mm:g} mm gap, within {radius_mm:g} mm"
            yield f"{where}: shipped / simulated {text} for {SLABS_MM} mm of water"


def main(arguments: Sequence[str] | None = None) -> int:
    """Simulate, fit, compare with the shipped table, and replace it with --write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--batches", type=int, default=10, help="of 400,000 photons a slab")
    parser.add_argument("--write", action="store_true", help="replace the table")
    options = parser.parse_args(arguments)
    primary, rings = simulate(options.batches)
    print("\n".join(shipped_to_simulated(primary, rings)))
    rows = fitted_rows(primary, rings)
    head, names, *shipped = TABLE.read_text().splitlines()
    for row, line in zip(rows, shipped, strict=True):
        for name, value, old in zip(NAMES, row[1:], map(float, line.split(",")[1:]), strict=True):
            print(f"{row[0]:g} mm {name}: {value:.4g}, shipped {old:.4g} ({value / old - 1:+.1%})")
    if options.write:
        made = [",".join(f"{value:.4g}" for value in row) for row in rows]
        TABLE.write_text("\n".join([head, names, *made]) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

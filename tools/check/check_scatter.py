"""Scatter to primary behind water by a Monte Carlo that the kernels were not fitted to.

    pip install '.[bake]'                    in a virtual environment of its own
    python -m tools.check.check_scatter            from the repository's root; a minute

A pencil of 80 kV (3 mm Al) enters a slab of water without sides. Photons scatter incoherently
(Klein and Nishina, times 1 - (f/Z)^2 of each atom) and coherently (f^2, free atoms: no interference
between molecules); cross sections and form factors are Elam's and Waasmaier's, through xraydb.
Instead of being absorbed photons lose weight. What reaches squares in the detector's plane is, by
reciprocity, what the middle of a square field of parallel beams receives; it is weighted by energy,
as the primary is. Prints the rows of docs/physics.md, with standard errors.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import numpy as np
import xraydb

from fluoro.physics.spectrum import tube_spectrum

ATOMS = {"H": 2, "O": 1}
WEIGHTS = {"H": 1.008, "O": 15.999}
ELECTRON_KEV, ANGSTROM_KEV = 510.999, 12.39842
SLABS_MM = {200.0: (100.0, 200.0, 300.0), 100.0: (200.0,)}
"""Water, and air gaps behind it."""
FIELDS_MM = (100.0, 200.0, 300.0)
PHOTONS, BATCHES = 400_000, 10
LEAST_WEIGHT, LEAST_KEV = 1e-3, 6.0
GRID_KEV = np.arange(5.0, 81.0, 0.25)
GRID_Q = np.linspace(0.0, 7.0, 1401)
"""sin(angle / 2) / wavelength [1/angstrom]."""


def main() -> int:
    """Simulate each slab and print a row for each air gap."""
    water = Water()
    print("| Water | Air gap | 10 cm | 20 cm | 30 cm |\n|---|---|---|---|---|")
    for thickness_mm, gaps_mm in SLABS_MM.items():
        runs = np.array([batch(water, thickness_mm, gaps_mm, seed) for seed in range(BATCHES)])
        mean, error = runs.mean(axis=0), runs.std(axis=0, ddof=1) / np.sqrt(BATCHES)
        for gap_mm, values, errors in zip(gaps_mm, mean, error, strict=True):
            cells = [f"{value:.3f} ± {e:.3f}" for value, e in zip(values, errors, strict=True)]
            row = (f"{thickness_mm / 10:g} cm", f"{gap_mm / 10:g} cm", *cells)
            print("| " + " | ".join(row) + " |", flush=True)
    return 0


class Water:
    """Cross sections [1/mm] and form factors of water, on grids."""

    def __init__(self) -> None:
        mass = sum(count * WEIGHTS[symbol] for symbol, count in ATOMS.items())
        share = {symbol: count * WEIGHTS[symbol] / mass for symbol, count in ATOMS.items()}
        self.mu = {
            kind: sum(
                part * xraydb.mu_elam(symbol, GRID_KEV * 1000, kind=kind) / 10
                for symbol, part in share.items()
            )
            for kind in ("photo", "incoh", "coh")
        }
        form = {symbol: xraydb.f0(symbol, GRID_Q) for symbol in ATOMS}
        self.coherent = sum(count * form[symbol] ** 2 for symbol, count in ATOMS.items())
        whole = {symbol: form[symbol][0] for symbol in ATOMS}
        self.incoherent = sum(
            count * whole[symbol] * (1 - (form[symbol] / whole[symbol]) ** 2)
            for symbol, count in ATOMS.items()
        )

        steps = np.diff(GRID_Q**2) * (self.coherent[1:] + self.coherent[:-1]) / 2
        self.below = np.concatenate([[0.0], np.cumsum(steps)])

    def mu_per_mm(self, kind: str, energies_kev: np.ndarray) -> np.ndarray:
        """Of one kind of interaction."""
        return np.interp(energies_kev, GRID_KEV, self.mu[kind])

    def binding(self, cosine: np.ndarray, kev: np.ndarray) -> np.ndarray:
        """What the atoms' binding leaves of incoherent scatter, 0 to 1."""
        q = np.sqrt((1 - cosine) / 2) * kev / ANGSTROM_KEV
        return np.interp(q, GRID_Q, self.incoherent) / self.incoherent[-1]

    def draw(self, kev: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Cosines by f^2 alone: solid angle is proportional to the square of q."""
        most = np.interp(kev / ANGSTROM_KEV, GRID_Q, self.below)
        q2 = np.interp(rng.random(kev.size) * most, self.below, GRID_Q**2)
        return np.clip(1 - 2 * q2 * (ANGSTROM_KEV / kev) ** 2, -1, 1)


Photons = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Places [mm] and directions, shape (3, N), and energies times weights [keV], shape (N,)."""


def batch(water: Water, thickness_mm: float, gaps_mm: tuple[float, ...], seed: int) -> np.ndarray:
    """Return scatter to primary by air gap and field, shape (gaps, fields)."""
    entering_kev, primary = beam_energy(water, thickness_mm)
    received = sum(
        score(*photons, thickness_mm, gaps_mm)
        for photons in leaving_photons(water, thickness_mm, seed)
    )
    return received / (PHOTONS * entering_kev * primary)


def beam_energy(water: Water, thickness_mm: float) -> tuple[float, float]:
    """Return the mean energy of an entering photon [keV], and its share in the primary behind."""
    beam = tube_spectrum(80, 3.0)
    energies, photons = beam.energies_kev, beam.photons_per_mm2
    total = sum(water.mu_per_mm(kind, energies) for kind in water.mu)
    mean_kev = float(np.average(energies, weights=photons))
    through = np.average(energies * np.exp(-total * thickness_mm), weights=photons)
    return mean_kev, float(through) / mean_kev


def leaving_photons(water: Water, thickness_mm: float, seed: int) -> Iterator[Photons]:
    """Yield scattered photons that leave the slab forwards, of `PHOTONS` that enter."""
    rng = np.random.default_rng([seed, int(thickness_mm)])
    beam = tube_spectrum(80, 3.0)
    kev = rng.choice(
        beam.energies_kev, PHOTONS, p=beam.photons_per_mm2 / beam.photons_per_mm2.sum()
    )
    weight, at = np.ones(PHOTONS), np.zeros((3, PHOTONS))
    to = np.zeros((3, PHOTONS))
    to[2] = 1.0
    scattered = False
    while kev.size:
        mu = {kind: water.mu_per_mm(kind, kev) for kind in water.mu}
        free_mm = rng.exponential(1 / sum(mu.values()))
        inside = (at[2] + free_mm * to[2] > 0) & (at[2] + free_mm * to[2] < thickness_mm)
        if scattered:
            leaves = ~inside & (to[2] > 0)
            yield at[:, leaves], to[:, leaves], (weight * kev)[leaves]
        at = (at + free_mm * to)[:, inside]
        to, kev, weight = to[:, inside], kev[inside], weight[inside]
        mu = {kind: each[inside] for kind, each in mu.items()}
        weight = weight * (mu["incoh"] + mu["coh"]) / sum(mu.values())
        bound = rng.random(kev.size) * (mu["incoh"] + mu["coh"]) < mu["coh"]
        cosine, after = deflect(water, kev, bound, rng)
        to, scattered = turned(to, cosine, rng), True
        remaining = (weight > LEAST_WEIGHT) & (after > LEAST_KEV)
        at, to = at[:, remaining], to[:, remaining]
        kev, weight = after[remaining], weight[remaining]


def score(
    at: np.ndarray,
    to: np.ndarray,
    energy: np.ndarray,
    thickness_mm: float,
    gaps_mm: tuple[float, ...],
) -> np.ndarray:
    """Energy in each square behind each air gap."""
    found = np.zeros((len(gaps_mm), len(FIELDS_MM)))
    for row, gap_mm in enumerate(gaps_mm):
        way = (thickness_mm + gap_mm - at[2]) / to[2]
        reach = np.abs(at[:2] + way * to[:2]).max(axis=0)
        found[row] = [energy[reach <= field / 2].sum() for field in FIELDS_MM]
    return found


def deflect(
    water: Water, kev: np.ndarray, coherent: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Cosine of each photon's deflection and its energy behind it, by rejection."""
    cosine, left = np.empty(kev.size), np.arange(kev.size)
    while left.size:
        e, bound = kev[left], coherent[left]
        c = np.where(bound, water.draw(e, rng), rng.uniform(-1, 1, left.size))
        likely = np.where(bound, (1 + c**2) / 2, klein_nishina(c, e) * water.binding(c, e))
        taken = rng.random(left.size) < likely
        cosine[left[taken]] = c[taken]
        left = left[~taken]
    return cosine, np.where(coherent, kev, kev * recoil(cosine, kev))


def recoil(cosine: np.ndarray, kev: np.ndarray) -> np.ndarray:
    """Share of a photon's energy that is left behind a free electron."""
    return 1 / (1 + kev / ELECTRON_KEV * (1 - cosine))


def klein_nishina(cosine: np.ndarray, kev: np.ndarray) -> np.ndarray:
    """By solid angle, forwards 1."""
    left = recoil(cosine, kev)
    return left**2 * (left + 1 / left - 1 + cosine**2) / 2


def turned(to: np.ndarray, cosine: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Directions, turned by an angle about which they are free."""
    phi = rng.uniform(0, 2 * np.pi, cosine.size)
    sine = np.sqrt(np.maximum(1 - cosine**2, 0))
    aside = np.where(np.abs(to[2]) < 0.9, [[0.0], [0.0], [1.0]], [[1.0], [0.0], [0.0]])
    u = np.cross(aside, to, axis=0)
    u /= np.linalg.norm(u, axis=0)
    v = np.cross(to, u, axis=0)
    new = cosine * to + sine * (np.cos(phi) * u + np.sin(phi) * v)
    return np.asarray(new / np.linalg.norm(new, axis=0))


if __name__ == "__main__":
    sys.exit(main())

"""Makes the scatter kernels: PENELOPE's scatter of water slabs, and two Gaussians fitted to it.

    pip install '.[bake]'                           in a virtual environment of its own
    python -m tools.data.bake_scatter ratios.npz    ten minutes of PENELOPE: what slabs scatter
    python -m tools.data.bake_scatter ratios.npz --write    fits the table to it, some seconds

A pencil of 80 kV (3 mm Al) enters slabs of water. What it scatters into a square in the detector's
plane is, by reciprocity, what the middle of a square field of parallel beams receives. Each photon
counts as the detector makes of it: absorbed on its slant way through the converter, by its energy
or as one. The primary is that of PENELOPE's own cross sections.

The fit: heights of both Gaussians by `fluoro.physics.scatter.ScatterKernel`, widths by the air gap
alone, those of the usual converter; other converters have their own heights.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares
from scipy.special import erf

from fluoro.physics.detector import DetectorResponse
from fluoro.physics.materials import material
from fluoro.physics.scatter import PARAMETERS, ScatterKernel, scatter_kernel
from fluoro.physics.spectrum import tube_spectrum

Array = NDArray[np.float64]

TABLE = Path(__file__).parents[2] / "fluoro" / "physics" / "data" / "scatter_kernels.csv"
HEAD = """\
# Scatter kernels of water at 80 kV (3 mm Al) by detector and air gap; the form is that of
# fluoro.physics.scatter.ScatterKernel. Fitted to PENELOPE (pypenred 1.15.2.0) by
# tools/data/bake_scatter.py; docs/physics.md has how well.
"""
HISTORIES = {50: 1e6, 100: 2e6, 150: 5e6, 200: 9e6, 250: 16e6, 300: 24e6}
"""Photons by the water that they enter [mm]."""
BONE_HISTORIES = 6e6
BONE = {"middle": (90, 90), "exit": (160, 20), "entrance": (20, 160)}
"""Water before and behind 20 mm of cortical bone [mm], by where the bone is nearest."""
BONE_TABLE = Path(__file__).parents[2] / "tests" / "data" / "penelope_bone.csv"
BONE_HEAD = """\
# Scatter to primary at the middle of a square field behind 18 cm of water with 2 cm of cortical
# bone in its middle, 2 cm before its exit or 2 cm behind its entrance; 80 kV, 3 mm Al, on 0.203
# g/cm2 of caesium iodide. PENELOPE (pypenred 1.15.2.0, tools/data/bake_scatter.py).
bone,air_gap_mm,field_mm,scatter_to_primary,standard_error
"""
GAPS_MM = np.arange(50.0, 301.0, 25.0)
FITTED_GAPS_MM = np.arange(50.0, 301.0, 50.0)
"""Kernels stand at these; the others show what interpolation costs."""
FIELDS_MM = np.array([50.0, 100.0, 150.0, 200.0, 250.0, 300.0])
MASSES = (1e-4, 0.05, 0.1, 0.203, 0.4, np.inf)
"""Caesium iodide [g/cm2]; the last one absorbs everything."""
KINDS = ("energy_integrating", "photon_counting")
USUAL = ("energy_integrating", 0.203)
"""The converter to which the widths are fitted."""
THIN_WEIGHT = 0.5
"""Of 5 cm of water in the fit: patients are thicker."""
ANGLES = TABLE.with_name("scatter_angles.npz")
KEV_STEP, SLOPE_STEP = 5.0, 0.05
ENERGIES_KEV, SLOPES = np.arange(12.5, 80.0, KEV_STEP), np.arange(0.025, 2.5, SLOPE_STEP)
"""Middles of the bins of energy and of the tangent of the angle across a grid's lamellae."""
MOST_AWAY_MM = 150.0
"""Half a detector: scatter from farther away does not count for a grid."""
START = (-6.0, 1.1, 1.0, 3.2, -0.3, 0.4, 4.8)
"""ln(A), alpha, beta, ln(s1), ln(b), c, ln(s2)."""


def responses() -> Iterator[tuple[str, float, DetectorResponse]]:
    """Yield the detectors of the table: kind, mass of the converter, response."""
    for kind in KINDS:
        for mass in MASSES:
            if mass == np.inf:
                yield kind, mass, DetectorResponse(kind=kind, converter=None)
            else:
                yield kind, mass, DetectorResponse(kind=kind, thickness_g_per_cm2=mass)


def worth(response: DetectorResponse, energies_kev: Array, cosines: Array | float) -> Array:
    """Return what the detector absorbs of photons that come at an angle, by energy or as one.

    Fluorescence escapes from primary and scatter alike: it would lower the ratio by 1 % at most.
    """
    value = energies_kev if response.kind == "energy_integrating" else np.ones_like(energies_kev)
    if response.converter is None:
        return value
    mu = material(response.converter).mass_attenuation_cm2_per_g(np.maximum(energies_kev, 5.0))
    return np.asarray(value * -np.expm1(-mu * response.thickness_g_per_cm2 / cosines))


def simulated_ratios(
    layers_mm: Sequence[tuple[str, float]], histories: float, seed: int
) -> tuple[Array, Array]:
    """Return scatter to primary behind layers, shape (detectors, gaps, fields), and its error."""
    from tools.data import penelope

    beam = tube_spectrum(80, 3.0)
    slabs = penelope.slabs([(name, thick_mm / 10) for name, thick_mm in layers_mm])
    photons = penelope.photons_out(*slabs, beam, histories, seed)
    through = np.exp(
        -sum(penelope.mu_per_cm(name, beam.energies_kev) * t / 10 for name, t in layers_mm)
    )
    primary = beam.photons_per_mm2 / beam.photons_per_mm2.sum() * through
    scattered = photons[photons[:, 6] < 1].astype(float)
    energies, cosines = scattered[:, 0], scattered[:, 6]
    reach = [half_widths_mm(scattered, gap_mm) for gap_mm in GAPS_MM]
    found, errors = [], []
    for _, _, response in responses():
        each = worth(response, energies, cosines)
        whole = histories * (primary * worth(response, beam.energies_kev, 1.0)).sum()
        within = [[each[r <= field / 2] for field in FIELDS_MM] for r in reach]
        found.append([[part.sum() / whole for part in row] for row in within])
        errors.append([[np.sqrt((part**2).sum()) / whole for part in row] for row in within])
    return np.array(found), np.array(errors)


def half_widths_mm(photons: Array, air_gap_mm: float) -> Array:
    """Return half the edge of the smallest square that a photon meets behind the gap [mm]."""
    place = 10 * photons[:, 1:3] + air_gap_mm * photons[:, 4:6] / photons[:, 6:7]
    return np.asarray(np.abs(place).max(axis=1))


def simulate() -> dict[str, Array]:
    """Return scatter to primary and its standard error, of each slab and each place of bone."""
    bodies = {str(mm): ([("water", mm)], count) for mm, count in HISTORIES.items()}
    for place, (before, behind) in BONE.items():
        layers = [("water", before), ("cortical_bone", 20), ("water", behind)]
        bodies[place] = layers, BONE_HISTORIES
    found = {}
    for seed, (name, (layers, histories)) in enumerate(bodies.items(), 11):
        ratios, errors = simulated_ratios(layers, histories, seed)
        found[f"ratio{name}"], found[f"error{name}"] = ratios, errors
        print(f"{name}: error up to {(errors / ratios).max():.1%}", flush=True)
    return found


def left(water_mm: Sequence[float]) -> Array:
    """Return the share of the kernels' beam's energy that water leaves, as the kernels take it."""
    beam = tube_spectrum(80, 3.0)
    weight = beam.photons_per_mm2 * beam.energies_kev
    mu = material("water").mu_per_mm(beam.energies_kev)
    return np.asarray(np.exp(-np.outer(water_mm, mu)) @ weight / weight.sum())


def square_field(kernel: ScatterKernel, left_of_beam: Array, fields_mm: Array) -> Array:
    """Return scatter to primary at the middle of square fields, shape (slabs, fields)."""
    widths = np.array([kernel.s1_mm, kernel.s2_mm])
    areas = 2 * np.pi * widths[:, None] ** 2
    areas = areas * erf(fields_mm / 2 / widths[:, None] / np.sqrt(2)) ** 2
    return np.asarray(kernel.heights(left_of_beam).T @ areas)


def kernel_of(values: Array) -> ScatterKernel:
    """Return the kernel of ln(A), alpha, beta, ln(s1), ln(b), c, ln(s2)."""
    a, alpha, beta, s1, b, c, s2 = values
    return ScatterKernel(
        a_per_cm2=float(np.exp(a)),
        alpha=float(alpha),
        beta=float(beta),
        s1_mm=float(np.exp(s1)),
        b=float(np.exp(b)),
        c=float(c),
        s2_mm=float(np.exp(s2)),
    )


def fit(
    ratios: Array, left_of_beam: Array, weights: Array, widths_mm: tuple[float, float] | None
) -> ScatterKernel:
    """Return the kernel of scatter to primary, shape (slabs, fields).

    Args:
        ratios: At the middle of `FIELDS_MM`, by slab.
        left_of_beam: By slab.
        weights: Of each slab.
        widths_mm: Of both Gaussians; None: they are fitted too.
    """
    start = np.array(START)
    free = [0, 1, 2, 4, 5] if widths_mm else list(range(7))
    if widths_mm:
        start[[3, 6]] = np.log(widths_mm)

    def whole(part: Array) -> ScatterKernel:
        values = start.copy()
        values[free] = part
        return kernel_of(values)

    def residuals(part: Array) -> Array:
        off = np.log(square_field(whole(part), left_of_beam, FIELDS_MM) / ratios)
        off *= weights[:, None]
        return np.asarray((off * np.abs(off)).ravel())  # the fourth power: the worst counts most

    rng = np.random.default_rng(0)
    starts = [start[free] + rng.normal(0, 0.15 * bool(k), len(free)) for k in range(8)]
    fits = [least_squares(residuals, each, x_scale="jac", max_nfev=5000) for each in starts]
    return whole(min(fits, key=lambda each: each.cost).x)


def fitted_rows(data: dict[str, Array]) -> list[str]:
    """Return the table's lines."""
    slabs = list(HISTORIES)
    ratios = np.stack([data[f"ratio{slab}"] for slab in slabs], axis=2)
    known = left(slabs)
    weights = np.where(np.array(slabs) < 100, THIN_WEIGHT, 1.0)
    names = [(kind, mass) for kind, mass, _ in responses()]
    lines = []
    for gap_mm in FITTED_GAPS_MM:
        of_gap = ratios[:, gap_mm == GAPS_MM][:, 0]
        usual = fit(of_gap[names.index(USUAL)], known, weights, None)
        widths = usual.s1_mm, usual.s2_mm
        for (kind, mass), each in zip(names, of_gap, strict=True):
            kernel = fit(each, known, weights, widths)
            values = ",".join(f"{getattr(kernel, name):.5g}" for name in PARAMETERS)
            lines.append(f"{kind},{mass:g},{gap_mm:g},{values}")
    return lines


def bone_rows(data: dict[str, Array]) -> Iterator[str]:
    """Yield the lines of the table with bone, of the usual converter."""
    number = [(kind, mass) for kind, mass, _ in responses()].index(USUAL)
    for place in BONE:
        ratios, errors = data[f"ratio{place}"][number], data[f"error{place}"][number]
        for i, gap_mm in enumerate(GAPS_MM):
            for j, field_mm in enumerate(FIELDS_MM):
                pair = f"{ratios[i, j]:.4g},{errors[i, j]:.2g}"
                yield f"{place},{gap_mm:g},{field_mm:g},{pair}"


def compared(data: dict[str, Array]) -> Iterator[str]:
    """Yield a line for each detector: how far the shipped kernels are off what was simulated."""
    for number, (kind, mass, response) in enumerate(responses()):
        off = {}
        for slab in HISTORIES:
            shipped = [
                square_field(scatter_kernel(gap, response), left([slab]), FIELDS_MM)[0]
                for gap in GAPS_MM
            ]
            off[slab] = np.abs(np.array(shipped) / data[f"ratio{slab}"][number] - 1).max()
        text = ", ".join(f"{slab} mm {value:.1%}" for slab, value in off.items())
        yield f"{kind}, {mass:g} g/cm2: {text}"


def simulated_angles(histories: float, seed: int) -> dict[str, Array]:
    """Return how scatter of 20 cm of water meets a grid, for `fluoro.physics.antiscatter_grid`.

    A photon counts for either Gaussian by that one's share in the kernel at its distance from
    the pencil; both axes across the lamellae count, because the pencil has none.
    """
    from tools.data import penelope

    slabs = penelope.slabs([("water", 20.0)])
    photons = penelope.photons_out(*slabs, tube_spectrum(80, 3.0), histories, seed).astype(float)
    photons = photons[photons[:, 6] < 1]
    value = worth(DetectorResponse(), photons[:, 0], photons[:, 6])
    slopes = np.abs(photons[:, 4:6] / photons[:, 6:7])
    weights = np.zeros((len(FITTED_GAPS_MM), 2, len(ENERGIES_KEV), len(SLOPES)))
    edges = (
        *(np.append(ENERGIES_KEV - KEV_STEP / 2, 80.0),),
        np.append(SLOPES - SLOPE_STEP / 2, 9e9),
    )
    for row, gap_mm in zip(weights, FITTED_GAPS_MM, strict=True):
        place = 10 * photons[:, 1:3] + gap_mm * photons[:, 4:6] / photons[:, 6:7]
        away2 = (place**2).sum(axis=1)
        kernel = scatter_kernel(gap_mm, DetectorResponse())
        heights = kernel.heights(left([200.0]))[:, 0]
        bells = np.stack(
            [
                h * np.exp(-away2 / 2 / s**2)
                for h, s in zip(heights, (kernel.s1_mm, kernel.s2_mm), strict=True)
            ]
        )
        inside = away2 < MOST_AWAY_MM**2
        for gaussian, share in zip(row, bells / np.maximum(bells.sum(axis=0), 1e-30), strict=True):
            each = (value * share)[inside]
            for axis in (0, 1):
                pair = photons[inside, 0], slopes[inside, axis]
                gaussian += np.histogram2d(*pair, edges, weights=each)[0]
    weights /= weights.sum(axis=(2, 3), keepdims=True)
    return {
        "gaps_mm": FITTED_GAPS_MM,
        "energies_kev": ENERGIES_KEV,
        "slopes": SLOPES,
        "weights": weights.astype(np.float32),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Simulate what is not simulated yet, fit and replace the table with --write, compare."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("ratios", type=Path, help="what was simulated; made where it is not there")
    parser.add_argument("--write", action="store_true", help="replace the table")
    options = parser.parse_args(arguments)
    if not options.ratios.exists():
        np.savez(options.ratios, **simulate())
    with np.load(options.ratios) as found:
        data = dict(found)
    if options.write:
        columns = ",".join(["kind", "csi_g_per_cm2", "air_gap_mm", *PARAMETERS])
        TABLE.write_text(HEAD + "\n".join([columns, *fitted_rows(data)]) + "\n")
        np.savez_compressed(ANGLES, **simulated_angles(2e6, 41))
        BONE_TABLE.write_text(BONE_HEAD + "\n".join(bone_rows(data)) + "\n")
    print("\n".join(compared(data)))
    return 0


if __name__ == "__main__":
    sys.exit(main())

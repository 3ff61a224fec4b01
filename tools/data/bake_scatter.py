"""Makes the scatter kernels: PENELOPE's scatter of water slabs, and two Gaussians fitted to it.

    pip install '.[bake]'                          in a virtual environment of its own
    python -m tools.data.bake_scatter FOLDER       what slabs scatter; how the shipped table fits it
    python -m tools.data.bake_scatter FOLDER --write       writes the tables from it

What is simulated is kept in FOLDER, a file for each body; another call goes on where one ended.
The seeds are fixed, so that the same files come again, on one process or several (`--processes`).

A pencil of 80 kV (3 mm Al) enters slabs of water. What it scatters into a square in the detector's
plane is, by reciprocity, what the middle of a square field of parallel beams receives. Each photon
counts as the detector makes of it: absorbed on its slant way through the converter, by its energy
or as one. The primary is that of PENELOPE's own cross sections.

The fit: heights of both Gaussians by `fluoro.physics.scatter.ScatterKernel`, widths by the air gap
alone, those of the usual converter; other converters have their own heights. How bone counts in
either Gaussian is fitted to half of the bodies with bone (`fitted`); the others test it.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
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
HISTORIES = {50: 2e6, 100: 2e6, 150: 1.5e6, 200: 2e6, 250: 1.5e6, 300: 1.5e6}
"""Photons by the water that they enter [mm]."""
PART_MM = {"water": 50.0, "cortical_bone": 20.0}
"""Photons are split where they enter the next part: about half of them reach it."""
BONE_TABLE = Path(__file__).parents[2] / "tests" / "data" / "penelope_bone.csv"
RATIOS = BONE_TABLE.with_name("penelope_ratios.npz")
"""Scatter to primary of the slabs: what the kernels are fitted to."""
BONE_HEAD = """\
# Scatter to primary at the middle of a square field behind water with cortical bone at a place;
# 80 kV, 3 mm Al, on 0.203 g/cm2 of caesium iodide. fitted: used for the table of bone's factors.
# PENELOPE (pypenred 1.15.2.0) by tools/data/bake_scatter.py.
"""
NEAR_MM = 20
"""Between bone at an end and that end of the body."""
GAPS_MM = np.arange(50.0, 301.0, 25.0)
FITTED_GAPS_MM = np.array([50.0, 75.0, 100.0, 125.0, 150.0, 200.0, 250.0, 300.0])
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


@dataclass(frozen=True, kw_only=True)
class BoneBody:
    """Water with bone in it: name of the place, layers [mm], and what it is for."""

    place: str
    layers_mm: tuple[tuple[str, float], ...]
    fitted: bool

    @property
    def water_mm(self) -> float:
        """All of its water [mm]."""
        return sum(thick for name, thick in self.layers_mm if name == "water")

    @property
    def bone_mm(self) -> float:
        """All of its bone [mm]."""
        return sum(thick for name, thick in self.layers_mm if name == "cortical_bone")

    @property
    def name(self) -> str:
        """Of its file."""
        return f"bone{self.bone_mm:g}_in_{self.water_mm:g}_{self.place}"


def with_bone(water_mm: float, bone_mm: float, *, fitted: bool) -> Iterator[BoneBody]:
    """Yield a layer of bone in the middle of water, near its entrance and near its exit."""
    behind = {"entrance": water_mm - NEAR_MM, "middle": water_mm / 2, "exit": NEAR_MM}
    for place, rest_mm in behind.items():
        layers = ("water", water_mm - rest_mm), ("cortical_bone", bone_mm), ("water", rest_mm)
        yield BoneBody(place=place, layers_mm=layers, fitted=fitted)


BONE = (
    *with_bone(140, 10, fitted=True),
    *with_bone(180, 20, fitted=False),
    *with_bone(220, 30, fitted=True),
    *with_bone(100, 20, fitted=True),
    *with_bone(160, 40, fitted=False),
    BoneBody(
        place="both_ends",
        layers_mm=(
            *(("water", NEAR_MM), ("cortical_bone", 10), ("water", 120)),
            *(("cortical_bone", 10), ("water", NEAR_MM)),
        ),
        fitted=False,
    ),
)
BONE_HISTORIES = 4e5


def bodies() -> dict[str, tuple[Sequence[tuple[str, float]], float]]:
    """Return layers [mm] and photons to be sent, by name."""
    water = {f"water{mm}": ([("water", mm)], count) for mm, count in HISTORIES.items()}
    return {**water, **{each.name: (each.layers_mm, BONE_HISTORIES) for each in BONE}}


def simulate(
    path: Path, layers_mm: Sequence[tuple[str, float]], histories: float, seed: int
) -> None:
    """Write what leaves layers: photons, their histories, and the share that each counts."""
    from tools.data import penelope

    surfaces, parts, count = penelope.split_slabs(layers_mm, PART_MM)
    beam = tube_spectrum(80, 3.0)
    photons, history = penelope.recorded(surfaces, parts, beam, histories, seed, splits=count - 1)
    through = np.exp(
        -sum(penelope.mu_per_cm(name, beam.energies_kev) * t / 10 for name, t in layers_mm)
    )
    primary = beam.photons_per_mm2 / beam.photons_per_mm2.sum() * through
    part = path.with_suffix(".part.npz")
    np.savez(
        part,
        photons=photons,
        history=history.astype(np.int32),
        share=0.5 ** (count - 1) / histories,
        primary=primary,
    )
    part.replace(path)
    print(f"{path.name}: {len(photons)} photons", flush=True)


def simulate_missing(folder: Path, processes: int) -> None:
    """Write a file for each body that has none yet."""
    folder.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        runs = [
            pool.submit(simulate, path, layers, histories, seed)
            for seed, (name, (layers, histories)) in enumerate(bodies().items(), 11)
            if not (path := folder / f"{name}.npz").exists()
        ]
        for each in runs:
            each.result()


@dataclass(frozen=True, kw_only=True)
class Scattered:
    """What left a body: scattered photons of one run, and the primary.

    Attributes:
        photons: Energy [keV], place [cm], direction; shape (photons, 7).
        history: Number of each one's history.
        share: Of the photons sent that each of them counts.
        primary: Photons that come through unscattered, of each sent, by energy of the beam.
    """

    photons: Array
    history: NDArray[np.int64]
    share: float
    primary: Array

    @classmethod
    def read(cls, path: Path) -> Scattered:
        """Read what `simulate` wrote."""
        with np.load(path) as found:
            scattered = found["photons"][:, 6] < 1
            return cls(
                photons=found["photons"][scattered].astype(float),
                history=found["history"][scattered],
                share=float(found["share"]),
                primary=found["primary"],
            )

    def fields(self) -> list[NDArray[np.int64]]:
        """Return the number of the smallest field that each photon meets, by gap."""
        reach = (half_widths_mm(self.photons, gap_mm) for gap_mm in GAPS_MM)
        return [np.searchsorted(FIELDS_MM / 2, each) for each in reach]

    def to_primary(self, response: DetectorResponse) -> Array:
        """Return what each photon adds to scatter over primary."""
        beam = tube_spectrum(80, 3.0)
        whole = (self.primary * worth(response, beam.energies_kev, 1.0)).sum()
        return self.share / whole * worth(response, self.photons[:, 0], self.photons[:, 6])

    def ratios(self) -> Array:
        """Return scatter to primary, shape (detectors, gaps, fields)."""
        fields, count = self.fields(), len(FIELDS_MM) + 1
        each = [self.to_primary(response) for _, _, response in responses()]
        found = [[np.bincount(field, part, count)[:-1] for field in fields] for part in each]
        return np.cumsum(found, axis=-1)

    def errors(self) -> Array:
        """Return the standard errors of the usual converter's ratios, shape (gaps, fields)."""
        each = self.to_primary(DetectorResponse())
        histories = np.unique(self.history, return_inverse=True)[1]
        within = (
            np.bincount(histories, np.where(field <= number, each, 0))
            for field in self.fields()
            for number in range(len(FIELDS_MM))
        )
        found = [np.sqrt((of_history**2).sum()) for of_history in within]
        return np.reshape(found, (len(GAPS_MM), -1))


def half_widths_mm(photons: Array, air_gap_mm: float) -> Array:
    """Return half the edge of the smallest square that a photon meets behind the gap [mm]."""
    place = 10 * photons[:, 1:3] + air_gap_mm * photons[:, 4:6] / photons[:, 6:7]
    return np.asarray(np.abs(place).max(axis=1))


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


def fitted_rows(water: Array, gaps_mm: Array = FITTED_GAPS_MM) -> list[str]:
    """Return the table's lines.

    Args:
        water: Scatter to primary of the slabs, shape (slabs, detectors, gaps, fields).
        gaps_mm: Air gaps of the table [mm].
    """
    slabs = list(HISTORIES)
    known = left(slabs)
    weights = np.where(np.array(slabs) < 100, THIN_WEIGHT, 1.0)
    names = [(kind, mass) for kind, mass, _ in responses()]
    lines = []
    for gap_mm in gaps_mm:
        of_gap = water[:, :, gap_mm == GAPS_MM][:, :, 0]
        usual = fit(of_gap[:, names.index(USUAL)], known, weights, None)
        widths = usual.s1_mm, usual.s2_mm
        for number, (kind, mass) in enumerate(names):
            kernel = fit(of_gap[:, number], known, weights, widths)
            values = ",".join(f"{getattr(kernel, name):.5g}" for name in PARAMETERS)
            lines.append(f"{kind},{mass:g},{gap_mm:g},{values}")
    return lines


def bone_rows(folder: Path) -> Iterator[str]:
    """Yield the lines of the table with bone, of the usual converter."""
    number = [(kind, mass) for kind, mass, _ in responses()].index(USUAL)
    yield "place,water_mm,bone_mm,fitted,air_gap_mm,field_mm,scatter_to_primary,standard_error"
    for body in BONE:
        scattered = Scattered.read(folder / f"{body.name}.npz")
        ratios, errors = scattered.ratios()[number], scattered.errors()
        of_body = f"{body.place},{body.water_mm:g},{body.bone_mm:g},{body.fitted:d}"
        for i in np.flatnonzero(np.isin(GAPS_MM, FITTED_GAPS_MM)):
            for field_mm, ratio, error in zip(FIELDS_MM, ratios[i], errors[i], strict=True):
                yield f"{of_body},{GAPS_MM[i]:g},{field_mm:g},{ratio:.4g},{error:.2g}"


def bone_off(rows: Array, losses: Callable[[Array], Array]) -> Array:
    """Return how far the kernels are off scatter to primary behind water with bone.

    Args:
        rows: Water, bone, air gap, field [mm], scatter to primary; shape (cases, 5).
        losses: The power m of `fluoro.physics.scatter.water_per_mm` by air gap [mm].
    """
    bone, water = material("cortical_bone"), material("water")
    electrons = bone.electrons_mol_per_cm3 / water.electrons_mol_per_cm3
    mu = bone.mu_per_mm(70.0) / water.mu_per_mm(70.0)
    counted = rows[:, 0] + rows[:, 1] * electrons * (electrons / mu) ** losses(rows[:, 2])
    found = np.empty(len(rows))
    for gap_mm in np.unique(rows[:, 2]):
        of_gap, kernel = rows[:, 2] == gap_mm, scatter_kernel(gap_mm, DetectorResponse())
        fields = square_field(kernel, left(counted[of_gap]), FIELDS_MM)
        place = np.searchsorted(FIELDS_MM, rows[of_gap, 3])
        found[of_gap] = fields[np.arange(len(place)), place]
    return np.asarray(found / rows[:, 4] - 1)


def fitted_losses(rows: Array) -> tuple[float, float]:
    """Return m at 175 mm of air and how it changes with the gap [1/mm]; the worst cases count most.

    Args:
        rows: As for `bone_off`.
    """

    def residuals(values: Array) -> Array:
        off = bone_off(rows, lambda gap_mm: values[0] + values[1] * (gap_mm - 175) / 100)
        return off * np.abs(off)

    middle, slope = least_squares(residuals, (1.0, -0.2), diff_step=1e-4).x
    return float(middle), float(slope) / 100


def bone_cases(path: Path = BONE_TABLE, *, fitted: bool | None = None) -> Array:
    """Return the table with bone as `bone_off` takes it; fitted: the cases of that kind alone."""
    with path.open() as lines:
        rows = list(csv.DictReader(line for line in lines if not line.startswith("#")))
    names = ("water_mm", "bone_mm", "air_gap_mm", "field_mm", "scatter_to_primary")
    kept = [row for row in rows if fitted is None or row["fitted"] == f"{fitted:d}"]
    return np.array([[float(row[name]) for name in names] for row in kept])


def compared(water: Array) -> Iterator[str]:
    """Yield a line for each detector: how far the shipped kernels are off what was simulated."""
    for number, (kind, mass, response) in enumerate(responses()):
        off = {}
        for slab, found in zip(HISTORIES, water[:, number], strict=True):
            shipped = [
                square_field(scatter_kernel(gap, response), left([slab]), FIELDS_MM)[0]
                for gap in GAPS_MM
            ]
            off[slab] = np.abs(np.array(shipped) / found - 1).max()
        text = ", ".join(f"{slab} mm {value:.1%}" for slab, value in off.items())
        yield f"{kind}, {mass:g} g/cm2: {text}"


def angles_of(path: Path) -> dict[str, Array]:
    """Return how scatter of 20 cm of water meets a grid, for `fluoro.physics.antiscatter_grid`.

    A photon counts for either Gaussian by that one's share in the kernel at its distance from
    the pencil; both axes across the lamellae count, because the pencil has none.
    """
    photons = Scattered.read(path).photons
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
    """Simulate what is not simulated yet, fit and replace the tables with --write, compare."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="what was simulated; what is missing is made")
    parser.add_argument("--processes", type=int, default=1, help="bodies at a time")
    parser.add_argument("--write", action="store_true", help="replace the tables")
    options = parser.parse_args(arguments)
    simulate_missing(options.folder, options.processes)
    slabs = [Scattered.read(options.folder / f"water{mm}.npz") for mm in HISTORIES]
    ratios = np.stack([each.ratios() for each in slabs])
    if options.write:
        columns = ",".join(["kind", "csi_g_per_cm2", "air_gap_mm", *PARAMETERS])
        np.savez_compressed(RATIOS, ratios=ratios)
        TABLE.write_text(HEAD + "\n".join([columns, *fitted_rows(ratios)]) + "\n")
        np.savez_compressed(ANGLES, **angles_of(options.folder / "water200.npz"))
        BONE_TABLE.write_text(BONE_HEAD + "\n".join(bone_rows(options.folder)) + "\n")
    print("\n".join(compared(ratios)))
    print("bone: m = {:.3f} at 175 mm, {:.5f} /mm".format(*fitted_losses(bone_cases(fitted=True))))
    return 0


if __name__ == "__main__":
    sys.exit(main())

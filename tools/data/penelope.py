"""Photons through quadric bodies by PENELOPE, an established Monte Carlo code (extra `bake`).

The wheel pypenred has PENELOPE's physics and its data (penRed, Gimenez-Alventosa et al. 2021;
PENELOPE: Salvat, NEA 2019). Photons alone are followed: an electron of 80 keV goes 0.1 mm in water
and is absorbed where it is made. Photons below 2 keV are absorbed too.

A body is a text of PENELOPE's geometry (PENGEOM); lengths are in cm there and in what is returned.

Thick slabs let few photons through. `split_slabs` cuts them into parts, and each photon that enters
a part for the first time goes on as two of half the weight (`splits`), so that their number stays
about the same all the way. They are of one history, by which statistical errors are counted.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluoro.physics.materials import atomic_numbers_and_weights, material
from fluoro.physics.spectrum import Spectrum

Array = NDArray[np.float64]

BODIES_CM = 150.0
"""Radius of the cylinder in which everything lies."""
CUT_EV, NEVER_EV = 2e3, 1e9
"""Photons below are absorbed; electrons always are."""
LINE = "0" * 64
DETECTOR, COPY = "detector", "_again"
"""Kinds beside the materials: what records; the same material under another number, because
PENELOPE sees no border between bodies of one."""
PER_MOL = 6.02214076e23


@dataclass(frozen=True)
class Quadric:
    """A surface: PENGEOM's five indices, scales [cm] and shifts [cm] along x, y and z."""

    indices: tuple[int, int, int, int, int]
    scale: tuple[float, float, float] = (1.0, 1.0, 1.0)
    shift: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def text(self, number: int) -> list[str]:
        """Return its lines."""
        lines = [
            f"SURFACE ({number:4d})",
            "INDICES=({:2d},{:2d},{:2d},{:2d},{:2d})".format(*self.indices),
        ]
        for axis, scale, shift in zip("XYZ", self.scale, self.shift, strict=True):
            if scale != 1:
                lines.append(f"{axis}-SCALE=({scale:+.15E},   0)")
            if shift != 0:
                lines.append(f"{axis}-SHIFT=({shift:+.15E},   0)")
        return [*lines, LINE]


def plane(z_cm: float) -> Quadric:
    """Return the plane at this depth."""
    return Quadric((0, 0, 0, 1, 0), shift=(0.0, 0.0, z_cm))


def cylinder(radius_cm: float) -> Quadric:
    """Return the cylinder about the z axis."""
    return Quadric((1, 1, 0, 0, -1), scale=(radius_cm, radius_cm, 1.0))


@dataclass(frozen=True)
class Body:
    """A material within surfaces, without the bodies that are cut out.

    Attributes:
        material: Its name in fluoro's table.
        sides: Number of a surface, from 0, and its side: -1 inside or before, +1 beyond.
        without: Numbers of bodies before it that take their place out of it.
    """

    material: str
    sides: Sequence[tuple[int, int]]
    without: Sequence[int] = ()


def geometry(surfaces: Sequence[Quadric], bodies: Sequence[Body]) -> tuple[str, list[str]]:
    """Return PENGEOM's text, and the materials in the order of their numbers.

    The last body records and absorbs what enters it.
    """
    names = [*(body.material for body in bodies[:-1]), DETECTOR]
    kinds = list(dict.fromkeys(names))
    lines = ["fluoro", LINE]
    for number, surface in enumerate(surfaces, 1):
        lines += surface.text(number)
    for number, (body, name) in enumerate(zip(bodies, names, strict=True), 1):
        lines += [f"BODY    ({number:4d})", f"MATERIAL({kinds.index(name) + 1:4d})"]
        lines += [f"SURFACE ({at + 1:4d}), SIDE POINTER=({side:+d})" for at, side in body.sides]
        lines += [f"BODY    ({each + 1:4d})" for each in body.without]
        lines.append(LINE)
    return "\n".join([*lines, "END      " + "0" * 55]) + "\n", kinds


def slabs(layers: Sequence[tuple[str, float]]) -> tuple[list[Quadric], list[Body]]:
    """Return layers (material, thickness [cm]) behind each other from z = 0, and the recorder."""
    depths = np.concatenate([[0.0], np.cumsum([thick for _, thick in layers])])
    surfaces = [*map(plane, [*depths, depths[-1] + 1]), cylinder(BODIES_CM)]
    around = (len(surfaces) - 1, -1)
    names = [*(name for name, _ in layers), "water"]
    bodies = [Body(name, [(i, 1), (i + 1, -1), around]) for i, name in enumerate(names)]
    return surfaces, bodies


def split_slabs(
    layers_mm: Sequence[tuple[str, float]], part_mm: Mapping[str, float]
) -> tuple[list[Quadric], list[Body], int]:
    """Return layers (material, thickness [mm]) cut into parts, and how many parts there are.

    Args:
        layers_mm: Behind each other from z = 0.
        part_mm: Thickness of a part at most, by material [mm].
    """
    parts: list[tuple[str, float]] = []
    for name, thick_mm in layers_mm:
        count = int(np.ceil(thick_mm / part_mm[name]))
        for _ in range(count):
            again = bool(parts) and parts[-1][0] == name
            parts.append((name + COPY * again, thick_mm / count / 10))
    return *slabs(parts), len(parts)


def fractions(name: str) -> list[tuple[int, float]]:
    """Return a material's elements: atomic number, share of the mass; they sum to 1."""
    parts = material(name).mass_fractions
    total, atoms = sum(parts.values()), atomic_numbers_and_weights()
    return [(atoms[symbol][0], part / total) for symbol, part in parts.items()]


def mu_per_cm(name: str, energies_kev: Array) -> Array:
    """Return a material's linear attenuation [1/cm] by PENELOPE's own cross sections.

    Rayleigh, Compton and photoelectric, straight lines in log-log between its energies.
    """
    with _folder():
        _material(name, 1)
        lines = Path(f"{name}.mat").read_text().splitlines()
    weights = dict(atomic_numbers_and_weights().values())
    atoms = {int(pair[0]): float(pair[1]) for line in lines[4:20] if (pair := _atoms(line))}
    total = np.zeros(len(energies_kev))
    for at, line in enumerate(lines):
        if "Rayleigh scattering." in line:
            skipped, count = (int(n) for n in re.findall(r"N[QE] *= *(\d+)", line))
            total += _cross_section(lines[at + 1 + skipped :][:count], energies_kev)
        elif "Compton and pair" in line:
            total += _cross_section(lines[at + 1 :][: _count(line)], energies_kev)
        elif "Photoelectric cross" in line:
            share = atoms[int(re.findall(r"IZ *= *(\d+)", line)[0])]
            total += share * _cross_section(lines[at + 2 :][: _count(line)], energies_kev)
    mass = sum(share * weights[number] for number, share in atoms.items())
    return np.asarray(total * material(name).density_g_per_cm3 * PER_MOL / mass)


def _atoms(line: str) -> tuple[str, str] | None:
    found = re.findall(r"atomic number = *(\d+), *atoms/molecule = *(\S+)", line)
    return found[0] if found else None


def _count(line: str) -> int:
    return int(re.findall(r"NDATA *= *(\d+)", line)[0])


def _cross_section(lines: Sequence[str], energies_kev: Array) -> Array:
    """Return the second column [cm2] at energies, which are the first [eV]."""
    known_ev, known = np.array([line.split()[:2] for line in lines], float).T
    at = np.log(energies_kev * 1e3)
    return np.asarray(np.exp(np.interp(at, np.log(known_ev), np.log(np.maximum(known, 1e-40)))))


def pencil(z_cm: float = -1e-4) -> dict[str, Any]:
    """Return a source along z, at the origin, or a little before or behind it."""
    return {
        "direction": {"type": "CONE", "theta": 0.0, "phi": 0.0, "alpha": 0.0},
        "spatial": {"type": "POINT", "position": {"x": 0.0, "y": 0.0, "z": z_cm}},
    }


def photons_out(
    surfaces: Sequence[Quadric],
    bodies: Sequence[Body],
    spectrum: Spectrum,
    histories: float,
    seed: int,
    source: dict[str, Any] | None = None,
) -> NDArray[np.float32]:
    """Return the photons that enter the last body, shape (photons, 7).

    Args:
        surfaces: Of the bodies.
        bodies: Those the photons go through, and the one that records.
        spectrum: Of the photons that are sent.
        histories: How many are sent.
        seed: 0 to 1000: a pair of PENELOPE's seeds.
        source: Where they start and go; None: the pencil.

    Returns:
        Energy [keV], place x, y, z [cm], direction cosines u, v, w.
    """
    return recorded(surfaces, bodies, spectrum, histories, seed, source)[0]


def recorded(
    surfaces: Sequence[Quadric],
    bodies: Sequence[Body],
    spectrum: Spectrum,
    histories: float,
    seed: int,
    source: dict[str, Any] | None = None,
    splits: int = 0,
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return `photons_out`, and the number of each one's history.

    Args:
        surfaces: Of the bodies.
        bodies: Those the photons go through, and the one that records.
        spectrum: Of the photons that are sent.
        histories: How many are sent.
        seed: 0 to 1000: a pair of PENELOPE's seeds.
        source: Where they start and go; None: the pencil.
        splits: Photons become two where they enter body 2, 3, ... splits + 1 for the first time;
            who has passed all of them counts 0.5^splits.
    """
    from pyPenred import simulation

    with _folder():
        text, kinds = geometry(surfaces, bodies)
        Path("body.geo").write_text(text)
        simulation.setConfigurationLog("configuration.log")
        simulation.setSimulationLog("simulation.log")
        run = simulation.create()
        run.configure(
            {
                "sources": {
                    "generic": {
                        "source1": {
                            "nhist": float(histories),
                            "kpar": "gamma",
                            "energy": _energies(spectrum),
                            **(source or pencil()),
                        }
                    }
                },
                "tallies": {"psf": {"type": "PSF", "detector": 1, "emin": 0.0, "emax": 2e5}},
                "geometry": {
                    "type": "PEN_QUADRIC",
                    "input-file": "body.geo",
                    "processed-geo-file": "report.geo",
                    "kdet": {str(len(bodies)): 1},
                },
                "materials": {name: _material(name, i) for i, name in enumerate(kinds, 1)},
                **_splitting(splits),
                "simulation": {"threads": 1, "seedPair": int(seed), "max-time": 1e9},
            }
        )
        run.simulate(False)
        return _recorded()


def _splitting(splits: int) -> dict[str, Any]:
    """Return a weight window for each border: who has been split there before is too light."""
    if not splits:
        return {}
    windows = {
        f"border{number}": {
            "type": "SPLITTING",
            "minWght": 0.9 * 0.5**number,
            "maxWght": 1.5,
            "bodies": {str(number + 2): {"splitting": 2}},
        }
        for number in range(splits)
    }
    return {"VR": {"generic": windows}}


def _recorded() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    from pyPenred import psf

    psf.psf2ascii("psf-merged.dat", "photons.txt")
    # histories since the last one, kind of particle, energy [eV], place [cm], direction
    rows = np.loadtxt("photons.txt", usecols=range(9), dtype=np.float32, ndmin=2)
    history = np.cumsum(rows[:, 0].astype(np.int64))
    rows[:, 2] /= 1000
    return rows[:, 2:], history


def _energies(spectrum: Spectrum) -> dict[str, Any]:
    half_kev = np.diff(spectrum.energies_kev).min() / 2
    return {
        "type": "INTERVALS",
        "nintervals": len(spectrum.energies_kev),
        "lowE": [float(e) for e in (spectrum.energies_kev - half_kev) * 1e3],
        "topE": [float(e) for e in (spectrum.energies_kev + half_kev) * 1e3],
        "probabilities": [
            float(p) for p in spectrum.photons_per_mm2 / spectrum.photons_per_mm2.sum()
        ],
    }


def _material(name: str, number: int) -> dict[str, Any]:
    """Write a material's file, and return what the simulation needs to know of it."""
    from pyPenred import simulation

    records = name == DETECTOR
    of = "water" if records else name.removesuffix(COPY)
    file = f"{name}.mat"
    simulation.materials.create(of, material(of).density_g_per_cm3, fractions(of), file)
    cut = {"electron": NEVER_EV, "positron": NEVER_EV, "gamma": NEVER_EV if records else CUT_EV}
    classes = {"C1": 0.1, "C2": 0.1, "WCC": 1e4, "WCR": 1e4}
    return {"number": number, "eabs": cut, **classes, "filename": file}


@contextmanager
def _folder() -> Iterator[None]:
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            yield
        finally:
            os.chdir(before)

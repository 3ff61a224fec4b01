"""Makes tests/data/penelope_thorax.npz: primary and scatter of a thorax of quadrics by PENELOPE.

    pip install '.[bake]'                            in a virtual environment of its own
    python -m tools.data.make_thorax_reference       from the repository's root; some minutes

A point source, a round field, 80 kV (3 mm Al): the primary is traced through the ellipsoids with
PENELOPE's own cross sections, the scatter is what its photons bring to cells of the detector's
plane. Both are weighted by what 0.203 g/cm2 of caesium iodide makes of a photon, relative to the
open field in the middle of the detector.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fluoro.physics.detector import DetectorResponse
from fluoro.physics.spectrum import tube_spectrum
from tools.data import penelope
from tools.data.bake_scatter import worth

Array = NDArray[np.float64]

REFERENCE = Path(__file__).parents[2] / "tests" / "data" / "penelope_thorax.npz"
SOURCE_MM, DETECTOR_MM = -700.0, 300.0
"""Along z, from the middle of the thorax; the beam goes along +z, from front to back."""
FIELD_MM = 300.0
"""Diameter of the field in the detector's plane [mm]."""
CELLS, CELL_MM = 8, 25.0
PIXELS, PITCH_MM = 80, 2.5
STRAIGHT = 1e-4
"""Sine between a primary photon's recorded direction (six digits) and its way from the source."""
HISTORIES, RUNS = 4e6, 15


@dataclass(frozen=True)
class Ellipsoid:
    """A solid: material, middle and half axes [mm] in x (to the patient's left), y (down), z."""

    material: str
    middle_mm: tuple[float, float, float]
    half_mm: tuple[float, float, float]

    def path_mm(self, start: Array, way: Array) -> tuple[Array, Array]:
        """Return where rays from a point along unit vectors, shape (3, ...), enter and leave it."""
        half = np.array(self.half_mm)
        a0 = (start - np.array(self.middle_mm)) / half
        u = way / half.reshape(3, *[1] * (way.ndim - 1))
        uu, ua, aa = (u * u).sum(axis=0), np.tensordot(a0, u, 1), a0 @ a0
        root = np.sqrt(np.maximum(ua**2 - uu * (aa - 1), 0))
        return (-ua - root) / uu, (-ua + root) / uu


RIBS = [
    Ellipsoid("cortical_bone", (side * 78.0, y, z), (62.0, 5.0, 4.0))
    for y, z in ((-70.0, -68.0), (-35.0, -72.0), (0.0, -74.0), (35.0, -72.0), (70.0, -68.0))
    for side in (-1, 1)
]
THORAX = [
    *RIBS,
    Ellipsoid("cortical_bone", (0.0, 0.0, 62.0), (14.0, 150.0, 12.0)),
    Ellipsoid("lung", (-78.0, 0.0, -5.0), (58.0, 115.0, 72.0)),
    Ellipsoid("lung", (78.0, 0.0, -5.0), (58.0, 115.0, 72.0)),
    Ellipsoid("soft_tissue", (0.0, 0.0, 0.0), (180.0, 260.0, 100.0)),
]
"""Each one takes its place out of those behind it in the list."""


def thicknesses_mm(across_mm: Array, down_mm: Array) -> dict[str, Array]:
    """Return the thickness of each material on the way to points of the detector's plane [mm]."""
    start = np.array([0.0, 0.0, SOURCE_MM])
    way = np.stack([across_mm, down_mm, np.full_like(across_mm, DETECTOR_MM - SOURCE_MM)])
    way = way / np.linalg.norm(way, axis=0)
    crossings = np.stack([side for each in THORAX for side in each.path_mm(start, way)])
    edges = np.sort(crossings, axis=0)
    middles, lengths = (edges[1:] + edges[:-1]) / 2, np.diff(edges, axis=0)
    total = {each.material: np.zeros(across_mm.shape) for each in THORAX}
    taken = np.zeros(middles.shape, bool)
    for number, each in enumerate(THORAX):
        inside = (middles > crossings[2 * number]) & (middles < crossings[2 * number + 1]) & ~taken
        total[each.material] += np.where(inside, lengths, 0).sum(axis=0)
        taken |= inside
    return total


def kept(response: DetectorResponse, energies_kev: Array, cosines: Array | float) -> Array:
    """Return the signal of photons that come at an angle, without what escapes as fluorescence."""
    share = response.per_photon(energies_kev) / energies_kev
    return np.asarray(worth(response, energies_kev, cosines) * share)


def primary(response: DetectorResponse, across_mm: Array, down_mm: Array) -> Array:
    """Return the signal behind the thorax by PENELOPE's cross sections, without slant."""
    beam = tube_spectrum(80, 3.0)
    kev = beam.energies_kev
    weight = beam.photons_per_mm2 * kept(response, kev, 1.0)
    exponent = sum(
        np.multiply.outer(thick, penelope.mu_per_cm(name, kev) / 10)
        for name, thick in thicknesses_mm(across_mm, down_mm).items()
    )
    slant = np.hypot(np.hypot(across_mm, down_mm), DETECTOR_MM - SOURCE_MM)
    field = ((DETECTOR_MM - SOURCE_MM) / slant) ** 3
    return np.asarray(field * (np.exp(-exponent) @ weight) / weight.sum())


def bodies() -> tuple[list[penelope.Quadric], list[penelope.Body]]:
    """Return the thorax and what records behind it."""
    surfaces = [
        penelope.Quadric(
            (1, 1, 1, 0, -1),
            scale=tuple(half / 10 for half in each.half_mm),  # type: ignore[arg-type]
            shift=tuple(at / 10 for at in each.middle_mm),  # type: ignore[arg-type]
        )
        for each in THORAX
    ]
    count = len(surfaces)
    surfaces += [penelope.plane(z / 10) for z in (DETECTOR_MM, DETECTOR_MM + 10)]
    surfaces.append(penelope.cylinder(penelope.BODIES_CM))
    found = [
        penelope.Body(each.material, [(number, -1)], without=range(number))
        for number, each in enumerate(THORAX)
    ]
    found.append(penelope.Body("water", [(count, 1), (count + 1, -1), (count + 2, -1)]))
    return surfaces, found


def cone() -> dict[str, object]:
    """Return the point source of the round field."""
    opening = np.degrees(np.arctan(FIELD_MM / 2 / (DETECTOR_MM - SOURCE_MM)))
    return {
        "direction": {"type": "CONE", "theta": 0.0, "phi": 0.0, "alpha": float(opening)},
        "spatial": {"type": "POINT", "position": {"x": 0.0, "y": 0.0, "z": SOURCE_MM / 10}},
    }


def scatter(response: DetectorResponse, seed: int) -> Array:
    """Return the scatter of each cell relative to the open field in the middle."""
    beam = tube_spectrum(80, 3.0)
    photons = penelope.photons_out(*bodies(), beam, HISTORIES, seed, cone()).astype(float)
    x, y, way = 10 * photons[:, 1], 10 * photons[:, 2], photons[:, 4:7]
    straight = np.stack([x, y, np.full_like(x, DETECTOR_MM - SOURCE_MM)], axis=1)
    straight /= np.linalg.norm(straight, axis=1)[:, None]
    scattered = np.linalg.norm(np.cross(way, straight), axis=1) > STRAIGHT
    value = kept(response, photons[:, 0], way[:, 2])
    edges = (np.arange(CELLS + 1) - CELLS / 2) * CELL_MM
    found = np.histogram2d(y[scattered], x[scattered], (edges, edges), weights=value[scattered])[0]
    weight = beam.photons_per_mm2 * kept(response, beam.energies_kev, 1.0)
    solid_angle = 2 * np.pi * (1 - np.cos(np.arctan(FIELD_MM / 2 / (DETECTOR_MM - SOURCE_MM))))
    per_mm2 = HISTORIES / solid_angle / (DETECTOR_MM - SOURCE_MM) ** 2
    return np.asarray(found / (per_mm2 * CELL_MM**2 * weight.sum() / beam.photons_per_mm2.sum()))


def folded(image: Array) -> Array:
    """Return the mean of an image and its mirror images: the thorax is the same in all four."""
    return np.asarray((image + image[::-1] + image[:, ::-1] + image[::-1, ::-1]) / 4)


def main(arguments: Sequence[str] | None = None) -> int:
    """Trace, simulate and write the reference."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=RUNS, help=f"of {HISTORIES:g} photons")
    options = parser.parse_args(arguments)
    response = DetectorResponse()
    at_mm = (np.arange(PIXELS) + 0.5 - PIXELS / 2) * PITCH_MM
    down, across = np.meshgrid(at_mm, at_mm, indexing="ij")
    runs = np.stack([scatter(response, 100 + seed) for seed in range(options.runs)])
    error = np.sqrt(folded(runs.var(axis=0, ddof=1) / len(runs)) / 4)
    traced = primary(response, across, down)
    mean = folded(runs.mean(axis=0))
    np.savez_compressed(
        REFERENCE,
        primary=traced.astype(np.float32),
        scatter=mean.astype(np.float32),
        error=error.astype(np.float32),
    )
    cells = traced.reshape(CELLS, PIXELS // CELLS, CELLS, PIXELS // CELLS).mean(axis=(1, 3))
    print("statistical error over signal, at most", (error / (cells + mean)).max())
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Few energies that stand for a spectrum: nodes and weights fitted to what materials transmit.

The signal behind thicknesses t of materials is sum_E w(E) exp(-mu(E) t). Over the thicknesses that
matter, 4 to 8 energies with the right weights replace hundreds of bins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fluoro.physics.materials import Material, material

__all__ = ["Quadrature", "fit_quadrature", "thicknesses"]

Array = NDArray[np.float64]

SOFT_MM, BONE_MM = 300.0, 50.0
"""Soft tissue and cortical bone up to which the fit holds [mm]."""

CONTRAST = 4.0
"""Of another material: up to the thickness that leaves exp(-4) at `CONTRAST_KEV`."""
CONTRAST_KEV = 60.0

START_MM = (0.0, 60.0, 150.0, 300.0)
"""Soft tissue behind which the spectrum is cut into equal parts, for the fits' starts."""

LEAST = 0.01
"""Of the signal on either side of an absorption edge, for nodes on both."""

ROUGH_STEPS, KEPT, STEPS = 40, 16, 60
"""Steps from every start; how many of them go on; their steps a round."""

ROUNDS = 6
"""Of weighing the worst places up: from least squares towards the least maximum."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Quadrature:
    """Energies and the share of the open field's signal that each stands for.

    Attributes:
        energies_kev: Ascending, shape (n,).
        weights: They sum to 1, shape (n,).
        worst_error: Largest relative error of the signal over the fitted thicknesses.
    """

    energies_kev: Array
    weights: Array
    worst_error: float


def thicknesses(names: Sequence[str], found: Sequence[Material]) -> Array:
    """Return thicknesses over which a quadrature is to hold [mm], shape (n, materials).

    0 to 30 cm of soft tissue with 0 to 5 cm of cortical bone, and each other dense material on
    top of these. Air, lung and fat attenuate much as soft tissue does and are left at 0.
    """
    tissue = {"soft_tissue": SOFT_MM, "schneider_soft": SOFT_MM}
    bone = {"cortical_bone": BONE_MM, "schneider_cortical_bone": BONE_MM}
    alike = ("air", "lung", "fat", "water", *(n for n in names if n.startswith("schneider_")))
    grids = []
    others = [n for n in names if n not in (*tissue, *bone, *alike)]
    extras: list[str | None] = [*others] or [None]
    for extra in extras:
        axes = [
            np.linspace(0, tissue[n], 21 if extra is None else 9)
            if n in tissue
            else np.linspace(0, bone[n], 11 if extra is None else 4)
            if n in bone
            else CONTRAST / each.mu_per_mm(CONTRAST_KEV) * np.array([0, 0.03, 0.1, 0.3, 1.0])
            if n == extra
            else np.zeros(1)
            for n, each in zip(names, found, strict=True)
        ]
        grids.append(np.stack([g.ravel() for g in np.meshgrid(*axes, indexing="ij")], 1))
    return np.concatenate(grids)


def fit_quadrature(
    energies_kev: Array, signal: Array, found: Sequence[Material], at_mm: Array, count: int
) -> Quadrature:
    """Return the energies that come closest to a spectrum.

    Args:
        energies_kev: Middles of the spectrum's bins [keV], ascending.
        signal: What each bin adds to the open field's signal.
        found: The materials.
        at_mm: Their thicknesses over which to fit, shape (n, materials), as `thicknesses` gives.
        count: How many energies; at most one a bin.
    """
    fit = _Fit(energies_kev, signal / signal.sum(), found, at_mm)
    if count >= np.count_nonzero(signal):
        kept = signal > 0
        return Quadrature(
            energies_kev=energies_kev[kept],
            weights=signal[kept] / signal.sum(),
            worst_error=0.0,
        )
    rough = fit.solve(np.stack(fit.starts(count)), np.ones((1, len(at_mm))), ROUGH_STEPS)
    leading = np.argsort(np.square(fit.residuals(rough)).sum(axis=1), kind="stable")[:KEPT]
    errors, refined = fit.refine(rough[leading])
    best = errors.argmin()
    nodes, weights = fit.unpack(refined[best])
    order = np.argsort(nodes)
    return Quadrature(
        energies_kev=nodes[order], weights=weights[order], worst_error=float(errors[best])
    )


class _Fit:
    """Residuals of quadratures over the thicknesses, relative to the whole spectrum.

    Parameters of S quadratures of n energies are an array (S, 2 n): logarithms of energies [keV],
    and of weights but for a common factor. All are fitted at once, each by its own steps.
    """

    def __init__(
        self, energies_kev: Array, share: Array, found: Sequence[Material], at_mm: Array
    ) -> None:
        self._energies, self._share, self._at_mm = energies_kev, share, at_mm
        mu = np.stack([each.mu_per_mm(energies_kev) for each in found], 1)
        self._exact = np.exp(-at_mm @ mu.T) @ share
        present = energies_kev[share > 0]
        self._low, self._high = present[0], present[-1]
        self._grid = np.linspace(self._low, self._high, 2048)
        self._mu = np.stack([each.mu_per_mm(self._grid) for each in found])
        self._step = self._grid[1] - self._grid[0]

    def starts(self, count: int) -> list[Array]:
        """Parameters to start from: the spectrum cut into equal parts, and at absorption edges.

        A node cannot cross an edge while it is moved, so each number of nodes below is tried.
        """
        soft = material("soft_tissue").mu_per_mm(self._energies)
        spectra = [self._share * np.exp(-soft * behind) for behind in START_MM]
        whole = [self._cut(hard, (self._low, self._high), (count,)) for hard in spectra]
        edges = [edge for edge in self._edges() if LEAST < self._below(edge) < 1 - LEAST]
        split = [
            self._cut(hard, (self._low, edge, self._high), (below, count - below))
            for hard in spectra[:3]  # behind 30 cm there is little below an edge
            for edge in edges
            for below in range(1, min(count, 5))
        ]
        return whole + split

    def _below(self, energy_kev: float) -> float:
        """Share of the signal below an energy."""
        return float(self._share[self._energies < energy_kev].sum())

    def _edges(self) -> Array:
        """Where the attenuation of a material jumps up [keV]."""
        jumps = self._mu[:, 1:] > 1.2 * self._mu[:, :-1]
        return np.asarray(self._grid[1:][jumps.any(axis=0)])

    def _cut(self, hard: Array, borders: Sequence[float], counts: Sequence[int]) -> Array:
        """Equal parts of a spectrum within each stretch of energies."""
        nodes, weights = [], []
        for low, high, count in zip(borders[:-1], borders[1:], counts, strict=True):
            inside = np.where((self._energies >= low) & (self._energies <= high), hard, 0.0)
            reached = (np.cumsum(inside) - inside / 2) / inside.sum()
            ends = np.interp(np.linspace(0, 1, count + 1), reached, self._energies)
            middle = (np.arange(count) + 0.5) / count
            nodes.append(np.interp(middle, reached, self._energies))
            ends[0], ends[-1] = low, high
            weights.append(np.histogram(self._energies, ends, weights=self._share)[0])
        parts = np.maximum(np.concatenate(weights), 1e-6)
        return np.concatenate([np.log(np.concatenate(nodes)), np.log(parts)])

    def unpack(self, parameters: Array) -> tuple[Array, Array]:
        """Return energies [keV] and weights, each of shape (..., n)."""
        nodes, logits = np.split(parameters, 2, axis=-1)
        weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
        nodes = np.exp(np.clip(nodes, np.log(self._low), np.log(self._high)))
        return nodes, weights / weights.sum(axis=-1, keepdims=True)

    def residuals(self, parameters: Array) -> Array:
        """Relative error at each set of thicknesses, shape (S, thicknesses)."""
        return self._model(parameters)[0]

    def _model(self, parameters: Array) -> tuple[Array, Array]:
        """Relative errors, and their derivatives with respect to the parameters."""
        nodes, weights = self.unpack(parameters)
        place = (nodes - self._low) / self._step
        cell = np.clip(place.astype(int), 0, len(self._grid) - 2)
        before, after = (self._mu[:, at].swapaxes(0, 1) for at in (cell, cell + 1))
        rise = after - before
        mu = before + rise * (place - cell)[:, None]  # (S, materials, n)
        left = np.exp(-self._at_mm @ mu) / self._exact[:, None]
        value = (left @ weights[..., None])[..., 0]
        by_energy = -self._at_mm @ (rise * (nodes / self._step)[:, None])
        by_node = left * by_energy * weights[:, None]
        by_logit = (left - value[..., None]) * weights[:, None]
        return value - 1, np.concatenate([by_node, by_logit], axis=-1)

    def refine(self, parameters: Array) -> tuple[Array, Array]:
        """Least squares, then ever more weight where the error is large; each one's best round.

        Returns:
            Largest relative errors, shape (S,), and the parameters.
        """
        weight = np.ones((len(parameters), len(self._at_mm)))
        least, best = np.full(len(parameters), np.inf), parameters
        for _ in range(ROUNDS):
            parameters = self.solve(parameters, weight, STEPS)
            error = np.abs(self.residuals(parameters))
            better = error.max(axis=1) < least
            least = np.where(better, error.max(axis=1), least)
            best = np.where(better[:, None], parameters, best)
            mean = np.maximum(error.mean(axis=1, keepdims=True), 1e-15)
            weight = weight * (error / mean + 0.05)
            weight = weight / weight.mean(axis=1, keepdims=True)
        return least, best

    def solve(self, parameters: Array, weight: Array, steps: int) -> Array:
        """Levenberg and Marquardt's way down the weighted sums of squares, each start's own."""
        found = parameters.copy()
        weight = np.broadcast_to(weight, (len(found), weight.shape[1]))
        going = np.arange(len(found))
        damping = np.full(len(found), 1e-3)
        value, slope = self._model(found)
        for _ in range(steps):
            change = _marquardt_step(value, slope, weight, damping)
            moved = found[going] + np.clip(change, -0.5, 0.5)
            new_value, new_slope = self._model(moved)
            better = _weighted(weight, new_value) < _weighted(weight, value)
            found[going[better]] = moved[better]
            value[better], slope[better] = new_value[better], new_slope[better]
            damping = np.where(better, np.maximum(damping / 4, 1e-9), damping * 5)
            on = (damping <= 1e6) & (np.abs(change).max(axis=1) >= 1e-9)
            if not on.all():
                going, value, slope = going[on], value[on], slope[on]
                weight, damping = weight[on], damping[on]
            if not going.size:
                break
        return found


def _weighted(weight: Array, value: Array) -> Array:
    return np.asarray((weight * value**2).sum(axis=1))


def _marquardt_step(value: Array, slope: Array, weight: Array, damping: Array) -> Array:
    """What each of S problems moves by, shape (S, parameters)."""
    turned = slope.swapaxes(1, 2)
    pull = turned @ (weight * value)[..., None]
    square = turned @ (weight[..., None] * slope)
    diagonal = np.einsum("sii->si", square)
    floor = 1e-12 * diagonal.sum(axis=1, keepdims=True) + 1e-30  # 0 where all attenuate alike
    diagonal += damping[:, None] * diagonal + floor
    return np.asarray(np.linalg.solve(square, -pull)[..., 0])

"""Is the pose to be believed?

A wrong pose can have a high correlation over the whole image: two chests are alike at large. What
it cannot have is fine structure that agrees nearly everywhere. So the rendered image and the
target are band-passed and compared tile by tile; the median of the tiles' correlations is the
agreement. It ignores gain, offset, slow shading, and tools that cover less than half of the tiles.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fluoro.names import DEGREES_OF_FREEDOM
from fluoro.registration.measures.tile_normalisation import Standardiser, Tiles
from fluoro.registration.rigid_motion import moved_view
from fluoro.registration.search.optimisers import Bounds, Trace
from fluoro.registration.search.pose_problem import PoseProblem, ViewTask

__all__ = ["Acceptance", "agreement", "assess", "least_agreement"]

Array = NDArray[np.float64]

FINE_SIGMA_PX, COARSE_SIGMA_PX = 1.0, 6.0
"""The band that is compared: finer is noise, coarser is what all chests share."""
TILE_PX = 16
"""Edge of the tiles; each overlaps the next by half."""
LEAST_STRUCTURE = 0.2
"""A tile counts if the rendered band's deviation there is at least this share of the median."""
LEAST_TILES = 12
"""Fewer tiles cannot be assessed."""
LEAST_COVER = 0.5
"""Share of a tile's pixels that must be in the mask."""


@dataclass(frozen=True, kw_only=True)
class Acceptance:
    """Whether to believe a pose.

    Attributes:
        converged: So or not.
        reason: One line that names what decided.
        evidence: Figures by name.
    """

    converged: bool
    reason: str
    evidence: dict[str, float]


def assess(problem: PoseProblem, trace: Trace, bounds: Bounds, least: float) -> Acceptance:
    """Assess where an optimiser ended.

    Args:
        problem: On the last level.
        trace: How the optimiser ended.
        bounds: Of the parameters.
        least: Least median correlation of the tiles, in each view.
    """
    evidence = {"cost": trace.cost}
    failure = _failure(problem, trace, bounds)
    if trace.stop in ("small step", "no descent", "iterations"):
        found = agreements(problem, trace.point)
        evidence["agreement"] = min(value for value, _ in found)
        evidence["tiles"] = float(min(count for _, count in found))
        doubt = _disagreement(evidence["agreement"], evidence["tiles"], least)
        failure = "; ".join(filter(None, (doubt, failure))) or None
    if failure is not None:
        return Acceptance(converged=False, reason=failure, evidence=evidence)
    reason = f"{trace.stop}; fine structure agrees (median tile NCC {evidence['agreement']:.2f})"
    return Acceptance(converged=True, reason=reason, evidence=evidence)


def _failure(problem: PoseProblem, trace: Trace, bounds: Bounds) -> str | None:
    if trace.stop == "singular normal matrix":
        return "singular normal matrix: the rendered image does not tell the pose"
    if trace.stop == "not finite":
        return "the cost is not finite"
    at_bound = (trace.point <= bounds.lower) | (trace.point >= bounds.upper)
    if at_bound.any():
        free = np.flatnonzero(problem.parameters.free)
        names = [DEGREES_OF_FREEDOM[free[k]] for k in np.flatnonzero(at_bound)]
        return f"ended at the bound of {', '.join(names)}"
    if trace.stop == "iterations":
        return f"still moving after {trace.iterations} iterations"
    return None


def _disagreement(found: float, tiles: float, least: float) -> str | None:
    if tiles < LEAST_TILES:
        return f"too little structure to assess: {tiles:.0f} tiles, at least {LEAST_TILES} needed"
    if found < least:
        return (
            f"the target does not show the anatomy at this pose: median tile NCC {found:.2f}, "
            f"at least {least:.2f} needed"
        )
    return None


def least_agreement(problem: PoseProblem, point: Array) -> float:
    """The worst view's agreement at some parameters [mm]."""
    return min(value for value, _ in agreements(problem, point))


def agreements(problem: PoseProblem, point: Array) -> list[tuple[float, int]]:
    """Each view's agreement and number of tiles at some parameters [mm]."""
    return [_agreement(problem, task, point) for task in problem.tasks]


def _agreement(problem: PoseProblem, task: ViewTask, point: Array) -> tuple[float, int]:
    view = moved_view(task.view, problem.parameters.motion(point))
    image = task.renderer.device.to_host(task.renderer.render(view))
    return agreement(image, task.measure.target, task.measure.mask)


def agreement(
    image: NDArray[np.float32], target: NDArray[np.float32], mask: NDArray[np.bool_]
) -> tuple[float, int]:
    """Median correlation of band-passed tiles, -1 to 1, and of how many.

    Args:
        image: Rendered, shape (height, width).
        target: Attenuation-like, same shape.
        mask: Pixels that count, same shape.
    """
    bands = [_band(np.asarray(values, float), mask) for values in (image, target)]
    correlations, deviations = [], []
    for tiles in Tiles.halfway(mask, TILE_PX):
        rendered, seen = (Standardiser(tiles, floor=0.0).apply(band).score for band in bands)
        area = TILE_PX * TILE_PX
        covered = (tiles.count >= LEAST_COVER * area).reshape(-1)
        product = tiles.mean(tiles.cut(rendered * seen)).reshape(-1)
        square = tiles.mean(tiles.cut(bands[0] ** 2)).reshape(-1)
        correlations.append(product[covered])
        deviations.append(np.sqrt(square[covered]))
    values, spread = np.concatenate(correlations), np.concatenate(deviations)
    if spread.size == 0 or not spread.any():
        return 0.0, 0
    structured = spread >= LEAST_STRUCTURE * np.median(spread)
    return float(np.median(values[structured])), int(structured.sum())


def _band(image: Array, mask: NDArray[np.bool_]) -> Array:
    """Difference of two Gaussian means over the pixels that count; 0 elsewhere."""
    from scipy.ndimage import gaussian_filter

    weight = mask.astype(float)
    fine, coarse = (
        gaussian_filter(image * weight, sigma) / np.maximum(gaussian_filter(weight, sigma), 1e-6)
        for sigma in (FINE_SIGMA_PX, COARSE_SIGMA_PX)
    )
    return np.asarray((fine - coarse) * weight)

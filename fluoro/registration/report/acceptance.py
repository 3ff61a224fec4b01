"""Is the pose to be believed?

A wrong pose can have a high correlation over the whole image: two chests are alike at large. What
it cannot have is fine structure that agrees nearly everywhere. So the rendered image and the
target are band-passed and compared tile by tile; the median of the tiles' correlations is the
agreement. It ignores gain, offset, slow shading, and tools that cover less than half of the tiles.

What agrees so far is explained once more with the C-arm's lengths free (`search/uncertainty.py`).
A pose is not believed where structure is left that no noise explains, where the image would have
the lengths otherwise than they are stated, or where pose or lengths are not told well enough.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from fluoro.names import DEGREES_OF_FREEDOM
from fluoro.registration.measures.metrics import cube_corners_xyz_mm
from fluoro.registration.measures.tile_fit import fit_tiles
from fluoro.registration.measures.tile_normalisation import Tiles, Trend
from fluoro.registration.next_steps import NEXT_STEPS, Cause
from fluoro.registration.rigid_motion import view_axes
from fluoro.registration.search.optimisers import Bounds, Trace
from fluoro.registration.search.pose_problem import PoseProblem
from fluoro.registration.search.uncertainty import PoseFit, ViewFit

__all__ = [
    "Acceptance",
    "agreement",
    "assess",
    "assess_fit",
    "confidence_terms",
    "fits_as_well",
    "least_agreement",
]

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
FLAT = 1e-12
"""Variance of a band below which a tile has no structure to compare."""

SURPRISE_CAP = 40.0
CONFIDENCE = (5.36, -3.42, -0.98, -0.2)
"""Of a logistic function of 1, a tenth of the surprise, the logarithm of the unexplained share and
the disagreement: `benchmarks/verdict.py --fit` on 303 cases of seeds 50 to 57."""
MOST_UNEXPLAINED, MOST_UNEXPLAINED_IN_DOUBT, CLEAR_AGREEMENT = 0.05, 0.015, 0.92
"""Largest share of the target's structure that a right pose leaves, the same where the agreement is
not clear, and from where on it is. A spectrum leaves some of it at the right pose too."""
MOST_UNEXPLAINED_BY_LENGTHS = 0.15
"""Of an image whose C-arm has other lengths; those that are 20 % off leave at most 0.03."""
MOST_SURPRISE = 12.5
"""Of the image with the stated lengths: chi squared of 3, 99.4 %. Of 600 right cases eight have
more; of 216 principal points 3 to 10 pixels off one has less, 8.1, and the next ones 12.8 and 15.4
(benchmarks/verdict.py, seeds 70, 80 to 83 and 90)."""
STARTS_DO_NOT_HELP: tuple[Cause, ...] = ("scale", "principal point", "uncertain")
"""Causes by which a pose is not believed that is the right one but for the C-arm's lengths."""
OF_LENGTHS = ("surprise", "in_plane_mm", "along_beam_mm", "principal_point_mm")
"""Figures that the test of the C-arm's lengths finds."""
MOST_IN_PLANE_MM, MOST_ALONG_BEAM_MM = 1.0, 2.5
"""Standard deviations that a believed pose may have: half of the errors that count as wrong."""


@dataclass(frozen=True, kw_only=True)
class Acceptance:
    """Whether to believe a pose.

    Attributes:
        converged: So or not.
        reason: One line that names what decided.
        evidence: Figures by name.
        cause: What decided against it; None: nothing.
        confidence: Probability that the pose is right, 0 to 1.
    """

    converged: bool
    reason: str
    evidence: dict[str, float]
    cause: Cause | None = None
    confidence: float = 0.0

    @property
    def next_step(self) -> str:
        """What to try, one clause; empty where the pose is believed."""
        return NEXT_STEPS[self.cause] if self.cause else ""

    @property
    def is_final(self) -> bool:
        """Whether the pose is right, believed or but for the C-arm's lengths: no start helps."""
        return self.converged or self.cause in STARTS_DO_NOT_HELP

    def with_lengths_of(self, tested: Acceptance) -> Acceptance:
        """Return the same, whose lengths were last tested in another image of the C-arm."""
        known = {name: tested.evidence[name] for name in OF_LENGTHS if name in tested.evidence}
        evidence = known | self.evidence
        return replace(self, evidence=evidence, confidence=confidence(evidence))

    def refused(self, cause: Cause, reason: str) -> Acceptance:
        """Return the same, not believed for another cause."""
        return replace(self, converged=False, cause=cause, reason=reason, confidence=0.0)


def assess(problem: PoseProblem, trace: Trace, bounds: Bounds, least: float) -> Acceptance:
    """Assess where an optimiser ended.

    Args:
        problem: On the last level.
        trace: How the optimiser ended.
        bounds: Of the parameters.
        least: Least median correlation of the tiles, in each view.
    """
    evidence = {"cost": trace.cost}
    failures = [_failure(problem, trace, bounds)]
    if trace.stop in ("small step", "no descent", "iterations"):
        evidence |= _likeness(problem, trace.point)
        failures.insert(0, _disagreement(evidence, least))
    known = [failure for failure in failures if failure]
    if known:
        return _refused(evidence, known[0][0], "; ".join(text for _, text in known))
    reason = f"{trace.stop}; fine structure agrees (median tile NCC {evidence['agreement']:.2f})"
    return Acceptance(converged=True, reason=reason, evidence=evidence)


def assess_fit(accepted: Acceptance, fit: PoseFit | None, problem: PoseProblem) -> Acceptance:
    """Assess a pose that `assess` accepts by what is left of the targets, and by their lengths.

    Args:
        accepted: What `assess` says.
        fit: The targets, explained once more; None: only what is left counts.
        problem: That of the fit.
    """
    evidence, left = dict(accepted.evidence), _left(accepted.evidence)
    doubts = [left]
    if fit:
        plane_mm, beam_mm = _errors_mm(fit, problem)
        evidence["surprise"] = max(view.surprise for view in fit.views)
        evidence |= {"in_plane_mm": plane_mm, "along_beam_mm": beam_mm}
        evidence["principal_point_mm"] = max(_principal_point_mm(view) for view in fit.views)
        by_lengths = evidence["unexplained"] <= MOST_UNEXPLAINED_BY_LENGTHS
        causes = [_other_lengths(fit), left] if by_lengths else [left]
        doubts = [*causes, _too_little_told(plane_mm, beam_mm)]
    for doubt in filter(None, doubts):
        return _refused(evidence, *doubt)
    return replace(accepted, evidence=evidence, confidence=confidence(evidence))


def fits_as_well(other: Acceptance, stated: Acceptance, least: float) -> bool:
    """Return whether another reading of the image speaks against the stated one.

    Against a believed pose it must agree as well only. Where no pose is believed it is a hint what
    to try, and must itself be believed, or but for the C-arm's lengths.

    Args:
        other: Of the image mirrored, inverted or turned.
        stated: Of the image as it is.
        least: Least agreement of a believed pose.
    """
    found, needed = (each.evidence.get("agreement", -1.0) for each in (other, stated))
    return found >= max(needed, least) and (stated.converged or other.is_final)


def _refused(evidence: dict[str, float], cause: Cause, reason: str) -> Acceptance:
    return Acceptance(
        converged=False,
        reason=reason,
        evidence=evidence,
        cause=cause,
        confidence=confidence(evidence),
    )


def _left(evidence: dict[str, float]) -> tuple[Cause, str] | None:
    """More structure than a right pose leaves."""
    clear = evidence["agreement"] >= CLEAR_AGREEMENT
    found = evidence["unexplained"]
    if found <= (MOST_UNEXPLAINED if clear else MOST_UNEXPLAINED_IN_DOUBT):
        return None
    return "unexplained", f"{found:.1%} of the image's structure is left unexplained"


def _too_little_told(plane_mm: float, beam_mm: float) -> tuple[Cause, str] | None:
    """Deviations that may hide an error that counts as wrong."""
    if plane_mm <= MOST_IN_PLANE_MM and beam_mm <= MOST_ALONG_BEAM_MM:
        return None
    return "uncertain", (
        f"the image tells the pose to {plane_mm:.1f} mm in its plane and {beam_mm:.1f} mm "
        f"along the beam only (standard deviations)"
    )


def _other_lengths(fit: PoseFit) -> tuple[Cause, str] | None:
    """The length that an image would have otherwise, by the larger of two surprises."""
    view = max(fit.views, key=lambda each: each.surprise)
    if view.surprise <= MOST_SURPRISE:
        return None
    u_mm, v_mm, share = view.lengths
    sigmas = np.sqrt(np.diag(view.lengths_covariance))
    if abs(share) / sigmas[2] > np.hypot(u_mm / sigmas[0], v_mm / sigmas[1]):
        return "scale", (
            f"distance or pixel size? The image fits with carm.pixel_spacing_mm x {1 + share:.3f} "
            f"or carm.source_to_detector_mm x {1 / (1 + share):.3f} (first estimate)"
        )
    return "principal point", (
        f"principal point? The image fits with carm.detector_offset_mm changed by "
        f"[{u_mm:.1f}, {v_mm:.1f}] (first estimate)"
    )


def _principal_point_mm(view: ViewFit) -> float:
    """Standard deviation of the principal point by the image alone, in the worse direction."""
    return float(np.sqrt(np.linalg.eigvalsh(view.lengths_covariance[:2, :2])[-1]))


def _errors_mm(fit: PoseFit, problem: PoseProblem) -> tuple[float, float]:
    """Expected error of the 120 mm cube's corners in the first view's plane and along its beam."""
    axes = view_axes(problem.tasks[0].view)
    total = np.zeros((3, 3))
    corners = cube_corners_xyz_mm(np.zeros(3))
    for x, y, z in corners:
        turned = np.array([[0, z, -y], [-z, 0, x], [y, -x, 0]])  # omega x p
        rows = axes.T @ np.concatenate([turned, np.eye(3)], axis=1)
        total += rows @ fit.covariance @ rows.T / len(corners)
    variances = np.maximum(np.diag(total), 0.0)  # rounding, where a degree of freedom is fixed
    return float(np.sqrt(variances[0] + variances[1])), float(np.sqrt(variances[2]))


def confidence(evidence: dict[str, float]) -> float:
    """Probability that a pose with this evidence is right, 0 to 1."""
    logit = float(np.array(CONFIDENCE) @ confidence_terms(evidence))
    return float(1 / (1 + np.exp(-np.clip(logit, -30, 30))))


def confidence_terms(evidence: dict[str, float]) -> Array:
    """Return what the logistic regression of the confidence is linear in, shape (4,)."""
    return np.array(
        [
            1.0,
            min(evidence.get("surprise", SURPRISE_CAP), SURPRISE_CAP) / 10,
            np.log10(max(evidence.get("unexplained", 1.0), 1e-3)) + 3.0,
            1.0 - evidence.get("agreement", -1.0),
        ]
    )


def _failure(problem: PoseProblem, trace: Trace, bounds: Bounds) -> tuple[Cause, str] | None:
    if trace.stop == "singular normal matrix":
        return "singular", "singular normal matrix: the rendered image does not tell the pose"
    if trace.stop == "not finite":
        return "singular", "the cost is not finite"
    at_bound = (trace.point <= bounds.lower) | (trace.point >= bounds.upper)
    if at_bound.any():
        free = np.flatnonzero(problem.parameters.free)
        names = [DEGREES_OF_FREEDOM[free[k]] for k in np.flatnonzero(at_bound)]
        return "bound", f"ended at the bound of {', '.join(names)}"
    if trace.stop == "iterations":
        return "moving", f"still moving after {trace.iterations} iterations"
    return None


def _likeness(problem: PoseProblem, point: Array) -> dict[str, float]:
    """How the targets agree with the images at the parameters [mm]: the worst view's figures."""
    measures = [task.measure for task in problem.tasks]
    pairs = list(zip(problem.images(point), measures, strict=True))
    found = [agreement(image, m.target, m.mask) for image, m in pairs]
    return {
        "agreement": min(value for value, _ in found),
        "tiles": float(min(count for _, count in found)),
        "unexplained": max(fit_tiles(image, m.target, m.mask).unexplained for image, m in pairs),
    }


def _disagreement(evidence: dict[str, float], least: float) -> tuple[Cause, str] | None:
    found, tiles = evidence["agreement"], evidence["tiles"]
    if tiles < LEAST_TILES:
        return "structure", (
            f"too little structure to assess: {tiles:.0f} tiles, at least {LEAST_TILES} needed"
        )
    if found < least:
        return "disagrees", (
            f"the target does not show the anatomy at this pose: median tile NCC {found:.2f}, "
            f"at least {least:.2f} needed"
        )
    return None


def least_agreement(problem: PoseProblem, point: Array) -> float:
    """Return the worst view's agreement at some parameters [mm]."""
    pairs = zip(problem.tasks, problem.images(point), strict=True)
    return min(agreement(i, task.measure.target, task.measure.mask)[0] for task, i in pairs)


def agreement(
    image: NDArray[np.float32], target: NDArray[np.float32], mask: NDArray[np.bool_]
) -> tuple[float, int]:
    """Return the median correlation of band-passed tiles, -1 to 1, and of how many.

    Args:
        image: Rendered, shape (height, width).
        target: Attenuation-like, same shape.
        mask: Pixels that count, same shape.
    """
    bands = _bands(np.stack([image, target]).astype(float), mask)
    correlations, deviations = [], []
    for tiles in Tiles.halfway(mask, TILE_PX):
        cut = tiles.cut(bands)
        rendered, seen = Trend(tiles, planes=False).removed(cut)
        covered = tiles.count >= LEAST_COVER * TILE_PX * TILE_PX
        sizes = np.sqrt(tiles.mean(rendered**2) * tiles.mean(seen**2))
        product = tiles.mean_product(rendered, seen)
        correlation = np.divide(product, sizes, out=np.zeros_like(sizes), where=sizes > FLAT)
        correlations.append(correlation[covered])
        deviations.append(np.sqrt(tiles.mean(cut[0] ** 2))[covered])
    values, spread = np.concatenate(correlations), np.concatenate(deviations)
    if spread.size == 0 or not spread.any():
        return 0.0, 0
    structured = spread >= LEAST_STRUCTURE * np.median(spread)
    return float(np.median(values[structured])), int(structured.sum())


def _bands(images: Array, mask: NDArray[np.bool_]) -> Array:
    """Difference of two Gaussian means over the pixels that count; 0 elsewhere; (N, H, W)."""
    weight = mask.astype(float)
    planes = np.concatenate([images * weight, weight[None]])
    fine, coarse = (_blurred(planes, sigma_px) for sigma_px in (FINE_SIGMA_PX, COARSE_SIGMA_PX))
    means = [each[:-1] / np.maximum(each[-1], 1e-6) for each in (fine, coarse)]
    return np.asarray((means[0] - means[1]) * weight)


def _blurred(images: Array, sigma_px: float) -> Array:
    """Images, (N, H, W), under a Gaussian."""
    down, along = (_gaussian(count, sigma_px) for count in images.shape[1:])
    return np.asarray(down @ images @ along.T)


@lru_cache(maxsize=16)
def _gaussian(count: int, sigma_px: float) -> Array:
    """The matrix that blurs a line of `count` pixels: faster than a filter for so few."""
    from scipy.ndimage import gaussian_filter1d

    return np.asarray(gaussian_filter1d(np.eye(count), sigma_px, axis=0))

"""How well a pose is known, with a C-arm whose lengths are known only so well.

At the pose that the search has found the target is explained once more, tile by tile
(`measures/tile_fit.py`), by the pose, by the C-arm's lengths and by a blur together. From that
follows by how much the image would have the lengths otherwise. The last step of the pose is that of
the lengths as stated, unless the image is significantly against them; its covariance has the
lengths' tolerance in it. The rendered image is blurred and sharpened first as the target is: what
either leaves at edges would displace lengths and pose. Where the image would have the lengths
otherwise, it is looked at again: with gain and scatter that may slope within a tile, as heel and
scatter make them, and once more at the lengths that were found.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fluoro.geometry.projection import View
from fluoro.names import DEGREES_OF_FREEDOM
from fluoro.registration.measures.sharpness import as_sharp, measure_sharpness
from fluoro.registration.measures.tile_fit import TileFit, blur_derivative, fit_tiles
from fluoro.registration.rigid_motion import motion_about, moved_view, view_axes
from fluoro.registration.search.lengths import (
    LengthTolerance,
    length_derivatives,
    with_lengths,
)
from fluoro.registration.search.optimisers import is_singular
from fluoro.registration.search.pose_problem import PoseProblem, ViewTask

__all__ = ["PoseFit", "ViewFit", "axis_sigma", "fit_pose", "likely_lengths"]

Array = NDArray[np.float64]

LENGTHS_INFLATION, POSE_INFLATION = 1.2, 1.8
"""Of variances beyond the correlation of neighbouring residuals: what the model of a tile leaves,
and of the pose that it is one step from another measure's optimum. Of 108 right cases of
benchmarks/verdict.py, seeds 50 to 52: the first by maximum likelihood together with `MODEL`, the
second so that the pose's errors have the size that is stated."""
UNKNOWN = np.array([100.0, 100.0, 1.0])
"""Of the lengths, where an image alone determines them [mm, mm, 1]: they stay finite."""
UNKNOWN_BLUR_PX2 = 10.0
MODEL = np.array([0.4, 0.4, 7e-4])
"""Standard deviations of the lengths of an image that is right in all, beyond noise: voxels and
tiles leave so much [mm, mm, 1]. Measured as the inflation above."""
SIGNIFICANT = 11.3
"""Squared distance of the image's lengths from the stated ones, in standard deviations of the image
alone, from which on the pose goes with other lengths: chi squared of 3, 99 %."""
LINEAR = 4.6
"""From this surprise on an image is looked at again: one right one in five (chi squared of 3)."""
NEIGHBOURS = 4
"""Of a pixel; their correlation makes pixels count for fewer."""
BLURRED_NOISE, STRUCTURE = 0.25, 40.0
"""Correlation of neighbours up to which it is noise, blurred by the detector. Beyond, structure is
left that reaches over a tile, as of a spectrum, and pixels count for fewer still."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ViewFit:
    """What one image says.

    Attributes:
        image: Rendered at the pose, shape (height, width).
        tiles: The target's fit; its rows are those of the pose's free parameters, of the lengths
            and of the blur, each as sharp as the target.
        lengths: By how much the image would have the C-arm's lengths otherwise: shift of the
            principal point along columns and rows [mm], share of pitch over distance; (3,).
        lengths_covariance: Of that, by the image alone, (3, 3).
        surprise: Squared distance of `lengths` from 0 in standard deviations of image and
            tolerance together; of a right C-arm about 3, seldom above 12 (chi squared of 3).
    """

    image: NDArray[np.float32]
    tiles: TileFit
    lengths: Array
    lengths_covariance: Array
    surprise: float


@dataclass(frozen=True, kw_only=True, eq=False)
class PoseFit:
    """What all images say of the pose.

    Attributes:
        step: To the most likely parameters [mm], shape (free,); 0 where the pose is not told.
        covariance: Of the left world twist [rad, mm] about the centre, shape (6, 6): 0 along what
            is fixed; all nan where the images do not tell the pose.
        views: One an image.
    """

    step: Array
    covariance: Array
    views: tuple[ViewFit, ...]


def fit_pose(problem: PoseProblem, point: Array, tolerances: Sequence[LengthTolerance]) -> PoseFit:
    """Explain the targets once more at the parameters [mm] that a search has found.

    Args:
        problem: Targets and how they are compared.
        point: The parameters.
        tolerances: How well each view's lengths are known.
    """
    motion = problem.parameters.motion(point)
    change = problem.parameters.left_twist_from_steps(point)
    normal, spread = np.zeros((2, change.shape[1], change.shape[1]))
    gradient = np.zeros(change.shape[1])
    views = []
    for task, tolerance in zip(problem.tasks, tolerances, strict=True):
        fit = _view_fit(problem, task, motion, change, tolerance)
        views.append(fit)
        matrix, vector, variance = _pose_alone(fit, tolerance)
        normal, gradient, spread = normal + matrix, gradient + vector, spread + variance
    if is_singular(normal):
        nothing = np.zeros(change.shape[1])
        return PoseFit(step=nothing, covariance=np.full((6, 6), np.nan), views=tuple(views))
    inverse = np.linalg.inv(normal)
    beam = view_axes(moved_view(problem.tasks[0].view, motion))[:, 2]
    covariance = change @ inverse @ spread @ inverse @ change.T
    if problem.parameters.free[DEGREES_OF_FREEDOM.index("shift_beam")]:
        covariance[3:, 3:] += np.outer(beam, beam) * tolerances[0].isocenter_mm ** 2
    return PoseFit(
        step=np.asarray(inverse @ gradient, float),
        covariance=covariance,
        views=tuple(views),
    )


def _view_fit(
    problem: PoseProblem, task: ViewTask, motion: Array, change: Array, tolerance: LengthTolerance
) -> ViewFit:
    view = moved_view(task.view, motion)
    here = _rendered(problem, task, view, change)
    fit = _fit_of(*here, task, tolerance)
    if fit.surprise < LINEAR:
        return fit
    best = _looked_at_again(problem, task, view, change, tolerance, here)
    return replace(
        fit,
        lengths=best.lengths,
        lengths_covariance=best.lengths_covariance,
        surprise=best.surprise,
    )


def _looked_at_again(
    problem: PoseProblem,
    task: ViewTask,
    view: View,
    change: Array,
    tolerance: LengthTolerance,
    here: tuple[NDArray[np.float32], NDArray[Any]],
) -> ViewFit:
    """With gain and scatter that slope within a tile; from there, or where that has the lengths."""
    once = _fit_of(*here, task, tolerance, sloping=True)
    twist = change @ _most_likely(once.tiles)[0][: change.shape[1]]
    further = motion_about(twist, problem.parameters.center_xyz_mm)
    nearer = with_lengths(moved_view(view, further), once.lengths)
    there = _rendered(problem, task, nearer, change)
    again = _fit_of(*there, task, tolerance, sloping=True, taken=once.lengths)
    # where it explains less, one step was too far
    return again if again.tiles.whiteness <= once.tiles.whiteness else once


def _rendered(
    problem: PoseProblem, task: ViewTask, view: View, change: Array
) -> tuple[NDArray[np.float32], NDArray[Any]]:
    """Image at a view; its derivatives with respect to the pose's parameters and the lengths."""
    center = problem.parameters.center_xyz_mm
    pair = task.renderer.render_jacobian(view, center)
    image, jacobian = (task.renderer.device.to_host(array) for array in pair)
    pose = np.tensordot(change.T.astype(np.float32), jacobian, axes=1)
    return image, np.concatenate([pose, length_derivatives(view, jacobian, center)])


def _fit_of(
    image: NDArray[np.float32],
    derivatives: NDArray[Any],
    task: ViewTask,
    tolerance: LengthTolerance,
    *,
    sloping: bool = False,
    taken: ArrayLike = 0.0,
) -> ViewFit:
    """The fit of an image for which some change of the lengths is taken already."""
    target, mask = task.measure.target, task.measure.mask
    tiles = _fit_as_sharp(image, target, mask, derivatives, sloping)
    step, inverse = _most_likely(tiles)
    lengths = step[-4:-1] + np.asarray(taken, float)
    covariance = np.asarray(inverse[-4:-1, -4:-1], float)
    spread = covariance + np.diag(np.array(tolerance.lengths) ** 2 + MODEL**2)
    return ViewFit(
        image=image,
        tiles=tiles,
        lengths=lengths,
        lengths_covariance=covariance,
        surprise=float(lengths @ np.linalg.solve(spread, lengths)),
    )


def _fit_as_sharp(
    image: NDArray[Any],
    target: NDArray[Any],
    mask: NDArray[np.bool_],
    derivatives: NDArray[Any],
    sloping: bool,
) -> TileFit:
    """Fit with image and derivatives as sharp as the target; the last row is more blur."""
    sharpness = measure_sharpness(image, target, mask, sloping=sloping)
    sharp, rows = as_sharp(image, derivatives, sharpness)
    rows = np.concatenate([rows, blur_derivative(sharp)[None]])
    return fit_tiles(sharp, target, mask, rows, sloping=sloping)


def _scale(tiles: TileFit, inflation: float) -> float:
    """By which the normal matrix counts too much."""
    rho = max(tiles.whiteness, 0.0)
    return inflation * (1 + NEIGHBOURS * rho + STRUCTURE * max(rho - BLURRED_NOISE, 0.0))


def _most_likely(tiles: TileFit) -> tuple[Array, Array]:
    """Pose, lengths and blur that the image alone would have, and their covariance."""
    scale = _scale(tiles, LENGTHS_INFLATION)
    normal = tiles.normal / scale
    free = len(normal) - 4
    prior = np.zeros(len(normal))
    prior[:free] = 1e-6 * np.maximum(np.diag(normal)[:free], 1e-20)
    prior[free:] = [*(1 / UNKNOWN**2), 1 / UNKNOWN_BLUR_PX2**2]
    inverse = np.asarray(np.linalg.inv(normal + np.diag(prior)), float)
    return np.asarray(inverse @ tiles.gradient / scale, float), inverse


def _pose_alone(fit: ViewFit, tolerance: LengthTolerance) -> tuple[Array, Array, Array]:
    """Of the pose's free parameters: normal matrix, gradient and the gradient's covariance."""
    scale = _scale(fit.tiles, POSE_INFLATION)
    normal, gradient = fit.tiles.normal / scale, fit.tiles.gradient / scale
    blur = normal[:-1, -1] / (normal[-1, -1] + 1 / UNKNOWN_BLUR_PX2**2)
    matrix = normal[:-1, :-1] - np.outer(blur, normal[-1, :-1])
    vector = gradient[:-1] - blur * gradient[-1]
    free = len(vector) - 3
    pose, by_length = matrix[:free, :free], matrix[:free, free:]
    lengths, moment = likely_lengths(fit, tolerance)
    return pose, vector[:free] - by_length @ lengths, pose + by_length @ moment @ by_length.T


def likely_lengths(fit: ViewFit, tolerance: LengthTolerance) -> tuple[Array, Array]:
    """Return the lengths that the pose goes with, and how far the true ones may be from them.

    Args:
        fit: What the image says.
        tolerance: How well the lengths are known.

    Returns:
        The lengths as differences from the stated ones, shape (3,) [mm, mm, 1], and the mean
        square of the true ones about them, shape (3, 3).
    """
    known, found = np.diag(np.square(tolerance.lengths)), fit.lengths
    image = fit.lengths_covariance + np.diag(MODEL**2)
    share = known @ np.linalg.inv(known + image)
    likely, left = share @ found, known - share @ known
    if found @ np.linalg.solve(image, found) >= SIGNIFICANT:
        return likely, left
    return np.zeros(3), left + np.outer(likely, likely)


def axis_sigma(problem: PoseProblem, point: Array, covariance: Array) -> Array:
    """Standard deviations along the first view's axes at `point`: turns [rad], shifts [mm]."""
    axes = view_axes(moved_view(problem.tasks[0].view, problem.parameters.motion(point)))
    variances = [axes.T @ covariance[part, part] @ axes for part in (slice(3), slice(3, 6))]
    diagonal = np.concatenate([np.diag(variance) for variance in variances])
    return np.asarray(np.sqrt(np.maximum(diagonal, 0.0)))

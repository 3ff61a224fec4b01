"""How well a pose is known: residual variance times the inverse normal matrix."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluoro.registration.rigid_motion import moved_view, view_axes
from fluoro.registration.search.optimisers import is_singular
from fluoro.registration.search.pose_problem import PoseProblem, ViewTask

__all__ = ["axis_sigma", "pose_covariance"]

Array = NDArray[np.float64]

REACH_PX = 6
"""Lags up to which the residuals' autocorrelation is summed."""


def pose_covariance(problem: PoseProblem, point: Array) -> Array:
    """Covariance of the left world twist [rad, mm] about the centre, shape (6, 6).

    The target is explained as gain x rendered image + offset; both are fitted, and the pose's
    derivatives are taken orthogonal to them. Residuals that are alike in neighbouring pixels
    count for fewer: the variance is raised by the sum of their autocorrelation.

    Returns:
        0 along what is fixed; all nan where the normal matrix is singular.
    """
    motion, change = (
        problem.parameters.motion(point),
        problem.parameters.left_twist_from_steps(point),
    )
    normal = np.zeros((change.shape[1], change.shape[1]))
    for task in problem.tasks:
        view = moved_view(task.view, motion)
        pair = task.renderer.render_jacobian(view, problem.parameters.center_xyz_mm)
        image, jacobian = (task.renderer.device.to_host(array) for array in pair)
        normal += change.T @ _information(task, image, jacobian) @ change
    if is_singular(normal):
        return np.full((6, 6), np.nan)
    return np.asarray(change @ np.linalg.inv(normal) @ change.T)


def _information(task: ViewTask, image: NDArray[Any], jacobian: NDArray[Any]) -> Array:
    """6x6 normal matrix of one view over its residuals' variance."""
    mask = task.measure.mask
    seen = task.measure.target[mask].astype(float)
    model = np.stack([image[mask].astype(float), np.ones(len(seen))])
    (gain, offset), *_ = np.linalg.lstsq(model.T, seen, rcond=None)
    residual = np.zeros(mask.shape)
    residual[mask] = seen - gain * model[0] - offset
    rows = gain * jacobian[:, mask].astype(float)
    rows -= np.linalg.lstsq(model.T, rows.T, rcond=None)[0].T @ model
    freedom = max(len(seen) - 8, 1)
    variance = float((residual**2).sum()) / freedom * _correlated_pixels(residual, mask)
    return np.asarray(rows @ rows.T / max(variance, 1e-30))


def _correlated_pixels(residual: Array, mask: NDArray[np.bool_]) -> float:
    """Sum of the autocorrelation over near lags, at least 1: pixels that count as one."""
    shape = tuple(size + REACH_PX for size in residual.shape)
    pairs = [np.abs(np.fft.rfft2(field, shape)) ** 2 for field in (residual, mask.astype(float))]
    products, counts = (np.fft.irfft2(power, shape) for power in pairs)
    lags = np.r_[0 : REACH_PX + 1, -REACH_PX:0]
    near = np.ix_(lags, lags)
    mean = products[near] / np.maximum(counts[near], 1.0)
    return max(1.0, float(mean.sum() / max(mean[0, 0], 1e-30)))


def axis_sigma(problem: PoseProblem, point: Array, covariance: Array) -> Array:
    """Standard deviations along the first view's axes at `point`: turns [rad], shifts [mm]."""
    axes = view_axes(moved_view(problem.tasks[0].view, problem.parameters.motion(point)))
    variances = [axes.T @ covariance[part, part] @ axes for part in (slice(3), slice(3, 6))]
    diagonal = np.concatenate([np.diag(variance) for variance in variances])
    return np.asarray(np.sqrt(np.maximum(diagonal, 0.0)))

"""Optimisers over a few parameters: Levenberg-Marquardt, Adam, L-BFGS; all with bounds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from fluoro.names import LossName
from fluoro.registration.measures.robust import weighting_for
from fluoro.registration.search.pose_problem import Linearisation

__all__ = ["Bounds", "Progress", "Stop", "Trace", "adam", "lbfgs", "levenberg_marquardt"]

Array = NDArray[np.float64]

Stop = Literal["small step", "no descent", "iterations", "singular normal matrix", "not finite"]
"""Why an optimiser stopped."""

Progress = Callable[[int, float, Array], None]
"""Told the iteration's number, the cost and the parameters."""

SINGULAR_CONDITION = 1e10
"""Condition of the normal matrix, scaled to a unit diagonal, from which it counts as singular."""
DRIFT_STEPS = 10.0
"""Adam jitters by a few times the wanted step even at rest."""
LEAST_TENTH = 3
"""Adam's progress is assessed from 30 iterations on."""
LEAST_CURVATURE = 0.25
"""Of the cost along the last step, as a share of Gauss-Newton's: no step is more than four times as
long. Noise makes it less than 1: a correlation with a noisy target is less curved."""
DAMPING_START, DAMPING_LEAST, DAMPING_MOST = 1e-3, 1e-7, 1e5


@dataclass(frozen=True, kw_only=True, eq=False)
class Bounds:
    """Box that the parameters stay in, both shape (n,) [mm]."""

    lower: Array
    upper: Array

    def clip(self, point: Array) -> Array:
        """Return the nearest point of the box."""
        return np.clip(point, self.lower, self.upper)

    def held(self, point: Array, gradient: Array) -> NDArray[np.bool_]:
        """Return parameters at a bound that descent would push across."""
        low = (point <= self.lower) & (gradient > 0)
        return np.asarray(low | ((point >= self.upper) & (gradient < 0)))


@dataclass(frozen=True, kw_only=True, eq=False)
class Trace:
    """Where an optimiser ended.

    Attributes:
        point: The parameters [mm].
        cost: There; of Levenberg-Marquardt before its last short step.
        stop: Why it stopped.
        iterations: Evaluations with derivatives.
    """

    point: Array
    cost: float
    stop: Stop
    iterations: int


class _LeastSquares(Protocol):
    def linearise(self, free_mm: Array) -> Linearisation: ...


class _Smooth(Protocol):
    def cost_and_gradient(self, free_mm: Array) -> tuple[float, Array]: ...


def _silent(_number: int, _cost: float, _point: Array) -> None:
    pass


def levenberg_marquardt(
    problem: _LeastSquares,
    start: Array,
    bounds: Bounds,
    *,
    max_iterations: int = 20,
    step_mm: float = 1e-3,
    longest_step_mm: float = np.inf,
    loss: LossName = "squares",
    progress: Progress = _silent,
) -> Trace:
    """Gauss-Newton steps with Marquardt's damping; robust losses by reweighting.

    The steps get longer by the curvature that was found along the last one. A step below `step_mm`
    is the last one: it is taken, and the cost is not computed again.

    Args:
        problem: Gives residuals and Jacobian.
        start: First parameters [mm], shape (n,).
        bounds: Box that they stay in.
        max_iterations: Evaluations, the first included.
        step_mm: Stop when a step is shorter.
        longest_step_mm: Longer steps are shortened to this.
        loss: Of the residuals.
        progress: Told of each accepted step.
    """
    search = _Marquardt(problem, bounds.clip(start), bounds, loss, longest_step_mm)
    stop: Stop = "iterations"
    for number in range(1, max_iterations + 1):
        progress(number, search.cost, search.point)
        step = search.step()
        if step is None:
            stop = search.failure
            break
        if float(np.linalg.norm(step)) < step_mm:
            stop = "small step"
            search.point = search.point + step
            break
        if number < max_iterations:
            search.advance(step)
        if search.damping > DAMPING_MOST:
            stop = "no descent"
            break
    return Trace(point=search.point, cost=search.cost, stop=stop, iterations=number)


class _Marquardt:
    """The state of one run."""

    def __init__(
        self,
        problem: _LeastSquares,
        start: Array,
        bounds: Bounds,
        loss: LossName,
        longest_step_mm: float,
    ) -> None:
        self._problem, self._bounds, self._loss = problem, bounds, loss
        self._longest_step_mm = longest_step_mm
        self.damping, self._curvature = DAMPING_START, 1.0
        self.failure: Stop = "not finite"
        self._accept(start, problem.linearise(start))

    def _accept(self, point: Array, linearisation: Linearisation) -> None:
        self.point = point
        self._weighting = weighting_for(self._loss, linearisation.residuals)
        self.cost, self._gradient, self._matrix = linearisation.normal(self._weighting)

    def step(self) -> Array | None:
        """Return the next step [mm]; None where there is none (`failure` says why)."""
        if not np.isfinite(self.cost) or not np.isfinite(self._matrix).all():
            self.failure = "not finite"
            return None
        moving = ~self._bounds.held(self.point, self._gradient)
        if is_singular(self._matrix):
            self.failure = "singular normal matrix"
            return None
        matrix = self._matrix[np.ix_(moving, moving)] * self._curvature
        matrix = matrix + self.damping * np.diag(np.diag(matrix))
        step = np.zeros_like(self.point)
        step[moving] = -np.linalg.solve(matrix, self._gradient[moving])
        length = float(np.linalg.norm(step))
        step *= min(1.0, self._longest_step_mm / max(length, 1e-30))
        return self._bounds.clip(self.point + step) - self.point

    def advance(self, step: Array) -> None:
        """Take the step if the cost falls, and measure the curvature; else damp more."""
        point = self.point + step
        trial = self._problem.linearise(point)
        cost = trial.cost(self._weighting)
        if cost <= self.cost:
            self.damping = max(self.damping / 10, DAMPING_LEAST)
            expected, before = float(step @ self._matrix @ step), self._gradient
            self._accept(point, trial)
            found = float(step @ (self._gradient - before))
            self._curvature = min(max(found / max(expected, 1e-30), LEAST_CURVATURE), 1.0)
        else:
            self.damping, self._curvature = self.damping * 10, 1.0


def is_singular(matrix: Array) -> bool:
    """Return whether a normal matrix leaves a direction undetermined, whatever the units."""
    diagonal = np.diag(matrix)
    if matrix.size == 0 or not np.isfinite(matrix).all() or (diagonal <= 0).any():
        return True
    scale = 1 / np.sqrt(diagonal)
    return bool(np.linalg.cond(matrix * np.outer(scale, scale)) > SINGULAR_CONDITION)


def adam(
    problem: _Smooth,
    start: Array,
    bounds: Bounds,
    *,
    max_iterations: int = 150,
    step_mm: float = 1e-3,
    rate_mm: float = 1.0,
    progress: Progress = _silent,
) -> Trace:
    """Adam (Kingma and Ba 2015) with a rate that falls as a cosine; keeps the best point.

    Args:
        problem: Gives cost and gradient.
        start: First parameters [mm].
        bounds: Box that they stay in.
        max_iterations: Evaluations.
        step_mm: At rest when the mean over a tenth of the path drifts less than 10 times this.
        rate_mm: Length of the first steps a parameter [mm].
        progress: Told of each evaluation.
    """
    point = bounds.clip(start)
    mean, square = np.zeros_like(point), np.zeros_like(point)
    best = Trace(point=point, cost=np.inf, stop="not finite", iterations=0)
    path = [point]
    for number in range(1, max_iterations + 1):
        cost, gradient = problem.cost_and_gradient(point)
        if not np.isfinite(cost):
            return replace(best, iterations=number)
        progress(number, cost, point)
        if cost < best.cost:
            best = Trace(point=point, cost=cost, stop="iterations", iterations=number)
        mean, square = 0.9 * mean + 0.1 * gradient, 0.99 * square + 0.01 * gradient**2
        scaled = mean / (1 - 0.9**number) / (np.sqrt(square / (1 - 0.99**number)) + 1e-12)
        rate = rate_mm * 0.5 * (1 + np.cos(np.pi * number / max_iterations))
        point = bounds.clip(point - rate * scaled)
        path.append(point)
    settled = _drift_mm(np.array(path)) < DRIFT_STEPS * step_mm
    return replace(best, stop="small step" if settled else "iterations", iterations=number)


def _drift_mm(path: Array) -> float:
    """Distance between the means of the last and the last but one tenth; inf if too few.

    The last steps are short because the rate falls, so their length would prove nothing.
    """
    tenth = len(path) // 10
    if tenth < LEAST_TENTH:
        return np.inf
    last, before = path[-tenth:].mean(axis=0), path[-2 * tenth : -tenth].mean(axis=0)
    return float(np.linalg.norm(last - before))


def lbfgs(
    problem: _Smooth,
    start: Array,
    bounds: Bounds,
    *,
    max_iterations: int = 60,
    step_mm: float = 1e-3,
    progress: Progress = _silent,
) -> Trace:
    """L-BFGS-B of scipy.

    Args:
        problem: Gives cost and gradient.
        start: First parameters [mm].
        bounds: Box that they stay in.
        max_iterations: Evaluations.
        step_mm: Stop when an iteration moves less.
        progress: Told of each evaluation.
    """
    from scipy.optimize import minimize

    search = _Evaluations(problem, progress, max_iterations)
    settled = _Settled(bounds.clip(start), step_mm)
    try:
        minimize(
            search,
            bounds.clip(start),
            jac=True,
            method="L-BFGS-B",
            bounds=np.stack([bounds.lower, bounds.upper], axis=1),
            callback=settled,
            options={"ftol": 1e-10, "gtol": 1e-9},
        )
        stop: Stop = "small step"
    except _StoppedError as stopped:
        stop = stopped.why
    point = search.best_point if search.best_point.size else bounds.clip(start)
    return Trace(point=point, cost=search.best_cost, stop=stop, iterations=search.count)


class _StoppedError(Exception):
    """Ends scipy's minimisation from within."""

    def __init__(self, why: Stop) -> None:
        super().__init__(why)
        self.why = why


class _Settled:
    """Ends the search after an iteration that moves less than `step_mm`."""

    def __init__(self, start: Array, step_mm: float) -> None:
        self._last, self._step_mm = start, step_mm

    def __call__(self, point: Array) -> None:
        moved_mm = float(np.linalg.norm(point - self._last))
        self._last = point.copy()
        if moved_mm < self._step_mm:
            raise _StoppedError("small step")


class _Evaluations:
    """Counts evaluations, keeps the best, and ends the search after the last allowed."""

    def __init__(self, problem: _Smooth, progress: Progress, most: int) -> None:
        self._problem, self._progress, self._most = problem, progress, most
        self.count = 0
        self.best_cost, self.best_point = np.inf, np.zeros(0)

    def __call__(self, point: Array) -> tuple[float, Array]:
        if self.count >= self._most:
            raise _StoppedError("iterations")
        cost, gradient = self._problem.cost_and_gradient(point)
        self.count += 1
        if not np.isfinite(cost):
            raise _StoppedError("not finite")
        self._progress(self.count, cost, point)
        if cost < self.best_cost:
            self.best_cost, self.best_point = cost, point.copy()
        return cost, gradient

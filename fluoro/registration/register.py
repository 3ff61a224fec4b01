"""From targets and starting views to the pose: levels, multi-start, acceptance."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fluoro.config import CarmTolerance, RegistrationSettings
from fluoro.errors import InputError
from fluoro.geometry.projection import View
from fluoro.names import DEGREES_OF_FREEDOM
from fluoro.registration.measures.choice import make_measure
from fluoro.registration.measures.similarity import LeastSquaresMeasure
from fluoro.registration.next_steps import NEXT_STEPS
from fluoro.registration.report.acceptance import (
    Acceptance,
    assess,
    assess_fit,
    fits_as_well,
    least_agreement,
)
from fluoro.registration.report.result import RegistrationResult, Step
from fluoro.registration.rigid_motion import moved_view, view_axes
from fluoro.registration.search.ct_ends import find_ct_ends, without_cut_rays
from fluoro.registration.search.hypotheses import HYPOTHESES, named, undone
from fluoro.registration.search.lengths import LengthTolerance
from fluoro.registration.search.optimisers import Bounds, Trace, adam, lbfgs, levenberg_marquardt
from fluoro.registration.search.pose_problem import (
    ROTATION_SCALE_MM,
    PoseParameters,
    PoseProblem,
    ViewTask,
    pixel_at_mm,
)
from fluoro.registration.search.pyramid import (
    bin_image,
    bin_view,
    downsampled,
    downsampling_factors,
)
from fluoro.registration.search.starts import spread_twists
from fluoro.registration.search.uncertainty import PoseFit, axis_sigma, fit_pose
from fluoro.registration.targets.target import Target
from fluoro.rendering.devices.base import ComputeDevice
from fluoro.rendering.renderer import DrrRenderer
from fluoro.volume.grid import VolumeGrid
from fluoro.volume.volumes import MuVolume

__all__ = ["PROJECTOR", "Registrar", "register"]

Array = NDArray[np.float64]
Watcher = Callable[[Step], None]

MEASURE: str = "local_ncc"
"""Of one image, where the settings leave it open."""
PROJECTOR: str = "joseph"
"""Of one image, where the settings leave it open."""
GIVEN_START = -1
"""The attempt before those with many starts: where it is believed, that is all."""
FIRST_ROUND, SECOND_ROUND = 12, 3
"""Starts that go on after scoring, and after a few iterations on the coarsest level."""
FIRST_ITERATIONS = 6
"""Of each start in the first round."""
LONGEST_STEP_MM = 40.0
"""Steps are shortened to this: half the field of view is out of the basin in any case."""
FIRST_ORDER_STEP = 0.1
"""Share of a least step that Adam and L-BFGS end at: their steps are short far from the end too."""
SAME_POSE_MM = 4.0
"""Candidates closer than this are one."""
SURE = 0.9
"""From this confidence on no other hypothesis of the image is tried."""
HOPELESS_AGREEMENT, HOPELESS_ITERATIONS = 0.3, 3
"""Agreement of fine structure below which the last level is limited, and its iterations."""


def _nobody(_step: Step) -> None:
    pass


def register(
    volume: MuVolume,
    device: ComputeDevice,
    targets: Sequence[Target],
    views: Sequence[View],
    settings: RegistrationSettings | None = None,
    *,
    center_xyz_mm: ArrayLike | None = None,
    tolerance: CarmTolerance | None = None,
) -> RegistrationResult:
    """Find the pose once; for a stream of targets keep a `Registrar`.

    Args:
        volume: What the images show, attenuation [1/mm].
        device: Where to render.
        targets: One a view.
        views: Where the views start; they move rigidly together.
        settings: How; None: the defaults.
        center_xyz_mm: About which the views turn, world LPS [mm]; None: the volume's centre.
        tolerance: How well the C-arm's lengths are known; None: the defaults.

    Raises:
        InputError: Views and targets that do not fit.
    """
    registrar = Registrar(
        volume, device, settings, center_xyz_mm=center_xyz_mm, tolerance=tolerance
    )
    return registrar.register(targets, views)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Candidate:
    """A place to go on from."""

    point: Array
    cost: float


@dataclass(frozen=True, kw_only=True, eq=False)
class _Assessed:
    """Where an attempt ended."""

    problem: PoseProblem
    trace: Trace
    fit: PoseFit | None
    acceptance: Acceptance

    @property
    def rank(self) -> tuple[bool, float]:
        """Larger is better."""
        return self.acceptance.converged, self.acceptance.evidence.get("agreement", -1.0)


class Registrar:
    """Registers images to one volume; keeps its coarser copies and their renderers.

    Args:
        volume: What the images show, attenuation [1/mm].
        device: Where to render.
        settings: How; None: the defaults.
        center_xyz_mm: About which the views turn, world LPS [mm]; None: the volume's centre.
        tolerance: How well the C-arm's lengths are known; None: the defaults.

    Attributes:
        settings: How.
        tolerance: How well the C-arm's lengths are known.
        grid: Of the volume.
        ct_ends: Where the volume ends within the patient; rays that pass there do not count.
        measure: On the last level. The levels before use "multiscale_ncc", or "ncc" on the first,
            unless it is "mutual_information", which serves on all.
    """

    def __init__(
        self,
        volume: MuVolume,
        device: ComputeDevice,
        settings: RegistrationSettings | None = None,
        *,
        center_xyz_mm: ArrayLike | None = None,
        tolerance: CarmTolerance | None = None,
    ) -> None:
        self.settings = settings or RegistrationSettings()
        self.tolerance = tolerance or CarmTolerance()
        self.measure: str = self.settings.measure or MEASURE
        self._projector = self.settings.projector or PROJECTOR
        center = volume.grid.center_xyz_mm if center_xyz_mm is None else center_xyz_mm
        self.center_xyz_mm = np.asarray(center, float)
        self.grid = volume.grid
        self.ct_ends = find_ct_ends(volume)
        self._volume, self._device = volume, device
        self._renderers: dict[tuple[int, int, int], DrrRenderer] = {}

    def register(
        self,
        targets: Sequence[Target],
        views: Sequence[View],
        *,
        watch: Watcher = _nobody,
    ) -> RegistrationResult:
        """Return the rigid motion of the views that explains the targets.

        Args:
            targets: One a view, each of its view's size.
            views: Where the views start.
            watch: Told of each iteration.

        Raises:
            InputError: Views and targets that do not fit, or a view that seems to be in metres.
        """
        _require_pairs(targets, views)
        for number, view in enumerate(views):
            _require_millimetres(number, view, self.grid)
        return _Search(self, tuple(targets), tuple(views), watch).run()

    def renderer(self, pixel_at_isocenter_mm: float) -> DrrRenderer:
        """Return a renderer whose voxels suit a pixel's width at the isocentre [mm]."""
        edge_mm = self.settings.voxels_per_pixel * pixel_at_isocenter_mm
        coarse = downsampling_factors(self.grid, edge_mm)
        if coarse not in self._renderers:
            volume = downsampled(self._volume, coarse)
            self._renderers[coarse] = DrrRenderer(volume, self._device, projector=self._projector)
        return self._renderers[coarse]


def _require_pairs(targets: Sequence[Target], views: Sequence[View]) -> None:
    if len(targets) != len(views) or not views:
        raise InputError(
            f"targets must be as many as views, at least one; got {len(targets)} and {len(views)}"
        )
    for number, (target, view) in enumerate(zip(targets, views, strict=True)):
        if target.image.shape != (view.height_px, view.width_px):
            raise InputError(
                f"target {number} must have its view's shape {(view.height_px, view.width_px)}, "
                f"got {target.image.shape}"
            )


def _require_millimetres(number: int, view: View, grid: VolumeGrid) -> None:
    """Refuse a view whose source and detector both lie within the volume."""
    far_mm = view.column_step_xyz_mm * view.width_px + view.row_step_xyz_mm * view.height_px
    ends = np.stack([view.source_xyz_mm, view.corner_xyz_mm + 0.5 * far_mm])
    if all(_is_within(end, grid) for end in ends):
        length = float(np.linalg.norm(ends[1] - ends[0]))
        raise InputError(
            f"view {number}: source and detector lie within the volume, {length:.3g} mm apart: "
            f"extrinsics must be in millimetres; try: {NEXT_STEPS['metres']}"
        )


def _is_within(point_xyz_mm: Array, grid: VolumeGrid) -> bool:
    index = np.linalg.inv(grid.world_from_index) @ [*point_xyz_mm, 1.0]
    return bool((index[:3] >= 0).all() and (index[:3] <= np.array(grid.shape_zyx[::-1]) - 1).all())


class _Search:
    """One registration on its way."""

    def __init__(
        self,
        registrar: Registrar,
        targets: tuple[Target, ...],
        views: tuple[View, ...],
        watch: Watcher,
    ) -> None:
        self._registrar, self._targets, self._views = registrar, targets, views
        self._settings = registrar.settings
        self._tolerances = [LengthTolerance.of(registrar.tolerance, view) for view in views]
        self._watch = watch
        self._history: list[Step] = []
        self._problems: list[PoseProblem] = []
        free = np.array([name not in self._settings.fixed for name in DEGREES_OF_FREEDOM])
        self._pose_parameters = PoseParameters(
            center_xyz_mm=registrar.center_xyz_mm,
            axes=view_axes(views[0]),
            free=free,
            base=np.zeros(6),
        )
        turn_mm = np.radians(self._settings.turn_bound_deg) * ROTATION_SCALE_MM
        reach = np.array([turn_mm] * 3 + [self._settings.shift_bound_mm] * 3)[free]
        self._bounds = Bounds(lower=-reach, upper=reach)

    def run(self) -> RegistrationResult:
        """From the given start, then from ever more and wider starts, until one is believed."""
        started = time.perf_counter()
        rounds = self._settings.attempts if self._settings.multi_start.starts > 1 else 0
        best = self._best(rounds)
        if self._settings.hypotheses == "always" or self._is_in_doubt(best):
            best = self._compared(best)
        return self._result(self._with_source_outside(best), started)

    def _with_source_outside(self, best: _Assessed) -> _Assessed:
        """The same; where no pose is found from a source within the volume, that is the cause."""
        grid = self._registrar.grid
        inside = any(_is_within(view.source_xyz_mm, grid) for view in self._views)
        if best.acceptance.is_final or not inside:
            return best
        reason = "the source starts within the volume: are the extrinsics in millimetres?"
        return replace(best, acceptance=best.acceptance.refused("metres", reason))

    def _best(self, rounds: int) -> _Assessed:
        """The best of the given start and of some rounds of others."""
        found: list[_Assessed] = []
        for attempt in (GIVEN_START, *range(rounds)):
            found.append(self._attempt(attempt))
            if found[-1].acceptance.is_final:
                break
        return max(found, key=lambda assessed: assessed.rank)

    def _is_in_doubt(self, best: _Assessed) -> bool:
        """Whether the image may be wrong as a whole."""
        if self._settings.hypotheses == "never":
            return False
        if best.acceptance.converged:
            return best.acceptance.confidence < SURE
        return not best.acceptance.is_final

    def _compared(self, best: _Assessed) -> _Assessed:
        """The same, not believed where another hypothesis of the image fits as well."""
        stated = best.acceptance
        for hypothesis in HYPOTHESES:
            targets = undone(hypothesis, self._targets)
            if targets is None:
                continue
            other = _Search(self._registrar, targets, self._views, _nobody)
            found = other._best(0).acceptance
            if fits_as_well(found, stated, self._settings.least_agreement):
                reason = named(hypothesis, found.evidence, stated.evidence.get("agreement", -1.0))
                return replace(best, acceptance=stated.refused(hypothesis.cause, reason))
        return best

    def _attempt(self, attempt: int) -> _Assessed:
        """Run the levels, from coarse to fine, and assess the result."""
        widths = self._settings.widths_px
        candidates = self._coarsest(widths[0], attempt)
        iterations = self._settings.max_iterations
        for width in widths[1:-1]:
            problem = self._problem(width, "multiscale_ncc", candidates[0].point)
            candidates = _distinct(
                [self._refine(problem, width, n, c) for n, c in enumerate(candidates)]
            )
            if least_agreement(problem, candidates[0].point) < HOPELESS_AGREEMENT:
                iterations = min(iterations, HOPELESS_ITERATIONS)
        problem = self._problem(widths[-1], self._registrar.measure, candidates[0].point)
        trace = self._last(problem, widths[-1], candidates[0], iterations)
        accepted = assess(problem, trace, self._bounds, self._settings.least_agreement)
        if not accepted.converged:
            return _Assessed(problem=problem, trace=trace, fit=None, acceptance=accepted)
        fine = self._finer(widths[-1], trace.point) or problem
        fit = fit_pose(fine, trace.point, self._tolerances)
        acceptance = assess_fit(accepted, fit, fine)
        return _Assessed(problem=problem, trace=trace, fit=fit, acceptance=acceptance)

    def _finer(self, width_px: int, point: Array) -> PoseProblem | None:
        """The last level with half its pixels' width, where the targets have that."""
        smallest = min(min(view.width_px, view.height_px) for view in self._views)
        return self._problem(2 * width_px, "ncc", point) if smallest >= 2 * width_px else None

    def _problem(self, width_px: int, measure: str, point: Array) -> PoseProblem:
        motion = self._pose_parameters.motion(point)
        if self._registrar.measure == "mutual_information":
            measure = "mutual_information"
        tasks = [
            self._task(target, view, width_px, measure, motion)
            for target, view in zip(self._targets, self._views, strict=True)
        ]
        self._problems.append(PoseProblem(tasks, self._pose_parameters))
        return self._problems[-1]

    def _task(
        self, target: Target, view: View, width_px: int, measure: str, motion: Array
    ) -> ViewTask:
        factor = max(1, round(min(view.width_px, view.height_px) / width_px))
        image, mask = bin_image(target.image, target.mask, factor)
        binned = bin_view(view, factor)
        mask = without_cut_rays(mask, self._registrar.ct_ends, moved_view(binned, motion))
        return ViewTask(
            renderer=self._registrar.renderer(pixel_at_mm(binned, self._registrar.center_xyz_mm)),
            view=binned,
            measure=make_measure(measure, image, mask),
        )

    def _coarsest(self, width_px: int, attempt: int) -> list[_Candidate]:
        start = np.zeros(int(self._pose_parameters.free.sum()))
        problem = self._problem(width_px, "ncc", start)
        if attempt == GIVEN_START:
            given = _Candidate(point=start, cost=np.inf)
            return [self._refine(problem, width_px, 0, given)]
        starts = self._starts(attempt)
        costs = problem.costs(starts)
        order = np.argsort(costs, kind="stable")[:FIRST_ROUND].tolist()
        chosen = sorted({0, *order})  # the given start always has its chance
        first = [
            self._refine(
                problem, width_px, n, _Candidate(point=starts[k], cost=costs[k]), FIRST_ITERATIONS
            )
            for n, k in enumerate(chosen)
        ]
        best = _distinct(first)[:SECOND_ROUND]
        return _distinct([self._refine(problem, width_px, n, c) for n, c in enumerate(best)])

    def _starts(self, attempt: int) -> Array:
        spread = self._settings.multi_start.wider(attempt)
        turn_mm = np.radians(spread.turn_sigma_deg) * ROTATION_SCALE_MM
        shift_mm = [spread.shift_sigma_mm] * 2 + [spread.depth_sigma_mm]
        points = spread_twists(spread.starts, [turn_mm] * 3 + shift_mm, spread.seed)
        return np.array([self._bounds.clip(point[self._pose_parameters.free]) for point in points])

    def _refine(
        self,
        problem: PoseProblem,
        width_px: int,
        number: int,
        candidate: _Candidate,
        iterations: int | None = None,
    ) -> _Candidate:
        trace = self._descend(problem, width_px, number, candidate, iterations)
        return _Candidate(point=trace.point, cost=trace.cost)

    def _descend(
        self,
        problem: PoseProblem,
        width_px: int,
        number: int,
        candidate: _Candidate,
        iterations: int | None = None,
    ) -> Trace:
        most = min(iterations or self._settings.max_iterations, self._settings.max_iterations)
        step_mm = self._settings.step_mm * self._settings.widths_px[-1] / width_px
        progress = self._recorder(width_px, number)
        if isinstance(problem.tasks[0].measure, LeastSquaresMeasure):
            return levenberg_marquardt(
                problem,
                candidate.point,
                self._bounds,
                max_iterations=most,
                step_mm=10 * step_mm,
                longest_step_mm=LONGEST_STEP_MM,
                loss=self._settings.loss,
                progress=progress,
            )
        return lbfgs(
            problem,
            candidate.point,
            self._bounds,
            max_iterations=most,
            step_mm=10 * step_mm,
            progress=progress,
        )

    def _last(
        self, problem: PoseProblem, width_px: int, candidate: _Candidate, iterations: int
    ) -> Trace:
        settings, progress = self._settings, self._recorder(width_px, 0)
        if settings.optimiser == "levenberg_marquardt":
            return levenberg_marquardt(
                problem,
                candidate.point,
                self._bounds,
                max_iterations=iterations,
                step_mm=settings.step_mm,
                longest_step_mm=LONGEST_STEP_MM,
                loss=settings.loss,
                progress=progress,
            )
        optimise = adam if settings.optimiser == "adam" else lbfgs
        return optimise(
            problem,
            candidate.point,
            self._bounds,
            max_iterations=iterations,
            step_mm=settings.step_mm * FIRST_ORDER_STEP,
            progress=progress,
        )

    def _recorder(self, width_px: int, candidate: int) -> Callable[[int, float, Array], None]:
        def record(iteration: int, cost: float, point: Array) -> None:
            step = Step(
                level=width_px,
                candidate=candidate,
                iteration=iteration,
                cost=cost,
                motion=self._pose_parameters.motion(point),
            )
            self._history.append(step)
            self._watch(step)

        return record

    def _result(self, best: _Assessed, started: float) -> RegistrationResult:
        problem, point = best.problem, best.trace.point
        fit = best.fit or fit_pose(problem, point, self._tolerances)
        if best.acceptance.converged:
            point = self._bounds.clip(point + fit.step)
        motion = self._pose_parameters.motion(point)
        return RegistrationResult(
            motion=motion,
            views=tuple(moved_view(view, motion) for view in self._views),
            covariance=fit.covariance,
            axis_sigma=axis_sigma(problem, point, fit.covariance),
            converged=best.acceptance.converged,
            reason=best.acceptance.reason,
            evidence=best.acceptance.evidence,
            confidence=best.acceptance.confidence,
            cause=best.acceptance.cause,
            history=tuple(self._history),
            iterations=best.trace.iterations,
            renderings=sum(each.renderings for each in self._problems),
            seconds=time.perf_counter() - started,
        )


def _distinct(candidates: Sequence[_Candidate]) -> list[_Candidate]:
    """Best first, without those that came to the same place as a better one."""
    kept: list[_Candidate] = []
    for candidate in sorted(candidates, key=lambda c: c.cost):
        if all(np.linalg.norm(candidate.point - k.point) > SAME_POSE_MM for k in kept):
            kept.append(candidate)
    return kept

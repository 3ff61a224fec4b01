"""Following a C-arm through a stream of frames: each estimate starts where the last one led.

A frame is explained from where the motion so far leads, down a pyramid of detectors whose coarser
levels cost little; where the answer is not believed, by the registrar's own multi-start.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fluoro.errors import InputError
from fluoro.geometry.carm import CarmGeometry, CarmPose
from fluoro.geometry.projection import View
from fluoro.names import DEGREES_OF_FREEDOM
from fluoro.registration.measures.choice import make_measure
from fluoro.registration.register import Registrar
from fluoro.registration.report.acceptance import Acceptance, assess, assess_fit
from fluoro.registration.rigid_motion import motion_about, moved_view, twist_about, view_axes
from fluoro.registration.search.lengths import LengthTolerance
from fluoro.registration.search.optimisers import Bounds, Trace, levenberg_marquardt
from fluoro.registration.search.pose_problem import (
    ROTATION_SCALE_MM,
    PoseParameters,
    PoseProblem,
    ViewTask,
    pixel_at_mm,
)
from fluoro.registration.search.pyramid import bin_image, bin_view
from fluoro.registration.search.uncertainty import PoseFit, fit_pose
from fluoro.registration.targets.target import Target

__all__ = ["PoseEstimate", "PoseTracker", "TrackState", "Way"]

log = logging.getLogger(__name__)

Array = NDArray[np.float64]
Way = Literal["follow", "search"]
TrackState = Literal["tracked", "in doubt", "lost"]

STEP_MM = 0.2
"""A step shorter than this ends a level: the next one would be far shorter still."""
LONGEST_STEP_MM = 40.0
LEVEL_ITERATIONS = 15
COARSEST_MEASURE: str = "ncc"
"""On the first of several levels: it leads there from furthest away; the others undo its bias."""
LEAST_WIDTH_PX = 16
LENGTHS_EVERY = 10
"""Frames from one test of the C-arm's lengths to the next, which takes a rendering more. They are
the same in all frames; while they are in doubt each frame is tested."""
LONGEST_GAP = 3.0
"""The motion is extrapolated over at most this multiple of the last interval."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PoseEstimate:
    """The estimated pose of the C-arm when a frame was taken.

    Attributes:
        number: Of the frame.
        pose: The C-arm's pose; where not converged the best guess, not to be relied on.
        world_from_carm: The same as 4x4 matrix [mm].
        converged: Whether to believe it.
        state: "tracked" where it is believed; "in doubt" where it is right but for the C-arm's
            lengths, and followed further; else "lost".
        confidence: Probability that it is right, 0 to 1.
        reason: Why, in one line.
        next_step: What to try where it is not believed, one clause; else empty.
        way: How it was found.
        ncc: Normalised cross-correlation of rendered image and frame, -1 to 1.
        residual: Root mean square of what gain and offset do not explain of the frame's line
            integrals, dimensionless.
        iterations: Images with derivatives that it took.
        seconds: Wall time.
        rendered: Line integrals at the estimate, shape (height, width) of the working size.
        seen: The frame's line integrals at the same size; 0 where it is masked.
    """

    number: int
    pose: CarmPose
    world_from_carm: Array
    converged: bool
    state: TrackState
    confidence: float
    reason: str
    next_step: str
    way: Way
    ncc: float
    residual: float
    iterations: int
    seconds: float
    rendered: NDArray[np.float32]
    seen: NDArray[np.float32]

    def without_images(self) -> PoseEstimate:
        """Return the same for a record of many: `rendered` and `seen` are empty."""
        none = np.empty((0, 0), np.float32)
        return replace(self, rendered=none, seen=none)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Fix:
    """A believed pose and when it held."""

    time_s: float
    world_from_carm: Array


@dataclass(frozen=True, kw_only=True, eq=False)
class _Found:
    """One way's answer."""

    way: Way
    motion: Array
    acceptance: Acceptance
    iterations: int

    @property
    def is_followed(self) -> bool:
        """Whether the next frame starts from here: it is right but for the C-arm's lengths."""
        return self.acceptance.is_final

    @property
    def state(self) -> TrackState:
        """What to call it."""
        if self.acceptance.converged:
            return "tracked"
        return "in doubt" if self.is_followed else "lost"


class PoseTracker:
    """Estimates one pose a frame, each from the one before.

    Args:
        registrar: Volume, renderers, bounds, degrees of freedom, and how to search when lost.
        start: Where the C-arm is believed to stand at first.
        isocenter_xyz_mm: Isocentre of the untranslated C-arm, patient LPS [mm].
        predict: Continue the motion between the last two estimates at constant velocity.

    Raises:
        InputError: A measure that is no sum of squares, or a last level below 16 columns.
    """

    def __init__(
        self,
        registrar: Registrar,
        start: CarmPose,
        isocenter_xyz_mm: Sequence[float],
        *,
        predict: bool = True,
    ) -> None:
        if registrar.measure == "mutual_information":
            raise InputError("measure mutual_information is no sum of squares and cannot track")
        self._widths_px = registrar.settings.widths_px
        if self._widths_px[-1] < LEAST_WIDTH_PX:
            raise InputError(
                f"registration.widths_px must end with at least {LEAST_WIDTH_PX} to track, "
                f"got {list(self._widths_px)}"
            )
        self._registrar, self._isocenter = registrar, isocenter_xyz_mm
        self._predict, self._search = predict, registrar.settings.multi_start.starts > 1
        self._start = start.world_from_carm(isocenter_xyz_mm)
        self._fixes: tuple[_Fix, ...] = ()
        self._lost = self._doubted = False
        self._until_lengths = 0
        self._tested = Acceptance(converged=False, reason="not tested", evidence={})

    def prepare(self, geometry: CarmGeometry) -> None:
        """Compile kernels and make coarser volumes, so that the first frame does not wait."""
        view = geometry.view(CarmPose(), self._isocenter)
        for width_px in self._widths_px:
            binned = bin_view(view, _factor(view, width_px))
            pixel_mm = pixel_at_mm(binned, self._registrar.center_xyz_mm)
            renderer = self._registrar.renderer(pixel_mm)
            renderer.render_jacobian(binned, self._registrar.center_xyz_mm)

    @property
    def lost(self) -> bool:
        """Whether the last frame could not be explained."""
        return self._lost

    def predicted(self, time_s: float) -> Array:
        """Return the 4x4 pose at which the C-arm is expected at a time of the stream [s]."""
        if not self._fixes:
            return self._start
        last = self._fixes[-1]
        if not self._predict or len(self._fixes) < 2 or self._lost:
            return last.world_from_carm
        before = self._fixes[0]
        share = (time_s - last.time_s) / max(last.time_s - before.time_s, 1e-9)
        if not 0 < share <= LONGEST_GAP:
            return last.world_from_carm
        moved = last.world_from_carm @ np.linalg.inv(before.world_from_carm)
        center = last.world_from_carm[:3, 3]
        twist = share * twist_about(moved, center)
        return np.asarray(motion_about(twist, center) @ last.world_from_carm)

    def track(
        self, target: Target, geometry: CarmGeometry, number: int, time_s: float
    ) -> PoseEstimate:
        """Estimate the pose of one frame.

        Args:
            target: The frame's line integrals, of the geometry's detector size.
            geometry: The C-arm's lengths and detector.
            number: Of the frame.
            time_s: When the frame was taken, in the stream's time [s].

        Raises:
            InputError: A target of another size than the detector.
        """
        started = time.perf_counter()
        expected = self.predicted(time_s)
        pose = CarmPose.from_world_from_carm(expected, self._isocenter)
        frame = _Frame(self._registrar, target, geometry.view(pose, self._isocenter))
        found = self._explain(frame)
        self._tell(found, number)
        matrix = found.motion @ expected
        if found.is_followed:
            self._fixes = (*self._fixes[-1:], _Fix(time_s=time_s, world_from_carm=matrix))
        return self._estimate(frame, found, matrix, number, started)

    def blind(
        self, reason: str, geometry: CarmGeometry, number: int, time_s: float
    ) -> PoseEstimate:
        """The estimate for a frame that shows nothing: the expected pose, not to be believed.

        Args:
            reason: Why the frame cannot be used.
            geometry: As for `track`.
            number: As for `track`.
            time_s: As for `track`.
        """
        started = time.perf_counter()
        expected = self.predicted(time_s)
        pose = CarmPose.from_world_from_carm(expected, self._isocenter)
        view = geometry.view(pose, self._isocenter)
        binned = bin_view(view, _factor(view, self._widths_px[-1]))
        pixel_mm = pixel_at_mm(binned, self._registrar.center_xyz_mm)
        renderer = self._registrar.renderer(pixel_mm)
        rendered = renderer.device.to_host(renderer.render(binned))
        acceptance = Acceptance(converged=False, reason=reason, evidence={}, cause="structure")
        self._tell(
            _Found(way="follow", motion=np.eye(4), acceptance=acceptance, iterations=0), number
        )
        return PoseEstimate(
            number=number,
            pose=pose,
            world_from_carm=expected,
            converged=False,
            state="lost",
            confidence=0.0,
            reason=reason,
            next_step=acceptance.next_step,
            way="follow",
            ncc=0.0,
            residual=0.0,
            iterations=0,
            seconds=time.perf_counter() - started,
            rendered=rendered,
            seen=np.zeros_like(rendered),
        )

    def _explain(self, frame: _Frame) -> _Found:
        """From the expected pose; where other starts may help, from many."""
        tested = self._until_lengths == 0
        found = frame.followed(tested)
        if self._search and not found.is_followed:
            found, tested = frame.searched(), True
        if tested:
            self._tested = found.acceptance
        elif found.acceptance.converged:
            found = replace(found, acceptance=found.acceptance.with_lengths_of(self._tested))
        if found.acceptance.converged:
            self._until_lengths = (LENGTHS_EVERY if tested else self._until_lengths) - 1
        else:
            self._until_lengths = 0
        return found

    def _tell(self, found: _Found, number: int) -> None:
        """Log where the pose is lost or in doubt, and where it is found again."""
        accepted = found.acceptance
        if not accepted.converged and not self._doubted:
            text = "frame %d: the pose is %s: %s; try: %s"
            log.warning(text, number, found.state, accepted.reason, accepted.next_step)
        if self._doubted and accepted.converged:
            log.warning("frame %d: the pose is found again by %s", number, found.way)
        self._doubted, self._lost = not accepted.converged, not found.is_followed

    def _estimate(
        self, frame: _Frame, found: _Found, matrix: Array, number: int, started: float
    ) -> PoseEstimate:
        rendered, seen, mask = frame.compared(found.motion)
        ncc, residual = _likeness(rendered[mask].astype(float), seen[mask].astype(float))
        return PoseEstimate(
            number=number,
            pose=CarmPose.from_world_from_carm(matrix, self._isocenter),
            world_from_carm=matrix,
            converged=found.acceptance.converged,
            state=found.state,
            confidence=found.acceptance.confidence,
            reason=found.acceptance.reason,
            next_step=found.acceptance.next_step,
            way=found.way,
            ncc=ncc,
            residual=residual,
            iterations=found.iterations,
            seconds=time.perf_counter() - started,
            rendered=rendered,
            seen=seen,
        )


class _Frame:
    """One frame that is to be explained from one view on."""

    def __init__(self, registrar: Registrar, target: Target, view: View) -> None:
        if target.image.shape != (view.height_px, view.width_px):
            raise InputError(
                f"target must have the detector's shape {(view.height_px, view.width_px)}, "
                f"got {target.image.shape}"
            )
        self._registrar, self._target, self._view = registrar, target, view
        self._settings = registrar.settings
        free = np.array([name not in self._settings.fixed for name in DEGREES_OF_FREEDOM])
        self._pose_parameters = PoseParameters(
            center_xyz_mm=registrar.center_xyz_mm,
            axes=view_axes(view),
            free=free,
            base=np.zeros(6),
        )
        turn_mm = np.radians(self._settings.turn_bound_deg) * ROTATION_SCALE_MM
        reach = np.array([turn_mm] * 3 + [self._settings.shift_bound_mm] * 3)[free]
        self._bounds = Bounds(lower=-reach, upper=reach)
        self._tasks: dict[tuple[int, str], ViewTask] = {}
        self._followed: tuple[Array, NDArray[np.float32]] | None = None

    def followed(self, tested: bool) -> _Found:
        """Levenberg-Marquardt from the view down the pyramid.

        Args:
            tested: Whether the C-arm's lengths are tested too.
        """
        point, renderings = np.zeros(int(self._pose_parameters.free.sum())), 0
        for width_px in self._settings.widths_px:
            problem = PoseProblem([self._task(width_px)], self._pose_parameters)
            trace = self._descend(problem, point, width_px)
            point, renderings = trace.point, renderings + problem.renderings
        acceptance = assess(problem, trace, self._bounds, self._settings.least_agreement)
        if acceptance.converged:
            fit = self._fitted(problem, point) if tested else None
            acceptance = assess_fit(acceptance, fit, problem)
        motion = self._pose_parameters.motion(point)
        self._followed = motion, problem.images(point)[0]
        return _Found(way="follow", motion=motion, acceptance=acceptance, iterations=renderings)

    def _fitted(self, problem: PoseProblem, point: Array) -> PoseFit:
        tolerance = LengthTolerance.of(self._registrar.tolerance, self._view)
        return fit_pose(problem, point, [tolerance])

    def _descend(self, problem: PoseProblem, point: Array, width_px: int) -> Trace:
        binning = self._settings.widths_px[-1] / width_px
        return levenberg_marquardt(
            problem,
            point,
            self._bounds,
            max_iterations=min(LEVEL_ITERATIONS, self._settings.max_iterations),
            step_mm=max(STEP_MM, self._settings.step_mm) * binning,
            longest_step_mm=LONGEST_STEP_MM,
            loss=self._settings.loss,
        )

    def searched(self) -> _Found:
        """Return the registrar's multi-start about the view."""
        result = self._registrar.register([self._target], [self._view])
        acceptance = Acceptance(
            converged=result.converged,
            reason=result.reason,
            evidence=result.evidence,
            cause=result.cause,
            confidence=result.confidence,
        )
        return _Found(
            way="search", motion=result.motion, acceptance=acceptance, iterations=result.renderings
        )

    def compared(
        self, motion: Array
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]:
        """Return rendered image, frame and mask at a motion of the view, at the working size."""
        task = self._task(self._settings.widths_px[-1])
        measure = task.measure
        if self._followed and self._followed[0] is motion:
            image = self._followed[1]
        else:
            rendered = task.renderer.render(moved_view(task.view, motion))
            image = task.renderer.device.to_host(rendered)
        return image, np.asarray(measure.target, np.float32), measure.mask

    def _task(self, width_px: int) -> ViewTask:
        is_first_of_several = width_px < self._settings.widths_px[-1] and (
            width_px == self._settings.widths_px[0]
        )
        measure = COARSEST_MEASURE if is_first_of_several else self._registrar.measure
        key = _factor(self._view, width_px), measure
        if key not in self._tasks:
            self._tasks[key] = self._make_task(*key)
        return self._tasks[key]

    def _make_task(self, factor: int, measure: str) -> ViewTask:
        view = bin_view(self._view, factor)
        image, mask = bin_image(self._target.image, self._target.mask, factor)
        pixel_mm = pixel_at_mm(view, self._registrar.center_xyz_mm)
        return ViewTask(
            renderer=self._registrar.renderer(pixel_mm),
            view=view,
            measure=make_measure(measure, image, mask),
        )


def _factor(view: View, width_px: int) -> int:
    """Return the pixels to join along each edge for about `width_px` columns."""
    smallest = min(view.width_px, view.height_px)
    return max(1, round(smallest / max(width_px, LEAST_WIDTH_PX)))


def _likeness(rendered: Array, seen: Array) -> tuple[float, float]:
    """Correlation, and root mean square of what gain and offset leave; 0 where constant."""
    a, b = rendered - rendered.mean(), seen - seen.mean()
    aa, ab, bb = (float((x * y).sum()) for x, y in ((a, a), (a, b), (b, b)))
    ncc = ab / np.sqrt(aa * bb) if aa * bb > 0 else 0.0
    left = bb / len(b) * max(0.0, 1 - ncc**2)
    return ncc, float(np.sqrt(left))

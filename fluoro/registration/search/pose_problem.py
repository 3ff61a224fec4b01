"""The pose as six numbers, and what a measure says of them: cost, gradient, normal equations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fluoro.errors import InputError
from fluoro.geometry.projection import View
from fluoro.geometry.se3 import se3_left_jacobian
from fluoro.registration.measures.robust import Weighting
from fluoro.registration.measures.similarity import LeastSquaresMeasure, Measure
from fluoro.registration.rigid_motion import motion_about, moved_view, twist_about

__all__ = ["Linearisation", "PoseParameters", "PoseProblem", "Renderer", "ViewTask", "pixel_at_mm"]

Array = NDArray[np.float64]

ROTATION_SCALE_MM = 100.0
"""A rotation [rad] times this counts as a shift [mm]: about the reach of the anatomy from the
centre, so that all parameters move the image's edges alike."""


FIRST_ORDER_PX = 0.25
"""Parameters that are closer together than this share of a pixel at the centre: the image changes
in proportion to them."""


class Renderer(Protocol):
    """What registration needs of a DRR renderer."""

    device: Any

    def render(self, views: View | Sequence[View]) -> Any:
        """Return line integrals, (height, width) or (N, height, width)."""

    def render_jacobian(self, view: View, center_xyz_mm: ArrayLike) -> tuple[Any, Any]:
        """Return line integrals (H, W), and d/d(left twist of the view), shape (6, H, W)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ViewTask:
    """One image to be explained.

    Attributes:
        renderer: Renders the volume.
        view: Where the view stands before any motion.
        measure: Compares a rendered image with the view's target.
    """

    renderer: Renderer
    view: View
    measure: Measure


@dataclass(frozen=True, kw_only=True, eq=False)
class PoseParameters:
    """Parameters in mm for a rigid motion of all views about a point.

    The parameters are the motion's twist along three axes: rotations x `ROTATION_SCALE_MM`, then
    shifts.

    Attributes:
        center_xyz_mm: The fixed point of rotations, world LPS [mm], shape (3,).
        axes: World unit vectors in columns, shape (3, 3).
        free: Which of the six may change, shape (6,).
        base: Values of those that may not, and where registration starts, shape (6,) [mm].
    """

    center_xyz_mm: Array
    axes: Array
    free: NDArray[np.bool_]
    base: Array

    @property
    def _twist_from_parameters(self) -> Array:
        """6x6: world twist [rad, mm] from all six parameters [mm]."""
        matrix = np.zeros((6, 6))
        matrix[:3, :3], matrix[3:, 3:] = self.axes / ROTATION_SCALE_MM, self.axes
        return matrix

    def _twist(self, free_mm: Array) -> Array:
        values = self.base.copy()
        values[self.free] = free_mm
        return np.asarray(self._twist_from_parameters @ values)

    def motion(self, free_mm: Array) -> Array:
        """Return the 4x4 world motion of the free parameters."""
        return motion_about(self._twist(free_mm), self.center_xyz_mm)

    def from_motion(self, motion: ArrayLike) -> Array:
        """Return the free parameters [mm] of a motion; what it does along fixed ones is dropped."""
        twist = twist_about(motion, self.center_xyz_mm)
        return np.asarray(np.linalg.solve(self._twist_from_parameters, twist)[self.free])

    def left_twist_from_steps(self, free_mm: Array) -> Array:
        """(6, free): the left twist about the centre that a small change of each causes."""
        change = se3_left_jacobian(self._twist(free_mm)) @ self._twist_from_parameters
        return np.asarray(change[:, self.free])


@dataclass(frozen=True, kw_only=True, eq=False)
class Linearisation:
    """Residuals of all views at one pose; their Jacobian with respect to free parameters.

    Attributes:
        residuals: Shape (N,).
        jacobian: Derivatives with respect to some parameters, shape (M, N).
        change: By how much those change with the free parameters, shape (M, free).
    """

    residuals: NDArray[Any]
    jacobian: NDArray[Any]
    change: Array

    def cost(self, weighting: Weighting) -> float:
        """Return the weighted cost."""
        return weighting.of(self.residuals)[0]

    def normal(self, weighting: Weighting) -> tuple[float, Array, Array]:
        """Return weighted cost, its gradient (free,), and the Gauss-Newton matrix (free, free)."""
        cost, influence, weight = weighting.of(self.residuals)
        rows = self.jacobian if weight is None else self.jacobian * weight.astype(np.float32)
        matrix = np.asarray(rows @ self.jacobian.T, float)
        gradient = np.asarray(self.jacobian @ influence.astype(rows.dtype), float)
        return cost, self.change.T @ gradient, self.change.T @ matrix @ self.change


class PoseProblem:
    """The cost of a pose: the mean of the views' costs.

    Args:
        tasks: The views, moved rigidly together.
        parameters: How parameters move the views.

    Raises:
        InputError: No view.
    """

    def __init__(self, tasks: Sequence[ViewTask], parameters: PoseParameters) -> None:
        if not tasks:
            raise InputError("tasks must hold at least one view, got none")
        self.tasks = tuple(tasks)
        self.parameters = parameters
        self.renderings = 0
        self._last_point: Array | None = None
        self._last: list[tuple[NDArray[Any], NDArray[Any]]] = []

    def _jacobians(self, free_mm: Array) -> list[tuple[NDArray[Any], NDArray[Any]]]:
        """Image and derivatives of each view, which are kept."""
        motion = self.parameters.motion(free_mm)
        self._last = [self._jacobian(task, motion) for task in self.tasks]
        self._last_point = free_mm.copy()
        return self._last

    def _jacobian(self, task: ViewTask, motion: Array) -> tuple[NDArray[Any], NDArray[Any]]:
        self.renderings += 1
        view = moved_view(task.view, motion)
        pair = task.renderer.render_jacobian(view, self.parameters.center_xyz_mm)
        image, jacobian = (task.renderer.device.to_host(array) for array in pair)
        return image, jacobian

    def images(self, free_mm: Array) -> list[NDArray[np.float32]]:
        """Return each view's image at the free parameters [mm], shape (height, width).

        Less than a quarter of a pixel from where derivatives were rendered last, it is made of
        these.
        """
        return [self._image(number, free_mm) for number in range(len(self.tasks))]

    def _image(self, number: int, free_mm: Array) -> NDArray[np.float32]:
        task, last = self.tasks[number], self._last_point
        pixel_mm = pixel_at_mm(task.view, self.parameters.center_xyz_mm)
        if last is None or np.linalg.norm(free_mm - last) > FIRST_ORDER_PX * pixel_mm:
            view = moved_view(task.view, self.parameters.motion(free_mm))
            return np.asarray(task.renderer.device.to_host(task.renderer.render(view)))
        image, jacobian = self._last[number]
        twist = self.parameters.left_twist_from_steps(last) @ (free_mm - last)
        return np.asarray(image + np.tensordot(twist.astype(image.dtype), jacobian, axes=1))

    def linearise(self, free_mm: Array) -> Linearisation:
        """Return residuals and Jacobian at the free parameters [mm], shape (free,).

        Raises:
            InputError: A measure that is not a sum of squares.
        """
        change = self.parameters.left_twist_from_steps(free_mm)
        measures = [_compared(task) for task in self.tasks]
        pairs = zip(measures, self._jacobians(free_mm), strict=True)
        found = [measure.residuals(*pair) for measure, pair in pairs]
        share = 1 / np.sqrt(len(found))
        return Linearisation(
            residuals=_joined([share * each.values for each in found]).astype(float),
            jacobian=_joined([each.jacobian for each in found]),
            change=share * change,
        )

    def cost_and_gradient(self, free_mm: Array) -> tuple[float, Array]:
        """Return the cost and its gradient with respect to free parameters [1/mm], (free,)."""
        change = self.parameters.left_twist_from_steps(free_mm)
        total, gradient = 0.0, np.zeros(change.shape[1])
        for task, (image, jacobian) in zip(self.tasks, self._jacobians(free_mm), strict=True):
            cost, upstream = task.measure.cost(image)
            total += cost
            gradient += change.T @ np.tensordot(jacobian, upstream, axes=2).astype(float)
        return total / len(self.tasks), gradient / len(self.tasks)

    def costs(self, points_mm: Array) -> Array:
        """Return costs without gradients of many points, shape (N, free), rendered in one batch."""
        motions = [self.parameters.motion(point) for point in points_mm]
        total = np.zeros(len(motions))
        for task in self.tasks:
            batch = task.renderer.render([moved_view(task.view, motion) for motion in motions])
            images = task.renderer.device.to_host(batch)
            total += [_cost(task.measure, image) for image in images]
        return total / len(self.tasks)


def pixel_at_mm(view: View, point_xyz_mm: Array) -> float:
    """Return the width of a pixel projected back to a point's depth [mm]."""
    normal = np.cross(view.column_step_xyz_mm, view.row_step_xyz_mm)
    share = normal @ (point_xyz_mm - view.source_xyz_mm)
    share /= normal @ (view.corner_xyz_mm - view.source_xyz_mm)
    return abs(float(share)) * float(np.linalg.norm(view.column_step_xyz_mm))


def _compared(task: ViewTask) -> LeastSquaresMeasure:
    if not isinstance(task.measure, LeastSquaresMeasure):
        raise InputError(f"{type(task.measure).__name__} is not a sum of squares")
    return task.measure


def _joined(arrays: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Concatenated along the last axis; one alone is not copied."""
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays, axis=-1)


def _cost(measure: Measure, image: NDArray[Any]) -> float:
    if isinstance(measure, LeastSquaresMeasure):
        values = measure.residuals(image, None).values
        return 0.5 * float(np.vdot(values, values))
    return measure.cost(image)[0]

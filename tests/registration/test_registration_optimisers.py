"""Optimisers on problems whose answer is known; the pose's parameters by their derivatives."""

import numpy as np
import pytest

from fluoro.errors import InputError
from fluoro.registration.measures.mutual_information import MutualInformation
from fluoro.registration.measures.robust import Weighting
from fluoro.registration.measures.similarity import GradientNcc, MeanSquares, MultiScaleNcc, Ncc
from fluoro.registration.rigid_motion import moved_view, view_axes
from fluoro.registration.search.optimisers import (
    Bounds,
    adam,
    is_singular,
    lbfgs,
    levenberg_marquardt,
)
from fluoro.registration.search.pose_problem import (
    ROTATION_SCALE_MM,
    Linearisation,
    PoseParameters,
    PoseProblem,
    ViewTask,
)
from fluoro.registration.search.pyramid import bin_image, bin_view, coarser_volume, downsampled
from fluoro.rendering.renderer import DrrRenderer
from fluoro.volume.grid import VolumeGrid
from fluoro.volume.volumes import MuVolume
from tests.registration_support import (
    DETECTOR,
    POSE,
    center,
    device,
    displacement,
    rendered,
    thorax,
    view_at,
)

WIDE = Bounds(lower=np.full(2, -50.0), upper=np.full(2, 50.0))
MINIMUM = np.array([3.0, -2.0])


class Valley:
    """A curved valley, least at `MINIMUM`."""

    def __init__(self, outlier=0.0):
        self.outlier = outlier

    def linearise(self, point):
        x, y = point - MINIMUM
        values = np.array([x, 2 * (y - 0.05 * x**2), x + y + self.outlier, x - y, 2 * x + y])
        rows = np.array([[1, -0.2 * x, 1, 1, 2], [0, 2, 1, -1, 1]])
        return Linearisation(residuals=values, jacobian=rows, change=np.eye(2))

    def cost_and_gradient(self, point):
        found = self.linearise(point)
        return found.residuals @ found.residuals / 2, found.jacobian @ found.residuals


@pytest.mark.parametrize("optimise", [levenberg_marquardt, adam, lbfgs])
def test_optimiser_finds_the_minimum(optimise):
    options = {"max_iterations": 800} if optimise is adam else {}
    trace = optimise(Valley(), np.array([-20.0, 15.0]), WIDE, step_mm=1e-6, **options)
    np.testing.assert_allclose(trace.point, MINIMUM, atol=0.05 if optimise is adam else 1e-3)


@pytest.mark.parametrize("optimise", [levenberg_marquardt, adam, lbfgs])
def test_optimiser_stays_within_its_bounds(optimise):
    bounds = Bounds(lower=np.array([-10.0, 0.0]), upper=np.array([10.0, 10.0]))
    seen = []
    trace = optimise(
        Valley(), np.array([-8.0, 9.0]), bounds, progress=lambda _n, _c, point: seen.append(point)
    )
    assert all((point >= bounds.lower).all() and (point <= bounds.upper).all() for point in seen)
    assert trace.point[1] == pytest.approx(0, abs=0.05)


@pytest.mark.parametrize("optimise", [levenberg_marquardt, adam, lbfgs])
def test_optimiser_stops_after_its_iterations(optimise):
    seen = []
    trace = optimise(
        Valley(),
        np.array([-20.0, 15.0]),
        WIDE,
        max_iterations=3,
        progress=lambda number, _c, _p: seen.append(number),
    )
    assert trace.stop == "iterations"
    assert len(seen) <= 3


@pytest.mark.parametrize("loss", ["huber", "tukey"])
def test_robust_loss_resists_an_outlier(loss):
    plain = levenberg_marquardt(Valley(outlier=30.0), MINIMUM.copy(), WIDE)
    robust = levenberg_marquardt(Valley(outlier=30.0), MINIMUM + 0.1, WIDE, loss=loss)
    assert np.linalg.norm(plain.point - MINIMUM) > 2
    assert np.linalg.norm(robust.point - MINIMUM) < 0.5


def test_direction_that_nothing_depends_on_is_called_singular():
    class Flat:
        def linearise(self, point):
            return Linearisation(
                residuals=np.array([point[0], 2 * point[0]]),
                jacobian=np.array([[1.0, 2.0], [0.0, 0.0]]),
                change=np.eye(2),
            )

    assert levenberg_marquardt(Flat(), np.ones(2), WIDE).stop == "singular normal matrix"


@pytest.mark.parametrize("optimise", [levenberg_marquardt, adam, lbfgs])
def test_cost_that_is_not_finite_is_reported(optimise):
    class Broken(Valley):
        def linearise(self, point):
            return Linearisation(
                residuals=np.full(5, np.nan), jacobian=np.ones((2, 5)), change=np.eye(2)
            )

    assert optimise(Broken(), np.ones(2), WIDE).stop == "not finite"


def test_singularity_does_not_depend_on_units():
    assert not is_singular(np.diag([1e-12, 1.0]))
    assert is_singular(np.array([[1.0, 1.0], [1.0, 1.0]]))
    assert is_singular(np.zeros((2, 2)))
    assert is_singular(np.array([[np.nan, 0], [0, 1.0]]))


# -- the pose as parameters --------------------------------------------------------------------


def _pose_parameters(free=(True,) * 6, base=(0.0,) * 6):
    return PoseParameters(
        center_xyz_mm=center(),
        axes=view_axes(view_at()),
        free=np.array(free),
        base=np.array(base, float),
    )


def test_parameters_of_a_motion_lead_back_to_it():
    parameters, motion = _pose_parameters(), displacement(0, 40.0)
    np.testing.assert_allclose(parameters.motion(parameters.from_motion(motion)), motion, atol=1e-9)


def test_shift_along_the_beam_moves_the_source_along_it():
    view = view_at()
    moved = moved_view(view, _pose_parameters().motion(np.array([0, 0, 0, 0, 0, 7.0])))
    shift = moved.source_xyz_mm - view.source_xyz_mm
    np.testing.assert_allclose(shift, 7.0 * view_axes(view)[:, 2], atol=1e-9)


def test_fixed_parameters_keep_their_value():
    parameters = _pose_parameters((True, False, True, True, False, False), (0, 5.0, 0, 0, 1.0, 2.0))
    found = _pose_parameters().from_motion(parameters.motion(np.array([1.0, 2.0, 3.0])))
    np.testing.assert_allclose(found, [1, 5, 2, 3, 1, 2], atol=1e-9)


def test_left_twists_of_steps_are_those_of_finite_steps():
    parameters, point = (
        _pose_parameters((True, True, True, True, False, True)),
        np.array([30.0, -20, 10, 15, 8]),
    )
    change = parameters.left_twist_from_steps(point)
    for k in range(5):
        step = np.zeros(5)
        step[k] = 1e-4
        ahead, behind = parameters.motion(point + step), parameters.motion(point - step)
        twist = _pose_parameters().from_motion(ahead @ np.linalg.inv(behind)) / 2e-4
        world = np.concatenate(
            [parameters.axes @ twist[:3] / ROTATION_SCALE_MM, parameters.axes @ twist[3:]]
        )
        np.testing.assert_allclose(change[:, k], world, atol=1e-6)


@pytest.mark.parametrize("measure", [MeanSquares, Ncc, MultiScaleNcc, GradientNcc])
@pytest.mark.parametrize("views", [1, 2])
def test_pose_gradient_is_that_of_central_differences_of_rendered_images(measure, views):
    problem, point = _problem(measure, views), np.array([9.0, -6.0, 5.0, 8.0, -4.0, 12.0])
    cost, gradient = problem.cost_and_gradient(point)
    numeric = np.zeros(6)
    for k in range(6):
        step = np.zeros(6)
        step[k] = 0.02
        ahead, behind = (problem.costs(np.array([point + s * step]))[0] for s in (1, -1))
        numeric[k] = (ahead - behind) / 0.04
    assert np.linalg.norm(gradient - numeric) < 0.02 * np.linalg.norm(numeric)  # float32 images
    assert problem.costs(np.array([point]))[0] == pytest.approx(cost, rel=1e-4)
    _, found, _ = problem.linearise(point).normal(Weighting())
    np.testing.assert_allclose(found, gradient, rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize(("mm", "most"), [(0.3, 0.2), (3.0, 0.0)])
def test_image_near_the_last_derivatives_is_made_of_them(mm, most):
    problem, point = _problem(MeanSquares, 1), np.array([9.0, -6.0, 5.0, 8.0, -4.0, 12.0])
    before = _problem(MeanSquares, 1).images(point)[0]
    problem.linearise(point)
    there = point + mm / np.sqrt(6) * np.array([1.0, -1, 1, 1, -1, 1])
    (exact,), (found,) = _problem(MeanSquares, 1).images(there), problem.images(there)
    assert np.linalg.norm(found - exact) <= most * np.linalg.norm(exact - before)
    assert np.array_equal(found, exact) == (most == 0)


def test_steps_get_longer_where_the_cost_is_less_curved_than_gauss_and_newton_have_it():
    class Flatter(Valley):
        """Residuals of which noise takes three quarters of the curvature."""

        evaluations = 0

        def linearise(self, point):
            self.evaluations += 1
            exact = super().linearise(point)
            return Linearisation(
                residuals=exact.residuals / 2, jacobian=2 * exact.jacobian, change=np.eye(2)
            )

    problem = Flatter()
    trace = levenberg_marquardt(
        problem, MINIMUM + np.array([2.0, 1.0]), WIDE, step_mm=1e-6, max_iterations=60
    )
    np.testing.assert_allclose(trace.point, MINIMUM, atol=1e-5)
    assert problem.evaluations < 12  # of Gauss-Newton's own length it takes 50


def _problem(measure, views=1):
    renderer = DrrRenderer(thorax(), device(), projector="joseph")
    poses = [POSE, type(POSE)(lao_deg=-70)][:views]
    tasks = [
        ViewTask(renderer=renderer, view=view, measure=measure(rendered(view)))
        for view in (view_at(pose) for pose in poses)
    ]
    return PoseProblem(tasks, _pose_parameters())


def test_gauss_newton_of_what_is_no_sum_of_squares_is_refused():
    with pytest.raises(InputError, match="not a sum of squares"):
        _problem(MutualInformation).linearise(np.zeros(6))


def test_problem_without_views_is_refused():
    with pytest.raises(InputError, match="at least one view"):
        PoseProblem([], _pose_parameters())


# -- pyramids ----------------------------------------------------------------------------------


def test_binned_view_has_pixels_in_the_middle_of_the_ones_it_joins():
    view = view_at()
    centers = view.pixel_centers_xyz_mm()
    joined = centers.reshape(24, 4, 24, 4, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(bin_view(view, 4).pixel_centers_xyz_mm(), joined, atol=1e-9)


def test_binned_view_leaves_out_what_fills_no_pixel():
    binned = bin_view(view_at(), 5)
    assert (binned.width_px, binned.height_px) == (19, 19)
    with pytest.raises(InputError, match="factor"):
        bin_view(view_at(), 97)


def test_binned_image_is_the_mean_of_the_pixels_that_count():
    image = np.arange(30, dtype=np.float32).reshape(5, 6)
    mask = np.ones((5, 6), bool)
    mask[0, 0] = False
    mask[2:4, 4:6] = [[True, False], [False, False]]
    binned, kept = bin_image(image, mask, 2)
    np.testing.assert_allclose(binned[0], [(1 + 6 + 7) / 3, 5.5, 7.5])
    np.testing.assert_array_equal(kept, [[True, True, True], [True, True, False]])


def test_downsampled_volume_keeps_its_place_and_its_attenuation():
    coarse = downsampled(thorax(), (2, 3, 4))
    grid = coarse.grid
    assert grid.spacing_xyz_mm == (12.0, 9.0, 6.0)
    index = np.array([5, 7, 9])  # z, y, x
    block = thorax().mu_zyx[10:12, 21:24, 36:40]
    assert coarse.mu_zyx[tuple(index)] == pytest.approx(block.mean(), rel=1e-5)
    middle = thorax().grid.world_from_index @ [37.5, 22, 10.5, 1]
    np.testing.assert_allclose(grid.world_from_index @ [9, 7, 5, 1], middle, atol=1e-9)


def test_downsampled_volume_keeps_a_turned_grid_turned():
    turned = VolumeGrid(
        shape_zyx=(4, 4, 4),
        spacing_xyz_mm=(1.0, 2.0, 3.0),
        direction=((0.0, 0.0, 1.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0)),
    )
    volume = MuVolume(mu_zyx=np.ones((4, 4, 4), np.float32), grid=turned)
    np.testing.assert_allclose(
        downsampled(volume, (2, 2, 2)).grid.center_xyz_mm, turned.center_xyz_mm
    )
    with pytest.raises(InputError, match="factors_zyx"):
        downsampled(volume, (5, 1, 1))


def test_coarser_volume_joins_voxels_up_to_the_wanted_edge():
    assert coarser_volume(thorax(), 9.0).grid.spacing_xyz_mm == (9.0, 9.0, 9.0)
    assert coarser_volume(thorax(), 1.0) is thorax()


def test_coarse_images_look_like_the_fine_ones():
    fine = rendered(view_at())
    view = bin_view(view_at(), 4)
    coarse = DrrRenderer(coarser_volume(thorax(), 6.0), device(), projector="joseph").render(view)
    expected, _ = bin_image(fine, np.ones(fine.shape, bool), 4)
    assert np.corrcoef(coarse.ravel(), expected.ravel())[0, 1] > 0.995
    assert DETECTOR.detector_width_px // 4 == view.width_px

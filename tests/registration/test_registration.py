"""Registration as a whole: poses found, doubts reported, bad input named."""

from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError

from fluoro.config import CarmTolerance, MultiStart, RegistrationSettings
from fluoro.errors import InputError
from fluoro.geometry.carm import CarmPose
from fluoro.names import DEGREES_OF_FREEDOM
from fluoro.registration.measures.metrics import mrpe_mm
from fluoro.registration.register import Registrar, register
from fluoro.registration.report.acceptance import agreement
from fluoro.registration.rigid_motion import moved_view
from tests.registration_support import (
    POSE,
    QUICK,
    blobs,
    center,
    changed,
    counted,
    device,
    displacement,
    error_mm,
    find,
    rendered,
    target,
    thorax,
    view_at,
)

ONE_START = changed(QUICK, multi_start=MultiStart(starts=1))


EXACT = CarmTolerance(
    source_to_detector_mm=0,
    source_to_isocenter_mm=0,
    pixel_spacing_share=0,
    principal_point_mm=0,
)
"""A C-arm whose lengths are known for sure."""


def _seen(pose=POSE):
    return counted(rendered(view_at(pose)), seed=1)


@pytest.mark.parametrize("seed", range(4))
def test_pose_is_found_from_22_mm_away_in_a_noisy_image(seed):
    displaced = displacement(seed, 22.0)
    result = find(_seen(), displaced)
    assert result.converged, result.reason
    assert error_mm(result, displaced) < 0.3
    assert mrpe_mm(result.views[0], view_at(), [center()]) < 0.2


def test_result_tells_the_pose_of_the_carm():
    displaced = displacement(5, 12.0)
    start = CarmPose.from_world_from_carm(displaced @ POSE.world_from_carm(center()), center())
    found = find(_seen(), displaced).carm_pose(start, center())
    assert found.lao_deg == pytest.approx(POSE.lao_deg, abs=0.2)
    assert found.cra_deg == pytest.approx(POSE.cra_deg, abs=0.2)
    assert found.translation_mm == pytest.approx(POSE.translation_mm, abs=0.5)


def test_same_input_gives_a_bit_identical_pose():
    motions = [find(_seen(), displacement(1, 15.0)).motion for _ in range(2)]
    np.testing.assert_array_equal(*motions)


@pytest.mark.parametrize(
    "settings",
    [
        changed(ONE_START, measure="ncc"),
        changed(ONE_START, measure="local_ncc"),
        changed(ONE_START, measure="gradient_ncc"),
        changed(ONE_START, measure="mse"),
        changed(ONE_START, measure="mutual_information", optimiser="lbfgs", max_iterations=60),
        changed(ONE_START, measure="ncc", optimiser="adam", max_iterations=60, step_mm=0.02),
        changed(ONE_START, measure="gradient_ncc", optimiser="lbfgs", max_iterations=60),
        changed(ONE_START, loss="squares"),
        changed(ONE_START, loss="tukey"),
        changed(ONE_START, projector="march"),
        changed(ONE_START, voxels_per_pixel=0.0),
        changed(ONE_START, widths_px=(96,)),
    ],
    ids=lambda s: (
        f"{s.measure or 'local_ncc'} {s.optimiser} {s.loss} {s.projector or 'joseph'} "
        f"{len(s.widths_px)}"
    ),
)
def test_every_measure_and_optimiser_ends_at_the_pose(settings):
    displaced = displacement(2, 6.0)
    result = find(_seen(), displaced, settings)
    assert error_mm(result, displaced) < 1.0, result.reason


def test_mutual_information_finds_the_pose_under_another_law_of_grey_levels():
    law = np.cos(rendered(view_at()) * 1.2)  # neither rising nor falling
    displaced = displacement(3, 5.0)
    settings = changed(
        ONE_START, measure="mutual_information", optimiser="lbfgs", max_iterations=80
    )
    assert error_mm(find(law, displaced, settings), displaced) < 1.0


def test_tool_across_the_image_does_not_pull_a_robust_registration():
    rows, columns = np.mgrid[:96, :96]
    seen = _seen() + 2 * (np.abs(rows - 0.6 * columns - 12) < 2)
    displaced = displacement(4, 10.0)
    result = find(seen, displaced)
    assert result.converged, result.reason
    assert error_mm(result, displaced) < 0.8


def test_other_scale_and_polarity_are_no_matter_once_prepared():
    displaced = displacement(6, 15.0)
    result = find(0.2 * _seen() - 7, displaced)
    assert result.converged
    assert error_mm(result, displaced) < 0.3


def test_two_views_share_one_motion_and_fix_the_depth():
    poses = (POSE, CarmPose(lao_deg=-70))
    displaced = displacement(7, 20.0)
    registrar = Registrar(thorax(), device(), QUICK, tolerance=EXACT)
    starts = [moved_view(view_at(pose), displaced) for pose in poses]
    both = registrar.register([target(_seen(pose)) for pose in poses], starts)
    one = registrar.register([target(_seen())], starts[:1])
    assert both.converged, both.reason
    assert error_mm(both, displaced) < 0.15
    assert both.axis_sigma[5] < 0.5 * one.axis_sigma[5]
    assert len(both.views) == 2


def test_depth_is_the_least_certain_shift_of_a_single_view():
    result = find(_seen(), displacement(8, 5.0))
    across, along, depth = result.axis_sigma[3:]
    assert depth > 3 * max(across, along)


def test_covariance_is_the_scatter_of_repeated_registrations():
    errors, sigmas = [], []
    displaced = displacement(9, 2.0)
    settings = changed(ONE_START, measure="ncc", widths_px=(96,), projector="march")
    registrar = Registrar(thorax(), device(), settings, tolerance=EXACT)
    for seed in range(12):
        image = counted(rendered(view_at()), seed, photons=2e4)
        result = registrar.register([target(image)], [moved_view(view_at(), displaced)])
        error = result.motion @ displaced
        errors.append(error[:3, 3] + error[:3, :3] @ center() - center())
        sigmas.append(np.sqrt(np.diag(result.covariance)[3:]))
    scatter = np.sqrt(np.mean(np.square(errors), axis=0))
    ratio = scatter / np.mean(sigmas, axis=0)
    assert (ratio > 0.3).all(), ratio  # POSE_INFLATION is for images with scatter and blur
    assert (ratio < 2.5).all(), ratio


def test_fixed_degrees_of_freedom_stay_and_are_certain():
    fixed = frozenset({"shift_beam", "turn_columns", "turn_rows"})
    start = view_at()
    registrar = Registrar(thorax(), device(), changed(ONE_START, fixed=fixed))
    seen = _seen(replace(POSE, roll_deg=6.0))
    result = registrar.register([target(seen)], [start])
    assert result.axis_sigma[0] == pytest.approx(0, abs=1e-12)
    assert result.axis_sigma[5] == pytest.approx(0, abs=1e-9)
    moved = result.views[0]
    beam = np.cross(start.column_step_xyz_mm, start.row_step_xyz_mm)
    after = np.cross(moved.column_step_xyz_mm, moved.row_step_xyz_mm)
    np.testing.assert_allclose(after, beam, atol=1e-9)
    assert result.converged


def test_history_has_every_iteration_of_every_level():
    watched = []
    registrar = Registrar(thorax(), device(), ONE_START)
    start = moved_view(view_at(), displacement(0, 8.0))
    result = registrar.register([target(_seen())], [start], watch=watched.append)
    assert [id(step) for step in result.history] == [id(step) for step in watched]
    assert [step.level for step in result.history] == sorted(step.level for step in watched)
    assert {step.level for step in watched} == {24, 48, 96}
    last = [step for step in watched if step.level == 96]
    assert last[-1].cost <= last[0].cost
    assert result.iterations >= len(last)


# -- what is not there is not found ------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "image"),
    [
        ("white noise", np.random.default_rng(0).normal(size=(96, 96))),
        ("blobs", blobs((96, 96), 1, 4.0)),
        ("a slope", np.linspace(0, 3, 96)[:, None] + 0.02 * blobs((96, 96), 2, 0.5)),
        ("a disc", np.hypot(*(np.indices((96, 96)) - 40)) < 25),
    ],
)
def test_image_without_the_anatomy_is_not_converged(name, image):
    result = find(np.asarray(image, float), displacement(0, 5.0))
    assert not result.converged
    assert "does not show the anatomy" in result.reason or "bound" in result.reason


@pytest.mark.parametrize(
    ("flip", "pose"),
    [(np.fliplr, CarmPose()), (np.fliplr, POSE), (np.flipud, POSE)],
    ids=["mirrored frontal", "mirrored oblique", "upside down"],
)
def test_mirrored_anatomy_is_not_converged(flip, pose):
    result = find(np.ascontiguousarray(flip(_seen(pose))), displacement(0, 5.0), pose=pose)
    assert not result.converged
    assert result.reason


def test_view_far_outside_the_volume_is_not_converged():
    far = view_at(CarmPose(translation_mm=(900.0, 0.0, 0.0)))
    result = register(thorax(), device(), [target(_seen())], [far], ONE_START)
    assert not result.converged
    assert "singular normal matrix" in result.reason
    assert np.isnan(result.covariance).all()


def test_pose_beyond_the_bounds_is_not_converged():
    settings = changed(ONE_START, shift_bound_mm=3.0)
    start = view_at(replace(POSE, translation_mm=(16.0, -4.0, 9.0)))
    result = register(thorax(), device(), [target(_seen())], [start], settings)
    assert not result.converged
    assert "bound of" in result.reason
    assert any(name in result.reason for name in DEGREES_OF_FREEDOM)


def test_too_few_iterations_are_reported():
    result = find(_seen(), displacement(1, 15.0), changed(ONE_START, max_iterations=2))
    assert not result.converged
    assert "still moving after 2 iterations" in result.reason


def test_second_attempt_starts_wider_and_only_where_the_first_failed():
    settings = changed(QUICK, attempts=2, multi_start=MultiStart(starts=8))
    wider = settings.multi_start.wider(1)
    assert (wider.starts, wider.turn_sigma_deg, wider.seed) == (16, 15.0, 1)
    once = find(_seen(), displacement(1, 5.0), settings)
    twice = find(blobs((96, 96), 1, 4.0), displacement(1, 5.0), settings)
    assert sum(s.level == 24 and s.iteration == 1 for s in once.history) < sum(
        s.level == 24 and s.iteration == 1 for s in twice.history
    )


def test_agreement_is_one_with_itself_whatever_gain_and_shading():
    image = rendered(view_at())
    everywhere = np.ones(image.shape, bool)
    shaded = 3 * image + np.linspace(0, 5, 96)
    assert agreement(image, image, everywhere)[0] == pytest.approx(1, abs=1e-6)
    assert agreement(image, shaded.astype(np.float32), everywhere)[0] > 0.99


def test_agreement_counts_only_tiles_in_the_mask():
    image = rendered(view_at())
    mask = np.zeros(image.shape, bool)
    mask[20:60, 20:60] = True
    spoiled = np.where(mask, image, 7.0).astype(np.float32)
    value, tiles = agreement(image, spoiled, mask)
    assert value > 0.99
    assert tiles < agreement(image, image, np.ones_like(mask))[1] / 3


def test_mask_too_small_to_assess_is_reported():
    mask = np.zeros((96, 96), bool)
    mask[40:58, 40:58] = True
    registrar = Registrar(thorax(), device(), changed(ONE_START, widths_px=(96,)))
    result = registrar.register([target(_seen(), mask)], [view_at()])
    assert not result.converged
    assert "too little structure" in result.reason


# -- bad input ---------------------------------------------------------------------------------


def test_target_of_another_size_than_its_view_is_refused():
    with pytest.raises(InputError, match="target 0 must have its view's shape"):
        register(thorax(), device(), [target(_seen()[:-1])], [view_at()])


def test_targets_and_views_must_be_as_many():
    with pytest.raises(InputError, match="as many as views"):
        register(thorax(), device(), [target(_seen())], [])


@pytest.mark.parametrize(
    ("image", "mask", "words"),
    [
        (np.full((8, 8), 2.0), None, "constant"),
        (np.full((8, 8), np.nan), None, "finite"),
        (np.eye(8), np.zeros((8, 8), bool), "empty mask"),
        (np.eye(8), np.ones((7, 8), bool), "shape"),
    ],
)
def test_useless_target_is_refused(image, mask, words):
    with pytest.raises(InputError, match=words):
        target(image, mask)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"measure": "likeness"}, "measure"),
        ({"optimiser": "newton"}, "optimiser"),
        ({"loss": "cauchy"}, "loss"),
        ({"projector": "siddon"}, "projector"),
        ({"measure": "mutual_information"}, "use lbfgs or adam"),
        ({"widths_px": ()}, "widths_px"),
        ({"widths_px": (64, 32)}, "widths_px"),
        ({"widths_px": (4,)}, "widths_px"),
        ({"max_iterations": 0}, "max_iterations"),
        ({"attempts": 0}, "attempts"),
        ({"step_mm": np.nan}, "step_mm"),
        ({"turn_bound_deg": 200.0}, "turn_bound_deg"),
        ({"least_agreement": 1.5}, "least_agreement"),
        ({"voxels_per_pixel": -1.0}, "voxels_per_pixel"),
        ({"fixed": ("depth",)}, "'depth'"),
        ({"fixed": DEGREES_OF_FREEDOM}, "at least one"),
    ],
)
def test_settings_that_cannot_be_are_refused(values, words):
    with pytest.raises(ValidationError, match=words):
        RegistrationSettings(**values)


@pytest.mark.parametrize("values", [{"starts": 0}, {"turn_sigma_deg": -1.0}])
def test_multi_start_that_cannot_be_is_refused(values):
    with pytest.raises(ValidationError, match=next(iter(values))):
        MultiStart(**values)

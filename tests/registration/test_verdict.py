"""What a registration believes, and what it says where it does not."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from fluoro.config import CarmTolerance
from fluoro.errors import InputError
from fluoro.registration.measures.tile_fit import blur_derivative, blurred_with, fit_tiles
from fluoro.registration.next_steps import CAUSES, NEXT_STEPS
from fluoro.registration.register import Registrar
from fluoro.registration.report.acceptance import Acceptance, fits_as_well
from fluoro.registration.rigid_motion import moved_view
from fluoro.registration.search.hypotheses import HYPOTHESES, undone
from fluoro.registration.search.lengths import LengthTolerance, length_derivatives, with_lengths
from fluoro.registration.search.uncertainty import MODEL, ViewFit, likely_lengths
from fluoro.registration.targets.preparation import Preparation
from fluoro.registration.targets.target_preprocessing import prepare
from fluoro.rendering.renderer import DrrRenderer
from tests.registration_support import (
    DETECTOR,
    POSE,
    SMALL,
    center,
    changed,
    counted,
    device,
    displacement,
    error_mm,
    rendered,
    target,
    thorax,
    view_at,
)

PHOTONS = 2e4
EXACT = CarmTolerance(
    source_to_detector_mm=0.0,
    source_to_isocenter_mm=0.0,
    pixel_spacing_share=0.0,
    principal_point_mm=0.0,
)


def seen(detector=DETECTOR, pose=POSE, seed=1):
    """A noisy image by a C-arm."""
    return counted(rendered(view_at(pose, detector)), seed, PHOTONS)


def found(image, settings=SMALL, seed=3, mm=6.0, tolerance=None):
    """The registration of an image from a start that is a little off."""
    registrar = Registrar(thorax(), device(), settings, tolerance=tolerance)
    start = moved_view(view_at(), displacement(seed, mm))
    return registrar.register([target(image)], [start])


@pytest.mark.parametrize(
    ("which", "step", "change"),
    [
        (0, 0.5, lambda d, e: replace(d, detector_offset_mm=(e, 0.0))),
        (1, 0.5, lambda d, e: replace(d, detector_offset_mm=(0.0, e))),
        (2, 2e-3, lambda d, e: replace(d, pixel_spacing_mm=d.pixel_spacing_mm * (1 + e))),
    ],
)
def test_derivative_with_respect_to_a_length_is_that_of_differences(which, step, change):
    renderer = DrrRenderer(thorax(), device(), projector="joseph")
    view = view_at()
    _, jacobian = renderer.render_jacobian(view, center())
    analytic = length_derivatives(view, jacobian, center())[which]
    ends = [renderer.render(view_at(POSE, change(DETECTOR, e))) for e in (step, -step)]
    differences = (np.asarray(ends[0], float) - ends[1]) / (2 * step)
    likeness = np.corrcoef(analytic.ravel(), differences.ravel())[0, 1]
    gain = (analytic * differences).sum() / (differences**2).sum()
    assert likeness > 0.97  # a difference steps over voxels, a derivative does not
    assert gain == pytest.approx(1, abs=0.05)


def test_blur_derivative_is_that_of_a_blurred_intensity():
    from scipy.ndimage import gaussian_filter

    rows, columns = np.indices((64, 64)) / 8.0
    image = 2 + np.sin(rows) * np.cos(columns)
    blurred = -np.log(gaussian_filter(np.exp(-image), 0.4))
    change = (blurred - image)[4:-4, 4:-4] / 0.4**2
    assert blur_derivative(image)[4:-4, 4:-4] == pytest.approx(change, abs=0.01)


def test_blurred_image_and_derivative_are_those_of_the_blurred_intensity():
    from scipy.ndimage import gaussian_filter

    rows, columns = np.indices((64, 64)) / 8.0
    image, change = 2 + np.sin(rows) * np.cos(columns), np.cos(rows)
    blurred, derivatives = blurred_with(image, change[None], 0.5)
    ends = [-np.log(gaussian_filter(np.exp(-image - e * change), 0.5**0.5)) for e in (1e-4, -1e-4)]
    inner = (slice(4, -4), slice(4, -4))
    assert blurred[inner] == pytest.approx(np.mean(ends, axis=0)[inner], abs=2e-3)
    assert derivatives[0][inner] == pytest.approx(((ends[0] - ends[1]) / 2e-4)[inner], abs=2e-3)


def test_view_with_other_lengths_is_that_of_the_c_arm_which_has_them():
    offset, share = (3.0, -2.0), 0.01
    other = replace(
        DETECTOR,
        detector_offset_mm=offset,
        pixel_spacing_mm=DETECTOR.pixel_spacing_mm * (1 + share),
    )
    expected, found_view = view_at(POSE, other), with_lengths(view_at(), (*offset, share))
    for name in ("source_xyz_mm", "corner_xyz_mm", "column_step_xyz_mm", "row_step_xyz_mm"):
        np.testing.assert_allclose(getattr(found_view, name), getattr(expected, name), atol=1e-9)


def test_fit_of_tiles_leaves_nothing_of_gain_plane_and_scatter():
    image = rendered(view_at()).astype(float)
    rows = np.linspace(0, 1, image.shape[0])[:, None]
    seen_image = 0.8 * image + 0.3 * rows - 0.02 * np.exp(image - image.max())
    noise = np.random.default_rng(0).normal(scale=0.01, size=image.shape)
    fit = fit_tiles(image, seen_image + noise, np.ones(image.shape, bool))
    assert fit.unexplained < 0.003
    assert abs(fit.whiteness) < 0.1


def test_gain_that_slopes_displaces_a_fit_less_that_knows_slopes():
    from scipy.ndimage import gaussian_filter

    random = np.random.default_rng(0)
    image = 2 + 4 * gaussian_filter(random.normal(size=(256, 256)), 3.0)
    gain = 1 + 0.5 * np.linspace(-1, 1, 256)
    seen_image = gain * (image - 2) + random.normal(scale=0.02, size=image.shape)
    change, mask = np.gradient(image, axis=1)[None], np.ones(image.shape, bool)
    fits = [fit_tiles(image, seen_image, mask, change, sloping=each) for each in (False, True)]
    plain, sloping = (abs(float(fit.gradient[0] / fit.normal[0, 0])) for fit in fits)
    assert plain > 0.01  # pixels
    assert sloping < 0.3 * plain


def test_slopes_that_are_noise_cost_little_of_what_the_image_tells():
    random = np.random.default_rng(0)
    rows, columns = np.indices((256, 256)) / 5.0
    image = 2 + 0.5 * np.sin(rows) * np.cos(columns)
    noise = random.normal(size=image.shape)
    change, mask = np.gradient(image, axis=1)[None], np.ones(image.shape, bool)
    kept = []
    for sigma in (1.0, 0.001):
        fits = [
            fit_tiles(image, image + sigma * noise, mask, change, sloping=each)
            for each in (False, True)
        ]
        kept.append(float(fits[1].normal[0, 0] / fits[0].normal[0, 0]))
    assert kept[0] > 0.98
    assert kept[1] < kept[0] - 0.01


def test_right_pose_is_believed_and_its_error_lies_within_what_is_stated():
    result = found(seen())
    assert result.converged, result.reason
    assert result.confidence > 0.9
    assert result.next_step == ""
    expected = np.hypot(result.evidence["in_plane_mm"], result.evidence["along_beam_mm"])
    assert error_mm(result, displacement(3, 6.0)) < 3 * expected
    assert result.evidence["in_plane_mm"] < result.evidence["along_beam_mm"]


def test_c_arm_with_the_stated_lengths_keeps_them_whatever_their_tolerance():
    image = rendered(view_at())
    loose, exact = found(image), found(image, tolerance=EXACT)
    np.testing.assert_allclose(loose.motion, exact.motion, atol=1e-9)
    assert error_mm(loose, displacement(3, 6.0)) < 0.03  # 0.17 where the lengths are fitted too
    assert loose.evidence["in_plane_mm"] > exact.evidence["in_plane_mm"]


def test_lengths_that_the_image_is_against_go_into_the_pose():
    off_mm = 12.0
    image = rendered(view_at(POSE, replace(DETECTOR, detector_offset_mm=(off_mm, 0.0))))
    result = found(image, tolerance=CarmTolerance(principal_point_mm=20.0))
    assert result.converged, result.reason
    assert error_mm(result, displacement(3, 6.0)) < 1.0  # 5.9 with the stated lengths


@pytest.mark.parametrize("own_mm", [0.2, 1.0, 5.0])
def test_stated_doubt_in_the_lengths_is_that_about_those_that_the_pose_goes_with(own_mm):
    tolerance = LengthTolerance(principal_point_mm=0.5, scale_share=1e-3, isocenter_mm=0.0)
    random, sizes = np.random.default_rng(0), np.array(tolerance.lengths)
    own = np.array([own_mm, own_mm, 2e-3 * own_mm])
    squares, stated = [], []
    for true in random.normal(size=(4000, 3)) * sizes:
        image = true + np.hypot(own, MODEL) * random.normal(size=3)
        fit = ViewFit(
            image=None, tiles=None, lengths=image, lengths_covariance=np.diag(own**2), surprise=0.0
        )
        taken, moment = likely_lengths(fit, tolerance)
        squares.append((true - taken) ** 2)
        stated.append(np.diag(moment))
    assert np.mean(squares, axis=0) == pytest.approx(np.mean(stated, axis=0), rel=0.05)


@pytest.mark.parametrize("factor", [0.9, 1.1])
def test_wrong_distance_is_named_with_the_ratio_that_fits(factor):
    other = replace(DETECTOR, source_to_detector_mm=factor * DETECTOR.source_to_detector_mm)
    result = found(seen(other))
    assert not result.converged
    assert result.cause == "scale"
    assert "carm.source_to_detector_mm x" in result.reason
    named = float(result.reason.split("source_to_detector_mm x ")[1].split()[0])
    assert (named > 1) == (factor > 1)
    assert "carm.pixel_spacing_mm" in result.next_step


@pytest.mark.parametrize(("amplitude", "cause"), [(0.0, "scale"), (0.15, "unexplained")])
def test_lengths_are_named_only_where_they_explain_the_image(amplitude, cause):
    other = replace(DETECTOR, source_to_detector_mm=1.2 * DETECTOR.source_to_detector_mm)
    image = rendered(view_at(POSE, other))
    foreign = gaussian_filter(np.random.default_rng(5).normal(size=image.shape), 2.0)
    image = image + amplitude * foreign / foreign.std()
    assert found(counted(image, 1, PHOTONS)).cause == cause


def test_wrong_principal_point_is_named():
    result = found(seen(replace(DETECTOR, detector_offset_mm=(25.0, 0.0))))
    assert not result.converged
    assert result.cause == "principal point"
    u_mm, v_mm = json.loads("[" + result.reason.split("[")[1].split("]")[0] + "]")
    off = 3 * result.evidence["principal_point_mm"]
    assert u_mm == pytest.approx(25.0, abs=off)
    assert v_mm == pytest.approx(0.0, abs=off)
    assert off < 20.0


def test_mirrored_image_is_named_and_not_believed():
    result = found(seen()[:, ::-1], changed(SMALL, hypotheses="doubt", widths_px=(24, 48)))
    assert not result.converged
    assert result.cause == "mirrored"
    assert "the image looks mirrored: agreement" in result.reason


def test_image_that_is_right_stays_so_where_hypotheses_are_always_tried():
    result = found(seen(), changed(SMALL, hypotheses="always", widths_px=(24, 48)))
    assert result.converged, result.reason


def test_another_reading_is_a_hint_only_where_it_is_worth_a_try():
    lost = Acceptance(converged=False, reason="", evidence={"agreement": 0.6}, cause="disagrees")
    believed = replace(lost, converged=True, cause=None, evidence={"agreement": 0.93})
    found = {cause: replace(lost, evidence={"agreement": 0.72}, cause=cause) for cause in CAUSES}
    hints = [cause for cause, each in found.items() if fits_as_well(each, lost, 0.7)]
    assert hints == ["principal point", "scale", "uncertain"]
    assert fits_as_well(replace(found["scale"], converged=True), lost, 0.7)
    assert not fits_as_well(found["scale"], believed, 0.7)
    assert fits_as_well(replace(found["bound"], evidence={"agreement": 0.94}), believed, 0.7)


def test_undoing_a_hypothesis_brings_the_image_back():
    image = rendered(view_at())
    for each in HYPOTHESES:
        spoilt = undone(each, [target(image)])
        times = 4 if each.looks.endswith(("90 degrees", "270 degrees")) else 2
        for _ in range(times - 1):
            spoilt = undone(each, spoilt)
        np.testing.assert_array_equal(spoilt[0].image, image)


def test_quarter_turn_of_an_oblong_image_is_no_hypothesis():
    turned = [each for each in HYPOTHESES if each.cause == "turned"]
    oblong = [target(rendered(view_at())[:50])]
    assert [undone(each, oblong) is None for each in turned] == [False, True, True]


def test_tolerance_of_the_isocentre_enters_the_error_along_the_beam_alone():
    loose = CarmTolerance(source_to_isocenter_mm=2.0)
    exact = CarmTolerance(source_to_isocenter_mm=0.0)
    figures = [found(seen(), tolerance=each).evidence for each in (loose, exact)]
    first, second = (each["along_beam_mm"] for each in figures)
    assert first**2 - second**2 == pytest.approx(4.0, rel=1e-3)
    assert figures[0]["in_plane_mm"] == pytest.approx(figures[1]["in_plane_mm"], rel=0.05)


def test_a_large_tolerance_takes_a_wrong_distance_for_possible():
    other = replace(DETECTOR, source_to_detector_mm=1.02 * DETECTOR.source_to_detector_mm)
    tight, loose = (  # the isocentre's tolerance would add to both errors
        found(
            seen(other),
            tolerance=CarmTolerance(source_to_isocenter_mm=0.0, source_to_detector_mm=mm),
        )
        for mm in (1.0, 30.0)
    )
    assert tight.evidence["surprise"] > 2 * loose.evidence["surprise"]
    assert loose.evidence["along_beam_mm"] > 1.4 * tight.evidence["along_beam_mm"]


def test_tolerance_counts_by_the_view():
    tolerance = LengthTolerance.of(
        CarmTolerance(source_to_detector_mm=10.2, pixel_spacing_share=0.0), view_at()
    )
    assert tolerance.scale_share == pytest.approx(10.2 / DETECTOR.source_to_detector_mm)


def test_every_cause_says_what_to_try():
    assert set(NEXT_STEPS) == set(CAUSES)
    assert all(text and text[-1] not in ".;" for text in NEXT_STEPS.values())


def test_view_in_metres_is_explained():
    view = view_at()
    metres = replace(
        view,
        source_xyz_mm=view.source_xyz_mm / 1000,
        corner_xyz_mm=view.corner_xyz_mm / 1000,
        column_step_xyz_mm=view.column_step_xyz_mm / 1000,
        row_step_xyz_mm=view.row_step_xyz_mm / 1000,
    )
    with pytest.raises(InputError, match="extrinsics must be in millimetres"):
        Registrar(thorax(), device(), SMALL).register([target(seen())], [metres])


def test_source_in_metres_with_lengths_in_millimetres_is_explained():
    view = view_at()
    moved = view.source_xyz_mm / 1000 - view.source_xyz_mm
    metres = replace(
        view,
        source_xyz_mm=view.source_xyz_mm + moved,
        corner_xyz_mm=view.corner_xyz_mm + moved,
    )
    result = Registrar(thorax(), device(), SMALL).register([target(seen())], [metres])
    assert not result.converged
    assert result.reason.endswith("are the extrinsics in millimetres?")
    assert "millimetres" in result.next_step


def test_values_that_are_not_finite_are_no_error_where_the_crop_leaves_them_out():
    image = rendered(view_at()).astype(float)
    image[:5] = np.nan
    cropped = prepare(image, Preparation(kind="log", crop=(5, 0, 0, 0)))
    assert not cropped.mask[:5].any()
    with pytest.raises(InputError, match="target must be finite"):
        prepare(image, Preparation(kind="log", crop=(4, 0, 0, 0)))

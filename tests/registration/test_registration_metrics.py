"""Distances between poses, random starts, and what many registrations amount to."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from fluoro.errors import InputError
from fluoro.geometry.carm import CarmGeometry, CarmPose
from fluoro.geometry.se3 import se3_exp, translation
from fluoro.registration.measures.metrics import (
    capture_range_mm,
    cube_corners_xyz_mm,
    geodesic_distance,
    mrpe_mm,
    mtre_mm,
    strata,
    success_rate,
)
from fluoro.registration.rigid_motion import motion_about, moved_view, twist_about, view_axes
from fluoro.registration.search.starts import displacement_mm, spread_twists, twist_at_mtre

ISOCENTER = np.array([10.0, -20.0, 30.0])
CARM = CarmGeometry(detector_width_px=64, detector_height_px=48, pixel_spacing_mm=4.0)
ROUNDING_MM = 1e-9


def test_cube_has_its_corners_at_half_its_edge():
    corners = cube_corners_xyz_mm(ISOCENTER)
    np.testing.assert_allclose(np.abs(corners - ISOCENTER), np.full((8, 3), 60.0))
    assert len({tuple(corner) for corner in corners}) == 8


def test_mtre_of_a_shift_is_its_length():
    pose = CarmPose(lao_deg=30, cra_deg=-10)
    moved = CarmPose(lao_deg=30, cra_deg=-10, translation_mm=(3.0, -4.0, 12.0))
    a, b = (p.world_from_carm(ISOCENTER) for p in (pose, moved))
    assert mtre_mm(a, b, cube_corners_xyz_mm(ISOCENTER)) == pytest.approx(13.0)
    assert mtre_mm(a, a, cube_corners_xyz_mm(ISOCENTER)) == pytest.approx(0, abs=ROUNDING_MM)


def test_mtre_follows_its_definition_in_the_frame_of_the_carm():
    random = np.random.default_rng(0)
    estimated, true = (se3_exp(random.normal(size=6) * [1, 1, 1, 50, 50, 50]) for _ in range(2))
    points = random.normal(size=(7, 3)) * 50
    homogeneous = np.column_stack([points, np.ones(7)])
    offsets = (np.linalg.inv(estimated) - np.linalg.inv(true)) @ homogeneous.T
    expected = np.linalg.norm(offsets[:3], axis=0).mean()
    assert mtre_mm(estimated, true, points) == pytest.approx(expected)


def test_mtre_of_a_turn_about_the_isocentre_is_the_mean_chord():
    turned = CarmPose(lao_deg=10).world_from_carm(ISOCENTER)
    chord = 2 * np.hypot(60, 60) * np.sin(np.radians(5))  # every corner, about the patient's axis
    found = mtre_mm(turned, CarmPose().world_from_carm(ISOCENTER), cube_corners_xyz_mm(ISOCENTER))
    assert found == pytest.approx(chord)


def test_mrpe_of_a_shift_across_the_beam_is_magnified():
    view = CARM.view(CarmPose(), ISOCENTER)
    shifted = CARM.view(CarmPose(translation_mm=(3.0, 0.0, 4.0)), ISOCENTER)
    assert mrpe_mm(shifted, view, [ISOCENTER]) == pytest.approx(5.0 * 1020 / 510)


def test_mrpe_hardly_sees_depth():
    view = CARM.view(CarmPose(), ISOCENTER)
    deeper = CARM.view(CarmPose(translation_mm=(0.0, 5.0, 0.0)), ISOCENTER)
    corners = cube_corners_xyz_mm(ISOCENTER)
    assert mrpe_mm(deeper, view, [ISOCENTER]) == pytest.approx(0, abs=ROUNDING_MM)
    assert 0 < mrpe_mm(deeper, view, corners) < 2.5


def test_geodesic_distance_is_scipys_angle_and_the_distance_of_origins():
    random = np.random.default_rng(1)
    a, b = (se3_exp(random.normal(size=6) * [1, 1, 1, 50, 50, 50]) for _ in range(2))
    angle_deg, distance_mm = geodesic_distance(a, b)
    relative = Rotation.from_matrix(a[:3, :3].T @ b[:3, :3])
    assert angle_deg == pytest.approx(np.degrees(relative.magnitude()))
    assert distance_mm == pytest.approx(np.linalg.norm(a[:3, 3] - b[:3, 3]))


@pytest.mark.parametrize("points", [np.zeros((0, 3)), np.zeros(3), np.zeros((4, 2))])
def test_targets_of_another_shape_are_refused(points):
    with pytest.raises(InputError, match="targets_xyz_mm"):
        mtre_mm(np.eye(4), np.eye(4), points)


def test_success_counts_what_is_below_two_millimetres_and_never_nan():
    assert success_rate([0.1, 1.99, 2.0, np.nan]) == 0.5
    with pytest.raises(InputError, match="at least one"):
        success_rate([])


def test_capture_range_ends_at_the_first_bin_that_fails():
    starts = np.repeat([5.0, 15.0, 25.0, 35.0], 20)
    finals = np.full(80, 0.3)
    assert capture_range_mm(starts, finals) == 40
    finals[41] = 9.0  # 19 of 20: still 95 %
    assert capture_range_mm(starts, finals) == 40
    finals[42] = 9.0
    assert capture_range_mm(starts, finals) == 20
    finals[:3] = np.nan
    assert capture_range_mm(starts, finals) == 0


def test_capture_range_does_not_jump_an_empty_bin():
    assert capture_range_mm([5.0, 25.0], [0.1, 0.1]) == 10


def test_strata_report_medians_and_percentiles_with_nan_as_failure():
    finals = np.array([*np.linspace(0.1, 1.9, 18), 50.0, np.nan])
    (stratum,) = strata(np.linspace(20, 29.9, 20), finals)
    assert (stratum.low_mm, stratum.high_mm, stratum.count) == (20, 30, 20)
    assert stratum.success == 0.9
    assert stratum.below_1_mm == (finals < 1).mean()
    assert stratum.median_mm == pytest.approx(finals[10])
    assert np.isinf(stratum.p95_mm) or stratum.p95_mm == 50


def test_starts_and_ends_of_different_number_are_refused():
    with pytest.raises(InputError, match="as many"):
        strata([1.0, 2.0], [1.0])
    with pytest.raises(InputError, match="bin_mm"):
        strata([1.0], [1.0], bin_mm=0.0)


@pytest.mark.parametrize("distance_mm", [0.0, 0.5, 20.0, 60.0, 150.0])
def test_random_start_is_as_far_away_as_asked(distance_mm):
    random = np.random.default_rng(3)
    for _ in range(20):
        twist = twist_at_mtre(random, distance_mm, ISOCENTER)
        assert displacement_mm(twist, ISOCENTER) == pytest.approx(distance_mm, abs=1e-6)


def test_random_starts_point_everywhere():
    random = np.random.default_rng(4)
    twists = np.array([twist_at_mtre(random, 30.0) for _ in range(400)])
    scaled = twists * [100, 100, 100, 1, 1, 1]
    assert np.abs(scaled.mean(axis=0)).max() < 0.15 * scaled.std()
    np.testing.assert_allclose(scaled.std(axis=0) / scaled.std(), 1, atol=0.25)


def test_impossible_distance_is_refused():
    with pytest.raises(InputError, match="mtre_mm"):
        twist_at_mtre(np.random.default_rng(0), 151.0)


def test_spread_begins_at_the_start_and_has_the_wanted_deviations():
    sigmas = np.array([0.1, 0.2, 0.3, 10, 20, 30])
    twists = spread_twists(257, sigmas, seed=1)
    assert twists.shape == (257, 6)
    assert not twists[0].any()
    np.testing.assert_allclose(twists[1:].std(axis=0), sigmas, rtol=0.1)
    np.testing.assert_array_equal(spread_twists(257, sigmas, seed=1), twists)
    assert spread_twists(1, sigmas, seed=1).shape == (1, 6)


def test_motion_about_a_point_leaves_it_where_it_is_but_for_the_shift():
    motion = motion_about([0.3, -0.2, 0.9, 0, 0, 0], ISOCENTER)
    np.testing.assert_allclose(motion @ [*ISOCENTER, 1], [*ISOCENTER, 1], atol=ROUNDING_MM)
    np.testing.assert_allclose(motion_about([0, 0, 0, 1, 2, 3], ISOCENTER), translation((1, 2, 3)))


def test_twist_about_a_point_undoes_the_motion():
    twist = np.array([0.3, -0.2, 0.9, 10.0, -20.0, 30.0])
    np.testing.assert_allclose(twist_about(motion_about(twist, ISOCENTER), ISOCENTER), twist)


def test_moved_view_is_the_view_of_the_moved_carm():
    pose = CarmPose(lao_deg=20, cra_deg=5)
    motion = motion_about([0.1, 0.2, -0.1, 5, 6, 7], ISOCENTER)
    moved = motion @ pose.world_from_carm(ISOCENTER)
    expected = CARM.view(CarmPose.from_world_from_carm(moved, ISOCENTER), ISOCENTER)
    found = moved_view(CARM.view(pose, ISOCENTER), motion)
    for name, value in vars(expected).items():
        np.testing.assert_allclose(getattr(found, name), value, atol=ROUNDING_MM)


def test_axes_of_the_frontal_view_are_left_feet_and_front():
    axes = view_axes(CARM.view(CarmPose(), ISOCENTER))
    np.testing.assert_allclose(axes.T, [(1, 0, 0), (0, 0, -1), (0, -1, 0)], atol=1e-12)

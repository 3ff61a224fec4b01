"""The conventions of docs/conventions.md, compared with closed forms and independent algebra."""

import itertools
import math

import mpmath
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from fluoro.errors import InputError
from fluoro.geometry.carm import CarmGeometry, CarmPose
from fluoro.geometry.projection import View, camera_matrices, project_points
from fluoro.geometry.se3 import (
    _coefficients,
    hat,
    interpolate,
    quaternion_rotation,
    quaternion_wxyz,
    rotation_x,
    rotation_y,
    rotation_z,
    se3_adjoint,
    se3_exp,
    se3_left_jacobian,
    se3_log,
    so3_exp,
    so3_log,
    translation,
)

ROUNDING = 1e-12
"""A few thousand units in the last place of numbers of size 1: only rounding, no other formula."""
ROUNDING_MM = 1e-9
"""The same for lengths of up to 1 m and pixels of up to 1000."""
ISOCENTER_XYZ_MM = (12.0, -34.0, 56.0)
GEOMETRY = CarmGeometry(
    source_to_detector_mm=1020.0,
    source_to_isocenter_mm=510.0,
    detector_width_px=1024,
    detector_height_px=900,
    pixel_spacing_mm=0.5,
)
POSES = [
    CarmPose(),
    CarmPose(lao_deg=30),
    CarmPose(cra_deg=25),
    CarmPose(lao_deg=45, cra_deg=30, roll_deg=10),
    CarmPose(lao_deg=-110, cra_deg=-40, roll_deg=-75, translation_mm=(10.0, -20.0, 30.0)),
]
ANGLES_RAD = [0.0, 1e-15, 1e-12, 1e-9, 1e-6, 1e-4, 1.1e-4, 1e-3, 0.01, 0.1, 0.5, 0.999, 1.001, 2.0]
ANGLES_RAD += [3.0, math.pi - 1e-3, math.pi - 1e-6, math.pi - 1e-9, math.pi - 1e-12, math.pi]
AXES = [(1, 0, 0), (0, -1, 0), (0, 0, 1), (1, 1, 1), (-0.2, 0.5, 0.9), (0.3, -1, 1e-9)]
VELOCITIES_MM = [(0.0, 0.0, 0.0), (100.0, -20.0, 5.0), (0.0, 0.0, 300.0)]


def _detector_axes(pose: CarmPose) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """d, u, v of docs/conventions.md, written out in sines and cosines."""
    a, b, r = np.radians([pose.lao_deg, pose.cra_deg, pose.roll_deg])
    sin, cos = np.sin, np.cos
    d = np.array([sin(a) * cos(b), -cos(a) * cos(b), sin(b)])
    u = np.array([cos(a), sin(a), 0.0])
    v = np.array([sin(a) * sin(b), -cos(a) * sin(b), -cos(b)])
    return d, u * cos(r) + v * sin(r), -u * sin(r) + v * cos(r)


def _unit(axis: tuple[float, float, float]) -> np.ndarray:
    return np.asarray(axis, float) / np.linalg.norm(axis)


def _twists() -> list[np.ndarray]:
    products = itertools.product(ANGLES_RAD, AXES, VELOCITIES_MM)
    return [np.concatenate([angle * _unit(axis), v]) for angle, axis, v in products]


def _oracle_se3_exp(twist: np.ndarray) -> np.ndarray:
    """The matrix exponential itself, from its power series, in 60 digits."""
    with mpmath.workdps(60):
        generator = mpmath.zeros(4)
        for (i, j), value in np.ndenumerate(hat(twist[:3])):
            generator[i, j] = mpmath.mpf(float(value))
        for i in range(3):
            generator[i, 3] = mpmath.mpf(float(twist[3 + i]))
        return np.array(mpmath.expm(generator, method="taylor").tolist(), dtype=float)


# -- the C-arm ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lao_deg", "cra_deg", "direction"),
    [
        (0, 0, (0, -1, 0)),
        (90, 0, (1, 0, 0)),
        (-90, 0, (-1, 0, 0)),
        (0, 90, (0, 0, 1)),
        (0, -90, (0, 0, -1)),
        (180, 0, (0, 1, 0)),
    ],
)
def test_detector_stands_where_dicom_puts_it(lao_deg, cra_deg, direction):
    view = GEOMETRY.view(CarmPose(lao_deg=lao_deg, cra_deg=cra_deg), ISOCENTER_XYZ_MM)
    towards_detector = view.pixel_centers_xyz_mm().mean(axis=(0, 1)) - view.source_xyz_mm
    np.testing.assert_allclose(towards_detector / 1020.0, direction, atol=ROUNDING)


def test_frontal_view_has_columns_to_the_patients_left_and_rows_to_the_feet():
    view = GEOMETRY.view(CarmPose(), ISOCENTER_XYZ_MM)
    np.testing.assert_allclose(view.column_step_xyz_mm, (0.5, 0, 0), atol=ROUNDING)
    np.testing.assert_allclose(view.row_step_xyz_mm, (0, 0, -0.5), atol=ROUNDING)


@pytest.mark.parametrize("pose", POSES)
def test_view_follows_the_closed_forms_of_the_conventions(pose):
    view = GEOMETRY.view(pose, ISOCENTER_XYZ_MM)
    d, u, v = _detector_axes(pose)
    center = np.asarray(ISOCENTER_XYZ_MM) + pose.translation_mm
    np.testing.assert_allclose(view.source_xyz_mm, center - 510 * d, atol=ROUNDING_MM)
    np.testing.assert_allclose(
        view.corner_xyz_mm, center + 510 * d - 256 * u - 225 * v, atol=ROUNDING_MM
    )
    np.testing.assert_allclose(view.column_step_xyz_mm, 0.5 * u, atol=ROUNDING)
    np.testing.assert_allclose(view.row_step_xyz_mm, 0.5 * v, atol=ROUNDING)
    np.testing.assert_allclose(np.cross(u, v), -d, atol=ROUNDING)


def test_world_from_carm_is_the_product_of_turns_in_the_conventions():
    pose = POSES[-1]
    expected = Rotation.from_euler(
        "ZXY", [pose.lao_deg, -pose.cra_deg, pose.roll_deg], degrees=True
    )
    matrix = pose.world_from_carm(ISOCENTER_XYZ_MM)
    np.testing.assert_allclose(matrix[:3, :3], expected.as_matrix(), atol=ROUNDING)
    np.testing.assert_allclose(matrix[:3, 3], (22.0, -54.0, 86.0), atol=ROUNDING_MM)


def test_roll_turns_the_detector_from_columns_towards_rows():
    upright = GEOMETRY.view(CarmPose(lao_deg=20, cra_deg=-15), ISOCENTER_XYZ_MM)
    rolled = GEOMETRY.view(CarmPose(lao_deg=20, cra_deg=-15, roll_deg=90), ISOCENTER_XYZ_MM)
    np.testing.assert_allclose(rolled.column_step_xyz_mm, upright.row_step_xyz_mm, atol=ROUNDING)
    np.testing.assert_allclose(rolled.source_xyz_mm, upright.source_xyz_mm, atol=ROUNDING_MM)


def test_moving_the_carm_moves_source_and_detector_alike():
    still = GEOMETRY.view(CarmPose(lao_deg=33, cra_deg=11), ISOCENTER_XYZ_MM)
    moved = GEOMETRY.view(
        CarmPose(lao_deg=33, cra_deg=11, translation_mm=(1.0, 2.0, 3.0)), ISOCENTER_XYZ_MM
    )
    for name in ("source_xyz_mm", "corner_xyz_mm"):
        shift = getattr(moved, name) - getattr(still, name)
        np.testing.assert_allclose(shift, (1, 2, 3), atol=ROUNDING_MM)


@pytest.mark.parametrize(
    "pose",
    [
        *POSES,
        CarmPose(lao_deg=170, cra_deg=89.9999, roll_deg=-179),
        CarmPose(lao_deg=-40, cra_deg=-89.99999, roll_deg=20),
    ],
)
def test_pose_comes_back_from_its_matrix(pose):
    again = CarmPose.from_world_from_carm(pose.world_from_carm(ISOCENTER_XYZ_MM), ISOCENTER_XYZ_MM)
    assert (again.lao_deg, again.cra_deg, again.roll_deg) == pytest.approx(
        (pose.lao_deg, pose.cra_deg, pose.roll_deg), abs=1e-6
    )
    assert again.translation_mm == pytest.approx(pose.translation_mm, abs=ROUNDING_MM)


@pytest.mark.parametrize("cra_deg", [90.0, -90.0, 90 - 1e-9])
def test_matrix_comes_back_where_the_beam_runs_along_the_patients_axis(cra_deg):
    matrix = CarmPose(lao_deg=25, cra_deg=cra_deg, roll_deg=40).world_from_carm(ISOCENTER_XYZ_MM)
    again = CarmPose.from_world_from_carm(matrix, ISOCENTER_XYZ_MM)
    assert again.roll_deg == 0
    np.testing.assert_allclose(again.world_from_carm(ISOCENTER_XYZ_MM), matrix, atol=3e-8)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("source_to_detector_mm", 0.0),
        ("source_to_isocenter_mm", 1020.0),
        ("detector_width_px", -1),
        ("pixel_spacing_mm", math.nan),
    ],
)
def test_impossible_length_is_named(key, value):
    with pytest.raises(InputError, match=key):
        CarmGeometry(**{key: value})


@pytest.mark.parametrize("key", ["lao_deg", "cra_deg", "roll_deg"])
def test_pose_that_is_not_finite_is_refused(key):
    with pytest.raises(InputError, match="finite"):
        CarmPose(**{key: math.nan})


# -- projection --------------------------------------------------------------------------------


@pytest.mark.parametrize("pose", POSES)
def test_point_lands_where_similar_triangles_put_it(pose):
    offset = np.array([60.0, -30.0, 80.0])
    d, u, v = _detector_axes(pose)
    from_center = offset - pose.translation_mm
    magnification = 1020.0 / (510.0 + from_center @ d)
    column = 1024 / 2 + magnification * (from_center @ u) / 0.5
    row = 900 / 2 + magnification * (from_center @ v) / 0.5
    view = GEOMETRY.view(pose, ISOCENTER_XYZ_MM)
    pixel = project_points(view.pixel_from_world, ISOCENTER_XYZ_MM + offset)
    np.testing.assert_allclose(pixel, (column, row), atol=ROUNDING_MM)


def test_point_at_the_frontal_view_lands_where_arithmetic_puts_it():
    view = GEOMETRY.view(CarmPose(), ISOCENTER_XYZ_MM)
    pixel = project_points(view.pixel_from_world, np.add(ISOCENTER_XYZ_MM, (60, -30, 80)))
    # 30 mm nearer to the detector than the isocentre: 1020/540 times, in pixels of 0.5 mm
    expected = (512 + 60 * 1020 / 540 / 0.5, 450 - 80 * 1020 / 540 / 0.5)
    np.testing.assert_allclose(pixel, expected, atol=ROUNDING_MM)


def test_isocentre_lands_at_the_corner_between_the_middle_pixels():
    for pose in POSES[:4]:
        view = GEOMETRY.view(pose, ISOCENTER_XYZ_MM)
        pixel = project_points(view.pixel_from_world, ISOCENTER_XYZ_MM)
        np.testing.assert_allclose(pixel, (512, 450), atol=ROUNDING_MM)


def test_bead_left_of_the_midline_shows_right_of_the_middle_and_one_at_the_head_above():
    view = GEOMETRY.view(CarmPose(), ISOCENTER_XYZ_MM)
    left = project_points(view.pixel_from_world, np.add(ISOCENTER_XYZ_MM, (20, 0, 0)))
    head = project_points(view.pixel_from_world, np.add(ISOCENTER_XYZ_MM, (0, 0, 20)))
    assert left[0] > 512
    assert head[1] < 450


@pytest.mark.parametrize("pose", POSES)
def test_centre_of_a_pixel_projects_to_its_indices_plus_one_half(pose):
    view = GEOMETRY.view(pose, ISOCENTER_XYZ_MM)
    pixels = project_points(view.pixel_from_world, view.pixel_centers_xyz_mm())
    columns, rows = np.meshgrid(np.arange(1024) + 0.5, np.arange(900) + 0.5)
    np.testing.assert_allclose(pixels, np.stack([columns, rows], axis=-1), atol=ROUNDING_MM)


@pytest.mark.parametrize("pose", POSES)
def test_camera_says_the_same_as_the_projection_matrix(pose):
    view = GEOMETRY.view(pose, ISOCENTER_XYZ_MM)
    pixel_from_camera, camera_from_world = camera_matrices(view)
    np.testing.assert_allclose(
        pixel_from_camera @ camera_from_world[:3], 1020.0 * view.pixel_from_world, atol=1e-8
    )


@pytest.mark.parametrize("pose", POSES)
def test_camera_has_a_negative_fx_and_no_other_surprise(pose):
    pixel_from_camera, camera_from_world = camera_matrices(GEOMETRY.view(pose, ISOCENTER_XYZ_MM))
    expected = [[-1020 / 0.5, 0, 512], [0, 1020 / 0.5, 450], [0, 0, 1]]
    np.testing.assert_allclose(pixel_from_camera, expected, atol=ROUNDING_MM)
    assert np.linalg.det(camera_from_world) == pytest.approx(1, abs=ROUNDING)


def test_camera_looks_along_the_beam_with_x_to_the_patients_right_at_the_zero_pose():
    _, camera_from_world = camera_matrices(GEOMETRY.view(CarmPose(), ISOCENTER_XYZ_MM))
    expected = [[-1, 0, 0], [0, 0, -1], [0, -1, 0]]
    np.testing.assert_allclose(camera_from_world[:3, :3], expected, atol=ROUNDING)
    isocenter = camera_from_world @ [*ISOCENTER_XYZ_MM, 1.0]
    np.testing.assert_allclose(isocenter[:3], (0, 0, 510), atol=ROUNDING_MM)


def test_camera_of_an_unmirrored_detector_has_a_positive_fx():
    view = GEOMETRY.view(POSES[3], ISOCENTER_XYZ_MM)
    flipped = View(**{**vars(view), "column_step_xyz_mm": -view.column_step_xyz_mm})
    pixel_from_camera, camera_from_world = camera_matrices(flipped)
    assert pixel_from_camera[0, 0] == pytest.approx(2040)
    np.testing.assert_allclose(
        pixel_from_camera @ camera_from_world[:3], 1020 * flipped.pixel_from_world, atol=1e-8
    )


def test_camera_refuses_a_detector_without_right_angles():
    view = GEOMETRY.view(CarmPose(), ISOCENTER_XYZ_MM)
    steps = {"column_step_xyz_mm": view.column_step_xyz_mm + 0.1 * view.row_step_xyz_mm}
    with pytest.raises(InputError, match="right angles"):
        camera_matrices(View(**{**vars(view), **steps}))


# -- rigid motions -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("turn", "axis"), [(rotation_x, "x"), (rotation_y, "y"), (rotation_z, "z")]
)
def test_elementary_turns_are_right_handed(turn, axis):
    expected = Rotation.from_euler(axis, 0.7).as_matrix()
    np.testing.assert_allclose(turn(0.7)[:3, :3], expected, atol=ROUNDING)


def test_hat_is_the_cross_product():
    a, b = np.array([1.0, -2.0, 3.0]), np.array([0.5, 4.0, -1.0])
    np.testing.assert_allclose(hat(a) @ b, np.cross(a, b), atol=ROUNDING)


def test_exponential_agrees_with_the_power_series_from_zero_to_pi():
    for twist in _twists():
        expected = _oracle_se3_exp(twist)
        scale = 1 + np.linalg.norm(twist[3:])
        matrix = se3_exp(twist)
        np.testing.assert_allclose(matrix[:3, :3], expected[:3, :3], atol=ROUNDING)
        np.testing.assert_allclose(matrix[:3, 3] / scale, expected[:3, 3] / scale, atol=ROUNDING)


@pytest.mark.parametrize("angle_rad", [a for a in ANGLES_RAD if a < math.pi])
def test_logarithm_undoes_the_references_exponential(angle_rad):
    for axis, velocity in itertools.product(AXES, VELOCITIES_MM):
        twist = np.concatenate([angle_rad * _unit(axis), velocity])
        found = se3_log(_oracle_se3_exp(twist))
        if angle_rad > 3.1 and found[:3] @ twist[:3] < 0:  # rounded across pi: the other way round
            found[:3] *= 1 - 2 * math.pi / np.linalg.norm(found[:3])
            assert np.linalg.norm(found[:3] - twist[:3]) < ROUNDING * 10
            continue
        scale = 1 + np.linalg.norm(velocity)
        np.testing.assert_allclose(found[:3], twist[:3], atol=ROUNDING * 5)
        np.testing.assert_allclose(found[3:] / scale, twist[3:] / scale, atol=ROUNDING * 5)


@pytest.mark.parametrize("angle_rad", ANGLES_RAD)
def test_exponential_of_the_logarithm_is_the_motion(angle_rad):
    for axis, velocity in itertools.product(AXES, VELOCITIES_MM):
        motion = se3_exp(np.concatenate([angle_rad * _unit(axis), velocity]))
        scale = 1 + np.linalg.norm(velocity)
        np.testing.assert_allclose(se3_exp(se3_log(motion)) / scale, motion / scale, atol=5e-12)


def test_coefficients_keep_their_digits_from_zero_to_pi():
    with mpmath.workdps(60):
        for angle in np.concatenate([ANGLES_RAD[1:], np.geomspace(1e-8, 3.14, 300)]):
            x = mpmath.mpf(float(angle))
            expected = (mpmath.sin(x) / x, (1 - mpmath.cos(x)) / x**2, (x - mpmath.sin(x)) / x**3)
            # at pi the first is 1e-16: absolute there, relative everywhere else
            assert _coefficients(angle) == pytest.approx(
                [float(value) for value in expected], rel=3e-15, abs=1e-16
            )
    assert _coefficients(0.0) == (1.0, 1 / 2, 1 / 6)


def test_rotations_match_scipy_for_random_axes():
    random = np.random.default_rng(3)
    for vector in random.normal(size=(200, 3)):
        matrix = Rotation.from_rotvec(vector).as_matrix()
        np.testing.assert_allclose(so3_exp(vector), matrix, atol=ROUNDING)
        np.testing.assert_allclose(
            so3_log(matrix), Rotation.from_matrix(matrix).as_rotvec(), atol=ROUNDING
        )


@pytest.mark.parametrize("angle_rad", [0.0, 1e-9, 0.5, math.pi - 1e-9, math.pi])
def test_quaternions_match_scipy_about_every_axis(angle_rad):
    for axis in AXES:
        turn = Rotation.from_rotvec(angle_rad * _unit(axis))
        quaternion = np.array(quaternion_wxyz(turn.as_matrix()))
        expected = turn.as_quat(scalar_first=True)
        expected *= np.sign(expected @ quaternion)  # at half a turn both signs are right
        assert quaternion[0] >= 0
        np.testing.assert_allclose(quaternion, expected, atol=ROUNDING)
        longer = 1.001 * quaternion
        np.testing.assert_allclose(quaternion_rotation(longer), turn.as_matrix(), atol=ROUNDING)


def test_motions_form_a_group():
    random = np.random.default_rng(4)
    for scale in (1e-9, 1e-3, 1.0):
        a, b, c = (se3_exp(scale * twist) for twist in random.normal(size=(3, 6)))
        np.testing.assert_allclose((a @ b) @ c, a @ (b @ c), atol=ROUNDING)
        np.testing.assert_allclose(a @ se3_exp(-se3_log(a)), np.eye(4), atol=ROUNDING)
        np.testing.assert_allclose(a[:3, :3] @ a[:3, :3].T, np.eye(3), atol=ROUNDING)
        assert np.linalg.det(a[:3, :3]) == pytest.approx(1, abs=ROUNDING)


def test_pure_translation_is_its_own_twist():
    np.testing.assert_array_equal(se3_log(translation((1, 2, 3))), (0, 0, 0, 1, 2, 3))
    np.testing.assert_array_equal(se3_exp((0, 0, 0, 1, 2, 3)), translation((1, 2, 3)))


def test_interpolation_turns_at_constant_rate_and_moves_straight():
    start = CarmPose(lao_deg=-40).world_from_carm((0, 0, 0))
    end = CarmPose(lao_deg=40, translation_mm=(10.0, 0.0, -20.0)).world_from_carm((0, 0, 0))
    np.testing.assert_allclose(interpolate(start, end, 0), start, atol=ROUNDING)
    np.testing.assert_allclose(interpolate(start, end, 1), end, atol=ROUNDING)
    quarter = CarmPose.from_world_from_carm(interpolate(start, end, 0.25), (0, 0, 0))
    assert quarter.lao_deg == pytest.approx(-20)
    assert quarter.translation_mm == pytest.approx((2.5, 0, -5))


def test_adjoint_carries_a_twist_through_a_motion():
    random = np.random.default_rng(5)
    for _ in range(20):
        motion = se3_exp(random.normal(size=6) * [1, 1, 1, 50, 50, 50])
        twist = random.normal(size=6) * [0.5, 0.5, 0.5, 50, 50, 50]
        carried = motion @ se3_exp(twist) @ np.linalg.inv(motion)
        np.testing.assert_allclose(se3_exp(se3_adjoint(motion) @ twist), carried, atol=1e-10)


@pytest.mark.parametrize("angle_rad", [0.0, 1e-9, 1e-3, 0.5, 1.5, 3.0])
def test_left_jacobian_is_the_derivative_of_the_exponential(angle_rad):
    for axis, velocity in itertools.product(AXES, VELOCITIES_MM):
        twist = np.concatenate([angle_rad * _unit(axis), velocity])
        jacobian, back = se3_left_jacobian(twist), se3_exp(-twist)
        for k, step in enumerate(1e-6 * np.eye(6)):
            ahead, behind = (se3_log(se3_exp(twist + s * step) @ back) for s in (1, -1))
            column = (ahead - behind) / 2e-6
            np.testing.assert_allclose(jacobian[:, k], column, atol=3e-7 * (1 + velocity[0]))

"""Poses over time: each source against its closed form, and way-points against SciPy."""

import itertools
import json

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter
from scipy.spatial.transform import Rotation, Slerp

from fluoro.config import PoseSourceConfig
from fluoro.errors import InputError
from fluoro.geometry.carm import CarmPose
from fluoro.poses.waypoints import read_waypoints

FRAME_S = 1 / 30
ADAPTER = TypeAdapter(PoseSourceConfig)


def trajectory(seed=0, **source):
    return ADAPTER.validate_python(source).trajectory(seed)


def angles(pose_at, times_s):
    """LAO, CRA and roll at each time, shape (times, 3)."""
    poses = [pose_at(float(time_s)) for time_s in times_s]
    return np.array([(pose.lao_deg, pose.cra_deg, pose.roll_deg) for pose in poses])


def csv_file(folder, text, name="poses.csv"):
    path = folder / name
    path.write_text(text)
    return path


# -- static, sweep, orbit ----------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["static", "console"])
def test_static_and_console_start_at_their_pose_and_stay(kind):
    pose_at = trajectory(kind=kind, lao_deg=30, cra_deg=-5, roll_deg=2, translation_mm=[1, 2, 3])
    expected = CarmPose(lao_deg=30, cra_deg=-5, roll_deg=2, translation_mm=(1, 2, 3))
    assert pose_at(0.0) == pose_at(1000.0) == expected


def test_sweep_reaches_both_ends_of_both_angles_and_no_more():
    pose_at = trajectory(kind="sweep", lao_range_deg=[-40, 30], cra_range_deg=[-10, 25], period_s=8)
    lao, cra, _ = angles(pose_at, np.linspace(0, 8, 4001)).T
    np.testing.assert_allclose([lao.min(), lao.max()], [-40, 30], atol=1e-3)
    np.testing.assert_allclose([cra.min(), cra.max()], [-10, 25], atol=1e-3)


def test_sweep_moves_one_angle_at_a_time():
    pose_at = trajectory(kind="sweep", period_s=8, roll_deg=3, translation_mm=[1, 2, 3])
    first, second = np.linspace(0, 4, 101), np.linspace(4, 8, 101)
    np.testing.assert_allclose(angles(pose_at, first)[:, 1], 0, atol=1e-9)
    np.testing.assert_allclose(angles(pose_at, second)[:, 0], 0, atol=1e-9)
    assert pose_at(1.0).roll_deg == 3
    assert pose_at(1.0).translation_mm == (1, 2, 3)


@pytest.mark.parametrize(
    ("ends", "start"),
    [((-40, 40), 0), ((10, 40), 10), ((-40, -10), -10), ((0, 25), 0), ((5, 5), 5)],
)
def test_sweep_starts_and_ends_at_rest_at_the_angle_nearest_to_0(ends, start):
    pose_at = trajectory(kind="sweep", lao_range_deg=ends, cra_range_deg=ends, period_s=10)
    tiny = 1e-4
    for joint_s in (0.0, 5.0, 10.0):
        before, at, after = angles(pose_at, [max(joint_s - tiny, 0), joint_s, joint_s + tiny])
        np.testing.assert_allclose(at[:2], start, atol=1e-6)
        assert np.abs(after - before).max() / tiny < 0.1, "degrees per second at the joint"


def test_sweep_may_be_given_from_high_to_low():
    falling = trajectory(kind="sweep", lao_range_deg=[40, -40])
    rising = trajectory(kind="sweep", lao_range_deg=[-40, 40])
    assert falling(1.234) == rising(1.234)


@example((-1.6220030735119764, -126.72016923040795), (0.0, 0.0))  # an end lay outside arcsine
@given(
    st.tuples(st.floats(-180, 180), st.floats(-180, 180)),
    st.tuples(st.floats(-90, 90), st.floats(-90, 90)),
)
@settings(deadline=None, max_examples=40)
def test_sweep_never_jumps(lao_ends, cra_ends):
    pose_at = trajectory(kind="sweep", lao_range_deg=lao_ends, cra_range_deg=cra_ends, period_s=10)
    steps = np.diff(angles(pose_at, np.arange(0, 21, FRAME_S)), axis=0)
    widest = max(abs(lao_ends[0] - lao_ends[1]), abs(cra_ends[0] - cra_ends[1]))
    fastest = widest / 2 * (2 * np.pi / 5) * 2  # an eased sinusoid is twice as fast in its middle
    assert np.abs(steps).max() <= fastest * FRAME_S + 1e-9


def test_sweep_repeats_with_its_period():
    pose_at = trajectory(kind="sweep", period_s=10)
    times = np.linspace(0, 10, 37)
    np.testing.assert_allclose(angles(pose_at, times), angles(pose_at, times + 30), atol=1e-9)


def test_orbit_turns_at_constant_speed():
    pose_at = trajectory(kind="orbit", start_deg=-90, degrees_per_second=36, cra_deg=5, roll_deg=1)
    found = angles(pose_at, [0, 1, 10])
    np.testing.assert_allclose(found, [[-90, 5, 1], [-54, 5, 1], [270, 5, 1]])


# -- random walk -------------------------------------------------------------------------------


def test_random_walk_is_its_seed_s():
    times = np.linspace(0, 5, 20)
    one, same, other = (angles(trajectory(seed, kind="random_walk"), times) for seed in (7, 7, 8))
    np.testing.assert_array_equal(one, same)
    assert np.abs(one - other).max() > 1


def test_random_walk_can_be_requested_any_time_alone():
    pose_at = trajectory(3, kind="random_walk")
    in_order = [pose_at(n * FRAME_S) for n in range(50)]
    assert trajectory(3, kind="random_walk")(49 * FRAME_S) == in_order[49]


def walks(count, times_s, **source):
    """Six coordinates of many walks, shape (walks, times, 6)."""
    poses = [
        [pose_at(float(time_s)) for time_s in times_s]
        for pose_at in (trajectory(seed, kind="random_walk", **source) for seed in range(count))
    ]
    return np.array(
        [[(p.lao_deg, p.cra_deg, p.roll_deg, *p.translation_mm) for p in walk] for walk in poses]
    )


def test_random_walk_has_the_standard_deviations_and_the_centre_requested():
    center = {"lao_deg": 20, "cra_deg": -10, "roll_deg": 5, "translation_mm": [1, 2, 3]}
    found = walks(
        400, [0.0, 50.0], center=center, angle_sigma_deg=4, translation_sigma_mm=9
    ).reshape(-1, 6)
    sigma = np.array([4, 4, 4, 9, 9, 9])
    standard_error = sigma / np.sqrt(len(found))
    assert np.all(np.abs(found.mean(axis=0) - [20, -10, 5, 1, 2, 3]) < 4 * standard_error)
    np.testing.assert_allclose(found.std(axis=0), sigma, rtol=4 / np.sqrt(2 * len(found)))


def test_random_walk_forgets_as_a_gaussian_of_its_correlation_time():
    lags_s = np.array([0.0, 1.0, 2.0, 4.0])
    found = walks(400, lags_s, angle_sigma_deg=1, translation_sigma_mm=1, correlation_s=2)
    correlation = (found[:, :1] * found).mean(axis=(0, 2))
    expected = np.exp(-((lags_s / 2) ** 2) / 2)
    np.testing.assert_allclose(correlation, expected, atol=4 / np.sqrt(400 * 6))


def test_random_walk_of_no_width_stands_still():
    pose_at = trajectory(kind="random_walk", angle_sigma_deg=0, translation_sigma_mm=0)
    assert pose_at(3.0) == CarmPose()


# -- way-points --------------------------------------------------------------------------------

VIEWS = """time_s, lao_deg, cra_deg, roll_deg, x_mm, y_mm, z_mm
0, 0, 0, 0, 0, 0, 0
2, 40, -20, 5, 10, -20, 30
3, -30, 25, -5, 10, 0, 0
"""


def same_place(pose, other):
    return np.allclose(pose.world_from_carm([0, 0, 0]), other.world_from_carm([0, 0, 0]), atol=1e-9)


def test_waypoints_are_met_at_their_times(tmp_path):
    path = csv_file(tmp_path, VIEWS)
    pose_at = trajectory(kind="waypoints", path=path)
    times_s, poses = read_waypoints(path)
    assert times_s.tolist() == [0, 2, 3]
    assert all(same_place(pose_at(t), pose) for t, pose in zip(times_s, poses, strict=True))


def test_between_waypoints_the_turn_is_scipy_s_slerp_and_the_isocentre_goes_straight(tmp_path):
    path = csv_file(tmp_path, VIEWS)
    pose_at = trajectory(kind="waypoints", path=path)
    times_s, poses = read_waypoints(path)
    turns = Rotation.from_matrix([p.world_from_carm([0, 0, 0])[:3, :3] for p in poses])
    shifts = np.array([p.translation_mm for p in poses])
    for time_s in np.linspace(0, 3, 31):
        matrix = pose_at(time_s).world_from_carm([0, 0, 0])
        expected = Slerp(times_s, turns)(time_s).as_matrix()
        np.testing.assert_allclose(matrix[:3, :3], expected, atol=1e-9)
        straight = [np.interp(time_s, times_s, shifts[:, axis]) for axis in range(3)]
        np.testing.assert_allclose(matrix[:3, 3], straight, atol=1e-9)


def test_waypoints_are_held_before_the_first_and_after_the_last(tmp_path):
    path = csv_file(tmp_path, "time_s,lao_deg,cra_deg\n5,10,0\n6,20,0\n")
    found = angles(trajectory(kind="waypoints", path=path), [-1, 0, 4.9, 5, 6, 7, 100])[:, 0]
    np.testing.assert_allclose(found, [10, 10, 10, 10, 20, 20, 20], atol=1e-9)


def test_repeated_waypoints_start_again_at_the_first_and_wait_for_it_only_once(tmp_path):
    path = csv_file(tmp_path, "time_s,lao_deg,cra_deg\n5,10,0\n6,20,0\n7,0,0\n")
    pose_at = trajectory(kind="waypoints", path=path, repeat=True)
    found = angles(pose_at, [0, 4.5, 5.5, 6.5, 7.5, 8.5, 9.5, 105.5])[:, 0]
    np.testing.assert_allclose(found, [10, 10, 15, 10, 15, 10, 15, 15], atol=1e-6)


def test_one_waypoint_is_a_static_pose(tmp_path):
    path = csv_file(tmp_path, "time_s,lao_deg,cra_deg\n5,10,20\n")
    for repeat in (False, True):
        pose_at = trajectory(kind="waypoints", path=path, repeat=repeat)
        np.testing.assert_allclose(angles(pose_at, [0, 5, 9]), [[10, 20, 0]] * 3, atol=1e-9)


def test_json_says_the_same_as_csv(tmp_path):
    names, *rows = ([cell.strip() for cell in line.split(",")] for line in VIEWS.splitlines())
    views = [dict(zip(names, map(float, row), strict=True)) for row in rows]
    path = csv_file(tmp_path, json.dumps(views), "poses.json")
    from_json = trajectory(kind="waypoints", path=path)
    from_csv = trajectory(kind="waypoints", path=csv_file(tmp_path, VIEWS))
    assert all(from_json(t) == from_csv(t) for t in np.linspace(0, 3, 7))


def test_csv_as_spreadsheets_write_it_is_read(tmp_path):
    path = tmp_path / "poses.csv"
    path.write_bytes(b'\xef\xbb\xbf"time_s","lao_deg","cra_deg"\r\n0,1,2\r\n\r\n1,3,4\r\n')
    times_s, poses = read_waypoints(path)
    assert times_s.tolist() == [0, 1]
    assert poses[1] == CarmPose(lao_deg=3, cra_deg=4)


HEADER = "time_s,lao_deg,cra_deg\n"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "", "must hold at least one way-point, got none"),
        ("a.csv", HEADER, "must hold at least one way-point, got none"),
        ("a.csv", "time_s,lao_deg\n0,1\n", "row 1: column cra_deg is missing"),
        ("a.csv", "time_s,lao_deg,cra_deg,sid\n0,1,2,3\n", "row 1: unknown column 'sid'; known: "),
        ("a.csv", "time_s,time_s,cra_deg\n0,1,2\n", "a column is named twice"),
        ("a.csv", HEADER + "0,1,2\n1,nan,2\n", "row 2: lao_deg must be a finite number, got 'nan'"),
        ("a.csv", HEADER + "0,1,inf\n", "row 1: cra_deg must be a finite number, got 'inf'"),
        ("a.csv", HEADER + "0,left,2\n", "row 1: lao_deg must be a finite number, got 'left'"),
        ("a.csv", HEADER + "0,,2\n", "row 1: lao_deg must be a finite number, got ''"),
        ("a.csv", HEADER + "0,1,2\n0,1,2\n", "row 2: time_s must be greater than in the row befo"),
        ("a.csv", HEADER + "0,1,2\n1,1,2\n.5,1,2\n", "row 3: time_s must be greater than in the "),
        ("a.csv", HEADER + "0,1,2,3\n", "row 1 has 4 values, the header 3"),
        ("a.csv", HEADER + "0,1\n", "row 1 has 2 values, the header 3"),
        ("a.csv", HEADER + '0,"1,2\n', "not a valid file of way-points: unexpected end of data"),
        ("a.json", "[{", "not a valid file of way-points: "),
        ("a.json", "[" * 100_000, "not a valid file of way-points: "),
        ("a.json", "{}", "must be a list of objects with time_s, lao_deg, cra_deg"),
        ("a.json", "[1]", "must be a list of objects with time_s, lao_deg, cra_deg"),
        ("a.json", "[]", "must hold at least one way-point, got none"),
        ("a.json", '[{"time_s": 0, "lao_deg": NaN, "cra_deg": 0}]', "row 1: lao_deg must be a fin"),
        ("a.json", '[{"time_s": 0, "lao_deg": true, "cra_deg": 0}]', "row 1: lao_deg must be a f"),
        ("a.json", '[{"time_s": 0, "lao_deg": null, "cra_deg": 0}]', "row 1: lao_deg must be a f"),
        ("a.json", '[{"time_s": 0, "lao_deg": [1], "cra_deg": 0}]', "row 1: lao_deg must be a fi"),
        ("a.txt", HEADER, "way-points must be in a .csv or .json file"),
    ],
)
def test_bad_file_of_waypoints_is_named_with_its_row(tmp_path, name, text, message):
    path = csv_file(tmp_path, text, name)
    with pytest.raises(InputError) as caught:
        trajectory(kind="waypoints", path=path)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_folder_and_foreign_encoding_are_named(tmp_path):
    with pytest.raises(InputError, match=r"no\.csv: cannot be read: No such file"):
        read_waypoints(tmp_path / "no.csv")
    folder = tmp_path / "folder.csv"
    folder.mkdir()
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        read_waypoints(folder)
    latin = tmp_path / "latin.csv"
    latin.write_bytes(b"time_s,\xe9\n")
    with pytest.raises(InputError, match="must be UTF-8 text"):
        read_waypoints(latin)


def test_every_kind_of_source_gives_finite_poses_for_hours(tmp_path):
    sources = [
        {"kind": "static"},
        {"kind": "sweep"},
        {"kind": "orbit"},
        {"kind": "random_walk"},
        {"kind": "waypoints", "path": csv_file(tmp_path, VIEWS), "repeat": True},
    ]
    for source, time_s in itertools.product(sources, (0.0, 1e-3, 1e4, 1e6)):
        assert isinstance(trajectory(**source)(time_s), CarmPose)

"""The C-arm beyond its lengths: presets, the detector's parts and place, flex, limits, moves."""

import math
from dataclasses import replace

import numpy as np
import pytest
import yaml

from fluoro.config import CarmConfig, load_config
from fluoro.config.carm_presets import carm_preset, carm_presets
from fluoro.errors import InputError
from fluoro.geometry.carm import CarmGeometry, CarmPose
from fluoro.geometry.carm_controller import CarmController, pose_for_view
from fluoro.geometry.flex import FLEX_COLUMNS, FlexTable, read_flex
from fluoro.geometry.from_config import make_geometry, make_limits, unmagnified_geometry
from fluoro.geometry.limits import CarmLimits

ROUNDING_MM = 1e-9
ISOCENTER_XYZ_MM = (12.0, -34.0, 56.0)
WHOLE = CarmGeometry(detector_width_px=120, detector_height_px=90, pixel_spacing_mm=1.5)
POSE = CarmPose(lao_deg=35, cra_deg=-20, roll_deg=10, translation_mm=(4.0, 5.0, -6.0))
AS_LISTED = {
    "GE OEC 9900": (1020, 510, 1024, 1024, 0.194),
    "GE OEC Elite CFD": (1150, 575, 1920, 1920, 0.154),
    "GE Innova IGS 540": (1200, 750, 2048, 2048, 0.2),
    "Siemens Arcadis Avantic": (1000, 500, 1024, 1024, 0.195),
    "Siemens Cios Alpha": (1100, 550, 1536, 1536, 0.178),
    "Siemens Artis zee": (1250, 780, 2480, 1920, 0.154),
    "Philips BV Pulsera": (990, 495, 1024, 1024, 0.2),
    "Philips Azurion 7": (1240, 780, 2480, 1920, 0.154),
    "Ziehm Vision RFD 3D": (1000, 500, 1024, 1024, 0.194),
}


def axes(pose):
    """u, v and d of docs/conventions.md in sines and cosines."""
    a, b, r = np.radians([pose.lao_deg, pose.cra_deg, pose.roll_deg])
    d = np.array([np.sin(a) * np.cos(b), -np.cos(a) * np.cos(b), np.sin(b)])
    u = np.array([np.cos(a), np.sin(a), 0.0])
    v = np.array([np.sin(a) * np.sin(b), -np.cos(a) * np.sin(b), -np.cos(b)])
    return u * np.cos(r) + v * np.sin(r), -u * np.sin(r) + v * np.cos(r), d


def same_views(view, other):
    for name in ("source_xyz_mm", "corner_xyz_mm", "column_step_xyz_mm", "row_step_xyz_mm"):
        np.testing.assert_allclose(getattr(view, name), getattr(other, name), atol=ROUNDING_MM)
    assert (view.width_px, view.height_px) == (other.width_px, other.height_px)


def flex_of(**motions):
    """A table with one motion, at every angle."""
    row = [motions.get(name, 0.0) for name in FLEX_COLUMNS]
    return FlexTable(lao_deg=np.array([0.0]), motions=np.array([row]))


# -- presets -----------------------------------------------------------------------------------


def test_presets_are_those_that_fluorosim_lists():
    assert {name: tuple(keys.values()) for name, keys in carm_presets().items()} == AS_LISTED


@pytest.mark.parametrize("name", AS_LISTED)
def test_preset_fills_in_the_carm(name):
    sdd, sod, width, height, pitch = AS_LISTED[name]
    geometry = make_geometry(CarmConfig(preset=name.lower()))
    assert geometry == CarmGeometry(
        source_to_detector_mm=sdd,
        source_to_isocenter_mm=sod,
        detector_width_px=width,
        detector_height_px=height,
        pixel_spacing_mm=pitch,
    )


def test_what_is_given_beside_a_preset_counts():
    carm = CarmConfig(preset="GE OEC 9900", pixel_spacing_mm=0.3)
    assert (carm.pixel_spacing_mm, carm.source_to_detector_mm) == (0.3, 1020)


def test_unknown_preset_names_those_there_are():
    with pytest.raises(InputError, match=r"must be one of GE OEC 9900, .*Ziehm.*, got 'OEC'"):
        carm_preset("OEC")


@pytest.mark.parametrize("order", [1, -1])
def test_preset_of_the_command_line_counts_more_than_the_files_lengths(tmp_path, order):
    path = tmp_path / "c.yaml"
    document = {
        "volume": {"phantom": "thorax"},
        "carm": {"source_to_detector_mm": 1200, "detector_width_px": 256},
        "pose_source": {"kind": "static"},
    }
    path.write_text(yaml.safe_dump(document))
    overrides = ["carm.preset=Siemens Artis zee", "carm.pixel_spacing_mm=0.3"]
    carm = load_config(path, overrides[::order]).carm
    assert (carm.source_to_detector_mm, carm.detector_width_px) == (1250, 2480)
    assert carm.pixel_spacing_mm == 0.3


# -- the detector ------------------------------------------------------------------------------


def test_cropped_detector_sees_that_part_of_the_whole_image():
    part = WHOLE.cropped((20, 75), (5, 90))
    whole = WHOLE.view(POSE, ISOCENTER_XYZ_MM)
    same_views(part.view(POSE, ISOCENTER_XYZ_MM), whole.part((20, 75), (5, 90)))


@pytest.mark.parametrize("factor", [2, 3])
def test_binned_detector_keeps_its_field(factor):
    whole = WHOLE.view(POSE, ISOCENTER_XYZ_MM)
    binned = WHOLE.binned(factor).view(POSE, ISOCENTER_XYZ_MM)
    blocks = whole.pixel_centers_xyz_mm().reshape(90 // factor, factor, 120 // factor, factor, 3)
    np.testing.assert_allclose(
        binned.pixel_centers_xyz_mm(), blocks.mean(axis=(1, 3)), atol=ROUNDING_MM
    )
    assert WHOLE.binned(factor).detector_size_mm == pytest.approx(WHOLE.detector_size_mm)


def test_binning_that_leaves_pixels_over_is_refused():
    with pytest.raises(InputError, match=r"binning must divide detector_width_px \(120\), got 7"):
        WHOLE.binned(7)


@pytest.mark.parametrize(
    ("columns", "rows"), [((0, 121), (0, 90)), ((5, 5), (0, 9)), ((0, 1), (-1, 9))]
)
def test_crop_outside_the_detector_is_refused(columns, rows):
    with pytest.raises(InputError, match="must be a range within 0 to"):
        WHOLE.cropped(columns, rows)


def test_detector_moved_by_its_offset_sees_the_isocentre_elsewhere():
    moved = replace(WHOLE, detector_offset_mm=(15.0, -6.0))
    view = moved.view(POSE, ISOCENTER_XYZ_MM)
    center = np.add(ISOCENTER_XYZ_MM, POSE.translation_mm)
    # the detector went 10 columns on, so what it sees comes 10 columns earlier
    np.testing.assert_allclose(view.project(center), (60 - 10, 45 + 4), atol=ROUNDING_MM)
    assert moved.central_pixel_uv == (50.0, 49.0)


def test_tilt_turns_the_panel_right_handed_about_its_columns_and_holds_the_central_ray():
    view = replace(WHOLE, detector_tilt_deg=(30.0, 0.0)).view(POSE, ISOCENTER_XYZ_MM)
    u, v, d = axes(POSE)
    turned = v * math.cos(math.radians(30)) - d * math.sin(math.radians(30))  # u x v is -d
    np.testing.assert_allclose(view.column_step_xyz_mm, 1.5 * u, atol=ROUNDING_MM)
    np.testing.assert_allclose(view.row_step_xyz_mm, 1.5 * turned, atol=ROUNDING_MM)
    center = np.add(ISOCENTER_XYZ_MM, POSE.translation_mm)
    np.testing.assert_allclose(view.project(center), (60, 45), atol=ROUNDING_MM)


def test_tilt_about_the_rows_brings_one_side_nearer():
    view = replace(WHOLE, detector_tilt_deg=(0.0, 20.0)).view(POSE, ISOCENTER_XYZ_MM)
    u, v, d = axes(POSE)
    turned = u * math.cos(math.radians(20)) + d * math.sin(math.radians(20))  # v x u is d
    np.testing.assert_allclose(view.column_step_xyz_mm, 1.5 * turned, atol=ROUNDING_MM)
    np.testing.assert_allclose(view.row_step_xyz_mm, 1.5 * v, atol=ROUNDING_MM)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("detector_offset_mm", (math.nan, 0.0)),
        ("detector_tilt_deg", (61.0, 0.0)),
        ("detector_tilt_deg", (1.0,)),
    ],
)
def test_impossible_place_of_the_detector_is_named(key, value):
    with pytest.raises(InputError, match=key):
        CarmGeometry(**{key: value})


def test_configuration_cuts_the_detector_and_then_bins_it():
    carm = CarmConfig(detector_width_px=120, detector_height_px=90, pixel_spacing_mm=1.5)
    settings = {"columns": (20, 80), "rows": (0, 88), "binning": 2}
    geometry = make_geometry(carm.model_copy(update=settings))
    assert geometry == WHOLE.cropped((20, 80), (0, 88)).binned(2)


def test_configuration_magnifies_about_the_detectors_middle():
    carm = CarmConfig(magnification=2, detector_offset_mm=(3, 0), binning=2)
    geometry, whole = make_geometry(carm), unmagnified_geometry(carm)
    assert whole.pixel_spacing_mm == 1.0
    assert geometry == replace(whole, pixel_spacing_mm=0.5)
    middles = [
        g.view(CarmPose(), (0, 0, 0)).back_project((g.detector_width_px / 2, 5))
        for g in (geometry, whole)
    ]
    assert middles[0][0] == middles[1][0] == 3.0


def test_principal_point_is_where_the_central_ray_lands_on_the_whole_detector():
    keys = {"detector_width_px": 120, "detector_height_px": 90, "pixel_spacing_mm": 1.5}
    whole = make_geometry(CarmConfig(**keys, principal_point_px=(50.0, 48.5)))
    assert whole.central_pixel_uv == (50.0, 48.5)
    center = np.add(ISOCENTER_XYZ_MM, POSE.translation_mm)
    np.testing.assert_allclose(
        whole.view(POSE, ISOCENTER_XYZ_MM).project(center), (50, 48.5), atol=ROUNDING_MM
    )
    part = CarmConfig(
        **keys, principal_point_px=(50.0, 48.5), columns=(20, 100), rows=(8, 88), binning=2
    )
    assert make_geometry(part).central_pixel_uv == (15.0, 20.25)


def test_principal_point_and_offset_are_two_forms_of_one_shift():
    with pytest.raises(ValueError, match="says what detector_offset_mm says"):
        CarmConfig(principal_point_px=(1.0, 2.0), detector_offset_mm=(1.0, 0.0))


# -- flex --------------------------------------------------------------------------------------


def test_flex_moves_source_and_detector_along_columns_rows_and_beam():
    shifts = {"source_u_mm": 1.0, "source_v_mm": 2.0, "source_d_mm": 3.0}
    shifts |= {"detector_u_mm": -4.0, "detector_v_mm": 5.0, "detector_d_mm": -6.0}
    rigid = WHOLE.view(POSE, ISOCENTER_XYZ_MM)
    bent = replace(WHOLE, flex=flex_of(**shifts)).view(POSE, ISOCENTER_XYZ_MM)
    u, v, d = axes(POSE)
    np.testing.assert_allclose(
        bent.source_xyz_mm - rigid.source_xyz_mm, u + 2 * v + 3 * d, atol=ROUNDING_MM
    )
    np.testing.assert_allclose(
        bent.corner_xyz_mm - rigid.corner_xyz_mm, -4 * u + 5 * v - 6 * d, atol=ROUNDING_MM
    )


def test_flex_turn_in_the_plane_is_a_roll_of_the_detector():
    turned = replace(WHOLE, flex=flex_of(turn_deg=3.0)).view(POSE, ISOCENTER_XYZ_MM)
    same_views(turned, WHOLE.view(replace(POSE, roll_deg=13.0), ISOCENTER_XYZ_MM))


def test_flex_tilts_like_the_detectors_tilt():
    bent = replace(WHOLE, flex=flex_of(tilt_u_deg=2.0, tilt_v_deg=-1.0))
    tilted = replace(WHOLE, detector_tilt_deg=(2.0, -1.0))
    same_views(bent.view(POSE, ISOCENTER_XYZ_MM), tilted.view(POSE, ISOCENTER_XYZ_MM))


def test_flex_is_linear_between_angles_and_goes_round_the_circle(tmp_path):
    path = tmp_path / "flex.csv"
    path.write_text("lao_deg, source_u_mm\n-90, 1\n0, 3\n90, 5\n")
    table = read_flex(path)
    found = {angle: table.at(angle)[0] for angle in (-90, -45, 0, 30, 90, 135, 180, -180, 315)}
    expected = {-90: 1, -45: 2, 0: 3, 30: 3 + 2 / 3, 90: 5, 135: 4, 180: 3, -180: 3, 315: 2}
    assert found == pytest.approx(expected)
    assert not table.at(20)[1:].any()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "must have a header line and one or more angles"),
        ("lao_deg,foo\n1,2\n", "unknown column 'foo'; known: lao_deg, source_u_mm"),
        ("lao_deg,lao_deg\n1,2\n", "a column is named twice"),
        ("source_u_mm\n1\n", "column lao_deg is missing"),
        ("lao_deg,source_u_mm\n1\n", "row 2 has 1 values, the header 2"),
        ("lao_deg,source_u_mm\n1,x\n", "row 2: source_u_mm must be a finite number, got 'x'"),
        ("lao_deg,source_u_mm\n1,nan\n", "row 2: source_u_mm must be a finite number, got 'nan'"),
        ("lao_deg,source_u_mm\n1,0\n1,0\n", "lao_deg must rise over at most one turn"),
        ("lao_deg,source_u_mm\n0,0\n361,0\n", "lao_deg must rise over at most one turn"),
        ("lao_deg,source_u_mm\n-180,0\n180,1\n", "are one angle and must have one motion"),
        (b"\xff\xfe\x00", "must be a CSV file in UTF-8"),
    ],
)
def test_flex_file_that_cannot_be_used_says_why(tmp_path, text, complaint):
    path = tmp_path / "flex.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError) as caught:
        read_flex(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert complaint in str(caught.value)


def test_flex_file_is_relative_to_the_yaml_and_missing_is_named(tmp_path):
    path = tmp_path / "c.yaml"
    document = {
        "volume": {"phantom": "thorax"},
        "carm": {"flex": "bend.csv"},
        "pose_source": {"kind": "static"},
    }
    path.write_text(yaml.safe_dump(document))
    config = load_config(path)
    assert config.carm.flex == tmp_path / "bend.csv"
    with pytest.raises(InputError, match=r"bend\.csv: cannot be read: No such file"):
        make_geometry(config.carm)


# -- limits ------------------------------------------------------------------------------------

LIMITS = CarmLimits(lao_deg=(-100.0, 120.0), cra_deg=(-30.0, 45.0), z_mm=(-50.0, 200.0))


@pytest.mark.parametrize("lao_deg", [-100.0, 0.0, 120.0, 270.0, 470.0, 120 + 1e-9])
def test_pose_within_the_limits_stays_as_it_is(lao_deg):
    pose = CarmPose(lao_deg=lao_deg, cra_deg=45, translation_mm=(900.0, 0.0, -50.0))
    assert LIMITS.applied(pose) == (pose, ())


def test_pose_beyond_a_limit_is_refused_by_name_and_range():
    with pytest.raises(InputError, match=r"cra_deg must be -30 to 45 \(carm.limits\), got 50"):
        LIMITS.applied(CarmPose(cra_deg=50))


@pytest.mark.parametrize(
    ("lao_deg", "reached"), [(130, 120), (180, 120), (-110, -100), (240, -100)]
)
def test_clamped_angle_goes_to_the_nearest_end(lao_deg, reached):
    clamping = replace(LIMITS, on_limit="clamp")
    pose, moved = clamping.applied(CarmPose(lao_deg=lao_deg, translation_mm=(0.0, 0.0, 300.0)))
    assert (pose.lao_deg, pose.translation_mm, moved) == (reached, (0, 0, 200), ("lao_deg", "z_mm"))


def test_limits_in_the_wrong_order_are_refused():
    with pytest.raises(InputError, match=r"limits.lao_deg must be low to high"):
        CarmLimits(lao_deg=(10.0, -10.0))


def test_limits_of_a_configuration_are_the_carms():
    carm = CarmConfig.model_validate({"limits": {"lao_deg": [-100, 120], "on_limit": "clamp"}})
    assert make_limits(carm) == CarmLimits(lao_deg=(-100.0, 120.0), on_limit="clamp")


# -- moves -------------------------------------------------------------------------------------


def test_carm_moves_to_angles_and_keeps_the_rest():
    arm = CarmController(WHOLE, isocenter_xyz_mm=ISOCENTER_XYZ_MM, pose=CarmPose(roll_deg=5))
    view = arm.move_to(lao_deg=30, cra_deg=20)
    assert arm.pose == CarmPose(lao_deg=30, cra_deg=20, roll_deg=5)
    same_views(view, WHOLE.view(arm.pose, ISOCENTER_XYZ_MM))
    same_views(arm.move_to(-10), WHOLE.view(replace(arm.pose, lao_deg=-10), ISOCENTER_XYZ_MM))


def test_refused_move_leaves_the_carm_where_it_was():
    arm = CarmController(WHOLE, limits=LIMITS)
    with pytest.raises(InputError, match="lao_deg"):
        arm.move_to(150)
    assert arm.pose == CarmPose()


def test_clamped_moves_are_counted():
    arm = CarmController(WHOLE, limits=replace(LIMITS, on_limit="clamp"))
    arm.move_to(150)
    arm.move_to(160, 10)
    assert (arm.pose.lao_deg, arm.clamped) == (120, {"lao_deg": 2})


@pytest.mark.parametrize("seed", range(20))
def test_set_view_shows_the_point_in_the_middle_along_the_direction_with_up_upwards(seed):
    rng = np.random.default_rng(seed)
    point, direction, up = rng.normal(size=3) * 80, rng.normal(size=3), rng.normal(size=3)
    view = CarmController(WHOLE, isocenter_xyz_mm=ISOCENTER_XYZ_MM).set_view(point, direction, up)
    beam = direction / np.linalg.norm(direction)
    across = up - (up @ beam) * beam
    np.testing.assert_allclose(view.source_xyz_mm, point - 510 * beam, atol=1e-6)
    np.testing.assert_allclose(view.project(point), (60, 45), atol=1e-6)
    np.testing.assert_allclose(
        -view.row_step_xyz_mm / 1.5, across / np.linalg.norm(across), atol=1e-8
    )


@pytest.mark.parametrize(
    "pose", [CarmPose(), CarmPose(lao_deg=30, cra_deg=20), CarmPose(lao_deg=-90)]
)
def test_view_without_up_is_that_of_the_angles(pose):
    found = pose_for_view(ISOCENTER_XYZ_MM, axes(pose)[2], None, ISOCENTER_XYZ_MM)
    same_views(WHOLE.view(found, ISOCENTER_XYZ_MM), WHOLE.view(pose, ISOCENTER_XYZ_MM))


def test_view_along_the_body_has_the_front_upwards():
    view = WHOLE.view(pose_for_view((0, 0, 0), (0, 0, 1)), (0, 0, 0))
    np.testing.assert_allclose(view.row_step_xyz_mm, (0, 1.5, 0), atol=1e-6)


@pytest.mark.parametrize(
    ("direction", "up", "complaint"),
    [
        ((0, 0, 0), None, "direction must be 3 finite numbers, not all 0"),
        ((0, math.nan, 1), None, "direction must be"),
        ((0, 1), None, "direction must be"),
        ((0, 1, 0), (0, -2, 0), "up must not run along the beam"),
        ((0, 1, 0), (0, 0, 0), "up must be"),
    ],
)
def test_directions_that_make_no_view_are_refused(direction, up, complaint):
    with pytest.raises(InputError, match=complaint):
        pose_for_view((0, 0, 0), direction, up)

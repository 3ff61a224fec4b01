"""xray_simulator's names: poses, display, presets, and scripts with the import changed."""

import json
import math
import warnings
from dataclasses import replace

import jsonschema
import numpy as np
import pytest
from PIL import Image

import fluoro.xray_simulator as xs
from fluoro.geometry.carm import CarmPose
from fluoro.rendering.devices.cpu.device import CpuDevice

NAMES = {
    "SimulatorConfig", "get_preset_schema", "CarmGeometry", "XrayPhysics", "RealismSettings",
    "OutputSettings", "MetricsSettings", "PreprocessingSettings", "HuToMuMapping",
    "DisplaySettings", "DISPLAY_PRESETS", "resolve_display_settings", "apply_display",
    "calibrate_display", "transmission", "hu_to_mu", "hu_to_mu_curve", "CANONICAL_FRAME", "VIEWS",
    "view_matrix", "view_rotation", "clinical_angles_to_rotation", "rotation_to_clinical_angles",
    "euler_zxy_to_matrix", "matrix_to_euler_zxy", "project_point_to_detector",
    "volume_center_xyz_mm", "view_frame_warning", "PreprocessedVolume", "VolumePreprocessor",
    "xray_simulator", "Pose", "Frame", "CineSequence", "SimulatorMetrics", "VolumeMetadata",
}  # fmt: skip
SMALL = {"detector_width_px": 64, "detector_height_px": 48, "pixel_spacing_mm": 4.0}


@pytest.fixture(scope="module")
def device():
    return CpuDevice(workers=1)


def bead(at_mm=(20.0, -14.0, 26.0), frame="LPS"):
    """Air with a bead of bone beside the volume's middle, patient LPS [mm]."""
    edge, count = 2.0, 48
    at = (np.arange(count) - (count - 1) / 2) * edge
    z, y, x = np.meshgrid(at, at, at, indexing="ij")
    hu = np.full((count,) * 3, -1000.0)
    hu[np.sqrt(sum((a - b) ** 2 for a, b in zip((x, y, z), at_mm, strict=True))) < 4] = 2000
    made = xs.VolumePreprocessor.from_numpy(hu, (edge,) * 3, anatomical_frame=frame)
    return made.preprocess()


def simulator(device, volume=None, **sections):
    config = replace(xs.SimulatorConfig().with_geometry(**SMALL), **sections)
    return xs.xray_simulator(volume or bead(), config, device=device)


def darkest(image):
    """Column and row of the bead in an image of fluoroscopy, its centre of mass."""
    weight = image.max() - image
    weight[weight < 0.3 * weight.max()] = 0
    rows, columns = np.mgrid[: image.shape[0], : image.shape[1]]
    return float((weight * columns).sum() / weight.sum()), float(
        (weight * rows).sum() / weight.sum()
    )


def test_all_names_are_there():
    assert set(xs.__all__) == NAMES
    for name in xs.__all__:
        assert getattr(xs, name) is not None


# Poses


@pytest.mark.parametrize(
    ("view", "columns", "rows", "beam"),
    [
        ("ap", (1, 0, 0), (0, 0, -1), (0, 1, 0)),
        ("pa", (-1, 0, 0), (0, 0, -1), (0, -1, 0)),
        ("lateral_left", (0, -1, 0), (0, 0, -1), (1, 0, 0)),
        ("lateral_right", (0, 1, 0), (0, 0, -1), (-1, 0, 0)),
    ],
)
def test_named_views_have_these_axes(view, columns, rows, beam):
    matrix = xs.euler_zxy_to_matrix(xs.view_rotation(view))
    assert np.allclose(matrix.T, [columns, rows, beam], atol=1e-12)
    assert np.allclose(xs.view_matrix(view), matrix, atol=1e-12)


def test_euler_angles_are_rz_rx_ry():
    rx, ry, rz = 0.3, -0.8, 1.9
    (cx, cy, cz), (sx, sy, sz) = np.cos([rx, ry, rz]), np.sin([rx, ry, rz])
    expected = [
        [cz * cy - sz * sx * sy, -sz * cx, cz * sy + sz * sx * cy],
        [sz * cy + cz * sx * sy, cz * cx, sz * sy - cz * sx * cy],
        [-cx * sy, sx, cx * cy],
    ]
    matrix = xs.euler_zxy_to_matrix((rx, ry, rz))
    assert np.allclose(matrix, expected)
    assert xs.matrix_to_euler_zxy(matrix) == pytest.approx((rx, ry, rz))


@pytest.mark.parametrize(("primary", "secondary"), [(0, 0), (30, 20), (-45, -10), (120, 5)])
def test_clinical_angles_are_those_of_our_c_arm_seen_from_the_other_side(primary, secondary):
    pose = xs.Pose.from_clinical_angles(primary, secondary)
    assert pose.clinical_angles() == pytest.approx((primary, secondary))
    columns, rows, beam = xs.euler_zxy_to_matrix(pose.rotation).T
    u, v, to_source, _ = CarmPose(lao_deg=primary, cra_deg=secondary).axes((0, 0, 0))
    assert np.allclose(columns, -np.array(u), atol=1e-12)  # mirrored: columns to the other side
    assert np.allclose(rows, v, atol=1e-12)
    assert np.allclose(beam, -np.array(to_source), atol=1e-12)


def test_labels_of_poses():
    assert xs.Pose.from_clinical_angles(30, 20).view == "LAO 30 / CRAN 20"
    assert xs.Pose.from_clinical_angles(-5, -1).view == "RAO 5 / CAUD 1"
    assert xs.Pose.lateral("left").view == "Left lateral"
    assert xs.Pose.from_dict(xs.Pose.ap((1, 2, 3)).to_dict()) == xs.Pose.ap((1, 2, 3))


ROOMS = {
    "ap": xs.Pose.ap(),
    "pa": xs.Pose.pa(),
    "left": xs.Pose.lateral("left"),
    "right": xs.Pose.lateral("right"),
    "LAO 30 / CRAN 20": xs.Pose.from_clinical_angles(30, 20),
    "identity": xs.Pose(),
    "raw": xs.Pose((0.4, -0.3, 1.1), (5, -6, 7)),
}


@pytest.mark.parametrize("name", ROOMS)
def test_a_bead_lands_where_project_point_to_detector_says(device, name):
    made, pose, at_mm = simulator(device), ROOMS[name], np.array((20.0, -14.0, 26.0))
    point = at_mm + made.volume_center_xyz_mm
    expected = xs.project_point_to_detector(
        point, pose.rotation, pose.translation, 1020, 510, 64, 48, 4.0, made.volume_center_xyz_mm
    )
    found = darkest(made.render_frame(pose=pose).image)
    assert found == pytest.approx(expected, abs=0.2)


def test_sides_of_the_bead_by_view(device):
    """It is left, in front and near the head."""
    made = simulator(device)
    for pose, right_of_the_middle in (
        (xs.Pose.ap(), True),
        (xs.Pose.pa(), False),
        (xs.Pose.lateral("left"), True),  # columns run to the front
        (xs.Pose.lateral("right"), False),
    ):
        column, row = darkest(made.render_frame(pose=pose).image)
        assert (column > 31.5) == right_of_the_middle
        assert row < 23.5


def test_projection_of_points_with_an_offset():
    call = (np.array([5, -2.5, 0.0]), (0, 0, 0), (0, 0, 0), 1000, 500, 100, 80, 0.5)
    given = {"pixel_spacing_y_mm": 0.25, "principal_point_px": (29.5, 59.5)}
    assert xs.project_point_to_detector(*call, **given) == pytest.approx((49.5, 39.5))
    geometry = xs.CarmGeometry(1000, 500, 100, 80, 0.5, 0.25, (29.5, 59.5))
    assert geometry.detector_offset_xy_mm == (10, -5)
    middle = xs.project_point_to_detector(
        (12.375, 0, 0), (0,) * 3, (0,) * 3, 1020, 510, 512, 512, 0.5
    )
    assert middle == pytest.approx((305.0, 255.5))
    assert xs.project_point_to_detector((0, 0, -600), (0,) * 3, (0,) * 3, *call[3:]) is None


def test_the_isocentre_goes_to_a_point(device):
    made = simulator(device)
    point = np.array((20.0, -14.0, 26.0)) + made.volume_center_xyz_mm
    pose = xs.Pose.ap(made.isocenter_translation(point))
    assert darkest(made.render_frame(pose=pose).image) == pytest.approx((31.5, 23.5), abs=0.2)


def test_a_principal_point_moves_the_image(device):
    geometry = xs.CarmGeometry(
        detector_width_px=64, detector_height_px=48, pixel_spacing_mm=4, principal_point_px=(20, 30)
    )
    made = simulator(device, geometry=geometry)
    plain = simulator(device)
    found = darkest(made.render_frame(pose=xs.Pose.ap()).image)
    there = darkest(plain.render_frame(pose=xs.Pose.ap()).image)
    assert np.subtract(found, there) == pytest.approx((20 - 31.5, 30 - 23.5), abs=0.2)


def test_a_labelled_view_warns_once_of_an_unknown_frame(device):
    made = simulator(device, bead(frame=None))
    with pytest.warns(UserWarning, match="view 'AP' means the patient's LPS axes"):
        made.render_frame(pose=xs.Pose.ap())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made.render_frame(pose=xs.Pose.pa())
        simulator(device).render_frame(pose=xs.Pose.ap())


# Display


def test_display_is_its_formula():
    intensity = np.array([[2.0, 1.0, 0.2], [0.0, 1e-3, 0.5]])
    share = np.clip(intensity / 2, 0, 1)
    log = 1 - np.clip(-np.log(np.maximum(share, 1e-8)) / 6, 0, 1)
    assert np.allclose(xs.apply_display(intensity, i0=2), log, atol=1e-6)
    bright = xs.DisplaySettings(polarity="xray", gamma=2.0)
    assert bright.polarity == "diagnostic"
    assert np.allclose(xs.apply_display(intensity, bright, 2), np.sqrt(1 - log), atol=1e-6)
    plain = xs.DISPLAY_PRESETS["transmission"]
    assert np.allclose(xs.apply_display(intensity, plain, 2), share)
    window = xs.DisplaySettings(scaling="window", window=(0.1, 0.5))
    assert np.allclose(xs.apply_display(intensity, window, 2), np.clip((share - 0.1) / 0.4, 0, 1))
    legacy = xs.apply_display(intensity, xs.DISPLAY_PRESETS["legacy"], 2)
    assert np.allclose(legacy, 1 - share, atol=1e-6)


@pytest.mark.parametrize(
    "wrong",
    [
        {"log_window": (3, 2)},
        {"window": (-1, 1)},
        {"gamma": 0},
        {"polarity": "x"},
        {"scaling": "x"},
    ],
)
def test_display_settings_out_of_range(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        xs.DisplaySettings(**wrong)


def test_calibration_is_the_percentiles_of_the_line_integral(device):
    made = simulator(device)
    settings = made.calibrate_display(percentiles=(0, 100))
    assert settings == made.display
    kept = simulator(device, output=xs.OutputSettings(keep_intensity=True))
    intensity = kept.render_frame(pose=xs.Pose.ap()).intensity
    integrals = -np.log(np.clip(intensity, 1e-8, 1))
    assert settings.log_window == pytest.approx(np.maximum(np.percentile(integrals, (0, 100)), 0))
    made.set_polarity("xray")
    assert made.display.log_window == settings.log_window
    made.set_appearance("fluoro_contrast")
    assert made.display == xs.DISPLAY_PRESETS["fluoro_contrast"]
    with pytest.raises(ValueError, match="percentiles must rise"):
        xs.calibrate_display(intensity, percentiles=(9, 9))
    with pytest.raises(ValueError, match="one value all over"):
        xs.calibrate_display(np.ones((4, 4)))


def test_one_render_has_both_looks(device, tmp_path):
    made = simulator(device, output=xs.OutputSettings(keep_intensity=True))
    frame = made.render_frame(pose=xs.Pose.ap())
    other = frame.with_appearance("xray")
    assert np.allclose(frame.image, 1 - other.image, atol=1e-6)
    frame.save(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        assert image.size == (64, 48)
    with pytest.raises(ValueError, match="the intensity was not kept"):
        simulator(device).render_frame().with_appearance("xray")


def test_the_old_flags_warn_and_count(device):
    with pytest.warns(DeprecationWarning, match=r"XrayPhysics\.(normalize|invert)"):
        physics = xs.XrayPhysics(normalize=True, invert=True)
    made = simulator(device, physics=physics)
    assert (made.display.scaling, made.display.polarity) == ("per_frame", "diagnostic")


# Noise


def test_noise_repeats_by_frame_and_differs_in_a_cine(device):
    realism = xs.RealismSettings(enabled=True, poisson_photons=100, gaussian_sigma=0.02, seed=3)
    made = simulator(device, realism=realism)
    first, second = made.render_frame(), made.render_frame()
    assert np.array_equal(first.image, second.image)
    cine = made.render_cine([xs.Pose(), xs.Pose(), {"rotation": (0, 0, 0)}], fps=15)
    assert np.array_equal(cine[0].image, first.image)
    assert not np.array_equal(cine[0].image, cine[1].image)
    assert cine.to_numpy().shape == (3, 48, 64)
    assert [frame.frame_idx for frame in made.stream([xs.Pose()] * 5, max_frames=2)] == [0, 1]


def test_realism_is_before_display(device):
    dim = xs.RealismSettings(enabled=True, gain=0.5, bias=0.1)
    intensity = simulator(device, realism=dim, output=xs.OutputSettings(keep_intensity=True))
    plain = simulator(device, output=xs.OutputSettings(keep_intensity=True))
    found, before = (m.render_frame().intensity for m in (intensity, plain))
    assert np.allclose(found, before * 0.5 + 0.1, atol=1e-6)


# CT numbers


def test_mapping_and_its_forms():
    default = xs.HuToMuMapping()
    assert (default.window_center, default.window_width) == (1000, 4000)
    assert default.slope == pytest.approx(5e-6)
    points = xs.HuToMuMapping(control_points=((-1000, 0), (0, 0.02), (1000, 0.05)))
    assert xs.hu_to_mu([-2000, -500, 500, 9000], points) == pytest.approx([0, 0.01, 0.035, 0.05])
    window = xs.HuToMuMapping.from_window_level(100, 800)
    assert (window.hu_min, window.hu_max) == (-300, 500)
    assert window.shifted(50).window_center == 150
    assert points.scaled(2).mu_max == pytest.approx(0.1)
    assert window.with_window_level(width=400).hu_knots == (-100, 300)
    for mapping in (default, points, window):
        assert xs.HuToMuMapping.from_dict(mapping.to_dict()) == mapping
    assert xs.HuToMuMapping.from_dict({"window_center": 100, "window_width": 800}) == window
    hu, mu = xs.hu_to_mu_curve(default)
    assert (len(hu), hu[0], mu[-1]) == (512, -1800, pytest.approx(0.02))
    with pytest.raises(ValueError, match="rise"):
        xs.HuToMuMapping(control_points=((0, 0), (0, 1)))


def test_a_volume_keeps_what_is_known_of_it(tmp_path):
    volume = bead()
    volume.save(tmp_path / "cache")
    loaded = xs.PreprocessedVolume.load(tmp_path / "cache")
    assert loaded.metadata.anatomical_frame == "LPS"
    assert loaded.metadata.hu_to_mu == xs.HuToMuMapping().to_dict()
    assert np.array_equal(loaded.mu_volume, volume.mu_volume)


# Presets


def test_presets_come_back_and_fit_their_schema(tmp_path):
    config = xs.SimulatorConfig.for_appearance("fluoro_contrast").with_geometry(**SMALL)
    config = config.with_realism(enabled=True, poisson_photons=5000.0).with_preprocessing(
        hu_to_mu=xs.HuToMuMapping(control_points=((-1000, 0), (0, 0.02)))
    )
    for name in ("preset.json", "preset.yaml"):
        path = config.save_preset(tmp_path / name)
        assert path.is_absolute()
        assert xs.SimulatorConfig.from_preset(path) == config
    document = json.loads((tmp_path / "preset.json").read_text())
    jsonschema.Draft202012Validator(xs.get_preset_schema()).validate(document)
    assert xs.SimulatorConfig.from_dict(config.to_dict()) == config


def document(**changes):
    """A preset's least content, changed by dotted keys."""
    plain = {
        "schema_version": 1,
        "modality": "xray",
        "beam": {},
        "geometry": {},
        "detector": {"width_px": 512.0},
        "post_processing": {"realism": {}, "display": {"polarity": "xray"}},
    }
    for key, value in changes.items():
        *parts, last = key.split("__")
        section = plain
        for part in parts:
            section = section.setdefault(part, {})
        section[last] = value
    return plain


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"schema_version": 2}, "schema_version"),
        ({"modality": "mr"}, "modality"),
        ({"kvp": 80}, "kvp"),
        ({"beam__mas": 5}, r"beam\.mas"),
        ({"beam__i0": math.nan}, r"beam\.i0"),
        ({"detector__width_px": 512.5}, r"detector\.width_px"),
        ({"geometry__source_to_isocenter_mm": 2000.0}, "less than source_to_detector_mm"),
        ({"post_processing__display__log_window": [0.0]}, "log_window"),
        ({"output__save_to_disk": True}, "output_dir"),
    ],
)
def test_a_preset_that_is_none_is_one_line(tmp_path, changes, match):
    path = tmp_path / "preset.json"
    path.write_text(json.dumps(document(**changes)))
    with pytest.raises(ValueError, match=match) as refused:
        xs.SimulatorConfig.from_preset(path)
    assert "\n" not in str(refused.value)


def test_a_plain_preset_and_a_key_twice(tmp_path):
    path = tmp_path / "preset.json"
    path.write_text(json.dumps(document()))
    config = xs.SimulatorConfig.from_preset(path)
    assert config.geometry.detector_width_px == 512
    assert config.display.polarity == "diagnostic"
    path.write_text('{"schema_version": 1, "schema_version": 1}')
    with pytest.raises(ValueError, match="the key 'schema_version' stands there twice"):
        xs.SimulatorConfig.from_preset(path)


# A script, with the import changed


def test_a_script_of_the_readmes_kind_runs(device, tmp_path):
    z, y, x = np.ogrid[:32, :64, :64]
    distance = np.sqrt((z - 16) ** 2 + (y - 32) ** 2 + (x - 32) ** 2)
    hu = np.where(distance < 14, 800.0, -900.0).astype(np.float32)
    made = xs.VolumePreprocessor.from_numpy(hu, spacing_zyx_mm=(1.0, 0.5, 0.5))
    volume = made.preprocess(output_dir=tmp_path / "cache")
    config = xs.SimulatorConfig(
        geometry=xs.CarmGeometry(1020.0, 510.0, 64, 64, 2.0),
        realism=xs.RealismSettings(enabled=False),
        output=xs.OutputSettings(save_to_disk=True, output_dir=str(tmp_path), format="png"),
    )
    shown = xs.xray_simulator(volume, config, device=device)
    shown.render_frame(rotation=(0, 0, 0), translation=(0, 0, 0))
    with pytest.warns(UserWarning, match="anatomical_frame"):
        cine = shown.render_cine(
            [xs.Pose.from_clinical_angles(primary_deg=a) for a in range(-30, 31, 20)], fps=15.0
        )
    assert len(cine.save_all(tmp_path / "frames", format="png")) == 4
    shown.calibrate_display()
    shown.render_frame(pose=xs.Pose.ap()).save(tmp_path / "ap.png")
    assert shown.get_metrics().fps > 0
    assert (tmp_path / "frame_0000.png").exists()

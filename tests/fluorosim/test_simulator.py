"""The few-line API: what a script written for fluorosim gets."""

import json
import logging
import math
import time

import numpy as np
import pytest
from PIL import Image

import fluoro
from fluoro import (
    CarmGeometry,
    CineSequence,
    FluoroSimulator,
    Frame,
    OutputSettings,
    Pose,
    PreprocessedVolume,
    RealismSettings,
    SimulatorConfig,
    SimulatorMetrics,
    VolumeMetadata,
    VolumePreprocessor,
    XrayPhysics,
    xray_simulator,
)
from fluoro.errors import InputError, OutputError
from fluoro.fluorosim.rendering import RealismConfig, apply_realism
from fluoro.geometry import carm
from fluoro.geometry.carm import CarmPose
from fluoro.rendering.devices.cpu.device import CpuDevice
from fluoro.rendering.reference import march_reference
from tests import dicom_files
from tests.support import require_vulkan

GEOMETRY = CarmGeometry(detector_width_px=40, detector_height_px=32, pixel_spacing_mm=4.0)
CONFIG = SimulatorConfig(geometry=GEOMETRY)
NOISE = RealismSettings(enabled=True, poisson_photons=500, gaussian_sigma=0.01, blur_sigma_px=0.8)


@pytest.fixture(scope="module")
def volume():
    """A ball of bone, off the middle, in a box of water."""
    z, y, x = np.indices((24, 28, 30))
    hu = np.where((z - 8) ** 2 + (y - 14) ** 2 + (x - 20) ** 2 < 25, 1200.0, 0.0)
    return VolumePreprocessor.from_numpy(hu, spacing_zyx_mm=(3.0, 2.5, 2.0)).preprocess()


@pytest.fixture(scope="module")
def simulator(volume):
    return FluoroSimulator(volume, CONFIG, device=CpuDevice())


def integrals(volume, rotation, translation, geometry=GEOMETRY):
    """Line integrals by the float64 reference, at the angles of a rotation by the conventions."""
    cranial, lao, roll = np.degrees(rotation)
    pose = CarmPose(lao_deg=lao, cra_deg=cranial, roll_deg=roll, translation_mm=translation)
    full = carm.CarmGeometry(**vars(geometry))
    view = full.view(pose, volume.mu.grid.center_xyz_mm)
    return march_reference(volume.mu, view, 0.5)


# -- names and defaults ------------------------------------------------------------------------


def test_every_public_name_is_there_with_a_docstring():
    for name in set(fluoro.__all__) - {"__version__"}:
        assert getattr(fluoro, name).__doc__, name
    assert dir(fluoro) == sorted(fluoro.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        fluoro.Nothing  # noqa: B018


def test_settings_have_the_defaults_that_scripts_rely_on():
    config = SimulatorConfig()
    assert CarmGeometry(1020, 510, 512, 512, 0.5) == config.geometry
    assert config.geometry.detector_size_mm == (256.0, 256.0)
    assert XrayPhysics(0.5, 1.0, True, True) == config.physics
    assert RealismSettings(False, 1.0, 0.0, 0.0, 0.0, 0.0, 0) == config.realism
    assert OutputSettings(False, None, "png", False) == config.output
    assert fluoro.MetricsSettings(False, True, True, True) == config.metrics
    preprocessing = fluoro.PreprocessingSettings()
    assert (preprocessing.hu_clip_min, preprocessing.hu_clip_max) == (-1024, 3071)
    assert preprocessing.clip_hu
    assert preprocessing.hu_to_mu == fluoro.HuToMuMapping(-1000, 3000, 0, 0.02)


def test_settings_are_importable_where_scripts_look_for_them():
    from fluoro.fluorosim import config, ct, preprocessor, rendering, volume
    from fluoro.fluorosim.ct import dicom_ingest
    from fluoro.fluorosim.rendering import diffdrr_slang_renderer, realism

    assert config.SimulatorConfig is SimulatorConfig
    assert config.HuToMuMapping is fluoro.HuToMuMapping
    assert config.HuToMuCalibration is fluoro.HuToMuCalibration
    assert rendering.SlangDiffDRRConfig is diffdrr_slang_renderer.SlangDiffDRRConfig
    assert rendering.apply_realism is realism.apply_realism
    assert ct.load_nifti_hu is dicom_ingest.load_nifti_hu
    assert preprocessor.VolumePreprocessor is VolumePreprocessor
    assert volume.PreprocessedVolume is PreprocessedVolume
    assert dicom_ingest.CtVolume(np.zeros((1, 1, 1), np.float32)).to_json_dict() == {
        "shape_zyx": [1, 1, 1],
        "dtype": "float32",
    }


def test_settings_change_by_copies():
    changed = CONFIG.with_geometry(detector_width_px=8).with_realism(gain=2.0)
    changed = changed.with_output(format="npy")
    assert changed.geometry.detector_width_px == 8
    assert changed.geometry.detector_height_px == GEOMETRY.detector_height_px
    assert (changed.realism.gain, changed.output.format) == (2.0, "npy")
    assert CONFIG.geometry.detector_width_px == 40
    with pytest.raises(AttributeError):
        CONFIG.backend = "other"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CarmGeometry(detector_width_px=0), "detector_width_px must be"),
        (lambda: CarmGeometry(detector_width_px=16.0), r"must be a whole number \(int\), got 16.0"),
        (lambda: CarmGeometry(pixel_spacing_mm="1"), "pixel_spacing_mm must be .* got '1'"),
        (lambda: CarmGeometry(source_to_isocenter_mm=2000), "less than source_to_detector_mm"),
        (lambda: XrayPhysics(step_mm=0), "step_mm must be"),
        (lambda: XrayPhysics(i0=math.nan), "i0 must be"),
        (lambda: fluoro.HuToMuMapping(hu_min=5000), "hu_min must be less than hu_max"),
        (lambda: RealismSettings(gaussian_sigma=-1), "gaussian_sigma must be"),
        (lambda: RealismSettings(bias=math.inf), "bias must be"),
        (lambda: RealismSettings(seed=-1), "seed must lie"),
        (lambda: RealismSettings(seed=1.5), "seed must be a whole number"),
        (lambda: RealismConfig(gain=0), "gain must be"),
        (lambda: OutputSettings(format="jpg"), "format must be one of"),
        (lambda: OutputSettings(save_to_disk=True), "output_dir must be"),
        (lambda: fluoro.PreprocessingSettings(hu_clip_min=4000), "hu_clip_min must be less"),
        (lambda: SimulatorConfig(backend="optix"), "backend must be 'slang'"),
        (lambda: fluoro.HuToMuCalibration(hu_bone_anchor=0), "hu_bone_anchor must be"),
        (lambda: Pose(rotation=(0, math.nan, 0)), "rotation must be 3 finite numbers"),
        (lambda: Pose(translation=(0, 0)), "translation must be 3 numbers"),
        (lambda: Pose.from_dict(None), "a pose must be a Pose or a mapping, got None"),
        (lambda: Pose.from_dict({"angles": (0, 0, 0)}), r"got \['angles'\]"),
    ],
)
def test_settings_that_cannot_be_are_refused_by_name(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_a_section_with_fields_that_would_be_lost_is_refused():
    successors = xray_simulator.CarmGeometry(pixel_spacing_y_mm=0.7)
    with pytest.raises(TypeError, match="geometry must be a CarmGeometry"):
        SimulatorConfig(geometry=successors)


# -- images ----------------------------------------------------------------------------------

POSES = [
    ((0.0, 0.0, 0.0), (0.0, 0.0, 0.0)),
    ((math.radians(30), math.radians(30), 0.0), (0.0, 0.0, 0.0)),
    ((-0.3, 0.7, 0.2), (5.0, -20.0, 12.0)),
]


@pytest.mark.parametrize(("rotation", "translation"), POSES)
@pytest.mark.parametrize("invert", [True, False])
@pytest.mark.parametrize("normalize", [True, False])
def test_image_is_beer_lambert_at_the_angles_of_the_conventions(
    volume, rotation, translation, normalize, invert
):
    physics = XrayPhysics(i0=7.0, normalize=normalize, invert=invert)
    config = SimulatorConfig(geometry=GEOMETRY, physics=physics)
    frame = FluoroSimulator(volume, config, device="cpu").render_frame(rotation, translation)
    expected = np.exp(-integrals(volume, rotation, translation))
    expected = 1 - expected if invert else expected
    expected = expected if normalize else 7 * expected
    assert frame.image.dtype == np.float32
    assert frame.image.shape == (32, 40)
    np.testing.assert_allclose(frame.image, expected, atol=2e-5 * (1 if normalize else 7))


def test_more_attenuation_is_brighter_and_nothing_in_the_beam_is_black(simulator):
    image = simulator.render_frame().image
    ball = np.unravel_index(image.argmax(), image.shape)
    assert ball[0] > 16  # the ball lies below the middle: z grows to the head, rows to the feet
    assert ball[1] > 20  # and on the patient's left
    assert simulator.render_frame(translation=(0, 0, 900)).image.max() == 0


def test_sub_detector_offsets_of_our_own_geometry_count(volume):
    full = carm.CarmGeometry(detector_width_px=40, detector_height_px=32, pixel_spacing_mm=4.0)
    part = full.cropped(columns=(10, 30), rows=(4, 20))
    whole, cut = (
        FluoroSimulator(volume, SimulatorConfig(geometry=geometry), device="cpu")
        .render_frame((0.2, 0.4, 0.0))
        .image
        for geometry in (full, part)
    )
    np.testing.assert_allclose(cut, whole[4:20, 10:30], atol=1e-5)


def test_frames_carry_pose_number_and_time(simulator):
    before_ms = time.time() * 1e3
    frames = list(simulator.stream(iter([{"rotation": (0, 0.1, 0)}, Pose(), {}])))
    assert [frame.frame_idx for frame in frames] == [0, 1, 2]
    assert frames[0].pose == Pose(rotation=(0.0, 0.1, 0.0))
    stamps = [frame.timestamp_ms for frame in frames]
    assert sorted(set(stamps)) == stamps
    assert before_ms - 5 < stamps[0] < stamps[-1] < time.time() * 1e3 + 5


def test_stream_asks_for_no_pose_beyond_its_last(simulator):
    asked = []

    def poses():
        while True:
            asked.append(1)
            yield Pose()

    assert len(list(simulator.stream(poses(), max_frames=3))) == 3
    assert len(asked) == 3
    with pytest.raises(InputError, match="max_frames must be at least 0 or None, got -1"):
        next(simulator.stream(poses(), max_frames=-1))


def test_cine_takes_poses_and_dicts_and_tells_its_progress(simulator, caplog):
    poses = [Pose(rotation=(0, 0.02 * i, 0)) for i in range(9)] + [{"translation": [1, 2, 3]}]
    with caplog.at_level(logging.INFO, logger="fluoro.fluorosim"):
        cine = simulator.render_cine(poses, fps=15)
        quiet = simulator.render_cine(poses, progress=False)
    assert [r.message.startswith("frame 10, ") for r in caplog.records] == [True]
    assert (len(cine), cine.fps, quiet.fps) == (10, 15, 30)
    assert cine[9].pose.translation == (1, 2, 3)
    assert [frame.frame_idx for frame in cine] == list(range(10))
    assert [frame.frame_idx for frame in cine[2:4]] == [2, 3]
    assert cine.to_numpy().shape == (10, 32, 40)
    np.testing.assert_array_equal(cine.to_numpy()[3], cine[3].image)
    np.testing.assert_array_equal(cine.to_numpy(), quiet.to_numpy())


def test_empty_cine_is_an_empty_array(simulator):
    assert simulator.render_cine([]).to_numpy().shape == (0, 0, 0)


def test_metrics_tell_what_is_requested(volume):
    def metrics(**switches):
        config = SimulatorConfig(GEOMETRY, metrics=fluoro.MetricsSettings(**switches))
        simulator = FluoroSimulator(volume, config, device="cpu")
        for _ in range(3):
            simulator.render_frame()
        return simulator, simulator.get_metrics()

    simulator, all_ = metrics()
    assert len(all_.frame_times_ms) == 3
    assert all_.fps == pytest.approx(1000 / np.mean(all_.frame_times_ms))
    assert all_.jitter_ms == pytest.approx(np.std(all_.frame_times_ms))
    assert set(all_.to_dict()) == {
        "fps",
        "avg_frame_time_ms",
        "jitter_ms",
        "gpu_memory_mb",
        "gpu_utilization",
    }
    assert json.dumps(all_.to_dict())
    simulator._frame_times.clear()  # scripts do so after a warm-up
    assert simulator.get_metrics() == SimulatorMetrics()
    _, no_rate = metrics(enabled=True, track_fps=False)
    assert (no_rate.fps, no_rate.frame_times_ms) == (0.0, [])
    assert no_rate.jitter_ms > 0
    _, no_jitter = metrics(enabled=True, track_jitter=False)
    assert no_jitter.jitter_ms == 0
    assert no_jitter.fps > 0
    assert no_jitter.gpu_memory_mb is None  # a CPU has no GPU memory


@pytest.mark.gpu
def test_metrics_of_a_gpu_are_its_drivers(volume):
    config = SimulatorConfig(GEOMETRY, metrics=fluoro.MetricsSettings(enabled=True))
    simulator = FluoroSimulator(volume, config, device="cuda")
    simulator.render_frame()
    metrics = simulator.get_metrics()
    assert metrics.gpu_memory_mb > 0
    assert 0 <= metrics.gpu_utilization <= 100


# -- noise -------------------------------------------------------------------------------------


def test_kernels_and_numpy_make_the_same_noise(volume):
    quiet = SimulatorConfig(GEOMETRY, XrayPhysics(invert=False))
    noisy = SimulatorConfig(GEOMETRY, XrayPhysics(invert=False), NOISE)
    clean = FluoroSimulator(volume, quiet, device="cpu").render_frame().image
    simulator = FluoroSimulator(volume, noisy, device="cpu")
    settings = {key: value for key, value in vars(NOISE).items() if key != "enabled"}
    for number in range(2):
        expected = apply_realism(clean, RealismConfig(**settings), frame_idx=number)
        found = simulator.render_frame().image
        assert np.mean(np.abs(found - expected) > 1e-5) <= 0.01  # a count off by one, blurred
        np.testing.assert_allclose(found, expected, atol=2 / NOISE.poisson_photons)


@pytest.mark.parametrize("other", ["llvmpipe", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_other_devices_show_the_same_frames(volume, other):
    if other == "llvmpipe":
        require_vulkan()
    config = CONFIG.with_realism(**vars(NOISE))
    there, here = (FluoroSimulator(volume, config, device=name) for name in (other, "cpu"))
    for _ in range(2):
        found, expected = there.render_frame((0.2, 0.3, 0)), here.render_frame((0.2, 0.3, 0))
        off = np.abs(found.image - expected.image)
        assert np.mean(off > 1e-4) <= 0.02  # a count off by one, blurred
        assert off.max() < 2 / NOISE.poisson_photons
    there.close()


def test_noise_differs_between_frames_and_runs_repeat(volume):
    config = CONFIG.with_realism(**vars(NOISE))

    def run(config):
        simulator = FluoroSimulator(volume, config, device="cpu")
        return simulator.render_cine([Pose()] * 3).to_numpy(), simulator.render_frame().image

    first, single = run(config)
    again, _ = run(config)
    np.testing.assert_array_equal(first, again)
    assert all(np.abs(first[i] - first[j]).mean() > 1e-3 for i, j in [(0, 1), (0, 2), (1, 2)])
    assert np.abs(single - first[0]).mean() > 1e-3
    other, _ = run(config.with_realism(seed=1))
    assert np.abs(first[0] - other[0]).mean() > 1e-3


def test_without_a_seed_each_simulator_draws_its_own(volume, caplog):
    config = CONFIG.with_realism(**{**vars(NOISE), "seed": None})
    with caplog.at_level(logging.INFO, logger="fluoro.fluorosim.simulator"):
        one, two = (
            FluoroSimulator(volume, config, device="cpu").render_frame().image for _ in range(2)
        )
    assert np.abs(one - two).mean() > 1e-3
    assert sum("noise seed drawn" in r.message for r in caplog.records) == 2


def test_realism_is_refused_for_anything_but_an_image():
    with pytest.raises(ValueError, match="Expected 2D image"):
        apply_realism(np.zeros((2, 3, 4)))


# -- volumes -----------------------------------------------------------------------------------


def test_preprocessing_follows_the_documented_line():
    hu = np.array([-2000, -1000, 0, 1000, 3000, 9000], float).reshape(1, 2, 3)
    preprocessor = VolumePreprocessor.from_numpy(hu_volume=hu, spacing_zyx_mm=(3, 2, 1))
    assert preprocessor.shape == (1, 2, 3)
    assert preprocessor.spacing_zyx_mm == (3, 2, 1)
    assert preprocessor.hu_range == (-2000, 9000)
    volume = preprocessor.preprocess()
    expected = [0, 0, 0.005, 0.01, 0.02, 0.02]
    np.testing.assert_allclose(volume.mu_volume.ravel(), expected, rtol=1e-6)
    assert volume.mu_volume.dtype == np.float32
    assert (volume.spacing_zyx_mm, volume.spacing_xyz_mm) == ((3, 2, 1), (1, 2, 3))
    assert volume.metadata.hu_range == (-2000, 9000)
    assert volume.metadata.mu_range == pytest.approx((0, 0.02))
    assert volume.metadata.source == "numpy"
    assert volume.metadata.calibration == {
        "scheme": "legacy_minmax",
        "hu_min": -1000,
        "hu_max": 3000,
        "mu_min": 0,
        "mu_max": 0.02,
    }


def test_preprocessing_settings_have_their_effect():
    hu = np.array([-3000.0, 0.0, 5000.0]).reshape(1, 1, 3)
    wide = fluoro.HuToMuMapping(hu_min=-4000, hu_max=6000, mu_min=0.0, mu_max=0.1)

    def mu(**settings):
        settings = fluoro.PreprocessingSettings(hu_to_mu=wide, **settings)
        return VolumePreprocessor.from_numpy(hu, settings=settings).preprocess().mu_volume.ravel()

    np.testing.assert_allclose(mu(clip_hu=False), [0.01, 0.04, 0.09], rtol=1e-5)
    np.testing.assert_allclose(
        mu(hu_clip_min=-1000, hu_clip_max=2000), [0.03, 0.04, 0.06], rtol=1e-5
    )


def test_calibration_goes_through_air_water_and_bone():
    hu = np.array([-3000.0, -1000.0, -400.0, 0.0, 750.0, 1500.0, 3000.0]).reshape(1, 1, 7)
    settings = fluoro.PreprocessingSettings(hu_to_mu=fluoro.HuToMuCalibration())
    volume = VolumePreprocessor.from_numpy(hu, settings=settings).preprocess()
    water, bone = 0.02059, 0.3148 * 1.92 / 10  # NIST, 60 keV
    expected = [0, 0, 0.6 * water, water, (water + bone) / 2, bone, 2 * bone - water]
    np.testing.assert_allclose(volume.mu_volume.ravel(), expected, rtol=3e-4, atol=1e-9)
    assert volume.metadata.calibration["scheme"] == "two_anchor_piecewise_linear_v1"
    calibration = fluoro.HuToMuCalibration()
    found = calibration.mu_water_mm_inv, calibration.mu_bone_mm_inv
    assert found == pytest.approx((water, bone), rel=3e-4)


def test_calibration_may_be_given_by_its_attenuations():
    hu = np.array([-500.0, 0.0, 500.0]).reshape(1, 1, 3)

    def mu(calibration, **clip):
        settings = fluoro.PreprocessingSettings(hu_to_mu=calibration, **clip)
        return VolumePreprocessor.from_numpy(hu, settings=settings).preprocess().mu_volume.ravel()

    own = fluoro.HuToMuCalibration(500.0, 1000.0, 0.01, 0.03)  # the energy is not requested
    assert (own.mu_water_mm_inv, own.mu_bone_mm_inv) == (0.01, 0.03)
    np.testing.assert_allclose(mu(own), [0.005, 0.01, 0.02], rtol=1e-6)
    np.testing.assert_allclose(mu(own, hu_clip_max=0.0), [0.005, 0.01, 0.01], rtol=1e-6)
    np.testing.assert_allclose(mu(own, hu_clip_max=0.0, clip_hu=False), mu(own))
    with pytest.raises(InputError, match=r"energy_kev must lie in \[20, 150\] keV, got 500"):
        mu(fluoro.HuToMuCalibration(500.0))


def test_folder_keeps_everything_and_is_read_back_without_a_copy(tmp_path):
    hu = np.random.default_rng(0).uniform(-1000, 2000, (4, 5, 6))
    direction = (0.0, -1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0)
    preprocessor = VolumePreprocessor(
        hu, (3.0, 2.0, 1.0), (7.0, 8.0, 9.0), "here", direction=direction
    )
    saved = preprocessor.preprocess(output_dir=tmp_path / "cache")
    loaded = PreprocessedVolume.load(tmp_path / "cache")
    np.testing.assert_array_equal(loaded.mu_volume, saved.mu_volume)
    assert loaded.metadata == saved.metadata
    assert loaded.mu.grid == saved.mu.grid
    assert not loaded.mu_volume.flags.owndata
    assert loaded.save(tmp_path / "cache") == tmp_path / "cache"  # over itself
    np.testing.assert_array_equal(
        PreprocessedVolume.load(tmp_path / "cache").mu_volume, saved.mu_volume
    )
    assert {path.name for path in (tmp_path / "cache").iterdir()} == {
        "mu_volume.npy",
        "metadata.json",
        "volume.json",
    }


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_folder_that_fluorosim_wrote_is_read(tmp_path, dtype):
    mu = np.random.default_rng(0).uniform(0, 0.02, (3, 4, 5)).astype(dtype)
    np.save(tmp_path / "mu_volume.npy", mu)
    facts = {
        "shape_zyx": [3, 4, 5],
        "spacing_zyx_mm": [1.0, 0.5, 0.25],
        "origin_xyz_mm": None,
        "hu_range": [-1000.0, 3000.0],
        "mu_range": [0.0, 0.02],
        "source": "a CT",
        "calibration": {"scheme": "legacy_minmax"},
    }
    (tmp_path / "metadata.json").write_text(json.dumps(facts))
    volume = PreprocessedVolume.load(tmp_path)
    np.testing.assert_allclose(volume.mu_volume, mu, rtol=1e-6)
    assert volume.spacing_zyx_mm == (1.0, 0.5, 0.25)
    assert volume.metadata.hu_range == (-1000.0, 3000.0)
    assert volume.metadata.source == "a CT"
    assert volume.metadata.calibration == {"scheme": "legacy_minmax"}
    assert VolumeMetadata.from_dict(facts).to_dict()["spacing_zyx_mm"] == [1.0, 0.5, 0.25]


def test_one_of_several_dicom_series_is_chosen(tmp_path):
    dicom_files.series(tmp_path)
    other = dicom_files.slices(series="1.2.3.4")
    for image in other:
        image.SeriesNumber = 9
    dicom_files.written(tmp_path, other, start=50)
    with pytest.raises(InputError):
        VolumePreprocessor.from_dicom(tmp_path)
    assert VolumePreprocessor.from_dicom(tmp_path, series="9").shape == (4, 5, 6)


def test_what_is_not_there_is_pythons_own_error(tmp_path):
    for missing in (
        lambda: PreprocessedVolume.load(tmp_path / "none"),
        lambda: VolumePreprocessor.from_nifti(tmp_path / "none.nii.gz"),
        lambda: VolumePreprocessor.from_dicom(tmp_path / "none"),
    ):
        with pytest.raises(FileNotFoundError, match="there is no such"):
            missing()
    np.save(tmp_path / "mu_volume.npy", np.zeros((2, 2, 2), np.float32))
    with pytest.raises(FileNotFoundError, match=r"metadata\.json"):
        PreprocessedVolume.load(tmp_path)


def test_arrays_that_are_no_volume_are_refused():
    metadata = VolumeMetadata((2, 2, 2), (1, 1, 1))
    with pytest.raises(ValueError, match=r"Expected 3D volume, got shape \(4, 4\)"):
        VolumePreprocessor.from_numpy(np.zeros((4, 4)))
    with pytest.raises(ValueError, match=r"Expected 3D volume, got shape \(2,\)"):
        PreprocessedVolume(np.zeros(2), metadata)
    with pytest.raises(ValueError, match=r"shape_zyx must be the volume's \(3, 3, 3\)"):
        PreprocessedVolume(np.zeros((3, 3, 3)), metadata)
    with pytest.raises(ValueError, match="2 of 27 voxels are not finite"):
        VolumePreprocessor.from_numpy(np.array([np.nan, np.inf, *[0.0] * 25]).reshape(3, 3, 3))
    with pytest.raises(ValueError, match="spacing_xyz_mm must be 3 positive"):
        VolumePreprocessor.from_numpy(np.zeros((3, 3, 3)), spacing_zyx_mm=(1, 0, 1))
    with pytest.raises(ValueError, match="spacing_zyx_mm must be 3 numbers"):
        VolumePreprocessor.from_numpy(np.zeros((3, 3, 3)), spacing_zyx_mm=(1, 1))
    with pytest.raises(ValueError, match="1 of 8 voxels are not finite"):
        PreprocessedVolume(np.array([np.nan, *[0.0] * 7]).reshape(2, 2, 2), metadata)
    with pytest.raises(TypeError, match="volume must be a PreprocessedVolume, got ndarray"):
        FluoroSimulator(np.zeros((3, 3, 3)))


def test_positions_may_be_arrays_and_seeds_numpys(volume):
    hu = [[[0.0, 100.0]]]
    preprocessor = VolumePreprocessor(hu, np.ones(3), origin_xyz_mm=np.array([1, 2, 3]))
    assert preprocessor.preprocess().metadata.origin_xyz_mm == (1.0, 2.0, 3.0)
    config = CONFIG.with_realism(**vars(NOISE))
    plain, numpys = (
        FluoroSimulator(volume, config.with_realism(seed=seed), device="cpu").render_frame().image
        for seed in (3, np.int32(3))
    )
    np.testing.assert_array_equal(plain, numpys)


# -- files -------------------------------------------------------------------------------------


def test_frames_are_saved_in_each_format(simulator, tmp_path):
    frame = simulator.render_frame((0.1, 0.2, 0.0), (1.0, 2.0, 3.0))
    for suffix in ("png", "npy", "npz"):
        frame.save(tmp_path / "new" / f"frame.{suffix}")
    with Image.open(tmp_path / "new" / "frame.png") as image:
        assert image.mode == "L"
        np.testing.assert_array_equal(np.asarray(image), np.rint(frame.image * 255))
    np.testing.assert_array_equal(np.load(tmp_path / "new" / "frame.npy"), frame.image)
    with np.load(tmp_path / "new" / "frame.npz") as arrays:
        np.testing.assert_array_equal(arrays["image"], frame.image)
        np.testing.assert_array_equal(arrays["rotation"], (0.1, 0.2, 0.0))
        np.testing.assert_array_equal(arrays["translation"], (1.0, 2.0, 3.0))
    assert len(list((tmp_path / "new").iterdir())) == 3


def test_frame_that_cannot_be_saved_is_one_line(simulator, tmp_path):
    frame = simulator.render_frame()
    with pytest.raises(InputError, match=r"must end in \.png, \.npy, \.npz"):
        frame.save(tmp_path / "frame.bmp")
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be written"):
        frame.save(tmp_path / "file" / "frame.png")


def test_cine_is_saved_by_number(simulator, tmp_path):
    cine = simulator.render_cine([Pose(), Pose()])
    assert cine.save_all(tmp_path) == [tmp_path / "frame_0000.png", tmp_path / "frame_0001.png"]
    assert all(path.is_file() for path in cine.save_all(tmp_path / "arrays", format="npz"))
    twice = CineSequence([Frame(cine[0].image, Pose()), Frame(cine[1].image, Pose())])
    with pytest.raises(InputError, match=r"png, npy, npz, got '\.png'"):
        cine.save_all(tmp_path, format=".png")
    with pytest.raises(InputError, match="frame_idx must differ between frames, got 0 twice"):
        twice.save_all(tmp_path)


def test_a_masked_background_is_doubted_as_on_the_command_line(caplog):
    hu = np.zeros((3, 4, 5))
    hu[1, 1:3, 1:4] = -850.0
    VolumePreprocessor.from_numpy(hu).preprocess()
    assert any("its corners are exactly 0 HU, which is water" in each for each in caplog.messages)


@pytest.mark.parametrize(("lowest", "warnings"), [(-1000, 0), (0, 1)])
def test_numbers_without_air_are_doubted_in_one_line(caplog, lowest, warnings):
    hu = np.full((3, 4, 5), 40.0)
    hu[0] = lowest
    VolumePreprocessor.from_numpy(hu).preprocess()
    doubts = [each for each in caplog.messages if "no voxel is below -500 HU" in each]
    assert len(doubts) == len(caplog.messages) == warnings


def test_angles_that_are_hardly_radians_are_doubted_once(simulator, caplog):
    simulator.render_frame(rotation=(0.0, 2 * np.pi, 0.0))
    assert not caplog.messages
    for _ in range(2):
        simulator.render_frame(rotation=(0.0, 30.0, 0.0))
    (line,) = caplog.messages
    assert "30 is more than a full turn; Pose.from_degrees takes degrees" in line


def test_a_pose_is_made_of_degrees():
    pose = Pose.from_degrees((10.0, 30.0, -90.0), (1.0, 2.0, 3.0))
    np.testing.assert_allclose(pose.rotation, np.radians([10.0, 30.0, -90.0]))
    assert pose.translation == (1.0, 2.0, 3.0)
    with pytest.raises(InputError, match="rotation_deg must be 3 numbers"):
        Pose.from_degrees((10.0, 30.0))


WRONG_TYPES = {
    "geometry": (
        lambda: SimulatorConfig(geometry={"source_to_detector_mm": 1000.0}),
        "geometry must be a CarmGeometry, got dict",
    ),
    "physics": (lambda: SimulatorConfig(physics=3), "physics must be a XrayPhysics, got int"),
    "phantom": (
        lambda: VolumePreprocessor.from_phantom("x"),
        "spacing_mm must be a number, 0.5 to 10, got 'x'",
    ),
    "text": (
        lambda: VolumePreprocessor.from_numpy(np.full((3, 3, 3), "a")),
        "a volume must be real numbers, got <U1",
    ),
    "rows": (lambda: VolumePreprocessor.from_numpy([[1, 2], [3]]), "its rows of one length"),
    "negative": (
        lambda: PreprocessedVolume(
            np.full((3, 3, 3), -1.0), VolumeMetadata((3, 3, 3), (1.0, 1.0, 1.0))
        ),
        "attenuation must be at least 0 /mm, got -1: is it HU",
    ),
    "metadata": (
        lambda: PreprocessedVolume(np.zeros((3, 3, 3)), {"spacing": 1}),
        "metadata must be a VolumeMetadata, got dict",
    ),
}


@pytest.mark.parametrize("what", WRONG_TYPES)
def test_a_wrong_type_gives_one_line(what):
    make, line = WRONG_TYPES[what]
    with pytest.raises((InputError, TypeError)) as caught:
        make()
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ({"device": 0}, "device must be a name such as 'auto' or 'cpu', got 0"),
        ({"config": {}}, "config must be a SimulatorConfig, got dict"),
    ],
)
def test_a_simulator_of_wrong_types_gives_one_line(simulator, arguments, line):
    with pytest.raises(TypeError, match=line):
        FluoroSimulator(simulator.volume, **arguments)

"""fluorosim's eight known defects; fluoro has none of them."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from fluoro import (
    CarmGeometry,
    FluoroSimulator,
    MetricsSettings,
    OutputSettings,
    Pose,
    RealismSettings,
    SimulatorConfig,
    VolumePreprocessor,
    XrayPhysics,
)
from fluoro.fluorosim.ct.dicom_ingest import load_dicom_series_hu, load_nifti_hu
from fluoro.fluorosim.rendering import (
    RealismConfig,
    SlangDiffDRRConfig,
    SlangDiffDRRRenderer,
    apply_realism,
)
from fluoro.geometry.carm import CarmPose
from fluoro.geometry.se3 import rotation_x, rotation_z
from fluoro.rendering.devices.cpu.device import CpuDevice
from fluoro.volume.grid import VolumeGrid
from tests import dicom_files

GEOMETRY = CarmGeometry(detector_width_px=41, detector_height_px=33, pixel_spacing_mm=5.0)
DARK_BONE = XrayPhysics(invert=False)
QUARTER = math.pi / 2


def simulator(hu, spacing=(2.0, 2.0, 2.0), geometry=GEOMETRY, **settings):
    volume = VolumePreprocessor.from_numpy(hu, spacing).preprocess()
    config = SimulatorConfig(geometry=geometry, **settings)
    return FluoroSimulator(volume, config, device="cpu")


def air(*shape):
    return np.full(shape, -1000.0)


def bead(*places, shape=(40, 40, 40)):
    """Voxels of metal in air, at (z, y, x)."""
    hu = air(*shape)
    for z, y, x in places:
        hu[z - 1 : z + 2, y - 1 : y + 2, x - 1 : x + 2] = 3000.0
    return hu


def centroid(image):
    """Column and row of the bright spot, from the image's middle [pixels]."""
    rows, columns = np.indices(image.shape)
    weights = image / image.sum()
    middle_u, middle_v = (image.shape[1] - 1) / 2, (image.shape[0] - 1) / 2
    return (columns * weights).sum() - middle_u, (rows * weights).sum() - middle_v


def write_nifti(path, hu, grid):
    """NIfTI is RAS; SimpleITK turns it from LPS."""
    image = sitk.GetImageFromArray(hu.astype(np.int16))
    image.SetSpacing(grid.spacing_xyz_mm)
    image.SetOrigin(grid.origin_xyz_mm)
    image.SetDirection(np.ravel(grid.direction))
    sitk.WriteImage(image, str(path))
    return path


# -- 1: rescale slope and intercept applied twice ----------------------------------------------


def test_1_rescale_is_applied_once(tmp_path):
    hu = np.linspace(-1000, 3000, 120).round().reshape(4, 5, 6)
    hu[0, 0, 0] = 0
    ct = load_dicom_series_hu(dicom_files.series(tmp_path / "series", hu))
    np.testing.assert_array_equal(ct.hu_zyx, hu)
    assert (ct.hu_zyx.dtype, ct.hu_zyx[0, 0, 0]) == (np.float32, 0)


# -- 2: gradients that ignore normalising and inverting ----------------------------------------


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("invert", [True, False])
def test_2_gradients_have_the_sign_and_scale_of_what_is_shown(normalize, invert):
    z, y, x = np.indices((30, 30, 30))
    blob = 0.02 * np.exp(-((z - 12) ** 2 + (y - 15) ** 2 + (x - 17) ** 2) / 60)
    cfg = SlangDiffDRRConfig(32, 40, 5.0, step_mm=1.0, i0=100.0, normalize=normalize, invert=invert)
    renderer = SlangDiffDRRRenderer(blob, (3.0, 3.0, 3.0), cfg, device=CpuDevice())
    weights = np.linspace(-1, 1, 32)[:, None] * np.ones(40)
    pose = np.array([0.2, 0.3, 0.1, 0.0, 0.0, 0.0])
    _, gradients = renderer.render_with_gradients(pose[:3], pose[3:], weights)
    for k, (found, step) in enumerate(
        zip(
            [*gradients["rotation"], *gradients["translation"]], [0.01] * 3 + [1.0] * 3, strict=True
        )
    ):
        plus, minus = (
            (renderer.render(p[:3], p[3:]).astype(float) * weights).sum()
            for p in (pose + step * np.eye(6)[k], pose - step * np.eye(6)[k])
        )
        scale = np.abs(gradients["rotation" if k < 3 else "translation"]).max()
        assert found == pytest.approx((plus - minus) / (2 * step), abs=0.03 * scale)


# -- 3: views that are not what they are called ------------------------------------------------


@pytest.mark.parametrize(
    ("rotation", "axis"),
    [((0, 0, 0), 1), ((0, QUARTER, 0), 2), ((0, -QUARTER, 0), 2), ((QUARTER, 0, 0), 0)],
    ids=["frontal", "LAO 90", "RAO 90", "CRA 90"],
)
def test_3_each_view_looks_along_the_axis_that_its_name_says(rotation, axis):
    """A rod along the beam is a spot, rods along the other axes are lines."""
    for rod in range(3):
        hu = air(41, 41, 41)
        hu[tuple(slice(None) if k == rod else slice(19, 22) for k in range(3))] = 1000.0
        image = simulator(hu).render_frame(rotation).image
        # the spot is magnified by perspective to 30 pixels, a line covers 100
        spot = np.count_nonzero(image > 0.3 * image.max()) < 20
        assert spot == (rod == axis), (rod, axis)


def test_3_lao_and_cranial_turn_the_detector_where_they_say():
    """An anterior bead moves the other way than the detector goes."""
    anterior = bead((20, 6, 20))
    left_of, above = centroid(simulator(anterior).render_frame((0, 0.4, 0)).image)[0], None
    assert left_of < -3  # the detector went to the patient's left: the bead shows on the right side
    above = centroid(simulator(anterior).render_frame((0.4, 0, 0)).image)[1]
    assert above > 3  # the detector went to the head: the bead shows towards the feet


def test_3_figures_of_the_page_on_fluorosims_order_of_angles():
    """docs/coming_from_fluorosim.md: 5.4 degrees off at LAO 30 / CRA 30, and where that is."""
    angle = math.radians(30)
    sim = simulator(bead((20, 20, 20)))
    view = sim.renderer.view((angle, angle, 0), (0, 0, 0))
    ours = -view.source_xyz_mm + sim.volume.mu.grid.center_xyz_mm
    # Rz(0) Rx(rx) Ry(ry) of its beam z, in its axes x, y, z: ours are x, -z, y
    x, y, z = math.sin(angle), -math.sin(angle) * math.cos(angle), math.cos(angle) ** 2
    theirs = np.array([x, -z, -y])
    cosine = ours @ theirs / np.linalg.norm(ours)
    assert math.degrees(math.acos(cosine)) == pytest.approx(5.43, abs=0.01)
    matrix = rotation_x(-angle) @ rotation_z(angle)
    np.testing.assert_allclose(matrix[:3, :3] @ (0, -1, 0), theirs, atol=1e-12)
    pose = CarmPose.from_world_from_carm(matrix, (0, 0, 0))
    angles = (pose.lao_deg, pose.cra_deg, pose.roll_deg)
    np.testing.assert_allclose(angles, (33.7, 25.7, 16.1), atol=0.05)


# -- 4: direction dropped, origin zeroed, RAS and LPS mixed ------------------------------------


def stored(hu, kind):
    """The same patient axially, mirrored in two axes as NIfTI often is, and sagittally."""
    _, y, x = hu.shape
    last_x, last_y = -33.0 + 2 * (x - 1), 12.0 + 2 * (y - 1)
    voxels, origin, columns = {
        "axial": (hu, (-33.0, 12.0, 150.0), np.eye(3)),
        "mirrored": (hu[:, ::-1, ::-1], (last_x, last_y, 150.0), np.diag([-1.0, -1.0, 1.0])),
        "sagittal": (
            hu.transpose(2, 1, 0)[::-1],
            (last_x, 12.0, 150.0),
            np.array([[0.0, 0.0, -1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]),
        ),
    }[kind]
    grid = VolumeGrid(
        shape_zyx=voxels.shape,
        spacing_xyz_mm=(2.0, 2.0, 2.0),
        origin_xyz_mm=origin,
        direction=tuple(map(tuple, columns.tolist())),
    )
    return np.ascontiguousarray(voxels), grid


def test_4_nifti_and_dicom_of_one_patient_are_one_image_however_they_are_stored(tmp_path):
    hu = bead((30, 20, 28), (10, 14, 20), shape=(40, 36, 44))
    hu[hu > 0] = 2000.0
    images = {}
    for kind in ("axial", "mirrored", "sagittal"):
        voxels, grid = stored(hu, kind)
        dicom = dicom_files.series(tmp_path / kind, voxels, grid)
        nifti = write_nifti(tmp_path / f"{kind}.nii.gz", voxels, grid)
        assert load_nifti_hu(nifti).origin_xyz_mm == pytest.approx(grid.origin_xyz_mm)
        assert load_nifti_hu(nifti).direction == pytest.approx(np.ravel(grid.direction))
        for read, path in (
            (VolumePreprocessor.from_dicom, dicom),
            (VolumePreprocessor.from_nifti, nifti),
        ):
            sim = FluoroSimulator(read(path).preprocess(), SimulatorConfig(GEOMETRY), device="cpu")
            images[path.name] = sim.render_frame((0.1, 0.3, 0.0)).image
    assert len(images) == 6
    for image in images.values():
        np.testing.assert_allclose(image, images["axial"], atol=1e-4)


def test_4_direction_counts_and_nothing_is_mirrored():
    hu = bead((20, 20, 32))
    plain = VolumePreprocessor(hu, (2, 2, 2))
    flipped = VolumePreprocessor(
        hu[:, ::-1, ::-1], (2, 2, 2), direction=(-1, 0, 0, 0, -1, 0, 0, 0, 1)
    )
    images = [
        FluoroSimulator(p.preprocess(), SimulatorConfig(GEOMETRY), device="cpu")
        .render_frame((0.2, 0.4, 0.1))
        .image
        for p in (plain, flipped)
    ]
    np.testing.assert_allclose(images[0], images[1], atol=1e-5)
    frontal = simulator(hu).render_frame().image
    assert centroid(frontal)[0] > 3  # left of the patient's midline, right in the image


# -- 5: rays cut short -------------------------------------------------------------------------


def middle(sim, **pose):
    image = sim.render_frame(**pose).image
    return -math.log(image[image.shape[0] // 2, image.shape[1] // 2])


def test_5_rays_are_whole_however_many_steps_they_take():
    hu = np.full((3, 700, 3), -900.0)  # 1400 mm of 0.0005 /mm at steps of 0.5: 2800 of them
    far = CarmGeometry(3000, 1500, 1, 1, 1.0)
    assert middle(simulator(hu, geometry=far, physics=DARK_BONE)) == pytest.approx(0.7, rel=1e-4)


@pytest.mark.parametrize("step_mm", [0.5, 3.7, 7.0, 500.0])
def test_5_the_last_step_has_its_own_weight(step_mm):
    hu = np.zeros((5, 51, 5))  # 102 mm of 0.005 /mm
    geometry = CarmGeometry(1020, 510, 1, 1, 1.0)
    sim = simulator(hu, geometry=geometry, physics=XrayPhysics(step_mm=step_mm, invert=False))
    assert middle(sim) == pytest.approx(0.51, rel=1e-4)


def test_5_what_lies_behind_the_detector_or_the_source_does_not_count():
    hu = np.zeros((5, 100, 5))  # 200 mm; detector 30 mm before, source 50 mm behind its middle
    geometry = CarmGeometry(80, 50, 1, 1, 0.1)
    sim = simulator(hu, geometry=geometry, physics=DARK_BONE)
    assert middle(sim) == pytest.approx(80 * 0.005, rel=1e-3)


# -- 6: noise and brightness -------------------------------------------------------------------

HALF_BONE = np.concatenate([np.full((40, 60, 30), 2000.0), np.full((40, 60, 30), -1000.0)], axis=2)
WIDE = CarmGeometry(1020, 510, 40, 40, 2.0)


def test_6_each_frame_has_its_own_noise_and_the_run_repeats():
    realism = RealismSettings(enabled=True, poisson_photons=1000, gaussian_sigma=0.01)
    unclipped = XrayPhysics(normalize=False)
    runs = [
        simulator(HALF_BONE, physics=unclipped, realism=realism)
        .render_cine([Pose()] * 4, progress=False)
        .to_numpy()
        for _ in range(2)
    ]
    np.testing.assert_array_equal(*runs)
    noise = (runs[0] - simulator(HALF_BONE).render_frame().image).reshape(4, -1)
    between = np.corrcoef(noise)[np.triu_indices(4, 1)]
    assert np.abs(between).max() < 0.1


def test_6_photons_arrive_where_the_beam_passes_also_when_bone_is_shown_bright():
    photons = 2000.0
    realism = RealismSettings(enabled=True, poisson_photons=photons)
    sim = simulator(HALF_BONE, geometry=WIDE, realism=realism, physics=XrayPhysics(normalize=False))
    frames = sim.render_cine([Pose()] * 60, progress=False).to_numpy().astype(float)
    bone, open_field = frames[:, 10:30, 4:12], frames[:, 10:30, 28:36]
    assert open_field.mean() == pytest.approx(0, abs=0.002)
    intensity = 1 - bone.mean()
    assert intensity < 0.3
    assert bone.var(axis=0).mean() == pytest.approx(intensity / photons, rel=0.05)
    assert open_field.var(axis=0).mean() == pytest.approx(1 / photons, rel=0.05)


def test_6_brightness_does_not_depend_on_what_else_is_in_the_image():
    alone, with_metal = bead((20, 20, 12)), bead((20, 20, 12), (20, 20, 30))
    alone[alone > 0] = 0.0
    with_metal[:, :, :16][with_metal[:, :, :16] > 0] = 0.0
    images = [simulator(hu).render_frame().image[:, :20] for hu in (alone, with_metal)]
    np.testing.assert_allclose(*images, atol=1e-6)
    assert images[0].max() < 0.2


def test_6_gain_and_bias_are_not_cancelled():
    def level(**changes):
        realism = RealismSettings(enabled=True, **changes)
        sim = simulator(HALF_BONE, geometry=WIDE, realism=realism, physics=DARK_BONE)
        return sim.render_frame().image[20, 8]

    plain = level()
    assert level(gain=2.0) == pytest.approx(2 * plain, rel=1e-4)
    assert level(bias=0.1) == pytest.approx(plain + 0.1, rel=1e-4)
    dim = apply_realism(np.full((4, 4), 0.5), RealismConfig(gain=0.5))
    np.testing.assert_allclose(dim, 0.25)


# -- 7: frames and gradients through the CPU ---------------------------------------------------


class CountingDevice(CpuDevice):
    """Claims to be a GPU, and notes what crosses between it and the host."""

    kind = "cuda"

    def __init__(self):
        super().__init__(workers=1)
        self.to_gpu, self.to_cpu = [], []

    def to_device(self, values):
        self.to_gpu.append(np.size(values))
        return super().to_device(values)

    def to_host(self, array, *, settled=False):
        self.to_cpu.append(array.size)
        return super().to_host(array, settled=settled)


def counting(keep_in_gpu):
    volume = VolumePreprocessor.from_numpy(HALF_BONE, (2.0, 2.0, 2.0)).preprocess()
    device = CountingDevice()
    config = SimulatorConfig(
        GEOMETRY,
        realism=RealismSettings(enabled=True, poisson_photons=100, blur_sigma_px=1),
        output=OutputSettings(keep_in_gpu=keep_in_gpu),
    )
    sim = FluoroSimulator(volume, config, device=device)
    assert device.to_gpu == [HALF_BONE.size]
    device.to_gpu.clear()
    return sim, device


def test_7_frames_stay_on_the_gpu_if_asked_and_come_back_once_if_not():
    pixels = 41 * 33
    sim, device = counting(keep_in_gpu=True)
    for _ in range(3):
        sim.render_frame()
    assert device.to_cpu == []
    assert max(device.to_gpu) < 100  # the view and the weights of the blur
    sim, device = counting(keep_in_gpu=False)
    sim.render_frame()
    assert device.to_cpu == [pixels]


def test_7_gradients_are_added_up_where_they_are_made():
    sim, device = counting(keep_in_gpu=True)
    for _ in range(2):
        device.to_gpu.clear(), device.to_cpu.clear()
        upstream = np.ones((33, 41), np.float32)
        sim.renderer.render_with_gradients((0.1, 0.2, 0.0), (0.0, 0.0, 0.0), upstream)
        assert HALF_BONE.size not in device.to_gpu
        assert set(device.to_cpu) <= {41 * 33, 6}  # the image, and six numbers


@pytest.mark.gpu
def test_7_frames_of_a_gpu_are_cupys():
    import cupy

    volume = VolumePreprocessor.from_numpy(HALF_BONE, (2.0, 2.0, 2.0)).preprocess()
    config = SimulatorConfig(GEOMETRY, output=OutputSettings(keep_in_gpu=True))
    frame = FluoroSimulator(volume, config, device="cuda").render_frame()
    assert isinstance(frame.image, cupy.ndarray)
    expected = simulator(HALF_BONE).render_frame().image
    np.testing.assert_allclose(frame.image.get(), expected, atol=1e-4)


# -- 8: files, time stamps, options ------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["png", "npy", "npz"])
def test_8_every_frame_of_a_stream_has_its_own_file(tmp_path, suffix):
    output = OutputSettings(save_to_disk=True, output_dir=tmp_path / "frames", format=suffix)
    sim = simulator(bead((20, 20, 20)), output=output)
    poses = [Pose(rotation=(0, 0.2 * i, 0)) for i in range(3)]
    frames = list(sim.stream(iter(poses)))
    names = [f"frame_{i:04d}.{suffix}" for i in range(3)]
    assert sorted(path.name for path in (tmp_path / "frames").iterdir()) == names
    for name, frame in zip(names, frames, strict=True):
        np.testing.assert_allclose(
            read(tmp_path / "frames" / name), frame.image, atol=0.5 / 255 + 1e-6
        )


def read(path):
    if path.suffix == ".png":
        with Image.open(path) as image:
            assert (image.mode, image.getbands()) == ("L", ("L",))
            return np.asarray(image) / 255
    loaded = np.load(path)
    return loaded["image"] if path.suffix == ".npz" else loaded


def test_8_single_frames_do_not_overwrite_each_other(tmp_path):
    output = OutputSettings(save_to_disk=True, output_dir=tmp_path)
    sim = simulator(bead((20, 20, 20)), output=output)
    assert [sim.render_frame().frame_idx for _ in range(3)] == [0, 1, 2]
    assert len(list(tmp_path.iterdir())) == 3


def test_8_time_stamps_are_points_in_time():
    sim = simulator(bead((20, 20, 20)))
    frames = list(sim.stream([Pose()] * 5))
    stamps = np.array([frame.timestamp_ms for frame in frames])
    durations = sim.get_metrics().frame_times_ms
    assert np.all(np.diff(stamps) >= np.array(durations[1:]) - 1e-3)


OPTIONS = {
    "geometry": {
        "source_to_detector_mm": 1100.0,
        "source_to_isocenter_mm": 600.0,
        "detector_width_px": 30,
        "detector_height_px": 20,
        "pixel_spacing_mm": 3.0,
    },
    "physics": {"step_mm": 60.0, "i0": 3.0, "normalize": False, "invert": False},
    "realism": {
        "enabled": False,
        "gain": 0.5,
        "bias": 0.1,
        "poisson_photons": 10.0,
        "gaussian_sigma": 0.1,
        "blur_sigma_px": 2.0,
        "seed": 5,
    },
}
BASE = SimulatorConfig(
    GEOMETRY,
    XrayPhysics(normalize=False),
    RealismSettings(enabled=True, gain=0.9, gaussian_sigma=0.01),
)


@pytest.mark.parametrize(
    ("part", "name"), [(part, name) for part, names in OPTIONS.items() for name in names]
)
def test_8_every_option_of_the_image_has_an_effect(part, name):
    base = BASE
    if name == "normalize":
        base = dataclasses.replace(base, physics=XrayPhysics(i0=2.0))
    changed = dataclasses.replace(getattr(base, part), **{name: OPTIONS[part][name]})
    images = []
    for config in (base, dataclasses.replace(base, **{part: changed})):
        volume = VolumePreprocessor.from_numpy(bead((14, 20, 26)), (2.0, 2.0, 2.0)).preprocess()
        images.append(FluoroSimulator(volume, config, device="cpu").render_frame().image)
    same_size = images[0].shape == images[1].shape
    assert not same_size or np.abs(images[0] - images[1]).max() > 1e-3


def test_8_no_option_of_the_image_is_left_out_of_that_test():
    for part, names in OPTIONS.items():
        fields = {field.name for field in dataclasses.fields(getattr(BASE, part))}
        assert fields == set(names)
    # test_simulator.py tries those of output, metrics and preprocessing
    assert {f.name for f in dataclasses.fields(OutputSettings)} == {
        "save_to_disk",
        "output_dir",
        "format",
        "keep_in_gpu",
    }
    assert {f.name for f in dataclasses.fields(MetricsSettings)} == {
        "enabled",
        "track_fps",
        "track_gpu_usage",
        "track_jitter",
    }

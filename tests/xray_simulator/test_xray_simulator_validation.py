"""xray_simulator.validation: measures, the report of pairs, xvr's views."""

import json
from dataclasses import asdict

import numpy as np
import pytest
import SimpleITK as sitk
from scipy.spatial.transform import Rotation

import fluoro.xray_simulator as xs
from fluoro.errors import InputError
from fluoro.rendering.devices.cpu.device import CpuDevice
from fluoro.xray_simulator.config import XrayPhysics
from fluoro.xray_simulator.geometry import euler_zxy_to_matrix, project_point_to_detector
from fluoro.xray_simulator.validation import attenuation_from_intensity, evaluate_pair
from fluoro.xray_simulator.validation.__main__ import main
from fluoro.xray_simulator.validation.xvr import (
    EXCLUDED_VIEWS,
    XvrVolumeFrame,
    adapt_xvr_camera,
    load_xvr_view,
    load_xvr_volume,
)

RANGES = {"data_range": 1.0, "histogram_range": (0.0, 1.0)}
DETECTOR = {
    "sdd": 1000.0, "delx": 0.4, "dely": 0.6, "x0": 12.0, "y0": -7.0, "height": 120, "width": 160
}  # fmt: skip


def image(seed=1):
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:40, :48] / 8
    return 0.5 + 0.3 * np.sin(rows) * np.cos(columns) + 0.02 * rng.normal(size=(40, 48))


def mask():
    found = np.zeros((40, 48), bool)
    found[3:-3, 4:-4] = True
    return found


def test_an_image_is_like_itself():
    found = evaluate_pair(image(), image(), mask(), domain="display", **RANGES)["as_configured"]
    for name in ("ncc", "gradient_ncc", "ssim"):
        assert found[name] == pytest.approx(1.0)
    assert found["rmse"] == 0
    assert found["wasserstein"] == 0
    assert found["mi_nats"] > 2


def test_similarity_is_that_of_scikit_image():
    metrics = pytest.importorskip("skimage.metrics")
    one, other = image(1), image(2)
    everywhere = np.ones(one.shape, bool)
    found = evaluate_pair(one, other, everywhere, domain="display", **RANGES)["as_configured"]
    expected = metrics.structural_similarity(
        one, other, data_range=1.0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    assert found["ssim"] == pytest.approx(expected, abs=1e-12)


def test_shape_alone_takes_off_gain_and_bias():
    report = evaluate_pair(
        0.4 * image() + 0.1, image(), mask(), domain="attenuation_proxy", **RANGES
    )
    assert report["affine_fit"] == pytest.approx({"gain": 0.4, "bias": 0.1})
    assert report["shape_only"]["rmse"] == pytest.approx(0, abs=1e-12)
    assert report["as_configured"]["rmse"] > 0.1
    assert len(report["radial_profiles"]["reference"]) == 16


def test_an_inverted_image_gets_a_warning():
    report = evaluate_pair(1 - image(), image(), mask(), domain="attenuation", **RANGES)
    assert report["as_configured"]["ncc"] == pytest.approx(-1)
    assert report["affine_fit"]["gain"] == 0
    assert "polarity" in report["warnings"][0]


def test_what_lies_outside_of_the_mask_does_not_count():
    other = image()
    other[~mask()] = np.nan
    found = evaluate_pair(image(), other, mask(), domain="display", **RANGES)["as_configured"]
    assert found["ncc"] == pytest.approx(1)
    assert found["ssim"] == pytest.approx(1)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"mask": np.zeros((40, 48))}, "mask must hold 0 and 1, and 1 somewhere"),
        ({"rendered": np.ones((3, 4))}, "must have one shape"),
        ({"rendered": np.full((40, 48), np.nan)}, "rendered must be finite inside the mask"),
        ({"domain": "hounsfield"}, "domain must be one of display"),
    ],
)
def test_pairs_that_do_not_fit_are_refused(changes, line):
    given = {"reference": image(), "rendered": image(), "mask": mask(), "domain": "display"}
    given |= changes
    with pytest.raises(InputError, match=line):
        evaluate_pair(
            given["reference"], given["rendered"], given["mask"], domain=given["domain"], **RANGES
        )


def test_attenuation_is_the_logarithm_of_transmission():
    found = attenuation_from_intensity(np.array([[2.0, 1.0], [0.0, 4.0]]), i0=2.0)
    np.testing.assert_allclose(found, [[0, np.log(2)], [-np.log(1e-8), -np.log(2)]], rtol=1e-6)


def manifest(tmp_path, **changes):
    for name, values in {"reference": image(), "rendered": image(2), "bad": 1 - image()}.items():
        np.save(tmp_path / f"{name}.npy", values)
    np.save(tmp_path / "mask.npy", mask())
    pairs = [
        {"dataset": "made", "subject": "subject01", "view": str(n), "reference": "reference.npy",
         "rendered": "rendered.npy", "mask": "mask.npy", "misposed": "bad.npy",
         "acquisition": str(n)}
        for n in range(3)
    ]  # fmt: skip
    document = {"schema_version": 1, "domain": "display", "data_range": 1.0,
                "histogram_range": [0.0, 1.0], "pairs": pairs} | changes  # fmt: skip
    path = tmp_path / "pairs.json"
    path.write_text(json.dumps(document))
    return path


def test_the_report_has_each_pair_and_each_subject(tmp_path):
    report = tmp_path / "report.json"
    assert main([str(manifest(tmp_path)), "--output", str(report)]) == 0
    found = json.loads(report.read_text())
    assert len(found["pairs"]) == 3
    of_subject = found["subjects"]["made/subject01"]["ncc"]
    assert of_subject["views"] == 3
    assert of_subject["interval_95"] == pytest.approx([of_subject["median"]] * 2)
    assert found["pairs"][0]["misposed"]["ncc"] < 0
    assert main([str(tmp_path / "pairs.json"), "--output", str(report)]) == 2  # stays as it is


def test_a_wrong_manifest_is_one_line(tmp_path, capsys):
    path = manifest(tmp_path, domain="grey")
    assert main([str(path), "--output", str(tmp_path / "r.json")]) == 2
    assert "domain: Input should be 'display'" in capsys.readouterr().err
    path = manifest(tmp_path)
    (tmp_path / "mask.npy").unlink()
    assert main([str(path), "--output", str(tmp_path / "r.json"), "--dryrun"]) == 2
    assert "mask.npy is not there" in capsys.readouterr().err


def frame(handedness=1, oblique=False):
    affine = np.diag([0.8, 1.2, handedness * 2.0, 1.0])
    if oblique:
        turn = Rotation.from_euler("xyz", [21, -17, 9], degrees=True).as_matrix()
        affine[:3, :3] = turn @ affine[:3, :3]
    affine[:3, 3] = [127.0, -68.0, 314.0]
    return XvrVolumeFrame.from_affine((7, 9, 11), affine)


def stored_pose():
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_euler("zyx", [30, -10, 72], degrees=True).as_matrix()
    pose[:3, 3] = [20, -700, 80]
    return pose


@pytest.mark.parametrize("handedness", [-1, 1])
@pytest.mark.parametrize("oblique", [False, True])
def test_voxels_keep_their_places_and_values(handedness, oblique):
    f = frame(handedness, oblique)
    stored = np.arange(7 * 9 * 11).reshape(7, 9, 11)
    prepared = f.prepare_array(stored)
    for index in ([0, 0, 0], [6, 8, 10], [2, 7, 3]):
        x, y, z = index
        here = (x, 8 - y if f.flip_y else y, z)
        place = np.array(f.origin_xyz_mm) + np.multiply(here, f.spacing_xyz_mm)
        ras = f.affine_ras[:3, :3] @ index + f.affine_ras[:3, 3]
        np.testing.assert_allclose(f.points_to_simulator(ras, centered=False), place, atol=1e-9)
        assert prepared[here[::-1]] == stored[x, y, z]


@pytest.mark.parametrize("binning", [1, 2, 4])
@pytest.mark.parametrize("handedness", [-1, 1])
def test_cameras_are_those_of_the_stored_pinhole(binning, handedness):
    f = frame(handedness, oblique=True)
    camera = adapt_xvr_camera(stored_pose(), DETECTOR, f, binning=binning)
    ap = Rotation.from_euler("x", 90, degrees=True).as_matrix()
    ras_from_camera = np.eye(4)
    ras_from_camera[:3, :3] = stored_pose()[:3, :3] @ ap
    ras_from_camera[:3, 3] = stored_pose()[:3, 3]
    dx, dy = DETECTOR["delx"] * binning, DETECTOR["dely"] * binning
    k = np.array(
        [
            [1000 / dx, 0, (160 / binning - 1) / 2 + DETECTOR["x0"] / dx],
            [0, -1000 / dy, (120 / binning - 1) / 2 + DETECTOR["y0"] / dy],
            [0, 0, 1],
        ]
    )
    seen = np.random.default_rng(3).uniform([-25, -20, 350], [25, 20, 850], (30, 3))
    ras = seen @ ras_from_camera[:3, :3].T + ras_from_camera[:3, 3]
    homogeneous = seen @ k.T
    np.testing.assert_allclose(
        camera.project(ras), homogeneous[:, :2] / homogeneous[:, 2:], atol=1e-9
    )
    turn = euler_zxy_to_matrix(camera.pose.rotation)
    source = np.array(camera.pose.translation) - camera.geometry.source_to_isocenter_mm * turn[:, 2]
    np.testing.assert_allclose(source, f.points_to_simulator(stored_pose()[:3, 3]), atol=1e-9)


@pytest.mark.parametrize(("origin", "shift"), [("center", 0.0), ("corner", 0.5)])
def test_a_voxel_is_rendered_where_the_poses_have_it(origin, shift):
    f = frame(-1, oblique=True)
    before = np.eye(4)
    before[:3, 3] = [10, 700, 30]
    camera = adapt_xvr_camera(before, DETECTOR, f, pose_voxel_origin=origin)
    geometry = asdict(camera.geometry)
    for index in ([0, 0, 0], [6, 8, 10], [2, 7, 3]):
        x, y, z = index
        here = (x, 8 - y if f.flip_y else y, z)
        place = np.array(f.origin_xyz_mm) + np.multiply(here, f.spacing_xyz_mm)
        rendered = project_point_to_detector(
            place, camera.pose.rotation, camera.pose.translation, **geometry
        )
        offset = f.affine_ras[:3, :3] @ (np.array(index) + shift) + f.affine_ras[:3, 3]
        world = offset - f.center_ras_mm
        np.testing.assert_allclose(rendered, camera.project(world), atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "more"),
    [
        ({"sdd": -1}, {}), ({"delx": 0}, {}), ({"dely": np.nan}, {}), ({"x0": np.inf}, {}),
        ({"width": 12.5}, {}), ({"height": True}, {}), ({}, {"binning": 0}),
        ({}, {"binning": 7}), ({}, {"binning": True}), ({}, {"pose_voxel_origin": "edge"}),
    ],
)  # fmt: skip
def test_cameras_that_cannot_be_are_refused(changes, more):
    with pytest.raises(ValueError, match="must be"):
        adapt_xvr_camera(np.eye(4), DETECTOR | changes, frame(), **more)


def test_a_mirrored_pose_and_sheared_axes_are_refused():
    with pytest.raises(ValueError, match="proper rigid"):
        adapt_xvr_camera(np.diag([-1.0, 1, 1, 1]), DETECTOR, frame())
    sheared = np.eye(4)
    sheared[0, 1] = 0.1
    with pytest.raises(ValueError, match="Sheared"):
        XvrVolumeFrame.from_affine((5, 5, 5), sheared)


def test_a_stored_subject_renders_with_its_bead_where_the_pose_says(tmp_path):
    torch = pytest.importorskip("torch")
    subject = tmp_path / "subject01"
    (subject / "xrays").mkdir(parents=True)
    values = np.full((24, 20, 22), -1000.0, np.float32)
    values[15, 6, 13] = 3000.0
    affine = np.diag([-1.5, -1.5, 1.5, 1.0])
    stored_volume = sitk.GetImageFromArray(values.T)  # LPS, so that RAS has x and y turned
    stored_volume.SetSpacing((1.5, 1.5, 1.5))
    sitk.WriteImage(stored_volume, subject / "volume.nii.gz")
    pose = np.eye(4)
    pose[:3, 3] = [4.0, 500.0, -3.0]
    detector = DETECTOR | {"width": 96, "height": 80, "delx": 1.0, "dely": 1.5}
    stored = {"pose": torch.tensor(pose)[None], "intrinsics": detector}
    torch.save(stored, subject / "xrays" / "000.pt")
    volume_zyx, f = load_xvr_volume(subject / "volume.nii.gz")
    np.testing.assert_array_equal(volume_zyx, f.prepare_array(values))
    view = load_xvr_view(subject, "000", dataset="ljubljana")
    camera = view.camera(f)
    volume = xs.VolumePreprocessor(
        volume_zyx, f.spacing_zyx_mm, origin_xyz_mm=f.origin_xyz_mm
    ).preprocess()
    config = xs.SimulatorConfig(geometry=camera.geometry, physics=XrayPhysics(step_mm=0.2))
    simulator = xs.xray_simulator(volume, config.with_output(keep_intensity=True),
                                  device=CpuDevice(workers=1))  # fmt: skip
    found = attenuation_from_intensity(simulator.render_frame(pose=camera.pose).intensity)
    rows, columns = np.indices(found.shape)
    middle = [(found * each).sum() / found.sum() for each in (columns, rows)]
    bead = affine[:3, :3] @ [15, 6, 13] - affine[:3, :3] @ ((np.array(values.shape) - 1) / 2)
    np.testing.assert_allclose(middle, camera.project(bead), atol=0.1)
    raw = np.arange(80 * 96, dtype=float).reshape(80, 96)
    assert view.prepare_reference(raw, binning=2)[0, 0] == raw[:2, :2].mean()
    with pytest.raises(ValueError, match="the image must have the shape"):
        view.prepare_reference(raw[1:])


def test_excluded_views_and_other_names_are_refused(tmp_path):
    assert ("subject01", "003") in EXCLUDED_VIEWS
    with pytest.raises(ValueError, match="excluded"):
        load_xvr_view(tmp_path / "subject01", "003")
    with pytest.raises(ValueError, match="stem"):
        load_xvr_view(tmp_path / "subject01", "../000")

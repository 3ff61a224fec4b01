"""DeepFluoro and Ljubljana in both forms: poses, pixels and landmarks as their rules say."""

import json
import os
import re
import subprocess
from pathlib import Path

import h5py
import numpy as np
import pytest

import tests.published_files as files
from fluoro.datasets.published.open_set import open_published
from fluoro.datasets.published.preprocess import (
    read_xray_steps,
)
from fluoro.datasets.published.subject import views_of
from fluoro.datasets.published.volumes import diffdrr_density, published_attenuation, with_labels
from fluoro.errors import InputError
from fluoro.rendering.devices.cpu.device import CpuDevice
from fluoro.rendering.renderer import DrrRenderer

ROOT = Path(__file__).parents[2]
LANDMARK_PX = 0.01
"""What a landmark may be off."""
SHIFTS_PX = {"centred": (0.0, 0.0), "offset": (11.5, -7.25)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("published")


@pytest.fixture(scope="module")
def deepfluoro(folder):
    return files.write_deepfluoro(folder / "deepfluoro.h5")


def reprojection_px(data, subject, view):
    """Largest distance of projected and marked landmarks, corner-based pixels."""
    points = data.subject(subject).fiducials_xyz_mm
    found = data.view(subject, view)
    assert found.fiducials_uv.keys() == points.keys()
    return max(
        np.abs(found.view.project(point) - found.fiducials_uv[name]).max()
        for name, point in points.items()
    )


def test_deepfluoro_landmarks_reproject_upright_and_turned(deepfluoro):
    with open_published(deepfluoro, "deepfluoro") as data:
        assert [data.view("subject01", name).turned for name in ("000", "001")] == [False, True]
        for name in data.views("subject01"):
            assert reprojection_px(data, "subject01", name) < LANDMARK_PX


def test_landmark_that_was_not_marked_is_left_out(tmp_path):
    path = files.write_deepfluoro(tmp_path / "file.h5", size_px=8, render=False)
    with h5py.File(path, "a") as file:
        marked = file["17-1882/projections/000/gt-landmarks"]
        del marked["FH-l"]
        marked["GSN-l"][:] = np.nan
    with open_published(path, "deepfluoro") as data:
        assert len(data.view("subject01", "000").fiducials_uv) == 12


def test_deepfluoro_detector_is_central_by_the_files_own_rule(deepfluoro):
    with open_published(deepfluoro, "deepfluoro") as data:
        view = data.view("subject01", "000").view
    corner = view.corner_xyz_mm - view.source_xyz_mm
    foot = [
        -corner @ step / (step @ step) for step in (view.column_step_xyz_mm, view.row_step_xyz_mm)
    ]
    np.testing.assert_allclose(foot, [178, 178], atol=1e-6)


def correlation(a, b):
    return np.corrcoef(np.ravel(a), np.ravel(b))[0, 1]


@pytest.mark.parametrize("form", ["h5", "xvr"])
@pytest.mark.parametrize("name", ["deepfluoro", "ljubljana"])
def test_volume_rendered_at_the_stored_pose_is_the_stored_image(tmp_path, name, form):
    """In both forms, with a detector that is off centre where the form can say so."""
    path = written(tmp_path, name, form, size_px=180, offset_px=SHIFTS_PX["offset"])
    with open_published(path, name, voxel_origin="center") as data:
        mu = published_attenuation(data.subject("subject01"), name)
        renderer = DrrRenderer(mu, CpuDevice(workers=2), projector="joseph")
        for view_name in data.views("subject01"):
            view = data.view("subject01", view_name)
            again = np.exp(-np.asarray(renderer.render(view.view)))
            shown = view.image / view.image.max() * again.max()
            assert np.abs(shown - again).max() < 1e-3


def written(folder, name, form, *, size_px, offset_px):
    if form == "xvr":
        shift = offset_px if name == "ljubljana" else (0.0, 0.0)
        return files.write_xvr(folder, name, size_px=size_px, offset_px=shift)
    if name == "deepfluoro":
        return files.write_deepfluoro(folder / "file.h5", size_px=size_px)
    return files.write_ljubljana(folder / "file.h5", size_px=size_px, offset_px=offset_px)


def test_xvr_form_has_the_landmarks_and_views_of_the_original(tmp_path):
    original = files.write_deepfluoro(tmp_path / "file.h5", size_px=180)
    folder = files.write_xvr(tmp_path, "deepfluoro", size_px=180)
    with open_published(original, "deepfluoro") as a, open_published(folder, "deepfluoro") as b:
        first, second = a.subject("subject01"), b.subject("subject01")
        np.testing.assert_allclose(second.targets_xyz_mm, _by_name(first), atol=1e-4)
        for name in a.views("subject01"):
            one, other = (data.view("subject01", name).view for data in (a, b))
            points = first.targets_xyz_mm
            np.testing.assert_allclose(one.project(points), other.project(points), atol=1e-3)
        shift = second.grid.center_xyz_mm - first.grid.center_xyz_mm
    np.testing.assert_allclose(shift, files.SPACING_MM / 2)  # voxel_origin: corner


def _by_name(subject):
    """In the order of the writer, which is that of xvr's tensor."""
    return np.array([subject.fiducials_xyz_mm[name] for name in files.scene().points])


def test_views_known_to_be_wrong_are_left_out(tmp_path):
    path = files.write_deepfluoro(tmp_path / "file.h5", size_px=8, views=5, render=False)
    with open_published(path, "deepfluoro") as data:
        assert ("subject01", "003") not in list(views_of(data))
        assert len(list(views_of(data, excluded=True))) == 5
        assert data.view("subject01", "003").excluded


def test_labels_keep_their_numbers_and_names(deepfluoro):
    with open_published(deepfluoro, "deepfluoro") as data:
        subject = data.subject("subject01")
        volume = published_attenuation(subject, "deepfluoro")
        part = with_labels(volume, subject, [2, 3])
    assert [each.name for each in subject.labels.structures] == list(files.LABELS.values())
    inside = np.isin(files.scene().labels, [2, 3])
    assert part.mu_zyx.sum(dtype=float) == pytest.approx(volume.mu_zyx[inside].sum(dtype=float))


def test_density_is_diffdrrs():
    hu = np.array([-1000.0, -900, -700, 0, 350, 400, 1000], np.float32)
    expected = np.array([0, 0, 0, 700, 1050, 1500, 2700]) / 2700
    np.testing.assert_allclose(diffdrr_density(hu, 2.0), expected, rtol=1e-6)


def test_xray_steps_crop_scale_and_take_the_logarithm():
    image = np.arange(64, dtype=np.float32).reshape(8, 8)
    shown = read_xray_steps(image, crop=4)
    inside = (image[2:6, 2:6] - 18) / 27
    np.testing.assert_allclose(shown, np.log(2) - np.log(1 + inside), atol=1e-6)
    frames = np.stack([image, 2 * image])
    np.testing.assert_array_equal(read_xray_steps(frames, reduce=0), read_xray_steps(image))
    background = read_xray_steps(np.array([[5, 5, 9.0], [1, 5, 5]]), subtract_background=True)
    np.testing.assert_allclose(background[0], 0, atol=1e-6)
    assert background[1, 0] > 0.2


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        ("truncated", "is truncated, damaged or no HDF5 file"),
        ("text", "is truncated, damaged or no HDF5 file"),
        ("missing", "there is no such file"),
        ("proj-params", "must have the data set proj-params/intrinsic, has none"),
        ("17-1882", "must have a specimen of 17-1882"),
    ],
)
def test_file_that_cannot_be_opened_is_one_line(tmp_path, damage, expected):
    path = tmp_path / "file.h5"
    files.write_deepfluoro(path, size_px=8, render=False)
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:5000])
    elif damage == "text":
        path.write_text("no HDF5")
    elif damage == "missing":
        path.unlink()
    else:
        with h5py.File(path, "a") as file:
            del file[damage]
    with pytest.raises(InputError, match=re.escape(expected)) as caught:
        open_published(path, "deepfluoro")
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("name", "wrong", "expected"),
    [
        ("image/pixels", np.zeros((4, 4)), "must have shape 8 x 8, got (4, 4)"),
        ("image/pixels", None, "must have the data set"),
        ("rot-180-for-up", None, "must have the data set"),
        ("gt-poses/cam-to-pelvis-vol", np.zeros((4, 4)), "must be 4x4 and end with 0 0 0 1"),
        ("gt-poses/cam-to-pelvis-vol", np.diag([2.0, 1, 1, 1]), "must turn without stretching"),
        ("gt-poses/cam-to-pelvis-vol", np.full((4, 4), np.nan), "must hold 16 finite numbers"),
    ],
)
def test_damaged_view_is_one_line_and_the_layout_check_finds_what_is_missing(
    tmp_path, name, wrong, expected
):
    path = files.write_deepfluoro(tmp_path / "file.h5", size_px=8, render=False)
    at = f"17-1882/projections/000/{name}"
    with h5py.File(path, "a") as file:
        del file[at]
        if wrong is not None:
            file[at] = wrong
    with open_published(path, "deepfluoro") as data:
        with pytest.raises(InputError, match=re.escape(expected)):
            data.view("subject01", "000")
        assert (f"{at} is missing" in data.check()) == (wrong is None)
        data.view("subject01", "001")


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("xrays/000.pt", "is damaged or no PyTorch file"),
        ("xrays/000.dcm", "is no readable DICOM image"),
    ],
)
def test_damaged_file_of_xvrs_form_is_one_line(tmp_path, file, expected):
    folder = files.write_xvr(tmp_path, "deepfluoro", size_px=128)
    path = folder / "deepfluoro" / "subject01" / file
    path.write_bytes(path.read_bytes()[:400])
    with open_published(folder, "deepfluoro") as data, pytest.raises(InputError) as caught:
        data.view("subject01", "000")
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_layout_check_names_what_is_missing_of_both_sets(tmp_path):
    folder = files.write_xvr(tmp_path, "deepfluoro", size_px=128)
    (folder / "deepfluoro/subject01/fiducials.pt").unlink()
    with open_published(folder, "deepfluoro") as data:
        (line,) = data.check()
    assert line.endswith("fiducials.pt is missing")
    path = files.write_ljubljana(tmp_path / "ljubljana.h5", size_px=32)
    with open_published(path, "ljubljana") as data:
        assert data.check() == [f"subject{n:02d} is missing" for n in range(2, 11)]


PEERS = ROOT / "benchmarks" / ".venv-peers" / "bin" / "python"


@pytest.mark.peers
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_diffdrrs_own_loader_gives_the_same_images_and_poses(tmp_path):
    """DiffDRR-Datasets reads the same files; it takes images of 1536 pixels and voxels of 1 mm."""
    torch = pytest.importorskip("torch")

    from fluoro.torch.published_views import DeepFluoroDataset, LjubljanaDataset, Transforms

    python = Path(os.environ.get("FLUORO_PEERS_PYTHON", PEERS))
    if not python.is_file():
        reason = f"needs diffdrrdata in {python} (make peers)"
        pytest.fail(reason) if os.environ.get("FLUORO_REQUIRE_PEERS") == "1" else pytest.skip(
            reason
        )
    home = tmp_path / "user" / "diffdrr_data"
    home.mkdir(parents=True)
    deepfluoro = files.write_deepfluoro(
        home / "ipcai_2020_full_res_data.h5", size_px=1536, render=False, spacing_mm=1.0
    )
    ljubljana = files.write_ljubljana(home / "ljubljana.h5", offset_px=SHIFTS_PX["offset"])
    script = ROOT / "tools" / "data" / "read_with_diffdrrdata.py"
    done = subprocess.run(
        [python, script, tmp_path / "theirs.npz"],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"HOME": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    theirs = np.load(tmp_path / "theirs.npz")
    ours = DeepFluoroDataset(deepfluoro, 1, bone_attenuation_multiplier=2.0)
    for n in range(2):
        image, pose = ours[n]
        np.testing.assert_allclose(image, theirs[f"deepfluoro {n} image"], atol=2e-5)
        np.testing.assert_allclose(pose, theirs[f"deepfluoro {n} pose"], atol=2e-3)
        resized = Transforms(64)(image)
        np.testing.assert_allclose(resized, theirs[f"deepfluoro {n} resized"], atol=1e-3)
    np.testing.assert_allclose(ours.fiducials, theirs["deepfluoro fiducials"], atol=1e-2)
    density = theirs["deepfluoro density"][::-1, ::-1].transpose(2, 1, 0)
    np.testing.assert_allclose(ours.volume.mu_zyx, density, atol=1e-6)
    for n in range(2):
        item = LjubljanaDataset(ljubljana, 1)[n]
        np.testing.assert_allclose(item.image, theirs[f"ljubljana {n} image"], atol=2e-5)
        flipped = files.AP_TURN @ np.diag([-1, 1, 1]) @ files.AP_TURN.T
        pose = torch.from_numpy(theirs[f"ljubljana {n} pose"])[0].numpy()
        pose[:3, :3] = pose[:3, :3] @ flipped  # theirs is a reflection, with x reversed
        np.testing.assert_allclose(item.pose[0], pose, atol=2e-3)
        sdd, x0, y0 = json.loads(str(theirs[f"ljubljana {n} detector"]))
        half = item.delx_mm / 2  # theirs measures from the pixels' centres
        np.testing.assert_allclose(
            [item.sdd_mm, -item.x0_mm, item.y0_mm], [sdd, x0 + half, y0 + half], atol=1e-3
        )

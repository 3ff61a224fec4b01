"""Folders of attenuation: ours and fluorosim's are used, what is none of them is refused."""

import json
import logging
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app import main
from fluoro.config import VolumeConfig, volume_config
from fluoro.errors import InputError, OutputError
from fluoro.geometry.carm import CarmGeometry, CarmPose
from fluoro.paths import cache_dir, output_dir
from fluoro.rendering.devices.selection import open_device
from fluoro.rendering.renderer import DrrRenderer
from fluoro.volume.hu_to_mu import HuToMu, mu_from_hu, mu_water_per_mm
from fluoro.volume.load import load_volume, preprocess_volume
from fluoro.volume.store import atomic_folder, volume_folder
from fluoro.volume.store.atomic_folder import content_sha256
from fluoro.volume.store.volume_folder import _samples_sha256, digest
from fluoro.volume.value_statistics import ValueStatistics
from tests import dicom_files
from tests.volume_files import meta_bytes, ramp, saved, written

ROOT = Path(__file__).parents[2]
OBLIQUE = (0.8, -0.6, 0, 0.6, 0.8, 0, 0, 0, 1)
MU = np.random.default_rng(0).random((4, 5, 6), np.float32) * np.float32(0.02)
METADATA = {
    "shape_zyx": [4, 5, 6],
    "spacing_zyx_mm": [3.0, 2.0, 1.0],
    "origin_xyz_mm": [10.0, 20.0, 30.0],
    "hu_range": [-1000.0, 3000.0],
    "mu_range": [0.0, 0.02],
    "source": "a CT",
}


KERNELS = os.environ.get("FLUORO_CACHE_DIR")
"""Where compiled kernels may lie already."""


@pytest.fixture
def kernels(monkeypatch):
    """Kernels need not be compiled again."""
    if KERNELS:
        monkeypatch.setenv("FLUORO_CACHE_DIR", KERNELS)
    else:
        monkeypatch.delenv("FLUORO_CACHE_DIR")


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FLUORO_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("FLUORO_OUTPUT_DIR", str(tmp_path / "output"))


def preprocessed(tmp_path, **settings):
    """A CT whose axes are tilted, as a folder."""
    path = saved(tmp_path, "ct.nii.gz", direction=OBLIQUE)
    config = VolumeConfig.model_validate({"path": path, **settings})
    return preprocess_volume(config, tmp_path / "folder"), config


def fluorosims(folder, voxels=MU, **changes):
    """A folder as fluorosim's PreprocessedVolume.save writes it; None leaves a key out."""
    folder.mkdir()
    np.save(folder / "mu_volume.npy", voxels)
    known = {key: value for key, value in (METADATA | changes).items() if value is not None}
    (folder / "metadata.json").write_text(json.dumps(known, indent=2))
    return folder


def refused(folder, match, **settings):
    with pytest.raises(InputError, match=match) as caught:
        load_volume(VolumeConfig.model_validate({"path": folder, **settings}))
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)


# -- ours -----------------------------------------------------------------------------------------


def test_a_preprocessed_ct_loads_as_the_ct_does_without_a_copy(tmp_path):
    written_volume, config = preprocessed(tmp_path)
    direct = load_volume(config)
    loaded = load_volume(VolumeConfig(path=tmp_path / "folder"))
    for volume in (written_volume, loaded):
        np.testing.assert_array_equal(volume.mu_zyx, direct.mu_zyx)
        assert volume.grid == direct.grid
        assert volume.statistics == direct.statistics
    assert isinstance(loaded.mu_zyx, np.memmap)
    assert Path(loaded.mu_zyx.filename) == tmp_path / "folder" / "mu_volume.npy"
    assert len(list((tmp_path / "cache" / "volumes").iterdir())) == 1


def test_a_folder_holds_what_fluorosim_reads_of_it(tmp_path):
    volume, _ = preprocessed(tmp_path)
    facts = json.loads((tmp_path / "folder" / "metadata.json").read_text())
    assert facts.pop("calibration")["settings"]["hu_to_mu"]["kind"] == "physical"
    mu = np.load(tmp_path / "folder" / "mu_volume.npy")
    np.testing.assert_array_equal(mu, mu_from_hu(ramp(), 70.0))
    assert facts == {
        "shape_zyx": [4, 5, 6],
        "spacing_zyx_mm": [3, 2, 1],
        "origin_xyz_mm": list(volume.grid.origin_xyz_mm),
        "hu_range": [-500, 690],
        "mu_range": [float(mu.min()), float(mu.max())],
        "source": str(tmp_path / "ct.nii.gz"),
    }


def test_the_record_says_what_the_volume_was_made_with_and_what_was_out_of_range(tmp_path):
    settings = {"hu_to_mu": {"kind": "linear"}, "hu_clip_max": 400, "spacing_mm": 2.0}
    preprocessed(tmp_path, **settings)
    facts = json.loads((tmp_path / "folder" / "volume.json").read_text())["volume"]
    made_with = facts["key"]["settings"]
    assert made_with["hu_to_mu"]["curve"] == {
        "hu_min": -1000, "hu_max": 3000, "mu_min_per_mm": 0, "mu_max_per_mm": 0.02
    }  # fmt: skip
    assert made_with["spacing_mm"] == [2, 2, 2]
    above = int(np.count_nonzero(ramp() > 400))
    assert facts["figures"]["out_of_range"] == {
        "voxels": 120, "range_hu": [-1000, 400], "below": 0, "above": above
    }  # fmt: skip
    assert facts["figures"]["hu_range"] == [-500, 690]
    assert facts["figures"]["water_mu_per_mm"] == pytest.approx(0.005)


def test_a_folder_is_cropped_and_resampled_like_a_ct(tmp_path):
    volume, config = preprocessed(tmp_path)
    settings = {"spacing_mm": 2.0, "crop_mm": {"min": [None, None, 33]}}
    of_folder = load_volume(VolumeConfig.model_validate({"path": tmp_path / "folder", **settings}))
    of_ct = load_volume(VolumeConfig.model_validate({"path": config.path, **settings}))
    np.testing.assert_allclose(of_folder.mu_zyx, of_ct.mu_zyx, atol=1e-9)
    assert of_folder.grid == of_ct.grid
    assert of_folder.water_mu_per_mm == volume.water_mu_per_mm
    assert of_folder.statistics.hu_range == (-500, 690)


@pytest.mark.parametrize(
    ("name", "harm"),
    [
        ("mu_volume.npy", lambda path: np.save(path, MU)),
        ("mu_volume.npy", lambda path: np.save(path, MU[:2])),
        ("mu_volume.npy", lambda path: path.write_bytes(path.read_bytes()[:-4])),
        ("volume.json", lambda path: path.write_text(path.read_text().replace("3.0", "2.0"))),
        ("volume.json", lambda path: path.write_text("{}")),
        ("volume.json", lambda path: path.write_bytes(b"\xff")),
    ],
    ids=["other voxels", "fewer voxels", "cut", "other facts", "no facts", "no text"],
)
def test_a_folder_that_has_changed_is_refused(tmp_path, name, harm):
    preprocessed(tmp_path)
    harm(tmp_path / "folder" / name)
    for changed in ({}, {"spacing_mm": 2.0}):
        refused(tmp_path / "folder", "damaged or has changed since it was made", **changed)


@pytest.mark.parametrize(
    "settings",
    [
        {"hu_to_mu": {"kind": "linear"}},
        {"bone_multiplier": 2},
        {"series": "3"},
        {"nifti_transform": "sform"},
        {"hu_clip_max": None, "spacing_mm": 2},
    ],
)
def test_what_belongs_to_a_ct_has_no_effect_on_attenuation_and_is_refused(tmp_path, settings):
    preprocessed(tmp_path)
    key = next(iter(settings))
    refused(tmp_path / "folder", f"volume.{key}: has no effect on .*holds attenuation", **settings)


def test_a_folder_is_there_whole_or_not_at_all(tmp_path, monkeypatch):
    config = VolumeConfig(path=saved(tmp_path, "ct.nii.gz"))
    monkeypatch.setattr(volume_folder, "_samples_sha256", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        preprocess_volume(config, tmp_path / "folder")
    assert [path.name for path in tmp_path.iterdir()] == ["ct.nii.gz"]


def test_a_full_disk_is_one_line(tmp_path, monkeypatch):
    config = VolumeConfig(path=saved(tmp_path, "ct.nii.gz"))

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(volume_folder, "_write_npy", full)
    with pytest.raises(
        OutputError, match=r"the volume cannot be written: No space .*--output"
    ) as e:
        preprocess_volume(config, tmp_path / "folder")
    assert "\n" not in str(e.value)
    assert not (tmp_path / "folder").exists()


def test_nothing_is_overwritten_unless_asked_and_nothing_else_ever(tmp_path):
    _, config = preprocessed(tmp_path)
    folder = tmp_path / "folder"
    with pytest.raises(OutputError, match="folder: exists; give another with --output"):
        preprocess_volume(config, folder)
    other = VolumeConfig(path=config.path, hu_to_mu={"energy_kev": 60.0})
    replaced = preprocess_volume(other, folder, overwrite=True)
    assert replaced.water_mu_per_mm == mu_water_per_mm(60.0)
    (folder / "notes.txt").touch()
    with pytest.raises(OutputError, match=r"holds other files \(notes\.txt\)"):
        preprocess_volume(config, folder, overwrite=True)
    with pytest.raises(OutputError, match="cannot be written: Not a directory"):
        preprocess_volume(config, config.path, overwrite=True)
    (tmp_path / "empty").mkdir()
    preprocess_volume(config, tmp_path / "empty")


def test_a_folder_that_appears_meanwhile_is_not_replaced(tmp_path, monkeypatch):
    config = VolumeConfig(path=saved(tmp_path, "ct.nii.gz"))
    real = atomic_folder._flush

    def slow_flush(stage):
        real(stage)
        fluorosims(tmp_path / "folder")

    monkeypatch.setattr(atomic_folder, "_flush", slow_flush)
    with pytest.raises(OutputError, match="folder: exists"):
        preprocess_volume(config, tmp_path / "folder")
    np.testing.assert_array_equal(np.load(tmp_path / "folder" / "mu_volume.npy"), MU)


# -- fluorosim's ----------------------------------------------------------------------------------


def test_a_folder_of_fluorosim_is_mapped_and_its_orientation_is_reported_as_assumed(
    tmp_path, caplog
):
    folder = fluorosims(tmp_path / "folder")
    volume = load_volume(VolumeConfig(path=folder))
    np.testing.assert_array_equal(volume.mu_zyx, MU)
    assert Path(volume.mu_zyx.base.filename if volume.mu_zyx.base is not None
                else volume.mu_zyx.filename) == folder / "mu_volume.npy"  # fmt: skip
    assert volume.grid.shape_zyx == (4, 5, 6)
    assert volume.grid.spacing_xyz_mm == (1, 2, 3)
    assert volume.grid.origin_xyz_mm == (10, 20, 30)
    np.testing.assert_array_equal(volume.grid.direction, np.eye(3))
    assert caplog.messages == [
        f"{folder}: its metadata.json does not say how the patient lies; "
        "its axes are taken as L, P, S"
    ]
    assert not (tmp_path / "cache").exists()


def test_water_follows_from_fluorosims_ranges(tmp_path):
    volume = load_volume(VolumeConfig(path=fluorosims(tmp_path / "a")))
    assert volume.water_mu_per_mm == pytest.approx(0.005)
    unknown = load_volume(VolumeConfig(path=fluorosims(tmp_path / "b", hu_range=None)))
    assert unknown.water_mu_per_mm == mu_water_per_mm(70.0)


def test_a_direction_that_is_given_is_kept(tmp_path, caplog):
    folder = fluorosims(tmp_path / "folder", direction=OBLIQUE)
    volume = load_volume(VolumeConfig(path=folder))
    np.testing.assert_array_equal(np.ravel(volume.grid.direction), OBLIQUE)
    assert caplog.messages == []
    refused(fluorosims(tmp_path / "short", direction=[1, 0, 0]), r"metadata\.json: ")


def test_water_is_estimated_where_only_the_ranges_are_known():
    statistics = ValueStatistics(hu_range=(-2000.0, 9000.0), mu_range=(0.0, 0.08))
    assert statistics.water() == pytest.approx(0.08 * 1000 / 4071)
    assert ValueStatistics(hu_range=(10.0, 20.0), mu_range=(0.0, 1.0)).water() is None
    assert ValueStatistics(hu_range=None, mu_range=(0.0, 1.0)).water() is None


def test_an_origin_may_be_missing(tmp_path):
    volume = load_volume(VolumeConfig(path=fluorosims(tmp_path / "folder", origin_xyz_mm=None)))
    assert volume.grid.origin_xyz_mm == (0, 0, 0)


@pytest.mark.parametrize("other", [np.asfortranarray(MU), MU.astype(np.float64), MU.astype(">f4")])
def test_other_orders_and_types_are_converted_in_the_cache(tmp_path, other):
    volume = load_volume(VolumeConfig(path=fluorosims(tmp_path / "folder", other)))
    np.testing.assert_array_equal(volume.mu_zyx, MU)
    assert volume.mu_zyx.flags.c_contiguous
    assert (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"shape_zyx": [4, 5, 7]}, r"mu_volume\.npy: must have shape \(4, 5, 7\), as metadata"),
        ({"shape_zyx": [4, 5]}, r"metadata\.json: "),
        ({"shape_zyx": None}, r"metadata\.json: 'shape_zyx' is missing"),
        ({"spacing_zyx_mm": [1, 2]}, r"metadata\.json: "),
        ({"spacing_zyx_mm": [1, 2, 0]}, r"metadata\.json: spacing_xyz_mm must be 3 positive"),
        ({"spacing_zyx_mm": "1 2 3"}, r"metadata\.json: "),
        ({"spacing_zyx_mm": None}, r"metadata\.json: 'spacing_zyx_mm' is missing"),
        ({"origin_xyz_mm": [1, 2, "x"]}, r"metadata\.json: "),
        ({"voxels": MU[0]}, r"must be 3 axes of floating-point numbers, got float32 \(5, 6\)"),
        ({"voxels": MU.astype(np.int16)}, "must be 3 axes of floating-point numbers, got int16"),
        ({"voxels": MU - np.float32(0.01)}, "attenuation must be finite and at least 0 /mm"),
        ({"voxels": np.where(MU > 0.01, np.nan, MU)}, "attenuation must be finite and at least 0"),
        ({"voxels": np.array([{}])}, "is no NumPy array that can be read"),
    ],
)
def test_a_folder_that_makes_no_sense_is_refused(tmp_path, changes, match):
    refused(fluorosims(tmp_path / "folder", **changes), match)


@pytest.mark.parametrize("text", ["", "[]", "{", "3", "[" * 100000])
def test_metadata_that_is_none_is_refused(tmp_path, text):
    folder = fluorosims(tmp_path / "folder")
    (folder / "metadata.json").write_text(text)
    refused(folder, r"metadata\.json: (cannot be read|must hold a JSON object)")


VALUES = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3),
        st.sampled_from([10**400, 4, 5, 6]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=2), inner, max_size=2)
    ),
    max_leaves=5,
)  # fmt: skip


@given(st.dictionaries(st.sampled_from([*METADATA]), VALUES, min_size=1, max_size=3))
@settings(max_examples=200, deadline=None)
def test_drawn_metadata_gives_a_volume_or_one_line(drawn):
    with tempfile.TemporaryDirectory() as folder:
        path = fluorosims(Path(folder) / "folder", **drawn)
        refusal = ""
        try:
            grid = load_volume(VolumeConfig(path=path)).grid
        except InputError as error:
            refusal = str(error)
        assert "\n" not in refusal
        assert refusal or grid.shape_zyx == (4, 5, 6)


@given(st.dictionaries(st.sampled_from(["key", "grid", "figures", "bytes", "source"]), VALUES))
@settings(max_examples=100, deadline=None)
def test_drawn_facts_with_a_right_checksum_give_a_volume_or_one_line(drawn):
    with tempfile.TemporaryDirectory() as folder:
        path, text = fluorosims(Path(folder) / "folder"), json.dumps(METADATA)
        voxels = path / "mu_volume.npy"
        facts = {"sha256": content_sha256(voxels, start=128),
                 "samples_sha256": _samples_sha256(voxels),
                 "key": {}, "source": "x", "figures": None, "grid": text,
                 "bytes": voxels.stat().st_size, **drawn}  # fmt: skip
        try:
            document = {"checksum": digest(facts), "volume": facts}
        except ValueError:  # not a finite number
            return
        (path / "volume.json").write_text(json.dumps(document))
        with pytest.raises(InputError, match="damaged or has changed"):
            load_volume(VolumeConfig(path=path))


def test_voxels_alone_are_refused(tmp_path):
    folder = fluorosims(tmp_path / "folder")
    (folder / "metadata.json").unlink()
    refused(folder, r"holds mu_volume\.npy, but neither volume\.json nor metadata\.json")


def test_an_empty_or_cut_array_is_refused(tmp_path):
    folder = fluorosims(tmp_path / "folder")
    whole = (folder / "mu_volume.npy").read_bytes()
    two_lines = whole.replace(b"(4, 5, 6)", b"(4, 5, 6\n")  # what NumPy says of it is no ValueError
    for part in (b"", whole[:40], whole[:-4], two_lines):
        (folder / "mu_volume.npy").write_bytes(part)
        refused(folder, r"mu_volume\.npy: is no NumPy array that can be read")


def test_a_preprocessed_folder_renders_as_its_ct(tmp_path, request):
    _, config = preprocessed(tmp_path)
    volumes = [load_volume(VolumeConfig(path=path)) for path in (config.path, tmp_path / "folder")]
    request.getfixturevalue("kernels")
    images = []
    for volume in volumes:
        carm = CarmGeometry(detector_width_px=16, detector_height_px=16, pixel_spacing_mm=2)
        view = carm.view(CarmPose(lao_deg=30), volume.grid.center_xyz_mm)
        images.append(DrrRenderer(volume, open_device("cpu")).render(view))
    np.testing.assert_array_equal(*images)
    assert images[0].max() > 0.05


# -- the command ----------------------------------------------------------------------------------


def said(capsys):
    output = capsys.readouterr()
    return output.out.splitlines(), output.err.splitlines()


def test_preprocess_writes_a_folder_under_the_output_folder_and_tells_of_it(tmp_path, capsys):
    path = written(tmp_path, "ct.mha", meta_bytes(ramp() * 10))
    assert main(["preprocess", "--ct", str(path), "--set", "volume.spacing_mm=[1, 2, 3]"]) == 0
    out, err = said(capsys)
    folder = tmp_path / "output" / "preprocessed-ct"
    assert out == [
        f"source:       {path}",
        "voxels:       6 x 5 x 4 (x, y, z), attenuation, float32",
        "spacing:      1 x 2 x 3 mm",
        "size:         6 x 10 x 12 mm",
        "centre:       (12.5, 24, 34.5) mm (patient LPS)",
        "orientation:  LPS (x to the left, y to the back, z to the head)",
        "CT numbers:   -5000 to 6900 HU",
        "attenuation:  0 to 0.078526 /mm, water 0.019289",
        "out of range: 40 CT numbers (33.33%) lie below -1024 HU and 39 CT numbers (32.50%) lie "
        "above 3071 HU and are taken as that",
        f"files in {folder}",
    ]
    assert sum("lie above 3071 HU" in line for line in err) == 1
    assert main(["inspect", str(folder)]) == 0
    assert said(capsys)[0] == out[:-1]


def test_preprocess_takes_a_dicom_folder(tmp_path, capsys):
    dicom_files.series(tmp_path / "dicom")
    assert main(["preprocess", "--dicom", str(tmp_path / "dicom")]) == 0
    volume = load_volume(VolumeConfig(path=tmp_path / "output" / "preprocessed-dicom"))
    np.testing.assert_allclose(volume.mu_zyx, HuToMu().mu(ramp()))
    np.testing.assert_allclose(volume.grid.world_from_index, dicom_files.GRID.world_from_index)
    capsys.readouterr()


def test_preprocess_takes_nifti_and_the_phantom(tmp_path, capsys):
    path = saved(tmp_path, "ct.nii.gz")
    assert main(["preprocess", "--nifti", str(path), "--output", str(tmp_path / "a")]) == 0
    assert load_volume(VolumeConfig(path=tmp_path / "a")).grid.shape_zyx == (4, 5, 6)
    made = ["preprocess", "--synthetic", "--set", "volume.spacing_mm=10"]
    assert main(made) == 0
    assert (tmp_path / "output" / "preprocessed-thorax" / "mu_volume.npy").is_file()
    capsys.readouterr()


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--nifti", "no.nii"], "fluoro: no.nii: there is no such file"),
        (["--nifti", "ct.mha"], "fluoro: --nifti must end in .nii or .nii.gz, got ct.mha"),
        (["--dicom", "ct.nii"], "fluoro: --dicom must be a folder, got ct.nii"),
        (["--synthetic", "--set", "run.frames=3"], "fluoro: --set run.frames: must be a key of v"),
        (
            ["--synthetic", "--set", "volume.bone_multiplier=5"],
            "fluoro: command line: volume.bone_multiplier: must be at most 3, got 5",
        ),
        (["--synthetic", "--output", "."], "fluoro: .: holds other files (ct.nii); give a folder"),
        (
            ["--ct", "ct.nii", "--output", "/proc/fluoro"],
            "fluoro: /proc: the volume cannot be written: ",
        ),
    ],
)
def test_an_error_is_one_line(tmp_path, monkeypatch, capsys, arguments, line):
    saved(tmp_path, "ct.nii")
    monkeypatch.chdir(tmp_path)
    assert main(["preprocess", *arguments]) == 2
    _, err = said(capsys)
    assert err[-1].startswith(line)
    assert sum(text.startswith("fluoro: ") for text in err) == 1


def test_what_was_preprocessed_runs(tmp_path, kernels):
    """The whole application, in a process of its own."""
    preprocess_volume(VolumeConfig(phantom="thorax", spacing_mm=8), tmp_path / "folder")
    command = [sys.executable, str(ROOT / "app.py"), "run", str(ROOT / "configs" / "sweep.yaml")]
    options = ["--ct", str(tmp_path / "folder"), "--frames", "2", "--name", "x"]
    quick = ["console.enabled=false", "recorder.scene_movie=false", "renderer.device=cpu"]
    done = subprocess.run(
        [*command, *options, *(word for key in quick for word in ("--set", key))],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "output" / "x" / "run.json").read_text())
    assert record["frames"] == 2
    assert record["config"]["volume"]["spacing_mm"] is None


def test_the_command_line_volume_names_its_errors():
    assert volume_config({"phantom": "thorax"}, ["volume.spacing_mm=2"]).spacing_mm == (2, 2, 2)
    with pytest.raises(InputError, match=r"^command line: volume.crop_mm.max: must be greater"):
        volume_config({"path": "x"}, ["volume.crop_mm={min: [1, 1, 1], max: [0, 2, 2]}"])


# -- where things are kept ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "find"), [("OUTPUT", output_dir), ("CACHE", cache_dir)], ids=["output", "cache"]
)
def test_our_variable_wins_then_fluorosims(monkeypatch, kind, find):
    ours, theirs = f"FLUORO_{kind}_DIR", f"FLUOROSIM_{kind}_DIR"
    monkeypatch.setenv(theirs, "/theirs")
    monkeypatch.setenv(ours, "/ours")
    assert find() == Path("/ours")
    monkeypatch.delenv(ours)
    assert find() == Path("/theirs")
    monkeypatch.setenv(ours, "")
    assert find() == Path("/theirs")
    monkeypatch.setenv(ours, "~/kept")
    assert find() == Path.home() / "kept"


def test_without_variables_the_users_folders_are_taken(monkeypatch):
    for kind in ("OUTPUT", "CACHE"):
        for name in ("FLUORO", "FLUOROSIM"):
            monkeypatch.delenv(f"{name}_{kind}_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert output_dir() == Path("output")
    if sys.platform != "darwin":
        assert cache_dir() == Path("/xdg/fluoro")


def test_padding_alone_is_logged_quietly(tmp_path, caplog):
    path = written(tmp_path, "ct.mha", meta_bytes(ramp() - 700))
    with caplog.at_level(logging.INFO):
        load_volume(VolumeConfig(path=path))
    (record,) = [r for r in caplog.records if "lie below -1024 HU" in r.getMessage()]
    assert record.levelno == logging.INFO

"""xray_simulator's command line: preprocess, render, what is refused."""

import json

import numpy as np
import pytest
import yaml
from PIL import Image

import fluoro.xray_simulator as xs
from fluoro.xray_simulator.__main__ import main


@pytest.fixture
def preset(tmp_path):
    config = xs.SimulatorConfig().with_geometry(
        detector_width_px=40, detector_height_px=32, pixel_spacing_mm=3.0
    )
    config = config.with_output(format="png", keep_intensity=True)
    return config.save_preset(tmp_path / "preset.yaml")


def run(*arguments):
    return main([str(each) for each in arguments])


def test_a_named_view_of_the_synthetic_ct_has_its_bone_at_the_patients_left(preset, tmp_path):
    out = tmp_path / "ap"
    assert run("render", "--config", preset, "--synthetic", "--view", "ap", "--output", out) == 0
    image = np.asarray(Image.open(out / "frame_0000.png"), float)
    assert image.shape == (32, 40)
    # dense is dark; the patient's left is on the viewer's right
    middle = image[:, 20:].min(), image[:, :20].min()
    assert middle[0] < middle[1]
    intensity = np.load(out / "intensity_0000.npy")
    assert intensity.dtype == np.float32
    assert 0 < intensity.min() < intensity.max() <= 1
    facts = json.loads((out / "run.json").read_text())
    assert facts["pose"]["view"] == "ap"
    assert facts["source"]["kind"] == "synthetic"
    assert facts["volume_metadata"]["anatomical_frame"] == "LPS"


def test_a_cache_renders_what_its_ct_renders(preset, tmp_path):
    cache, one, other = (tmp_path / name for name in ("cache", "one", "other"))
    turned = ("--rotation-deg", -90, 0, 30, "--frames", 2)
    assert run("preprocess", "--config", preset, "--synthetic", "--output", cache) == 0
    assert run("render", "--config", preset, "--cache", cache, "--output", one, *turned) == 0
    assert run("render", "--config", preset, "--synthetic", "--output", other, *turned) == 0
    for name in ("frame_0000.png", "frame_0001.png"):
        assert (one / name).read_bytes() == (other / name).read_bytes()


def test_a_calibrated_window_is_in_the_record(preset, tmp_path):
    out = tmp_path / "calibrated"
    asked = ("--view", "ap", "--calibrate-display", 1, 99)
    assert run("render", "--config", preset, "--synthetic", "--output", out, *asked) == 0
    low, high = json.loads((out / "run.json").read_text())["preset"]["post_processing"]["display"][
        "log_window"
    ]
    assert 0 <= low < high < 6


def test_a_dry_run_writes_nothing(preset, tmp_path, capsys):
    out = tmp_path / "dry"
    assert run("render", "--config", preset, "--synthetic", "--dryrun", "--output", out) == 0
    assert json.loads(capsys.readouterr().out)["output"] == str(out)
    assert not out.exists()


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--nifti", "nowhere.nii", "--output", "new"], "--nifti: nowhere.nii is not there"),
        (["--synthetic"], "--output: must name a folder"),
        (["--synthetic", "--output", "."], "--output: . is there already"),
    ],
)
def test_what_cannot_be_is_one_line(preset, capsys, arguments, line):
    assert run("render", "--config", preset, *arguments) == 2
    told = capsys.readouterr().err
    assert line in told
    assert told.count("\n") == 1


def test_a_mapping_without_effect_on_a_cache_is_refused(preset, tmp_path, capsys):
    changed = tmp_path / "changed.yaml"
    values = yaml.safe_load(preset.read_text())
    values["preprocessing"]["hu_to_mu"] = {"window_center": 100.0, "window_width": 800.0}
    changed.write_text(yaml.safe_dump(values))
    (tmp_path / "cache").mkdir()
    asked = ("--cache", tmp_path / "cache", "--output", tmp_path / "new")
    assert run("render", "--config", changed, *asked) == 2
    assert "preprocessing has no effect on a cache" in capsys.readouterr().err


def test_a_named_view_needs_a_volume_in_lps(preset, tmp_path, capsys):
    cache = tmp_path / "cache"
    hu = np.zeros((8, 8, 8), np.float32)
    xs.VolumePreprocessor.from_numpy(hu).preprocess(output_dir=cache)
    asked = ("--cache", cache, "--view", "ap", "--output", tmp_path / "new")
    assert run("render", "--config", preset, *asked) == 2
    assert "needs a volume whose anatomical_frame is LPS, got None" in capsys.readouterr().err

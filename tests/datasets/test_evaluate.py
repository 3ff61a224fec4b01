"""The evaluation of published data sets, end to end on small files of their layouts."""

import json

import h5py
import numpy as np
import pytest

import app
import tests.published_files as files
from fluoro.datasets.evaluation.comparison import gradient_ncc, ncc
from fluoro.datasets.evaluation.rows import Rows
from fluoro.datasets.evaluation.summary import calibration, registration_summary
from fluoro.errors import InputError

SIZE_PX = 228
"""128 columns are left after the crop."""


@pytest.fixture(scope="module")
def deepfluoro(tmp_path_factory):
    return files.write_deepfluoro(tmp_path_factory.mktemp("evaluate") / "file.h5", size_px=SIZE_PX)


def evaluate(name, path, folder, *more):
    return app.main([
        *("evaluate", name, str(path), "--output", str(folder), "--device", "cpu"),
        *map(str, more),
    ])  # fmt: skip


def report(folder):
    return json.loads((folder / "report.json").read_text())


def test_deepfluoro_is_compared_and_registered_and_goes_on_after_a_kill(
    deepfluoro, tmp_path, capsys
):
    folder = tmp_path / "out"
    assert evaluate("deepfluoro", deepfluoro, folder) == 0
    found = report(folder)["statistics"]
    assert found["comparison"]["all"]["views"] == 2
    assert found["comparison"]["subject01"]["ncc"] > 0.8
    assert found["comparison"]["subject01"]["beat_control"] == 2
    assert found["registration"]["all"]["success"] == 1
    assert found["registration"]["all"]["believed"] == 2
    assert found["registration"]["all"]["median_mtre_mm"] < 0.5
    assert {each.name for each in folder.iterdir()} == {
        *("settings.json", "rows.jsonl", "report.json", "report.html"),
        *("poses_subject01.html", "overlay_subject01_000.png", "overlay_subject01_001.png"),
    }
    assert "median mTRE" in (folder / "report.html").read_text()
    assert "17-1882: has 2 views, 111 were published" in capsys.readouterr().out

    rows = (folder / "rows.jsonl").read_bytes()
    (folder / "rows.jsonl").write_bytes(rows[:-40])  # killed while the last row was written
    (folder / "report.json").unlink()
    assert evaluate("deepfluoro", deepfluoro, folder) == 0
    again = report(folder)["rows"]
    first = [json.loads(line) for line in rows.splitlines()]
    assert again[:3] == first[:3]
    assert again[3]["mtre_mm"] == first[3]["mtre_mm"]

    assert evaluate("deepfluoro", deepfluoro, folder, "--seed", 1) == app.EXIT_BAD_INPUT
    error = capsys.readouterr().err
    assert "was started with seed 0, now it is 1: give another --output" in error


def test_view_that_cannot_be_read_is_counted_and_the_others_are_done(tmp_path, capsys):
    path = files.write_deepfluoro(tmp_path / "file.h5", size_px=SIZE_PX, subjects=2)
    with h5py.File(path, "a") as file:
        del file["17-1882/projections/000/gt-poses/cam-to-pelvis-vol"]
        del file["18-1109/vol/spacing"]
    code = evaluate("deepfluoro", path, tmp_path / "out", "--starts", 0)
    assert code == app.EXIT_FAILED
    printed = capsys.readouterr()
    assert "failed: subject01, 000: " in printed.out
    assert "failed: subject02, 2 views: " in printed.out
    assert "must have the data set 18-1109/vol/spacing, has none" in printed.out
    assert "3 views failed, the others are done" in printed.err
    assert report(tmp_path / "out")["statistics"]["comparison"]["all"]["views"] == 1


@pytest.mark.parametrize("form", ["h5", "xvr"])
def test_ljubljana_is_compared_in_both_forms(tmp_path, form):
    offset_px = (9.5, -4.25)
    if form == "h5":
        path = files.write_ljubljana(tmp_path / "file.h5", size_px=160, offset_px=offset_px)
    else:
        path = files.write_xvr(tmp_path, "ljubljana", size_px=160, offset_px=offset_px)
    assert evaluate("ljubljana", path, tmp_path / "out", "--starts", 0, "--subset", 1) == 0
    found = report(tmp_path / "out")
    assert found["statistics"]["comparison"]["all"]["views"] == 1
    assert found["statistics"]["comparison"]["all"]["ncc"] > 0.98
    assert found["settings"]["form"] == form


def test_wrong_voxel_origin_lowers_the_likeness(deepfluoro, tmp_path):
    likeness = {}
    for origin in ("center", "corner"):
        folder = tmp_path / origin
        options = ("--starts", 0, "--subset", 1, "--voxel-origin", origin)
        assert evaluate("deepfluoro", deepfluoro, folder, *options) == 0
        likeness[origin] = report(folder)["statistics"]["comparison"]["all"]["gradient_ncc"]
    assert likeness["center"] > likeness["corner"] + 0.05


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--subset", 0), "subset must be at least 1, got 0"),
        (("--starts", -1), "starts must be at least 0, got -1"),
    ],
)
def test_option_out_of_range_is_named(deepfluoro, tmp_path, options, expected, capsys):
    assert evaluate("deepfluoro", deepfluoro, tmp_path / "out", *options) == app.EXIT_BAD_INPUT
    assert expected in capsys.readouterr().err


def test_other_set_than_the_one_named_is_refused(deepfluoro, tmp_path, capsys):
    assert evaluate("ljubljana", deepfluoro, tmp_path / "out") == app.EXIT_BAD_INPUT
    assert "must have a group subject01 to subject10" in capsys.readouterr().err


def test_likeness_does_not_see_gain_and_offset():
    image = np.random.default_rng(0).random((12, 16))
    assert ncc(image, 3 * image + 1) == pytest.approx(1)
    assert ncc(image, -image) == pytest.approx(-1)
    assert ncc(image, np.ones_like(image)) == 0
    assert gradient_ncc(image, 1 - 2 * image) == pytest.approx(1)


def rows_of(squares, subjects):
    return [
        {
            "believed": True,
            "distance2": float(s),
            "predicted_mm": 1.0,
            "mtre_mm": 1.0,
            "subject": n,
            "confidence": 0.995,
            "success": True,
        }
        for s, n in zip(squares, subjects, strict=True)
    ]


def test_factor_of_other_subjects_corrects_a_covariance_that_is_too_small():
    random = np.random.default_rng(0)
    squares = 4 * random.chisquare(6, 3000)  # standard deviations half of what they should be
    found = calibration(rows_of(squares, ["a", "b", "c"] * 1000))
    assert list(found["sigma_factors"].values()) == pytest.approx([2, 2, 2], abs=0.1)
    assert found["observed"][2] < 0.5
    np.testing.assert_allclose(found["calibrated"], found["expected"], atol=0.04)


def test_stated_probabilities_are_held_against_the_share_that_was_right():
    rows = rows_of(np.ones(10), ["a"] * 10)
    for n, row in enumerate(rows):
        row |= {"confidence": 0.95 if n < 4 else 1.0, "success": n != 0}
    found = calibration(rows)["confidence"]
    assert [group["registrations"] for group in found] == [4, 6]
    assert [group["stated"] for group in found] == pytest.approx([0.95, 1.0])
    assert [group["right"] for group in found] == pytest.approx([0.75, 1.0])


def test_one_subject_alone_gives_no_factor():
    found = calibration(rows_of(np.ones(10), ["a"] * 10))
    assert found["sigma_factors"] == {"a": None}
    assert found["calibrated"] is None
    assert calibration([])["observed"] is None


def test_summary_counts_what_is_believed_wrongly():
    rows = [
        {"start_mtre_mm": 10.0, "mtre_mm": error, "mrpe_mm": error, "success": error < 2,
         "believed": believed, "seconds": 1.0}
        for error, believed in ((0.1, True), (0.2, False), (9.0, True), (8.0, False))
    ]  # fmt: skip
    found = registration_summary(rows)
    assert (found["believed_wrong"], found["right_not_believed"]) == (1, 1)
    assert found["success"] == 0.5


def test_damaged_rows_are_named(tmp_path):
    Rows(tmp_path, {"a": 1}).add({"task": "compare", "subject": "s", "view": "v", "start": None})
    assert Rows(tmp_path, {"a": 1}).has(task="compare", subject="s", view="v", start=None)
    path = tmp_path / "rows.jsonl"
    path.write_text("{nonsense\n")
    with pytest.raises(InputError, match="is damaged"):
        Rows(tmp_path, {"a": 1})

"""Tracking, servo and a user's optimiser as whole runs through a real graph."""

import json
import time

import pytest

from tests.session_support import ROOT, Program, QuietReporter, record_of, run_session, use_cache

# isort: split

from fluoro import plugins
from fluoro.config import load_config
from fluoro.errors import InputError
from fluoro.registration.measures.metrics import SUCCESS_MM

SMALL = [
    "volume.spacing_mm=4",
    "carm.detector_width_px=64",
    "carm.detector_height_px=64",
    "carm.pixel_spacing_mm=6.72",
    "console.port=0",
    "recorder.contact_sheet=false",
    "recorder.scene_movie=false",
    "recorder.formats=[npz]",
]


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs a file of configs/ on a coarse phantom and a small detector."""
    plugins.allow(["examples.my_optimiser"])
    use_cache(tmp_path, monkeypatch, share_volumes=True)

    def start(name, *overrides):
        options = [*SMALL, f"run.output_dir={tmp_path / 'out'}", *overrides]
        config = load_config(ROOT / "configs" / name, options)
        return run_session(config, name.removesuffix(".yaml"), QuietReporter())

    return start


def test_a_hidden_sweep_is_tracked_and_every_estimate_recorded(run):
    outcome = run("track_sweep.yaml", "registration.widths_px=[16, 32, 64]", "run.frames=30")
    record = record_of(outcome.folder)
    assert (record["completed"], record["frames"], outcome.failure) == (True, 30, None)
    tracking, rows = record["tracking"], record["per_estimate"]
    assert tracking["estimates"] == len(rows) >= 1
    assert tracking["estimates"] + record["dropped"]["registration"] == 30
    assert tracking["not_converged"] == 0
    assert tracking["median_mtre_mm"] < 1.0
    numbers = [row["number"] for row in rows]
    assert numbers == sorted(set(numbers))
    for row in rows:
        assert row["pose"].keys() == {"lao_deg", "cra_deg", "roll_deg", "translation_mm"}
        assert row["seconds"] > 0
        assert row["ncc"] > 0.99
        assert 0 <= row["residual"] < 0.5
    assert (outcome.folder / "tracking.png").is_file()
    assert outcome.summary["tracking"] == tracking


@pytest.mark.parametrize(
    "changes",
    [
        ["image_chain.scatter={}"],
        ["image_chain.xray={}", "volume.materials={kind: tissues}", "image_chain.dose_ngy=20"],
    ],
    ids=["scatter", "spectrum"],
)
def test_what_the_default_measure_believes_is_right_under_scatter_and_a_spectrum(run, changes):
    """Without scatter and at one energy the same images give about 0.1 mm."""
    outcome = run(
        "track_sweep.yaml", "registration.widths_px=[16, 32, 64]", "run.frames=20", *changes
    )
    rows = record_of(outcome.folder)["per_estimate"]
    believed = [row["mtre_mm"] for row in rows if row["converged"]]
    assert len(believed) >= 1
    assert max(believed) < SUCCESS_MM


def test_an_image_without_a_patient_is_not_tracked_and_does_not_end_the_run(run):
    outcome = run(
        "track_sweep.yaml",
        "registration.widths_px=[16, 32, 64]",
        "registration.multi_start.starts=1",
        "pose_source={kind: static, translation_mm: [3000, 0, 0]}",
        "run.frames=4",
    )
    tracking = record_of(outcome.folder)["tracking"]
    assert tracking["estimates"] == tracking["not_converged"] >= 1


def test_the_servo_reaches_the_wanted_view(run):
    outcome = run("servo.yaml", "registration.widths_px=[16, 32, 64]")
    record = record_of(outcome.folder)
    servo = record["servo"]
    assert outcome.failure is None
    assert servo["reached"]
    assert servo["mtre_mm"] < servo["tolerance_mm"] == 1.0
    assert servo["frames"] == record["frames"] == record["tracking"]["estimates"] < 60
    assert record["dropped"]["registration"] == 0
    last = record["per_frame"][-1]["pose"]
    assert (last["lao_deg"], last["cra_deg"]) == pytest.approx((30.0, 20.0), abs=1.0)
    first = record["per_frame"][0]["pose"]
    assert (first["lao_deg"], first["translation_mm"]) == (-12.0, [15.0, -10.0, 20.0])


def test_a_servo_that_does_not_get_there_in_time_leaves_with_an_error(tmp_path):
    options = [
        *SMALL,
        "registration.widths_px=[16, 32, 64]",
        "console.enabled=false",
        "run.frames=3",
    ]
    arguments = [part for option in options for part in ("--set", option)]
    output = {"FLUORO_OUTPUT_DIR": str(tmp_path)}
    code, _, err = Program("run", "configs/servo.yaml", "--name", "far", *arguments, **output).end()
    assert code == 1, err
    assert "servo: the wanted view was not reached: " in err.splitlines()[-1]
    record = json.loads((tmp_path / "far" / "run.json").read_text())
    assert record["servo"]["reached"] is False
    assert record["frames"] == record["servo"]["frames"] == 3


def test_a_users_optimiser_runs_until_it_stops_by_itself(run):
    outcome = run("own_optimiser.yaml", "optimiser.jacobian=true")
    record = record_of(outcome.folder)
    found, rows = record["optimiser"], record["per_iteration"]
    assert outcome.failure is None
    assert found["stopped"]
    assert found["iterations"] == len(rows) < 200
    assert found["mtre_start_mm"] == pytest.approx(15.0)
    assert found["mtre_mm"] < 3.0
    assert [row["iteration"] for row in rows] == list(range(len(rows)))
    assert all(len(row["gradient"]) == 6 for row in rows)
    assert (outcome.folder / "descent.png").is_file()


def test_the_loop_of_an_optimiser_repeats_exactly(run):
    ways = [
        record_of(run("own_optimiser.yaml", "run.frames=8", console).folder)["per_iteration"]
        for console in ("console.enabled=false", "console.enabled=true")  # which holds the image
    ]
    assert ways[0] == ways[1]


def test_an_optimiser_that_does_not_stop_is_reported(run):
    outcome = run("own_optimiser.yaml", "run.frames=5")
    assert outcome.failure == "optimiser: it had not stopped after 5 iterations"
    assert record_of(outcome.folder)["optimiser"]["stopped"] is False


def test_a_class_that_is_no_optimiser_is_rejected_before_it_is_called(tmp_path):
    """`subprocess:Popen` takes the settings for a command and runs it as soon as it is called."""
    trace = tmp_path / "ran"
    command = json.dumps({"args": ["touch", str(trace)]})
    code, _, err = Program(
        "run", "configs/own_optimiser.yaml", "--allow-plugins", "subprocess",
        "--set", "optimiser.class=subprocess:Popen", f"optimiser.settings={command}",
        f"run.output_dir={tmp_path}",
    ).end()  # fmt: skip
    time.sleep(0.2)  # a command that ran would do so beside the program
    assert not trace.exists()
    assert code == 2
    line = "fluoro: optimiser.class: Popen must have a method step(evaluation)"
    assert err.splitlines()[-1] == line


def test_an_optimiser_that_is_not_allowed_is_one_line_before_the_stream(run, tmp_path):
    needed = r"^optimiser\.class: needs --allow-plugins nowhere\.at_all$"
    with pytest.raises(InputError, match=needed):
        run("own_optimiser.yaml", "optimiser.class=nowhere.at_all:Class")
    assert not list((tmp_path / "out").glob("*/frames.npz"))

"""Every file in configs/ says what it is for, loads, and runs."""

import re
from contextlib import nullcontext

import pytest

from tests.dds_support import own_domain, robot
from tests.session_support import (
    Program,
    QuietReporter,
    record_of,
    run_session,
    small_ct,
    use_cache,
)

# isort: split

from fluoro.config import load_config
from tests.config.shipped_files import EVERY_FILE, STREAMS, config_of

FRAMES = 3
FILE_OF_FORMAT = {
    "mp4": "frames.mp4",
    "png": "frames/frame_0000.png",
    "npy": "frames.npy",
    "npz": "frames.npz",
    "dicom": "frames.dcm",
    "geometry": "geometry/rtk.xml",
}


def marked(path):
    """The file as a test's parameter; those for Holoviz run where there is an NVIDIA GPU."""
    marks = [pytest.mark.gpu] if config_of(path).holoviz.enabled else []
    return pytest.param(path, marks=marks, id=path.name)


def small(path, folder):
    """The configuration with a small CT and detector, a few frames, and any free port."""
    shown = load_config(path)
    lives = shown.volume.motion or shown.volume.contrast
    phantom = ["volume.path=null", "volume.phantom=thorax", "volume.spacing_mm=10"]
    phantom += ["volume.body=null"]
    volume = (
        [*phantom, *(["volume.labels.path=null"] if shown.volume.labels else [])]
        if shown.volume.labels or shown.annotations.landmarks
        else ["volume.phantom=null", "volume.body=null", f"volume.path={small_ct(folder)}"]
    )
    overrides = [
        *(["volume.spacing_mm=10"] if lives else volume),
        *(["volume.contrast.spacing_mm=5"] if shown.volume.contrast else []),
        "carm.detector_width_px=64",
        "carm.detector_height_px=64",
        f"carm.pixel_spacing_mm={shown.carm.pixel_spacing_mm * shown.carm.detector_width_px / 64}",
        "console.port=0",
        f"run.frames={min(FRAMES, shown.run.frames or FRAMES)}",
        f"run.output_dir={folder / 'out'}",
        f"dds.domain={own_domain()}",
    ]
    return load_config(path, [*overrides, *(["holoviz.headless=true"] * shown.holoviz.enabled)])


@pytest.mark.parametrize("path", EVERY_FILE, ids=lambda path: path.name)
def test_configuration_begins_with_what_it_is_for(path):
    assert re.match(r"# [A-Z].+[.;:]\n", path.read_text())


def is_plain_stream(path):
    """Not what closes a loop: test_tracking_graph.py and test_dds_loop.py run these."""
    config = config_of(path)
    return not config.registration.enabled and config.optimiser is None


@pytest.mark.parametrize("path", [marked(path) for path in STREAMS if is_plain_stream(path)])
def test_configuration_runs_and_leaves_the_files_it_names(path, tmp_path, monkeypatch):
    use_cache(tmp_path, monkeypatch, share_volumes=True)
    config = small(path, tmp_path)
    reporter = QuietReporter()
    with robot(config) if config.pose_source.kind == "dds" else nullcontext():
        outcome = run_session(config, path.stem, reporter)
    assert outcome.summary["completed"]
    assert outcome.summary["frames"] == config.run.frames
    assert bool(reporter.console_url) == config.console.enabled
    if not config.recorder.enabled:
        assert outcome.folder is None
        return
    names = [FILE_OF_FORMAT[name] for name in config.recorder.formats]
    names += ["contact_sheet.png"] * config.recorder.contact_sheet
    names += ["carm_sweep.mp4"] * config.recorder.scene_movie
    assert all((outcome.folder / name).is_file() for name in names)
    assert record_of(outcome.folder)["config"]["carm"]["detector_width_px"] == 64


def test_chest_ct_that_was_not_fetched_names_the_command(tmp_path):
    fresh = {"FLUORO_CACHE_DIR": str(tmp_path), "FLUORO_OUTPUT_DIR": str(tmp_path / "out")}
    code, _, err = Program("run", "configs/chest_ct.yaml", **fresh).end()
    assert code == 2
    (line,) = err.splitlines()
    assert line.startswith("fluoro: ")
    assert "app.py fetch chest-ct" in line


@pytest.mark.slow
def test_the_main_job_runs_as_it_is_shipped(tmp_path):
    options = ["--frames", "5", "--set", "console.port=0", "--name", "main"]
    output = {"FLUORO_OUTPUT_DIR": str(tmp_path)}
    code, _, err = Program("run", "configs/sweep.yaml", *options, **output).end(timeout_s=110)
    assert code == 0, err
    assert record_of(tmp_path / "main")["frames"] == 5

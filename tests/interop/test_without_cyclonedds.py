"""Machines for which Cyclone DDS has no package: everything but DDS works there."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
QUICK = [
    *("run", "configs/sweep.yaml", "--frames", "3", "--set"),
    *("volume.spacing_mm=8", "carm.detector_width_px=32", "carm.detector_height_px=32"),
    *("renderer.device=cpu", "console.enabled=false", "recorder.scene_movie=false"),
]
HIDDEN = """
import sys
sys.modules["cyclonedds"] = None
import app
sys.exit(app.main(sys.argv[1:]))
"""


def run(out: Path, *settings: str) -> subprocess.CompletedProcess[str]:
    """A short stream in a process that cannot import cyclonedds."""
    return subprocess.run(
        [sys.executable, "-c", HIDDEN, *QUICK, *settings],
        cwd=ROOT,
        env=os.environ | {"FLUORO_OUTPUT_DIR": str(out)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_stream_runs_with_openigtlink(tmp_path):
    done = run(tmp_path, "igtl.enabled=true", "igtl.port=0")
    assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.glob("*/run.json"))) == 1


@pytest.mark.parametrize(
    ("setting", "key"),
    [
        ("dds.frames={}", "dds.frames"),
        ("dds.bag=true", "dds.bag"),
    ],
)
def test_key_that_needs_dds_is_refused_in_one_line(tmp_path, setting, key):
    done = run(tmp_path, setting)
    assert done.returncode != 0
    assert f"fluoro: {key} needs the package cyclonedds, which is not installed" in done.stderr
    assert "Traceback" not in done.stderr

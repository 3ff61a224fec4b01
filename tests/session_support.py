"""What the tests of whole runs share: a small CT, a cache beside the user's, small settings."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

import operators.runtime  # noqa: F401  (before Holoscan)

# isort: split

from fluoro.config import Config
from fluoro.paths import cache_dir
from operators.session import run_session
from tests.volume_files import nifti_bytes, written

ROOT = Path(__file__).parent.parent
EDGE_VOXELS, SPACING_MM = 24, 8.0
WIDTH_PX, HEIGHT_PX = 32, 24


def small_ct(folder, name="ct.nii"):
    """A block of soft tissue with a piece of bone to the left of its middle, 24 voxels a side."""
    hu = np.full((EDGE_VOXELS,) * 3, -1000, "<i2")
    hu[4:20, 6:18, 4:20] = 40
    hu[8:16, 10:14, 12:15] = 700
    first = (EDGE_VOXELS - 1) / 2 * SPACING_MM
    raw = nifti_bytes(
        hu,
        dim=(3, *(EDGE_VOXELS,) * 3, 1, 1, 1, 1),
        pixdim=(1, *(SPACING_MM,) * 3, 0, 0, 0, 0),
        srow=(-SPACING_MM, 0, 0, first, 0, -SPACING_MM, 0, first, 0, 0, SPACING_MM, -first),
    )
    return written(folder, name, raw)


def use_cache(folder, monkeypatch, *, share_volumes=False):
    """Keep volumes in `folder`, and take the kernels that are compiled already.

    `share_volumes` keeps volumes beside `folder`, for all tests of this process that say so: a
    phantom takes seconds to make.
    """
    kept = {"kernels": cache_dir() / "kernels"}
    if share_volumes:
        kept["volumes"] = folder.parent / "volumes"
    cache = folder / "cache"
    cache.mkdir()
    for name, place in kept.items():
        place.mkdir(parents=True, exist_ok=True)
        (cache / name).symlink_to(place)
    monkeypatch.setenv("FLUORO_CACHE_DIR", str(cache))


def small_document(ct, output_dir, **sections):
    """Settings of a run that takes a fraction of a second; sections are merged into it."""
    document = {
        "volume": {"path": str(ct)},
        "carm": {
            "detector_width_px": WIDTH_PX,
            "detector_height_px": HEIGHT_PX,
            "pixel_spacing_mm": 12.0,
        },
        "pose_source": {"kind": "sweep", "period_s": 1.0},
        "renderer": {"device": "cpu", "workers": 1},
        "console": {"enabled": False, "port": 0},
        "recorder": {"formats": ["npy"], "contact_sheet": False, "scene_movie": False},
        "run": {"frames": 20, "fps": 200, "output_dir": str(output_dir), "name": "run"},
    }
    for name, keys in sections.items():
        same_kind = keys.get("kind", None) in (None, document.get(name, {}).get("kind"))
        document[name] = {**document.get(name, {}), **keys} if same_kind else keys
    return document


class QuietReporter:
    """Keeps its calls; `each` is called in the main thread while the stream runs.

    When `each` returns True the run ends, as with Ctrl+C.
    """

    def __init__(self, each=lambda frames: None):
        self._each, self._ended = each, False
        self.stages, self.console_url = [], None

    def stage(self, what, fraction):
        self.stages.append((what, fraction))

    def started(self, *, console_url, device, folder, links):
        self.console_url = console_url

    def streaming(self, frames, status):
        if self._each(frames) is True and not self._ended:
            self._ended = True
            os.kill(os.getpid(), signal.SIGINT)


def run_small(config, each=lambda frames: None):
    """Run a configuration, or a document that is one."""
    config = config if isinstance(config, Config) else Config.model_validate(config)
    return run_session(config, "small", QuietReporter(each))


def record_of(folder):
    return json.loads((folder / "run.json").read_text())


def images_of(folder):
    """Every frame as the recorder wrote it, shape (frames, height, width)."""
    return np.load(folder / "frames.npy")


RUNNING = []
"""Programs of the test that runs; conftest.py ends those that it leaves behind."""


class Program:
    """app.py in a process of its own."""

    def __init__(self, *arguments, code=None, **environment):
        command = [sys.executable, *(["-c", code] if code else [str(ROOT / "app.py")])]
        self.process = subprocess.Popen(
            [*command, *map(str, arguments)],
            cwd=ROOT,
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="surrogateescape",
        )
        RUNNING.append(self.process)

    def wait_for(self, holds, timeout_s=100):
        end = time.monotonic() + timeout_s
        while not holds():
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < end, "the program did not get that far"
            time.sleep(0.05)

    def interrupt(self, number=signal.SIGINT):
        self.process.send_signal(number)

    def end(self, timeout_s=100):
        """Exit code, standard output and standard error."""
        out, err = self.process.communicate(timeout=timeout_s)
        return self.process.returncode, out, err

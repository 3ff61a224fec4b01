"""A package of its own adds one of each kind; fluoro runs them, and says what is wrong with one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import app
from fluoro import plugins
from fluoro.config.plugin_sections import kinds, sections, words
from fluoro.config.section import Section
from fluoro.errors import InputError
from fluoro.imaging.stages import order
from fluoro.names import MEASURES
from fluoro.plugins import Plugin
from fluoro.poses.base import PoseSourceSection
from fluoro.poses.static import StaticPoses

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
LONGEST_MODULE = 60
"""Lines of a module that adds one thing."""
CHECKS = """
import sys
from fluoro import plugins
plugins.allow(["fluoro_extension"])
import pytest
sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", *sys.argv[1:]]))
"""
GENERIC = {
    "imaging/test_stages.py": "PersistentGamma and not cuda and not llvmpipe",
    "rendering/test_projectors.py": "trapezoid and (noise or voxel_row or miss)",
}
"""Fluoro's own tests that hold for what a plugin adds, and which of them."""


def frames_of(folder):
    return {int(path.stem[-6:]): np.asarray(Image.open(path)) for path in folder.glob("*.tiff")}


def check_stream(out, version):
    """The run of stream.yaml: a spiral, every tenth frame as TIFF, the block's shadow."""
    record = json.loads((out / "stream" / "run.json").read_text())
    poses = [frame["pose"] for frame in record["per_frame"]]
    assert [pose["lao_deg"] for pose in poses] == pytest.approx([3.0 * n for n in range(21)])
    assert poses[20]["translation_mm"] == pytest.approx([0, 0, 40])
    frames = frames_of(out / "stream")
    assert sorted(frames) == [0, 10, 20]
    assert all(frame.shape == (64, 64) and frame.dtype == np.float32 for frame in frames.values())
    recorded = np.load(out / "stream" / "frames.npy", mmap_mode="r")
    np.testing.assert_array_equal(recorded[10], frames[10])
    assert frames[0][32, 44] < 0.05 < 0.3 < frames[0][32, 20]  # steel, water
    truth = json.loads((out / "stream" / "annotations.json").read_text())
    assert truth["annotations"][0]["keypoints"] == pytest.approx([32, 32, 2])
    assert record["config"]["renderer"]["projector"] == "trapezoid"
    assert record["versions"]["fluoro_extension"] == version


def test_one_of_each_kind_runs_in_one_stream(tmp_path):
    environment = os.environ | {"PYTHONPATH": str(HERE), "FLUORO_OUTPUT_DIR": str(tmp_path)}
    command = [sys.executable, ROOT / "app.py", "run", HERE / "stream.yaml"]
    done = subprocess.run(
        [*command, "--allow-plugins", "fluoro_extension"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    check_stream(tmp_path, "not installed")


def test_checks_and_fluoros_own_tests_hold_for_what_a_plugin_adds(tmp_path):
    """In a process of its own, where the plugin is allowed."""
    environment = os.environ | {"PYTHONPATH": f"{HERE}:{ROOT}"}
    environment["FLUORO_CACHE_DIR"] = str(use_kernels(tmp_path))
    files = [HERE / "plugin_checks.py", *(ROOT / "tests" / path for path in GENERIC)]
    wanted = " or ".join(["plugin_checks", *(f"({words_})" for words_ in GENERIC.values())])
    done = subprocess.run(
        [sys.executable, "-c", CHECKS, *files, "-k", wanted],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_module_that_adds_one_thing_is_short():
    for path in (HERE / "fluoro_extension").glob("*.py"):
        assert len(path.read_text().splitlines()) < LONGEST_MODULE, path


@pytest.fixture
def given(monkeypatch):
    """Lets the tests say which plugins there are."""

    def give(**modules):
        namespaces = {name: SimpleNamespace(PLUGIN=plugin) for name, plugin in modules.items()}
        monkeypatch.setattr(plugins, "_plugins", cache(lambda: plugins.checked(namespaces)))

    return give


class Pulsing(PoseSourceSection):
    kind: str = "static"


@pytest.mark.parametrize(
    ("plugin", "ask", "line"),
    [
        (
            Plugin(measures={"ncc": "a:B"}),
            lambda: words("measures", MEASURES),
            "plugin one: measures.ncc: fluoro has one of that name",
        ),
        (
            Plugin(stages={"glow": "no_such_package.glow:Glow"}),
            lambda: sections("stages"),
            "plugin one: stages.glow: no_such_package.glow cannot be imported: "
            "ModuleNotFoundError: No module named 'no_such_package'",
        ),
        (
            Plugin(stages={"glow": "json:Glow"}),
            lambda: sections("stages"),
            "plugin one: stages.glow: must be module:Object, and 'json:Glow' is not there",
        ),
        (
            Plugin(pose_sources={"moon": Section}),
            lambda: kinds("pose_sources", PoseSourceSection, ()),
            f"plugin one: pose_sources.moon: must be a class of PoseSourceSection, got {Section!r}",
        ),
        (
            Plugin(pose_sources={"still": StaticPoses}),
            lambda: kinds("pose_sources", PoseSourceSection, ()),
            "plugin one: pose_sources.still: must stand under its kind, static",
        ),
        (
            Plugin(stages={"lag": order.Lag}),
            lambda: order._with_plugins(order.BUILT_IN, {"lag": order.Lag}),
            "plugin one: stages.lag: follows must be a key of a stage, such as lag, got ''",
        ),
    ],
)
def test_a_broken_plugin_is_one_line_with_its_module(given, plugin, ask, line):
    given(one=plugin)
    with pytest.raises(InputError) as caught:
        ask()
    assert str(caught.value) == line


def test_two_plugins_with_one_name_are_one_line(given):
    given(one=Plugin(sinks={"tiff": "a:B"}), two=Plugin(sinks={"tiff": "c:D"}))
    with pytest.raises(InputError, match=r"^plugin two: sinks\.tiff: one has one of that name$"):
        plugins.names("sinks")


def test_a_module_without_a_plugin_is_one_line(given):
    given(one=None)
    with pytest.raises(InputError, match=r"^plugin one: PLUGIN must be a Plugin.*, got None$"):
        plugins.names("sinks")


def test_a_module_that_cannot_be_imported_ends_every_command_with_one_line(tmp_path, capsys):
    (tmp_path / "broken_plugin.py").write_text("1 / 0\n")
    sys.path.insert(0, str(tmp_path))
    try:
        code = app.main(["validate", "sweep", "--allow-plugins", "broken_plugin"])
    finally:
        sys.path.remove(str(tmp_path))
    line = "fluoro: plugin broken_plugin: broken_plugin cannot be imported: ZeroDivisionError: "
    assert (code, capsys.readouterr().err) == (2, f"{line}division by zero\n")


def test_a_plugin_s_module_that_imports_the_configuration_is_one_line_with_the_way_out(tmp_path):
    text = "import fluoro.poses.base\nfrom fluoro.plugins import Plugin\nPLUGIN = Plugin()\n"
    (tmp_path / "one_file.py").write_text(text)
    command = [sys.executable, str(ROOT / "app.py"), "validate", "sweep"]
    done = subprocess.run(
        [*command, "--allow-plugins", "one_file"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (2, f"fluoro: plugin one_file: {plugins.ALONE}\n")


def test_a_yaml_file_alone_never_leads_to_an_import(tmp_path, capsys):
    sys.modules.pop("examples.my_optimiser", None)
    path = tmp_path / "other.yaml"
    text = (ROOT / "configs" / "own_optimiser.yaml").read_text()
    path.write_text(text.replace("examples.my_optimiser", "antigravity"))
    assert app.main(["validate", str(path)]) == 0
    assert "valid, but optimiser.class needs --allow-plugins antigravity" in capsys.readouterr().out
    assert app.main(["run", str(path)]) == 2
    assert capsys.readouterr().err == "fluoro: optimiser.class: needs --allow-plugins antigravity\n"
    assert "antigravity" not in sys.modules


def use_kernels(folder):
    """Volumes are kept in `folder`, kernels where they are compiled already."""
    from fluoro.paths import cache_dir

    kernels = cache_dir() / "kernels"
    kernels.mkdir(parents=True, exist_ok=True)
    (folder / "kernels").symlink_to(kernels)
    return folder


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_an_installed_package_adds_one_of_each_kind_away_from_the_checkout(wheel, tmp_path):
    """Both wheels in a clean environment; needs a package index."""
    python, out = tmp_path / "venv" / "bin" / "python", tmp_path / "out"
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation"]
    shutil.copytree(HERE, tmp_path / "source", ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run([*build, "--no-index", "-w", tmp_path, tmp_path / "source"], check=True)
    (extension,) = tmp_path.glob("fluoro_extension-*.whl")
    install = [python, "-m", "pip", "install", "-q", "-c", ROOT / "requirements/constraints.txt"]
    subprocess.run([*install, f"{wheel}[app]", extension], check=True)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    environment |= {"FLUORO_OUTPUT_DIR": str(out)}

    def fluoro(*words_):
        done = subprocess.run(
            [tmp_path / "venv" / "bin" / "fluoro", *words_],
            cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert '"spiral"' in fluoro("schema")
    fluoro("run", HERE / "stream.yaml")
    check_stream(out, "0.1.0")
    fluoro("preprocess", "--ct", bead_box_ct(tmp_path, python, environment), "--output", "mu")
    settings = (HERE / "tracking.yaml").read_text().replace("{ct}", str(tmp_path / "box.plainct"))
    (tmp_path / "tracking.yaml").write_text(settings)
    fluoro("run", tmp_path / "tracking.yaml")
    record = json.loads((out / "tracking" / "run.json").read_text())
    assert record["tracking"]["median_mtre_mm"] < 1.0


MAKE_CT = """
import json, sys
from fluoro_extension.bead_box import make_bead_box
hu = make_bead_box(3.0)
facts = {key: getattr(hu.grid, key) for key in ("shape_zyx", "spacing_xyz_mm", "origin_xyz_mm")}
with open(sys.argv[1], "wb") as file:
    file.write(json.dumps(facts).encode() + b"\\n" + hu.hu_zyx.astype("<i2").tobytes())
"""


def bead_box_ct(folder, python, environment):
    """The phantom as a file in the package's own format."""
    path = folder / "box.plainct"
    subprocess.run([python, "-c", MAKE_CT, path], cwd=folder, env=environment, check=True)
    return path

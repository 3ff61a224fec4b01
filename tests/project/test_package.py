"""fluoro as an installed package: light to import, whole in its wheel, useful by itself."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path

import nbformat
import pytest

from tests.volume_files import nifti_bytes

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("[0-9]*.py"))
OPTIONAL = (
    "torch", "SimpleITK", "holoscan", "cupy", "pydicom", "gdcm", "av", "PIL", "rich", "skimage",
    "websockets", "cyclonedds", "matplotlib",
)  # fmt: skip
"""What a script that only renders does without."""

MOST_FILE_BYTES = 1_000_000
MOST_WHEEL_BYTES = 1_700_000
"""Bound of a wheel with all rooms, shaders and tables (1.2 MB); large data belong elsewhere."""

BLOCK = """
import sys
from importlib.machinery import PathFinder
class Finder:
    find_distributions = PathFinder.find_distributions
    @staticmethod
    def find_spec(name, path=None, target=None):
        blocked = name.split(".")[0] in {blocked!r}
        return None if blocked else PathFinder.find_spec(name, path, target)
sys.meta_path[sys.meta_path.index(PathFinder)] = Finder
"""
"""Packages that are as good as not installed."""


def run(code, package, folder, blocked=()):
    """Run code against a package's folder from another folder; its output."""
    script = BLOCK.format(blocked=tuple(blocked)) + textwrap.dedent(code)
    environment = os.environ | {"PYTHONPATH": str(package), "PYTHONSAFEPATH": "1"}
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_library_has_six_dependencies():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {re.split(r"[<>=!~;\[ ]", line)[0] for line in project["dependencies"]}
    assert names == {"numpy", "pydantic", "pyyaml", "scipy", "slangpy", "typing-extensions"}


def test_the_wheel_is_small(wheel):
    assert wheel.stat().st_size < MOST_WHEEL_BYTES


def test_no_file_of_the_repository_is_larger_than_1_mb():
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("needs git, in a checkout")
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, check=True)
    paths = [ROOT / name for name in listed.stdout.decode().splitlines()]
    assert [p.name for p in paths if p.is_file() and p.stat().st_size > MOST_FILE_BYTES] == []


def test_the_wheel_has_every_package_of_the_checkout():
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    there = {path.parent.relative_to(ROOT) for path in (ROOT / "fluoro").rglob("__init__.py")}
    there |= {
        Path("fluoro/shaders"),
        Path("fluoro/application"),
        Path("fluoro/application/configs"),
    }
    operators = {path.parent for path in (ROOT / "operators").rglob("__init__.py")}
    there |= {Path("fluoro/application") / path.relative_to(ROOT) for path in operators}
    assert sorted(listed) == sorted(".".join(path.parts) for path in there)


def test_importing_fluoro_loads_nothing_else(tmp_path):
    loaded = json.loads(
        run(
            """
            before = set(sys.modules)
            import fluoro, json
            print(json.dumps(sorted(set(sys.modules) - before)))
            """,
            ROOT,
            tmp_path,
            blocked=(*OPTIONAL, "numpy", "pydantic", "slangpy", "scipy", "yaml"),
        )
    )
    ours = [name for name in loaded if name.startswith("fluoro")]
    assert ours == ["fluoro", "fluoro.lazy_names"]


def test_what_renders_a_cached_volume_loads_nothing_that_reads_or_makes_one(tmp_path):
    """SciPy and SimpleITK take longer to import than an image takes."""
    run(
        """
        import sys
        from fluoro.config import VolumeConfig
        from fluoro.rendering.devices import selection
        from fluoro.rendering import renderer
        from fluoro.volume.load import load_volume
        assert "fluoro.config.application" not in sys.modules
        """,
        ROOT,
        tmp_path,
        blocked=(*OPTIONAL, "scipy", "slangpy"),
    )


def test_installed_package_renders_from_another_folder_with_its_base_dependencies_alone(
    unpacked_wheel, tmp_path
):
    printed = run(
        """
        import numpy as np
        import fluoro
        from fluoro import CarmGeometry, FluoroSimulator, SimulatorConfig, VolumePreprocessor
        from fluoro.fluorosim.rendering import SlangDiffDRRRenderer, apply_realism
        volume = VolumePreprocessor.from_numpy(np.zeros((20, 20, 20)), (5, 5, 5)).preprocess("mu")
        config = SimulatorConfig(CarmGeometry(detector_width_px=16, detector_height_px=16,
                                              pixel_spacing_mm=12.0))
        simulator = FluoroSimulator(volume, config.with_realism(enabled=True, poisson_photons=9))
        frame = simulator.render_frame()
        frame.save("frame.png")
        simulator.renderer.render_with_gradients((0, 0, 0), (0, 0, 0))
        print(fluoro.__file__, frame.image.shape)
        """,
        unpacked_wheel,
        tmp_path,
        blocked=OPTIONAL,
    )
    assert printed.strip() == f"{unpacked_wheel / 'fluoro' / '__init__.py'} (16, 16)"
    assert (tmp_path / "frame.png").read_bytes().startswith(b"\x89PNG")


def test_reading_a_ct_without_what_reads_it_says_how_to_get_it(tmp_path):
    (tmp_path / "ct.nii").write_bytes(nifti_bytes())
    printed = run(
        """
        from fluoro import VolumePreprocessor
        try:
            VolumePreprocessor.from_nifti("ct.nii")
        except ImportError as error:
            print(error)
        """,
        ROOT,
        tmp_path,
        blocked=OPTIONAL,
    )
    expected = "SimpleITK is missing: reading CTs needs what fluoro's extra [dicom] brings\n"
    assert printed == expected


def test_everything_of_the_renderer_is_importable_without_pytorch(tmp_path):
    printed = run(
        """
        from fluoro.fluorosim.rendering import *
        from fluoro.fluorosim.rendering.diffdrr_slang_renderer import *
        print(SlangDiffDRRRenderer.__name__, "TorchSlangDiffDRR" in globals())
        """,
        ROOT,
        tmp_path,
        blocked=OPTIONAL,
    )
    assert printed == "SlangDiffDRRRenderer False\n"


def test_application_without_holoscan_says_how_to_get_it(tmp_path):
    printed = run(
        f"""
        import app
        sys.stderr = sys.stdout
        print(app.main(["run", {str(ROOT / "configs" / "sweep.yaml")!r}]))
        """,
        ROOT,
        tmp_path,
        blocked=("holoscan",),
    )
    assert printed == (
        "fluoro: Holoscan is missing: `make run` makes an environment that has it, "
        "or pip install holoscan-cu12 (holoscan-cu13 for CUDA 13)\n2\n"
    )


@pytest.mark.slow
@pytest.mark.documents
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_example_runs_against_the_wheel_outside_the_checkout(example, unpacked_wheel, tmp_path):
    copied = tmp_path / "somewhere" / example.name
    copied.parent.mkdir()
    shutil.copy(example, copied)
    environment = os.environ | {
        "PYTHONPATH": str(unpacked_wheel),
        "PYTHONSAFEPATH": "1",
        "FLUORO_OUTPUT_DIR": str(tmp_path / "out"),
    }
    done = subprocess.run(
        [sys.executable, str(copied)],
        cwd=copied.parent,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout
    made = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*"))
    assert set(MADE[example.stem]) <= set(made)


MADE = {
    "01_single_frame": ["examples/single_frame.png"],
    "02_cine": ["examples/cine/frame_0000.png", "examples/cine/frame_0008.png"],
    "03_stream": [],
    "04_preprocess_ct": ["examples/preprocessed/mu_volume.npy", "examples/preprocessed.png"],
    "05_demo": ["examples/demo/frame_0011.png"],
    "06_labels": ["examples/labels.json"],
    "07_xray_file": ["examples/beside.png"],
    "08_xray_simulator": ["examples/xray_simulator/lao_xray.png"],
}


NOTEBOOKS = {
    "fluoro_tour": 3,
    "registration": 2,
    "diffdrr_introduction": 5,
    "diffdrr_registration": 2,
    "deepdrr_minimal": 2,
    "train_segmentation": 3,
}
"""And how many images each shows."""
WITH_TORCH = ("diffdrr_introduction", "diffdrr_registration", "train_segmentation")
EXECUTE = """
import sys
import nbformat
from nbclient import NotebookClient
source, out, folder = sys.argv[1:]
notebook = nbformat.read(source, as_version=4)
where = {"metadata": {"path": folder}}
NotebookClient(notebook, timeout=1500, kernel_name="python3", resources=where).execute()
nbformat.write(notebook, out)
"""
"""By itself, because the client leaves threads behind."""


@pytest.mark.slow
@pytest.mark.documents
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebook_runs_and_was_committed_without_output(tmp_path, name):
    if name in WITH_TORCH:
        pytest.importorskip("torch")
    path = ROOT / "examples" / f"{name}.ipynb"
    notebook = nbformat.read(path, as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells)
    out = tmp_path / "executed.ipynb"
    environment = os.environ | {"FLUORO_OUTPUT_DIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", EXECUTE, path, out, ROOT], check=True, env=environment)
    notebook = nbformat.read(out, as_version=4)
    images = [
        output
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    ]
    assert len(images) == NOTEBOOKS[name]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_clean_environment_runs_the_examples_from_the_wheel(wheel, tmp_path):
    """Nothing but what pip brings for `fluoro[dicom]`; needs a package index. Types reach it."""
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    install = [python, "-m", "pip", "install", "-q", "-c", ROOT / "requirements/constraints.txt"]
    subprocess.run([*install, f"{wheel}[dicom]"], check=True)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    environment |= {"FLUORO_OUTPUT_DIR": str(tmp_path / "out")}
    for example in EXAMPLES:
        shutil.copy(example, tmp_path)
        subprocess.run(
            [python, example.name], cwd=tmp_path, env=environment, check=True, capture_output=True
        )
    assert (tmp_path / "out" / "examples" / "demo" / "frame_0011.png").is_file()
    (tmp_path / "typed.py").write_text(TYPED)
    mypy = [sys.executable, "-m", "mypy", "--strict", "--python-executable", python, "typed.py"]
    done = subprocess.run(mypy, cwd=tmp_path, capture_output=True, text=True, check=False)
    told = [line.split(": ", 1)[1] for line in done.stdout.splitlines()[:-1]]
    assert told == [
        'error: Module "fluoro" has no attribute "Typo"  [attr-defined]',
        'note: Revealed type is "fluoro.fluorosim.cine.Frame"',
        'error: Argument "rotation" to "render_frame" of "FluoroSimulator" has incompatible type '
        '"str"; expected "tuple[float, float, float]"  [arg-type]',
    ]


TYPED = """
from fluoro import Typo
from fluoro import CarmGeometry, FluoroSimulator, SimulatorConfig, VolumePreprocessor

volume = VolumePreprocessor.from_phantom(spacing_mm=4.0).preprocess()
simulator = FluoroSimulator(volume, SimulatorConfig(geometry=CarmGeometry(1200, 800)))
reveal_type(simulator.render_frame(rotation=(0.0, 0.1, 0.0)))
simulator.render_frame(rotation="LAO 30")
"""

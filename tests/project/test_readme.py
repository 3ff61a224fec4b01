"""What the documents tell a user to type is there, and does what it says."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import app
from fluoro.config import load_config
from fluoro.paths import config_path
from fluoro.registration.config import load_register_config
from tests.support import require_program

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"(?:\A|\n\n)((?:    .*\n)+)")
PROGRAMS = ("make", "python", "python3", ".venv/bin/python", "app.py", "pip")
"""First words of the lines that are held to account; others (git, docker, apt) are not ours."""
STANDS_FOR = {
    "CONFIG": "configs/sweep.yaml",
    "YAML": "configs/sweep.yaml",
    "register.yaml": "configs/register_phantom.yaml",
}


def blocks(path: Path) -> list[tuple[str, str]]:
    """Language and text of every block of code; indented ones have the language ""."""
    text = path.read_text(encoding="utf-8")
    fenced = FENCE.findall(text)
    return fenced + [("", block) for block in INDENTED.findall(FENCE.sub("", text))]


AROUND = {
    "cameras.md": """
import numpy as np
from fluoro.geometry.carm import CarmGeometry, CarmPose
from fluoro.geometry.projection import camera_matrices
from fluoro.rendering.devices.selection import open_device
from fluoro.rendering.renderer import DrrRenderer
from fluoro.volume.grid import VolumeGrid
from fluoro.volume.volumes import MuVolume
grid = VolumeGrid(shape_zyx=(20, 20, 20), spacing_xyz_mm=(5.0, 5.0, 5.0))
volume = MuVolume(mu_zyx=np.full((20, 20, 20), 0.01, np.float32), grid=grid)
geometry = CarmGeometry(detector_width_px=1536, detector_height_px=1536, pixel_spacing_mm=0.194)
view = geometry.view(CarmPose(lao_deg=20), grid.center_xyz_mm)
P = view.projection_matrix("integer")
K, camera_from_world = camera_matrices(view, pixel_centers="integer")
points_xyz_mm = np.zeros((4, 3))
renderer = DrrRenderer(volume, open_device("cpu"))
""",
}
"""What a document's snippets take for granted."""


ELSEWHERE = {
    "rclpy": "which no package index has",
    "torch": "pip install -r requirements/torch.txt, as CI does",
}
"""Packages that `make test` does not bring."""


def programs() -> list:
    """The Python of each document, block after block, as a reader would type it."""
    made = []
    for path in DOCUMENTS:
        code = [code for language, code in blocks(path) if language == "python"]
        if code:
            made.append(pytest.param("\n".join([AROUND.get(path.name, ""), *code]), id=path.name))
    return made


def command_lines() -> list:
    """Lines that start with one of our programs, without comments and redirections."""
    found = []
    for path in DOCUMENTS:
        for language, block in blocks(path):
            if language not in ("", "bash", "sh", "console", "shell"):
                continue
            for line in block.replace("\\\n", " ").splitlines():
                line = re.split(r"\s{2,}", line.strip().removeprefix("$ "))[0]  # then a remark
                if line.split(" ")[0] not in PROGRAMS:
                    continue
                words = shlex.split(line, comments=True)
                words = words[: words.index(">")] if ">" in words else words
                found.append(pytest.param(words, id=f"{path.name}: {' '.join(words)}"))
    return found


@pytest.mark.slow
@pytest.mark.documents
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("code", programs())
def test_python_of_the_documents_runs_as_it_stands(code, tmp_path):
    for name, where in ELSEWHERE.items():
        if f"import {name}" in code and importlib.util.find_spec(name) is None:
            pytest.skip(f"needs {name}, {where}")
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("words", command_lines())
def test_command_of_the_documents_exists(words):
    if words[0] == "make":
        make = [require_program("make"), "--dry-run", *words[1:]]
        subprocess.run(make, cwd=ROOT, check=True, capture_output=True)
        return
    if words[0] == "pip" or words[1:3] == ["-m", "pip"]:
        check_extras(words)
        return
    rest = words if words[0] == "app.py" else words[1:]
    if not rest[1:]:
        assert (ROOT / rest[0]).is_file()
        return
    if rest[0] == "-m":
        module = ROOT / rest[1].replace(".", "/")
        assert module.with_suffix(".py").is_file() or (module / "__main__.py").is_file()
    elif rest[0] == "app.py":
        check_command(rest[1:])
    else:
        assert (ROOT / rest[0]).is_file()


def check_extras(words):
    extras = set(re.findall(r"\[([\w,]+)\]", " ".join(words)))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {name for extra in extras for name in extra.split(",")} <= set(
        project["optional-dependencies"]
    )


def check_command(words):
    """The command line is understood, and a configuration that it names loads with its changes."""
    words = [STANDS_FOR.get(word, word) for word in words]
    arguments = app.parser().parse_args(words)  # exits at what it does not know
    if words[0] in ("run", "validate"):
        configs = arguments.config if words[0] == "validate" else [arguments.config]
        for config in configs:
            load_config(ROOT / config_path(Path(config)), arguments.set)
    elif words[0] == "register":
        load_register_config(ROOT / config_path(Path(arguments.config)), arguments.set)


def whole_files() -> list:
    """YAML of the documents that is a whole file of a stream or of a registration."""
    found = []
    for path in DOCUMENTS:
        for language, block in blocks(path):
            keys = re.findall(r"^(\w+):", block, re.MULTILINE) if language == "yaml" else []
            if "volume" in keys and {"pose_source", "target"} & set(keys):
                load = load_register_config if "target" in keys else load_config
                found.append(pytest.param(load, block, id=f"{path.name}: {' '.join(keys)}"))
    return found


@pytest.mark.parametrize(("load", "text"), whole_files())
def test_yaml_of_the_documents_is_a_file_that_loads(load, text, tmp_path):
    path = tmp_path / "file.yaml"
    path.write_text(text)
    load(path, [])


def test_documents_have_code_to_hold_to_account():
    assert len(whole_files()) >= 2
    assert len(programs()) >= 2
    assert len(command_lines()) >= 8


def links() -> list:
    """Relative links and images of the documents."""
    return [
        pytest.param(path.parent / target, id=f"{path.name}: {target}")
        for path in DOCUMENTS
        for target in re.findall(r"\]\(([^)#\s]+)", path.read_text(encoding="utf-8"))
        if "://" not in target
    ]


@pytest.mark.parametrize("target", links())
def test_link_of_the_documents_leads_to_a_file(target):
    assert target.exists()

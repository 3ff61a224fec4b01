"""The project's own files: what is installed, packaged and declared is what is there."""

import ast
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

import app
import fluoro
from fluoro.config import load_config
from tests import dicom_files
from tests.support import REQUIRE_PROGRAMS, require_program
from tools.docs.draw_conventions import FIGURE, draw

ROOT = Path(__file__).parents[2]
PINNED = re.compile(r"(?P<name>[A-Za-z0-9_.-]+)==(?P<version>[^\s#;]+)(; [^#]*\S)?")
REQUIREMENT_FILES = [
    "requirements.txt",
    *(f"requirements/{n}.txt" for n in ("common", "cu13", "dev")),
]
OPTIONAL_FILES = [f"requirements/{n}.txt" for n in ("bake", "ray", "torch")]
SHELL_TOOLS = ["sh", "cat", "tr", "cut", "sha256sum", "uname", "df", "awk", "rm", "id"]
"""All that tools/env/bootstrap.sh calls besides Python, pip and the compiler."""


def _requirement_lines(name: str) -> list[str]:
    lines = (ROOT / name).read_text().splitlines()
    return [line for line in lines if line and not line.startswith(("#", "-r"))]


def _pins(name: str) -> dict[str, str]:
    matches = [PINNED.match(line) for line in _requirement_lines(name)]
    return {canonicalize_name(m["name"]): m["version"] for m in matches if m}


# -- requirements ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*REQUIREMENT_FILES, *OPTIONAL_FILES])
def test_every_requirement_is_exact_and_says_why(name):
    for line in _requirement_lines(name):
        assert re.fullmatch(PINNED.pattern + r"\s+# \S.*", line), line


def test_constraints_hold_every_requirement_at_its_version():
    constraints = _pins("requirements/constraints.txt")
    for name in REQUIREMENT_FILES:
        assert _pins(name).items() <= constraints.items(), f"{name}: run `make lock`"


def test_ranges_of_the_package_admit_the_pinned_versions():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pins = _pins("requirements/constraints.txt")
    for name in OPTIONAL_FILES:
        pins |= _pins(name)
    extras = project["optional-dependencies"].values()
    for text in [*project["dependencies"], *(line for extra in extras for line in extra)]:
        requirement = Requirement(text)
        if requirement.name == project["name"]:  # an extra that gathers others
            continue
        assert pins[canonicalize_name(requirement.name)] in requirement.specifier, text


def _imported_distributions() -> set[str]:
    """Others that fluoro, the operators and the application import, at top or inside."""
    known = packages_distributions()
    known.pop("fluoro", None)  # where `pip install .` was here
    files = [*ROOT.glob("fluoro/**/*.py"), *ROOT.glob("operators/**/*.py"), ROOT / "app.py"]
    nodes = [node for file in files for node in ast.walk(ast.parse(file.read_text()))]
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}
    return {
        canonicalize_name(distribution)
        for name in {name.split(".")[0] for name in names}
        for distribution in known.get(name, [])
    }


def _optional() -> set[str]:
    """What extras bring and the application does without; requirements/dev.txt has it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    optional = ("completion", "datasets", "plot", "ray")
    lines = (line for name in optional for line in extras.get(name, ()))
    return {canonicalize_name(Requirement(line).name) for line in lines}


def test_requirements_are_what_the_application_imports():
    imported = _imported_distributions() - set(_pins("requirements/torch.txt")) - _optional()
    gpu = {name for name in imported if name.startswith(("cupy", "holoscan"))}
    assert imported - gpu == set(_pins("requirements/common.txt"))
    assert len(gpu) == 2, gpu


# -- bootstrap ---------------------------------------------------------------------------------


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    return _make_checkout(tmp_path)


def _make_checkout(folder: Path) -> Path:
    """A folder with the bootstrap script, one harmless requirement and a PATH of its own."""
    shutil.copytree(ROOT / "tools", folder / "tools")
    (folder / "requirements").mkdir()
    (folder / "requirements" / "constraints.txt").touch()
    (folder / "requirements.txt").write_text("pip\n")
    (folder / "bin").mkdir()
    for tool in SHELL_TOOLS:
        (folder / "bin" / tool).symlink_to(str(shutil.which(tool)))
    return folder


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A checkout with its environment, and how the script that made it ended."""
    folder = _make_checkout(tmp_path_factory.mktemp("installed"))
    _put_program(folder, "g++", "exit 0")
    return folder, _bootstrap(folder, PYTHON=sys.executable)


def _put_program(checkout: Path, name: str, script: str) -> None:
    program = checkout / "bin" / name
    program.unlink(missing_ok=True)
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


def _bootstrap(checkout: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["tools/env/bootstrap.sh", ".venv", "requirements.txt"],
        cwd=checkout,
        env={"PATH": str(checkout / "bin"), "HOME": str(checkout)} | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_bare_machine_gets_a_list_of_all_that_is_missing_with_its_fix(checkout):
    _put_program(checkout, "df", "echo Filesystem; echo disk 1 1 12 1 /")
    result = _bootstrap(checkout)
    lines = result.stderr.splitlines()
    assert result.returncode == 1
    assert [line.split(":")[0] for line in lines] == ["missing"] * 3
    assert re.search(r"Python 3\.11, 3\.12 or 3\.13 .*apt install python3 python3-venv", lines[0])
    assert re.search(r"C\+\+ compiler .*apt install g\+\+", lines[1])
    assert re.search(r"disk space: 3000 MB needed .*12 MB free", lines[2])
    assert not (checkout / ".venv").exists()


def test_python_without_venv_is_informed_which_package_brings_it(checkout):
    _put_program(checkout, "python3", 'case "$*" in *ensurepip*) exit 1 ;; esac')
    _put_program(checkout, "g++", "exit 0")
    result = _bootstrap(checkout)
    assert result.returncode == 1
    assert re.fullmatch(
        "missing: the venv module of python3: .*apt install python3-venv\n", result.stderr
    )


def test_python_that_is_too_old_or_too_new_is_not_taken(checkout):
    _put_program(checkout, "python3", 'case "$*" in *version_info*) exit 1 ;; esac')
    _put_program(checkout, "g++", "exit 0")
    result = _bootstrap(checkout)
    assert result.returncode == 1
    assert result.stderr.startswith("missing: Python 3.11, 3.12 or 3.13 (looked for python3.12, ")


FIXES = {
    "ID=debian": "apt install libx11-6",
    "ID=pop\nID_LIKE='ubuntu debian'": "apt install libx11-6",
    "ID=rocky\nID_LIKE='rhel centos fedora'": "dnf install libX11",
    "ID=opensuse-leap\nID_LIKE='suse opensuse'": "zypper install libX11-6",
    "ID=arch": "pacman -S libx11",
    "ID=void": "install it with this system's package manager (Fedora calls it libX11)",
}


@pytest.mark.parametrize("release", FIXES)
def test_missing_library_is_named_with_the_command_of_the_distribution(checkout, release):
    _put_program(checkout, "python3", 'case "$*" in *libX11*) exit 1 ;; esac')
    _put_program(checkout, "g++", "exit 0")
    _put_program(checkout, "id", "echo 0")
    (checkout / "os-release").write_text(f"{release}\n")
    result = _bootstrap(checkout, OS_RELEASE=str(checkout / "os-release"))
    wanted = f"missing: the library libX11.so.6, which slangpy loads: {FIXES[release]}\n"
    assert (result.returncode, result.stderr) == (1, wanted)


@pytest.mark.parametrize(("has_sudo", "begins"), [(True, "sudo "), (False, "as root: ")])
def test_command_that_needs_root_says_how_a_user_gets_it(checkout, has_sudo, begins):
    _put_program(checkout, "python3", 'case "$*" in *libX11*) exit 1 ;; esac')
    _put_program(checkout, "g++", "exit 0")
    _put_program(checkout, "id", "echo 1000")
    if has_sudo:
        _put_program(checkout, "sudo", "exit 1")
    (checkout / "os-release").write_text("ID=debian\n")
    result = _bootstrap(checkout, OS_RELEASE=str(checkout / "os-release"))
    assert result.stderr.endswith(f": {begins}apt install libx11-6\n")


def test_compiler_without_float16_is_refused_on_arm_with_the_reason(checkout):
    _put_program(checkout, "uname", 'case "$1" in -s) echo Linux ;; *) echo aarch64 ;; esac')
    _put_program(checkout, "python3", "exit 0")
    _put_program(
        checkout, "g++", "while read -r line; do case $line in *Float16*) exit 1 ;; esac; done"
    )
    result = _bootstrap(checkout)
    assert result.returncode == 1
    assert re.fullmatch(
        r"missing: a newer C\+\+ compiler: .* _Float16 .* g\+\+ 13 or newer has it.*\n",
        result.stderr,
    )


NO_INDEX = {"PIP_NO_INDEX": "1"}
NO_CONNECTION = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "1"}


@pytest.mark.parametrize(
    ("settings", "reason"),
    [(NO_INDEX, "ERROR: "), (NO_CONNECTION, "no connection to the package index")],
    ids=["no index", "no connection"],
)
def test_machine_without_a_package_index_gets_one_line_with_the_reason(
    checkout, installed, settings, reason
):
    _put_program(checkout, "g++", "exit 0")
    shutil.copytree(installed[0] / ".venv", checkout / ".venv", symlinks=True)
    (checkout / "requirements.txt").write_text("no-such-package-of-fluoro==1\n")
    files = {"PIP_FIND_LINKS": "/dev/null", "PIP_CONFIG_FILE": "/dev/null"}
    result = _bootstrap(checkout, PYTHON=sys.executable, **files, **settings)
    assert result.returncode == 1
    assert result.stderr.startswith(f"missing: packages that pip could not install ({reason}")
    assert result.stderr.endswith("then run this again\n")
    assert result.stderr.count("\n") == 1


def test_another_system_than_linux_is_named(checkout):
    _put_program(checkout, "uname", 'case "$1" in -s) echo Darwin ;; *) echo arm64 ;; esac')
    _put_program(checkout, "python3", "exit 0")
    _put_program(checkout, "g++", "exit 0")
    result = _bootstrap(checkout)
    assert result.returncode == 1
    assert "this is Darwin on arm64" in result.stderr


def test_environment_is_made_once_and_renewed_when_requirements_change(installed):
    checkout, first = installed
    assert first.returncode == 0, first.stderr
    assert "Making .venv" in first.stdout
    second = _bootstrap(checkout)
    assert (second.returncode, second.stdout, second.stderr) == (0, "", "")
    with (checkout / "requirements.txt").open("a") as file:
        file.write("# another\n")
    third = _bootstrap(checkout)
    assert third.stdout == "Installing requirements.txt ...\n"


@pytest.mark.parametrize(("cuda", "venv"), [("12", ".venv"), ("13", ".venv-cu13")])
def test_cuda_switch_chooses_environment_and_packages(cuda, venv):
    make = [require_program("make"), "--dry-run", f"CUDA={cuda}", "run"]
    plan = subprocess.run(make, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    name = "requirements.txt" if cuda == "12" else "requirements/cu13.txt"
    assert f"tools/env/bootstrap.sh {venv} {name}\n" in plan
    assert f"{venv}/bin/python app.py run configs/sweep.yaml" in plan
    assert any(f"cu{cuda}" in pin for pin in _pins(name))


@pytest.mark.parametrize("words", [[], ["help"]])
def test_make_alone_explains_its_targets_and_does_nothing(words, tmp_path):
    shutil.copy(ROOT / "Makefile", tmp_path)
    make = [require_program("make"), "--no-print-directory", *words]
    shown = subprocess.run(make, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    targets = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[0]
    internal = {"help", "env", "env-dev"}
    for target in set(targets.split()) - internal:
        assert re.search(rf"make {target}\b", shown), target
    assert [path.name for path in tmp_path.iterdir()] == ["Makefile"]


def test_unknown_cuda_version_is_refused():
    make = [require_program("make"), "--dry-run", "CUDA=11", "run"]
    result = subprocess.run(make, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode != 0
    assert "CUDA must be 12 or 13, got 11" in result.stderr


# -- system programs ---------------------------------------------------------------------------


def test_missing_program_skips_by_its_name_and_fails_in_ci(monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv(REQUIRE_PROGRAMS, raising=False)
    with pytest.raises(pytest.skip.Exception, match="needs the program chromium"):
        require_program("chromium", "chromium-browser")
    monkeypatch.setenv(REQUIRE_PROGRAMS, "1")
    with pytest.raises(pytest.fail.Exception, match="needs the program chromium"):
        require_program("chromium", "chromium-browser")


def test_ci_asks_for_all_system_programs():
    script = (ROOT / ".ci" / "run").read_text()
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
    assert f"export CI=true {REQUIRE_PROGRAMS}=1\n" in script


# -- the wheel ---------------------------------------------------------------------------------


def _files(folder: Path) -> set[str]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {str(p.relative_to(folder)) for p in paths if "__pycache__" not in p.parts}


def _in_wheel() -> set[str]:
    """Files that the wheel's package is to hold: the library, and the application inside it."""
    found = _files(ROOT / "fluoro") | {"application/app.py"}
    for folder in ("configs", "operators"):
        found |= {f"application/{folder}/{name}" for name in _files(ROOT / folder)}
    return found | {f"shaders/{name}" for name in _files(ROOT / "shaders")}


def test_wheel_carries_the_package_its_data_its_shaders_and_the_application(unpacked_wheel):
    packed = _files(unpacked_wheel / "fluoro")
    assert packed == _in_wheel()
    assert {"py.typed", "physics/data/mu_water.csv", "shaders/rays.slang"} <= packed


def test_wheel_adds_one_name_to_site_packages(unpacked_wheel):
    names = {path.name for path in unpacked_wheel.iterdir()}
    assert names == {"fluoro", f"fluoro-{fluoro.__version__}.dist-info"}


def test_description_of_the_package_has_no_relative_links():
    text = (ROOT / "docs" / "package.md").read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert links
    assert all(link.startswith("https://") for link in links)


def _installed_command(unpacked_wheel: Path, folder: Path, *words: str) -> str:
    """What the command `fluoro` of an installed wheel prints, away from the checkout."""
    environment = os.environ | {"PYTHONPATH": str(unpacked_wheel), "PYTHONSAFEPATH": "1"}
    command = [sys.executable, "-m", "fluoro", *words]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_installed_command_runs_a_shipped_configuration_without_a_checkout(
    unpacked_wheel, tmp_path
):
    small = ("volume.spacing_mm=8", "carm.detector_width_px=32", "carm.detector_height_px=32")
    out = _installed_command(
        *(unpacked_wheel, tmp_path, "run", "sweep", "--frames", "3", "--set", *small),
        *("renderer.device=cpu", "console.enabled=false", "recorder.scene_movie=false"),
    )
    assert "files in output/sweep-" in out
    assert len(list(tmp_path.glob("output/sweep-*/run.json"))) == 1


def test_installed_command_calls_itself_by_its_name(unpacked_wheel, tmp_path):
    assert _installed_command(unpacked_wheel, tmp_path, "--help").startswith("usage: fluoro ")


def test_installed_command_says_its_version(unpacked_wheel, tmp_path):
    assert _installed_command(unpacked_wheel, tmp_path, "--version") == (
        f"fluoro {fluoro.__version__}\n"
    )


def test_installed_package_finds_its_own_shaders_from_another_folder(unpacked_wheel, tmp_path):
    command = "from fluoro.paths import shader_dir; print(shader_dir())"
    environment = os.environ | {"PYTHONPATH": str(unpacked_wheel), "PYTHONSAFEPATH": "1"}
    found = subprocess.check_output(
        [sys.executable, "-c", command], cwd=tmp_path, env=environment, text=True
    )
    assert Path(found.strip()) == unpacked_wheel / "fluoro" / "shaders"


def test_wheel_is_named_after_the_version_of_the_package(unpacked_wheel):
    assert (unpacked_wheel / f"fluoro-{fluoro.__version__}.dist-info" / "METADATA").is_file()


# -- HoloHub -----------------------------------------------------------------------------------

Version = Annotated[str, Field(pattern=r"^(0|[1-9]\d*)\.(0|[1-9]\d*)(\.(0|[1-9]\d*))*$")]
ModeName = Annotated[str, Field(pattern=r"^[a-zA-Z_]\w*$")]
CATEGORIES = {"Healthcare AI", "Medical Imaging", "Rendering", "Robotics", "Visualization"}
"""Those of HoloHub's approved categories that could suit this application."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Author(_Strict):
    name: str
    affiliation: str


class _Sdk(_Strict):
    minimum_required_version: Version
    tested_versions: Annotated[list[Version], Field(min_length=1)]


class _Run(_Strict):
    command: str
    workdir: Literal["holohub_app_source", "holohub_app_bin", "holohub_bin"]


class _Build(_Strict):
    docker_build_args: str


class _Mode(_Strict):
    description: str
    build: _Build | None = None
    run: _Run


class _Application(_Strict):
    """What HoloHub's schema (urn:holohub:application:v1) asks of an application."""

    name: str
    description: str
    authors: Annotated[list[_Author], Field(min_length=1)]
    language: Literal["Python", "C++"]
    version: Version
    changelog: dict[str, str]
    dockerfile: str
    holoscan_sdk: _Sdk
    platforms: Annotated[list[Literal["x86_64", "aarch64"]], Field(min_length=1)]
    tags: Annotated[list[str], Field(min_length=1)]
    ranking: Annotated[int, Field(ge=0, le=5)]
    requirements: dict[str, object]
    run: _Run | None = None
    modes: dict[ModeName, _Mode] | None = None
    default_mode: ModeName | None = None

    @model_validator(mode="after")
    def _run_xor_modes(self) -> "_Application":
        if (self.run is None) == (self.modes is None):
            raise ValueError("exactly one of run and modes")
        if self.default_mode is not None and self.default_mode not in (self.modes or {}):
            raise ValueError("default_mode must be one of modes")
        if self.default_mode is None and len(self.modes or {}) > 1:
            raise ValueError("several modes need a default_mode")
        return self


def _metadata() -> dict:
    return json.loads((ROOT / "metadata.json").read_text())["application"]


def test_metadata_is_what_holohub_accepts():
    application = _Application.model_validate(_metadata())
    assert application.tags[0] in CATEGORIES
    assert (ROOT / application.dockerfile.replace("<holohub_app_source>/", "")).is_file()


@pytest.mark.parametrize(
    "change",
    [
        {"run": {"command": "python3 app.py", "workdir": "holohub_app_source"}},
        {"modes": None, "default_mode": None},
        {"default_mode": None},
        {"default_mode": "another"},
        {"platforms": ["riscv"]},
        {"version": "one"},
    ],
)
def test_metadata_that_holohub_would_refuse_is_refused(change):
    with pytest.raises(ValidationError):
        _Application.model_validate(_metadata() | change)


def test_metadata_agrees_with_the_package():
    metadata, pins = _metadata(), _pins("requirements.txt")
    assert metadata["version"] == fluoro.__version__
    assert fluoro.__version__ in metadata["changelog"]
    assert f"\n## {fluoro.__version__}" in (ROOT / "CHANGELOG.md").read_text()
    assert metadata["holoscan_sdk"]["tested_versions"][-1] == pins["holoscan-cu12"]
    assert (ROOT / "README.md").read_text().splitlines()[0] == f"# {metadata['name']}"


MODES = _metadata()["modes"]
TO_BE_GIVEN = {"preprocess_dicom": ["series"]}
"""What a user adds to a mode's command (`--run-args`)."""


def test_metadata_has_the_modes_that_users_of_fluorosim_look_for():
    wanted = {"preprocess_synthetic", "preprocess_dicom", "download_data", "demo", "sweep", "live"}
    assert wanted <= set(MODES)


@pytest.mark.parametrize("mode", list(MODES))
def test_mode_of_the_metadata_is_a_command_that_exists(mode):
    words = [*shlex.split(MODES[mode]["run"]["command"]), *TO_BE_GIVEN.get(mode, [])]
    assert MODES[mode]["run"]["workdir"] == "holohub_app_source"
    assert words[0] == "python3"
    if words[1] == "-m":
        assert (ROOT / (words[2].replace(".", "/") + ".py")).is_file()
        return
    assert words[1] == "app.py"
    arguments = app.parser().parse_args(words[2:])  # exits at what it does not know
    for path in [arguments.config] if words[2] == "run" else []:
        load_config(ROOT / path)


def _run_mode(mode: str, out: Path, *more: str) -> str:
    """What a mode's command prints, with what a user adds."""
    words = [*shlex.split(MODES[mode]["run"]["command"])[1:], *more]
    environment = os.environ | {"FLUORO_OUTPUT_DIR": str(out)}
    done = subprocess.run(
        [sys.executable, *words],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_demo_shows_what_a_preprocess_mode_made_last(tmp_path):
    _run_mode("preprocess_synthetic", tmp_path, "--set", "volume.spacing_mm=8")
    phantom = np.load(tmp_path / "preprocessed-thorax" / "mu_volume.npy")
    assert 0.007 < phantom.max() < 0.01  # its bone on fluorosim's line; physical: 0.03
    series = dicom_files.series(tmp_path / "series", np.full((8, 9, 10), 40.0))
    _run_mode("preprocess_dicom", tmp_path, str(series))
    made = np.load(tmp_path / "preprocessed-series" / "mu_volume.npy")
    np.testing.assert_allclose(made, 0.0052, rtol=1e-5)  # 40 HU
    assert "shape=(8, 9, 10)" in _run_mode("demo", tmp_path)
    assert len(list((tmp_path / "examples" / "demo").glob("frame_*.png"))) == 12


# -- Docker and documents ----------------------------------------------------------------------

HOLOHUB_WRAPPER = "holohu[b]"
"""The only source that is HoloHub's: a pattern, which matches nothing elsewhere."""


def _copied() -> list[str]:
    """What the Dockerfile copies of this project, as it names it."""
    copies = re.findall(r"^COPY (.*) \S+$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    sources = [source.rstrip("/") for copy in copies for source in copy.split()]
    return [source for source in sources if source != HOLOHUB_WRAPPER]


def test_dockerfile_copies_files_that_exist_and_reach_the_build():
    ignore = (ROOT / ".dockerignore").read_text().splitlines()
    allowed = [line[1:].rstrip("/") for line in ignore if line.startswith("!")]
    sources = [source.removeprefix("${APP_SOURCE}/") for source in _copied()]
    assert len(sources) > 5
    for source in sources:
        assert (ROOT / source).exists(), source
        assert source.split("/")[0] in allowed, source


def test_what_the_dockerfile_copies_is_enough_to_run(tmp_path):
    for source in _copied():
        part = source.removeprefix("${APP_SOURCE}/")
        (tmp_path / part).parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
        copy(ROOT / part, tmp_path / part)
    (line,) = re.findall(r"^CMD (.*)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    program, *words = json.loads(line)
    assert program == "python3"
    small = ["volume.spacing_mm=8", "carm.detector_width_px=64", "carm.detector_height_px=64"]
    here = ["console.port=0", "run.frames=2"]
    done = subprocess.run(
        [sys.executable, *words, "--set", *small, *here],
        cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, "FLUORO_CONSOLE_TOKEN": ""},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "WARNING THE CONSOLE IS NOT LIMITED TO THIS MACHINE" in done.stderr
    address = r"^console at    http://[^/]+:\d+/\?token=[\w-]{20,}$"
    assert re.search(address, done.stderr, re.MULTILINE)


def test_holohub_which_builds_from_its_own_root_is_informed_where_the_application_lies():
    text = (ROOT / "Dockerfile").read_text()
    from_holohub = {mode["build"]["docker_build_args"] for mode in MODES.values()}
    assert from_holohub == {f"--build-arg APP_SOURCE=applications/{_metadata()['name']}"}
    assert text.index("ARG BASE_IMAGE=") < text.index("\nFROM ") < text.index("ARG APP_SOURCE=.\n")
    assert all(source.startswith("${APP_SOURCE}/") for source in _copied())


def test_lint_reads_the_dockerfile(tmp_path):
    hadolint = Path(sys.executable).with_name("hadolint")
    assert subprocess.run([hadolint, ROOT / "Dockerfile"], check=False).returncode == 0
    (tmp_path / "Dockerfile").write_text("FROM debian\nRUN apt-get install g++\n")
    assert subprocess.run([hadolint, tmp_path / "Dockerfile"], check=False).returncode == 1
    assert "/hadolint Dockerfile\n" in (ROOT / "Makefile").read_text()


def test_figure_of_the_conventions_is_the_one_that_the_geometry_draws():
    assert FIGURE.read_text() == draw(), "run `python -m tools.docs.draw_conventions`"

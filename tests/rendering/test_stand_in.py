"""The CUDA source of the kernels on a stand-in for an NVIDIA driver (tests/stand_in); no GPU."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.stand_in.build import environment
from tests.stand_in.plugin import EXCEPTIONS
from tests.stand_in.run import ROOT, make_cache, on_stand_in, require_stand_in

pytestmark = pytest.mark.timeout(600)
PARITY = "tests/rendering/test_devices.py::test_line_integrals_agree_between_devices"


@pytest.fixture(autouse=True)
def built():
    """Every test here needs it."""
    require_stand_in()


def gpu_tests(cache: Path, *selected: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run tests marked `gpu` on the stand-in."""
    options = ["-q", "-p", "no:cacheprovider", "-p", "tests.stand_in.plugin", "-m", "gpu"]
    command = [sys.executable, "-m", "pytest", *options, *selected]
    variables = {"FLUORO_CACHE_DIR": str(cache), "PYTHONPATH": f"{cwd}"}
    given = environment()
    variables["PYTHONPATH"] += ":" + given["PYTHONPATH"]
    return subprocess.run(
        command, cwd=cwd, env=given | variables, capture_output=True, text=True, check=False
    )


def test_marked_tests_pass_on_it_by_number(tmp_path):
    """A share of what tools/check/stand_in.sh runs."""
    done = gpu_tests(make_cache(tmp_path / "cache"), PARITY, "-k", "joseph or march")
    assert done.returncode == 0, done.stdout
    assert "2 selected = 2 passed + 0 exceptions by name" in done.stdout


@pytest.mark.slow
def test_an_error_in_a_cuda_branch_turns_a_marked_test_red(tmp_path):
    """The same tests on a copy whose shaders are wrong on CUDA alone."""
    for name in ("fluoro", "shaders", "tests", "operators"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, tmp_path / name, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    plant(tmp_path / "shaders" / "tasks" / "project.slang")
    done = gpu_tests(make_cache(tmp_path / "cache"), PARITY, "-k", "joseph", cwd=tmp_path)
    assert done.returncode == 1, done.stdout
    assert "1 failed" in done.stdout


PLANTED = """
/// Wrong on CUDA alone.
float planted(float value)
{
    __target_switch
    {
    case cuda: return value * 1.001;
    default: return value;
    }
}
"""


def plant(path: Path) -> None:
    """Have line integrals be a thousandth larger on CUDA."""
    text, begin, value = path.read_text(), "struct Project<", "packet.integral(lane);"
    assert text.count(begin) == text.count(value) == 1
    planted = f"planted({value[:-1]});"
    path.write_text(text.replace(begin, PLANTED + begin).replace(value, planted))


def test_every_exception_is_a_marked_test_with_a_reason():
    sources = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    for name, reason in EXCEPTIONS.items():
        assert f"def {name.partition('[')[0]}(" in sources
        assert reason


BLOCKS = """
    import collections, ctypes, sys
    from fluoro.rendering.devices import uniforms
    from fluoro.rendering.devices.selection import open_device
    from fluoro.rendering.renderer import DrrRenderer
    from tests import volumes
    driver = ctypes.CDLL("libcuda.so.1")
    packed, wrong, launches = collections.deque(), [], []
    pack = uniforms.UniformBlock.pack
    def packing(self, values):
        block = pack(self, values)
        packed.append(block)
        return block
    uniforms.UniformBlock.pack = packing
    @ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_size_t)
    def launched(name, block, size):
        launches.append(name)
        wanted = packed.popleft()
        if ctypes.string_at(block, size)[:len(wanted)] != wanted:
            wrong.append(name)
    driver.stand_in_hook(launched)
    device = open_device("cuda")
    for projector in ("march", "joseph"):
        DrrRenderer(volumes.noise(), device, projector=projector).render(
            [volumes.view(pose) for pose in volumes.POSES.values()]
        )
    print(len(launches), wrong, len(packed))
"""


def test_every_launch_has_the_block_of_uniforms_that_was_packed(tmp_path):
    assert on_stand_in(BLOCKS, make_cache(tmp_path / "cache")) == "2 [] 0\n"

"""The check that every kernel compiles for an NVIDIA GPU, on a machine without one."""

import subprocess
import sys
from pathlib import Path

import pytest

from fluoro.paths import shader_dir
from fluoro.rendering.ray_kernels import all_kernels
from tools.check import check_cuda

ROOT = Path(__file__).parents[2]
SHADERS = sorted(shader_dir().rglob("*.slang"))


def test_all_entry_points_are_compiled():
    found = {kernel.name: kernel for kernel in check_cuda.kernels()}
    entries = sum(path.read_text().count('[shader("compute")]') for path in SHADERS)
    entries += sum(path.read_text().count("\nRUNS_ALONE(") for path in SHADERS) - 1  # its own
    parts = {path.stem for path in SHADERS if "#ifdef SLOPES" in path.read_text()}
    sloped = [name for name in found if ", sloped: " in name]
    assert {name.partition(",")[0] for name in sloped} == parts - {"taken"} != set()
    rays = list(all_kernels(check_cuda.RAMPS, check_cuda.LABELS))
    together = len(check_cuda.FUSED) + 1  # the last one with slopes
    assert len(found) == entries + len(sloped) + len(rays) + together
    assert found["poisson: poisson"].exact
    assert not found["Project<March<PlainSums>>"].exact


@pytest.mark.slow
def test_all_kernels_compile():
    if check_cuda.find_ptxas() is None:
        pytest.skip("needs requirements/cuda_check.txt")
    command = [sys.executable, str(ROOT / "tools" / "check" / "check_cuda.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert done.stdout.endswith("all kernels compile\n")

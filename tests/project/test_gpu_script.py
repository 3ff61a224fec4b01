"""`make gpu`: one script that ends in time and loses no step's result, rehearsed without a GPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from benchmarks import gpu
from benchmarks.harness.scene import synthetic_volume
from fluoro.rendering.devices.cpu.device import CpuDevice
from tests.stand_in.build import environment
from tests.stand_in.run import make_cache, require_stand_in

ROOT = Path(__file__).parents[2]
REHEARSAL = ("--device", "cpu", "--edge", "32", "--sizes", "64", "--seconds", "0.01")

pytestmark = pytest.mark.timeout(600)


def test_the_steps_shares_of_the_time_are_eight_minutes():
    assert sum(gpu.SHARES.values()) == 1
    assert gpu.MINUTES == 8
    assert list(gpu.SHARES) == list(gpu.STEPS)


@pytest.mark.slow
def test_a_step_measures_the_whole_chain():
    found = gpu.run_step("chain", REHEARSAL, 300.0)
    assert list(found) == [f"{name}, 64 px" for name in gpu.CHAINS]
    assert all(value > 0 for value in found.values())


def test_projectors_have_a_row_for_nanodrr_that_says_why_it_is_missing():
    found = gpu.run_step("projectors", REHEARSAL, 300.0)
    assert found.pop(gpu.PEER_ROW) == "not available: it runs on cuda, not on cpu"
    tasks = {name.split(", ")[1] for name in found}
    assert tasks == {"forward", "forward+gradient", "jacobian"}
    assert all(value > 0 for value in found.values())


class Cuda(CpuDevice):
    """A CPU that passes for a GPU."""

    kind = "cuda"


def test_nanodrr_that_does_not_start_is_a_row_with_the_reason(monkeypatch):
    monkeypatch.setattr(gpu, "_peers_python", lambda: Path(sys.executable))
    with ExitStack() as stack:
        peers, missing = gpu._nanodrr(synthetic_volume(8), Cuda(), stack)
    assert peers == []
    assert missing.startswith("nanodrr failed: ModuleNotFoundError: No module named ")
    monkeypatch.setattr(gpu, "_peers_python", lambda: None)
    assert "make peers" in gpu._nanodrr(synthetic_volume(8), Cuda(), stack)[1]


def test_a_step_that_fails_or_hangs_says_so_and_costs_no_other(monkeypatch, tmp_path):
    output, limits = tmp_path / "gpu.json", {}
    answers = {"tests": ("", False), "doctor": ("Traceback\nDeviceError: no GPU\n", True)}

    def run(command, limit_s, **_variables):
        name = command[command.index(gpu.STEP) + 1]
        limits[name] = limit_s
        return answers.get(name, ('{"a": 1}\n', True))

    monkeypatch.setattr(gpu, "_run", run)
    monkeypatch.setattr(gpu, "describe_machine", dict)
    monkeypatch.setattr(gpu, "_device_name", lambda _: "GPU")
    assert gpu.main(["--output", str(output)]) == 1
    found = json.loads(output.read_text())
    assert found["tests"] == {"left out": "not done within 180 s"}
    assert found["doctor"] == {"failed": "DeviceError: no GPU"}
    assert found["projectors"] == found["chain"] == found["graph"] == {"a": 1}
    assert all(limit > 0.9 * 480 * gpu.SHARES[name] for name, limit in limits.items())
    assert limits["doctor"] <= 480


def test_what_a_step_started_ends_with_it(tmp_path):
    child = f"sleep 300 & echo $! > {tmp_path}/pid; wait"
    begun_s = time.monotonic()
    assert gpu._run(["sh", "-c", child], 2.0) == ("", False)
    assert time.monotonic() - begun_s < 100
    status = Path(f"/proc/{(tmp_path / 'pid').read_text().strip()}/stat")
    until_s = time.monotonic() + 30  # a process that is killed takes a moment to end
    while not has_ended(status) and time.monotonic() < until_s:
        time.sleep(0.05)
    assert has_ended(status)


def has_ended(status):
    """Whether a process is gone, or only waits to be noticed."""
    try:
        return status.read_text().split()[2] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


@pytest.mark.parametrize(
    "argv", [("--device", "cpu"), ("--tests", "joseph"), ("--edge", "64")], ids=" ".join
)
def test_only_whole_runs_on_a_gpu_write_the_results(argv):
    with pytest.raises(SystemExit, match="is for whole runs on an NVIDIA GPU"):
        gpu.main([*argv, "--output", str(gpu.RESULT)])


def test_without_a_gpu_it_ends_at_once_with_one_line(monkeypatch):
    monkeypatch.delenv("LD_LIBRARY_PATH", raising=False)
    done = subprocess.run(
        [sys.executable, "benchmarks/gpu.py", "--device", "cuda:9"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("renderer.device: cuda:9 is not available: ")


@pytest.mark.slow
def test_all_of_it_runs_on_the_stand_in(tmp_path):
    require_stand_in()
    output = tmp_path / "gpu.json"
    options = ["--edge", "32", "--sizes", "32", "64", "--seconds", "0.01"]
    options += ["--tests", "test_line_integrals_agree", "--minutes", "40"]
    options += ["--output", str(output)]
    variables = {"FLUORO_CACHE_DIR": str(make_cache(tmp_path / "cache"))}
    done = subprocess.run(
        [sys.executable, "benchmarks/gpu.py", *options],
        cwd=ROOT,
        env=environment() | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(output.read_text())
    assert found["device"] == "Stand-in GPU 0"
    assert found["seconds"] < 40 * 60
    assert found["tests"]["passed"] >= 4
    assert found["tests"]["failed"] == []
    assert found["doctor"]["advice"].startswith("use renderer.device: cuda: ")
    assert found["projectors"][gpu.PEER_ROW].startswith("not available: ")
    assert {"32 px", "64 px"} == set(found["graph"])
    assert "written to" in done.stdout
    assert os.fspath(output) in done.stdout


def test_make_gpu_runs_the_script():
    assert "\t$(PY) benchmarks/gpu.py $(ARGS)\n" in (ROOT / "Makefile").read_text()

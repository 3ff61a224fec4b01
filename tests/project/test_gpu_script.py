"""`make gpu`: one script that ends in time and loses no step's result, rehearsed without a GPU."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from benchmarks import gpu

ROOT = Path(__file__).parents[2]
REHEARSAL = ("--device", "cpu", "--quick")

pytestmark = pytest.mark.timeout(600)


def test_the_steps_shares_of_the_time_are_eight_minutes():
    assert sum(gpu.SHARES_S.values()) == gpu.LIMIT_S == 480
    assert list(gpu.SHARES_S) == list(gpu.STEPS)


def test_a_step_measures_the_whole_chain():
    found = gpu.run_step("chain", REHEARSAL, 300.0)
    assert list(found) == ["noise and window, 128 px", "flat panel, 128 px"]
    assert all(value > 0 for value in found.values())


def test_a_step_that_fails_or_hangs_says_so_and_costs_no_other(monkeypatch, tmp_path):
    output = tmp_path / "gpu.json"
    answers = {
        "doctor": subprocess.TimeoutExpired("doctor", 1.0),
        "tests": subprocess.CompletedProcess([], 1, "", "Traceback\nDeviceError: no GPU\n"),
    }

    def run(command, **_options):
        answer = answers.get(command[-1], subprocess.CompletedProcess([], 0, '{"a": 1}\n', ""))
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(gpu.subprocess, "run", run)
    monkeypatch.setattr(gpu, "describe_machine", dict)
    assert gpu.main(["--output", str(output)]) == 1
    found = json.loads(output.read_text())
    assert found["doctor"] == {"left out": "not done within 120 s"}
    assert found["tests"] == {"failed": "DeviceError: no GPU"}
    assert found["projectors"] == found["chain"] == found["graph"] == {"a": 1}


def test_make_gpu_runs_the_script():
    assert "\t$(PY) benchmarks/gpu.py $(ARGS)\n" in (ROOT / "Makefile").read_text()

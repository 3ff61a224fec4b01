"""`app.py doctor`: what it says of sound devices, and of devices that lie, crash and hang."""

from __future__ import annotations

import json
import sys
import time
from contextlib import suppress

import numpy as np
import pytest

from fluoro.diagnostics.device_parity import findings
from fluoro.rendering.devices.cpu.device import CpuDevice
from operators import doctor
from operators.doctor import Row, advice, report_lines
from tests.session_support import Program
from tests.stand_in.run import make_cache, on_stand_in, require_stand_in, run_on_stand_in

pytestmark = pytest.mark.timeout(600)


class LyingDevice(CpuDevice):
    """A CPU whose results are not what its kernels computed."""

    def __init__(self, lie):
        super().__init__(1)
        self._lie = lie

    def to_host(self, array, *, settled=False):
        return self._lie(np.array(super().to_host(array, settled=settled)))


LIES = {
    "all zero": np.zeros_like,
    "a little too large": lambda array: array * 1.001,
    "upside down": lambda array: array[..., ::-1, :],
    "not a number": lambda array: array * np.nan,
}


@pytest.mark.parametrize("lie", LIES)
def test_a_cpu_that_lies_is_found_out(lie):
    assert not next(findings(LyingDevice(LIES[lie]))).good


def test_a_sound_cpu_has_only_good_findings():
    found = list(findings(CpuDevice()))
    assert [finding.name for finding in found if not finding.good] == []
    assert len(found) == 6


def rows(**states):
    return [
        Row(name="integrals", state=state, text="found", device=device)
        for device, state in states.items()
    ]


def test_the_first_device_without_a_failure_is_advised():
    assert advice(rows(cuda="ok", cpu="ok")).text.startswith("use renderer.device: cuda: ")
    found = advice(rows(cuda="FAILED", vulkan="ok", cpu="ok"))
    assert found.device == "vulkan"
    assert "cuda fails (integrals: found): update its driver" in found.text


def test_without_a_gpu_the_cpu_is_advised_and_llvmpipe_never():
    assert advice(rows(cpu="ok")).text.endswith("and there is no GPU")
    assert advice(rows(llvmpipe="ok", cpu="ok")).device == "cpu"


def test_where_no_device_is_sound_none_is_advised():
    found = advice(rows(llvmpipe="ok", cpu="FAILED"))
    assert found.device is None
    assert found.text.startswith("no device renders as it should; cpu fails")


def test_the_table_has_a_line_for_each_row_with_its_fix():
    table = report_lines([*rows(cpu="ok"), Row(name="x", state="FAILED", text="gone", fix="mend")])
    assert table == ["cpu: integrals  ok      found", "x               FAILED  gone; mend"]


@pytest.mark.slow
def test_doctor_ends_with_its_advice_and_writes_its_table(tmp_path):
    report = tmp_path / "doctor.json"
    program = Program("doctor", "--report", report)
    code, out, err = program.end(timeout_s=280)
    assert code == 0, out + err
    lines = out.splitlines()
    assert lines[-1].startswith("use renderer.device: ")
    document = json.loads(report.read_text())
    names = {row["name"] for row in document["rows"]}
    assert {"libraries", "compiler", "holoscan", "driver", "dds", "graph", "memory"} <= names
    assert len(lines) == len(document["rows"]) + 1
    assert f"use renderer.device: {document['advice']['device']}: " in lines[-1]


PATIENT_DOCTOR = """
import sys
import app
from operators import doctor
doctor.SILENT_S = 400.0
sys.exit(app.main())
"""
LYING_COMPILER = """#!/bin/sh
exec g++ "$@" -include {folder}/lie.h
"""
LIE = """
#include <cmath>
static inline float slightly_less(float v) { return floorf(v) - 0.01f; }
#define floorf slightly_less
"""


@pytest.mark.slow
def test_doctor_advises_no_device_where_the_cpu_lies(tmp_path):
    """Its compiler has floorf be a little too small."""
    (tmp_path / "lie.h").write_text(LIE)
    compiler = tmp_path / "g++-that-lies"
    compiler.write_text(LYING_COMPILER.format(folder=tmp_path))
    compiler.chmod(0o755)
    variables = {"CXX": str(compiler), "FLUORO_CACHE_DIR": str(tmp_path / "cache")}
    code, out, err = Program("doctor", code=PATIENT_DOCTOR, **variables).end(timeout_s=480)
    assert code == 1, out + err
    assert "no device renders as it should" in out.splitlines()[-1]
    assert "cpu fails (integrals, joseph: 99.9 % within" in out.splitlines()[-1]
    assert "name another C++ compiler in CXX" in out.splitlines()[-1]


def test_the_graph_is_tried_on_the_next_device_where_it_fails(monkeypatch):
    def check(name, device=""):
        return Row(name=name, state="FAILED" if device == "cuda" else "ok", text="", device=device)

    monkeypatch.setattr(doctor, "_check", check)
    found, given = [], rows(cuda="ok", cpu="ok")
    for row in doctor._graphs(given):
        given.append(row)
        found.append((row.device, row.state))
    assert found == [("cuda", "FAILED"), ("cpu", "ok")]
    assert advice(given).device == "cpu"


PARITY = """
    import json, sys
    from dataclasses import asdict
    from fluoro.rendering.devices.selection import DeviceChoice
    from operators import doctor
    doctor.SILENT_S = float(sys.argv[1])
    rows = doctor._parity(DeviceChoice(kind="cuda", reason="test"))
    rows += [doctor.Row(name="integrals", state="ok", text="", device="cpu")]
    print(json.dumps([asdict(row) for row in rows]))
    print(doctor.advice(rows).text)
"""
DEVICE_FAULTS = {
    "wrong": "cuda fails (integrals, march: ",
    "idle": "cuda fails (integrals, march: ",
    "crash": "cuda fails (process: it crashes (SIGABRT))",
    "hang": "cuda fails (process: it hangs: it says nothing for 25 s)",
}


@pytest.mark.parametrize(
    "fault",
    DEVICE_FAULTS,
)
@pytest.mark.slow
def test_a_gpu_that_lies_crashes_or_hangs_is_not_advised(tmp_path, fault):
    require_stand_in()
    limit_s = "25" if fault == "hang" else "250"
    last = on_stand_in(PARITY, make_cache(tmp_path / "cache"), limit_s, fault=fault).splitlines()[
        -1
    ]
    assert last.startswith("use renderer.device: cpu: ")
    assert DEVICE_FAULTS[fault] in last


BAD = {
    "too old": ({"version": "11040"}, "the driver supports up to 11.4: update the driver"),
    "little memory": ({"memory": str(1 << 27)}, "has too little memory: 0.2 GiB more are wanted"),
    "no GPU": ({"gpus": "0"}, "the NVIDIA driver finds no GPU: see what nvidia-smi says"),
    "hidden": ({}, "CUDA_VISIBLE_DEVICES='' hides every NVIDIA GPU: unset it, or set it to the"),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", BAD)
def test_a_gpu_that_does_not_open_is_one_line_with_its_fix(tmp_path, monkeypatch, kind):
    require_stand_in()
    settings, said = BAD[kind]
    if kind == "hidden":
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    found = on_stand_in(PARITY, make_cache(tmp_path / "cache"), "250", **settings).splitlines()
    assert found[-1].startswith("use renderer.device: cpu: ")
    assert "cuda fails (opens: " in found[-1]
    assert said in found[-1]
    assert "update its driver, or render" not in found[-1]


@pytest.mark.slow
def test_doctor_advises_a_gpu_that_computes(tmp_path):
    """On the stand-in, which Holoviz cannot draw on."""
    require_stand_in()
    command = [sys.executable, "-c", PATIENT_DOCTOR, "doctor"]
    done = run_on_stand_in(command, make_cache(tmp_path / "cache"), {})
    assert done.stdout.splitlines()[-1].startswith("use renderer.device: cuda: "), done.stdout
    assert "cuda: queue against direct" in done.stdout


def interrupted_checks():
    """Futures of the checks of a pool: as many as run at once, and one that waits."""
    endless = ["timeit", "-n1", "-r1", "import time; time.sleep(600)"]
    found = []
    with suppress(KeyboardInterrupt), doctor._ended_pool() as pool:
        found = [pool.submit(doctor._child, endless, "") for _ in range(doctor.AT_ONCE + 1)]
        while len(doctor.RUNNING) < doctor.AT_ONCE:
            time.sleep(0.01)
        raise KeyboardInterrupt
    return found


def test_ctrl_c_ends_the_checks_that_run_and_drops_those_that_wait():
    *running, waiting = interrupted_checks()
    assert [each.result()[1] for each in running] == ["it crashes (SIGKILL)"] * doctor.AT_ONCE
    assert waiting.cancelled()
    assert not doctor.RUNNING

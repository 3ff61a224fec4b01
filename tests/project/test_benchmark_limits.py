"""The table of limits: operations of machine code, moved bytes, and that no kernel is missing."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest

from benchmarks import limits
from benchmarks.harness.kernel_jobs import GROUPS, Key, kernel_name
from benchmarks.harness.machine_code import Operations, lanes_of, operations_of
from benchmarks.harness.touched_memory import touched_bytes
from fluoro.imaging.fused import fused_kernel
from fluoro.rendering.devices.base import Launch
from fluoro.rendering.projectors import PROJECTORS
from tools.check.check_cuda import FUSED, Kernel, kernels

RESULTS = Path(limits.__file__).parent / "results" / "limits_cpu.json"
ONLY_ON_A_GPU = {*FUSED, "transmit: transmit"}
"""From the ray to the image in one kernel."""


@pytest.mark.parametrize(
    ("instruction", "operations"),
    [
        ("vaddps %ymm0,%ymm1,%ymm2", 8),
        ("vaddps (%rax,%rcx,4),%xmm1,%xmm2", 4),
        ("vfmadd231ps (%rax),%ymm0,%ymm1", 16),
        ("vfnmadd132ss %xmm0,%xmm1,%xmm2", 2),
        ("vmulss %xmm0,%xmm1,%xmm2", 1),
        ("vdivpd %ymm0,%ymm1,%ymm2", 4),
        ("vpmaxsd %ymm0,%ymm1,%ymm2", 8),
        ("vpmuludq %ymm0,%ymm1,%ymm2", 4),
        ("vpxor %ymm0,%ymm1,%ymm2", 8),
        ("vcvttps2dq %ymm0,%ymm1", 8),
        ("vcvtpd2ps %ymm0,%xmm1", 4),
        ("vcvttss2si %xmm0,%eax", 1),
        ("vblendvps %ymm0,%ymm1,%ymm2,%ymm3", 8),
        ("vpblendvb %ymm0,%ymm1,%ymm2,%ymm3", 8),
        ("vblendps $0x1,%ymm0,%ymm1,%ymm2", 0),
        ("vmovups %ymm0,(%rdi)", 0),
        ("vgatherdps %ymm0,(%rax,%ymm1,4),%ymm2", 0),
        ("vpermilps $0x1,%ymm0,%ymm1", 0),
        ("add $0x10,%rax", 0),
    ],
)
def test_operations_of_an_instruction_are_its_lanes(instruction, operations):
    assert lanes_of(instruction) == operations


def test_instructions_of_kernels_alone_are_counted_and_calls_not_twice(tmp_path, monkeypatch):
    dump = (
        "desc: Trigger: Client Request: name\nob=/cache/kernels/k.so\nfn=f\n0x10 3\n0x14 2\n"
        "cob=/lib/other.so\ncfn=g\ncalls=1 0x0\n0x10 500\n"
        "ob=/lib/other.so\nfn=g\n0x10 500\n"
    )
    (tmp_path / "dump.1").write_text(dump)
    (tmp_path / "dump").write_text("desc: Trigger: Program termination\n")
    listing = ["  10:\tvaddps %ymm0,%ymm1,%ymm2", "  14:\tadd $1,%rax"]
    done = type("Done", (), {"stdout": "\n".join(listing)})
    monkeypatch.setattr("subprocess.run", lambda *_given, **_named: done)
    assert operations_of(tmp_path / "dump") == {"name": Operations(24, 3)}


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="needs Linux's /proc")
def test_touched_bytes_count_once_and_changed_ones_again():
    read, written = np.zeros(100, np.float32), np.zeros(50, np.float32)
    large = np.ones(12 << 20, np.float32)

    def dispatch() -> None:
        written[:20] = 1
        large[: 2 << 20].sum()

    uniforms = {"a": read, "b": written, "again": read, "large": large, "count": 3}
    launch = Launch("window", "window", (1, 1, 1), uniforms, exact=True)
    found = touched_bytes(launch, dispatch)
    assert 400 + 200 + 80 <= found - (8 << 20) < 4 << 20, "a huge page, and the interpreter's own"


def test_of_a_kernel_the_largest_launch_counts_in_the_first_group_that_has_it():
    keys = (
        Key("stages", "blur", (1, 1, 1)),
        Key("stages", "blur", (2, 1, 1)),
        Key("wires", "blur", (3, 1, 1)),
    )
    launched = {key: limits.Launched(ms=1.0, exact=True) for key in keys}
    counted = (Operations(10, 1), Operations(80, 10), Operations(99, 9))
    work = {key: limits.Work(10**6, each) for key, each in zip(keys, counted, strict=True)}
    can = limits.Limits(bytes_per_s=4e9, operations_per_s=1e6, contracted_per_s=2e6)
    (row,) = limits.rows_of(launched, work, can)
    assert row["threads"] == (2, 1, 1)
    assert (row["of_memory"], row["of_vectors"], row["lanes"]) == (0.25, 0.08, 8)
    assert row["gain_ms"] == pytest.approx(0.75)
    assert "| stages | `blur` | 1 | 1 | 8e-05 | 8.0 | 25% | 8% | 0.75 |" in limits.table([row])


def test_name_of_a_kernel_has_its_stages():
    stages = ("gain_bias", "window")
    for slopes, begins in ((False, "fused"), (True, "slopes")):
        launch = Launch(fused_kernel(stages, slopes=slopes), "e", (1, 1, 1), {}, exact=True)
        assert kernel_name(launch) == f"{begins}: gain_bias, window"


def test_no_kernel_is_missing_in_the_results():
    rows = json.loads(RESULTS.read_text())["rows"]
    assert {row["group"] for row in rows} == {*PROJECTORS, *GROUPS}
    found = {part for row in rows for part in _kinds(row["kernel"])}
    missing = {
        each.name
        for each in kernels()
        if each.name not in ONLY_ON_A_GPU
        and "Texture" not in each.name
        and not {*_kinds_of(each)} & found
    }
    assert not missing


def _kinds(name: str) -> set[str]:
    """Kernel or stages, or the task with its packet, whatever that sums."""
    if "<" in name:
        return {_task(name)}
    together, _, stages = name.partition(": ")
    return {together, *stages.split(", ")}


def _kinds_of(kernel: Kernel) -> set[str]:
    if "<" in kernel.name:
        return {_task(kernel.name)}
    module, _, entry = kernel.name.partition(": ")
    return {module} if "sloped" in module or module == "slopes" else {entry, module}


def _task(name: str) -> str:
    """Thicknesses<March<RampSums<6>>>, listed rays: Thicknesses<March."""
    return re.match(r"\w+<\w+", name)[0]

#!/usr/bin/env python3
"""Every kernel beside the limits of one core: memory's rate, and the vector units' peak.

    python benchmarks/limits.py            half an hour; writes benchmarks/results/limits_cpu.json
                                           and the table in docs/benchmarks/results.md

It needs valgrind and binutils (Debian, Ubuntu: apt install valgrind binutils) and an x86-64
processor. The work is that of harness/kernel_jobs.py: rays through the chest CT
(`app.py fetch chest-ct`) at 200 x 200 pixels, PA; everything else at 512 x 512 pixels.

Time: one thread, CPU time, least of 7. Bytes: those that the kernel touches, and those that it
changes once more, whatever the caches hold (harness/touched_memory.py). Operations: callgrind
counts the executed instructions of the same kernels, compiled for AVX2, and
harness/machine_code.py says what each one does. Limits: a copy of 64 MiB, and a loop of
multiplications and additions in registers, with contraction to multiply-adds where the kernel is
compiled with it (projectors, labels, meshes, wires), else without. A perfect kernel takes the
longer of the two times.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import operators.runtime  # noqa: F401  (before Holoscan)
from benchmarks.harness.kernel_jobs import Key, run_jobs
from benchmarks.harness.machine import describe_machine, load_average
from benchmarks.harness.machine_code import (
    AVX2_COMPILER,
    Operations,
    operations_of,
    valgrind_command,
)
from benchmarks.harness.report import publish
from fluoro.errors import FluoroError
from fluoro.rendering.devices.base import KernelText, Launch
from fluoro.rendering.devices.cpu.device import CpuDevice
from fluoro.rendering.projectors import PROJECTORS

TIMES = 7
COUNT = Path(__file__).parent / "harness" / "count_work.py"

PEAK = """
uniform float* image;
uniform int rounds;

[shader("compute")]
[numthreads(1, 1, 1)]
void peak(uint3 thread: SV_DispatchThreadID)
{
    float a[16], b[16], c[16], d[16], e[16], f[16], g[16], h[16];
    for (int i = 0; i < 16; i++)
    {
        a[i] = image[i]; b[i] = image[16 + i]; c[i] = image[32 + i]; d[i] = image[48 + i];
        e[i] = image[64 + i]; f[i] = image[80 + i]; g[i] = image[96 + i]; h[i] = image[112 + i];
    }
    for (int n = 0; n < rounds; n++)
        for (int i = 0; i < 16; i++)
        {
            a[i] = a[i] * 0.999f + 0.001f; b[i] = b[i] * 0.998f + 0.002f;
            c[i] = c[i] * 0.997f + 0.003f; d[i] = d[i] * 0.996f + 0.004f;
            e[i] = e[i] * 0.995f + 0.005f; f[i] = f[i] * 0.994f + 0.006f;
            g[i] = g[i] * 0.993f + 0.007f; h[i] = h[i] * 0.992f + 0.008f;
        }
    for (int i = 0; i < 16; i++)
        image[i] = a[i] + b[i] + c[i] + d[i] + e[i] + f[i] + g[i] + h[i];
}
"""
ROUNDS = 200_000


@dataclass(frozen=True)
class Limits:
    """What one thread can do in a second.

    Attributes:
        bytes_per_s: That a copy moves, read and written.
        operations_per_s: Without contraction.
        contracted_per_s: With it.
    """

    bytes_per_s: float
    operations_per_s: float
    contracted_per_s: float


@dataclass(frozen=True)
class Work:
    """What a launch does at least.

    Attributes:
        bytes: That it moves.
        operations: In vectors.
    """

    bytes: int
    operations: Operations


@dataclass
class Launched:
    """Launches of one kind.

    Attributes:
        ms: Least CPU time.
        exact: Whether compiled without contraction.
    """

    ms: float
    exact: bool


def least_s(call: Callable[[], Any], repeats: int = 7) -> float:
    """Return the least CPU time of this thread [s]."""
    found = []
    for _ in range(repeats):
        begun = time.thread_time()
        call()
        found.append(time.thread_time() - begun)
    return min(found)


def measured_limits() -> Limits:
    """Return what this machine can do."""
    return Limits(copy_rate(), peak_rate(exact=True), peak_rate(exact=False))


def copy_rate() -> float:
    """Return the bytes a second that a copy of one thread moves, read and written."""
    source = np.ones(2**24, np.float32)
    target = np.empty_like(source)
    return 2 * source.nbytes / least_s(lambda: np.copyto(target, source))


def peak_rate(*, exact: bool) -> float:
    """Return the operations a second of one thread: multiplications and additions alternate."""
    device, image = CpuDevice(1), np.ones(128, np.float32)
    kernel = KernelText(PEAK, name="peak")
    uniforms = {"image": image, "rounds": ROUNDS}
    call = lambda: device.launch(kernel, "peak", (1, 1, 1), uniforms, exact=exact)  # noqa: E731
    call()
    return 2 * 128 * ROUNDS / least_s(call)


def launches() -> dict[Key, Launched]:
    """Return the least time of each kind of launch."""
    found: dict[Key, Launched] = {}

    def watch(key: Key, launch: Launch, dispatch: Callable[[], None]) -> None:
        begun_ns = time.thread_time_ns()
        dispatch()
        spent_ms = 1e-6 * (time.thread_time_ns() - begun_ns)
        kind = found.setdefault(key, Launched(spent_ms, launch.exact))
        kind.ms = min(kind.ms, spent_ms)

    run_jobs(watch, TIMES)
    return found


def work_of_kernels() -> dict[Key, Work]:
    """Return the bytes and operations of each kind of launch.

    Raises:
        DeviceError: valgrind or objdump is missing.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        command = valgrind_command(folder / "dump")
        compiler, moved = folder / "g++-avx2", folder / "bytes.json"
        compiler.write_text(AVX2_COMPILER)
        compiler.chmod(0o755)
        environment = os.environ | {"CXX": str(compiler), "NUMPY_MADVISE_HUGEPAGE": "0"}
        script = [sys.executable, str(COUNT)]
        subprocess.run([*script, "bytes", str(moved)], env=environment, check=True)
        subprocess.run([*command, *script, "operations", name], env=environment, check=True)
        counted = operations_of(folder / "dump")
        moved_bytes = json.loads(moved.read_text())
    return {
        Key(*ast.literal_eval(kind)): Work(moved_bytes[kind], counted[kind]) for kind in counted
    }


def rows_of(
    launched: dict[Key, Launched], work: dict[Key, Work], limits: Limits
) -> list[dict[str, Any]]:
    """Return a row for each kernel: time, work, and shares of the limits.

    Of a kernel's launches the one with the most operations counts, and of groups the first that
    has the kernel; each projector has its own rows.
    """
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for key, launch in launched.items():
        place = key.group if key.group in PROJECTORS else "", key.kernel
        others = [row for (_, kernel), row in rows.items() if kernel == key.kernel]
        if key.group not in PROJECTORS and any(row["group"] != key.group for row in others):
            continue
        row = _row(key, launch, work[key], limits)
        if place not in rows or rows[place]["operations"] < row["operations"]:
            rows[place] = row
    return list(rows.values())


def _row(key: Key, launch: Launched, work: Work, limits: Limits) -> dict[str, Any]:
    peak = limits.operations_per_s if launch.exact else limits.contracted_per_s
    memory_ms = 1e3 * work.bytes / limits.bytes_per_s
    vector_ms = 1e3 * work.operations.count / peak
    return {
        **key._asdict(),
        **asdict(launch),
        "bytes": work.bytes,
        "operations": work.operations.count,
        "lanes": work.operations.lanes,
        "of_memory": memory_ms / launch.ms,
        "of_vectors": vector_ms / launch.ms,
        "gain_ms": max(launch.ms - max(memory_ms, vector_ms), 0.0),
    }


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Return the rows in Markdown."""
    lines = [
        "| of | kernel | ms | MB that move once | million operations | lanes "
        "| of the copy's rate | of the vectors' peak | perfect would gain, ms |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['group']} | {shown(row['kernel'])} | {row['ms']:.3g} | {row['bytes'] / 1e6:.3g} "
        f"| {row['operations'] / 1e6:.3g} | {row['lanes']:.1f} | {row['of_memory']:.0%} "
        f"| {row['of_vectors']:.0%} | {row['gain_ms']:.3g} |"
        for row in rows
    ]
    return "\n".join(lines)


def shown(kernel: str) -> str:
    """Return a kernel's name as code, which Markdown leaves alone."""
    return f"`{re.sub(' +', ' ', kernel)}`"


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--folder", type=Path, help="for the results (default: benchmarks/results)")
    options = parser.parse_args(argv)
    machine = describe_machine()
    try:
        work, begun = work_of_kernels(), load_average()
        limits, launched = measured_limits(), launches()
        load = f"load average {begun} before the times were taken, {load_average()} after"
        rows = rows_of(launched, work, limits)
    except FluoroError as error:
        print(f"limits: {error}", file=sys.stderr)
        return 1
    text = (
        f"One thread of {machine['processor']}: a copy moves {1e-9 * limits.bytes_per_s:.1f} GB/s, "
        f"vectors do {1e-9 * limits.operations_per_s:.0f} billion operations a second, "
        f"{1e-9 * limits.contracted_per_s:.0f} with multiply-adds; {load}."
    )
    results = {"machine": machine, **asdict(limits), "rows": rows}
    publish("limits_cpu", results, f"{table(rows)}\n\n{text}", options.folder, document=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

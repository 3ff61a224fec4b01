#!/usr/bin/env python3
"""Kernels beside the limits of one core: memory's rate, and the vector units' peak.

    python benchmarks/limits.py            a minute; writes benchmarks/results/limits_cpu.json
                                           and the tables in docs/benchmarks/results.md

Each kernel of the full chain (full_chain.py) at 512 x 512 pixels, one thread, CPU time, least of 12
frames. Bytes are those that must move once: planes read and written, 4 bytes a pixel, whatever
the caches hold. Operations are counted in the Slang sources, a pixel: additions, multiplications,
choices and integer operations are 1, divisions and roots 1 too. Both limits are measured here: a
copy of 64 MiB, and a loop of multiplications and additions in registers, without contraction,
as the chain's kernels are compiled. A perfect kernel takes the longer of the two times.

The projectors (march by steps of a voxel) render the chest CT at 200 x 200 pixels, PA. Their voxels
are requested from all levels of the caches; "in the cache" the volume has 16 x 512 x 16 voxels and
each ray as many samples. Operations of slab and Joseph were counted by hand in the loop that the
compiler wrote (a multiply-add is 2).
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import operators.runtime  # noqa: F401  (before Holoscan)
from benchmarks.full_chain import Loop
from benchmarks.harness.machine import describe_machine, load_average
from benchmarks.harness.report import publish
from benchmarks.harness.scene import load_ct, make_views
from fluoro.geometry.projection import View
from fluoro.rendering.devices.base import KernelText
from fluoro.rendering.devices.cpu.device import CpuDevice
from fluoro.rendering.projectors import PROJECTORS
from fluoro.rendering.renderer import DrrRenderer
from fluoro.volume.volumes import MuVolume

SIZE_PX, FRAMES = 512, 12
EXP, LOG, PHILOX, NORMAL, EXPANSION = 25, 28, 80, 62, 26
"""Operations of random.slang's functions."""
ENERGIES, MATERIALS = 5, 5


@dataclass(frozen=True)
class Work:
    """What a kernel does for a pixel.

    Attributes:
        planes: Read and written.
        operations: Of numbers.
    """

    planes: int
    operations: int


WORK = {
    "polychromatic_moments": Work(MATERIALS + 2, ENERGIES * (2 * MATERIALS + EXP + 4) + 1),
    "scatter_rows": Work(MATERIALS + 1, 4 * MATERIALS + 14 + 2 * (EXP + 2) + 4),
    "scatter_add": Work(3, 30),
    "blur": Work(2, 1 + 3 * 8),
    "poisson_weighted": Work(3, PHILOX + 6 + NORMAL + EXPANSION),
    "convolve": Work(2, 9 * (2 + 3 * 4)),
    "lag": Work(10, 2 + 5 * 4),
    "electronic_noise": Work(3, PHILOX + 6 + NORMAL + 2 + 1 + 3 + LOG + 6),
}
"""By the kernel's name, or a stage in it. Blur: radius 8, a pass; convolve: radius 4."""


@dataclass(frozen=True)
class RayWork:
    """What a projector does for a sample.

    Attributes:
        projector: Its name.
        voxel_bytes: That a sample asks for.
        operations: Of numbers, addresses of loads apart.
        derivatives: Whether the six by the pose are rendered too.
    """

    projector: str
    voxel_bytes: int
    operations: int
    derivatives: bool = False


RAY_WORK = {
    "march": RayWork("march", 8 * 4, (1 + 3 * 2) + 3 * (2 + 1 + 1 + 2) + 4 + 7 * 3 + 2 + 2),
    "siddon": RayWork("siddon", 4, (3 * 3 + 4) + 3 * 4 + 4 + 7 + 2 * 3 + 2 + 4 + 2),
    "slab": RayWork("slab", 4 * 2, 28),
    "joseph": RayWork("joseph", 4 * 2, 28),
    "slab, six derivatives": RayWork("slab", 4 * 2, 50, derivatives=True),
    "joseph, six derivatives": RayWork("joseph", 4 * 4, 42, derivatives=True),
}
"""March: place, cells, index, interpolation, weight, sum. Siddon: voxel, crossings, the next of
them, its axis, voxel on, last place, sum, weight."""
RAY_SIZE_PX = 200

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


def least_s(call: Callable[[], Any], repeats: int = 7) -> float:
    """Return the least CPU time of this thread [s]."""
    found = []
    for _ in range(repeats):
        begun = time.thread_time()
        call()
        found.append(time.thread_time() - begun)
    return min(found)


def copy_rate() -> float:
    """Return the bytes a second that a copy of one thread moves, read and written."""
    source = np.ones(2**24, np.float32)
    target = np.empty_like(source)
    return 2 * source.nbytes / least_s(lambda: np.copyto(target, source))


def peak_rate() -> float:
    """Return the operations a second of one thread: multiplications and additions alternate."""
    device, image = CpuDevice(1), np.ones(128, np.float32)
    kernel = KernelText(PEAK, name="peak")
    uniforms = {"image": image, "rounds": ROUNDS}
    call = lambda: device.launch(kernel, "peak", (1, 1, 1), uniforms, exact=True)  # noqa: E731
    call()
    return 2 * 128 * ROUNDS / least_s(call)


def kernel_ms() -> dict[str, float]:
    """Return the least CPU time of each kernel of the full chain [ms], by a name of `WORK`."""
    loop = Loop(SIZE_PX, "full")
    for number in range(FRAMES):
        loop.frame(0.5 * number)
    found = {}
    for name, times in loop.device.kernel_ms.items():
        for stage in WORK:
            if stage in name:
                found[stage] = min(times)
    return found


def rows_of(times_ms: dict[str, float], bytes_per_s: float, per_s: float) -> list[dict[str, Any]]:
    """Return a row for each kernel: times, rates and shares of the limits."""
    pixels, rows = SIZE_PX**2, []
    for name, took_ms in times_ms.items():
        work = WORK[name]
        memory_ms = 1e3 * 4 * work.planes * pixels / bytes_per_s
        vector_ms = 1e3 * work.operations * pixels / per_s
        perfect_ms = max(memory_ms, vector_ms)
        rows.append(
            {
                "kernel": name,
                **asdict(work),
                "ms": took_ms,
                "of_memory": memory_ms / took_ms,
                "of_vectors": vector_ms / took_ms,
                "gain_ms": max(took_ms - perfect_ms, 0.0),
            }
        )
    return rows


def ray_rows(bytes_per_s: float, per_s: float) -> list[dict[str, Any]]:
    """Return a row for each projector of `RAY_WORK`, one view, one thread."""
    volume = load_ct()
    view = make_views(volume.grid, RAY_SIZE_PX, names=("PA",))["PA"]
    return [_ray_row(name, volume, view, bytes_per_s, per_s) for name in RAY_WORK]


def _ray_row(
    name: str, volume: MuVolume, view: View, bytes_per_s: float, per_s: float
) -> dict[str, Any]:
    work, found = RAY_WORK[name], []
    step_mm = min(volume.grid.spacing_xyz_mm)
    for each in (volume, few_planes(volume)):
        projector = PROJECTORS[work.projector]
        step = {"step_mm": step_mm} if projector.steps else {}
        renderer = DrrRenderer(each, CpuDevice(1), projector=work.projector, **step)
        samples = projector.samples(each, view, renderer.step_mm)
        center = each.grid.center_xyz_mm
        jacobian = partial(renderer.render_jacobian, view, center)
        call = jacobian if work.derivatives else partial(renderer.render, view)
        found.append(least_s(call) / samples)
    took_s, cached_s = found
    vector_s = work.operations / per_s
    return {
        "kernel": name,
        **asdict(work),
        "ns": 1e9 * took_s,
        "cached_ns": 1e9 * cached_s,
        "of_memory": work.voxel_bytes / took_s / bytes_per_s,
        "of_vectors": vector_s / took_s,
        "memory_gain": max(1 - cached_s / took_s, 0.0),
        "vector_gain": max(1 - vector_s / took_s, 0.0),
    }


def few_planes(volume: MuVolume) -> MuVolume:
    """Return water in the volume's box in 16 x 512 x 16 voxels, which a cache holds."""
    shape = (16, 512, 16)
    edges = np.multiply(volume.grid.spacing_xyz_mm, volume.grid.shape_xyz) / shape[::-1]
    grid = replace(volume.grid, shape_zyx=shape, spacing_xyz_mm=tuple(edges.tolist()))
    return MuVolume(mu_zyx=np.full(shape, 0.02, np.float32), grid=grid)


def ray_table(rows: Sequence[dict[str, Any]]) -> str:
    """Return the projectors' rows in Markdown."""
    lines = [
        "| projector | ns a sample | in the cache | operations a sample | of the vectors' peak "
        "| requested, of the copy's rate | perfect memory would gain "
        "| perfect arithmetic would gain at most |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['kernel']} | {row['ns']:.2f} | {row['cached_ns']:.2f} | {row['operations']} "
        f"| {row['of_vectors']:.0%} | {row['of_memory']:.0%} | {row['memory_gain']:.0%} "
        f"| {row['vector_gain']:.0%} |"
        for row in rows
    ]
    return "\n".join(lines)


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Return the rows in Markdown."""
    lines = [
        "| kernel | ms | planes | operations a pixel | of the copy's rate | of the vectors' peak "
        "| perfect would gain, ms |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['kernel']} | {row['ms']:.2f} | {row['planes']} | {row['operations']} "
        f"| {row['of_memory']:.0%} | {row['of_vectors']:.0%} | {row['gain_ms']:.2f} |"
        for row in rows
    ]
    took, gained = (sum(row[key] for row in rows) for key in ("ms", "gain_ms"))
    return "\n".join([*lines, f"| all | {took:.2f} | | | | | {gained:.2f} |"])


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--folder", type=Path, help="for the results (default: benchmarks/results)")
    options = parser.parse_args(argv)
    machine = describe_machine() | {"load_before": load_average()}
    copied, peak = copy_rate(), peak_rate()
    rows, rays = rows_of(kernel_ms(), copied, peak), ray_rows(copied, peak)
    limits = (
        f"one thread: a copy moves {1e-9 * copied:.1f} GB/s, vectors do {1e-9 * peak:.0f} billion "
        f"operations a second; load average {machine['load_before']} before, {load_average()} after"
    )
    results = {"machine": machine, "bytes_per_s": copied, "operations_per_s": peak}
    results |= {"rows": rows, "rays": rays}
    publish(
        "limits_cpu",
        results,
        f"{table(rows)}\n\n{ray_table(rays)}\n\n{limits}",
        options.folder,
        document=True,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())

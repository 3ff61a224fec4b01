#!/usr/bin/env python3
"""Frames a second that a GPU makes from pose to image, in kernels for march and chain or in one.

    python benchmarks/frames.py --device cuda        a minute
    python benchmarks/frames.py --device llvmpipe --sizes 128 --frames 20

Writes benchmarks/results/frames_gpu.json and the table in docs/benchmarks/results.md. A loop
renders a sweep over the chest CT with two frames in flight, as a stream does. "host" is CPU time of
the launching thread; "latency" runs from a pose to its image with one frame in flight. Both
kinds alternate. With a polychromatic beam and scatter there is no single kernel.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.chain import PANEL
from benchmarks.harness.command_line import count
from benchmarks.harness.machine import describe_machine, load_average
from benchmarks.harness.report import publish
from benchmarks.harness.scene import load_ct
from fluoro.config import ImageChainConfig
from fluoro.errors import FluoroError
from fluoro.geometry.carm import CarmGeometry, CarmPose
from fluoro.geometry.projection import View
from fluoro.imaging.chain import ImageChain
from fluoro.physics.materials import Material
from fluoro.physics.tissues import tissue_map
from fluoro.rendering.devices.base import ComputeDevice, Fence
from fluoro.rendering.devices.selection import open_device
from fluoro.rendering.material_renderer import MaterialRenderer
from fluoro.rendering.renderer import DrrRenderer
from fluoro.volume.material_volume import MaterialVolume
from fluoro.volume.volumes import MuVolume

FILES = {"cuda": "gpu", "llvmpipe": "llvmpipe"}
SIZES = (512, 1024)
FIELD_MM = 400.0
ON_THEIR_WAY = 2
TURNS = 3
CHAINS: dict[str, dict[str, Any]] = {
    "noise and window": {"dose_ngy": 5, "window": {"level": 3.1, "width": 4.4}},
    "panel without scatter": {key: value for key, value in PANEL.items() if key != "scatter"},
    "whole panel, many energies": {"xray": {}, **PANEL},
}
RENDERERS: dict[str, dict[str, Any]] = {"march": {}, "march, texture": {"texture": True}}


class Loop:
    """Begins one frame after the other, each from a pose of its own."""

    def __init__(
        self,
        volume: MuVolume,
        device: ComputeDevice,
        renderer: dict[str, Any],
        chain: dict[str, Any],
        size_px: int,
        *,
        fused: bool,
    ) -> None:
        self._queue = device.queue()
        self._geometry = CarmGeometry(
            detector_width_px=size_px,
            detector_height_px=size_px,
            pixel_spacing_mm=FIELD_MM / size_px,
        )
        self._center_xyz_mm = volume.grid.center_xyz_mm.tolist()
        self._config = ImageChainConfig.model_validate(chain)
        materials: tuple[Material, ...] = ()
        self._source: Callable[[View], Any]
        if self._config.xray:
            of_materials = MaterialVolume(volume=volume, tissues=tissue_map("soft_and_bone"))
            self._source = MaterialRenderer(of_materials, self._queue).render
            materials = of_materials.materials
        else:
            of_one_energy = DrrRenderer(volume, self._queue, **renderer)
            self._source = of_one_energy.deferred if fused else of_one_energy.render
        self._chain = ImageChain(self._queue, 0, materials, fused=True)
        self._number = 0

    def begin(self) -> Fence:
        """The next frame's fence."""
        pose = CarmPose(lao_deg=30 * np.sin(0.1 * self._number))
        view = self._geometry.view(pose, self._center_xyz_mm)
        pitch_mm = self._geometry.pixel_spacing_mm
        self._chain.start(self._source(view), self._config, self._number, pitch_mm, self._geometry)
        self._number += 1
        return self._queue.fence()

    def close(self) -> None:
        """Wait for what was begun."""
        self._queue.close()


def throughput(begin: Callable[[], Fence], frames: int) -> tuple[float, float]:
    """Return wall time and the launching thread's CPU time of a frame [s]."""
    waiting = deque(begin() for _ in range(ON_THEIR_WAY))
    start_s, host_s = time.perf_counter(), 0.0
    for _ in range(frames):
        waiting.popleft().wait()
        before_s = time.thread_time()
        waiting.append(begin())
        host_s += time.thread_time() - before_s
    wall_s = time.perf_counter() - start_s
    for each in waiting:
        each.wait()
    return wall_s / frames, host_s / frames


def latencies(begin: Callable[[], Fence], frames: int) -> list[float]:
    """From a pose to its image, frame by frame [s]."""
    found = []
    for _ in range(frames):
        start_s = time.perf_counter()
        begin().wait()
        found.append(time.perf_counter() - start_s)
    return found


def measure(
    volume: MuVolume,
    device: ComputeDevice,
    renderer: str,
    chain: str,
    size_px: int,
    frames: int,
) -> list[dict[str, Any]]:
    """A row for two kernels and one for a single one, where there can be one."""
    many_energies = "xray" in CHAINS[chain]
    if many_energies and RENDERERS[renderer]:
        return []
    kinds = {"two": False} if many_energies else {"two": False, "one": True}
    loops = {
        name: Loop(volume, device, RENDERERS[renderer], CHAINS[chain], size_px, fused=fused)
        for name, fused in kinds.items()
    }
    rates: dict[str, list[tuple[float, float]]] = {name: [] for name in loops}
    ways: dict[str, list[float]] = {name: [] for name in loops}
    for loop in loops.values():
        loop.begin().wait()  # compiles
    for _ in range(TURNS):
        for name, loop in loops.items():
            rates[name].append(throughput(loop.begin, frames))
            ways[name] += latencies(loop.begin, frames)
    for loop in loops.values():
        loop.close()
    shared = {"renderer": renderer, "chain": chain, "size": size_px}
    return [shared | _row(name, rates[name], ways[name]) for name in loops]


def _row(
    kernels: str, rates: Sequence[tuple[float, float]], ways: Sequence[float]
) -> dict[str, Any]:
    return {
        "kernels": kernels,
        "frame_ms": 1e3 * statistics.median(wall for wall, _ in rates),
        "host_ms": 1e3 * statistics.median(host for _, host in rates),
        "latency_ms": 1e3 * statistics.median(ways),
        "latency_p99_ms": 1e3 * float(np.quantile(ways, 0.99)),
    }


def table(rows: Sequence[dict[str, Any]]) -> str:
    """For the terminal and the document."""
    heads = (
        "pixels | renderer | chain | kernels from ray on | frames a second | ms | host ms "
        "| latency p50 / p99 ms"
    )
    lines = [f"| {heads} |", "|" + "---|" * (heads.count("|") + 1)]
    lines += [_line(row) for row in rows]
    return "\n".join(lines)


def _line(row: dict[str, Any]) -> str:
    return (
        f"| {row['size']}² | {row['renderer']} | {row['chain']} | {row['kernels']} "
        f"| {1e3 / row['frame_ms']:.0f} | {row['frame_ms']:.2f} | {row['host_ms']:.2f} "
        f"| {row['latency_ms']:.2f} / {row['latency_p99_ms']:.2f} |"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--device", choices=tuple(FILES), default="cuda")
    parser.add_argument("--sizes", type=count, nargs="+", default=SIZES)
    parser.add_argument("--frames", type=count, default=300, help="of each turn")
    parser.add_argument("--folder", type=Path, help="for the results (default: benchmarks/results)")
    options = parser.parse_args(argv)
    machine = describe_machine() | {"load_before": load_average()}
    try:
        volume, device = load_ct(), open_device(options.device)
        rows = [
            row
            for size in options.sizes
            for renderer in RENDERERS
            for chain in CHAINS
            for row in measure(volume, device, renderer, chain, size, options.frames)
        ]
    except FluoroError as error:
        print(f"frames: {error}", file=sys.stderr)
        return 1
    machine |= {"device": device.name, "load_after": load_average()}
    conditions = (
        f"chest CT, half a voxel a step; {device.name}, {machine['processor']}; load average "
        f"{machine['load_before']} before, {machine['load_after']} after"
    )
    results = {"machine": machine, "rows": rows}
    text = f"{table(rows)}\n\n{conditions}\n"
    kind = FILES[options.device]
    publish(f"frames_{kind}", results, text, options.folder, document=kind != "llvmpipe")
    return 0


if __name__ == "__main__":
    sys.exit(main())

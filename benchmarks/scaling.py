#!/usr/bin/env python3
"""How time grows with pixels, voxels, steps, batch and threads; start-up and memory.

    python benchmarks/scaling.py                   a minute on two cores
    python benchmarks/scaling.py --device cuda     on an NVIDIA GPU

Writes benchmarks/results/scaling_cpu.json and docs/images/scaling_cpu.png (scaling_gpu... with
--device cuda). An exponent of 1 is time in proportion to the work, less is better; for threads -1
is what more cores can give at best. March takes steps of half a voxel.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.harness.first_frame import measure_first_frame, write_volume
from benchmarks.harness.machine import describe_machine, load_average
from benchmarks.harness.plots import plot_scaling
from benchmarks.harness.report import write_json
from benchmarks.harness.scene import load_ct, make_views, synthetic_volume
from benchmarks.harness.stopwatch import timed
from fluoro.errors import FluoroError
from fluoro.geometry.projection import View
from fluoro.rendering.cells import bytes_of_cells
from fluoro.rendering.choose import open_device
from fluoro.rendering.cpu_device import available_cores
from fluoro.rendering.renderer import DrrRenderer, Projector
from fluoro.volume.memory import available_memory_bytes, in_gib
from fluoro.volume.volumes import MuVolume

ROOT = Path(__file__).parents[1]
PROJECTORS: tuple[Projector, ...] = ("march", "joseph", "slab")
VIEW = "LAO 45 CRA 30"
FILES = {"cpu": "cpu", "cuda": "gpu"}
Renderers = dict[Projector, DrrRenderer]


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """What is measured at; small ones for the tests."""

    pixels: tuple[int, ...] = (128, 256, 512, 1024, 2048)
    voxels: tuple[int, ...] = (128, 192, 256, 384, 512, 768)
    steps_voxel: tuple[float, ...] = (2.0, 1.0, 0.5, 0.25)
    batch: tuple[int, ...] = (1, 2, 4, 8, 16)
    repeats: int = 3
    usual_pixels: int = 200
    usual_voxels: int = 256


class Cost(NamedTuple):
    """Of one call: wall time and processor time of all threads."""

    seconds: float
    cpu_seconds: float


CLOCKS = Cost._fields


class Bench:
    """Times one quantity after the other on a device."""

    def __init__(self, kind: str, sizes: Sizes) -> None:
        self.kind, self.sizes = kind, sizes
        self.device = open_device(kind)
        self.volume = synthetic_volume(sizes.usual_voxels)

    def all(self) -> list[dict[str, Any]]:
        """Series of every quantity that the device has."""
        series = [self.pixels(), self.voxels(), self.steps(), self.batch()]
        return [*series, self.threads()] if self.kind == "cpu" else series

    def pixels(self) -> dict[str, Any]:
        """Columns and rows of one detector."""
        renderers, counts = self._renderers(self.volume), self.sizes.pixels
        works = [
            {name: _render(one, self._view(count)) for name, one in renderers.items()}
            for count in counts
        ]
        return self._series("pixels", [n * n for n in counts], [f"{n}²" for n in counts], works)

    def voxels(self) -> dict[str, Any]:
        """Voxels of one volume: rays cross more of them, and fewer lie in the caches."""
        counts, seconds = [n for n in self.sizes.voxels if _fits(n)], []
        for count in counts:
            renderers = self._renderers(synthetic_volume(count))
            view = self._view(self.sizes.usual_pixels)
            seconds.append(self._time({n: _render(one, view) for n, one in renderers.items()}))
            del renderers  # and the cube, before the next one is made
        return _finish("voxels", [n**3 for n in counts], [f"{n}³" for n in counts], seconds)

    def steps(self) -> dict[str, Any]:
        """Steps of march."""
        view, voxel_mm = self._view(self.sizes.usual_pixels), self.volume.grid.spacing_xyz_mm[0]
        works: list[dict[Projector, Callable[[], Any]]] = [
            {"march": _render(DrrRenderer(self.volume, self.device, step_mm=step * voxel_mm), view)}
            for step in self.sizes.steps_voxel
        ]
        per_voxel = [1 / step for step in self.sizes.steps_voxel]
        return self._series("steps a voxel", per_voxel, [f"{n:g}" for n in per_voxel], works)

    def batch(self) -> dict[str, Any]:
        """Views in one call."""
        renderers, view = self._renderers(self.volume), self._view(self.sizes.usual_pixels // 2)
        works = [
            {name: _render(one, [view] * count) for name, one in renderers.items()}
            for count in self.sizes.batch
        ]
        return self._series("views in a batch", self.sizes.batch, self.sizes.batch, works)

    def threads(self) -> dict[str, Any]:
        """Threads, up to the cores that there are."""
        counts = sorted({2**n for n in range(9) if 2**n <= available_cores()} | {available_cores()})
        view = self._view(self.sizes.usual_pixels)
        works = []
        for count in counts:
            renderers = self._renderers(self.volume, open_device("cpu", workers=count))
            works.append({name: _render(one, view) for name, one in renderers.items()})
        return self._series("threads", counts, counts, works)

    def _renderers(self, volume: MuVolume, device: Any = None) -> Renderers:
        device = device or self.device
        return {name: DrrRenderer(volume, device, projector=name) for name in PROJECTORS}

    def _view(self, size_px: int) -> View:
        return make_views(self.volume.grid, size_px, names=(VIEW,))[VIEW]

    def _series(
        self,
        axis: str,
        work: Sequence[float],
        labels: Sequence[object],
        works: Sequence[dict[Projector, Callable[[], Any]]],
    ) -> dict[str, Any]:
        return _finish(axis, work, labels, [self._time(calls) for calls in works])

    def _time(self, calls: dict[Projector, Callable[[], Any]]) -> dict[str, Cost]:
        """Median cost by projector, in turns."""
        for call in calls.values():
            call()
        rounds = [
            {name: timed(call) for name, call in calls.items()} for _ in range(self.sizes.repeats)
        ]
        return {
            name: Cost(
                seconds=statistics.median(one[name].seconds for one in rounds),
                cpu_seconds=statistics.median(one[name].cpu_seconds for one in rounds),
            )
            for name in calls
        }


def _fits(edge_voxels: int) -> bool:
    """Whether a cube and copies of it for all axes fit in half of the memory left."""
    available, shape = available_memory_bytes(), (edge_voxels,) * 3
    needed = 4 * edge_voxels**3 + bytes_of_cells(shape, 1) + bytes_of_cells(shape, 2)
    if available is not None and 2 * needed > available:
        print(f"voxels: {edge_voxels}³ left out, it needs {in_gib(needed)}", flush=True)
        return False
    return True


def _render(renderer: DrrRenderer, views: Any) -> Callable[[], Any]:
    return lambda: renderer.render(views)


def _finish(
    axis: str, work: Sequence[float], labels: Sequence[object], costs: list[dict[str, Cost]]
) -> dict[str, Any]:
    """A series with the exponent of each projector's growth."""
    lines = [_line(name, work, [cost[name] for cost in costs]) for name in costs[0]]
    for line in lines:
        milliseconds = ", ".join(f"{1e3 * value:.1f}" for value in line["seconds"])
        exponents = f"{line['exponent']:.2f} (processor time {line['cpu_exponent']:.2f})"
        text = f"{axis} ({', '.join(map(str, labels))}): {line['projector']} {milliseconds} ms"
        print(f"{text}; exponent {exponents}", flush=True)
    return {"axis": axis, "work": list(work), "labels": list(labels), "lines": lines}


def _line(name: str, work: Sequence[float], costs: Sequence[Cost]) -> dict[str, Any]:
    seconds, cpu_seconds = ([getattr(cost, clock) for cost in costs] for clock in CLOCKS)
    return {
        "projector": name,
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "exponent": _exponent(work, seconds),
        "cpu_exponent": _exponent(work, cpu_seconds),
    }


def _exponent(work: Sequence[float], seconds: Sequence[float]) -> float:
    """Slope of log time over log work; 0 for a single point."""
    if len(work) < 2:
        return 0.0
    return float(np.polyfit(np.log(work), np.log(seconds), 1)[0])


def start_up(kind: str) -> list[dict[str, Any]]:
    """First frame and peak memory of processes of their own that map the chest CT, or 1 GiB."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        chest, large = Path(folder) / "chest.npy", Path(folder) / "volume.npy"
        np.save(chest, load_ct().mu_zyx)
        write_volume(large)
        for path in (chest, large):
            for projector in PROJECTORS:
                found.append(measure_first_frame(path, kind, projector))
                print(_start_up_line(found[-1]), flush=True)
    return found


def _start_up_line(found: dict[str, Any]) -> str:
    held_gib = found["volume_gib"] + found["copies_gib"]
    return (
        f"start-up, {found['projector']}: first frame after {found['first_frame_s']:.2f} s "
        f"(imports {found['imports_s']:.2f} s of it, processor {found['cpu_s']:.2f} s); peak "
        f"memory beyond the imports {found['peak_beyond_imports_gib']:.2f} GiB for a volume of "
        f"{found['volume_gib']:.2f} GiB and copies of {found['copies_gib']:.2f} GiB: "
        f"{found['peak_beyond_imports_gib'] / held_gib:.2f} times both"
    )


def run(kind: str, sizes: Sizes, *, with_start_up: bool = True) -> dict[str, Any]:
    """Everything, for a results file."""
    machine = describe_machine() | {"load_before": load_average()}
    bench = Bench(kind, sizes)
    series = bench.all()
    machine |= {"device": bench.device.name, "load_after": load_average()}
    results: dict[str, Any] = {"machine": machine, "view": VIEW, "series": series}
    return results | ({"start_up": start_up(kind)} if with_start_up else {})


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--device", choices=tuple(FILES), default="cpu")
    kind = parser.parse_args(argv).device
    try:
        results = run(kind, Sizes())
    except FluoroError as error:
        print(f"scaling: {error}", file=sys.stderr)
        return 1
    name, machine = f"scaling_{FILES[kind]}", results["machine"]
    write_json(ROOT / "benchmarks" / "results" / f"{name}.json", results)
    plot_scaling(
        ROOT / "docs" / "images" / f"{name}.png",
        results["series"],
        f"{VIEW}, {machine['device']}, load average {machine['load_before']} before, "
        f"{machine['load_after']} after",
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())

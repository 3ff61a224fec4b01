#!/usr/bin/env python3
"""How time grows with pixels, voxels, steps, batch, energies, materials, threads; start-up, memory.

    python benchmarks/scaling.py                   at most three minutes (--minutes)
    python benchmarks/scaling.py --device cuda     on an NVIDIA GPU

Writes benchmarks/results/scaling_cpu.json and docs/images/scaling_cpu.png (scaling_gpu... with
--device cuda). An exponent of 1 is time in proportion to the work, less is better; for threads -1
is what more cores can give at best. March takes steps of half a voxel. The time is shared by the
series and the start-up; what does not fit is left out and reported, but each series has two points.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.harness.beam_work import energies_call, material_calls
from benchmarks.harness.budget import Budget
from benchmarks.harness.first_frame import (
    FOUR_GIB,
    ONE_GIB,
    WITH_DERIVATIVES,
    gib_of,
    measure_first_frame,
    write_volume,
)
from benchmarks.harness.machine import describe_machine, load_average
from benchmarks.harness.plots import plot_scaling
from benchmarks.harness.report import RESULTS_PAGE, put_into_document, write_json
from benchmarks.harness.scene import load_ct, make_views, synthetic_volume
from benchmarks.harness.stopwatch import timed
from fluoro.errors import FluoroError
from fluoro.geometry.projection import View
from fluoro.names import TissueMapName
from fluoro.rendering.devices.cpu.worker_threads import available_cores
from fluoro.rendering.devices.selection import open_device
from fluoro.rendering.packed_volume import packed_bytes
from fluoro.rendering.renderer import DrrRenderer
from fluoro.volume.host_memory import available_memory_bytes, in_gib
from fluoro.volume.volumes import MuVolume

ROOT = Path(__file__).parents[1]
PROJECTORS: tuple[str, ...] = ("march", "joseph", "slab")
VIEW = "LAO 45 CRA 30"
FILES = {"cpu": "cpu", "cuda": "gpu"}
FIRST_FRAMES = (*PROJECTORS, "joseph" + WITH_DERIVATIVES)
"""Derivatives of Joseph make copies of their own."""
LARGE_PROJECTORS: tuple[str, ...] = ("march", "slab")
"""For 4 GiB: without a copy, and with the smallest one."""
SERIES_SHARE = 0.65
"""Of the time; start-up has the rest."""
POINTS = 2
"""Of each series, whatever the time."""
PATIENCE_S = 6.0
"""A point's calls are not repeated beyond that."""
Renderers = dict[str, DrrRenderer]
Calls = dict[str, Callable[[], Any]]


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """What is measured at; small ones for the tests."""

    pixels: tuple[int, ...] = (128, 256, 512, 1024, 2048)
    voxels: tuple[int, ...] = (128, 192, 256, 384, 512, 768)
    steps_voxel: tuple[float, ...] = (2.0, 1.0, 0.5, 0.25)
    batch: tuple[int, ...] = (1, 2, 4, 8, 16)
    energies: tuple[int, ...] = (3, 4, 6, 8, 12)
    tissues: tuple[TissueMapName, ...] = ("soft_and_bone", "tissues", "schneider")
    repeats: int = 3
    usual_pixels: int = 200
    usual_voxels: int = 256
    energies_pixels: int = 1024


class Cost(NamedTuple):
    """Wall time and CPU time of all threads of one call."""

    seconds: float
    cpu_seconds: float


CLOCKS = Cost._fields


class Point(NamedTuple):
    """One point of a series: how much work, how a plot says it, and what it calls."""

    work: float
    label: str
    make: Callable[[], Calls]


class Bench:
    """Times one quantity after the other on a device."""

    def __init__(self, kind: str, sizes: Sizes, budget: Budget | None = None) -> None:
        self.kind, self.sizes, self.budget = kind, sizes, budget or Budget()
        self.device = open_device(kind)
        self.volume = synthetic_volume(sizes.usual_voxels)

    def all(self) -> list[dict[str, Any]]:
        """Series of every quantity that the device has; each has its part of the time left."""
        quantities: dict[str, Callable[[], Iterable[Point]]] = {
            "pixels": self.pixels,
            "voxels": self.voxels,
            "steps a voxel": self.steps,
            "views in a batch": self.batch,
            "energies": self.energies,
            "materials": self.materials,
        }
        if self.kind == "cpu":
            quantities["threads"] = self.threads
        # those that are never long come first: what they leave is for the others
        order = sorted(quantities, key=lambda axis: axis in ("pixels", "voxels"))
        found = {
            axis: self._series(axis, quantities[axis](), self.budget.part(1 / left))
            for axis, left in zip(order, range(len(order), 0, -1), strict=True)
        }
        return [found[axis] for axis in quantities]

    def pixels(self) -> Iterable[Point]:
        """Columns and rows of one detector."""
        renderers = self._renderers(self.volume)
        for count in self.sizes.pixels:
            yield Point(count**2, f"{count}²", lambda n=count: _renders(renderers, self._view(n)))

    def voxels(self) -> Iterable[Point]:
        """Voxels of one volume: rays cross more of them, and fewer lie in the caches."""
        view = self._view(self.sizes.usual_pixels)
        for count in filter(_fits, self.sizes.voxels):
            yield Point(
                count**3,
                f"{count}³",
                lambda n=count: _renders(self._renderers(synthetic_volume(n)), view),
            )

    def steps(self) -> Iterable[Point]:
        """Steps of march."""
        view, voxel_mm = self._view(self.sizes.usual_pixels), self.volume.grid.spacing_xyz_mm[0]
        for step in self.sizes.steps_voxel:
            one = DrrRenderer(self.volume, self.device, step_mm=step * voxel_mm)
            yield Point(1 / step, f"{1 / step:g}", lambda one=one: _renders({"march": one}, view))

    def batch(self) -> Iterable[Point]:
        """Views in one call."""
        renderers, view = self._renderers(self.volume), self._view(self.sizes.usual_pixels // 2)
        for count in self.sizes.batch:
            yield Point(count, f"{count}", lambda n=count: _renders(renderers, [view] * n))

    def energies(self) -> Iterable[Point]:
        """Energies that stand for a spectrum, in the kernel that weighs them."""
        size = self.sizes.energies_pixels
        for count in self.sizes.energies:
            call = energies_call(self.device, size, count)
            yield Point(count, f"{count}", lambda call=call: {"polychromatic kernel": call})

    def materials(self) -> Iterable[Point]:
        """Materials of one march, and of Joseph's planes."""
        view = self._view(self.sizes.usual_pixels)
        for name in self.sizes.tissues:
            count, calls = material_calls(self.volume, self.device, name, view)
            yield Point(count, f"{count}", lambda calls=calls: calls)

    def threads(self) -> Iterable[Point]:
        """Threads, up to the cores that there are."""
        counts = sorted({2**n for n in range(9) if 2**n <= available_cores()} | {available_cores()})
        view = self._view(self.sizes.usual_pixels)
        for count in counts:
            renderers = self._renderers(self.volume, open_device("cpu", workers=count))
            yield Point(count, f"{count}", lambda some=renderers: _renders(some, view))

    def _renderers(self, volume: MuVolume, device: Any = None) -> Renderers:
        device = device or self.device
        return {name: DrrRenderer(volume, device, projector=name) for name in PROJECTORS}

    def _view(self, size_px: int) -> View:
        return make_views(self.volume.grid, size_px, names=(VIEW,))[VIEW]

    def _series(self, axis: str, points: Iterable[Point], budget: Budget) -> dict[str, Any]:
        done: list[tuple[float, str, dict[str, Cost]]] = []
        for work, label, make in points:
            if len(done) >= POINTS and not budget.allows(f"{axis}: {label} and more"):
                break
            done.append((work, label, self._time(make())))
        return _finish(axis, *zip(*done, strict=True))

    def _time(self, calls: Calls) -> dict[str, Cost]:
        """Return the median cost by projector, alternating; the first round compiles, uncounted."""
        patience = Budget(PATIENCE_S)
        for call in calls.values():
            call()
        rounds: list[dict[str, Any]] = []
        while len(rounds) < self.sizes.repeats and (not rounds or patience.left_s):
            rounds.append({name: timed(call) for name, call in calls.items()})
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
    needed = 4 * edge_voxels**3 + packed_bytes(shape, 1) + packed_bytes(shape, 2)
    if available is not None and 2 * needed > available:
        print(f"voxels: {edge_voxels}³ left out, it needs {in_gib(needed)}", flush=True)
        return False
    return True


def _renders(renderers: Renderers, views: Any) -> Calls:
    return {name: lambda one=one: one.render(views) for name, one in renderers.items()}


def _finish(
    axis: str, work: Sequence[float], labels: Sequence[object], costs: Sequence[dict[str, Cost]]
) -> dict[str, Any]:
    """A series with the exponent of each projector's growth."""
    lines = [_line(name, work, [cost[name] for cost in costs]) for name in costs[0]]
    for line in lines:
        milliseconds = ", ".join(f"{1e3 * value:.1f}" for value in line["seconds"])
        exponents = f"{line['exponent']:.2f} (CPU time {line['cpu_exponent']:.2f})"
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


def start_up(kind: str, budget: Budget | None = None) -> list[dict[str, Any]]:
    """First frame and peak memory of processes of their own that map a volume.

    The chest CT whatever the time; 1 GiB and 4 GiB where time, disk and memory have room.
    """
    budget, found = budget or Budget(), []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.save(folder / "chest.npy", load_ct().mu_zyx)
        found += _first_frames(folder / "chest.npy", kind, FIRST_FRAMES, Budget())
        for shape, projectors in ((ONE_GIB, FIRST_FRAMES), (FOUR_GIB, LARGE_PROJECTORS)):
            path = folder / "volume.npy"
            if _has_room(folder, gib_of(shape)) and budget.allows(_what(gib_of(shape))):
                if write_volume(path, shape, budget):
                    found += _first_frames(path, kind, projectors, budget)
                else:
                    print(f"{_what(gib_of(shape))} left out, the disk is too slow", flush=True)
                path.unlink()
    return found


def _what(gib: float) -> str:
    return f"start-up: {gib:.0f} GiB"


def _first_frames(
    path: Path, kind: str, projectors: Sequence[str], budget: Budget
) -> list[dict[str, Any]]:
    """One row a projector; the first of a volume comes whatever the time."""
    found: list[dict[str, Any]] = []
    for projector in projectors:
        if not found or budget.allows(f"start-up: {projector} of {path.name}"):
            found.append(measure_first_frame(path, kind, projector))
            print(_start_up_line(found[-1]), flush=True)
    return found


def _has_room(folder: Path, gib: float) -> bool:
    """Whether disk and memory hold a file and, besides, a copy of half its size and a quarter."""
    disk_gib = shutil.disk_usage(folder).free / 2**30
    available = available_memory_bytes()
    memory_gib = float("inf") if available is None else available / 2**30
    if disk_gib > 1.25 * gib and memory_gib > 1.75 * gib:
        return True
    print(
        f"{_what(gib)} left out, it needs {1.25 * gib:.2f} GiB of disk in {folder} and "
        f"{1.75 * gib:.2f} GiB of memory, there are {disk_gib:.1f} and {memory_gib:.1f} GiB",
        flush=True,
    )
    return False


def _start_up_line(found: dict[str, Any]) -> str:
    held_gib = found["volume_gib"] + found["copies_gib"]
    every = ", ".join(f"{seconds:.2f}" for seconds in found["all_first_frame_s"])
    return (
        f"start-up, {found['projector']}: first frame after {found['first_frame_s']:.2f} s "
        f"({every}; imports {found['imports_s']:.2f} s of it; processor {found['cpu_s']:.2f} s, "
        f"of that the system {found['system_s']:.2f} s); peak memory "
        f"beyond the imports {found['peak_beyond_imports_gib']:.2f} GiB for a volume of "
        f"{found['volume_gib']:.2f} GiB and copies of {found['copies_gib']:.2f} GiB: "
        f"{found['peak_beyond_imports_gib'] / held_gib:.2f} times both"
    )


def start_up_table(found: Sequence[dict[str, Any]]) -> str:
    """Return first frame and CPU time [s] by volume and projector, as a Markdown table."""
    projectors = list(dict.fromkeys(each["projector"] for each in found))
    rows: dict[float, dict[str, str]] = {}
    for each in found:
        cell = f"{each['first_frame_s']:.2f} s, {each['cpu_s']:.2f} s"
        rows.setdefault(each["volume_gib"], {})[each["projector"]] = cell
    lines = [f"| volume | {' | '.join(projectors)} |", "|---" * (1 + len(projectors)) + "|"]
    for gib, cells in rows.items():
        parts = [cells.get(projector, "") for projector in projectors]
        lines.append(f"| {gib:.2f} GiB | {' | '.join(parts)} |")
    return "\n".join(lines)


def run(
    kind: str, sizes: Sizes, *, with_start_up: bool = True, budget: Budget | None = None
) -> dict[str, Any]:
    """Everything that the time is enough for, for a results file."""
    budget, machine = budget or Budget(), describe_machine() | {"load_before": load_average()}
    bench = Bench(kind, sizes, budget.part(SERIES_SHARE))
    series = bench.all()
    machine |= {"device": bench.device.name, "load_after": load_average()}
    results: dict[str, Any] = {"machine": machine, "view": VIEW, "series": series}
    del bench  # and its volume
    return results | ({"start_up": start_up(kind, budget)} if with_start_up else {})


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--device", choices=tuple(FILES), default="cpu")
    parser.add_argument("--minutes", type=float, default=3.0, help="in all")
    options = parser.parse_args(argv)
    kind, budget = options.device, Budget(60 * options.minutes)
    try:
        results = run(kind, Sizes(), budget=budget)
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
    if kind == "cpu":
        put_into_document(RESULTS_PAGE, "start-up", start_up_table(results["start_up"]) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

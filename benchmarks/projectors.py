#!/usr/bin/env python3
"""fluoro's projectors against RTK, nanodrr and DiffDRR: time and error, in one run.

    python benchmarks/projectors.py                      all, on the CPU: 7 minutes (--minutes)
    python benchmarks/projectors.py --no-peers --quick   fluoro alone: half a minute
    python benchmarks/projectors.py --device cuda        on an NVIDIA GPU

Prints a table and writes benchmarks/results/cpu.json and docs/images/benchmark_cpu.png
(projectors_gpu.json and benchmark_gpu.png with --device cuda; under output/benchmarks/ with
--quick). docs/benchmarks/method.md says how it measures. In the first view every program works at
least once. Later, a program that would exceed the time is left out, and then whole views; the
program reports both.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.harness.budget import Budget
from benchmarks.harness.command_line import count
from benchmarks.harness.contestants import Contestant, own_projectors
from benchmarks.harness.exact_integrals import find_truth
from benchmarks.harness.machine import describe_machine, load_average
from benchmarks.harness.peers import open_peers
from benchmarks.harness.plots import plot_projectors
from benchmarks.harness.report import (
    RESULTS_PAGE,
    markdown_table,
    put_into_document,
    rows_of_view,
    summarise,
    write_json,
)
from benchmarks.harness.rounds import Job, measure_view
from benchmarks.harness.scene import load_ct, make_views, poses
from fluoro.errors import FluoroError
from fluoro.rendering.devices.cpu.worker_threads import available_cores
from fluoro.rendering.devices.selection import open_device
from fluoro.volume.volumes import MuVolume

ROOT = Path(__file__).parents[1]
SLOW_JOBS = 6
"""Jobs of nanodrr and DiffDRR: they share the time of a view."""
LEAST_S = 1.0
"""For the calls of a job, however short the time: enough to repeat fluoro's."""
WORTH_WAITING = 2.0
"""A program that needs more than these shares for a call is left out, but in the first view."""
QUICK = {"size": [128], "repeats": 3, "views": ("PA", "LAO 45 CRA 30")}
FILES = {"cpu": "cpu", "cuda": "gpu"}


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--device", choices=tuple(FILES), default="cpu")
    parser.add_argument("--threads", type=count, default=available_cores())
    parser.add_argument(
        "--size", type=count, nargs="+", default=[200], help="detector columns and rows [pixels]"
    )
    parser.add_argument("--repeats", type=count, default=5)
    parser.add_argument(
        "--minutes", type=float, default=7.0, help="in all, once the peers are loaded"
    )
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--peers-python", type=Path, help="an environment that has the peers")
    parser.add_argument("--quick", action="store_true", help="few pixels, two views")
    options = parser.parse_args(argv)
    if options.quick:
        options.size, options.repeats = QUICK["size"], QUICK["repeats"]
    options.views = QUICK["views"] if options.quick else ()
    options.folder = ROOT / "output" / "benchmarks" if options.quick else None
    return options


def measure(
    volume: MuVolume, contestants: Sequence[Contestant], options: argparse.Namespace
) -> list[dict[str, Any]]:
    """Rows of all sizes."""
    budget = Budget(60 * options.minutes)
    return [
        row
        for number, size_px in enumerate(options.size)
        for row in measure_size(
            volume, contestants, options, size_px, budget.part(1 / (len(options.size) - number))
        )
    ]


def measure_size(
    volume: MuVolume,
    contestants: Sequence[Contestant],
    options: argparse.Namespace,
    size_px: int,
    budget: Budget,
) -> list[dict[str, Any]]:
    """Rows of all views that the time is enough for, of the first one at least."""
    rows: list[dict[str, Any]] = []
    views = make_views(volume.grid, size_px, names=options.views)
    costs_s = dict[tuple[str, str], float]()
    for number, (name, view) in enumerate(views.items()):
        if number and not budget.allows(f"view {name}"):
            continue
        truth = find_truth(volume, view)
        for one in contestants:
            one.set_view(view)
            for task in one.tasks if number == 0 else ():
                one.run(task)  # compiles, allocates, starts threads
        patience_s = max(LEAST_S, budget.left_s / (len(views) - number) / SLOW_JOBS)
        jobs = measure_view(
            contestants,
            repeats=options.repeats,
            patience_s=patience_s,
            seed=number,
            tell=_tell,
            left_out=_too_slow(costs_s, WORTH_WAITING * patience_s, name),
        )
        costs_s |= {(job.contestant.name, job.task): job.seconds for job in jobs}
        size = f"{size_px}x{size_px}"
        rows += rows_of_view(name, jobs, truth, threads=options.threads, size=size)
        print(f"\r{size}, view {name}: done".ljust(79), flush=True)
    return rows


def _too_slow(
    costs_s: Mapping[tuple[str, str], float], limit_s: float, view: str
) -> set[tuple[str, str]]:
    """Contestants and tasks whose last call took more than a limit; says so."""
    slow = {job for job, cost_s in costs_s.items() if cost_s > limit_s}
    for name, task in sorted(slow):
        print(f"\rview {view}: {name}, {task} left out, a call takes over {limit_s:.0f} s")
    return slow


def _tell(job: Job) -> None:
    if sys.stdout.isatty():
        print(f"\r{job.contestant.name}, {job.task}".ljust(79), end="", flush=True)


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure, and say on what."""
    volume = load_ct()
    machine = describe_machine() | {"load_before": load_average()}
    device = open_device(options.device, workers=options.threads)
    start = time.monotonic()
    with contextlib.ExitStack() as stack:
        peers = (
            []
            if options.no_peers
            else stack.enter_context(
                open_peers(
                    volume,
                    threads=options.threads,
                    device=options.device,
                    python=options.peers_python,
                )
            )
        )
        versions = {name: text for peer in peers for name, text in peer.versions.items()}
        rows = measure(volume, [*own_projectors(volume, device), *peers], options)
    machine["packages"] |= versions
    return {
        "machine": machine | {"device": device.name, "load_after": load_average()},
        "minutes": (time.monotonic() - start) / 60,
        "volume": {"source": volume.source, "shape_zyx": volume.grid.shape_zyx},
        "views_asked": len(options.views or poses()),
        "summary": summarise(rows),
        "rows": rows,
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, write."""
    options = arguments(argv)
    try:
        results = run(options)
    except FluoroError as error:
        print(f"benchmark: {error}", file=sys.stderr)
        return 1
    table, conditions = markdown_table(results["summary"]), say_conditions(results)
    print(f"{table}\n{conditions}")
    name = FILES[options.device]
    file = "cpu.json" if name == "cpu" else f"projectors_{name}.json"
    write_json((options.folder or ROOT / "benchmarks" / "results") / file, results)
    _plot(results, options, f"benchmark_{name}.png", conditions)
    if not (options.quick or options.no_peers):
        text = f"{table}\n\n{conditions}\n"
        put_into_document(RESULTS_PAGE, f"projectors {name}", text)
    return 0


def _plot(results: dict[str, Any], options: argparse.Namespace, name: str, conditions: str) -> None:
    """Of the first size."""
    first = f"{options.size[0]}x{options.size[0]}"
    rows, summary = (
        [row for row in results[part] if row["size"] == first] for part in ("rows", "summary")
    )
    plot_projectors(
        (options.folder or ROOT / "docs" / "images") / name,
        rows,
        summary,
        f"chest CT, {first.replace('x', ' x ')} pixels; {conditions}",
    )


def say_conditions(results: dict[str, Any]) -> str:
    """On what and beside what it ran."""
    machine = results["machine"]
    return (
        f"{machine['device']}; {machine['processor']}, {machine['cores']} cores, "
        f"{machine['vector_units']}; load average {machine['load_before']} before, "
        f"{machine['load_after']} after; {say_views(results)}"
    )


def say_views(results: dict[str, Any]) -> str:
    """Of how many views the medians are, and who had no time for all of them."""
    asked = results["views_asked"]
    fewer = [row for row in results["summary"] if row["views"] < asked]
    if not fewer:
        return f"all on {asked} views"
    parts = [f"{row['name']} {row['task']} {row['views']}" for row in fewer]
    if len(fewer) == len(results["summary"]):
        return f"for want of time on {max(row['views'] for row in fewer)} of {asked} views at most"
    return f"{asked} views, for want of time fewer of: {', '.join(parts)}"


if __name__ == "__main__":
    sys.exit(main())

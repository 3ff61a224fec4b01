#!/usr/bin/env python3
"""Seconds from the start of the application to its first frame: kernels cached, and none.

    python benchmarks/start_up.py              a minute; configs/sweep.yaml
    python benchmarks/start_up.py --config live --rounds 5
    python benchmarks/start_up.py --against WORKTREE
        the same of another work tree of this project, in turn

Volumes are in the cache. CPU time is that of the whole run of one frame, with its compilers. The
library's own first frame is measured by scaling.py. Writes benchmarks/results/start_up_cpu.json
and the table in docs/benchmarks/results.md, but not with --against.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.harness.command_line import count
from benchmarks.harness.first_frame import start_application
from benchmarks.harness.machine import describe_machine, load_average
from benchmarks.harness.report import publish

ROOT = Path(__file__).resolve().parents[1]
CASES = {"no kernels": True, "all cached": False}


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--config", default="sweep", help="name of a file in configs/")
    parser.add_argument("--rounds", type=count, default=5)
    parser.add_argument("--against", type=Path, metavar="WORKTREE")
    options = parser.parse_args()
    trees = [ROOT] if options.against is None else [options.against.resolve(), ROOT]
    for tree, rows in measure(trees, options.config, options.rounds).items():
        print(f"{tree.name}, {options.config}:", *map(line, rows), sep="\n")
    if options.against is None:
        results = {"machine": describe_machine(), "config": options.config, "rows": rows}
        publish("start_up_cpu", results, table(rows), None, document=options.config == "sweep")


def measure(trees: list[Path], config: str, rounds: int) -> dict[Path, list[dict[str, Any]]]:
    """Return a row for each case of each tree; the rounds alternate."""
    with tempfile.TemporaryDirectory() as name:
        caches = {tree: Path(name) / str(number) for number, tree in enumerate(trees)}
        found: dict[Path, dict[str, list[dict[str, float]]]] = {}
        for tree, cache in caches.items():
            start_application(tree, config, cache, cold=True)  # makes the volume
            found[tree] = {case: [] for case in CASES}
        loads = [load_average()]
        for _ in range(rounds):
            for tree, cache in caches.items():
                for case, cold in CASES.items():
                    found[tree][case].append(start_application(tree, config, cache, cold=cold))
            loads.append(load_average())
    load = {"load": [min(loads), max(loads)]}
    return {
        tree: [row(case, runs) | load for case, runs in cases.items()]
        for tree, cases in found.items()
    }


def row(case: str, runs: list[dict[str, float]]) -> dict[str, Any]:
    """Return the medians of one case, and every time to the first frame."""
    names = ("first_frame_s", "cpu_s", "kernels")
    medians = {name: statistics.median(run[name] for run in runs) for name in names}
    return {"case": case, **medians, "all_first_frame_s": [run["first_frame_s"] for run in runs]}


def line(found: dict[str, Any]) -> str:
    """Return one case in a line."""
    every = ", ".join(f"{seconds:.2f}" for seconds in found["all_first_frame_s"])
    return (
        f"  {found['case']}: first frame after {found['first_frame_s']:.2f} s ({every}), CPU time "
        f"{found['cpu_s']:.2f} s, {found['kernels']:.0f} kernels compiled"
    )


def table(rows: list[dict[str, Any]]) -> str:
    """Return the results as a Markdown table."""
    lines = [
        "| cache | kernels compiled | first frame | CPU time of the run |",
        "|---|---|---|---|",
    ]
    for each in rows:
        times = f"{each['first_frame_s']:.1f} s | {each['cpu_s']:.1f} s"
        lines.append(f"| {each['case']} | {each['kernels']:.0f} | {times} |")
    least, most = rows[0]["load"]
    return "\n".join([*lines, "", f"load average {least:.1f} to {most:.1f}"])


if __name__ == "__main__":
    main()

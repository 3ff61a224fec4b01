#!/usr/bin/env python3
"""Registration of the chest CT from many starts, fluoro's beside nanodrr's.

    python benchmarks/registration.py --minutes 40     at most so long; go on with another call
    python benchmarks/registration.py                  everything: about 50 minutes on 2 cores
    python benchmarks/registration.py --no-peers       without nanodrr and without RTK's images
    python benchmarks/registration.py --report         tables and plots of the rows there are

First come the starts that both programs do, next to each other, then the rest of fluoro's; of
nanodrr's as many as leave the time for all of fluoro's and for the tracking. What is left out is
reported. Rows are kept in output/benchmarks/registration.jsonl, each with its case;
remove the file to start again. Prints a table and writes benchmarks/results/registration.json,
docs/images/benchmark_registration.png and the tables of docs/benchmarks/results.md.
docs/benchmarks/method.md says how it measures.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import fluoro.command_line.one_blas_thread  # noqa: F401

# isort: split

from benchmarks.harness.budget import Budget
from benchmarks.harness.command_line import count
from benchmarks.harness.machine import describe_machine
from benchmarks.harness.peers import open_peers
from benchmarks.harness.plots import plot_registration
from benchmarks.harness.registration_cases import GEOMETRY, Case, Targets, make_cases
from benchmarks.harness.registration_plan import Pace, count_by_program, plan
from benchmarks.harness.registration_report import (
    compare_with_peer,
    stratum_table,
    summarise_registration,
    target_table,
)
from benchmarks.harness.registration_rows import Rows, register_ours, register_peer
from benchmarks.harness.report import RESULTS_PAGE, put_into_document, write_json
from benchmarks.harness.scene import load_ct
from benchmarks.harness.tracking_rate import follow_sweep
from fluoro.config import RegistrationSettings
from fluoro.errors import FluoroError, OutputError
from fluoro.registration.register import Registrar
from fluoro.registration.search.pyramid import coarser_volume
from fluoro.rendering.devices.cpu.worker_threads import available_cores
from fluoro.rendering.devices.selection import open_device
from fluoro.rendering.renderer import DrrRenderer

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "registration.json"
ROWS = ROOT / "output" / "benchmarks" / "registration.jsonl"
PEER_METHOD = {
    "rate_rad": 0.05,
    "rate_mm": 10.0,
    "iterations": 80,
    "coarse_iterations": 50,
    "samples": 160,
}
"""nanodrr's tutorial takes these rates, 500 iterations and 500 samples a ray."""
PEER_VOXEL_MM = 1.4
"""Voxels are joined up to this in the slice: a quarter of the memory that nanodrr reads."""


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--threads", type=count, default=available_cores())
    parser.add_argument("--starts", type=count, default=17, help="fluoro's, a stratum and target")
    parser.add_argument("--peer-starts", type=int, default=5, help="of these nanodrr's too")
    parser.add_argument("--minutes", type=float, default=1e9, help="then stop, to go on later")
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument(
        "--only",
        choices=("fluoro", "nanodrr"),
        help="whose rows are measured; for fluoro's nanodrr is not opened",
    )
    parser.add_argument("--peers-python", type=Path, help="an environment that has the peers")
    parser.add_argument("--report", action="store_true", help="measure nothing")
    return parser.parse_args(argv)


class Bench:
    """Volume, renderers and peers, and where the rows go."""

    def __init__(self, options: argparse.Namespace, stack: contextlib.ExitStack) -> None:
        self.options, self.rows = options, Rows(ROWS)
        self.volume = load_ct()
        self.device = open_device("cpu", workers=options.threads)
        self.center_xyz_mm = self.volume.grid.center_xyz_mm
        self.registrar = Registrar(self.volume, self.device, center_xyz_mm=self.center_xyz_mm)
        self.peers = {} if options.no_peers else self._peers(stack)
        rtk = self.peers.get("RTK Joseph")
        self.march = DrrRenderer(self.volume, self.device, projector="march")
        self.targets = Targets(self.march, rtk.render if rtk else None)

    def _peers(self, stack: contextlib.ExitStack) -> dict[str, Any]:
        found = {}
        volumes = {"RTK Joseph": self.volume, "nanodrr": coarser_volume(self.volume, PEER_VOXEL_MM)}
        for name, volume in volumes.items():
            if name == "nanodrr" and self.options.only == "fluoro":
                continue
            peers = open_peers(
                volume,
                threads=self.options.threads,
                device="cpu",
                python=self.options.peers_python,
                names=(name,),
            )
            found |= {peer.name: peer for peer in stack.enter_context(peers)}
        return found

    def cases(self) -> list[Case]:
        """All, without those whose images need a peer that is not there."""
        every = make_cases(self.options.starts)
        return [case for case in every if self.peers or not case.kind.startswith("RTK")]

    def measure(self, case: Case, program: str) -> None:
        """One row."""
        true, start = case.views(self.center_xyz_mm)
        target = self.targets.make(case, true)
        if program == "fluoro":
            answer = register_ours(self.registrar, target, start)
        else:
            answer = register_peer(self.peers[program], target, start, PEER_METHOD)
        row = self.rows.add(program, case, answer, true, start, self.center_xyz_mm)
        print(
            f"{program}, {case.kind}, {row['start_mtre_mm']:.1f} mm: {row['mtre_mm']:.2f} mm, "
            f"{row['seconds']:.1f} s ({row['cpu_seconds']:.1f} s of processor)",
            flush=True,
        )


def jobs(bench: Bench) -> list[tuple[Case, str]]:
    """Return cases and programs, alternately."""
    options = bench.options
    everything = plan(bench.cases(), options.peer_starts if bench.peers else 0)
    return [job for job in everything if options.only in (None, job[1])]


def fill_in(bench: Bench, wanted: Sequence[tuple[Case, str]], budget: Budget) -> None:
    """The rows that are missing and fit into the time."""
    pace = Pace(budget)
    missing = [job for job in wanted if not bench.rows.has(job[1], job[0])]
    for number, (case, program) in enumerate(missing):
        ours_after = count_by_program(missing[number + 1 :])["fluoro"]
        if pace.allows(program, ours_after):
            pace.run(program, lambda case=case, program=program: bench.measure(case, program))


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Fill in the rows that are missing; then measure tracking, again each time."""
    budget = Budget(60 * options.minutes)
    with contextlib.ExitStack() as stack:
        bench = Bench(options, stack)
        wanted = jobs(bench)
        fill_in(bench, wanted, budget)
        settings = RegistrationSettings(measure="local_fit", projector="slab")  # RegistrationOp's
        tracker = Registrar(bench.volume, bench.device, settings, center_xyz_mm=bench.center_xyz_mm)
        tracking = follow_sweep(tracker, bench.march, GEOMETRY)
        left_out = [job for job in wanted if not bench.rows.has(job[1], job[0])]
        found = {
            "machine": describe_machine(),
            "tracking": tracking,
            "wanted": count_by_program(wanted),
            "left_out": count_by_program(left_out),
        }
        for peer in bench.peers.values():
            found["machine"]["packages"] |= peer.versions
        return found


def results_of(rows: Sequence[dict[str, Any]], measured: dict[str, Any]) -> dict[str, Any]:
    """Everything that the results file holds."""
    return {
        **measured,
        "detector": {"width_px": GEOMETRY.detector_width_px, "pitch_mm": GEOMETRY.pixel_spacing_mm},
        "peer_method": PEER_METHOD | {"voxel_mm": PEER_VOXEL_MM},
        "beside_nanodrr": compare_with_peer(rows),
        "summary": summarise_registration(rows),
        "rows": list(rows),
    }


def write(results: dict[str, Any]) -> None:
    """The results file, the plots and the document's tables."""
    summary = results["summary"]
    write_json(RESULTS, results)
    plot_registration(ROOT / "docs" / "images" / "benchmark_registration.png", results["rows"])
    text = f"{target_table(summary)}\n\n{say_conditions(results)}\n"
    put_into_document(RESULTS_PAGE, "registration", text)
    put_into_document(RESULTS_PAGE, "registration strata", f"{stratum_table(summary)}\n")
    print(text)


def say_conditions(results: dict[str, Any]) -> str:
    """Beside nanodrr, the tracking, the machine."""
    machine, both, track = (results[key] for key in ("machine", "beside_nanodrr", "tracking"))
    beside = (
        f"Over the {both['registrations']} registrations that both programs did: median mTRE "
        f"{both['fluoro_median_mm']:.2f} mm (fluoro) and {both['nanodrr_median_mm']:.2f} mm "
        f"(nanodrr); fluoro is {both['times_faster_seconds']:.0f} times faster by wall time, "
        f"{both['times_faster_cpu_seconds']:.0f} times by CPU time (medians).\n"
        if both["registrations"]
        else ""
    )
    loads = [row["load"] for row in results["rows"]]
    return (
        f"{_say_left_out(results)}{beside}"
        f"Tracking, {track['frames']} frames of a noisy sweep, 128 x 128 pixels: "
        f"{track['estimates_per_second']:.1f} estimates a second, "
        f"{track['cpu_seconds_per_estimate']:.3f} s of processor each; {track['believed']} "
        f"believed, median mTRE {track['median_mm']:.2f} mm, "
        f"95th percentile {track['p95_mm']:.2f} mm.\n"
        f"{machine['processor']}, {machine['cores']} cores, {machine['vector_units']}; "
        f"load average {min(loads)} to {max(loads)}"
    )


def _say_left_out(results: dict[str, Any]) -> str:
    wanted, left_out = results["wanted"], results["left_out"]
    parts = [f"{name} {n - left_out[name]} of {n}" for name, n in wanted.items() if n]
    commits = sorted({row["commit"] for row in results["rows"]})
    rest = f", {sum(left_out.values())} left out for want of time" if any(left_out.values()) else ""
    return f"Registrations done: {', '.join(parts)}{rest}. Commit {', '.join(commits)}.\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, write."""
    options = arguments(argv)
    try:
        measured = measured_before() if options.report else measure(options)
    except FluoroError as error:
        print(f"benchmark: {error}", file=sys.stderr)
        return 1
    cases = make_cases(max(options.starts, options.peer_starts))
    write(results_of(Rows(ROWS).of(cases), measured))
    return 0


def measured_before() -> dict[str, Any]:
    """Machine, tracking and what was left out as the results file has them."""
    if not RESULTS.is_file():
        raise OutputError(f"{RESULTS} is not there yet: run without --report first")
    content = json.loads(RESULTS.read_text())
    wanted = ("machine", "tracking", "wanted", "left_out")
    if missing := [key for key in wanted if key not in content]:
        raise OutputError(f"{RESULTS} does not say {missing[0]}: run without --report first")
    return {key: content[key] for key in wanted}


if __name__ == "__main__":
    sys.exit(main())

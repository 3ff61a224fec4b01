#!/usr/bin/env python3
"""All benchmarks of `make bench` one after the other, within a time; then how long each took.

    python benchmarks/suite.py              15 minutes: all of them, projectors beside peers
    python benchmarks/suite.py --quick      under 2 minutes: guard, fluoro's own projectors
    python benchmarks/suite.py --minutes 30

Each benchmark gets its share of the remaining time and leaves out what does not fit, but it always
measures its first part: on a loaded machine the whole may therefore take longer.
Making the peers' environment, once, does not count. A benchmark that fails does not stop the
others; the exit status is 1 then.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.harness.budget import Budget
from benchmarks.harness.peers import make_environment
from fluoro.errors import FluoroError

FOLDER = Path(__file__).parent


@dataclass(frozen=True, kw_only=True)
class Step:
    """A benchmark.

    Attributes:
        script: Its file.
        minutes: Its part of the time.
        told: Whether it takes `--minutes`; the others take what they take.
        arguments: More for it.
    """

    script: str
    minutes: float
    told: bool = True
    arguments: tuple[str, ...] = ()


FULL = (
    Step(script="guard.py", minutes=0.5, told=False),
    Step(script="projectors.py", minutes=5.5),
    Step(script="rates.py", minutes=0.5, told=False),
    Step(script="labels.py", minutes=0.5, told=False),
    Step(script="instruments.py", minutes=0.5, told=False),
    Step(script="meshes.py", minutes=0.5, told=False),
    Step(script="datasets.py", minutes=1.0, told=False),
    Step(script="full_chain.py", minutes=2.0),
    Step(script="graph.py", minutes=1.6),
    Step(script="scaling.py", minutes=2.4),
)
QUICK = (
    Step(script="guard.py", minutes=0.5, told=False),
    Step(script="projectors.py", minutes=1.0, arguments=("--no-peers", "--quick")),
)


def part_of(steps: Sequence[Step], left_s: float) -> float:
    """Minutes for the first of the steps that are left; more than its own where there is more."""
    return left_s / 60 * steps[0].minutes / sum(step.minutes for step in steps)


def run_steps(steps: Sequence[Step], budget: Budget) -> tuple[list[str], int]:
    """Run them all; a line on each, and how many failed."""
    lines, failures = [], 0
    for number, step in enumerate(steps):
        minutes, start_s = part_of(steps[number:], budget.left_s), time.monotonic()
        command = [sys.executable, str(FOLDER / step.script), *step.arguments]
        told = ["--minutes", f"{minutes:.2f}"] if step.told else []
        print(f"\n== {step.script} {' '.join([*step.arguments, *told])}", flush=True)
        status = subprocess.run([*command, *told], check=False).returncode
        failures += status != 0
        ended = "" if status == 0 else f", FAILED with exit status {status}"
        lines.append(f"{step.script}: {(time.monotonic() - start_s) / 60:.1f} minutes{ended}")
    return lines, failures


def main(argv: Sequence[str] | None = None) -> int:
    """Run, and say how long it took."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fluoro alone, few pixels")
    parser.add_argument("--minutes", type=float, help="in all (default: 15, or 1.5 with --quick)")
    options = parser.parse_args(argv)
    if not options.quick:
        try:
            make_environment()
        except FluoroError as error:
            print(f"bench: {error}", file=sys.stderr)
            return 1
    minutes = options.minutes or (1.5 if options.quick else 15.0)
    start_s = time.monotonic()
    lines, failures = run_steps(QUICK if options.quick else FULL, Budget(60 * minutes))
    total = f"{(time.monotonic() - start_s) / 60:.1f} minutes in all, {minutes:g} were planned"
    print("\n" + "\n".join([*lines, total]))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())

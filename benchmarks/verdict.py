#!/usr/bin/env python3
"""Whether registration believes what it should: images and C-arms that are wrong, and right ones.

    python benchmarks/verdict.py --seed 7                 300 wrong cases and 200 right ones
    python benchmarks/verdict.py --seed 7 --minutes 20    at most so long; go on with another call
    python benchmarks/verdict.py --seed 7 --report        the table of the rows there are
    python benchmarks/verdict.py --seed 7 --report --write     and docs/registration.md's
    python benchmarks/verdict.py --fit 50 51 52           coefficients of the confidence from rows
    python benchmarks/verdict.py --fit 50 51 52 --write   and its curve in docs/registration.md

A pose counts as wrong if the corners of a 120 mm cube are off by more than 5 mm, or by more than 2
mm in the image's plane. It needs the chest CT (`app.py fetch chest-ct`). Rows are kept in
output/benchmarks/verdict-seed-SEED.jsonl, kinds in turn; remove the file to start again. The
program ends with 1 if a wrong pose was believed or fewer than 98 % of the right ones.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import fluoro.command_line.one_blas_thread  # noqa: F401

# isort: split

from benchmarks.harness.budget import Budget
from benchmarks.harness.report import put_into_document
from benchmarks.harness.verdict_cases import RIGHT, VerdictTargets, draw_cases
from benchmarks.harness.verdict_rows import (
    Row,
    VerdictRows,
    coverage,
    fit_confidence,
    held_out,
    reliability,
    table,
)
from fluoro.errors import FluoroError
from fluoro.plot.line_charts import Curve, Panel, write_curves
from fluoro.rendering.devices.selection import open_device

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "registration.md"
CURVE = ROOT / "docs" / "images" / "verdict_reliability.png"
HEAD = ["Images or C-arm", "cases", "believed", "believed though wrong", "right, not believed"]
LEAST_BELIEVED, LEAST_IN_BIN = 0.98, 5
BLUE, GREY = (31, 119, 180), (150, 158, 164)


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seed", type=int, default=0, help="of all that is drawn")
    parser.add_argument("--right", type=int, default=200, help="right cases")
    parser.add_argument("--share", type=float, default=1.0, help="of the wrong cases")
    parser.add_argument("--minutes", type=float, default=1e9, help="then stop, to go on later")
    parser.add_argument("--report", action="store_true", help="measure nothing")
    parser.add_argument(
        "--write",
        action="store_true",
        help="the table, or with --fit the curve, into docs/registration.md",
    )
    parser.add_argument(
        "--fit",
        type=int,
        nargs="+",
        metavar="SEED",
        help="print the confidence's coefficients from these seeds' rows",
    )
    return parser.parse_args(argv)


def rows_file(seed: int) -> Path:
    """Where a seed's rows are kept."""
    return ROOT / "output" / "benchmarks" / f"verdict-seed-{seed}.jsonl"


def measure(rows: VerdictRows, options: argparse.Namespace) -> None:
    """The rows that are missing, as far as the time goes."""
    budget = Budget(60 * options.minutes)
    for case in rows.missing(draw_cases(options.seed, options.right, options.share)):
        if budget.left_s <= 0:
            return
        row = rows.add(case)
        state = "believed" if row["believed"] else "not believed"
        print(
            f"{case.kind} {case.number}: {state}, {row['error_mm']:.2f} mm off, "
            f"{row['in_plane_mm']:.2f} mm in the plane; {row['reason']}",
            flush=True,
        )


def summary(rows: Sequence[Row], seed: int) -> str:
    """The table and what it does not show."""
    one, two = coverage(rows)
    seconds = sorted(row["cpu_s"] for row in rows if row["kind"] == RIGHT)
    lines = [
        markdown([HEAD, *table(rows)]),
        "",
        f"Seed {seed}. Of the right poses' errors {one:.0%} are within one stated deviation, "
        f"{two:.0%} within two.",
    ]
    if seconds:
        lines.append(
            f"Median CPU time of a right registration: {seconds[len(seconds) // 2]:.2f} s."
        )
    return "\n".join(lines)


def fit(seeds: Sequence[int], targets: VerdictTargets, *, write: bool) -> int:
    """Print the confidence's coefficients, and how reliable it is for rows that are held out."""
    each = (VerdictRows(rows_file(seed), targets).all for seed in seeds)
    rows = list(chain.from_iterable(each))
    print(fit_confidence(rows).round(2).tolist())
    others = held_out(rows)
    for stated, right, count in reliability(others):
        print(f"confidence {stated:.2f}: {right:.0%} of {count} right")
    if write:
        draw(others)
    return 0


def markdown(lines: Sequence[Sequence[str]]) -> str:
    """A table; the first line is its head."""
    head, *rest = lines
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *rest))


def draw(rows: Sequence[Row]) -> None:
    """The reliability curve, without bins of few cases."""
    bins = [each for each in reliability(rows) if each[2] >= LEAST_IN_BIN]
    stated, right, _ = zip(*bins, strict=True)
    curves = [
        Curve(name="stated = found", color=GREY, x=[0.0, 1.0], y=[0.0, 1.0]),
        Curve(name="share that is right", color=BLUE, x=stated, y=right),
        Curve(name="bins", color=BLUE, x=stated, y=right, dots=True),
    ]
    write_curves(CURVE, "confidence", [Panel(title="Share of right poses", curves=curves)])


def exit_code(rows: Sequence[Row]) -> int:
    """0 where the aims are met."""
    *_, wrong, right = table(rows)
    believed = int(right[2]) / max(int(right[1]), 1)
    return int(int(wrong[3]) > 0 or int(right[3]) < 0 or believed < LEAST_BELIEVED)


def main(argv: Sequence[str] | None = None) -> int:
    """Run it."""
    options = arguments(argv)
    try:
        targets = VerdictTargets(open_device("cpu"))
        if options.fit:
            return fit(options.fit, targets, write=options.write)
        rows = VerdictRows(rows_file(options.seed), targets)
        if not options.report:
            measure(rows, options)
        text = summary(rows.all, options.seed)
        print(text)
        for stated, right, count in reliability(rows.all):
            print(f"confidence {stated:.2f}: {right:.0%} of {count} right")
        if options.write:
            put_into_document(PAGE, "assessment", text)
    except FluoroError as error:
        print(f"benchmarks/verdict.py: {error}", file=sys.stderr)
        return 2
    return exit_code(rows.all)


if __name__ == "__main__":
    sys.exit(main())

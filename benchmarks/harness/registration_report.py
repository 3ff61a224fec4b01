"""What the rows of registrations say: by stratum, by target, and as tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.harness.registration_cases import KINDS, STRATA, STRATUM_MM
from fluoro.registration.measures.metrics import SUCCESS_MM, capture_range_mm, strata

__all__ = ["compare_with_peer", "stratum_table", "summarise_registration", "target_table"]

Row = dict[str, Any]
PROGRAMS = ("fluoro", "nanodrr")


def _rows(rows: Sequence[Row], program: str, kind: str) -> list[Row]:
    return [row for row in rows if (row["program"], row["kind"]) == (program, kind)]


def summarise_registration(rows: Sequence[Row]) -> list[Row]:
    """One row a program, target and stratum; the whole of a target as stratum None."""
    found = []
    for kind in KINDS:
        for program in PROGRAMS:
            mine = _rows(rows, program, kind)
            parts = [[row for row in mine if row["stratum"] == n] for n in range(STRATA)]
            head = {"program": program, "kind": kind}
            found += [head | _figures(part, n) for n, part in enumerate(parts) if part]
            if mine:
                found.append(head | _figures(mine, None) | _of_all(mine))
    return found


def _figures(rows: Sequence[Row], stratum: int | None) -> Row:
    (whole,) = strata(np.zeros(len(rows)), [row["mtre_mm"] for row in rows])
    return {
        "stratum": stratum,
        "count": len(rows),
        "success": whole.success,
        "below_1_mm": whole.below_1_mm,
        "median_mm": whole.median_mm,
        "p95_mm": whole.p95_mm,
        **{
            key: float(np.median([row[key] for row in rows]))
            for key in ("mrpe_mm", "seconds", "cpu_seconds", "iterations")
        },
    }


def _of_all(rows: Sequence[Row]) -> Row:
    starts, ends = ([row[key] for row in rows] for key in ("start_mtre_mm", "mtre_mm"))
    believed = [row for row in rows if row["converged"]]
    return {
        "capture_range_mm": capture_range_mm(starts, ends, bin_mm=STRATUM_MM),
        "believed": len(believed),
        "believed_but_wrong": sum(row["mtre_mm"] >= SUCCESS_MM for row in believed),
    }


def compare_with_peer(rows: Sequence[Row]) -> Row:
    """Medians over the registrations that both have done."""
    ours, theirs = (
        {_case(row): row for row in rows if row["program"] == program} for program in PROGRAMS
    )
    both = sorted(set(ours) & set(theirs))
    if not both:
        return {"registrations": 0}
    ratios = {
        f"times_faster_{clock}": float(
            np.median([theirs[case][clock] / ours[case][clock] for case in both])
        )
        for clock in ("seconds", "cpu_seconds")
    }
    medians = {
        f"{program}_median_mm": float(np.median([found[case]["mtre_mm"] for case in both]))
        for program, found in zip(PROGRAMS, (ours, theirs), strict=True)
    }
    return {"registrations": len(both), **ratios, **medians}


def _case(row: Row) -> tuple[Any, ...]:
    return row["kind"], row["stratum"], row["number"], row["drawn"]


COLUMNS = (
    ("starts", "count", "{:d}"),
    ("success", "success", "{:.0%}"),
    ("< 1 mm", "below_1_mm", "{:.0%}"),
    ("median mm", "median_mm", "{:.2f}"),
    ("95 % mm", "p95_mm", "{:.2f}"),
    ("mRPE mm", "mrpe_mm", "{:.2f}"),
    ("s", "seconds", "{:.1f}"),
    ("cpu s", "cpu_seconds", "{:.2f}"),
)
WHOLE = (
    ("capture range mm", "capture_range_mm", "{:.0f}"),
    ("believed", "believed", "{:d}"),
    ("of these wrong", "believed_but_wrong", "{:d}"),
)


def target_table(summary: Sequence[Row]) -> str:
    """One line a target and program."""
    rows = [row for row in summary if row["stratum"] is None]
    return _table(rows, ("target", "program"), lambda row: (row["kind"], row["program"]), WHOLE)


def stratum_table(summary: Sequence[Row]) -> str:
    """One line a target, program and stratum."""
    rows = [row for row in summary if row["stratum"] is not None]
    return _table(
        rows,
        ("target", "program", "start mm"),
        lambda row: (row["kind"], row["program"], _span(row["stratum"])),
    )


def _span(stratum: int) -> str:
    return f"{STRATUM_MM * stratum:.0f} to {STRATUM_MM * (stratum + 1):.0f}"


def _table(rows: Sequence[Row], heads: Any, first: Any, more: Any = ()) -> str:
    columns = (*COLUMNS, *more)
    lines = [[*heads, *(head for head, _, _ in columns)], ["---"] * (len(heads) + len(columns))]
    lines += [[*first(row), *(form.format(row[key]) for _, key, form in columns)] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)

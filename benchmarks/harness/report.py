"""Rows, their summary, the printed table and the JSON file."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness.exact_integrals import Truth
from benchmarks.harness.rounds import Job
from fluoro.errors import OutputError

__all__ = [
    "RESULTS_PAGE", "markdown_table", "publish", "put_into_document", "rows_of_view", "summarise",
    "write_json",
]  # fmt: skip

BENCHMARKS = Path(__file__).parents[1]
RESULTS_PAGE = BENCHMARKS.parent / "docs" / "benchmarks" / "results.md"
"""The page with the table of each program."""

REFERENCES = {"times_rtk": "RTK Joseph", "times_nanodrr": "nanodrr"}
"""How many times faster a contestant is than these, view by view, then the median."""
ERRORS = ("error_rmse", "error_p999", "uncut_rmse", "uncut_p999", "gradient_error")
MEASURED = ("seconds", "cpu_seconds", *ERRORS)

Row = dict[str, Any]


def rows_of_view(
    view: str, jobs: Iterable[Job], truth: Truth, *, threads: int, size: str
) -> list[Row]:
    """One row a contestant and task."""
    return [_row(job, truth) | {"threads": threads, "size": size, "view": view} for job in jobs]


def _row(job: Job, truth: Truth) -> Row:
    first = job.calls[0]
    row: Row = {
        "name": job.contestant.name,
        "task": job.task,
        "seconds": job.seconds,
        **truth.image_errors(np.asarray(first.image)),
        "cpu_seconds": job.cpu_seconds,
        "fastest_seconds": min(call.seconds for call in job.calls),
        "calls": len(job.calls),
    }
    if first.shift_gradient is not None:
        row["gradient_error"] = truth.gradient_error(first.shift_gradient)
    return row


def summarise(rows: Sequence[Row]) -> list[Row]:
    """Medians over the views, and speed relative to the references on the same view and task."""
    kinds = dict.fromkeys(_kind(row) for row in rows)
    return [_summary(kind, rows) for kind in kinds]


def _kind(row: Row) -> tuple[str, str, str]:
    return row["size"], row["name"], row["task"]


def _summary(kind: tuple[str, str, str], rows: Sequence[Row]) -> Row:
    size, name, task = kind
    mine = [row for row in rows if _kind(row) == kind]
    summary: Row = {"size": size, "name": name, "task": task, "views": len(mine)}
    for key in MEASURED:
        values = [row[key] for row in mine if key in row]
        if values:
            summary[key] = statistics.median(values)
    for key, reference in REFERENCES.items():
        for clock in ("seconds", "cpu_seconds"):
            ratios = _ratios(mine, [row for row in rows if row["name"] == reference], clock)
            if ratios:
                summary[key if clock == "seconds" else f"{key}_cpu"] = statistics.median(ratios)
    return summary


def _ratios(mine: Sequence[Row], references: Sequence[Row], clock: str) -> list[float]:
    theirs = {_place(row): row[clock] for row in references}
    return [theirs[_place(row)] / row[clock] for row in mine if _place(row) in theirs]


def _place(row: Row) -> tuple[str, str, str]:
    return row["size"], row["view"], row["task"]


COLUMNS = (
    ("ms", "seconds", lambda value: f"{1e3 * value:.1f}"),
    ("cpu ms", "cpu_seconds", lambda value: f"{1e3 * value:.1f}"),
    ("RMSE", "error_rmse", lambda value: f"{value:.1e}"),
    ("99.9 %", "error_p999", lambda value: f"{value:.1e}"),
    ("uncut RMSE", "uncut_rmse", lambda value: f"{value:.1e}"),
    ("99.9 %", "uncut_p999", lambda value: f"{value:.1e}"),
    ("gradient", "gradient_error", lambda value: f"{value:.1e}"),
    ("x RTK", "times_rtk", lambda value: f"{value:.2f}"),
    ("(cpu)", "times_rtk_cpu", lambda value: f"{value:.2f}"),
    ("x nanodrr", "times_nanodrr", lambda value: f"{value:.1f}"),
    ("(cpu)", "times_nanodrr_cpu", lambda value: f"{value:.1f}"),
)


def markdown_table(summary: Sequence[Row]) -> str:
    """One line a size, contestant and task, fastest first within a task."""
    heads = ["pixels", "task", "program", *(head for head, _key, _text in COLUMNS)]
    lines = [heads, ["---"] * len(heads)]
    sizes = list(dict.fromkeys(row["size"] for row in summary))
    order = lambda row: (sizes.index(row["size"]), row["task"], row["seconds"])  # noqa: E731
    for row in sorted(summary, key=order):
        cells = [text(row[key]) if key in row else "" for _head, key, text in COLUMNS]
        lines.append([row["size"], row["task"], row["name"], *cells])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def publish(
    name: str, results: dict[str, Any], text: str, folder: Path | None, *, document: bool
) -> None:
    """Print a table, and write it and the results.

    Args:
        name: Of the JSON file, without suffix; its place in docs/benchmarks/results.md has
            spaces for its underscores.
        results: What the file holds.
        text: Table and conditions.
        folder: For the file, and the document is left alone; None: benchmarks/results.
        document: Whether the document has a place for the table.

    Raises:
        OutputError: It has none.
    """
    print(text)
    write_json((folder or BENCHMARKS / "results") / f"{name}.json", results)
    if folder is None and document:
        put_into_document(RESULTS_PAGE, name.replace("_", " "), text)


def put_into_document(path: Path, name: str, text: str) -> None:
    """Replace what stands between `<!-- name -->` and `<!-- end -->` in a document.

    Raises:
        OutputError: The document has no such place.
    """
    begin, end = f"<!-- {name} -->\n", "<!-- end -->"
    before, found, after = path.read_text().partition(begin)
    if not (found and end in after):
        raise OutputError(f"{path} must have a place '{begin.strip()} ... {end}', it has none")
    path.write_text(f"{before}{begin}{text}\n{end}{after.partition(end)[2]}")
    print(f"written: {path}, {name}")


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a results file; figures keep six digits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(_rounded(content), indent=1) + "\n")
    print(f"written: {path}")


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: _rounded(part) for key, part in value.items()}
    return [_rounded(part) for part in value] if isinstance(value, list | tuple) else value

"""The plots of docs/benchmarks/results.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")  # no screen
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullLocator

__all__ = ["plot_projectors", "plot_registration", "plot_scaling"]

OURS, THEIRS = "#1f6fb4", "#9a9a9a"
COLORS = {
    "march": "#1f6fb4",
    "joseph": "#d1701f",
    "slab": "#2f8f4e",
    "polychromatic kernel": "#7a4fa3",
}
REGISTRARS = (("fluoro", OURS, "o"), ("nanodrr", "#c03030", "x"))
TASKS = {"forward": "forward", "forward+gradient": "forward + pose gradient"}
PANELS = 4
"""Side by side in the plot of the scaling."""
STYLE = {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}

Row = Mapping[str, Any]


def plot_projectors(path: Path, rows: Sequence[Row], summary: Sequence[Row], title: str) -> None:
    """Time of every contestant, each view a dot, and error over time."""
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, 3, figsize=(12, 3.9), layout="constrained")
        for ax, task in zip(axes, TASKS, strict=False):
            _bars(ax, task, rows, summary)
        _errors(axes[2], summary)
        figure.suptitle(title, fontsize=9)
        _save(figure, path)


def _color(name: str) -> str:
    return OURS if name.startswith("fluoro") else THEIRS


def _bars(ax: Axes, task: str, rows: Sequence[Row], summary: Sequence[Row]) -> None:
    chosen = sorted(
        (row for row in summary if row["task"] == task), key=lambda row: -row["seconds"]
    )
    names = [row["name"] for row in chosen]
    times_ms = [1e3 * row["seconds"] for row in chosen]
    ax.barh(names, times_ms, color=[_color(name) for name in names], height=0.6)
    for row in rows:
        if row["task"] == task:
            ax.plot(1e3 * row["seconds"], row["name"], "k.", markersize=3)
    for name, time_ms in zip(names, times_ms, strict=True):
        ax.annotate(
            f"{time_ms:.0f}" if time_ms >= 10 else f"{time_ms:.1f}",
            (1.0, name),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize=8,
        )
    ax.set(xscale="log", xlabel="ms an image (bar: median of views)", title=TASKS[task])


def _errors(ax: Axes, summary: Sequence[Row]) -> None:
    for row in summary:
        if row["task"] == "forward":
            at = 1e3 * row["seconds"], row["error_rmse"]
            ax.plot(*at, "o", color=_color(row["name"]))
            below = row["name"].startswith("fluoro") and "slab" not in row["name"]
            up = -11 if below else 4  # slab lies beside march
            ax.annotate(row["name"], at, xytext=(4, up), textcoords="offset points", fontsize=7)
    ax.margins(x=0.3, y=0.12)
    ax.set(xscale="log", yscale="log", xlabel="ms an image", ylabel="RMSE [line integral]")
    ax.set_title("forward: error against the exact integral")


def plot_scaling(path: Path, series: Sequence[Mapping[str, Any]], title: str) -> None:
    """One panel a quantity, one line a projector, with the exponent of the growth."""
    with plt.rc_context(STYLE):
        rows = -(-len(series) // PANELS)
        figure, axes = plt.subplots(rows, PANELS, figsize=(3.5 * PANELS, 3 * rows), squeeze=False)
        for ax, one in zip(axes.flat, series, strict=False):
            _growth(ax, one)
        for ax in axes.flat[len(series) :]:
            ax.remove()
        figure.suptitle(title, fontsize=9)
        figure.set_layout_engine("constrained")
        _save(figure, path)


def _growth(ax: Axes, series: Mapping[str, Any]) -> None:
    for line in series["lines"]:
        label = f"{line['projector']} {line['exponent']:.2f} ({line['cpu_exponent']:.2f})"
        color = COLORS[line["projector"]]
        for clock, style in (("seconds", "o-"), ("cpu_seconds", ":")):
            times_ms = [1e3 * value for value in line[clock]]
            ax.plot(series["work"], times_ms, style, color=color, label=label, markersize=4)
            label = "_"
    ax.set(xscale="log", yscale="log", xlabel=series["axis"], ylabel="ms")
    ax.set_xticks(series["work"], [str(label) for label in series["labels"]], minor=False)
    ax.xaxis.set_minor_locator(NullLocator())
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.yaxis.set_major_formatter("{x:g}")
    ax.margins(y=0.3)
    ax.yaxis.set_minor_locator(NullLocator())
    ax.legend(title="exponent, wall (processor)", frameon=False, fontsize=7, title_fontsize=7)


def plot_registration(path: Path, rows: Sequence[Row]) -> None:
    """Error at the end over error at the start, a panel a target; and the time that it took."""
    kinds = list(dict.fromkeys(row["kind"] for row in rows))
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, len(kinds) + 1, figsize=(13, 3.6), layout="constrained")
        for ax, kind in zip(axes, kinds, strict=False):
            _ends(ax, [row for row in rows if row["kind"] == kind], kind)
        _times(axes[-1], rows)
        _save(figure, path)


def _ends(ax: Axes, rows: Sequence[Row], kind: str) -> None:
    for program, color, mark in REGISTRARS:
        mine = [row for row in rows if row["program"] == program]
        starts, ends = ([row[key] for row in mine] for key in ("start_mtre_mm", "mtre_mm"))
        ax.plot(starts, ends, mark, color=color, label=program, markersize=4)
    ax.axhline(2.0, color="k", linewidth=0.6, linestyle=":")
    ax.set(yscale="log", title=kind, xlabel="mTRE of the start [mm]", ylabel="mTRE found [mm]")
    ax.set_ylim(5e-3, 200)
    ax.legend(frameon=False, fontsize=7)


def _times(ax: Axes, rows: Sequence[Row]) -> None:
    for program, color, mark in REGISTRARS:
        mine = [row for row in rows if row["program"] == program]
        starts, times = ([row[key] for row in mine] for key in ("start_mtre_mm", "cpu_seconds"))
        ax.plot(starts, times, mark, color=color, label=program, markersize=4)
    ax.set(yscale="log", title="all", xlabel="mTRE of the start [mm]", ylabel="CPU time [s]")


def _save(figure: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)
    print(f"written: {path}")

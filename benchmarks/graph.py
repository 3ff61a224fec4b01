#!/usr/bin/env python3
"""What the graph costs: the whole application against renderer and image chain alone.

    python benchmarks/graph.py       at most two minutes on two cores (--minutes)
    python benchmarks/graph.py --device cuda

Writes benchmarks/results/graph_cpu.json (or graph_gpu.json) and a table in
docs/benchmarks/results.md.
Each size is rendered by a plain loop, by the application with the record of its frames alone
(run.json), which is what the loop is compared with, and by the application that records arrays too,
alternately in one process, with the same poses; then once more at a pace. CPU time is
that of all threads of the process, of one frame, while the stream runs: start-up and the end do not
count. Where the time is short a size has fewer frames or is left out, with a message; the first
one always comes.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

import operators.runtime  # noqa: F401  (before Holoscan)
from benchmarks.harness.budget import Budget
from benchmarks.harness.command_line import count
from benchmarks.harness.machine import describe_machine, load_average
from benchmarks.harness.report import RESULTS_PAGE, put_into_document, write_json
from fluoro.config import Config
from fluoro.errors import FluoroError
from fluoro.geometry.from_config import make_geometry
from fluoro.imaging.chain import ImageChain
from fluoro.rendering.devices.selection import open_device
from fluoro.rendering.renderer import DrrRenderer
from fluoro.volume.load import load_volume
from operators.assembly import isocenter_of
from operators.session import run_session

ROOT = Path(__file__).parents[1]
FILES = {"cpu": "cpu", "cuda": "gpu"}
PROJECTORS = {"cpu": "slab", "cuda": "march"}
"""The fastest of each."""
SIZES = (256, 512, 1024)
FIELD_MM = 400.0
PACED_FPS = {256: 20.0, 512: 10.0, 1024: 4.0}
"""Rates that two loaded cores sustain, so that jitter is the graph's."""
FEWEST_FRAMES = 8
TURNS = 3
"""Of loop, graph and recording graph: what else the machine does meets all of them."""
MOST_SHARE, MOST_MS = 0.05, 1.0
"""The aim: the graph costs at most this share of the loop's time, or this time [ms]."""
STAGES_TITLE = "Stages, from the stamps of the frames, p50 / p95 / p99 in ms:"
STAGES = ("queue", "render", "image_chain", "pose_to_frame")


class Watch:
    """A reporter that notes the CPU time every few frames."""

    def __init__(self) -> None:
        self._points: list[tuple[int, float]] = []

    def stage(self, what: str, fraction: float) -> None:
        """A stage of the start."""

    def started(self, **_what: Any) -> None:
        """The stream begins."""

    def streaming(self, frames: int, _status: Any) -> None:
        """The stream runs."""
        if frames and (not self._points or frames > self._points[-1][0]):
            self._points.append((frames, time.process_time()))

    def iteration(self, *_what: Any) -> None:
        """A registration's step."""

    def cpu_s(self) -> float:
        """Return the CPU time of a frame [s]; nan where all came together."""
        (first, begin), (last, end) = self._points[0], self._points[-1]
        return (end - begin) / (last - first) if last > first else float("nan")


def document(
    size_px: int,
    frames: int,
    folder: Path,
    name: str,
    *,
    device: str = "cpu",
    pacing: str,
    formats: Sequence[str] = (),
) -> dict[str, Any]:
    """A run of the chest CT: a sweep, noise and window; its frames are recorded as `formats`."""
    return {
        "volume": {"path": "cache:chest-ct"},
        "carm": {
            "detector_width_px": size_px,
            "detector_height_px": size_px,
            "pixel_spacing_mm": FIELD_MM / size_px,
        },
        "pose_source": {"kind": "sweep", "lao_range_deg": [-30, 30], "period_s": 5.0},
        "renderer": {"device": device, "projector": PROJECTORS[device]},
        "image_chain": {"dose_ngy": 5, "window": {"level": 3.1, "width": 4.4}},
        "console": {"enabled": False},
        "recorder": {"formats": list(formats), "contact_sheet": False, "scene_movie": False},
        "run": {
            "frames": frames,
            "fps": PACED_FPS.get(size_px, 10.0),
            "pacing": pacing,
            "output_dir": str(folder),
            "name": f"{name}-{size_px}-{frames}",
        },
    }


def run_graph(settings: dict[str, Any]) -> tuple[dict[str, Any], float]:
    """Return run.json of a run of the application, and the CPU time of a frame [s]."""
    watch, run = Watch(), settings["run"]
    run_session(Config.model_validate(settings), "graph", watch)
    path = Path(run["output_dir"]) / run["name"] / "run.json"
    return json.loads(path.read_text()), watch.cpu_s()


def run_plain(config: Config, frames: int) -> dict[str, list[float]]:
    """Return wall and CPU time of renderer and image chain alone, frame by frame [s]."""
    volume, geometry = load_volume(config.volume), make_geometry(config.carm)
    device = open_device(config.renderer.device, workers=config.renderer.workers)
    renderer = DrrRenderer(volume, device, projector=config.renderer.projector)
    chain, center = ImageChain(device, 0, fused=True), isocenter_of(config.carm, volume)
    trajectory = config.pose_source.trajectory()
    found: dict[str, list[float]] = {"render": [], "chain": [], "cpu": []}
    for number in range(frames + 1):
        cpu, start = time.process_time(), time.perf_counter()
        view = geometry.view(trajectory(number / config.run.fps), center)
        integrals = renderer.render(view)
        middle = time.perf_counter()
        pitch_mm = geometry.pixel_spacing_mm
        chain.apply(integrals, config.image_chain, number, pitch_mm, geometry)
        end = time.perf_counter()
        if number:  # the first one compiles and makes copies
            found["render"].append(middle - start)
            found["chain"].append(end - middle)
            found["cpu"].append(time.process_time() - cpu)
    device.close()
    return found


def measure(size_px: int, frames: int, folder: Path, device: str) -> dict[str, Any]:
    """One row of the table."""
    loops: list[dict[str, list[float]]] = []
    runs: dict[str, list[tuple[dict[str, Any], float]]] = {"graph": [], "recording": []}
    for turn in range(TURNS):
        for name, formats in (("graph", ()), ("recording", ("npy",))):
            label = f"{name}-{turn}"
            settings = document(
                size_px,
                frames,
                folder,
                label,
                device=device,
                pacing="free_running",
                formats=formats,
            )
            if name == "graph":
                loops.append(run_plain(Config.model_validate(settings), frames))
            runs[name].append(run_graph(settings))
    paced, _ = run_graph(
        document(size_px, frames // 2, folder, "paced", device=device, pacing="paced")
    )
    free = [run for run, _ in runs["graph"]]
    return {
        "size": size_px,
        "frames": TURNS * frames,
        **_loop_figures(loops),
        **_graph_figures("graph", runs["graph"]),
        **_graph_figures("recording", runs["recording"]),
        "overlapping": statistics.fmean(map(_share_overlapping, free)),
        "stages_ms": free[-1]["latency_ms"],
        "paced_fps": PACED_FPS.get(size_px, 10.0),
        "paced_jitter_ms": _jitter_ms(paced, PACED_FPS.get(size_px, 10.0)),
        "paced_stages_ms": paced["latency_ms"],
    }


def _loop_figures(loops: Sequence[dict[str, list[float]]]) -> dict[str, float]:
    """Return medians of wall times over all frames, means of CPU time [ms]."""
    render, chain, cpu = (
        1e3 * np.concatenate([loop[name] for loop in loops]) for name in ("render", "chain", "cpu")
    )
    return {
        "plain_render_ms": float(np.median(render)),
        "plain_chain_ms": float(np.median(chain)),
        "plain_ms": float(np.median(render + chain)),
        "plain_cpu_ms": float(np.mean(cpu)),
    }


def _graph_figures(name: str, runs: Sequence[tuple[dict[str, Any], float]]) -> dict[str, float]:
    """The same of the application."""
    intervals_ms = np.concatenate([_intervals_ms(run) for run, _ in runs])
    return {
        f"{name}_ms": float(np.median(intervals_ms)),
        f"{name}_cpu_ms": 1e3 * statistics.fmean(cpu_s for _, cpu_s in runs),
    }


def _stamps_ms(run: dict[str, Any], name: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.array([frame["stamps_ns"][name] for frame in run["per_frame"]]) * 1e-6


def _intervals_ms(run: dict[str, Any]) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.diff(_stamps_ms(run, "chain_end"))


def _share_overlapping(run: dict[str, Any]) -> float:
    """Of the frames, how many began to render before the image chain had done the one before."""
    starts, ends = _stamps_ms(run, "render_start")[1:], _stamps_ms(run, "chain_end")[:-1]
    return float(np.mean(starts < ends))


def _jitter_ms(run: dict[str, Any], fps: float) -> dict[str, float]:
    """How far intervals between finished frames are from the period."""
    off = np.abs(_intervals_ms(run) - 1e3 / fps)
    return {"p50": float(np.quantile(off, 0.5)), "p99": float(np.quantile(off, 0.99))}


def table(rows: Sequence[dict[str, Any]]) -> str:
    """For the terminal and the document."""
    heads = (
        "pixels | render ms | chain ms | both, in a loop | graph, a frame | more "
        "| cpu: loop | graph | more | recording arrays too: more | cpu: more "
        "| overlap | paced: off by, p50 / p99"
    )
    lines = [f"| {heads} |", "|" + "---|" * (heads.count("|") + 1)]
    for row in rows:
        jitter = row["paced_jitter_ms"]
        lines.append(
            f"| {row['size']}² | {row['plain_render_ms']:.1f} | {row['plain_chain_ms']:.1f} "
            f"| {row['plain_ms']:.1f} | {row['graph_ms']:.1f} | {_more(row, 'graph')} "
            f"| {row['plain_cpu_ms']:.1f} | {row['graph_cpu_ms']:.1f} | {_more(row, 'graph_cpu')} "
            f"| {_more(row, 'recording')} | {_more(row, 'recording_cpu')} "
            f"| {row['overlapping']:.0%} "
            f"| {jitter['p50']:.1f} / {jitter['p99']:.1f} ms at {row['paced_fps']:g} Hz |"
        )
    return "\n".join(lines)


def _cost(row: dict[str, Any], what: str) -> tuple[float, float]:
    """How much more a frame takes than in the loop [ms], and as a share of that."""
    loop_ms = row["plain_cpu_ms" if what.endswith("_cpu") else "plain_ms"]
    more_ms = row[f"{what}_ms"] - loop_ms
    return more_ms, more_ms / loop_ms


def _more(row: dict[str, Any], what: str) -> str:
    more_ms, share = _cost(row, what)
    return f"{more_ms:+.1f} ms, {share:+.0%}"


def comparison_with_aim(rows: Sequence[dict[str, Any]]) -> str:
    """Return for which sizes the aim is met; wall time of a loaded machine means little."""
    words = []
    for row in rows:
        over = [name for name, what in VERDICTS.items() if not _within(*_cost(row, what))]
        words.append(f"{row['size']}²: " + (f"not in {' and '.join(over)}" if over else "met"))
    return f"Aim, at most {MOST_SHARE:.0%} or {MOST_MS:g} ms more than the loop: {'; '.join(words)}"


VERDICTS = {
    "wall time": "graph",
    "CPU time": "graph_cpu",
    "wall time while recording": "recording",
    "CPU time while recording": "recording_cpu",
}
"""What is held to the aim, in words and by its key."""


def _within(more_ms: float, share: float) -> bool:
    return more_ms <= MOST_MS or share <= MOST_SHARE


def stage_table(rows: Sequence[dict[str, Any]]) -> str:
    """Latency of each stage, from the stamps of the frames."""
    heads = ["pixels", "pacing", *(stage.replace("_", " ") for stage in STAGES)]
    lines = [heads, ["---"] * len(heads)]
    for row in rows:
        for pacing, key in (("free", "stages_ms"), ("paced", "paced_stages_ms")):
            cells = [_stage_cell(row[key][stage]) for stage in STAGES]
            lines.append([f"{row['size']}²", pacing, *cells])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _stage_cell(stage: dict[str, float]) -> str:
    return " / ".join(f"{stage[quantile]:.1f}" for quantile in ("p50", "p95", "p99"))


def measure_sizes(
    sizes: Sequence[int], frames: int, folder: Path, budget: Budget, device: str
) -> list[dict[str, Any]]:
    """One row a size that the time is enough for; the first one whatever the time."""
    rows: list[dict[str, Any]] = []
    for size in sizes:
        count = _frames_that_fit(size, frames, rows[-1], budget.left_s) if rows else frames
        if not rows or budget.allows(f"{size}²"):
            print(f"{size}²: {count} frames", flush=True)
            rows.append(measure(size, count, folder, device))
    return rows


def _frames_that_fit(size_px: int, frames: int, before: dict[str, Any], left_s: float) -> int:
    """How many of the frames fit into half of the time, if a pixel costs what it did before."""
    growth = (size_px / before["size"]) ** 2
    loop_s, graph_s = (1e-3 * growth * before[key] for key in ("plain_ms", "graph_ms"))
    paced_s = 0.5 * max(graph_s, 1 / PACED_FPS.get(size_px, 10.0))
    frame_s = TURNS * (loop_s + 2 * graph_s) + paced_s
    return max(FEWEST_FRAMES, min(frames, int(0.5 * left_s / frame_s)))


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--device", choices=tuple(FILES), default="cpu")
    parser.add_argument("--frames", type=count, default=80, help="of each free run")
    parser.add_argument("--minutes", type=float, default=2.0, help="in all")
    parser.add_argument("--sizes", type=count, nargs="+", default=SIZES)
    parser.add_argument("--folder", type=Path, help="for the results (default: benchmarks/results)")
    options = parser.parse_args(argv)
    machine = describe_machine() | {"load_before": load_average()}
    budget = Budget(60 * options.minutes)
    try:
        with tempfile.TemporaryDirectory() as folder:
            rows = measure_sizes(
                options.sizes, options.frames, Path(folder), budget, options.device
            )
    except FluoroError as error:
        print(f"benchmark: {error}", file=sys.stderr)
        return 1
    text = f"{table(rows)}\n\n{comparison_with_aim(rows)}\n\n{STAGES_TITLE}\n\n{stage_table(rows)}"
    load = f"load average {machine['load_before']} before, {load_average()} after"
    print(f"{text}\n{load}")
    folder = options.folder or ROOT / "benchmarks" / "results"
    name = f"graph_{FILES[options.device]}"
    write_json(folder / f"{name}.json", {"machine": machine, "rows": rows})
    if options.folder is None:
        put_into_document(RESULTS_PAGE, name.replace("_", " "), f"{text}\n\n{load}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

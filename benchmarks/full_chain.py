#!/usr/bin/env python3
"""The whole graph with full physics: frames a second, and where a frame's CPU time goes.

    python benchmarks/full_chain.py          three minutes on two cores (--minutes)
    python benchmarks/full_chain.py --derivatives    half a minute; their table alone

Full physics: a spectrum of many energies through five tissues by projector slab, scatter behind a
grid, a flat panel with transfer, lag and gains, automatic brightness. One energy with noise alone
("one energy"), and renderer and image chain in a bare loop stand beside it. The graph runs with the
console, which one viewer in another process watches, and with the recorder's film. Thorax phantom,
1.4 mm.

Frames a second are of the wall clock and mean nothing on a loaded machine; CPU time is of all
threads of the process, a frame. Its parts: kernels by name (in the loop, one thread), operators,
and console and recorder by the threads that they run on. Writes
benchmarks/results/full_chain_cpu.json and tables in docs/benchmarks/results.md.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import fluoro.command_line.one_blas_thread  # noqa: F401  (as the programs)

# isort: split

import numpy as np

import operators.runtime  # noqa: F401  (before Holoscan)
from benchmarks.graph import Watch
from benchmarks.harness.beam_work import PHYSICS
from benchmarks.harness.budget import Budget
from benchmarks.harness.command_line import count
from benchmarks.harness.machine import describe_machine, load_average
from benchmarks.harness.report import publish
from benchmarks.harness.thread_times import OTHERS, FunctionTimes, cpu_ms_by_thread
from fluoro.config import Config
from fluoro.errors import FluoroError
from fluoro.geometry.from_config import make_geometry
from fluoro.imaging.chain import ImageChain
from fluoro.imaging.configured_beam import Beams
from fluoro.imaging.gradients import pull_back
from fluoro.rendering.devices.base import KernelText, Launch
from fluoro.rendering.devices.cpu.device import CpuDevice
from fluoro.rendering.material_renderer import MaterialRenderer
from fluoro.rendering.patient_renderer import make_patient
from fluoro.scene.assemble import material_volume
from fluoro.volume.load import load_volume
from operators.assembly import isocenter_of
from operators.drr_renderer import DrrRendererOp
from operators.image_chain import ImageChainOp
from operators.pose_source import PoseSourceOp
from operators.session import run_session
from operators.sinks.base import SinkOp

VIEWER = Path(__file__).parent / "harness" / "console_viewer.py"
PROJECTOR = "slab"
"""The fastest on a CPU."""
SIZES = (256, 512, 1024)
GOALS_FPS = {256: 45.0, 512: 15.0, 1024: 5.0}
FRAMES = {256: 240, 512: 90, 1024: 36}
FIELD_MM = 430.0
TURNS = 3
"""Of all ways in turn: what else the machine does meets all of them."""
KINDS = ("full", "one energy")
DERIVATIVES_GOAL = 1.7
"""Time of a frame's derivative with respect to the pose, over the frame's."""
DERIVATIVES_PX = (256, 512)

ONE_ENERGY: dict[str, Any] = {"dose_ngy": 20, "window": {"level": 2.9, "width": 4.2}}


def document(size_px: int, kind: str, frames: int, folder: Path, name: str) -> dict[str, Any]:
    """Return a run with console and film: a sweep over the thorax."""
    full = kind == "full"
    return {
        "volume": {
            "phantom": "thorax",
            "spacing_mm": 1.4,
            **({"materials": {"kind": "tissues"}} if full else {}),
        },
        "carm": {
            "source_to_detector_mm": 1200,
            "source_to_isocenter_mm": 900,
            "detector_width_px": size_px,
            "detector_height_px": size_px,
            "pixel_spacing_mm": FIELD_MM / size_px,
        },
        "pose_source": {
            "kind": "sweep",
            "lao_range_deg": [-40, 40],
            "cra_range_deg": [0, 25],
            "period_s": 10,
        },
        "renderer": {"projector": PROJECTOR, "device": "cpu"},
        "image_chain": PHYSICS if full else ONE_ENERGY,
        "console": {"port": 0},
        "recorder": {"formats": ["mp4"], "contact_sheet": False, "scene_movie": False},
        "run": {
            "frames": frames,
            "fps": 30,
            "pacing": "free_running",
            "output_dir": str(folder),
            "name": name,
            "seed": 1,
        },
    }


class Viewed(Watch):
    """Starts a viewer of the console, and notes CPU times of threads while the stream runs."""

    def __init__(self) -> None:
        super().__init__()
        self._viewer: subprocess.Popen[str] | None = None
        self._marks: list[tuple[int, float, dict[str, float]]] = []

    def started(self, *, console_url: str | None = None, **_what: Any) -> None:
        """The stream begins."""
        command = [sys.executable, str(VIEWER), str(console_url)]
        self._viewer = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def streaming(self, frames: int, _status: Any) -> None:
        """Note the times of the threads."""
        if frames and (not self._marks or frames > self._marks[-1][0]):
            self._marks.append((frames, 1e3 * time.process_time(), cpu_ms_by_thread()))

    def frame_ms(self) -> tuple[float, dict[str, float]]:
        """Return the CPU time of a frame [ms]: of the process, and by thread."""
        first, last = self._marks[len(self._marks) // 4], self._marks[-1]
        frames = max(last[0] - first[0], 1)
        threads = {
            name: (value - first[2].get(name, 0.0)) / frames for name, value in last[2].items()
        }
        return (last[1] - first[1]) / frames, threads

    def frames_viewed(self) -> int:
        """Return how many frames the viewer has taken."""
        assert self._viewer is not None
        return int(self._viewer.communicate(timeout=30)[0].strip() or 0)


def run_graph(size_px: int, kind: str, frames: int) -> dict[str, Any]:
    """Return a frame's wall time, its CPU time and the parts of that [ms]."""
    watch, functions = Viewed(), FunctionTimes()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        for owner, name in OPERATORS.items():
            stack.callback(functions.watch(owner, "compute", name))
        settings = document(size_px, kind, frames, Path(folder), "run")
        outcome = run_session(Config.model_validate(settings), "run", watch)
        film = next((Path(folder) / "run").glob("*.mp4")).stat().st_size
        wall_ms = _interval_ms(Path(folder) / "run" / "run.json")
    cpu_ms, threads = watch.frame_ms()
    threads = {name: value for name, value in threads.items() if value > 0.02}
    in_operators = {name: value / frames for name, value in functions.total_ms.items()}
    parts = {f"operator: {name}": value for name, value in in_operators.items()}
    kernels = threads.pop(OTHERS, 0.0) - sum(in_operators.values())
    parts |= {f"thread: {name}": value for name, value in threads.items()}
    return {
        "wall_ms": wall_ms,
        "cpu_ms": cpu_ms,
        "viewed": watch.frames_viewed() / frames,
        "film_bytes": film / frames,
        "dropped": outcome.summary.get("dropped"),
        "parts_ms": {"kernels, Holoscan, encoder's threads": kernels, **parts},
    }


OPERATORS: dict[type, Callable[[Any], str]] = {
    PoseSourceOp: lambda _: "pose source",
    DrrRendererOp: lambda _: "renderer",
    ImageChainOp: lambda _: "image chain",
    SinkOp: lambda op: f"sink {op._sink.name}",
}


def _interval_ms(path: Path) -> float:
    frames = json.loads(path.read_text())["per_frame"]
    ends = np.array([each["stamps_ns"]["chain_end"] for each in frames]) * 1e-6
    return float(np.median(np.diff(ends[len(ends) // 4 :])))


class TimedDevice(CpuDevice):
    """One thread, and the CPU time of each kernel."""

    def __init__(self) -> None:
        super().__init__(1)
        self.kernel_ms: dict[str, list[float]] = {}

    def run(self, launch: Launch) -> None:
        """Run and measure a launch."""
        kernel = self.kernel_loader.begin(launch).result()
        prepared = self.prepared(launch, kernel)
        begun_ns = time.thread_time_ns()
        kernel.dispatch(*prepared)
        spent_ms = 1e-6 * (time.thread_time_ns() - begun_ns)
        self.kernel_ms.setdefault(_kernel_name(launch), []).append(spent_ms)


def _kernel_name(launch: Launch) -> str:
    if isinstance(launch.module, KernelText):
        text = launch.module.slang
        heads = [line.split('"')[1][:-6] for line in text.splitlines() if "#include" in line]
        stages = [head for head in heads if head != "fused"]
        return "rays" if not stages else "fused: " + ", ".join(stages)
    return launch.entry


class Derivatives(NamedTuple):
    """Measures CPU times [ms].

    Attributes:
        by_kernels: Of the expected image, of the chain backwards, and of the rays' derivative.
        in_numpy: Of the chain's reference implementation, there and back.
    """

    by_kernels: Callable[[], list[float]]
    in_numpy: Callable[[], float]


class Loop:
    """Renderer and image chain alone, on one thread."""

    def __init__(self, size_px: int, kind: str) -> None:
        settings = document(size_px, kind, 1, Path(), "loop")
        config = Config.model_validate(settings)
        volume, self._geometry = load_volume(config.volume), make_geometry(config.carm)
        self.device = TimedDevice()
        self._config, self._volume = config, volume
        self._renderer = make_patient(config, volume, self.device)
        self._chain = ImageChain(self.device, 1, self._renderer.materials, fused=True)
        self._center = isocenter_of(config.carm, volume)
        self._trajectory, self._number = config.pose_source.trajectory(), 0
        for _ in range(2):
            self.frame(0.0)
        self.device.kernel_ms.clear()

    def frame(self, time_s: float) -> tuple[float, float]:
        """Make a frame; return the CPU time of rendering and of the image chain [ms]."""
        view = self._geometry.view(self._trajectory(time_s), self._center)
        begun = time.process_time()
        integrals = self._renderer.render(view)
        middle = time.process_time()
        pitch_mm, config = self._geometry.pixel_spacing_mm, self._config.image_chain
        self._chain.apply(integrals, config, self._number, pitch_mm, self._geometry)
        self._number += 1
        return 1e3 * (middle - begun), 1e3 * (time.process_time() - middle)

    def derivatives(self) -> Derivatives:
        """Return what measures the pose's derivative of a frame."""
        view = self._geometry.view(self._trajectory(0.0), self._center)
        rays = MaterialRenderer(
            material_volume(self._config.volume, self._volume), self.device, projector=PROJECTOR
        )
        thicknesses, beams = np.array(rays.render(view)), Beams(rays.materials)
        config, pitch_mm = self._config.image_chain, self._geometry.pixel_spacing_mm
        upstream, geometry = np.ones(thicknesses.shape[1:], np.float32), self._geometry

        def by_kernels() -> list[float]:
            marks = [time.process_time()]
            linear = self._chain.linearise(thicknesses, config, self._number, pitch_mm, geometry)
            marks.append(time.process_time())
            weights = linear.pull_back(upstream)
            marks.append(time.process_time())
            rays.render_vjp(view, self._center, weights)
            marks.append(time.process_time())
            return [1e3 * each for each in np.diff(marks).tolist()]

        def in_numpy() -> float:
            state, begun = self._chain.state(self._number, upstream.shape), time.process_time()
            pull_back(thicknesses, config, pitch_mm, upstream, geometry, beams, state)
            return 1e3 * (time.process_time() - begun)

        return Derivatives(by_kernels, in_numpy)


def measure_loop(loops: dict[str, Loop], frames: int) -> dict[str, dict[str, Any]]:
    """Return CPU times of both kinds, frame by frame in turn [ms]."""
    found: dict[str, list[tuple[float, float]]] = {kind: [] for kind in loops}
    for number in range(frames):
        for kind, loop in loops.items():
            found[kind].append(loop.frame(10 * number / frames))
    return {
        kind: {
            "render_ms": statistics.median(render for render, _ in times),
            "chain_ms": statistics.median(chain for _, chain in times),
            "kernels_ms": {
                name: sum(each) / frames for name, each in loops[kind].device.kernel_ms.items()
            },
        }
        for kind, times in found.items()
    }


def measure(size_px: int, frames: int, turns: int) -> dict[str, Any]:
    """Return what the tables say of one size."""
    loops = measure_loop({kind: Loop(size_px, kind) for kind in KINDS}, max(frames // 4, 8))
    runs: dict[str, list[dict[str, Any]]] = {kind: [] for kind in KINDS}
    for _ in range(turns):
        for kind in KINDS:
            runs[kind].append(run_graph(size_px, kind, frames))
    row: dict[str, Any] = {"size": size_px, "frames": frames, "turns": turns}
    for kind in KINDS:
        best = sorted(runs[kind], key=lambda run: run["cpu_ms"])[turns // 2]
        wall_ms = statistics.median(run["wall_ms"] for run in runs[kind])
        row[kind] = {**best, "wall_ms": wall_ms, "fps": 1e3 / wall_ms, "loop": loops[kind]}
    return row


def measure_derivatives(size_px: int, repeats: int = 15) -> dict[str, Any]:
    """Return CPU times of a frame and of its derivative with respect to the pose [ms], in turn."""
    loop = Loop(size_px, "full")
    measured = loop.derivatives()
    measured.by_kernels(), measured.in_numpy()  # the first ones compile, and fit the energies
    rounds = [[sum(loop.frame(0.0)), *measured.by_kernels()] for _ in range(repeats)]
    frame_ms, expected_ms, back_ms, rays_ms = np.median(rounds, axis=0).tolist()
    return {
        "size": size_px,
        "frame_ms": frame_ms,
        "expected_image_ms": expected_ms,
        "chain_backwards_ms": back_ms,
        "rays_ms": rays_ms,
        "chain_in_numpy_ms": statistics.median(measured.in_numpy() for _ in range(3)),
        "times_the_frame": statistics.median(sum(each[1:]) / each[0] for each in rounds),
        "image_given": statistics.median(sum(each[2:]) / each[0] for each in rounds),
    }


def derivative_table(rows: Sequence[dict[str, Any]]) -> str:
    """Return a line for each size."""
    lines = [
        "| pixels | frame, CPU ms | chain: expected image | chain: backwards "
        "| derivatives of the rays | all three, times the frame | without the expected image "
        "| goal | chain in NumPy, there and back |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['size']}² | {row['frame_ms']:.1f} | {row['expected_image_ms']:.1f} "
        f"| {row['chain_backwards_ms']:.1f} | {row['rays_ms']:.1f} "
        f"| {row['times_the_frame']:.2f} | {row['image_given']:.2f} | {DERIVATIVES_GOAL} "
        f"| {row['chain_in_numpy_ms']:.0f} |"
        for row in rows
    ]
    return "\n".join(lines)


def rate_table(rows: Sequence[dict[str, Any]]) -> str:
    """Return frames a second and CPU times, a line for each size and kind."""
    lines = [
        "| pixels | | frames/s | goal | CPU ms a frame, graph | loop: render | loop: chain "
        "| graph more than the loop |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        for kind in KINDS:
            each, loop = row[kind], row[kind]["loop"]
            goal = f"{GOALS_FPS.get(row['size'], 0):g}" if kind == "full" else ""
            more = each["cpu_ms"] - loop["render_ms"] - loop["chain_ms"]
            lines.append(
                f"| {row['size']}² | {kind} | {each['fps']:.1f} | {goal} | {each['cpu_ms']:.1f} "
                f"| {loop['render_ms']:.1f} | {loop['chain_ms']:.1f} | {more:.1f} |"
            )
    return "\n".join(lines)


def part_table(rows: Sequence[dict[str, Any]]) -> str:
    """Return the CPU time of parts [ms a frame], a column for each size, of the full chain."""
    columns = [_parts(row["full"]) for row in rows]
    names = dict.fromkeys(name for column in columns for name in column)
    heads = " | ".join(f"{row['size']}²" for row in rows)
    lines = [f"| CPU ms a frame, full physics | {heads} |", "|---|" + "---|" * len(rows)]
    for name in names:
        cells = [f"{column[name]:.2f}" if name in column else "" for column in columns]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _parts(each: dict[str, Any]) -> dict[str, float]:
    kernels = {f"loop: {name}": value for name, value in each["loop"]["kernels_ms"].items()}
    return kernels | {f"graph: {name}": value for name, value in each["parts_ms"].items()}


def publish_derivatives(machine: dict[str, Any], folder: Path | None) -> int:
    """Measure, print and write the table of derivatives."""
    rows = [measure_derivatives(size) for size in DERIVATIVES_PX]
    load = f"load average {machine['load_before']} before, {load_average()} after"
    text = f"{derivative_table(rows)}\n\n{load}"
    results = {"machine": machine, "rows": rows}
    publish("full_chain_derivatives_cpu", results, text, folder, document=True)
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=3.0, help="in all")
    parser.add_argument("--sizes", type=count, nargs="+", default=SIZES)
    parser.add_argument("--turns", type=count, default=TURNS)
    parser.add_argument("--derivatives", action="store_true", help="these alone")
    parser.add_argument("--folder", type=Path, help="for the results (default: benchmarks/results)")
    options = parser.parse_args(argv)
    machine = describe_machine() | {"load_before": load_average()}
    budget, rows = Budget(60 * options.minutes), []
    if options.derivatives:
        return publish_derivatives(machine, options.folder)
    try:
        for size in options.sizes:
            if not rows or budget.allows(f"{size}²"):
                rows.append(measure(size, FRAMES.get(size, 60), options.turns))
    except FluoroError as error:
        print(f"benchmark: {error}", file=sys.stderr)
        return 1
    load = f"load average {machine['load_before']} before, {load_average()} after"
    text = f"{rate_table(rows)}\n\n{part_table(rows)}\n\n{load}"
    results = {"machine": machine, "rows": rows}
    publish("full_chain_cpu", results, text, options.folder, document=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

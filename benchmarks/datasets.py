"""What a training set costs beside the bare loop of renderer and image chain.

.venv/bin/python benchmarks/datasets.py     two minutes; writes benchmarks/results/datasets_cpu.json
                                            and the table in docs/benchmarks/results.md

512 x 512 pixels of the chest CT (`app.py fetch chest-ct`), Joseph's method, drawn views, one thread
a worker. `DeepDRR-like` has five tissues, a spectrum, noise and masks and boxes of 24 structures;
`line integrals` one energy, noise and no annotation. The bare loop renders the same frames, masks
included, in the same number of processes; the set draws, checks, encodes, writes and hashes them.
Each process's first file is not counted: it prepares the patient and loads the kernels.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.harness.command_line import count
from benchmarks.harness.report import publish
from benchmarks.labels import TWENTY_FOUR
from fluoro.datasets.training.frame_files import frame_files
from fluoro.datasets.training.plan import Plan, file_of
from fluoro.datasets.training.processes import Done, Failed, in_processes
from fluoro.datasets.training.sampling import Sampler, checked_config
from fluoro.datasets.training.shard_maker import ShardMaker
from fluoro.datasets.training.shards import file_sha256, writing_shard
from fluoro.errors import DeviceError

CHEST = "cache:chest-ct"
FRAMES_PER_SHARD = 12
GOAL = 0.85
"""Least share of the bare loop's frames per second."""
SETTINGS: dict[str, dict[str, Any]] = {
    "DeepDRR-like": {
        "volume": {
            "path": CHEST,
            "labels": {"path": CHEST, "structures": list(TWENTY_FOUR)},
            "materials": {"kind": "tissues"},
        },
        "annotations": {"masks": {}, "boxes": {}},
        "image_chain": {"dose_ngy": {"$log_uniform": [2, 100]}, "xray": {}},
    },
    "line integrals": {
        "volume": {"path": CHEST},
        "image_chain": {"dose_ngy": {"$log_uniform": [2, 100]}},
    },
}


def document(setting: str, shards: int) -> dict[str, Any]:
    """Return the training set's file of a setting."""
    return {
        "dataset": {
            "frames": shards * FRAMES_PER_SHARD,
            "frames_per_shard": FRAMES_PER_SHARD,
            "frames_per_case": shards * FRAMES_PER_SHARD,
        },
        "carm": {
            "source_to_detector_mm": 1200,
            "source_to_isocenter_mm": 800,
            "detector_width_px": 512,
            "detector_height_px": 512,
            "pixel_spacing_mm": 0.8,
        },
        "pose_source": {"kind": "static", "$direction": {"within_deg": 45}},
        "renderer": {"device": "cpu", "workers": 1, "projector": "joseph"},
        **SETTINGS[setting],
    }


@dataclass(frozen=True)
class Cost:
    """Of a file: its frames, wall time and CPU time."""

    frames: int
    seconds: float
    cpu_seconds: float


class TimedWorker:
    """Does files and returns what each cost; the first one of a process counts nothing.

    Args:
        make: Makes a file.
    """

    def __init__(self, make: Callable[[int], int]) -> None:
        self._make, self._warm = make, False

    def make(self, number: int, on_frame: Callable[[int], None]) -> Cost:
        """Make a file."""
        del on_frame
        wall, cpu = time.perf_counter(), time.process_time()
        frames = self._make(number)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        counted, self._warm = self._warm, True
        return Cost(frames, wall, cpu) if counted else Cost(0, 0.0, 0.0)

    def close(self) -> None:
        """Release nothing: the process ends."""


def set_worker(text: str) -> TimedWorker:
    """Return what makes the files of a set."""
    maker = ShardMaker(Plan.from_text(text))
    return TimedWorker(lambda number: len(maker.make(number).rows))


def bare_worker(text: str) -> TimedWorker:
    """Return what renders the same frames and does nothing with them."""
    plan = Plan.from_text(text)
    sampler, maker = Sampler(plan.file), ShardMaker(plan)
    configs = {
        index: checked_config(sampler.spec(index), plan.file.folder)
        for index in range(plan.file.config.frames)
    }

    def make(number: int) -> int:
        frames = plan.file.config.frames_of(number)
        for index in frames:
            maker.rendered(configs[index])
        return len(frames)

    return TimedWorker(make)


def cost(worker: str, setting: str, processes: int, shards: int) -> Cost:
    """Return the cost of as many files for each process, the first of them left out."""
    with tempfile.TemporaryDirectory() as folder:
        file = file_of(json.loads(json.dumps(document(setting, shards * processes))), Path(folder))
        plan = Plan(file=file, out=Path(folder))
        (plan.out / "parts").mkdir()
        entry = f"benchmarks.datasets:{worker}"
        events = list(in_processes(entry, plan.text(), range(shards * processes), processes))
    failures = [event.reason for event in events if isinstance(event, Failed)]
    if failures:
        raise DeviceError(failures[0])
    costs = [event.result for event in events if isinstance(event, Done)]
    return Cost(*(sum(getattr(c, name) for c in costs) for name in Cost.__annotations__))


def own_cpu_ms(setting: str, frames: int = 30) -> float:
    """Return the CPU time of a frame in a set beside its rendering [ms].

    One frame is rendered; then as many are drawn, checked, encoded, written and hashed. It hardly
    depends on the machine's load.
    """
    with tempfile.TemporaryDirectory() as folder:
        plan = Plan(file=file_of(document(setting, frames), Path(folder)), out=Path(folder))
        sampler, maker = Sampler(plan.file), ShardMaker(plan)
        _, frame = maker.frame(0)
        path, begun = plan.shard_path(0), time.process_time()
        with writing_shard(path, "webdataset") as shard:
            for index in range(frames):
                spec = sampler.spec(index)
                checked_config(spec, plan.file.folder)
                vars(frame.truth.masks if frame.truth else frame).pop("areas_px", None)  # counted
                shard.add(spec.key, frame_files(spec, frame, "float16"))
        file_sha256(path)
        spent = time.process_time() - begun
        maker.close()
    return 1e3 * spent / frames


def main() -> None:
    """Measure, print a table, write the results and the table in docs/benchmarks/results.md."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--shards", type=count, default=2, help="files for each process and round")
    parser.add_argument("--rounds", type=count, default=1)
    arguments = parser.parse_args()
    rows = [
        _row(setting, processes, arguments.rounds, arguments.shards)
        for setting in SETTINGS
        for processes in (1, 2)
    ]
    publish("datasets_cpu", {"rows": rows, "goal": GOAL}, table(rows), None, document=True)


def _row(setting: str, processes: int, rounds: int, shards: int) -> dict[str, Any]:
    found: dict[str, list[Cost]] = {"set_worker": [], "bare_worker": []}
    for _ in range(rounds):
        for worker, costs in found.items():
            costs.append(cost(worker, setting, processes, shards))
    rates = {
        worker: processes * sum(c.frames for c in costs) / sum(c.seconds for c in costs)
        for worker, costs in found.items()
    }
    cpu = {
        worker: sum(c.cpu_seconds for c in costs) / sum(c.frames for c in costs)
        for worker, costs in found.items()
    }
    return {
        "setting": setting,
        "workers": processes,
        "set_fps": rates["set_worker"],
        "bare_fps": rates["bare_worker"],
        "share": rates["set_worker"] / rates["bare_worker"],
        "cpu_share": cpu["bare_worker"] / cpu["set_worker"],
        "own_cpu_ms": own_cpu_ms(setting),
        "bare_cpu_ms": 1e3 * cpu["bare_worker"],
        "frames_per_core_hour": 3600 / cpu["set_worker"],
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Return the results as a Markdown table."""
    heads = (
        *("setting", "workers", "set, frames/s", "bare loop, frames/s", "share", "goal"),
        *("bare loop, CPU ms", "set's own work, CPU ms", "frames per core and hour"),
    )
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    lines += [
        f"| {r['setting']} | {r['workers']} | {r['set_fps']:.2f} | {r['bare_fps']:.2f} "
        f"| {r['share']:.0%} | {GOAL:.0%} | {r['bare_cpu_ms']:.0f} | {r['own_cpu_ms']:.1f} "
        f"| {r['frames_per_core_hour']:.0f} |"
        for r in rows
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()

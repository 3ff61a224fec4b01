#!/usr/bin/env python3
"""Robot and simulator for a while, with their memory watched: does it stay flat?

    tools/check/soak.py                      two minutes, as continuous integration runs it
    tools/check/soak.py --seconds 1800       half an hour

The whole simulator (configs/robot.yaml on a small detector) renders what examples/robot_carm.py
asks for, over DDS on loopback. Once it has warmed up, the resident memory of both processes is read
every half second. The figure is the median of the last quarter minus that of the first, in MB. Both
processes take notes of every frame: allowed is 4 MB and 200 bytes a frame; beyond it the program
ends with 1.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
MB = 2**20
PAGE = os.sysconf("SC_PAGE_SIZE")
SAMPLE_S = 0.5
WARM_UP_S = 20.0
"""Allocators and caches fill in this time."""
ALLOWED_MB, NOTES_BYTES = 4.0, 200
"""What allocators keep, and what run.json will say of a frame."""
SIMULATOR = (
    "carm.detector_width_px=128",
    "carm.detector_height_px=128",
    "carm.pixel_spacing_mm=3.36",
    "volume.spacing_mm=3",
    "renderer.workers=1",
    "console.port=0",
    "recorder.enabled=false",
)
"""Small, so that it runs beside other work."""


def memory_mb(pid: int) -> float:
    """Resident memory of a process [MB]."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE / MB


def growth_mb(samples: list[float]) -> float:
    """Median of the last quarter minus that of the first."""
    quarter = max(1, len(samples) // 4)
    return statistics.median(samples[-quarter:]) - statistics.median(samples[:quarter])


def start(*command: object, output: Path | None = None) -> subprocess.Popen[bytes]:
    """Another process; what it prints goes to a file, or where ours goes."""
    words = [sys.executable, *map(str, command)]
    if output is None:
        return subprocess.Popen(words, cwd=ROOT)
    with output.open("wb") as file:
        return subprocess.Popen(words, cwd=ROOT, stdout=file)


def watched(
    processes: dict[str, subprocess.Popen[bytes]], going: Callable[[], bool]
) -> dict[str, list[float]]:
    """Memory of the processes while the robot moves, sampled [MB]."""
    samples: dict[str, list[float]] = {name: [] for name in processes}
    while going():
        time.sleep(SAMPLE_S)
        for name, process in processes.items():
            if process.poll() is None:
                samples[name].append(memory_mb(process.pid))
    skipped = round(WARM_UP_S / SAMPLE_S)
    return {name: found[skipped:] for name, found in samples.items()}


def soak(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Run both and tell what was seen."""
    rows, domain = folder / "rows.json", ("--domain", arguments.domain)
    settings = [*SIMULATOR, f"dds.domain={arguments.domain}"]
    simulator = start("app.py", "run", "configs/robot.yaml", "--set", *settings)
    robot = start(
        *("examples/robot_carm.py", *domain, "--rate", arguments.rate),
        *("--seconds", arguments.seconds + WARM_UP_S, "--results", rows),
        output=folder / "robot.txt",
    )
    try:
        processes = {"simulator": simulator, "robot": robot}
        samples = watched(processes, lambda: robot.poll() is None and simulator.poll() is None)
    finally:
        for process in (robot, simulator):
            process.send_signal(signal.SIGINT)
            process.wait(60)
    if robot.returncode or not rows.is_file():
        sys.exit(f"soak: the robot ended early, with {robot.returncode}")
    (row,) = json.loads(rows.read_text())["rows"]
    return {
        "seconds": arguments.seconds,
        "frames": row["received"],
        "lost": row["lost"],
        "rate_hz": row["rate_hz"],
        **{f"{name}_mb": round(statistics.median(found), 1) for name, found in samples.items()},
        **{f"{name}_growth_mb": round(growth_mb(found), 2) for name, found in samples.items()},
    }


def main() -> int:
    """Run the soak, print its figures, compare them with the limits."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=120.0, help="after the warm-up")
    parser.add_argument("--rate", type=float, default=30.0, help="poses per second")
    parser.add_argument("--domain", type=int, default=45, help="DDS domain")
    parser.add_argument("--results", type=Path, metavar="JSON", help="where the figures are kept")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = soak(arguments, Path(folder))
    print(json.dumps(found))
    if arguments.results:
        arguments.results.write_text(json.dumps(found, indent=1) + "\n")
    worst_mb = max(found["simulator_growth_mb"], found["robot_growth_mb"])
    allowed_mb = ALLOWED_MB + NOTES_BYTES * found["frames"] / MB
    if worst_mb > allowed_mb:
        print(f"soak: memory grew by {worst_mb:g} MB, allowed are {allowed_mb:.1f}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

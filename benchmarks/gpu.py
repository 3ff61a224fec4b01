#!/usr/bin/env python3
"""All that is to be known of an NVIDIA GPU, in at most 8 minutes: `make gpu`.

    python benchmarks/gpu.py                     on cuda, into benchmarks/results/gpu.json
    python benchmarks/gpu.py --device cuda:1     on the second GPU
    python benchmarks/gpu.py --device cpu --quick --output FILE     a rehearsal without a GPU

The table of `app.py doctor`, the tests marked `gpu`, fluoro's projectors and derivatives beside
nanodrr's Triton kernel (where PyTorch and nanodrr are: `make peers`), the whole image chain and the
graph at 512 and 1024 pixels. Each step has its share of the time and is written down when it ends,
so that one that fails or hangs costs no other's result.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np

from benchmarks.harness.contestants import Contestant, own_projectors
from benchmarks.harness.machine import describe_machine
from benchmarks.harness.peers import ENVIRONMENT, open_peers
from benchmarks.harness.report import write_json
from benchmarks.harness.scene import make_views, synthetic_volume
from fluoro.config import ImageChainConfig
from fluoro.imaging.chain import ImageChain
from fluoro.rendering.devices.selection import open_device
from fluoro.rendering.renderer import DrrRenderer

ROOT = Path(__file__).parents[1]
OUTPUT = ROOT / "benchmarks" / "results" / "gpu.json"
LIMIT_S = 480.0
SHARES_S = {"doctor": 60.0, "tests": 180.0, "projectors": 120.0, "chain": 60.0, "graph": 60.0}
"""Of each step; together the limit."""
STEP = "--step"
VIEW = "LAO 45 CRA 30"
CHAINS: dict[str, dict[str, Any]] = {
    "noise and window": {},
    "flat panel": {"mtf": {}, "lag": {}, "electronic_noise_photons": 2, "edge_enhancement": {}},
}


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--device", default="cuda", help="as renderer.device; default: cuda")
    parser.add_argument("--output", type=Path, default=OUTPUT, metavar="FILE")
    parser.add_argument("--quick", action="store_true", help="small sizes, no tests")
    parser.add_argument(STEP, choices=sorted(SHARES_S), help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def doctor(given: argparse.Namespace) -> Any:
    """The table of `app.py doctor`."""
    del given
    from operators.doctor import advice, examine

    rows = list(examine())
    return {
        "advice": advice(rows).text,
        "rows": {
            f"{row.device or 'machine'}: {row.name}": f"{row.state}: {row.text}" for row in rows
        },
    }


def tests(given: argparse.Namespace) -> Any:
    """How many of the tests marked `gpu` passed; those that did not, by name."""
    if given.quick:
        return {"left out": "--quick"}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-m",
        "gpu",
        "-q",
        "--tb=line",
        "-p",
        "no:cacheprovider",
    ]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | {"FLUORO_REQUIRE_GPU": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    lines = done.stdout.splitlines()
    bad = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
    return {"result": lines[-1] if lines else done.stderr[-200:], "failed": bad}


def projectors(given: argparse.Namespace) -> Any:
    """Median times [ms] of pictures and derivatives, of fluoro and nanodrr."""
    volume = synthetic_volume(64 if given.quick else 256)
    device = open_device(given.device)
    python = _peers_python()
    kind = "cuda" if device.kind == "cuda" else "cpu"
    peers: Any = nullcontext([])
    if python and not given.quick:
        peers = open_peers(volume, threads=1, device=kind, python=python, names=("nanodrr",))
    found: dict[str, Any] = {} if python else {"nanodrr": "PyTorch and nanodrr are not here"}
    with peers as others:
        for size in _sizes(given):
            view = make_views(volume.grid, size, names=(VIEW,))[VIEW]
            for each in (*own_projectors(volume, device), *others):
                each.set_view(view)
                found |= {
                    f"{each.name}, {task}, {size} px": _median_ms(lambda e=each, t=task: _run(e, t))
                    for task in each.tasks
                }
    return found


def _run(contestant: Contestant, task: str) -> float:
    return contestant.run(task).seconds


def _peers_python() -> Path | None:
    """The interpreter that has PyTorch and nanodrr."""
    own = ENVIRONMENT / "bin" / "python"
    if own.is_file():
        return own
    return Path(sys.executable) if find_spec("torch") and find_spec("nanodrr") else None


def chain(given: argparse.Namespace) -> Any:
    """Median times [ms] from the view to the picture on the host, on a queue."""
    volume = synthetic_volume(64 if given.quick else 256)
    device, found = open_device(given.device), {}
    for size in _sizes(given):
        view = make_views(volume.grid, size, names=(VIEW,))[VIEW]
        for name, stages in CHAINS.items():
            queue = device.queue()
            config = ImageChainConfig.model_validate(stages)
            renderer, images = DrrRenderer(volume, queue), ImageChain(queue, 1, fused=True)
            numbers = iter(range(10**6))

            def frame(
                renderer: Any = renderer, images: Any = images, config: Any = config,
                view: Any = view, queue: Any = queue, size: int = size, numbers: Any = numbers,
            ) -> float:  # fmt: skip
                begun_s = time.perf_counter()
                integrals = renderer.render(view)
                queue.to_host(images.apply(integrals, config, next(numbers), 400.0 / size))
                return time.perf_counter() - begun_s

            found[f"{name}, {size} px"] = _median_ms(frame)
            queue.close()
    return found


def graph(given: argparse.Namespace) -> Any:
    """Rates [1/s] and latencies [ms] of the real graph, as fast as it goes."""
    import operators.runtime  # noqa: F401  (prepares the next import)

    # isort: split

    from fluoro.config import Config
    from operators.doctor_checks import Silent, small_run
    from operators.session import run_session

    found = {}
    for size in _sizes(given):
        document: dict[str, Any] = small_run(given.device, given.output.parent)
        document["carm"] = {
            "detector_width_px": size,
            "detector_height_px": size,
            "pixel_spacing_mm": 384 / size,
        }
        document["volume"] = {"phantom": "thorax", "spacing_mm": 8 if given.quick else 1.4}
        document["run"] |= {"frames": 20 if given.quick else 300, "pacing": "free_running"}
        summary = run_session(Config.model_validate(document), "gpu", Silent()).summary
        found[f"{size} px"] = {"fps": summary["fps"], "latency_ms": summary["latency_ms"]}
    return found


def _sizes(given: argparse.Namespace) -> tuple[int, ...]:
    return (128,) if given.quick else (512, 1024)


def _median_ms(call: Callable[[], float], seconds: float = 1.0, least: int = 5) -> float:
    """The median of calls that give their own time, after two that are not counted."""
    for _ in range(2):
        call()
    times, end_s = [], time.monotonic() + seconds
    while len(times) < least or time.monotonic() < end_s:
        times.append(call())
    return round(float(np.median(times)) * 1e3, 4)


STEPS: dict[str, Callable[[argparse.Namespace], Any]] = {
    step.__name__: step for step in (doctor, tests, projectors, chain, graph)
}


def run_step(name: str, argv: Sequence[str], limit_s: float) -> Any:
    """What a step gives, run in a process of its own; or why it gave nothing."""
    command = [sys.executable, __file__, *argv, STEP, name]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=limit_s, check=False, cwd=ROOT
        )
    except subprocess.TimeoutExpired:
        return {"left out": f"not done within {limit_s:.0f} s"}
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        return {"failed": lines[-1] if lines else f"exit code {done.returncode}"}
    return json.loads(done.stdout.splitlines()[-1])


def main(argv: Sequence[str] | None = None) -> int:
    """Run all steps; 1 where one gave nothing or tests failed."""
    words = list(sys.argv[1:] if argv is None else argv)
    given = arguments(words)
    if given.step:
        sys.stdout.write(json.dumps(STEPS[given.step](given)) + "\n")
        return 0
    begun_s = time.monotonic()
    results: dict[str, Any] = {"machine": describe_machine(), "device": given.device}
    for name, share_s in SHARES_S.items():
        left_s = LIMIT_S - (time.monotonic() - begun_s)
        results[name] = run_step(name, words, max(min(2 * share_s, left_s), 1.0))
        write_json(given.output, results)
        _tell(name, results[name])
    print(f"{time.monotonic() - begun_s:.0f} s; written to {given.output}")
    bad = [n for n in SHARES_S if {"failed", "left out"} & {k for k, v in results[n].items() if v}]
    return 0 if not bad or given.quick else 1


def _tell(name: str, result: dict[str, Any], indent: str = "") -> None:
    """Print a step's part of the table."""
    print(f"{indent}{name}")
    for key, value in result.items():
        if isinstance(value, dict):
            _tell(key, value, indent + "  ")
        else:
            print(f"{indent}  {key:<50} {value}", flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Exception as error:  # noqa: BLE001  (a step's reason is its last line)
        traceback.print_exc()
        sys.exit(f"{type(error).__name__}: {error}")

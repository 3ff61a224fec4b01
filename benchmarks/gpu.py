#!/usr/bin/env python3
"""All that is to be known of an NVIDIA GPU, in at most 8 minutes: `make gpu`.

    python benchmarks/gpu.py                     on cuda, into benchmarks/results/gpu.json
    python benchmarks/gpu.py --device cuda:1     on the second GPU
    python -m tests.stand_in.build python benchmarks/gpu.py --edge 32 --sizes 32 64 --tests joseph
                                                 a rehearsal, into output/gpu_rehearsal.json

The table of `app.py doctor`, the tests marked `gpu`, fluoro's projectors and derivatives beside
nanodrr's Triton kernel (where PyTorch and nanodrr are: `make peers`), the whole image chain and the
graph at 512 and 1024 pixels. Each step has its share of the time and is written down when it ends,
so that one that fails or hangs costs no other's result.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np

from benchmarks.harness.contestants import Contestant, own_projectors
from benchmarks.harness.machine import describe_machine
from benchmarks.harness.peers import ENVIRONMENT, PeerProcess, open_peers
from benchmarks.harness.report import write_json
from benchmarks.harness.scene import make_geometry, make_views, synthetic_volume
from fluoro.config import Config
from fluoro.diagnostics.device_parity import WHOLE_CHAIN
from fluoro.errors import DeviceError, OutputError
from fluoro.imaging.chain import ImageChain
from fluoro.rendering.devices.base import ComputeDevice
from fluoro.rendering.devices.selection import open_device
from fluoro.rendering.patient_renderer import make_patient
from fluoro.volume.volumes import MuVolume

ROOT = Path(__file__).parents[1]
RESULT = ROOT / "benchmarks" / "results" / "gpu.json"
REHEARSAL = ROOT / "output" / "gpu_rehearsal.json"
MINUTES = 8.0
SHARES = {"tests": 0.375, "projectors": 0.25, "chain": 0.125, "graph": 0.125, "doctor": 0.125}
"""Of each step; together 1. What a step leaves goes to those behind it."""
PYTEST_END_S = 10.0
"""Before the end of their step the tests are stopped, to be counted."""
STEP, SECONDS = "--step", "--step-seconds"
SIZES_PX, EDGE_VOXELS, ROW_S = (512, 1024), 256, 1.0
SPACING_MM = 1.4
"""Of the phantom that the graph shows; a smaller CT has larger voxels."""
VIEW = "LAO 45 CRA 30"
PEER_ROW = "nanodrr's Triton kernel"
CHAINS: dict[str, dict[str, Any]] = {
    "noise and window": {},
    "flat panel": {"mtf": {}, "lag": {}, "electronic_noise_photons": 2, "edge_enhancement": {}},
    "flat panel behind a spectrum, with scatter": WHOLE_CHAIN,
}


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--device", default="cuda", help="as renderer.device; default: cuda")
    parser.add_argument("--output", type=Path, metavar="FILE", help="default: by what is run")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES_PX, metavar="PIXELS")
    parser.add_argument("--edge", type=int, default=EDGE_VOXELS, metavar="VOXELS", help="of a CT")
    parser.add_argument("--tests", default="", metavar="WORDS", help="only these, as pytest's -k")
    parser.add_argument("--seconds", type=float, default=ROW_S, metavar="S", help="for each row")
    parser.add_argument("--minutes", type=float, default=MINUTES, metavar="M", help="for all of it")
    parser.add_argument(STEP, choices=sorted(SHARES), help=argparse.SUPPRESS)
    parser.add_argument(SECONDS, type=float, default=0.0, help=argparse.SUPPRESS)
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
    workers = str(min(4, os.cpu_count() or 1))
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "-v", "--tb=line", "-n", workers]
    command += ["--dist", "loadfile", "-p", "no:cacheprovider", "-k", given.tests]
    plugin = ["-p", "tests.stand_in.plugin"] if _on_stand_in() else []
    text, ended = _run(
        [*command, *plugin], given.step_seconds - PYTEST_END_S, FLUORO_REQUIRE_GPU="1"
    )
    said = re.findall(r"^\[gw\d+\].*? (PASSED|FAILED|ERROR|SKIPPED) (.+)$", text, re.MULTILINE)
    found: dict[str, Any] = {
        "passed": sum(state == "PASSED" for state, _ in said),
        "skipped": [name for state, name in said if state == "SKIPPED"],
        "failed": [name for state, name in said if state in ("FAILED", "ERROR")],
    }
    if not ended:
        found["left out"] = "those that did not end in time"
    if not said:
        found["failed"] = [text.strip().splitlines()[-1] if text.strip() else "no test ran"]
    return found


def projectors(given: argparse.Namespace) -> Any:
    """Median times [ms] of images and derivatives, of fluoro and nanodrr."""
    volume = synthetic_volume(given.edge)
    device, found = open_device(given.device), {}
    with ExitStack() as stack:
        others, missing = _nanodrr(volume, device, stack)
        for size in given.sizes:
            view = make_views(volume.grid, size, names=(VIEW,))[VIEW]
            for each in (*own_projectors(volume, device), *others):
                each.set_view(view)
                name = each.name if each not in others else PEER_ROW
                for task in each.tasks:
                    found[f"{name}, {task}, {size} px"] = _median_ms(
                        lambda e=each, t=task: _run_task(e, t), given.seconds
                    )
    return found | ({PEER_ROW: f"not available: {missing}"} if missing else {})


def _run_task(contestant: Contestant, task: str) -> float:
    return contestant.run(task).seconds


def _nanodrr(
    volume: MuVolume, device: ComputeDevice, stack: ExitStack
) -> tuple[list[PeerProcess], str]:
    """Return nanodrr with its Triton kernel, or why there is none."""
    python = _peers_python()
    if device.kind != "cuda":
        return [], f"it runs on cuda, not on {device.kind}"
    if python is None:
        return [], "PyTorch and nanodrr are not installed (make peers)"
    try:
        peers = stack.enter_context(
            open_peers(volume, threads=1, device="cuda", python=python, names=("nanodrr",))
        )
    except OutputError as error:
        return [], str(error)
    kernel = peers[0].versions["nanodrr's kernel"]
    return (peers, "") if kernel == "triton" else ([], f"nanodrr takes its {kernel} kernel here")


def _peers_python() -> Path | None:
    """The interpreter that has PyTorch and nanodrr."""
    own = ENVIRONMENT / "bin" / "python"
    if own.is_file():
        return own
    return Path(sys.executable) if find_spec("torch") and find_spec("nanodrr") else None


def chain(given: argparse.Namespace) -> Any:
    """Median times [ms] from the view to the image on the host, on a queue."""
    volume = synthetic_volume(given.edge)
    device = open_device(given.device)
    return {
        f"{name}, {size} px": _median_ms(_frames(volume, device, stages, size), given.seconds)
        for size in given.sizes
        for name, stages in CHAINS.items()
    }


def _frames(
    volume: MuVolume, device: ComputeDevice, stages: dict[str, Any], size: int
) -> Callable[[], float]:
    """What makes the next frame and returns the seconds that it took."""
    config = Config.model_validate(
        {"volume": {"phantom": "thorax"}, "pose_source": {"kind": "static"}, "image_chain": stages}
    )
    queue, numbers = device.queue(), iter(range(10**6))
    patient = make_patient(config, volume, queue)
    images = ImageChain(queue, 1, patient.materials, fused=True)
    view, geometry = make_views(volume.grid, size, names=(VIEW,))[VIEW], make_geometry(size)

    def frame() -> float:
        begun_s, settings = time.perf_counter(), config.image_chain
        pitch_mm = geometry.pixel_spacing_mm
        queue.to_host(
            images.apply(patient.render(view), settings, next(numbers), pitch_mm, geometry)
        )
        return time.perf_counter() - begun_s

    return frame


def graph(given: argparse.Namespace) -> Any:
    """Rates [1/s] and latencies [ms] of the real graph, as fast as it goes."""
    import operators.runtime  # noqa: F401  (prepares the next import)

    # isort: split

    from operators.doctor_checks import Silent, small_run
    from operators.session import run_session

    found = {}
    for size in given.sizes:
        document: dict[str, Any] = small_run(given.device, given.output.parent)
        document["carm"] = {
            "detector_width_px": size,
            "detector_height_px": size,
            "pixel_spacing_mm": 384 / size,
        }
        document["volume"] = {
            "phantom": "thorax",
            "spacing_mm": min(SPACING_MM * EDGE_VOXELS / given.edge, 10),
        }
        document["run"] |= {"frames": 300, "pacing": "free_running"}
        summary = run_session(Config.model_validate(document), "gpu", Silent()).summary
        found[f"{size} px"] = {"fps": summary["fps"], "latency_ms": summary["latency_ms"]}
    return found


def _median_ms(call: Callable[[], float], seconds: float, least: int = 5) -> float:
    """The median of calls that give their own time, after two that are not counted."""
    for _ in range(2):
        call()
    times, end_s = [], time.monotonic() + seconds
    while len(times) < least or time.monotonic() < end_s:
        times.append(call())
    return round(float(np.median(times)) * 1e3, 4)


STEPS: dict[str, Callable[[argparse.Namespace], Any]] = {
    step.__name__: step for step in (tests, projectors, chain, graph, doctor)
}


def run_step(name: str, argv: Sequence[str], limit_s: float) -> Any:
    """What a step gives, run in a process of its own; or why it gave nothing."""
    command = [sys.executable, __file__, *argv, STEP, name, SECONDS, f"{limit_s:.0f}"]
    text, ended = _run(command, limit_s)
    if not ended:
        return {"left out": f"not done within {limit_s:.0f} s"}
    last = (text.strip().splitlines() or ["no message"])[-1]
    try:
        return json.loads(last)
    except ValueError:
        return {"failed": last}


def _run(command: Sequence[str], limit_s: float, **variables: str) -> tuple[str, bool]:
    """What a command prints, and whether it ended; else it is killed with all that it started."""
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=os.environ | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        return process.communicate(timeout=max(limit_s, 1.0))[0], True
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        return process.communicate()[0], False


def main(argv: Sequence[str] | None = None) -> int:
    """Run all steps; 1 where one gave nothing or tests failed."""
    words = list(sys.argv[1:] if argv is None else argv)
    given = arguments(words)
    given.output = given.output or (RESULT if _is_whole(given) else REHEARSAL)
    if given.step:
        sys.stdout.write("\n" + json.dumps(STEPS[given.step](given)) + "\n")
        return 0
    if given.output.resolve() == RESULT and not _is_whole(given):
        sys.exit(f"{RESULT} is for whole runs on an NVIDIA GPU: give another --output")
    begun_s, limit_s = time.monotonic(), given.minutes * 60
    device = _device_name(given.device)
    results: dict[str, Any] = {"machine": describe_machine(), "device": device}
    names = list(STEPS)
    for number, name in enumerate(names):
        later_s = limit_s * sum(SHARES[each] for each in names[number + 1 :])
        left_s = limit_s - (time.monotonic() - begun_s) - later_s
        results[name] = run_step(name, words, left_s)
        results["seconds"] = round(time.monotonic() - begun_s, 1)
        write_json(given.output, results)
        _tell(name, results[name])
    print(f"{results['seconds']:.0f} s of {limit_s:.0f}; written to {given.output}")
    return int(any({"failed", "left out"} & {k for k, v in results[n].items() if v} for n in names))


def _device_name(requested: str) -> str:
    """What is measured; without it there is nothing to begin with."""
    try:
        device = open_device(requested)
    except DeviceError as error:
        sys.exit(str(error))
    name = device.name
    device.close()
    return name


def _is_whole(given: argparse.Namespace) -> bool:
    """Whether all of it runs, in its real size, on a real GPU."""
    asked = (tuple(given.sizes), given.edge, given.seconds, given.tests, given.minutes)
    whole = asked == (SIZES_PX, EDGE_VOXELS, ROW_S, "", MINUTES)
    return given.device.startswith("cuda") and whole and not _on_stand_in()


def _on_stand_in() -> bool:
    return "STAND_IN_COMPILED" in os.environ


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
        sys.exit(f"{type(error).__name__}: {' '.join(str(error).split())}")

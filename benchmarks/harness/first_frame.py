"""From the start of a process to its first frame, and the memory that this takes.

`measure_first_frame` starts this file as a program on a volume: once so that the compiled kernels
and the file are in their caches, then some times that count. `start_application` runs app.py.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from benchmarks.harness.budget import Budget

__all__ = [
    "FOUR_GIB",
    "ONE_GIB",
    "WITH_DERIVATIVES",
    "gib_of",
    "measure_first_frame",
    "start_application",
    "write_volume",
]

ONE_GIB, FOUR_GIB = (512, 724, 724), (1024, 1024, 1024)
"""Shapes of volumes of float32."""
SPACING_MM = (0.5, 0.5, 0.5)
IMAGE_PX, FIELD_MM = 256, 400.0
"""Of the detector's edge."""
PROCESSES = 3
"""That count, of each volume and projector."""
WITH_DERIVATIVES = " with derivatives"


def measure_first_frame(path: Path, kind: str, projector: str) -> dict[str, Any]:
    """Seconds and GiB of a process that maps a volume (.npy) and renders one frame.

    Args:
        path: The volume.
        kind: Of the device.
        projector: Of `DrrRenderer`; `WITH_DERIVATIVES` behind it: derivatives after the frame.

    Returns:
        Results of the process with the median time to its first frame. `cpu_s` is CPU time of
        all threads, `system_s` the system's part of it, most of which goes into finding and
        clearing memory for copies; `all_first_frame_s` has the other processes' times too.
    """
    _run(path, kind, projector)
    found = sorted((_run(path, kind, projector) for _ in range(PROCESSES)), key=_seconds)
    return {
        "projector": projector,
        **found[PROCESSES // 2],
        "all_first_frame_s": [_seconds(each) for each in found],
    }


def _run(path: Path, kind: str, projector: str) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, str(Path(__file__)), str(path), kind, projector, str(time.time())],
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _seconds(found: dict[str, float]) -> float:
    return found["first_frame_s"]


def start_application(tree: Path, config: str, cache: Path, *, cold: bool) -> dict[str, float]:
    """Seconds from the start of `app.py run` to its first frame, and CPU time of one frame's run.

    Args:
        tree: Work tree whose app.py runs, with its own shaders and configurations.
        config: Name of a file in its configs/.
        cache: FLUORO_CACHE_DIR of the process; its run goes there too.
        cold: Whether compiled kernels are removed before; volumes stay.

    Returns:
        `first_frame_s`; `cpu_s` of the whole process and of compilers; `kernels`, how many it
        compiled.
    """
    kernels, out = cache / "kernels", cache / "output"
    if cold:
        shutil.rmtree(kernels, ignore_errors=True)
    before, there = resource.getrusage(resource.RUSAGE_CHILDREN), len(list(kernels.glob("*.json")))
    settings = ["recorder.scene_movie=false", "recorder.contact_sheet=false", "console.port=0"]
    words = [
        "run",
        f"configs/{config}.yaml",
        "--frames",
        "1",
        "--name",
        "start",
        "--set",
        *settings,
    ]
    environment = {"FLUORO_CACHE_DIR": str(cache), "FLUORO_OUTPUT_DIR": str(out)}
    shutil.rmtree(out, ignore_errors=True)
    subprocess.run(
        [sys.executable, "app.py", *words],
        cwd=tree,
        env=os.environ | environment | {"PYTHONPATH": str(tree)},
        capture_output=True,
        check=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    record = json.loads(next(out.glob("*/run.json")).read_text())
    return {
        "first_frame_s": record["first_frame_s"],
        "cpu_s": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "kernels": len(list(kernels.glob("*.json"))) - there,
    }


def gib_of(shape_zyx: tuple[int, int, int]) -> float:
    """Size of a volume of float32 [GiB]."""
    return 4 * float(np.prod(shape_zyx)) / 2**30


def write_volume(path: Path, shape_zyx: tuple[int, int, int], budget: Budget) -> bool:
    """Write a volume plane by plane, all its bytes; False: the time was up before its end."""
    volume = np.lib.format.open_memmap(path, "w+", np.float32, shape_zyx)
    plane = np.linspace(0.0, 0.03, shape_zyx[2], dtype=np.float32)
    for z in range(shape_zyx[0]):
        if not budget.left_s:
            return False
        volume[z] = plane
    volume.flush()
    return True


def _first_frame(path: str, kind: str, projector: str, started: float) -> dict[str, float]:
    # what a program that renders imports, and nothing of the benchmarks
    sys.path.insert(0, str(Path(__file__).parents[2]))
    from fluoro.geometry.carm import CarmGeometry, CarmPose
    from fluoro.rendering.devices.selection import open_device
    from fluoro.rendering.renderer import DrrRenderer
    from fluoro.volume.grid import VolumeGrid
    from fluoro.volume.volumes import MuVolume

    imports_s, before = time.time() - started, _peak_bytes()
    mu = np.load(path, mmap_mode="r")
    grid = VolumeGrid(shape_zyx=mu.shape, spacing_xyz_mm=SPACING_MM)
    device = open_device(kind)
    name: Any = projector.removesuffix(WITH_DERIVATIVES)
    renderer = DrrRenderer(MuVolume(mu_zyx=mu, grid=grid), device, projector=name)
    carm = CarmGeometry(
        source_to_detector_mm=1020.0,
        source_to_isocenter_mm=510.0,
        detector_width_px=IMAGE_PX,
        detector_height_px=IMAGE_PX,
        pixel_spacing_mm=FIELD_MM / IMAGE_PX,
    )
    view = carm.view(CarmPose(), grid.center_xyz_mm)
    device.to_host(renderer.render(view))
    if name != projector:
        renderer.render_jacobian(view, grid.center_xyz_mm)
    copies = renderer.copies_bytes()
    return {
        "first_frame_s": time.time() - started,
        "imports_s": imports_s,
        "cpu_s": time.process_time(),
        "system_s": os.times().system,
        "volume_gib": mu.nbytes / 2**30,
        "copies_gib": copies / 2**30,
        "peak_beyond_imports_gib": (_peak_bytes() - before) / 2**30,
    }


def _peak_bytes() -> int:
    """Largest resident memory so far, the mapped file's pages that were touched included."""
    try:
        status = Path("/proc/self/status").read_text().split()
        return 1024 * int(status[status.index("VmHWM:") + 1])
    except OSError:  # macOS; elsewhere getrusage starts with the parent's peak
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_first_frame(*sys.argv[1:4], float(sys.argv[4]))))

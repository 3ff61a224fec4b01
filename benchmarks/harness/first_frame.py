"""From the start of a process to its first frame, and the memory that this takes.

`measure_first_frame` starts this file as a program on a volume: twice, so that the second time the
compiled kernel and the file are in their caches.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["measure_first_frame", "write_volume"]

EDGE_VOXELS = (512, 724, 724)
"""1 GiB of float32."""
SPACING_MM = (0.5, 0.5, 0.5)
PICTURE_PX = 256


def measure_first_frame(path: Path, kind: str, projector: str) -> dict[str, Any]:
    """Seconds and GiB of a process that maps a volume (.npy) and renders one frame."""
    for _ in range(2):
        arguments = [str(path), kind, projector, str(time.time())]
        done = subprocess.run(
            [sys.executable, str(Path(__file__)), *arguments],
            capture_output=True,
            text=True,
            check=True,
        )
    return {"projector": projector, **json.loads(done.stdout)}


def write_volume(path: Path) -> None:
    """A volume of 1 GiB."""
    volume = np.lib.format.open_memmap(path, "w+", np.float32, EDGE_VOXELS)
    plane = np.linspace(0.0, 0.03, EDGE_VOXELS[2], dtype=np.float32)
    for z in range(EDGE_VOXELS[0]):
        volume[z] = plane
    volume.flush()


def _first_frame(path: str, kind: str, projector: str, started: float) -> dict[str, float]:
    sys.path.insert(0, str(Path(__file__).parents[2]))
    from benchmarks.harness.scene import make_views
    from fluoro.rendering.choose import open_device
    from fluoro.rendering.renderer import DrrRenderer
    from fluoro.volume.grid import VolumeGrid
    from fluoro.volume.volumes import MuVolume

    imports_s, before = time.time() - started, _peak_bytes()
    mu = np.load(path, mmap_mode="r")
    grid = VolumeGrid(shape_zyx=mu.shape, spacing_xyz_mm=SPACING_MM)
    device = open_device(kind)
    renderer = DrrRenderer(MuVolume(mu_zyx=mu, grid=grid), device, projector=projector)
    view = make_views(grid, PICTURE_PX, names=("PA",))["PA"]
    device.to_host(renderer.render(view))
    copies = renderer.copies_bytes()
    return {
        "first_frame_s": time.time() - started,
        "imports_s": imports_s,
        "cpu_s": time.process_time(),
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
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_first_frame(*sys.argv[1:4], float(sys.argv[4]))))

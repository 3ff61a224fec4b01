"""Path lengths of one mesh in one view by gVirtualXray, and how long an image takes.

    PYTHON benchmarks/peers/gvxr_peer.py job.json out.npz

PYTHON has gvxr (tools/data/make_gvxr_reference.py makes such an environment). Runs through EGL,
without a display.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
from gvxrPython3 import gvxr


def main() -> None:
    """Render what the job says: mesh, source, detector, pixels, rounds."""
    job = json.loads(Path(sys.argv[1]).read_text())
    gvxr.createWindow(-1, False, "EGL", 4, 5)
    gvxr.usePointSource()
    gvxr.setSourcePosition(*job["source_mm"], "mm")
    gvxr.setMonoChromatic(60, "keV", 1000)
    gvxr.setDetectorPosition(*job["detector_mm"], "mm")
    gvxr.setDetectorUpVector(0, 0, 1)
    gvxr.setDetectorNumberOfPixels(job["pixels"], job["pixels"])
    gvxr.setDetectorPixelSize(job["pitch_mm"], job["pitch_mm"], "mm")
    gvxr.loadMeshFile("mesh", job["mesh"], "mm")
    gvxr.setElement("mesh", "Ti")
    gvxr.addPolygonMeshAsInnerSurface("mesh")
    seconds, cpu_seconds = [], []
    for number in range(job["rounds"] + 1):
        gvxr.rotateNode("mesh", 1e-3 if number % 2 else -1e-3, 0, 0, 1)
        start, begun = time.perf_counter(), time.process_time()
        gvxr.computeXRayImage()
        seconds.append(time.perf_counter() - start)
        cpu_seconds.append(time.process_time() - begun)
    lengths = 10 * np.array(gvxr.computeLBuffer("mesh"))
    np.savez(
        sys.argv[2],
        seconds=seconds[1:],
        cpu_seconds=cpu_seconds[1:],
        lengths_mm=lengths[::-1, ::-1],
    )


if __name__ == "__main__":
    main()

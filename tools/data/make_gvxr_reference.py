#!/usr/bin/env python3
"""Renders an aluminium cube and a titanium ball with gVirtualXray, for test_gvxr.py.

    python3 tools/data/make_gvxr_reference.py tests/data/gvxr_reference.npz --venv /tmp/gvxr

makes an environment of its own in the folder (gvxr 2.1.0 from PyPI), and runs there, without a
display, through EGL: Mesa's llvmpipe is enough. gvxr's wheel wants some of X11's libraries
(Debian, Ubuntu: apt install libxcb-res0 libxcb-ewmh2 libxcb-composite0 libxcb-xinerama0
libxcb-keysyms1 libxcb-icccm4).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

VERSION = "2.1.0"
PIXELS, PITCH_MM = 48, 2.0
SOURCE_MM, DETECTOR_MM = (0, 500, 0), (0, -200, 0)
CUBE_MM, CUBE_AT_MM = 24.0, (-16, 5, 12)
RADIUS_MM, BALL_AT_MM = 9.0, (15, -10, -14)
SPECTRUM = {30.0: 1.0, 40.0: 2.0, 55.0: 3.0, 70.0: 2.0, 90.0: 1.0}
"""Photons by energy [keV]."""


def main() -> None:
    """Make the environment, or, inside it, the images."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--venv", type=Path)
    arguments = parser.parse_args()
    if arguments.venv:
        run_in(arguments.venv, arguments.out)
    else:
        render(arguments.out)


def run_in(folder: Path, out: Path) -> None:
    """This script once more, in an environment that has gvxr."""
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "-q", f"gvxr=={VERSION}"], check=True)
    subprocess.run([python, __file__, str(out.resolve())], check=True)


def render(out: Path) -> None:
    """Path lengths through either body, and the energy behind both, relative to the open beam."""
    import numpy as np
    from gvxrPython3 import gvxr

    gvxr.createWindow(-1, False, "EGL", 4, 5)
    gvxr.usePointSource()
    gvxr.setSourcePosition(*SOURCE_MM, "mm")
    for energy_kev, photons in SPECTRUM.items():
        gvxr.addEnergyBinToSpectrum(energy_kev, "keV", 1000 * photons)
    gvxr.setDetectorPosition(*DETECTOR_MM, "mm")
    gvxr.setDetectorUpVector(0, 0, 1)
    gvxr.setDetectorNumberOfPixels(PIXELS, PIXELS)
    gvxr.setDetectorPixelSize(PITCH_MM, PITCH_MM, "mm")
    gvxr.makeCube("cube", CUBE_MM, "mm")
    place(gvxr, "cube", "Al", 2.699, CUBE_AT_MM)
    gvxr.makeSphere("ball", 600, 600, RADIUS_MM, "mm")
    place(gvxr, "ball", "Ti", 4.54, BALL_AT_MM)
    image = np.array(gvxr.computeXRayImage()) / gvxr.getTotalEnergyWithDetectorResponse()
    lengths = {name: 10 * np.array(gvxr.computeLBuffer(name)) for name in ("cube", "ball")}
    np.savez_compressed(
        out,
        version=VERSION,
        pixel_spacing_mm=PITCH_MM,
        cube_mm=CUBE_MM,
        cube_at_mm=CUBE_AT_MM,
        ball_radius_mm=RADIUS_MM,
        ball_at_mm=BALL_AT_MM,
        energies_kev=list(SPECTRUM),
        photons=list(SPECTRUM.values()),
        energy_left=image.astype(np.float32),
        **{f"{name}_length_mm": value.astype(np.float32) for name, value in lengths.items()},
    )


def place(gvxr: Any, name: str, element: str, density: float, at_mm: tuple[int, ...]) -> None:
    """Put a body of one element into the scene."""
    gvxr.translateNode(name, *at_mm, "mm")
    gvxr.setElement(name, element)
    gvxr.setDensity(name, density, "g/cm3")
    gvxr.addPolygonMeshAsInnerSurface(name)


if __name__ == "__main__":
    sys.exit(main())

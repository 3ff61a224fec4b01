"""The whole way: CT, C-arm, noise, a sweep with a cranial part, figures.

    python -m examples.05_demo [FOLDER]

FOLDER is one that `app.py preprocess` or `PreprocessedVolume.save` made. Without it the newest is
taken that `app.py preprocess` left in the output folder, and without any the phantom. The output
folder is FLUORO_OUTPUT_DIR, or ./output; the frames go there too.
"""

import math
import sys

from fluoro import (
    CarmGeometry,
    FluoroSimulator,
    OutputSettings,
    Pose,
    PreprocessedVolume,
    RealismSettings,
    SimulatorConfig,
    VolumePreprocessor,
)
from fluoro.paths import output_dir

FRAMES = 12
folder = output_dir() / "examples" / "demo"

preprocessed = sorted(output_dir().glob("preprocessed-*"), key=lambda path: path.stat().st_mtime)
if len(sys.argv) > 1:
    volume = PreprocessedVolume.load(sys.argv[1])
elif preprocessed:
    volume = PreprocessedVolume.load(preprocessed[-1])
else:
    volume = VolumePreprocessor.from_phantom(spacing_mm=4.0).preprocess()
print(volume)

config = SimulatorConfig(
    geometry=CarmGeometry(1200, 800, 200, 200, 2.0),
    realism=RealismSettings(enabled=True, poisson_photons=4000, gaussian_sigma=0.004),
    output=OutputSettings(save_to_disk=True, output_dir=folder, format="png"),
)
simulator = FluoroSimulator(volume, config)
print(simulator)


def pose(number: int) -> Pose:
    """Once through RAO 30, LAO 30, CRA 20 and back."""
    turn = 2 * math.pi * number / FRAMES
    lao, cranial = -30 * math.sin(turn), 10 * (1 - math.cos(turn))
    return Pose(rotation=(math.radians(cranial), math.radians(lao), 0.0))


cine = simulator.render_cine([pose(number) for number in range(FRAMES)], fps=15)
metrics = simulator.get_metrics()
print(f"{len(cine)} frames in {folder}")
print(f"{metrics.fps:.1f} frames/s, jitter {metrics.jitter_ms:.1f} ms")

"""A cine: a sweep from RAO 40 to LAO 40 with a detector's noise, saved frame by frame.

In the root of a checkout: python -m examples.02_cine
"""

import numpy as np

from fluoro import (
    CarmGeometry,
    FluoroSimulator,
    Pose,
    RealismSettings,
    SimulatorConfig,
    VolumePreprocessor,
)
from fluoro.paths import output_dir

volume = VolumePreprocessor.from_phantom(spacing_mm=4.0).preprocess()
config = SimulatorConfig(
    geometry=CarmGeometry(1200, 800, 160, 160, 2.5),
    # Noise comes before the image is inverted: bone, which lets few photons through, is noisiest.
    realism=RealismSettings(enabled=True, poisson_photons=3000, blur_sigma_px=0.5, seed=7),
)
simulator = FluoroSimulator(volume, config)

poses = [Pose(rotation=(0.0, angle, 0.0)) for angle in np.radians(np.linspace(-40, 40, 9))]
cine = simulator.render_cine(poses, fps=15)

paths = cine.save_all(output_dir() / "examples" / "cine", format="png")
print(f"{len(cine)} frames {cine.to_numpy().shape}, first {paths[0]}, last {paths[-1].name}")
metrics = simulator.get_metrics()
print(f"{metrics.fps:.1f} frames/s, jitter {metrics.jitter_ms:.1f} ms")

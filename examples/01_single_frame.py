"""One frame: a phantom, a C-arm at LAO 30 / CRA 20, an image.

In the root of a checkout: python -m examples.01_single_frame
"""

import math

from fluoro import CarmGeometry, FluoroSimulator, SimulatorConfig, VolumePreprocessor
from fluoro.paths import output_dir

# What is in the beam. from_nifti("ct.nii.gz") and from_dicom("series/") read your own CT.
volume = VolumePreprocessor.from_phantom(spacing_mm=3.0).preprocess()
print(volume)

geometry = CarmGeometry(
    source_to_detector_mm=1200,
    source_to_isocenter_mm=800,
    detector_width_px=256,
    detector_height_px=256,
    pixel_spacing_mm=1.6,
)
simulator = FluoroSimulator(volume, SimulatorConfig(geometry=geometry))
print(simulator)

# rotation is (cranial, LAO, roll) in radians: docs/conventions.md
frame = simulator.render_frame(rotation=(math.radians(20), math.radians(30), 0.0))
path = output_dir() / "examples" / "single_frame.png"
frame.save(path)
print(
    f"{frame.image.shape} {frame.image.dtype}, {frame.image.min():.2f} to {frame.image.max():.2f}"
)
print(f"saved {path}")

"""xray_simulator: named views, an appearance calibrated once, two looks of one frame.

In the root of a checkout: python -m examples.08_xray_simulator
"""

import warnings
from dataclasses import replace

import fluoro.xray_simulator as xs
from fluoro.fluorosim.preprocessor import VolumePreprocessor as Phantom
from fluoro.paths import output_dir

volume = Phantom.from_phantom(spacing_mm=3.0).preprocess()
config = xs.SimulatorConfig.for_appearance("fluoro").with_output(keep_intensity=True)
config = config.with_geometry(detector_width_px=256, detector_height_px=256, pixel_spacing_mm=1.6)
simulator = xs.xray_simulator(volume, config)
print(simulator)

warnings.simplefilter(
    "ignore", UserWarning
)  # the phantom's axes are LPS, its metadata do not say so
print(simulator.calibrate_display())  # by one AP frame, then it stays
folder = output_dir() / "examples" / "xray_simulator"
for name, pose in (
    ("ap", xs.Pose.ap()),
    ("left", xs.Pose.lateral("left")),
    ("lao", xs.Pose.from_clinical_angles(30, 20)),
):
    frame = simulator.render_frame(pose=pose)
    frame.save(folder / f"{name}_fluoro.png")
    bright = replace(simulator.display, polarity="diagnostic")  # the same photons and window
    frame.with_appearance(bright).save(folder / f"{name}_xray.png")
    print(f"{pose.view}: angles {pose.clinical_angles()}")
print(f"saved in {folder}")

"""An X-ray file in DICOM: what is in it, where its C-arm stood, and a frame rendered there.

In the root of a checkout: python -m examples.07_xray_file
"""

import numpy as np

from fluoro.config import VolumeConfig
from fluoro.fluorosim.image_saving import save_image
from fluoro.paths import application_dir, output_dir
from fluoro.rendering.devices.cpu.device import CpuDevice
from fluoro.rendering.renderer import DrrRenderer
from fluoro.volume.load import load_volume
from fluoro.xray_files.report import report_lines
from fluoro.xray_files.xray_file import XrayFile

# Your own angiogram in its place: XA, XRF, RF, DX, CR or Enhanced XA.
file = XrayFile(application_dir() / "configs" / "paths" / "rotation.dcm")
frame = file.frame(6)  # counted from 1, as viewers do
for line in report_lines(file, frame):
    print(line)

volume = load_volume(VolumeConfig(phantom="thorax", spacing_mm=3.0))  # the CT of its patient
geometry = frame.geometry
if geometry.pose is None or geometry.isocenter_xyz_mm is None:
    raise SystemExit("the file does not say where its C-arm stood: register it (app.py register)")
view = geometry.carm().view(geometry.pose, geometry.isocenter_xyz_mm)
device = CpuDevice()
integrals = device.to_host(DrrRenderer(volume, device).render(view))
rendered = 1 - np.clip((integrals - 0.9) / 4.4, 0, 1)  # the window of the file's own run
seen = (frame.values / 255).astype(np.float32)

path = output_dir() / "examples" / "beside.png"
save_image(path, np.hstack([seen, rendered]).astype(np.float32), {})
likeness = np.corrcoef(seen.ravel(), rendered.ravel())[0, 1]
print(f"correlation of the file's frame and ours: {likeness:.4f}")
print(f"saved {path}")

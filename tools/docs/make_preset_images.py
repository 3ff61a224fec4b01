"""Draws docs/images/presets.png: what each console preset shows, from its file in configs/.

python -m tools.docs.make_preset_images

Each image is one frame of the run, with all frames before it, because brightness control, lag and
subtraction remember them.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fluoro.config import load_config
from fluoro.geometry.from_config import make_geometry
from fluoro.imaging.chain import ImageChain
from fluoro.imaging.frame import to_uint8
from fluoro.imaging.pulses import is_pulse
from fluoro.rendering.devices.selection import open_device
from fluoro.rendering.patient_renderer import make_patient
from fluoro.volume.load import load_volume

ROOT = Path(__file__).parents[2]
IMAGE = ROOT / "docs" / "images" / "presets.png"
EDGE_PX = 384

FRAMES = {
    "cardiac": 84,
    "vascular_dsa": 168,
    "ortho_mobile": 36,
    "image_intensifier": 24,
    "low_dose": 40,
}
"""Which frame of each preset is shown."""


def frame_of(name: str, last: int, changes: Sequence[str] = ()) -> NDArray[np.uint8]:
    """Grey levels of a frame of a file of configs/ with changes, shape (EDGE_PX, EDGE_PX)."""
    config = load_config(ROOT / "configs" / f"{name}.yaml", changes)
    device, volume = open_device("cpu"), load_volume(config.volume)
    patient, geometry = make_patient(config, volume, device), make_geometry(config.carm)
    chain = ImageChain(device, 0, patient.materials)
    trajectory = config.pose_source.trajectory()
    isocenter = config.carm.isocenter_mm or volume.grid.center_xyz_mm.tolist()
    contrast, given = config.volume.contrast, config.image_chain
    injected_s = contrast.start_s if contrast else None
    share = (given.pulse_rate_hz or config.run.fps) / config.run.fps
    for number in (n for n in range(last + 1) if is_pulse(n, share)):
        time_s = number / config.run.fps
        integrals = patient.render(geometry.view(trajectory(time_s), isocenter), time_s, injected_s)
        image = chain.apply(integrals, given, number, geometry.pixel_spacing_mm, geometry)
    grey = Image.fromarray(to_uint8(device.to_host(image)))
    return np.asarray(grey.resize((EDGE_PX, EDGE_PX), Image.Resampling.LANCZOS))


def main() -> int:
    """Draw all presets side by side."""
    gap = np.full((EDGE_PX, 8), 255, np.uint8)
    parts = [part for name, last in FRAMES.items() for part in (frame_of(name, last), gap)]
    Image.fromarray(np.hstack(parts[:-1])).save(IMAGE, optimize=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

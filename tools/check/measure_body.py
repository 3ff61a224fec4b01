"""Prints how closely the body's thorax resembles the chest CT: the figures of docs/phantom.md.

    python -m tools.check.measure_body

Both through the renderer at SOD 900 and SDD 1200 mm, 70 keV, a field of 322 mm at the isocentre,
pixels of 1 mm there, no shift or scaling. The CT comes with `app.py fetch chest-ct`. Positions of
ribs, vertebrae and lungs were measured on this same CT (tools/data/measure_chest.py).
"""

from __future__ import annotations

import sys

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from fluoro.config import VolumeConfig
from fluoro.geometry.carm import CarmGeometry, CarmPose
from fluoro.physics.materials import material
from fluoro.rendering.devices.selection import open_device
from fluoro.rendering.renderer import DrrRenderer
from fluoro.volume.load import load_volume

Image = NDArray[np.float64]

KEV = 70.0
FIELD_PX = 322
BLUR_MM = 8.0
VIEWS = {
    "frontal": CarmPose(),
    "LAO 30": CarmPose(lao_deg=30),
    "left lateral": CarmPose(lao_deg=90),
    "cranial 25": CarmPose(cra_deg=25),
}
REGIONS_MM = {
    "right lung": (-100, -60, -60, 0),
    "left lung": (50, 90, -60, 0),
    "heart": (25, 55, 0, 30),
    "spine": (-24, 0, -30, 30),
    "abdomen": (-90, -40, 90, 130),
}
"""Left, right, upper and lower edge in the frontal view at the isocentre, u left, v down [mm]."""
BANDS_PER_MM = ((0.02, 0.05), (0.05, 0.1), (0.1, 0.2), (0.2, 0.4))
TEXTURED = ("right lung", "spine")


def images(volume: VolumeConfig) -> dict[str, Image]:
    """Return line integrals of all views, 1 mm pixels at the isocentre."""
    opened = load_volume(volume)
    device = open_device("cpu")
    renderer = DrrRenderer(opened, device, projector="joseph")
    geometry = CarmGeometry(
        source_to_detector_mm=1200,
        source_to_isocenter_mm=900,
        detector_width_px=FIELD_PX,
        detector_height_px=FIELD_PX,
        pixel_spacing_mm=4 / 3,
    )
    center = opened.grid.center_xyz_mm
    return {
        name: np.array(device.to_host(renderer.render(geometry.view(pose, center))), float)
        for name, pose in VIEWS.items()
    }


def correlation(a: Image, b: Image) -> float:
    """Return Pearson's coefficient."""
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


def detail(image: Image) -> Image:
    """Return the image less a blur of 8 mm, without its margin."""
    return (image - gaussian_filter(image, BLUR_MM))[16:-16, 16:-16]


def region(image: Image, name: str) -> Image:
    """Return a region of a frontal view."""
    left, right, upper, lower = (FIELD_PX // 2 + edge for edge in REGIONS_MM[name])
    return image[upper:lower, left:right]


def band_powers(image: Image) -> list[float]:
    """Return the power in each of `BANDS_PER_MM`, Hann window, mean taken off."""
    window = np.outer(np.hanning(image.shape[0]), np.hanning(image.shape[1]))
    power = np.abs(np.fft.fft2((image - image.mean()) * window)) ** 2 / (window**2).sum()
    v, u = (np.fft.fftfreq(count) for count in image.shape)
    radius = np.hypot(*np.meshgrid(v, u, indexing="ij"))
    return [float(power[(radius >= low) & (radius < high)].mean()) for low, high in BANDS_PER_MM]


def main() -> int:
    """Print correlations, transmissions and powers."""
    body = images(VolumeConfig.model_validate({"phantom": "body", "spacing_mm": 1.4}))
    chest = images(VolumeConfig.model_validate({"path": "cache:chest-ct"}))
    for name in VIEWS:
        pair = body[name], chest[name]
        fine = correlation(*(detail(each) for each in pair))
        print(f"{name}: NCC {correlation(*pair):.3f}, less a blur of 8 mm {fine:.3f}")
    pmma = float(material("pmma").mu_per_mm(KEV))
    for name in REGIONS_MM:
        ours, theirs = (region(each["frontal"], name) for each in (body, chest))
        shares = [float(np.exp(-each).mean()) for each in (ours, theirs)]
        depths = [-np.log(share) / pmma for share in shares]
        print(
            f"{name}: transmission {shares[0]:.4f} and {shares[1]:.4f} of the CT; "
            f"{depths[0]:.0f} and {depths[1]:.0f} mm PMMA"
        )
    for name in TEXTURED:
        ours, theirs = (band_powers(region(each["frontal"], name)) for each in (body, chest))
        ratios = ", ".join(f"{a / b:.2f}" for a, b in zip(ours, theirs, strict=True))
        print(f"{name}: power by band over the CT's: {ratios}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

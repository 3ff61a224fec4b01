"""Prints how closely the body's thorax resembles the chest CT: the figures of docs/phantom.md.

    python -m tools.check.measure_body

Both through the renderer at SOD 900 and SDD 1200 mm, 70 keV, a field of 322 mm at the isocentre,
pixels of 1 mm there, no shift or scaling. The CT comes with `app.py fetch chest-ct`. Positions of
ribs, vertebrae and lungs were measured on this same CT (tools/data/measure_chest.py).

Blood of the CT has contrast agent. The last lines set it to the density of plain blood, by the CT's
labels, and compare parallel projections of the body in slices as thick as the CT's; a quadratic
surface is taken off before the powers, so that slopes of large organs do not leak into the bands.
"""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, gaussian_filter, map_coordinates

from fluoro.config import VolumeConfig
from fluoro.geometry.carm import CarmGeometry, CarmPose
from fluoro.physics.materials import material
from fluoro.rendering.devices.selection import open_device
from fluoro.rendering.renderer import DrrRenderer
from fluoro.volume.hu_to_mu import mu_from_hu
from fluoro.volume.labels.load import load_labels
from fluoro.volume.load import load_volume
from fluoro.volume.open_ct import open_ct
from fluoro.volume.phantom.body.body import make_body
from fluoro.volume.phantom.body.build import Build
from fluoro.volume.store.fetch import fetched_path
from fluoro.volume.volumes import HuVolume

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
BLOOD = ("heart", "aorta", "superior_vena_cava", "inferior_vena_cava", "pulmonary_vein", "atrial",
         "brachiocephalic", "subclavian", "carotid", "portal_vein")  # fmt: skip
"""Labels of the CT that hold contrast agent begin or go on with these words."""
BLOOD_HU, AROUND_VOXELS = 46.0, 3


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


def without_agent() -> HuVolume:
    """Return the chest CT whose blood, where it is denser, has `BLOOD_HU`; axes along L, P, S."""
    path = fetched_path("chest-ct")
    ct = open_ct(path)
    hu = np.stack([np.array(each) for each in ct.slices(0, ct.grid.shape_zyx[0])])
    config = VolumeConfig.model_validate(
        {"path": "cache:chest-ct", "labels": {"path": "cache:chest-ct"}}
    )
    labels = load_labels(config, ct.grid)
    assert labels is not None
    numbered = list(enumerate((each.name for each in labels.structures), start=1))
    blood = [number for number, name in numbered if any(word in name for word in BLOOD)]
    bone = [number for number, name in numbered if name.startswith(("vertebrae", "rib", "sternum"))]
    near = binary_dilation(np.isin(labels.label_zyx, blood), iterations=AROUND_VOXELS)
    near &= ~binary_dilation(np.isin(labels.label_zyx, bone))
    hu = np.where(near & (hu > BLOOD_HU), BLOOD_HU, hu).astype(np.float32)
    flips = tuple(
        slice(None, None, int(sign)) for sign in np.sign(np.diag(ct.grid.direction))[::-1]
    )
    return HuVolume(hu_zyx=hu[flips], grid=ct.grid)


def in_slices() -> HuVolume:
    """Return the body's thorax in slices of 2.5 mm as the CT has them."""
    fine = make_body(1.25, region="thorax", build=Build(arms="raised"))
    pairs = fine.hu_zyx[: len(fine.hu_zyx) // 2 * 2].astype(np.float32)
    hu = (pairs[::2] + pairs[1::2]) / 2
    dx, dy, dz = fine.grid.spacing_xyz_mm
    grid = replace(fine.grid, shape_zyx=hu.shape, spacing_xyz_mm=(dx, dy, 2 * dz))
    return HuVolume(hu_zyx=hu, grid=grid)


def parallel(volume: HuVolume) -> Image:
    """Return frontal line integrals along parallel rays about the middle, 1 mm pixels."""
    mu = mu_from_hu(np.maximum(volume.hu_zyx, -1000).astype(np.float32), KEV)
    dx, dy, dz = volume.grid.spacing_xyz_mm
    sums = mu.sum(axis=1) * dy
    ticks = np.arange(FIELD_PX) - (FIELD_PX - 1) / 2
    rows, columns = (count / 2 - 0.5 for count in sums.shape)
    index = np.meshgrid(rows - ticks / dz, columns + ticks / dx, indexing="ij")
    return np.asarray(map_coordinates(sums, index, float, order=1))


def levelled(image: Image) -> Image:
    """Return the image less the quadratic surface that fits it best."""
    v, u = np.meshgrid(*(np.linspace(-1, 1, count) for count in image.shape), indexing="ij")
    basis = np.stack([np.ones_like(u), u, v, u * u, u * v, v * v], axis=-1).reshape(-1, 6)
    fit = np.linalg.lstsq(basis, image.ravel(), rcond=None)[0]
    return np.asarray(image - (basis @ fit).reshape(image.shape))


def print_without_agent() -> None:
    """Print transmissions and powers beside those of the CT without contrast agent."""
    ours, theirs = map(parallel, (in_slices(), without_agent()))
    for name in REGIONS_MM:
        shares = [float(np.exp(-region(each, name)).mean()) for each in (ours, theirs)]
        print(f"{name}: transmission {shares[0]:.4f}, CT without agent {shares[1]:.4f}")
    for name in TEXTURED:
        mine, other = (band_powers(levelled(region(each, name))) for each in (ours, theirs))
        ratios = ", ".join(f"{a / b:.2f}" for a, b in zip(mine, other, strict=True))
        print(f"{name}: power by band over that of the CT without agent: {ratios}")


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
    print_without_agent()
    return 0


if __name__ == "__main__":
    sys.exit(main())

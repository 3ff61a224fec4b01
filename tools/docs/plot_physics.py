"""Draws the images of docs/physics.md from the spectra, the tables and the kernels themselves.

.venv/bin/python tools/docs/plot_physics.py        needs matplotlib besides; half a minute
"""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np

from fluoro.config import ImageChainConfig, load_config
from fluoro.geometry.carm import CarmGeometry, CarmPose
from fluoro.imaging.chain import ImageChain
from fluoro.physics.materials import material
from fluoro.physics.spectrum import NAMED_SPECTRA, named_spectrum, tube_spectrum
from fluoro.rendering.devices.cpu.device import CpuDevice
from fluoro.rendering.renderer import DrrRenderer
from fluoro.volume.load import load_volume

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "docs" / "images"
STYLE = {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
FLAT = {
    "poisson": False,
    "log": False,
    "window": {"level": 1.0, "width": 2.0},
    "polarity": "bone_dark",
}
"""Half the signal as display values."""
SHOWN = {"dose_ngy": 20.0, "window": {"level": 3.1, "width": 4.4}}
TILES = {
    "no stage but quantum noise": {},
    "heel (anode at the top), distance": {"heel_anode_side": "top", "inverse_square": True},
    "rectangle, focal spot 1 mm": {
        "collimator": {
            "kind": "rectangle",
            "width_mm": 300.0,
            "height_mm": 230.0,
            "focal_spot_mm": 1.0,
        }
    },
    "iris": {"collimator": {"kind": "iris", "diameter_mm": 300.0}},
    "scatter, air gap 20 cm, no grid": {"scatter": {}},
    "the same behind a grid": {"scatter": {"grid_factor": 0.2}},
    "image intensifier, vignetting 0.5": {
        "image_intensifier": {"diameter_mm": 400.0, "vignetting": 0.5}
    },
    "pixel gains 5 %, dead pixels 0.1 %": {
        "pixel_gain_spread": 0.05,
        "dead_pixel_fraction": 0.001,
    },
    "converter of 6 bits, full scale 0.2": {"digitiser": {"bits": 6, "full_scale": 0.2}},
    "temporal filter 0.2, 8th frame of a sweep": {"recursive_filter_weight": 0.2},
    "edge enhancement 1.5": {"edge_enhancement": {"amount": 1.5, "sigma_mm": 2.0}},
    "together, as a console has them": {
        "heel_anode_side": "top",
        "inverse_square": True,
        "collimator": {"kind": "rectangle", "width_mm": 380.0, "height_mm": 400.0},
        "scatter": {"grid_factor": 0.2},
        "blur_sigma_mm": 0.5,
        "lag": {},
        "electronic_noise_photons": 3.0,
        "pixel_gain_spread": 0.005,
        "digitiser": {},
        "recursive_filter_weight": 0.5,
        "edge_enhancement": {"amount": 0.7, "sigma_mm": 2.0},
    },
}
PIXELS, PITCH_MM, FRAMES = 360, 1.2, 8


def flat(changes):
    """A chain that shows its signal, with some stages."""
    return ImageChainConfig.model_validate({**FLAT, **changes})


def spectra(ax):
    """The three named spectra, each as a density of one."""
    for name in NAMED_SPECTRA:
        spectrum = named_spectrum(name)
        share = spectrum.photons_per_mm2 / spectrum.fluence_per_mm2 / 0.5
        first, _ = spectrum.half_value_layers_mm()
        label = f"{name}: {spectrum.mean_energy_kev:.1f} keV, HVL {first:.2f} mm Al"
        ax.plot(spectrum.energies_kev, share, lw=1, label=label)
    ax.set(xlabel="energy [keV]", ylabel="photons per keV, of 1", title="Named spectra")
    ax.set_ylim(0, 0.15)
    ax.legend(frameon=False, fontsize=7)


def attenuation(ax):
    """Linear attenuation of what is met in a patient."""
    energies = np.geomspace(10, 150, 2000)
    for name in ("lung", "water", "cortical_bone", "titanium", "iodine", "barium_sulfate"):
        ax.loglog(energies, material(name).mu_per_mm(energies), lw=1, label=name)
    ticks = [10, 20, 30, 50, 70, 100, 150]
    ax.set_xticks(ticks, ticks)
    ax.minorticks_off()
    ax.set(xlabel="energy [keV]", ylabel="mu [1/mm]", title="Linear attenuation")
    ax.legend(frameon=False, fontsize=7)


def half_value_layers(ax):
    """First half-value layer by tube voltage and filter."""
    voltages = range(40, 151, 5)
    for aluminium_mm, copper_mm in ((2.5, 0.0), (4.0, 0.0), (4.0, 0.2), (4.0, 0.9)):
        beams = [tube_spectrum(kv, aluminium_mm, copper_mm) for kv in voltages]
        layers = [beam.half_value_layers_mm()[0] for beam in beams]
        ax.plot(voltages, layers, lw=1, label=f"{aluminium_mm:g} mm Al, {copper_mm:g} mm Cu")
    ax.set(xlabel="tube voltage [kV]", ylabel="first HVL [mm Al]", title="Half-value layers")
    ax.legend(frameon=False, fontsize=7)


def heel(ax, device):
    """Profile of the kernel, and with distance and slant."""
    geometry = CarmGeometry(
        source_to_detector_mm=1000.0,
        detector_width_px=400,
        detector_height_px=1,
        pixel_spacing_mm=1.0,
    )
    place_cm = (np.arange(400) + 0.5 - 200) / 10
    for label, distance in (("heel", False), ("heel, distance and slant", True)):
        config = flat({"heel_anode_side": "left", "inverse_square": distance})
        zero = np.zeros((1, 400), np.float32)
        image = ImageChain(device, 0).apply(zero, config, 0, 1.0, geometry)
        ax.plot(place_cm, 2 * image[0], lw=1, label=label)
    ax.set(
        xlabel="from the central ray at 1 m, anode left [cm]",
        ylabel="relative to it",
        title="Heel effect (80 kV, 12 degrees)",
        ylim=(0, 1.15),
    )
    ax.legend(frameon=False, fontsize=7)


def lag(ax, device):
    """What 600 frames of exposure leave in the next hundred."""
    chain, config = ImageChain(device, 0), flat({"lag": {}})
    dark, bright = (np.full((1, 16), value, np.float32) for value in (80.0, 0.0))
    for number in range(600):
        chain.apply(bright, config, number, 1.0)
    after = [200 * chain.apply(dark, config, 600 + n, 1.0).mean() for n in range(100)]
    ax.semilogy(range(1, 101), after, lw=1, label="kernel")
    frames, published = (1, 5, 30, 50, 100), (1.11, 0.68, 0.30, 0.22, 0.12)
    ax.semilogy(frames, published, "o", ms=4, mfc="none", label="the model's figures")
    ax.set(xlabel="frames after the last exposed", ylabel="residual [%]", title="Lag")
    ticks = [0.1, 0.2, 0.5, 1.0]
    ax.set_yticks(ticks, ticks)
    ax.minorticks_off()
    ax.legend(frameon=False, fontsize=7)


def filtering(ax, device):
    """Variance behind the temporal filter."""
    weights = np.linspace(0.1, 0.9, 9)
    noise = {"poisson": True, "dose_ngy": 5.0}

    def variance(changes):
        chain, config = ImageChain(device, 1), flat({**noise, **changes})
        frame = np.full((120, 120), 2.0, np.float32)
        return [chain.apply(frame, config, n, 1.0) for n in range(60)][-1].astype(float).var()

    plain = variance({})
    measured = [variance({"recursive_filter_weight": float(w)}) / plain for w in weights]
    ax.plot(weights, weights / (2 - weights), lw=1, label="a / (2 - a)")
    ax.plot(weights, measured, "o", ms=4, mfc="none", label="kernel")
    ax.set(xlabel="weight a of the newest frame", ylabel="variance left", title="Temporal filter")
    ax.legend(frameon=False, fontsize=7)


def curves(device):
    """docs/images/physics_curves.png."""
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(2, 3, figsize=(12, 6.6), layout="constrained")
        spectra(axes[0, 0])
        attenuation(axes[0, 1])
        half_value_layers(axes[0, 2])
        heel(axes[1, 0], device)
        lag(axes[1, 1], device)
        filtering(axes[1, 2], device)
        figure.savefig(IMAGES / "physics_curves.png", dpi=100)


def stages(device):
    """docs/images/physics_stages.png: the phantom with each stage by itself."""
    volume = load_volume(load_config(ROOT / "configs" / "sweep.yaml").volume)
    geometry = CarmGeometry(
        source_to_detector_mm=1200.0,
        source_to_isocenter_mm=900.0,
        detector_width_px=PIXELS,
        detector_height_px=PIXELS,
        pixel_spacing_mm=PITCH_MM,
    )
    poses = [CarmPose(lao_deg=2.0 * (n - FRAMES + 1)) for n in range(FRAMES)]
    views = [geometry.view(pose, volume.grid.center_xyz_mm) for pose in poses]
    frames = list(DrrRenderer(volume, device).render(views))
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(3, 4, figsize=(12.4, 10.0), layout="constrained")
        for ax, (title, changes) in zip(axes.flat, TILES.items(), strict=True):
            chain = ImageChain(device, 7)
            config = ImageChainConfig.model_validate({**SHOWN, **changes})
            shown = [
                chain.apply(np.ascontiguousarray(f), config, n, PITCH_MM, geometry)
                for n, f in enumerate(frames)
            ]
            ax.imshow(shown[-1], cmap="gray", vmin=0, vmax=1)
            ax.set_title(title)
            ax.axis("off")
        figure.savefig(IMAGES / "physics_stages.png", dpi=100)


def main():
    """Draw both pages."""
    mpl.use("Agg")  # no screen
    device = CpuDevice()
    curves(device)
    stages(device)


if __name__ == "__main__":
    main()

"""Draws docs/images/physics_validation.png: images of the chain, measured as a laboratory would.

.venv/bin/python tools/docs/plot_validation.py        needs matplotlib besides; some seconds
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np

from fluoro.config import ImageChainConfig, WindowConfig, XrayConfig
from fluoro.geometry.carm import CarmGeometry
from fluoro.imaging.chain import ImageChain
from fluoro.imaging.configured_beam import Beams, response_of, spectrum_of
from fluoro.imaging.mtf_kernels import mtf_of
from fluoro.physics.materials import material
from fluoro.physics.metrology import noise_power, slanted_edge_mtf
from fluoro.physics.quadrature import fit_quadrature, thicknesses
from fluoro.physics.spectrum import tube_spectrum
from fluoro.rendering.devices.cpu.device import CpuDevice

ROOT = Path(__file__).resolve().parents[2]
STYLE = {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
PITCH_MM = 0.194
SOFT = [material("soft_tissue"), material("cortical_bone")]
SIGNAL = {"poisson": False, "log": False, "window": WindowConfig(level=1.0, width=2.0)}
"""Half the signal as display values."""


def signal(device, planes, changes, seed=0, number=0):
    """Signal relative to the open field behind soft tissue and bone."""
    given = ImageChainConfig.model_validate({**SIGNAL, "xray": {}, **changes})
    height, width = planes.shape[1:]
    geometry = CarmGeometry(
        source_to_detector_mm=1200.0,
        source_to_isocenter_mm=800.0,
        detector_width_px=width,
        detector_height_px=height,
        pixel_spacing_mm=PITCH_MM,
    )
    chain = ImageChain(device, seed, SOFT)
    return 2 * chain.apply(planes, given, number, PITCH_MM, geometry).astype(float)


def soft(thickness_mm, shape=(256, 256)):
    """An even or shaped layer of soft tissue."""
    planes = np.zeros((2, *shape), np.float32)
    planes[0] = thickness_mm
    return planes


def edge(ax, device):
    """Modulation transfer by the slanted edge."""
    at = np.arange(256) + 0.5 - 128
    tilt = np.deg2rad(3.0)
    away = at * np.cos(tilt) + at[:, None] * np.sin(tilt)
    shown = signal(device, soft(np.where(away < 0, 5.0, 60.0)), {"mtf": {}})
    f, found = slanted_edge_mtf(shown, PITCH_MM)
    ax.plot(f, mtf_of(f, 0.5, PITCH_MM), lw=1, label="1 / (1 + H f²) sinc(a f)")
    ax.plot(f, found, "o", ms=3, mfc="none", label="slanted edge of the image")
    ax.set(xlabel="spatial frequency [1/mm]", ylabel="transfer", title="Modulation transfer")
    ax.legend(frameon=False, fontsize=7)


RQA5 = {"tube_voltage_kv": 70, "aluminium_mm": 22.3, "tube_current_ma": 100, "pulse_width_ms": 5}
"""The standard's beam; its half-value layer is 6.8 mm Al."""


def efficiency(power_ax, ax, device):
    """Noise power and detective quantum efficiency at RQA 5, as IEC 62220-1-1 measures them."""
    beam = tube_spectrum(RQA5["tube_voltage_kv"], RQA5["aluminium_mm"])
    per_mm2 = beam.fluence_per_mm2 * 0.5 * (1000 / 1200) ** 2
    given = {"poisson": True, "xray": RQA5}
    for label, changes in (("without blur", {}), ("with mtf", {"mtf": {}})):
        images = [signal(device, soft(0.0), given | changes, seed) for seed in range(12)]
        f, found = noise_power([image / image.mean() for image in images], PITCH_MM)
        power_ax.plot(f, 1e6 * found, "o", ms=3, mfc="none", label=f"{label}, measured")
        if not changes:
            white = found.mean()
    power_ax.plot(f, 1e6 * white * mtf_of(f, 0.5, 0.0) ** 2, lw=1, label="white / (1 + H f²)²")
    power_ax.set(
        xlabel="spatial frequency [1/mm]", ylabel="NPS / mean² [1e-6 mm²]", title="Noise power"
    )
    zero = 1 / (per_mm2 * white)
    ax.plot(
        f,
        mtf_of(f, 0.5, PITCH_MM) ** 2 / (per_mm2 * found),
        "o",
        ms=3,
        mfc="none",
        label="measured",
    )
    ax.plot(f, zero * np.sinc(PITCH_MM * f) ** 2, lw=1, label="DQE(0) sinc²(a f)")
    ax.set(xlabel="spatial frequency [1/mm]", ylabel="DQE", title="RQA 5", ylim=(0, 0.9))
    for each in (power_ax, ax):
        each.legend(frameon=False, fontsize=7)


def dose(ax, device):
    """Relative noise by dose, behind 20 cm."""
    doses, xray = np.geomspace(10, 3000, 9), XrayConfig()
    beam = Beams(SOFT).beam(xray)
    planes = soft(200.0)
    for electronic in (0.0, 5.0):
        found = []
        for dose_ngy in doses:
            changes = {"poisson": True, "dose_ngy": float(dose_ngy)}
            image = signal(device, planes, {**changes, "electronic_noise_photons": electronic}, 3)
            found.append(image.std() / image.mean())
        ax.loglog(doses, found, "o", ms=4, mfc="none", label=f"{electronic:g} photons read-out")
    spectrum, response = spectrum_of(xray), response_of(xray.detector)
    kev = spectrum.energies_kev
    left = spectrum.photons_per_mm2 * np.exp(-SOFT[0].mu_per_mm(kev) * 200)
    left = left * response.absorbed(kev)
    quanta = (left @ response.per_photon(kev)) ** 2 / (left @ response.mean_square(kev))
    per_ngy = quanta / beam.kerma_behind_water_ngy * PITCH_MM**2
    ax.loglog(doses, 1 / np.sqrt(doses * per_ngy), lw=1, label="every bin of the spectrum")
    ax.set(xlabel="dose [nGy]", ylabel="noise / signal of a pixel", title="Noise behind 20 cm")
    ax.legend(frameon=False, fontsize=7)


def hardening(ax, device):
    """Attenuation by thickness: kernels against every bin of the spectrum."""
    at_mm = np.linspace(5, 300, 60)
    for kv in (60, 80, 120):
        xray = {"xray": {"tube_voltage_kv": kv}}
        found = -np.log(signal(device, soft(at_mm, (16, 60)), xray)[8])
        spectrum, response = (
            spectrum_of(XrayConfig(**xray["xray"])),
            response_of(XrayConfig().detector),
        )
        kev = spectrum.energies_kev
        weight = spectrum.photons_per_mm2 * response.absorbed(kev) * response.per_photon(kev)
        left = np.exp(-np.outer(at_mm, SOFT[0].mu_per_mm(kev))) @ weight / weight.sum()
        (line,) = ax.plot(at_mm, -np.log(left) / np.maximum(at_mm, 1e-9), lw=1, label=f"{kv} kV")
        ax.plot(
            at_mm[1::4], (found / at_mm.clip(1e-9))[1::4], "o", ms=3, mfc="none", c=line.get_color()
        )
    ax.set(
        xlabel="soft tissue [mm]",
        ylabel="-ln(signal) / thickness [1/mm]",
        title="Hardening: bins (line), kernels (o)",
    )
    ax.legend(frameon=False, fontsize=7)


def quadrature(ax):
    """Error of few energies by tissue."""
    spectrum, response = spectrum_of(XrayConfig()), response_of(XrayConfig().detector)
    kev = spectrum.energies_kev
    weight = spectrum.photons_per_mm2 * response.absorbed(kev) * response.per_photon(kev)
    names = [each.name for each in SOFT]
    fitted, at = thicknesses(names, SOFT), np.linspace(0, 300, 121)
    for count in (4, 5):
        found = fit_quadrature(kev, weight, SOFT, fitted, count)
        for bone_mm, style in ((0.0, "-"), (30.0, "--")):
            exact, few = (
                np.exp(-np.outer(at, SOFT[0].mu_per_mm(e)) - bone_mm * SOFT[1].mu_per_mm(e)) @ w
                for e, w in (
                    (kev, weight / weight.sum()),
                    (found.energies_kev, found.weights),
                )
            )
            label = f"{count} energies, {bone_mm:g} mm bone"
            ax.plot(at, 100 * (few / exact - 1), style, lw=1, label=label)
    ax.set(xlabel="soft tissue [mm]", ylabel="error [%]", title="Few energies for 80 kV")
    ax.legend(frameon=False, fontsize=7)


def meshes(ax):
    """The line through cube and ball of tests/rendering/test_gvxr.py as gVirtualXray left it."""
    with np.load(ROOT / "tests" / "data" / "gvxr_reference.npz") as file:
        left = file["energy_left"][::-1, ::-1].astype(float)
        paths = [file[f"{n}_length_mm"][::-1, ::-1].astype(float) for n in ("cube", "ball")]
        kev, photons = file["energies_kev"], file["photons"]
    metals = [material("aluminium"), material("titanium")]
    weight = photons * kev / (photons @ kev)
    mu = np.stack([each.mu_per_mm(kev) for each in metals], axis=1)
    ours = np.tensordot(weight, np.exp(-np.tensordot(mu, np.stack(paths), 1)), 1)
    inside = left < 0.98
    ax.plot(-np.log(left[inside]), 100 * np.log(ours / left)[inside], "o", ms=2, mfc="none")
    ax.set(
        xlabel="-ln(energy left), gVirtualXray",
        ylabel="difference of the logarithm [%]",
        title="Spectrum behind Al and Ti",
        ylim=(-0.1, 0.1),
    )


def main():
    """Draw the page."""
    mpl.use("Agg")  # no screen
    device = CpuDevice()
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(2, 4, figsize=(15, 6.6), layout="constrained")
        edge(axes[0, 0], device)
        efficiency(axes[0, 1], axes[0, 2], device)
        dose(axes[0, 3], device)
        hardening(axes[1, 0], device)
        quadrature(axes[1, 1])
        meshes(axes[1, 2])
        axes[1, 3].axis("off")
        figure.savefig(ROOT / "docs" / "images" / "physics_validation.png", dpi=100)


if __name__ == "__main__":
    main()

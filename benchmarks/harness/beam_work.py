"""Work of a beam of many energies: the kernel that weighs energies, the march through materials."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

import numpy as np

from fluoro.config import ImageChainConfig, XrayConfig
from fluoro.geometry.carm import CarmGeometry
from fluoro.geometry.projection import View
from fluoro.imaging.chain import ImageChain
from fluoro.imaging.configured_beam import Beams
from fluoro.imaging.device_tables import Tables
from fluoro.imaging.kernel_run import KernelRun
from fluoro.imaging.stage import FrameContext
from fluoro.imaging.stages.beer_lambert import BeerLambert
from fluoro.names import TissueMapName
from fluoro.physics.tissues import tissue_map
from fluoro.rendering.devices.base import ComputeDevice
from fluoro.rendering.material_renderer import MaterialRenderer
from fluoro.rendering.projectors import PROJECTORS
from fluoro.volume.material_volume import MaterialVolume
from fluoro.volume.volumes import MuVolume

__all__ = [
    "ENERGY_TISSUES", "MATERIAL_PROJECTORS", "PHYSICS", "energies_call", "material_calls",
    "physics_call",
]  # fmt: skip

ENERGY_TISSUES: TissueMapName = "tissues"
"""Whose five materials the kernel of the energies takes."""
MATERIAL_PROJECTORS = [each.name for each in PROJECTORS.values() if each.materials]
OPEN_FIELD = 1000.0
"""Photons of a pixel."""
PHYSICS: dict[str, Any] = {
    "dose_ngy": 20,
    "xray": {
        "tube_voltage_kv": 80,
        "aluminium_mm": 3.0,
        "copper_mm": 0.1,
        "detector": {"kind": "energy_integrating", "csi_mm": 0.6, "swank_factor": 0.925},
    },
    "brightness": {"target_ngy": 20},
    "scatter": {"air_gap_mm": 200},
    "grid": {},
    "mtf": {},
    "lag": {},
    "pixel_gain_spread": 0.02,
    "electronic_noise_photons": 3.0,
    "window": {"level": -0.2, "width": 4.0},
}
"""Image chain of a spectrum, scatter behind a grid, a flat panel and automatic brightness."""
PHYSICS_CARM = CarmGeometry(
    source_to_detector_mm=1200.0,
    source_to_isocenter_mm=900.0,
    detector_width_px=256,
    detector_height_px=256,
    pixel_spacing_mm=0.84,
)
"""Its geometry; images of another size are a part of it, or more."""


def energies_call(device: ComputeDevice, size_px: int, energies: int) -> Callable[[], Any]:
    """The kernel from thicknesses to the expected signal, on a square image.

    Args:
        device: Where it runs.
        size_px: Columns and rows.
        energies: How many stand for the spectrum, 3 to 12.
    """
    materials = tissue_map(ENERGY_TISSUES).materials
    xray = XrayConfig(energies=energies)
    beam = Beams(materials).beam(xray)
    ramp = np.linspace(0.0, 100.0, len(materials) * size_px**2, dtype=np.float32)
    thicknesses = device.to_device(ramp.reshape(-1, size_px, size_px))
    shape = (size_px, size_px)
    frame = FrameContext(
        config=ImageChainConfig(xray=xray, poisson=False),
        shape=shape,
        pixel_spacing_mm=1.0,
        integrals=thicknesses,
        beam=beam,
        materials=materials,
        open_field_photons=OPEN_FIELD,
    )
    stage, kernels = BeerLambert(), KernelRun(device, Tables(device), shape, fused=False)

    def call() -> Any:
        stage.run(frame, kernels)
        return device.to_host(kernels.image)

    return call


def physics_call(device: ComputeDevice, size_px: int) -> Callable[[], Any]:
    """The whole image chain of `PHYSICS` on a square image, from frame to frame.

    Args:
        device: Where it runs.
        size_px: Columns and rows.
    """
    materials = tissue_map(ENERGY_TISSUES).materials
    config = ImageChainConfig.model_validate(PHYSICS)
    ramp = np.linspace(0.0, 60.0, len(materials) * size_px**2, dtype=np.float32)
    thicknesses = device.to_device(ramp.reshape(-1, size_px, size_px))
    chain, frames, pitch_mm = ImageChain(device, 0, materials, fused=True), count(), 0.84

    def call() -> Any:
        return chain.apply(thicknesses, config, next(frames), pitch_mm, PHYSICS_CARM)

    return call


def material_calls(
    volume: MuVolume, device: ComputeDevice, tissues: TissueMapName, view: View
) -> tuple[int, dict[str, Callable[[], Any]]]:
    """How many materials a map has, and an image of them all by each projector that has them."""
    material = MaterialVolume(volume=volume, tissues=tissue_map(tissues))
    renderers = {
        name: MaterialRenderer(material, device, projector=name) for name in MATERIAL_PROJECTORS
    }
    calls = {name: lambda one=one: one.render(view) for name, one in renderers.items()}
    return len(material.materials), calls

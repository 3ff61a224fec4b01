"""Work of a beam of many energies: the kernel that weighs energies, the march through materials."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fluoro.config import XrayConfig
from fluoro.geometry.projection import View
from fluoro.imaging.xray import Beams, beam_uniforms, transmission_stage
from fluoro.names import MaterialProjector, TissueMapName
from fluoro.physics.tissues import tissue_map
from fluoro.rendering.devices import ComputeDevice
from fluoro.rendering.material_renderer import MaterialRenderer
from fluoro.volume.materials import MaterialVolume
from fluoro.volume.volumes import MuVolume

__all__ = ["ENERGY_TISSUES", "MATERIAL_PROJECTORS", "energies_call", "material_calls"]

ENERGY_TISSUES: TissueMapName = "tissues"
"""Whose five materials the kernel of the energies takes."""
MATERIAL_PROJECTORS: tuple[MaterialProjector, ...] = ("march", "joseph")
OPEN_FIELD = 1000.0
"""Photons of a pixel."""


def energies_call(device: ComputeDevice, size_px: int, energies: int) -> Callable[[], Any]:
    """The kernel from thicknesses to the expected signal, on a square picture.

    Args:
        device: Where it runs.
        size_px: Columns and rows.
        energies: How many stand for the spectrum, 3 to 12.
    """
    materials = tissue_map(ENERGY_TISSUES).materials
    beam = Beams(materials).beam(XrayConfig(energies=energies))
    ramp = np.linspace(0.0, 100.0, len(materials) * size_px**2, dtype=np.float32)
    thicknesses = device.to_device(ramp.reshape(-1, size_px, size_px))
    image = device.empty((size_px, size_px))
    stage = transmission_stage(
        beam_uniforms(beam, [], OPEN_FIELD), thicknesses, image, moments=False
    )
    uniforms: dict[str, Any] = {"image": image, "image_size": (size_px, size_px, 1)}
    for name, value in stage.uniforms.items():
        uniforms[name] = device.to_device(value) if isinstance(value, np.ndarray) else value
    threads = (-(-size_px // device.rays_per_thread), size_px, 1)

    def call() -> Any:
        device.launch("polychromatic", stage.name, threads, uniforms, exact=True)
        return device.to_host(image)

    return call


def material_calls(
    volume: MuVolume, device: ComputeDevice, tissues: TissueMapName, view: View
) -> tuple[int, dict[str, Callable[[], Any]]]:
    """How many materials a map has, and a picture of them all by each projector that has them."""
    material = MaterialVolume(volume=volume, tissues=tissue_map(tissues))
    renderers = {
        name: MaterialRenderer(material, device, projector=name) for name in MATERIAL_PROJECTORS
    }
    calls = {name: lambda one=one: one.render(view) for name, one in renderers.items()}
    return len(material.materials), calls

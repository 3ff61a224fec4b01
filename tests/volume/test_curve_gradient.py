"""Derivatives with respect to the map from CT numbers to attenuation, through the renderer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fluoro.errors import InputError
from fluoro.geometry.carm import CarmPose
from fluoro.rendering.devices.cpu.device import CpuDevice
from fluoro.rendering.renderer import DrrRenderer
from fluoro.volume.grid import VolumeGrid
from fluoro.volume.hu_to_mu import HuToMu, LinearCurve, PhysicalCurve
from fluoro.volume.hu_to_mu_gradient import curve_gradient
from fluoro.volume.volumes import MuVolume
from tests import volumes

HU = np.random.default_rng(0).uniform(-1200, 2500, (12, 14, 16))
GRID = VolumeGrid(shape_zyx=HU.shape, spacing_xyz_mm=(6.0, 6.5, 7.0))
VIEW = volumes.view(CarmPose(lao_deg=30, cra_deg=12))
UPSTREAM = np.random.default_rng(1).standard_normal((30, 38))
LINE = LinearCurve(hu_min=-900.0, hu_max=1500.0, mu_min_per_mm=0.001)
MAPS = {
    "physical": (HuToMu(bone_multiplier=1.3), {"bone_multiplier": 1e-2}),
    "line": (
        HuToMu(curve=LINE, hu_clip_max=2000.0),
        {"mu_min_per_mm": 1e-4, "mu_max_per_mm": 1e-3, "hu_min": 0.5, "hu_max": 0.5},
    ),
}


def changed(mapping, name, amount):
    if name == "bone_multiplier":
        return replace(mapping, bone_multiplier=mapping.bone_multiplier + amount)
    return replace(
        mapping, curve=replace(mapping.curve, **{name: getattr(mapping.curve, name) + amount})
    )


def total(by_voxel, mapping):
    """What the images weigh: projection is linear in the attenuation."""
    return float((by_voxel * mapping.mu(HU).astype(float)).sum())


@pytest.mark.parametrize("kind", list(MAPS))
def test_gradient_with_respect_to_the_map_is_that_of_differences(kind):
    mapping, steps = MAPS[kind]
    renderer = DrrRenderer(MuVolume(mu_zyx=mapping.mu(HU), grid=GRID), CpuDevice())
    by_voxel = renderer.backproject(VIEW, UPSTREAM.astype(np.float32)).astype(float)
    found = curve_gradient(HU, by_voxel, mapping)
    for name, step in steps.items():
        ends = [total(by_voxel, changed(mapping, name, sign * step)) for sign in (1, -1)]
        expected = (ends[0] - ends[1]) / (2 * step)
        assert found[name] == pytest.approx(expected, rel=0.02), name


def test_gradient_with_respect_to_waters_attenuation_scales_the_image():
    """All line integrals are proportional to it, so that its derivative is their sum over it."""
    mapping = HuToMu(curve=PhysicalCurve(energy_kev=70.0))
    renderer = DrrRenderer(MuVolume(mu_zyx=mapping.mu(HU), grid=GRID), CpuDevice())
    by_voxel = renderer.backproject(VIEW, np.ones((30, 38), np.float32))
    found = curve_gradient(HU, by_voxel, mapping)["water_mu_per_mm"]
    expected = renderer.render(VIEW).sum(dtype=float) / mapping.curve.water_mu_per_mm
    assert found == pytest.approx(expected, rel=1e-4)


def test_derivatives_of_another_shape_are_refused():
    with pytest.raises(InputError, match="by_voxel must have shape"):
        curve_gradient(HU, HU[1:], HuToMu())

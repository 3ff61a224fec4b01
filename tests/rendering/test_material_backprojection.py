"""Derivatives with respect to the voxels, through materials and image chain."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from fluoro.config import ImageChainConfig
from fluoro.errors import InputError
from fluoro.imaging import gradients
from fluoro.imaging.configured_beam import Beams
from fluoro.rendering.devices.cpu.device import CpuDevice
from fluoro.rendering.devices.selection import open_device
from fluoro.rendering.material_reference import (
    tissue_joseph_reference,
    tissue_march_reference,
    tissue_slab_reference,
)
from fluoro.rendering.material_renderer import MaterialRenderer
from tests import volumes
from tests.rendering.test_tissues import ball, tissue_volume
from tests.scene.test_labelled import labelled
from tests.support import require_vulkan

GATE, STEP_MM, PITCH_MM = 1e-3, 0.45, 8.0
SMALL = 1e-9
"""Of the central differences, in 1/mm: voxels are about 0.02."""
VIEW = volumes.view(volumes.POSES["LAO 37 CRA 21"])


@pytest.fixture(scope="module")
def device():
    return CpuDevice()


@pytest.fixture(scope="module")
def volume():
    """No voxel at -1000 HU, where the ramp of air begins and the sum has a corner."""
    made = tissue_volume()
    thin = np.maximum(made.volume.mu_zyx, np.float32(5e-4))
    return replace(made, volume=replace(made.volume, mu_zyx=thin))


def thicknesses(volume, mu_zyx, projector):
    """The reference of a volume of float64 voxels."""
    base = volume.volume
    held = SimpleNamespace(mu_zyx=mu_zyx, grid=base.grid, water_mu_per_mm=base.water_mu_per_mm)
    body = SimpleNamespace(volume=held, tissues=volume.tissues)
    if projector == "joseph":
        return tissue_joseph_reference(body, VIEW)
    if projector == "slab":
        return tissue_slab_reference(body, VIEW)
    return tissue_march_reference(body, VIEW, STEP_MM)


def differences(volume, direction, projector, function):
    """Along a direction of all voxels."""
    mu = volume.volume.mu_zyx.astype(float)
    plus, minus = (
        function(thicknesses(volume, mu + sign * SMALL * direction, projector)) for sign in (1, -1)
    )
    return (plus - minus) / (2 * SMALL)


@pytest.mark.parametrize("projector", ["march", "joseph", "slab"])
def test_it_is_the_derivative_of_the_discrete_sum(device, volume, projector):
    rng = np.random.default_rng(2)
    upstream = rng.standard_normal((5, 30, 38)).astype(np.float32)
    direction = rng.random(volume.volume.mu_zyx.shape)
    step = {"step_mm": STEP_MM} if projector == "march" else {}
    renderer = MaterialRenderer(volume, device, projector=projector, **step)
    found = (renderer.backproject(VIEW, upstream) * direction).sum()
    expected = differences(volume, direction, projector, lambda t: (t * upstream).sum())
    assert found == pytest.approx(expected, rel=GATE)


def test_voxels_derivative_goes_through_spectrum_and_scatter(device, volume):
    rng = np.random.default_rng(3)
    upstream = 0.5 + rng.random((30, 38))
    direction, beams = rng.random(volume.volume.mu_zyx.shape), Beams(volume.materials)
    chain = {"xray": {}, "scatter": {}, "lag": {}, "window": {"level": 2.0, "width": 8.0}}
    config = ImageChainConfig.model_validate({"poisson": False, **chain})
    renderer = MaterialRenderer(volume, device, step_mm=STEP_MM)
    by_thickness = gradients.pull_back(
        renderer.render(VIEW), config, PITCH_MM, upstream, None, beams
    )
    found = (renderer.backproject(VIEW, by_thickness) * direction).sum()

    def shown(t):
        return (gradients.expected_image(t, config, PITCH_MM, None, beams) * upstream).sum()

    expected = differences(volume, direction, "march", shown)
    assert found == pytest.approx(expected, rel=GATE)


@pytest.mark.parametrize("projector", ["march", "joseph", "slab"])
def test_by_an_inclusions_shares_it_is_the_transpose(device, volume, projector):
    """Shares below 1 are linear: <A x, y> = <x, A' y>; the second view counts as the first."""
    half = ball((12, 12, 12), 8)
    half = replace(half, share_zyx=(0.5 * half.share_zyx).astype(np.float32))
    renderer = MaterialRenderer(replace(volume, inclusions=(half,)), device, projector=projector)
    upstream = np.random.default_rng(4).random((2, 6, 30, 38)).astype(np.float32)
    metal = renderer.render([VIEW, VIEW])[:, 5]
    by_share = renderer.backproject([VIEW, VIEW], upstream, layer=1)
    forward = (metal.astype(float) * upstream[:, 5]).sum()
    assert (by_share.astype(float) * half.share_zyx).sum() == pytest.approx(forward, rel=1e-4)


@pytest.mark.parametrize("other", ["llvmpipe", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_devices_agree(device, volume, other):
    if other == "llvmpipe":
        require_vulkan()
    there = open_device(other)
    upstream = np.random.default_rng(5).random((5, 30, 38)).astype(np.float32)
    here = MaterialRenderer(volume, device).backproject(VIEW, upstream)
    same = there.to_host(MaterialRenderer(volume, there).backproject(VIEW, upstream))
    assert np.linalg.norm(same - here) < 1e-4 * np.linalg.norm(here)
    there.close()


def test_labels_have_no_derivative_and_shapes_must_fit(device, volume):
    renderer = MaterialRenderer(replace(volume, inclusions=(labelled(2),)), device)
    upstream = np.ones((7, 30, 38), np.float32)
    with pytest.raises(InputError, match="layer must be one with shares, got 1, which has labels"):
        renderer.backproject(VIEW, upstream, layer=1)
    with pytest.raises(InputError, match="upstream must be"):
        renderer.backproject(VIEW, upstream[1:])
    once = renderer.backproject(VIEW, upstream)
    twice = renderer.backproject(VIEW, upstream, 0, renderer.backproject(VIEW, upstream))
    np.testing.assert_allclose(twice, 2 * once, rtol=1e-4, atol=1e-3)

"""The image chain's derivative against central differences of its own reference."""

from __future__ import annotations

import numpy as np
import pytest

from fluoro.config import ImageChainConfig, WindowConfig
from fluoro.geometry.carm import CarmPose
from fluoro.geometry.view_derivatives import moved, rigid_motions
from fluoro.imaging import gradients, linear_maps
from fluoro.imaging.chain import ImageChain
from fluoro.imaging.stages.blur import blur_weights
from fluoro.rendering import reference
from fluoro.rendering.devices.cpu.device import CpuDevice
from fluoro.rendering.renderer import DrrRenderer
from tests import volumes

PITCH_MM = 8.0
QUIET = {"poisson": False}
CONFIGS = {
    "log, bone dark": ImageChainConfig(**QUIET, window=WindowConfig(level=1.0, width=3.0)),
    "log, bone bright": ImageChainConfig(
        **QUIET, window=WindowConfig(level=1.0, width=3.0), polarity="bone_bright"
    ),
    "signal": ImageChainConfig(**QUIET, log=False, window=WindowConfig(level=0.5, width=1.2)),
    "inverted signal": ImageChainConfig(
        **QUIET, log=False, window=WindowConfig(level=0.5, width=1.2), polarity="bone_bright"
    ),
    "blur, gain and bias": ImageChainConfig(
        **QUIET,
        window=WindowConfig(level=1.0, width=3.0),
        blur_sigma_mm=9.0,
        gain=0.8,
        bias=0.05,
    ),
    "scatter": ImageChainConfig.model_validate(
        {**QUIET, "window": {"level": 1.0, "width": 4.0}, "scatter": {"air_gap_mm": 130.0}}
    ),
    "scatter, lag, gains, curve": ImageChainConfig.model_validate(
        {
            **{**QUIET, "window": {"level": 1.0, "width": 4.0}, "blur_sigma_mm": 9.0},
            **{"scatter": {"quality": "accurate"}, "lag": {}, "lut": {"kind": "sigmoid"}},
            **{"pixel_gain_spread": 0.03, "dead_pixel_fraction": 0.05},
        }
    ),
    "narrow window": ImageChainConfig(**QUIET, window=WindowConfig(level=0.2, width=0.2)),
    "integrals": ImageChainConfig(
        beer_lambert=False, log=False, **QUIET, window=WindowConfig(level=1.0, width=3.0)
    ),
}


def image(integrals, config):
    """The display values in float64."""
    return gradients.expected_image(integrals, config, PITCH_MM)


@pytest.fixture(scope="module")
def integrals():
    return np.random.default_rng(0).random((21, 24)) * 2


@pytest.mark.parametrize("name", list(CONFIGS))
def test_the_float64_image_is_the_chains(integrals, name):
    single = integrals.astype(np.float32)
    shown = ImageChain(CpuDevice(), 0).apply(single, CONFIGS[name], 0, PITCH_MM)
    np.testing.assert_allclose(image(integrals, CONFIGS[name]), shown, atol=2e-5)


@pytest.mark.parametrize("name", list(CONFIGS))
def test_pulled_back_derivative_is_that_of_the_image(integrals, name):
    rng = np.random.default_rng(1)
    upstream, direction = rng.standard_normal((2, *integrals.shape))
    found = (gradients.pull_back(integrals, CONFIGS[name], PITCH_MM, upstream) * direction).sum()
    step = 1e-7
    plus, minus = (image(integrals + s * step * direction, CONFIGS[name]) for s in (1, -1))
    expected = ((plus - minus) * upstream).sum() / (2 * step)
    assert found == pytest.approx(expected, rel=1e-5)


def test_blur_transpose_is_the_transpose():
    rng = np.random.default_rng(2)
    x, y = rng.standard_normal((2, 9, 12))
    weights = blur_weights(1.4)
    forward = (linear_maps.blur(x, weights) * y).sum()
    assert (x * linear_maps.blur_transpose(y, weights)).sum() == pytest.approx(forward, rel=1e-12)


@pytest.mark.parametrize("name", list(CONFIGS))
def test_pose_derivative_goes_through_the_whole_chain(name):
    """Renderer and chain together, against central differences of their float64 references."""
    volume, config = volumes.gaussian(), CONFIGS[name]
    view = volumes.view(CarmPose(lao_deg=37, cra_deg=21))
    center = volumes.GRID.center_xyz_mm
    upstream = np.random.default_rng(5).standard_normal((30, 38))
    renderer = DrrRenderer(volume, CpuDevice(), projector="joseph")
    rendered = renderer.render(view)
    pulled = gradients.pull_back(rendered, config, PITCH_MM, upstream)
    _, found = renderer.render_vjp(view, center, pulled)
    motions = rigid_motions(view, center)
    expected = np.zeros(6)
    for k, step in enumerate([1e-7] * 3 + [1e-5] * 3):
        amount = np.eye(6)[k] * step
        plus, minus = (
            image(reference.joseph_reference(volume, moved(view, motions, s * amount)), config)
            for s in (1, -1)
        )
        expected[k] = ((plus - minus) * upstream).sum() / (2 * step)
    assert np.linalg.norm(found - expected) < 1e-3 * np.linalg.norm(expected)

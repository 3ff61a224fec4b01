"""Exact derivatives through a beam of many energies and the detector's linear stages."""

from __future__ import annotations

import numpy as np
import pytest

from fluoro.config import ImageChainConfig, ScatterConfig, WindowConfig
from fluoro.geometry.carm import CarmPose
from fluoro.geometry.motions import moved, rigid_motions
from fluoro.imaging import gradients, linear_stages, scatter_reference
from fluoro.imaging.chain import ImageChain
from fluoro.imaging.xray import Beams
from fluoro.rendering.cpu_device import CpuDevice
from fluoro.rendering.material_reference import tissue_march_twin
from fluoro.rendering.material_renderer import MaterialRenderer
from fluoro.rendering.reference import march_steps
from tests import volumes
from tests.test_tissues import tissue_volume

PITCH_MM = 8.0
GATE = 1e-3
STAGES = {
    "focal_spot_mm": 9.0,
    "heel_anode_side": "left",
    "wedge": {"side": "left", "thickness_mm": 2.0, "reach_mm": 120.0, "ramp_mm": 60.0},
    "mtf": {"h_mm2": 60.0},
    "image_intensifier": {"diameter_mm": 260.0, "pin_cushion": 0.1},
    "veiling_glare": {"fraction": 0.1, "sigma_mm": 60.0},
    "edge_enhancement": {"amount": 0.5, "sigma_mm": 9.0},
}
CONFIGS = {
    "log": {"xray": {}},
    "signal, counting": {
        "xray": {"detector": {"kind": "photon_counting"}},
        "log": False,
        "window": WindowConfig(level=0.5, width=1.2),
    },
    "every linear stage": {"xray": {}, **STAGES, "window": WindowConfig(level=4.0, width=12.0)},
    "scatter": {"xray": {}, "scatter": {"air_gap_mm": 120.0}},
    "everything": {
        **{"xray": {}, **STAGES, "window": WindowConfig(level=4.0, width=12.0)},
        "scatter": {"quality": "accurate", "grid_factor": 0.4},
        "lag": {},
        "pixel_gain_spread": 0.02,
        "dead_pixel_fraction": 0.02,
        "lut": {"kind": "sigmoid"},
    },
}


def config(name):
    shown = {"poisson": False, "window": WindowConfig(level=2.0, width=6.0)}
    return ImageChainConfig.model_validate({**shown, **CONFIGS[name]})


@pytest.fixture(scope="module")
def volume():
    return tissue_volume()


@pytest.fixture(scope="module")
def beams(volume):
    return Beams(volume.materials)


@pytest.fixture(scope="module")
def device():
    return CpuDevice()


def view():
    return volumes.view(CarmPose(lao_deg=37, cra_deg=21))


@pytest.mark.parametrize("name", list(CONFIGS))
def test_expected_picture_is_the_chains(device, volume, beams, name):
    given = config(name)
    thicknesses = MaterialRenderer(volume, device).render(view())
    chain = ImageChain(device, 0, volume.materials)
    shown = chain.apply(thicknesses, given, 0, PITCH_MM, volumes.DETECTOR)
    expected = gradients.expected_picture(thicknesses, given, PITCH_MM, volumes.DETECTOR, beams)
    assert np.ptp(shown) > 0.2
    np.testing.assert_allclose(shown, expected, atol=5e-5)


@pytest.mark.parametrize("name", list(CONFIGS))
def test_pose_derivative_goes_through_renderer_and_chain(device, volume, beams, name):
    """Thicknesses, spectrum and chain together, against differences of their float64 twins."""
    given, at, center, step_mm = config(name), view(), volumes.GRID.center_xyz_mm, 0.45
    upstream = np.random.default_rng(5).standard_normal((30, 38))
    renderer = MaterialRenderer(volume, device)
    pulled = gradients.pull_back(
        renderer.render(at), given, PITCH_MM, upstream, volumes.DETECTOR, beams
    )
    found = renderer.render_vjp(at, center, pulled)
    motions, steps = rigid_motions(at, center), march_steps(volume.volume, at, step_mm)

    def picture(place):
        thicknesses = tissue_march_twin(volume, place, step_mm, steps)
        return gradients.expected_picture(thicknesses, given, PITCH_MM, volumes.DETECTOR, beams)

    expected = np.zeros(6)
    for k, step in enumerate([1e-8] * 3 + [1e-6] * 3):
        plus, minus = (picture(moved(at, motions, s * step * np.eye(6)[k])) for s in (1, -1))
        expected[k] = ((plus - minus) * upstream).sum() / (2 * step)
    for part in (slice(0, 3), slice(3, 6)):
        off = np.linalg.norm(found[part] - expected[part])
        assert off < GATE * np.linalg.norm(expected[part]), part


def test_image_jacobian_of_a_signal_is_one_march(device, volume, beams):
    """Weights d(log signal)/d(thickness) turn the renderer's Jacobian into the image's own."""
    given, at, center = config("log"), view(), volumes.GRID.center_xyz_mm
    renderer = MaterialRenderer(volume, device)
    thicknesses = renderer.render(at)
    ones = np.ones((30, 38))
    weights = gradients.pull_back(thicknesses, given, PITCH_MM, ones, None, beams)
    _, jacobian = renderer.render_jacobian(at, center, weights)
    upstream = np.random.default_rng(6).standard_normal((30, 38))
    by_rows = np.tensordot(jacobian, upstream, axes=2)
    pulled = gradients.pull_back(thicknesses, given, PITCH_MM, upstream, None, beams)
    np.testing.assert_allclose(by_rows, renderer.render_vjp(at, center, pulled), rtol=2e-3)


def every_stage(given, shape):
    parts = (given, shape, PITCH_MM, volumes.DETECTOR)
    return [
        *linear_stages.beam_stages(*parts),
        *linear_stages.scatter_stages(given, given.scatter, *parts[1:]),
        *linear_stages.scatter_stages(given, ScatterConfig(), *parts[1:]),
        *linear_stages.detector_stages(*parts[:3]),
        linear_stages.moved_mask(shape, 1.25, -3.5),
    ]


@pytest.mark.parametrize("shape", [(21, 26), (70, 45), (1, 40)])
def test_every_linear_stage_has_its_transpose(shape):
    rng = np.random.default_rng(3)
    for stage in every_stage(config("everything"), shape):
        x, y = rng.standard_normal((2, *shape))
        forward = (stage.apply(x) * y).sum()
        assert (x * stage.transpose(y)).sum() == pytest.approx(forward, rel=1e-9)


def test_scatter_of_the_steps_is_that_of_the_oracle():
    shape = (70, 45)
    rng = np.random.default_rng(4)
    source, field = rng.random((2, *shape)) * 2
    for quality in ("fast", "accurate"):
        given = ScatterConfig(air_gap_mm=170.0, grid_factor=0.3, quality=quality)
        *_, spread = linear_stages.scatter_stages(
            ImageChainConfig(), given, shape, PITCH_MM, volumes.DETECTOR
        )
        amplitudes = scatter_reference.amplitudes_per_mm2(source, given.air_gap_mm)
        expected = scatter_reference.scatter(source, field, given, PITCH_MM)
        np.testing.assert_allclose(spread.apply(amplitudes * field), expected, rtol=1e-12)

"""Exact derivatives through a beam of many energies and the detector's linear stages."""

from __future__ import annotations

import numpy as np
import pytest

from fluoro.config import ImageChainConfig, ScatterConfig, WindowConfig
from fluoro.geometry.carm import CarmPose
from fluoro.geometry.view_derivatives import moved, rigid_motions
from fluoro.imaging import gradients, linear_maps
from fluoro.imaging.block_sums import cell_grid
from fluoro.imaging.chain import ImageChain
from fluoro.imaging.configured_beam import Beams
from fluoro.imaging.stage import FrameContext
from fluoro.imaging.stages.order import ORDER
from fluoro.imaging.stages.scatter import most_cells, scatter_maps, scatter_ratios
from fluoro.physics.scatter import (
    WATER_STEP_MM,
    ratio_tables,
    scatter_kernel,
    water_per_integral_mm,
)
from fluoro.rendering.devices.cpu.device import CpuDevice
from fluoro.rendering.material_reference import tissue_march_reference
from fluoro.rendering.material_renderer import MaterialRenderer
from fluoro.rendering.reference import march_steps
from tests import volumes
from tests.rendering.test_tissues import tissue_volume

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
def test_expected_image_is_the_chains(device, volume, beams, name):
    given = config(name)
    thicknesses = MaterialRenderer(volume, device).render(view())
    chain = ImageChain(device, 0, volume.materials)
    shown = chain.apply(thicknesses, given, 0, PITCH_MM, volumes.DETECTOR)
    expected = gradients.expected_image(thicknesses, given, PITCH_MM, volumes.DETECTOR, beams)
    assert np.ptp(shown) > 0.2
    np.testing.assert_allclose(shown, expected, atol=5e-5)


@pytest.mark.parametrize("name", list(CONFIGS))
def test_pose_derivative_goes_through_renderer_and_chain(device, volume, beams, name):
    """Thicknesses, spectrum and chain together, against differences of their float64 references."""
    given, at, center, step_mm = config(name), view(), volumes.GRID.center_xyz_mm, 0.45
    upstream = np.random.default_rng(5).standard_normal((30, 38))
    renderer = MaterialRenderer(volume, device)
    pulled = gradients.pull_back(
        renderer.render(at), given, PITCH_MM, upstream, volumes.DETECTOR, beams
    )
    found = renderer.render_vjp(at, center, pulled)
    motions, steps = rigid_motions(at, center), march_steps(volume.volume, at, step_mm)

    def image(place):
        thicknesses = tissue_march_reference(volume, place, step_mm, steps)
        return gradients.expected_image(thicknesses, given, PITCH_MM, volumes.DETECTOR, beams)

    expected = np.zeros(6)
    for k, step in enumerate([1e-8] * 3 + [1e-6] * 3):
        plus, minus = (image(moved(at, motions, s * step * np.eye(6)[k])) for s in (1, -1))
        expected[k] = ((plus - minus) * upstream).sum() / (2 * step)
    for part in (slice(0, 3), slice(3, 6)):
        off = np.linalg.norm(found[part] - expected[part])
        assert off < GATE * np.linalg.norm(expected[part]), part


@pytest.mark.parametrize("name", list(CONFIGS))
def test_kernels_pull_back_as_the_reference(device, volume, beams, name):
    given = config(name)
    thicknesses = MaterialRenderer(volume, device).render(view())
    upstream = np.random.default_rng(5).standard_normal((30, 38))
    chain = ImageChain(device, 0, volume.materials)
    linear = chain.linearise(thicknesses, given, 0, PITCH_MM, volumes.DETECTOR)
    reference = gradients.pull_back(thicknesses, given, PITCH_MM, upstream, volumes.DETECTOR, beams)
    pulled = linear.pull_back(upstream.astype(np.float32))
    np.testing.assert_allclose(pulled, reference, atol=2e-5 * np.abs(reference).max())


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


LINEAR = {
    *("focal_spot_mm", "heel_anode_side", "wedge", "mtf", "image_intensifier", "veiling_glare"),
    *("edge_enhancement", "lag", "pixel_gain_spread", "gain", "blur_sigma_mm", "collimator"),
}
"""Stages that are linear in the image."""


def linear_stages(shape):
    """The result and the transpose of every linear stage, and of the linear maps in others."""
    more = {
        "blur_sigma_mm": 11.0,
        "collimator": {"kind": "iris", "diameter_mm": 150.0, "focal_spot_mm": 9.0},
    }
    everything = {**CONFIGS["everything"], **more, "xray": None}
    frame = FrameContext(
        config=ImageChainConfig.model_validate(everything),
        shape=shape,
        pixel_spacing_mm=PITCH_MM,
        geometry=volumes.DETECTOR,
    )
    stages = [each for each in ORDER if each.keys[0] in LINEAR and each.is_on(frame.config)]
    assert len({each.keys[0] for each in stages}) == len(LINEAR)
    for stage in stages:
        yield (
            lambda x, stage=stage: stage.reference(x, frame)[0],
            stage.reference(np.zeros(shape), frame)[1],
        )
    for quality in ("fast", "accurate"):
        yield from scatter_maps(ScatterConfig(quality=quality), None, shape, PITCH_MM)
    yield linear_maps.moved(shape, 1.25, -3.5)


@pytest.mark.parametrize("shape", [(21, 26), (70, 45), (1, 40)])
def test_every_linear_stage_has_its_transpose(shape):
    rng = np.random.default_rng(3)
    for apply, transpose in linear_stages(shape):
        x, y = rng.standard_normal((2, *shape))
        forward = (apply(x) * y).sum()
        assert (x * transpose(y)).sum() == pytest.approx(forward, rel=1e-9)


def sums_over_cells(source, width_mm, config):
    """Scatter by sums over cells, a Gaussian between them, and straight lines back to pixels."""
    block, (rows, columns) = cell_grid(source.shape, most_cells(config))
    padded = np.zeros((rows * block, columns * block))
    padded[: source.shape[0], : source.shape[1]] = source
    cells = padded.reshape(rows, block, columns, block).sum(axis=(1, 3)) * PITCH_MM**2
    down, across = (
        np.exp(-0.5 * (np.subtract.outer(n, n) * block * PITCH_MM / width_mm) ** 2)
        for n in map(np.arange, cells.shape)
    )
    received = (down @ cells @ across) * config.grid_factor
    for axis, count in enumerate(source.shape):
        at = (np.arange(count) + 0.5) / block - 0.5
        held = np.arange(received.shape[axis])
        received = np.apply_along_axis(lambda line: np.interp(at, held, line), axis, received)  # noqa: B023
    return received


def test_scatter_of_the_reference_is_the_sum_over_cells():
    shape = (70, 45)
    rng = np.random.default_rng(4)
    integrals, primary = rng.random((2, *shape)) * 2
    water_mm = integrals * water_per_integral_mm()
    for quality in ("fast", "accurate"):
        given = ScatterConfig(air_gap_mm=170.0, grid_factor=0.3, quality=quality)
        kernel, tables = scatter_kernel(170.0), ratio_tables(170.0)
        steps = scatter_ratios(integrals, given, None, ())
        maps = scatter_maps(given, None, shape, PITCH_MM)
        known = np.arange(tables.shape[1]) * WATER_STEP_MM
        for table, width_mm, (ratio, _), to in zip(
            tables, (kernel.s1_mm, kernel.s2_mm), steps, maps, strict=True
        ):
            np.testing.assert_allclose(ratio, np.interp(water_mm, known, table), rtol=1e-12)
            expected = sums_over_cells(primary * ratio, width_mm, given)
            np.testing.assert_allclose(to.apply(primary * ratio), expected, rtol=1e-12)

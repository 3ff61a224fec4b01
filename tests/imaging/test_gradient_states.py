"""Derivatives of a frame in the middle of a run: what earlier frames have left is held."""

from __future__ import annotations

import numpy as np
import pytest

from fluoro.config import ImageChainConfig
from fluoro.geometry.carm import CarmGeometry
from fluoro.imaging import gradients
from fluoro.imaging.chain import ImageChain
from fluoro.imaging.configured_beam import Beams
from fluoro.physics.materials import material
from fluoro.rendering.devices.cpu.device import CpuDevice

SHAPE, PITCH_MM, SEED, FRAMES = (48, 56), 4.0, 77, 5
GEOMETRY = CarmGeometry(
    detector_width_px=SHAPE[1], detector_height_px=SHAPE[0], pixel_spacing_mm=PITCH_MM
)
MATERIALS = (material("soft_tissue"), material("cortical_bone"))
QUIET = {"poisson": False, "window": {"level": 1.5, "width": 8.0}}
WIDE = {"level": 0.0, "width": 6.0}
STEPS = [
    {"tube_voltage_kv": 70, "tube_current_ma": 20.0, "pulse_width_ms": 3.0},
    {"tube_voltage_kv": 90, "tube_current_ma": 400.0, "pulse_width_ms": 8.0},
]
ONE_ENERGY = {
    "lag": {"lag": {}},
    "temporal filter": {"recursive_filter_weight": 0.3},
    "gains and dead pixels": {"pixel_gain_spread": 0.05, "dead_pixel_fraction": 0.1},
    "while the mask is made": {"dsa": {"mask_frames": 9, "pixel_shift": [1.5, -2], "window": WIDE}},
    "after the mask": {"dsa": {"mask_frames": 2, "window": WIDE}, "recursive_filter_weight": 0.5},
    "moved mask": {"dsa": {"mask_frames": 1, "pixel_shift": [0.5, 2.25], "window": WIDE}},
    "a series begins": {"dsa": {"first_frame": FRAMES - 1, "pixel_shift": [3, 0], "window": WIDE}},
    "before a series": {"dsa": {"first_frame": FRAMES}},
    "roadmap": {"dsa": {"mask_frames": 1, "roadmap": {"frames": 2}, "window": WIDE}},
    "sigmoid": {"lut": {"kind": "sigmoid"}},
    "gamma": {"lut": {"kind": "gamma", "gamma": 1.7}},
    "points": {"lut": {"kind": "points", "points": [[0, 0], [0.3, 0.6], [1, 0.9]]}},
    "brightness": {"brightness": {"target_ngy": 60.0}},
    "all of them": {
        **{"brightness": {"target_ngy": 60.0}, "lag": {}, "recursive_filter_weight": 0.4},
        **{"scatter": {}, "pixel_gain_spread": 0.05, "lut": {"kind": "sigmoid"}},
        **{"edge_enhancement": {"sigma_mm": 6.0}, "blur_sigma_mm": 5.0},
        **{"dsa": {"mask_frames": 1, "pixel_shift": [1.5, 1], "roadmap": {"frames": 2}}},
    },
}
MANY = {
    "brightness with a tube": {"brightness": {"target_ngy": 60.0, "tube_steps": STEPS}},
    "all with a spectrum": {
        **{"brightness": {"target_ngy": 60.0, "tube_steps": STEPS}, "lag": {}},
        **{"scatter": {}, "recursive_filter_weight": 0.4, "lut": {"kind": "gamma", "gamma": 0.8}},
        "wedge": {"side": "left", "thickness_mm": 2.0, "reach_mm": 60.0, "ramp_mm": 30.0},
    },
}
CASES = {name: (stages, ()) for name, stages in ONE_ENERGY.items()} | {
    name: ({"xray": {}, **stages}, MATERIALS) for name, stages in MANY.items()
}


REMEMBERED = ("lag", "recursive_filter", "dsa_mask")


@pytest.fixture(scope="module")
def device():
    return CpuDevice()


@pytest.fixture(scope="module")
def beams():
    return Beams(MATERIALS)


def frame(number, materials):
    rng = np.random.default_rng(number)
    if not materials:
        return (0.2 + 2 * rng.random(SHAPE)).astype(np.float32)
    return (rng.random((2, *SHAPE)) * [[[120.0]], [[8.0]]]).astype(np.float32) + 1


def given(name):
    return ImageChainConfig.model_validate({**QUIET, **CASES[name][0]})


def before_the_last(device, name):
    """A chain that has made all frames but the last one, and the state that it is in."""
    chain, config = ImageChain(device, SEED, CASES[name][1]), given(name)
    for number in range(FRAMES - 1):
        chain.apply(frame(number, CASES[name][1]), config, number, PITCH_MM, GEOMETRY)
    return chain, chain.state(FRAMES - 1, SHAPE)


def expected(integrals, name, beams, state):
    return gradients.expected_image(integrals, given(name), PITCH_MM, GEOMETRY, beams, state)


@pytest.mark.parametrize("name", list(CASES))
def test_the_float64_image_is_the_chains(device, beams, name):
    chain, state = before_the_last(device, name)
    last = frame(9, CASES[name][1])
    image = expected(last, name, beams, state)
    shown = chain.apply(last, given(name), FRAMES - 1, PITCH_MM, GEOMETRY)
    assert np.ptp(shown) > 0.05
    np.testing.assert_allclose(image, shown, atol=5e-5)


@pytest.mark.parametrize("name", list(CASES))
def test_pulled_back_derivative_is_that_of_the_image(device, beams, name):
    state = before_the_last(device, name)[1]
    last = frame(9, CASES[name][1]).astype(float)
    rng = np.random.default_rng(1)
    upstream, direction = rng.standard_normal(SHAPE), rng.standard_normal(last.shape)
    pulled = gradients.pull_back(last, given(name), PITCH_MM, upstream, GEOMETRY, beams, state)
    step = 1e-7
    plus, minus = (expected(last + s * step * direction, name, beams, state) for s in (1, -1))
    differences = ((plus - minus) * upstream).sum() / (2 * step)
    assert (pulled * direction).sum() == pytest.approx(differences, rel=1e-5)
    assert np.abs(pulled).max() > 0


@pytest.mark.parametrize("name", list(CASES))
def test_kernels_pull_back_as_the_reference(device, beams, name):
    chain, state = before_the_last(device, name)
    last = frame(9, CASES[name][1])
    upstream = np.random.default_rng(1).standard_normal(SHAPE)
    reference = gradients.pull_back(last, given(name), PITCH_MM, upstream, GEOMETRY, beams, state)
    linear = chain.linearise(last, given(name), FRAMES - 1, PITCH_MM, GEOMETRY)
    np.testing.assert_allclose(linear.image, expected(last, name, beams, state), atol=5e-6)
    for _ in range(2):  # as often as requested
        pulled = linear.pull_back(upstream.astype(np.float32))
        np.testing.assert_allclose(pulled, reference, atol=1e-5 * np.abs(reference).max())


def test_a_state_is_not_moved_by_being_requested(device):
    """Nor are its images by the frames that follow."""
    name = "all of them"
    chain, state = before_the_last(device, name)
    kept = {each: state.memory.stored(each).copy() for each in REMEMBERED}
    numbers = dict(state.memory.numbers)
    again = chain.state(FRAMES - 1, SHAPE)
    expected(frame(9, ()), name, Beams(()), state)
    shown = chain.apply(frame(9, ()), given(name), FRAMES - 1, PITCH_MM, GEOMETRY)
    fresh = before_the_last(device, name)[0]
    alone = fresh.apply(frame(9, ()), given(name), FRAMES - 1, PITCH_MM, GEOMETRY)
    np.testing.assert_array_equal(shown, alone)
    for one in (state, again):
        for each, images in kept.items():
            np.testing.assert_array_equal(one.memory.stored(each), images)
        assert one.memory.numbers == numbers


def test_without_a_state_it_is_the_first_frame_of_a_run(device, beams):
    for name in ("lag", "temporal filter", "roadmap", "brightness", "all with a spectrum"):
        integrals, materials = frame(3, CASES[name][1]), CASES[name][1]
        shown = ImageChain(device, 0, materials).apply(
            integrals, given(name), 0, PITCH_MM, GEOMETRY
        )
        np.testing.assert_allclose(expected(integrals, name, beams, None), shown, atol=5e-5)


def test_a_frame_that_begins_another_run_finds_no_state(device):
    chain, _ = before_the_last(device, "lag")
    assert chain.state(1, SHAPE).memory.stored("lag") is None
    assert chain.state(FRAMES, (SHAPE[0], 3)).memory.stored("lag") is None
    assert chain.state(FRAMES, SHAPE).memory.stored("recursive_filter") is None

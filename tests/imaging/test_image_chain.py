"""The image chain's kernels against their NumPy references, and what a physicist would check."""

from __future__ import annotations

import numpy as np
import pytest

from fluoro.config import ImageChainConfig, WindowConfig
from fluoro.imaging import reference
from fluoro.imaging.chain import ImageChain
from fluoro.imaging.stages.beer_lambert import expected_photons
from fluoro.imaging.stages.blur import blur_weights
from fluoro.imaging.stages.poisson import poisson
from fluoro.physics.dose import open_field_photons
from fluoro.rendering.devices.cpu.device import CpuDevice

PITCH_MM = 0.5
SEED = 12345678901234
PLAIN = {
    "poisson": False,
    "log": False,
    "window": WindowConfig(level=0.5, width=1.0),
    "polarity": "bone_dark",
}
"""Transmission as display values: no noise, no logarithm, window 0 to 1."""

CONFIGS = {
    "default": ImageChainConfig(),
    "everything": ImageChainConfig(
        blur_sigma_mm=0.6,
        electronic_noise_photons=2.0,
        gain=1.1,
        bias=0.01,
        polarity="bone_bright",
    ),
    "expected photons": ImageChainConfig(**PLAIN),
    "poisson": ImageChainConfig(**{**PLAIN, "poisson": True}),
    "blur": ImageChainConfig(**PLAIN, blur_sigma_mm=1.3),
    "electronic noise": ImageChainConfig(**PLAIN, electronic_noise_photons=40.0),
    "gain and bias": ImageChainConfig(**PLAIN, gain=0.7, bias=0.2),
    "log": ImageChainConfig(poisson=False),
    "signal, bone bright": ImageChainConfig(**{**PLAIN, "polarity": "bone_bright"}),
    "integrals": ImageChainConfig(beer_lambert=False, poisson=False, log=False),
    "integrals, bone bright": ImageChainConfig(
        beer_lambert=False, poisson=False, log=False, polarity="bone_bright"
    ),
}


@pytest.fixture(scope="module")
def device():
    return CpuDevice()


@pytest.fixture(scope="module")
def integrals():
    """From the open field to 40 cm of tissue."""
    values = np.random.default_rng(0).random((120, 131)).astype(np.float32) * 8
    values[20:30] = 0
    return values


def run(device, integrals, config, frame=7, seed=SEED):
    return ImageChain(device, seed).apply(integrals, config, frame, PITCH_MM)


@pytest.mark.parametrize("name", list(CONFIGS))
def test_kernels_agree_with_the_reference(device, integrals, name):
    config = CONFIGS[name]
    image = run(device, integrals, config)
    expected = reference.apply_chain(integrals, config, SEED, 7, PITCH_MM)
    assert image.dtype == np.float32
    assert np.mean(np.abs(image - expected) > 2e-6) <= 1e-4


@pytest.mark.parametrize("dose_ngy", [0.5, 20.0, 200.0, 2000.0])
def test_counts_agree_with_the_reference_but_for_a_ten_thousandth(device, dose_ngy):
    integrals = np.random.default_rng(1).random((256, 256)).astype(np.float32) * 6
    open_field = open_field_photons(dose_ngy, PITCH_MM)
    config = ImageChainConfig(**{**PLAIN, "poisson": True}, dose_ngy=dose_ngy)
    counts = np.rint(run(device, integrals, config) * open_field)
    oracle = poisson(expected_photons(integrals, open_field), SEED, 7)
    inside = oracle < open_field  # the window clips what is brighter than the open field
    off = np.abs(counts - oracle)[inside]
    assert off.max() <= 1
    assert np.mean(off > 0) <= 1e-4


def test_line_integrals_are_left_as_they_are(device, integrals):
    before = integrals.copy()
    run(device, integrals, CONFIGS["everything"])
    np.testing.assert_array_equal(integrals, before)


def test_noise_repeats_for_the_same_frame_and_differs_in_the_next(device, integrals):
    first, again = (run(device, integrals, CONFIGS["everything"], frame=3) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    later = run(device, integrals, CONFIGS["everything"], frame=4)
    other_seed = run(device, integrals, CONFIGS["everything"], frame=3, seed=SEED + 1)
    for other in (later, other_seed):
        assert np.mean(first != other) > 0.5


def flat_counts(device, integral, dose_ngy, **changes):
    """Photons of a flat field, many pixels."""
    integrals = np.full((400, 400), integral, np.float32)
    config = ImageChainConfig(
        **{**PLAIN, "poisson": True, "window": WindowConfig(level=0.0, width=20.0), **changes},
        dose_ngy=dose_ngy,
    )
    signal = run(device, integrals, config).astype(float) * 20 - 10
    return signal * open_field_photons(dose_ngy, PITCH_MM)


@pytest.mark.parametrize("integral", [0.5, 4.0, 8.0])
@pytest.mark.parametrize("dose_ngy", [5.0, 50.0])
def test_quantum_noise_has_the_mean_and_variance_of_photons(device, integral, dose_ngy):
    counts = flat_counts(device, integral, dose_ngy)
    expected = open_field_photons(dose_ngy, PITCH_MM) * np.exp(-integral)
    quantum = (open_field_photons(dose_ngy, PITCH_MM) * 20 * 2.0**-24) ** 2  # float32 window
    n = counts.size
    assert abs(counts.mean() - expected) < 5 * np.sqrt(expected / n) + np.sqrt(quantum)
    assert abs(counts.var() / expected - 1) < 5 * np.sqrt((2 + 1 / expected) / n) + 0.002


def test_electronic_noise_adds_its_variance(device):
    counts = flat_counts(device, 4.0, 50.0, electronic_noise_photons=30.0)
    expected = open_field_photons(50.0, PITCH_MM) * np.exp(-4.0)
    assert counts.var() == pytest.approx(expected + 900, rel=0.02)
    assert counts.mean() == pytest.approx(expected, rel=0.01)


def test_blur_keeps_the_mean_and_lowers_the_variance_as_its_weights_say(device):
    sharp, blurred = flat_counts(device, 4.0, 50.0), flat_counts(device, 4.0, 50.0, blur_sigma_mm=1)
    weights = blur_weights(1.0 / PITCH_MM)
    lowered = (weights[0] ** 2 + 2 * np.sum(weights[1:] ** 2)) ** 2
    assert blurred.mean() == pytest.approx(sharp.mean(), rel=1e-4)
    assert blurred.var() / sharp.var() == pytest.approx(lowered, rel=0.05)


def test_dose_is_photons_per_area_and_exposure():
    assert open_field_photons(20, 0.194) == pytest.approx(
        20 * 30 * 0.194**2 * np.exp(0.0193 * 200), rel=1e-12
    )
    assert open_field_photons(40, 0.194) == 2 * open_field_photons(20, 0.194)


def test_an_image_does_not_depend_on_what_else_is_in_it(device, integrals):
    """Nothing is normalised by the frame's own extremes."""
    changed = integrals.copy()
    changed[60:, :] = 30.0
    before, after = (run(device, image, CONFIGS["default"]) for image in (integrals, changed))
    np.testing.assert_array_equal(before[:60], after[:60])


def test_polarity_turns_the_image_around(device, integrals):
    for logarithm in (True, False):
        window = WindowConfig(level=3.0, width=5.0) if logarithm else PLAIN["window"]
        dark, bright = (
            run(
                device,
                integrals,
                ImageChainConfig(poisson=False, log=logarithm, window=window, polarity=polarity),
            )
            for polarity in ("bone_dark", "bone_bright")
        )
        np.testing.assert_allclose(dark, 1 - bright, atol=1e-6)
        thick, thin = integrals > 5, (integrals > 0) & (integrals < 1)
        assert dark[thick].mean() < dark[thin].mean()
        assert bright[thick].mean() > bright[thin].mean()


def test_gain_and_bias_are_not_cancelled_later(device, integrals):
    plain = run(device, integrals, CONFIGS["expected photons"])
    changed = run(device, integrals, CONFIGS["gain and bias"])
    np.testing.assert_allclose(changed, np.clip(0.7 * plain + 0.2, 0, 1), atol=1e-6)


def test_display_values_stay_within_0_and_1(device):
    extremes = np.array([[0.0, -5.0, 50.0, 500.0]], np.float32)
    for config in CONFIGS.values():
        image = run(device, extremes, config)
        assert np.all((image >= 0) & (image <= 1))

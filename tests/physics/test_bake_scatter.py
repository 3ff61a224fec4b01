"""The fit of scatter kernels finds the kernel that made its data, and made the shipped table."""

import csv
from dataclasses import astuple

import numpy as np
import pytest

from fluoro.physics.detector import DetectorResponse
from fluoro.physics.scatter import LOSSES, LOSSES_PER_MM, scatter_kernel
from tools.data import bake_scatter, penelope

SLABS = tuple(bake_scatter.HISTORIES)


@pytest.mark.parametrize("fixed", [False, True])
def test_fit_finds_the_kernel_of_exact_ratios(fixed):
    kernel, left = scatter_kernel(200.0), bake_scatter.left(SLABS)
    ratios = bake_scatter.square_field(kernel, left, bake_scatter.FIELDS_MM)
    widths = (kernel.s1_mm, kernel.s2_mm) if fixed else None
    found = bake_scatter.fit(ratios, left, np.ones(len(SLABS)), widths)
    again = bake_scatter.square_field(found, left, bake_scatter.FIELDS_MM)
    np.testing.assert_allclose(again, ratios, rtol=2e-3)
    assert found.s1_mm == pytest.approx(kernel.s1_mm, rel=5e-2)


def test_a_slant_photon_is_worth_more_on_a_thin_converter_alone():
    energies = np.array([50.0])
    thin = DetectorResponse(thickness_g_per_cm2=0.01)
    whole = DetectorResponse(converter=None)
    slant, straight = (bake_scatter.worth(thin, energies, cosine) for cosine in (0.5, 1.0))
    assert slant / straight == pytest.approx(2, rel=0.1)
    assert bake_scatter.worth(whole, energies, 0.5) == 50


def test_a_photon_meets_the_plane_where_its_direction_leads():
    photons = np.array([[50.0, 1.0, 0.0, 20.0, 0.6, 0.0, 0.8]])  # 1 cm aside, 3 to 4
    assert bake_scatter.half_widths_mm(photons, 40.0) == pytest.approx(10 + 30)


def slabs_ratios():
    with np.load(bake_scatter.RATIOS) as found:
        return found["ratios"]


def test_the_shipped_kernel_behind_20_cm_of_air_is_what_is_fitted():
    usual = [each[:2] for each in bake_scatter.responses()].index(bake_scatter.USUAL)
    of_gap = slabs_ratios()[:, usual, bake_scatter.GAPS_MM == 200.0][:, 0]
    weights = np.where(np.array(SLABS) < 100, bake_scatter.THIN_WEIGHT, 1.0)
    found = bake_scatter.fit(of_gap, bake_scatter.left(SLABS), weights, None)
    shipped = scatter_kernel(200.0, DetectorResponse())
    assert astuple(found) == pytest.approx(astuple(shipped), rel=2e-3)


@pytest.mark.slow  # eight gaps of twelve detectors
def test_the_shipped_table_is_what_is_fitted():
    with bake_scatter.TABLE.open() as lines:
        rows = list(csv.reader(line for line in lines if not line.startswith("#")))[1:]
    for row, line in zip(rows, bake_scatter.fitted_rows(slabs_ratios()), strict=True):
        kind, *values = line.split(",")
        assert row[0] == kind
        np.testing.assert_allclose(np.array(row[1:], float), np.array(values, float), rtol=2e-3)


def test_how_bone_counts_is_what_is_fitted_to_half_of_the_bodies():
    middle, slope = bake_scatter.fitted_losses(bake_scatter.bone_cases(fitted=True))
    assert middle == pytest.approx(LOSSES, abs=0.01)
    assert slope == pytest.approx(LOSSES_PER_MM, rel=0.03)


def test_split_layers_have_the_same_thickness_and_borders_that_penelope_sees():
    """Neighbours of one material have another number, or PENELOPE would see no border."""
    layers = [("water", 120.0), ("cortical_bone", 20.0), ("water", 50.0)]
    _, bodies, count = penelope.split_slabs(layers, bake_scatter.PART_MM)
    names = [body.material for body in bodies[:count]]
    assert names == ["water", "water_again", "water", "cortical_bone", "water"]
    surfaces, _ = penelope.slabs([("water", 1.0)])
    assert surfaces[1].shift[2] == 1.0

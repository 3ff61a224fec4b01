"""An anti-scatter grid by its lamellae."""

from __future__ import annotations

import numpy as np
import pytest

from fluoro.errors import InputError
from fluoro.physics.antiscatter_grid import AntiscatterGrid
from fluoro.physics.materials import material

OPAQUE = AntiscatterGrid(ratio=10.0, lines_per_cm=40.0, lead_um=50.0, interspace="air")


def test_lamellae_that_nothing_comes_through_have_the_closed_form():
    """Opening (D - m h) / (D + d) at a slope m, nothing from 1 / ratio on; photons of 20 keV."""
    slopes = np.array([0.0, 0.03, 0.06, 0.09])
    open_share = (OPAQUE.gap_mm - slopes * OPAQUE.height_mm) / OPAQUE.period_mm
    found = OPAQUE.transmission(20.0, slopes)[0]
    air = np.exp(-material("air").mu_per_mm(20.0) * OPAQUE.height_mm)
    np.testing.assert_allclose(found, open_share * air, atol=0.01)
    assert OPAQUE.transmission(20.0, 0.11)[0, 0] < 0.01


def test_along_the_lamellae_lead_and_interspace_are_slabs():
    grid = AntiscatterGrid(ratio=8.0, lines_per_cm=40.0, lead_um=50.0, interspace="aluminium")
    mu = material("aluminium").mu_per_mm(60.0)
    expected = grid.gap_mm / grid.period_mm * np.exp(-mu * grid.height_mm)
    assert grid.transmission(60.0, 0.0)[0, 0] == pytest.approx(expected, rel=1e-3)


def test_a_steep_ray_meets_the_mean_of_lead_and_interspace():
    grid = AntiscatterGrid()
    slope = 40 * grid.period_mm / grid.height_mm
    share = grid.lead_um / 1e3 / grid.period_mm
    mu = share * material("lead").mu_per_mm(80.0) + (1 - share) * material("pmma").mu_per_mm(80.0)
    expected = np.exp(-mu * grid.height_mm * np.hypot(1, slope))
    assert grid.transmission(80.0, slope)[0, 0] == pytest.approx(expected, rel=0.02)


def test_a_higher_grid_leaves_less_scatter_against_the_primary():
    left = [
        (grid.scatter(150.0) / grid.central_primary).tolist()
        for grid in (
            AntiscatterGrid(ratio=6.0),
            AntiscatterGrid(ratio=10.0),
            AntiscatterGrid(ratio=15.0),
        )
    ]
    assert np.all(np.diff(left, axis=0) < 0)
    assert 0.1 < left[2][1] < left[0][0] < 0.7
    assert 0.6 < AntiscatterGrid().central_primary < 0.8


def test_lead_without_room_is_refused():
    with pytest.raises(InputError, match="lead_um must be less than the period of 100 um"):
        AntiscatterGrid(lines_per_cm=100.0, lead_um=100.0)

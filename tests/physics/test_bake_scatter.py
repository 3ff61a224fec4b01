"""The fit of scatter kernels finds the kernel that made its data."""

import numpy as np
import pytest

from fluoro.physics.detector import DetectorResponse
from fluoro.physics.scatter import scatter_kernel
from tools.data import bake_scatter

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

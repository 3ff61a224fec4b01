"""The fit of scatter kernels finds the kernels that made its data."""

import numpy as np

from fluoro.physics.scatter import scatter_kernel
from tools.data import bake_scatter


def test_fit_finds_the_kernel_of_exact_rings():
    primary = np.array([0.3, 0.1, 0.03, 0.01])
    for gap_mm in bake_scatter.GAPS_MM:
        kernel = scatter_kernel(gap_mm)
        per_cm2 = kernel.a_per_cm2 * primary**kernel.alpha * (-np.log(primary)) ** kernel.beta
        wanted = (kernel.s1_mm, kernel.b, kernel.s2_mm)
        rings = per_cm2[:, None] / 100 * bake_scatter.ring_shares(*wanted)
        shape, per_mm2 = bake_scatter.fit_shape(rings, bake_scatter.START[gap_mm])
        np.testing.assert_allclose(shape, wanted, rtol=1e-4)
        found = bake_scatter.fit_amplitude(primary, per_mm2)
        np.testing.assert_allclose(found, (kernel.a_per_cm2, kernel.alpha, kernel.beta), rtol=1e-4)


def test_rings_of_a_kernel_add_up_to_its_integral():
    shares = bake_scatter.ring_shares(20.0, 0.5, 40.0)
    assert np.isclose(shares.sum(), 2 * np.pi * (20.0**2 + 0.5 * 40.0**2), rtol=1e-4)

"""The cubic spline is scipy's."""

import numpy as np
import pytest
from scipy import interpolate

from fluoro.physics.cubic_spline import CubicSpline

X = np.log([4.0, 5, 6, 8, 10, 15, 20, 30, 40, 150])
Y = np.sin(3 * X) - X
AT = np.linspace(X[0] - 0.1, X[-1] + 0.1, 101)


@pytest.mark.parametrize("ends", ["natural", "not-a-knot"])
def test_values_between_and_beyond_the_knots_are_scipys(ends):
    spline = CubicSpline.through(X, Y, ends)
    wanted = interpolate.CubicSpline(X, Y, bc_type=ends)(AT)
    np.testing.assert_allclose([spline(at) for at in AT], wanted, rtol=1e-12, atol=1e-12)


def test_a_cubic_is_met_exactly_without_knots_at_its_ends():
    spline = CubicSpline.through(X, X**3 - X, "not-a-knot")
    np.testing.assert_allclose([spline(at) for at in AT], AT**3 - AT, atol=1e-12)

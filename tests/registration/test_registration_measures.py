"""Similarity measures: values by their definitions, gradients by central differences."""

import numpy as np
import pytest
from scipy.ndimage import sobel as scipy_sobel

from fluoro.errors import InputError
from fluoro.registration.measures.choice import MEASURES, make_measure
from fluoro.registration.measures.local_fit import LocalFit
from fluoro.registration.measures.mutual_information import MutualInformation
from fluoro.registration.measures.robust import Weighting, weighting_for
from fluoro.registration.measures.similarity import (
    GradientNcc,
    LeastSquaresMeasure,
    LocalNcc,
    MeanSquares,
    MultiScaleNcc,
    Ncc,
    sobel,
    sobel_adjoint,
)
from fluoro.registration.measures.tile_normalisation import Standardiser, Tiles
from tests.registration_support import blobs

SHAPE = (15, 18)
STEP = 1e-5
GRADIENT_TOLERANCE = 1e-7
"""Relative, over the image: central differences in float64 leave about 1e-9."""
ROUNDING = 1e-12
NAMES = sorted(MEASURES)


def _pair(seed=0):
    target = 3 * blobs(SHAPE, seed, 1.5) + 2
    return target, 0.5 * target + blobs(SHAPE, seed + 1, 1.5)


def _mask(share, seed=2):
    mask = np.random.default_rng(seed).random(SHAPE) > share
    mask[:2] = False
    return mask


def _built(name, target, mask):
    if name == "multiscale_ncc":
        return MultiScaleNcc(target, mask, tiles_px=(0, 12, 5))
    return MEASURES[name](target, mask)


def _central_differences(measure, image):
    gradient = np.zeros(image.shape)
    for pixel in np.ndindex(image.shape):
        moved = image.copy()
        moved[pixel] += STEP
        above = measure.cost(moved)[0]
        moved[pixel] -= 2 * STEP
        gradient[pixel] = (above - measure.cost(moved)[0]) / (2 * STEP)
    return gradient


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_gradient_is_that_of_central_differences(name, masked):
    target, image = _pair()
    mask = _mask(0.02 if name == "gradient_ncc" else 0.15) if masked else None
    measure = _built(name, target, mask)
    _, gradient = measure.cost(image)
    numeric = _central_differences(measure, image)
    assert np.linalg.norm(gradient - numeric) < GRADIENT_TOLERANCE * np.linalg.norm(numeric)


@pytest.mark.parametrize("name", [n for n in NAMES if n != "mutual_information"])
def test_residuals_and_their_jacobian_belong_to_the_cost(name):
    target, image = _pair()
    measure = _built(name, target, _mask(0.02))
    assert isinstance(measure, LeastSquaresMeasure)
    jacobian = np.random.default_rng(5).normal(size=(6, *SHAPE))
    cost, gradient = measure.cost(image)
    found = measure.residuals(image, jacobian)
    assert found.values @ found.values / 2 == pytest.approx(cost, abs=ROUNDING)
    expected = np.tensordot(jacobian, gradient, axes=2)
    np.testing.assert_allclose(found.jacobian @ found.values, expected, atol=ROUNDING)


@pytest.mark.parametrize("name", NAMES)
def test_pixels_outside_the_mask_do_not_count(name):
    target, image = _pair()
    mask = np.ones(SHAPE, bool)
    mask[5:9, 10:14] = False
    measure = _built(name, target, mask)
    cost, gradient = measure.cost(image)
    other_target = np.where(mask, target, np.nan)
    other_image = np.where(mask, image, 1e3)
    assert _built(name, other_target, mask).cost(image)[0] == pytest.approx(cost, abs=ROUNDING)
    assert measure.cost(other_image)[0] == pytest.approx(cost, abs=1e-9)
    assert not gradient[~mask].any()


@pytest.mark.parametrize("name", [n for n in NAMES if n != "mse"])
def test_gain_and_offset_do_not_count(name):
    target, image = _pair()
    measure = _built(name, target, None)
    expected = measure.cost(image)[0]
    assert measure.cost(7 * image - 3)[0] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_the_target_itself_costs_least(name):
    target, image = _pair()
    measure = _built(name, target, None)
    itself = measure.cost(target)[0]
    assert itself < measure.cost(image)[0]
    if name != "mutual_information":  # local_fit's floor leaves a little of a tile's variance
        assert itself == pytest.approx(0, abs=1e-3 if name == "local_fit" else ROUNDING)


def test_local_fit_takes_up_a_gain_and_a_plane_in_each_tile():
    target = 3 * blobs((16, 24), 0, 1.5) + 2
    rows, columns = np.indices(target.shape) / 8.0
    tile = (rows // 1 * 3 + columns // 1).astype(int)
    gain = np.array([1.0, 0.4, 2.0, 0.7, 1.5, 0.5])[tile]
    image = gain * target + 2 * tile - rows + 3 * columns
    measure = LocalFit(target)
    assert measure.cost(image)[0] < 0.03
    assert measure.cost(-image)[0] == pytest.approx(measure.cost(0 * image)[0], rel=1e-6)
    assert Ncc(target).cost(image)[0] > 0.3
    with pytest.raises(InputError, match="tile_px must be at least 4 pixels, got 3"):
        LocalFit(target, tile_px=3)


def test_ncc_is_one_minus_the_correlation_coefficient():
    target, image = _pair()
    correlation = np.corrcoef(target.ravel(), image.ravel())[0, 1]
    assert Ncc(target).cost(image)[0] == pytest.approx(1 - correlation, abs=ROUNDING)


def test_mean_squares_is_half_the_mean_squared_difference():
    target, image = _pair()
    expected = 0.5 * np.mean((target - image) ** 2)
    assert MeanSquares(target).cost(image)[0] == pytest.approx(expected, abs=ROUNDING)


def test_sobel_is_scipys_over_eight_and_its_adjoint_is_its_transpose():
    image, upstream = _pair()
    for axis in (0, 1):
        inner = (slice(1, -1), slice(1, -1))
        expected = scipy_sobel(image, axis=axis)[inner] / 8
        np.testing.assert_allclose(sobel(image, axis)[inner], expected, atol=ROUNDING)
        direct = np.vdot(sobel(image, axis), upstream)
        assert np.vdot(image, sobel_adjoint(upstream, axis)) == pytest.approx(direct, abs=1e-10)


def test_gradient_ncc_is_the_mean_of_two_correlations():
    target, image = _pair()
    inner = (slice(1, -1), slice(1, -1))
    correlations = [
        np.corrcoef(sobel(target, a)[inner].ravel(), sobel(image, a)[inner].ravel())[0, 1]
        for a in (0, 1)
    ]
    expected = 1 - np.mean(correlations)
    assert GradientNcc(target).cost(image)[0] == pytest.approx(expected, abs=ROUNDING)


def test_local_ncc_sees_through_slow_shading_that_fools_the_whole_image():
    target = blobs((64, 64), 0, 1.5)
    shaded = target + np.linspace(0, 2, 64)
    assert Ncc(target).cost(shaded)[0] > 0.4
    assert LocalNcc(target, tile_px=8).cost(shaded)[0] < 0.1


def _without_plane(values, kept):
    """Values that count, without their plane of least squares: by numpy's solver."""
    rows, columns = np.nonzero(kept)
    basis = np.stack([np.ones(rows.size), rows, columns], axis=1)
    inside = values[kept]
    return inside - basis @ np.linalg.lstsq(basis, inside, rcond=None)[0]


def test_a_tile_without_its_plane_is_numpys_fit_residual_over_its_deviation():
    image, mask = _pair()[1], _mask(0.3)
    tiles = Tiles.over(mask, (5, 6), (0, 0))
    found = Standardiser(tiles, floor=0.2, planes=True).apply(image).score
    for top in range(0, SHAPE[0], 5):
        for left in range(0, SHAPE[1], 6):
            tile = np.s_[top : top + 5, left : left + 6]
            if not mask[tile].any():
                continue
            rest = _without_plane(image[tile], mask[tile])
            expected = rest / np.sqrt(np.mean(rest**2) + 0.2**2)
            np.testing.assert_allclose(found[tile][mask[tile]], expected, atol=1e-10)
    assert not found[~mask].any()


def test_pixels_in_one_row_leave_no_slope_across_it():
    mask = np.zeros((8, 8), bool)
    mask[3, 1:7] = True
    image = np.random.default_rng(0).normal(size=mask.shape)
    tiles = Tiles.over(mask, (8, 8), (0, 0))
    found = Standardiser(tiles, floor=0.0, planes=True).apply(image).score
    assert np.isfinite(found).all()
    assert found[mask] @ np.arange(1.0, 7.0) == pytest.approx(0, abs=1e-10)


def test_local_ncc_does_not_see_a_plane_in_each_tile():
    target = blobs((64, 64), 0, 1.5)
    sloped = target + np.add.outer(np.arange(64), -2 * np.arange(64)) / 64
    assert LocalNcc(target, tile_px=8).cost(sloped)[0] < 0.002
    assert MultiScaleNcc(target, tiles_px=(8,)).cost(sloped)[0] > 0.05  # means alone are taken


def test_mutual_information_sees_through_any_law_of_grey_levels():
    target, other = blobs((64, 64), 0, 2.0), blobs((64, 64), 1, 2.0)
    law = (target / target.std()) ** 2  # neither rising nor falling
    assert Ncc(target).cost(law)[0] > 0.7
    assert MutualInformation(target).cost(law)[0] < -0.5
    assert MutualInformation(target).cost(other)[0] > -0.35


def test_mutual_information_of_an_image_with_itself_is_close_to_its_entropy():
    levels = np.random.default_rng(0).integers(0, 4, (64, 64)).astype(float)
    assert -MutualInformation(levels).cost(levels)[0] == pytest.approx(np.log(4), rel=0.02)


@pytest.mark.parametrize("name", NAMES)
def test_constant_image_costs_as_much_as_no_likeness_and_pulls_nowhere(name):
    target, _ = _pair()
    measure = _built(name, target, None)
    if name == "mse":
        return
    cost, gradient = measure.cost(np.full(SHAPE, 4.0))
    assert np.isfinite(cost)
    assert not gradient.any()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda t, m: (np.full(SHAPE, 3.0), m), "constant"),
        (lambda t, m: (t, np.zeros(SHAPE, bool)), "empty mask"),
        (lambda t, m: (np.where(np.arange(18) == 3, np.nan, t), m), "finite"),
        (lambda t, m: (t, m[:-1]), "shape"),
        (lambda t, m: (t[0], m), "height, width"),
    ],
)
def test_useless_target_is_refused_by_name(name, spoil, words):
    target, _ = _pair()
    with pytest.raises(InputError, match=words):
        MEASURES[name](*spoil(target, np.ones(SHAPE, bool)))


@pytest.mark.parametrize("name", NAMES)
def test_image_of_another_shape_is_refused(name):
    target, image = _pair()
    with pytest.raises(InputError, match="shape"):
        _built(name, target, None).cost(image[:-1])


@pytest.mark.parametrize("tiles_px", [(), (2,), (-8,)])
def test_tiles_too_small_are_refused(tiles_px):
    with pytest.raises(InputError, match="tiles_px"):
        MultiScaleNcc(_pair()[0], tiles_px=tiles_px)


def test_every_measure_is_made_by_its_name_for_small_targets_too():
    target = blobs((12, 14), 0, 1.0)
    for name in NAMES:
        assert np.isfinite(make_measure(name, target, None).cost(target)[0])


@pytest.mark.parametrize("loss", ["squares", "huber", "tukey"])
def test_influence_is_the_derivative_of_the_loss_and_the_weight_its_quotient(loss):
    residuals = np.linspace(-8, 8, 161) + 0.013
    weighting = Weighting(loss=loss, sigma=0.9)
    _, influence, weight = weighting.of(residuals)
    for k in range(0, 161, 5):
        r = residuals[k : k + 1]
        above, below = (weighting.of(r + h)[0] for h in (STEP, -STEP))
        assert influence[k] == pytest.approx((above - below) / (2 * STEP), abs=1e-6)
    if weight is not None:
        np.testing.assert_allclose(weight * residuals, influence)


def test_scale_of_the_losses_is_robust():
    residuals = np.random.default_rng(0).normal(scale=2.0, size=4001)
    residuals[:400] = 1e3
    assert weighting_for("tukey", residuals).sigma == pytest.approx(2.0, rel=0.2)

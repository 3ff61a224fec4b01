"""A target is sharpened for the display; registration takes that up."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from fluoro.geometry.carm import CarmPose
from fluoro.registration.measures.sharpness import Sharpness, as_sharp, measure_sharpness
from fluoro.registration.measures.tile_fit import fit_tiles
from fluoro.registration.register import Registrar
from fluoro.registration.rigid_motion import moved_view
from tests.registration_support import (
    DETECTOR,
    SMALL,
    counted,
    device,
    displacement,
    error_mm,
    rendered,
    target,
    thorax,
    view_at,
)

FINE = replace(DETECTOR, detector_width_px=192, detector_height_px=192, pixel_spacing_mm=2.0)
DETECTOR_SHAPE = (DETECTOR.detector_height_px, DETECTOR.detector_width_px)


def blurred(image, sigma_px):
    """Line integrals behind a detector that blurs the intensity."""
    return -np.log(gaussian_filter(np.exp(-image.astype(float)), sigma_px))


def sharpened(image, amount, sigma_px):
    """An image under an unsharp mask."""
    return image + amount * (image - gaussian_filter(image, sigma_px))


def measured(seen_image):
    """The sharpness of an image of the thorax, whose line integrals are known."""
    image = rendered(view_at())
    return measure_sharpness(image, seen_image, np.ones(image.shape, bool))


def test_right_pose_of_a_sharpened_image_is_believed():
    """Where sharpening is not taken up the principal point seems to be off: a surprise of 15."""
    pose, displaced = CarmPose(lao_deg=26, cra_deg=10, roll_deg=3), displacement(6, 6.0)
    view = view_at(pose, FINE)
    image = sharpened(counted(blurred(rendered(view), 0.6), 6, 2e4), 1.0, 2.5)
    registrar = Registrar(thorax(), device(), SMALL)
    result = registrar.register([target(image)], [moved_view(view, displaced)])
    assert result.converged, result.reason
    assert result.evidence["surprise"] < 6
    assert error_mm(result, displaced) < 0.2  # 0.27


@pytest.mark.parametrize("noise", [0.0, 0.01])
def test_image_that_is_not_sharpened_is_none(noise):
    image = rendered(view_at())
    random = np.random.default_rng(0).normal(scale=max(noise, 1e-4), size=image.shape)
    found = measured(image + random)
    assert max(found.amounts) < 0.03
    assert found.blur_px2 < 0.02


@pytest.mark.parametrize(("amount", "sigma_px"), [(0.8, 0.7), (1.5, 1.4), (2.5, 2.0), (1.0, 4.0)])
def test_sharpening_that_is_found_explains_what_tiles_leave_of_the_target(amount, sigma_px):
    image, noise = rendered(view_at()), np.random.default_rng(0).normal(size=DETECTOR_SHAPE)
    seen_image = sharpened(image, amount, sigma_px) + 0.01 * noise
    found, _ = as_sharp(image, image[None], measured(seen_image))
    everywhere = np.ones(image.shape, bool)
    fits = [fit_tiles(each, seen_image, everywhere) for each in (found, image)]
    assert fits[0].unexplained < 0.3 * fits[1].unexplained


def test_blur_of_the_detector_is_no_sharpening():
    found = measured(blurred(rendered(view_at()), 0.6))
    assert max(found.amounts) < 0.05
    assert found.blur_px2 == pytest.approx(0.36, abs=0.1)


def test_sharpened_derivative_is_that_of_the_sharpened_image():
    rows, columns = np.indices((64, 64)) / 8.0
    image, change = 2 + np.sin(rows) * np.cos(columns), np.cos(rows)
    sharpness = Sharpness(blur_px2=0.5, amounts=(0.5, 0.0, 1.0))
    _, derivatives = as_sharp(image, change[None], sharpness)
    ends = [as_sharp(image + e * change, change[None], sharpness)[0] for e in (1e-2, -1e-2)]
    difference = (ends[0].astype(float) - ends[1]) / 2e-2
    np.testing.assert_allclose(derivatives[0], difference, atol=2e-3)

"""X-ray images of all kinds become attenuation-like targets, and say what was assumed."""

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from fluoro.config import ImageChainConfig
from fluoro.errors import InputError
from fluoro.imaging.chain import ImageChain
from fluoro.registration.targets.collimator_edges import find_collimator_edges
from fluoro.registration.targets.preparation import Preparation
from fluoro.registration.targets.target_files import read_target_image
from fluoro.registration.targets.target_preprocessing import prepare
from tests.registration_support import DETECTOR, blobs, device, rendered, view_at

I0 = 5e4


def _integrals():
    return rendered(view_at()).astype(float)


def _counts(seed=0):
    return np.random.default_rng(seed).poisson(I0 * np.exp(-_integrals())).astype(np.uint16)


def _with_open_field(integrals):
    """Air beside the patient, as in a wide field."""
    return np.where(np.arange(integrals.shape[1]) < 12, 0.0, integrals)


def test_raw_intensity_with_known_i0_becomes_line_integrals():
    found = prepare(I0 * np.exp(-_integrals()), Preparation(i0=I0))
    np.testing.assert_allclose(found.image, _integrals(), atol=1e-5)
    assert found.mask.all()
    assert (found.i0, found.notes) == (I0, ())


def test_i0_is_estimated_from_the_open_field_despite_noise_and_hot_pixels():
    integrals = _with_open_field(_integrals())
    counts = np.random.default_rng(0).poisson(I0 * np.exp(-integrals)).astype(float)
    counts[5, 50], counts[60, 7] = 9 * I0, 7 * I0
    found = prepare(counts)
    assert found.i0 == pytest.approx(I0, rel=0.01)
    assert "open field" in found.notes[0]


def test_an_image_without_open_field_says_so():
    found = prepare(_counts())
    assert "no open field" in found.notes[0]
    offset = (found.image - _integrals())[found.mask]
    assert offset.std() < 0.03  # the noise: right but for a constant


def test_log_image_is_taken_as_it_is():
    found = prepare(_integrals(), Preparation(kind="log"))
    np.testing.assert_allclose(found.image, _integrals(), atol=1e-6)
    assert found.i0 is None


@pytest.mark.parametrize("polarity", ["bone_dark", "bone_bright"])
def test_display_image_gets_bone_bright_and_clipped_levels_masked(polarity):
    shown = np.clip((_integrals() - 2) / 2.5, 0, 1)
    eight_bit = (255 * (1 - shown if polarity == "bone_dark" else shown)).astype(np.uint8)
    found = prepare(eight_bit, Preparation(kind="display", polarity=polarity))
    assert np.corrcoef(found.image[found.mask], _integrals()[found.mask])[0, 1] > 0.99
    assert not found.mask[shown == 0].any()
    assert "clipped" in " ".join(found.notes)


def test_display_image_of_unknown_polarity_says_what_it_was_taken_for():
    found = prepare(_integrals(), Preparation(kind="display"))
    assert "polarity not given" in found.notes[0]


@pytest.mark.parametrize("polarity", ["bone_dark", "bone_bright"])
@pytest.mark.parametrize("log", [True, False])
def test_frames_of_our_own_chain_become_targets(polarity, log):
    window = {"level": 3.0, "width": 6.0} if log else {"level": 0.1, "width": 0.2}
    config = ImageChainConfig.model_validate({"polarity": polarity, "log": log, "window": window})
    frame = ImageChain(device(), seed=3).apply(
        rendered(view_at()), config, 7, DETECTOR.pixel_spacing_mm
    )
    found = prepare(frame, Preparation(kind="display", polarity=polarity))
    correlation = np.corrcoef(found.image[found.mask], _integrals()[found.mask])[0, 1]
    assert correlation > (0.99 if log else 0.85)


def test_saturated_and_dead_pixels_are_left_out():
    counts = _counts()
    counts[10:12, 20:30] = 65535
    counts[40, 41] = 0
    found = prepare(counts)
    assert not found.mask[10:12, 20:30].any()
    assert not found.mask[40, 41]
    assert found.mask.sum() == counts.size - 21
    assert "20 pixels saturated left out" in found.notes
    assert "1 pixels without signal left out" in found.notes


def test_saturation_of_a_float_image_is_reported():
    intensity = I0 * np.exp(-_integrals())
    limit = float(np.quantile(intensity, 0.9))
    found = prepare(np.minimum(intensity, limit), Preparation(saturation=limit, i0=I0))
    np.testing.assert_array_equal(found.mask, intensity < limit)


def test_given_crop_masks_the_borders():
    found = prepare(_counts(), Preparation(crop=(3, 4, 5, 6)))
    rows, columns = np.nonzero(found.mask)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (3, 91, 5, 89)


@pytest.mark.parametrize("seed", range(4))
def test_collimator_is_found_within_two_pixels(seed):
    random = np.random.default_rng(seed)
    blades = random.integers(4, 30, 4)
    field = np.zeros(_integrals().shape)
    field[blades[0] : 96 - blades[1], blades[2] : 96 - blades[3]] = 1
    intensity = np.exp(-_integrals()) * (0.01 + 0.99 * gaussian_filter(field, 1.0))
    found = find_collimator_edges(intensity, np.ones(field.shape, bool))
    np.testing.assert_allclose(found, blades + 1, atol=2)


def test_no_collimator_is_found_where_there_is_none():
    for integrals in (_integrals(), _with_open_field(_integrals())):
        assert find_collimator_edges(np.exp(-integrals), np.ones(integrals.shape, bool)) == (
            0,
            0,
            0,
            0,
        )


def test_smoothing_stays_within_the_mask():
    mask = np.ones(_integrals().shape, bool)
    mask[30:40] = False
    spoiled = np.where(mask, _integrals(), 1e6)
    found = prepare(spoiled, Preparation(kind="log", smoothing_px=1.5), mask)
    assert found.image.max() < 10
    rough, smooth = (np.abs(np.diff(i, axis=1))[mask[:, 1:]].mean() for i in (spoiled, found.image))
    assert smooth < rough


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (np.full((8, 8), 5.0), "constant"),
        (np.zeros((8, 8)), "positive intensities|no signal"),
        (np.full((8, 8), 255, np.uint8), "not saturated"),
        (np.zeros((8, 8, 3)), "height, width"),
        (np.zeros((0, 8)), "height, width"),
        (np.array([["a", "b"]]), "grey image"),
        (np.where(np.arange(64).reshape(8, 8) == 19, np.nan, 1.0), "nan at row 2, column 3"),
        (np.where(np.arange(64).reshape(8, 8) == 9, np.inf, 1.0), "inf at row 1, column 1"),
    ],
)
def test_useless_image_is_refused_by_name(image, words):
    with pytest.raises(InputError, match=words):
        prepare(image)


def test_nan_outside_the_mask_is_no_matter():
    image, mask = _integrals(), np.ones((96, 96), bool)
    image[5], mask[5] = np.nan, False
    assert np.isfinite(prepare(image, Preparation(kind="log"), mask).image).all()


def test_masks_that_fit_nothing_are_refused():
    with pytest.raises(InputError, match="empty mask"):
        prepare(_integrals(), mask=np.zeros((96, 96), bool))
    with pytest.raises(InputError, match="shape"):
        prepare(_integrals(), mask=np.ones((95, 96), bool))
    with pytest.raises(InputError, match="crop must leave"):
        prepare(_integrals(), Preparation(crop=(50, 50, 0, 0)))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"kind": "dicom"}, "kind"),
        ({"kind": "log", "i0": 5.0}, "i0 has no effect"),
        ({"kind": "display", "saturation": 5.0}, "saturation has no effect"),
        ({"polarity": "bone_dark"}, "polarity has no effect"),
        ({"kind": "display", "polarity": "dark"}, "polarity must be"),
        ({"kind": "log", "crop": "auto"}, "collimator"),
        ({"i0": -1.0}, "i0 must be"),
        ({"smoothing_px": np.nan}, "smoothing_px"),
        ({"crop": (1, 2, 3)}, "crop must be"),
        ({"crop": (1, 2, 3, -4)}, "crop must be"),
    ],
)
def test_preparation_that_cannot_be_is_refused(values, words):
    with pytest.raises(InputError, match=words):
        Preparation(**values)


@pytest.mark.parametrize(
    ("suffix", "dtype"),
    [
        (".png", np.uint8),
        (".png", np.uint16),
        (".tif", np.uint8),
        (".tif", np.uint16),
        (".tif", np.float32),
        (".npy", np.uint16),
        (".npy", np.float64),
    ],
)
def test_image_files_keep_their_numbers(tmp_path, suffix, dtype):
    values = np.arange(12, dtype=dtype).reshape(3, 4) * 20
    path = tmp_path / f"image{suffix}"
    if suffix == ".npy":
        np.save(path, values)
    else:
        Image.fromarray(values).save(path)
    found = read_target_image(path)
    np.testing.assert_array_equal(found, values)


def test_grey_image_in_colour_channels_is_read_and_a_coloured_one_refused(tmp_path):
    grey = np.random.default_rng(0).integers(0, 255, (5, 6), np.uint8)
    Image.fromarray(np.stack([grey] * 3, axis=-1)).save(tmp_path / "grey.png")
    np.testing.assert_array_equal(read_target_image(tmp_path / "grey.png"), grey)
    Image.fromarray(np.stack([grey, grey, 255 - grey], axis=-1)).save(tmp_path / "colour.png")
    with pytest.raises(InputError, match="in colour"):
        read_target_image(tmp_path / "colour.png")


def test_unreadable_image_files_are_named(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_target_image(tmp_path / "missing.png")
    for name in ("broken.png", "broken.npy"):
        (tmp_path / name).write_bytes(b"not an image")
        with pytest.raises(InputError, match=name):
            read_target_image(tmp_path / name)
    np.save(tmp_path / "cube.npy", np.zeros((2, 3, 4)))
    with pytest.raises(InputError, match="one grey image"):
        read_target_image(tmp_path / "cube.npy")


def test_noise_alone_is_an_image_too():
    assert prepare(blobs((32, 32), 0, 1.0), Preparation(kind="log")).mask.all()

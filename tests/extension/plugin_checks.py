"""Checks of fluoro_extension in a process that has allowed it; test_extension.py runs them."""

import json

import numpy as np
import pytest

import operators.runtime  # noqa: F401  (before Holoscan)
from fluoro.config import Config, VolumeConfig, load_config
from fluoro.errors import InputError
from fluoro.registration.measures.choice import make_measure
from fluoro.volume.load import load_volume
from fluoro.volume.open_ct import open_ct
from operators.sinks import SINKS
from tools.docs.make_configuration_docs import make


def plain_ct(path):
    header = {"shape_zyx": [3, 4, 5], "spacing_xyz_mm": [1, 2, 3], "origin_xyz_mm": [0, 0, 9]}
    voxels = np.arange(60, dtype="<i2").reshape(3, 4, 5)
    path.write_bytes(json.dumps(header).encode() + b"\n" + voxels.tobytes())
    return voxels


def test_its_ct_format_is_read_right_or_refused(tmp_path):
    path = tmp_path / "ct.plainct"
    voxels = plain_ct(path)
    ct = open_ct(path)
    np.testing.assert_array_equal(ct.array(), voxels)
    assert (ct.kind, ct.grid.origin_xyz_mm) == ("plain CT", (0, 0, 9))
    assert load_volume(VolumeConfig(path=path)).grid.shape_zyx == (3, 4, 5)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match=r"voxels must be \(3, 4, 5\) int16, got 119 bytes"):
        open_ct(path).array()


def test_its_phantom_is_made_once_and_kept():
    config, told = VolumeConfig(phantom="bead_box", spacing_mm=8.0), []
    first = load_volume(config, lambda what, _: told.append(what))
    assert "making bead_box phantom, 8 mm" in told
    told.clear()
    again = load_volume(config, lambda what, _: told.append(what))
    assert told == []
    np.testing.assert_array_equal(first.mu_zyx, again.mu_zyx)


def test_its_measure_has_the_derivative_of_its_cost():
    rng = np.random.default_rng(5)
    target, image, direction = rng.random((3, 12, 16))
    measure = make_measure("weighted_squares", target, rng.random((12, 16)) > 0.2)
    slope = (measure.cost(image)[1] * direction).sum()
    step = 1e-6
    ends = [measure.cost(image + way * direction)[0] for way in (step, -step)]
    assert slope == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-6)


def test_the_configuration_and_its_documents_know_all_of_them():
    page = make()
    for words in ("`kind: spiral`", "`kind: block`", "image_chain.persistent_gamma", "## tiff"):
        assert words in page
    assert "A running mean of display values, to a power." in page
    assert "tiff" in {sink.name for sink in SINKS}
    schema = json.dumps(Config.model_json_schema())
    for word in (
        "spiral",
        "trapezoid",
        "volume_center",
        "block",
        "bead_box",
        "weighted_squares",
        "persistent_gamma",
    ):
        assert f'"{word}"' in schema


@pytest.mark.parametrize(
    ("key", "value", "line"),
    [
        ("pose_source.mm_per_second", "fast", "pose_source.mm_per_second: must be a number"),
        ("image_chain.persistent_gamma.gamma", "9", "persistent_gamma.gamma: must be at most 5"),
        ("registration.projector", "trapezoid", "registration.projector: must be 'march', "),
        ("tiff.every", "0", "tiff.every: must be at least 1"),
        ("volume.motion", "{}", "volume.motion: needs phantom: body or thorax"),
        ("registration.enabled", "true", "persistent_gamma: cannot be undone by the registration"),
    ],
)
def test_an_error_in_its_keys_is_one_line(request, key, value, line):
    stream = request.path.parent / "stream.yaml"
    with pytest.raises(InputError, match=line) as caught:
        load_config(stream, [f"{key}={value}"])
    assert "\n" not in str(caught.value)

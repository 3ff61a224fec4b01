"""Subtraction, roadmap and display curves: what they must do, whatever the code."""

from __future__ import annotations

import numpy as np
import pytest

from fluoro.config import Config, ImageChainConfig
from fluoro.imaging.chain import ImageChain
from fluoro.imaging.stages.dsa import series_turn
from fluoro.imaging.stages.lookup import curve_table
from fluoro.rendering.devices.cpu.device import CpuDevice

SHAPE = (120, 128)
WIDE = {"level": 0.0, "width": 4.0}
"""A window that clips nothing of a subtraction; dark is positive."""


@pytest.fixture(scope="module")
def device():
    return CpuDevice()


def config_of(**changes):
    plain = {"poisson": False, "polarity": "bone_bright", "window": {"level": 5.0, "width": 10.0}}
    return ImageChainConfig.model_validate({**plain, **changes})


def dsa(**keys):
    return {"window": WIDE, **keys}


def run(device, frames, config, chain=None, first=0):
    chain = chain or ImageChain(device, 5)
    return [chain.apply(f, config, first + n, 1.0) for n, f in enumerate(frames)]


def differences(image):
    """Display values back to what the window was given."""
    return (image.astype(float) - 0.5) * 4


def patient():
    return np.random.default_rng(1).random(SHAPE).astype(np.float32) * 4 + 1


def vessel():
    iodine = np.zeros(SHAPE, np.float32)
    iodine[40:50, :] = 0.4
    return iodine


def test_what_came_after_the_mask_is_left_and_nothing_else(device):
    frames = [patient(), patient() + vessel()]
    after = run(device, frames, config_of(dsa=dsa(mask_frames=1)))[-1]
    assert np.allclose(differences(after), vessel(), atol=3e-6)


@pytest.mark.parametrize("count", [1, 2, 4, 9])
def test_noise_of_a_subtraction_is_1_plus_1_over_n_that_of_a_frame(device, count):
    """Variance of ln N, N photons: 1/N; of the difference (1 + 1/n) / N."""
    flat = np.full(SHAPE, 4.0, np.float32)
    photons = 20_000.0
    dose_ngy = photons * np.exp(4.0) / (30 * np.exp(3.86))
    config = config_of(poisson=True, dose_ngy=dose_ngy, dsa=dsa(mask_frames=count))
    after = run(device, [flat] * (count + 1), config)[-1]
    expected = (1 + 1 / count) / photons
    assert np.var(differences(after)) == pytest.approx(expected, rel=0.05)  # 1.1 % is one sigma


def test_a_patient_who_moved_by_whole_pixels_vanishes_with_the_mask_moved_likewise(device):
    still = patient()
    moved = np.roll(still, (2, 3), axis=(0, 1))
    config = config_of(dsa=dsa(mask_frames=1, pixel_shift=[3.0, 2.0]))
    after = differences(run(device, [still, moved], config)[-1])
    assert np.abs(after[4:, 4:]).max() < 5e-6
    unmoved = config_of(dsa=dsa(mask_frames=1))
    assert np.abs(differences(run(device, [still, moved], unmoved)[-1])[4:, 4:]).max() > 0.5


def test_half_a_pixel_of_shift_halves_what_a_ramp_leaves(device):
    ramp = np.broadcast_to(np.arange(SHAPE[1], dtype=np.float32) * 0.01, SHAPE).copy()
    shifted = ramp - np.float32(0.01)
    config = config_of(dsa=dsa(mask_frames=1, pixel_shift=[0.5, 0.0]))
    after = differences(run(device, [ramp, shifted], config)[-1])
    assert np.allclose(after[:, 2:], -0.005, atol=5e-6)


def test_frames_before_the_mask_are_shown_as_they_are(device):
    frames = [patient()] * 3
    before, _, after = run(device, frames, config_of(dsa=dsa(first_frame=2, mask_frames=1)))
    assert np.array_equal(before, run(device, frames[:1], config_of())[0])
    assert np.abs(differences(after)).max() < 3e-6


def test_a_later_first_frame_takes_another_mask(device):
    chain = ImageChain(device, 5)
    filled = patient() + vessel()
    run(device, [patient(), filled], config_of(dsa=dsa(mask_frames=1)), chain)
    config = config_of(dsa=dsa(mask_frames=1, first_frame=2))
    after = run(device, [filled, filled], config, chain, first=2)[-1]
    assert np.abs(differences(after)).max() < 3e-6


def test_the_roadmap_shows_the_vessels_bright_and_the_wire_dark(device):
    wire = np.zeros(SHAPE, np.float32)
    wire[:, 60:63] = 0.3
    trace = [patient() + vessel() * share for share in (0.2, 1.0, 0.5)]
    frames = [patient(), *trace, patient() + wire]
    roadmap = {"frames": 3, "opacity": 0.5}
    after = run(device, frames, config_of(dsa=dsa(mask_frames=1, roadmap=roadmap)))[-1]
    assert np.allclose(differences(after), wire - 0.5 * vessel(), atol=5e-6)


def test_a_series_is_mask_then_trace_then_guide():
    config = config_of(dsa={"mask_frames": 2, "roadmap": {"frames": 3}}).dsa
    turns = [series_turn(config, n) for n in range(7)]
    assert [turn.mask_weight for turn in turns] == [1, 0.5, 0, 0, 0, 0, 0]
    assert [turn.traces for turn in turns] == [False, False, True, True, True, False, False]
    assert [turn.guides for turn in turns] == [False] * 5 + [True] * 2


def test_a_series_is_replayed_bit_identically(device):
    chain = ImageChain(device, 5)
    frames = [patient() + vessel() * n for n in range(6)]
    config = config_of(
        poisson=True,
        recursive_filter_weight=0.5,
        brightness={},
        dsa=dsa(mask_frames=2, roadmap={"frames": 2}),
    )
    first = run(device, frames, config, chain)
    again = run(device, frames, config, chain)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))


@pytest.mark.parametrize(
    ("lut", "at", "shown"),
    [
        ({"kind": "gamma", "gamma": 2.0}, 0.5, 0.25),
        ({"kind": "sigmoid"}, 0.5, 0.5),
        ({"kind": "points", "points": [[0, 0], [0.25, 0.75], [1, 1]]}, 0.25, 0.75),
    ],
)
def test_a_curve_goes_through_its_points_and_never_falls(lut, at, shown):
    table = curve_table(config_of(lut=lut).lut)
    assert np.interp(at, np.linspace(0, 1, len(table)), table) == pytest.approx(shown, abs=1e-6)
    assert (table[0], table[-1]) == (0, 1)
    assert np.diff(table).min() >= 0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"log": False, "dsa": {}}, "needs log: true"),
        ({"lut": {"kind": "points", "points": [[0, 0], [0.5, 1]]}}, "must ascend from 0 to 1"),
        ({"lut": {"kind": "gamma", "gamma": 0.01}}, "gamma"),
        ({"brightness": {"least_dose_ngy": 5.0, "most_dose_ngy": 1.0}}, "must be less than"),
        ({"brightness": {"roi": [0.6, 0, 0.5, 1]}}, "must be left, top, right, bottom"),
        ({"dose_ngy": -1.0}, "dose_ngy"),
    ],
)
def test_what_cannot_be_is_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        config_of(**changes)


@pytest.mark.parametrize("key", ["dsa", "brightness", "lut"])
def test_registration_refuses_what_cannot_be_undone_by_name(key):
    stage = {"kind": "sigmoid"} if key == "lut" else {}
    document = {
        "volume": {"phantom": "thorax"},
        "pose_source": {"kind": "sweep"},
        "registration": {"enabled": True},
        "image_chain": {key: stage, "window": {"level": 0.0, "width": 5.0}},
    }
    with pytest.raises(ValueError, match="cannot be undone by the registration"):
        Config.model_validate(document)


@pytest.mark.parametrize("user", ["registration", "optimiser"])
def test_a_distorted_image_is_no_target(user):
    asked = {"registration": {"enabled": True}, "optimiser": {"class": "a:B"}}
    document = {
        "volume": {"phantom": "thorax"},
        "pose_source": {"kind": "sweep"},
        "image_chain": {"image_intensifier": {"diameter_mm": 230, "pin_cushion": 0.05}},
        "run": {"frames": 1},
        user: asked[user],
    }
    with pytest.raises(ValueError, match="must be 0 with registration or optimiser"):
        Config.model_validate(document)

"""Whole runs of a patient with heartbeat: pulsed, subtracted and metered, through the graph."""

from __future__ import annotations

import numpy as np
import pytest

from tests.session_support import images_of, record_of, run_small, use_cache

# isort: split

from fluoro.config import Config
from fluoro.console.controls import LiveControls
from fluoro.errors import InputError
from fluoro.geometry.carm import CarmGeometry, CarmPose
from fluoro.recording.run_record import summary_lines
from operators.live_chain import with_controls
from operators.stream_clock import StreamClock, with_lengths


@pytest.fixture
def document(tmp_path, monkeypatch):
    """Makes settings of a small run of the living phantom."""
    use_cache(tmp_path, monkeypatch, share_volumes=True)

    def make(name="run", **chain):
        return {
            "volume": {
                "phantom": "thorax",
                "spacing_mm": 10.0,
                "motion": {},
                "contrast": {"vessels": "aorta", "spacing_mm": 5.0, "start_s": 0.2},
            },
            "carm": {"detector_width_px": 40, "detector_height_px": 36, "pixel_spacing_mm": 11.0},
            "pose_source": {"kind": "orbit"},
            "renderer": {"device": "cpu", "workers": 1, "step_mm": 8.0},
            "image_chain": chain,
            "console": {"enabled": False},
            "recorder": {"formats": ["npy"], "contact_sheet": False, "scene_movie": False},
            "run": {
                "name": name,
                "frames": 16,
                "fps": 30.0,
                "pacing": "free_running",
                "output_dir": str(tmp_path / "out"),
            },
        }

    return make


CHAIN = {
    "pulse_rate_hz": 15.0,
    "brightness": {"target_ngy": 20.0},
    "window": {"level": 0.0, "width": 4.0},
    "recursive_filter_weight": 0.6,
    "dsa": {"first_frame": 4, "mask_frames": 2},
    "lut": {"kind": "sigmoid"},
    "xray": {"energies": 3},
}


def test_a_run_of_a_living_patient_is_replayed_bit_identically(document):
    first = images_of(run_small(document("first", **CHAIN)).folder)
    again = images_of(run_small(document("again", **CHAIN)).folder)
    assert np.array_equal(first, again)
    assert np.array_equal(first[0], first[1])  # held between pulses
    assert not np.array_equal(first[1], first[2])


def test_run_json_and_summary_tell_pulses_and_dose(document):
    outcome = run_small(document(**CHAIN))
    record = record_of(outcome.folder)
    frames, dose = record["per_frame"], record["dose"]
    assert [frame["pulse"] for frame in frames] == [True, False] * 8
    assert dose["pulses"] == 8
    assert dose["beam_s"] == pytest.approx(16 / 30, abs=1e-3)
    assert dose["skin_dose_mgy"] == pytest.approx(1.378 * dose["reference_kerma_mgy"], rel=1e-4)
    assert all(frame["tube_voltage_kv"] == 80 and frame["dose_ngy"] > 0 for frame in frames)
    held = [frame["pose"]["lao_deg"] for frame in frames]
    assert held[0::2] == held[1::2]
    (line,) = (line for line in summary_lines(record) if line.startswith("dose: 8 pulses"))
    assert "kerma-area product" in line


def test_contrast_shows_once_it_is_injected(document):
    """Seen by subtraction, at rest and from one side: nothing before, vessels after."""
    settings = document(poisson=False, dsa={"mask_frames": 2, "window": {"level": 0, "width": 2}})
    settings["volume"]["motion"] = None
    settings["pose_source"] = {"kind": "static", "lao_deg": 40.0}
    images = images_of(run_small(settings).folder)
    assert np.abs(images[5] - 0.5).max() < 1e-5
    assert np.abs(images[15] - 0.5).max() > 0.1


def config_of(**sections):
    plain = {"volume": {"phantom": "thorax"}, "pose_source": {"kind": "sweep"}}
    return Config.model_validate({**plain, **sections})


def test_injecting_by_hand_starts_the_bolus_at_that_frame():
    contrast = {"vessels": "aorta", "start_s": None}
    config = config_of(volume={"phantom": "thorax", "contrast": contrast})
    controls, clock = LiveControls.from_config(config), StreamClock(config)
    known = {"pose": CarmPose(), "geometry": CarmGeometry(), "stamps_ns": {"pose": 0}}
    assert clock.header(controls.snapshot(), number=3, **known).injected_s is None
    controls.press("inject")
    headers = [clock.header(controls.snapshot(), number=n, **known) for n in (6, 7)]
    assert [header.injected_s for header in headers] == [0.2, 0.2]
    assert [header.time_s for header in headers] == [6 / 30, 7 / 30]


@pytest.mark.parametrize(
    ("button", "words"),
    [("mask", "mask has no effect in this run"), ("x", "must be mask or inject"), (3, "got 3")],
)
def test_buttons_that_do_nothing_are_refused(button, words):
    with pytest.raises(InputError, match=words):
        LiveControls.from_config(config_of()).press(button)


def test_magnification_makes_a_smaller_field_of_as_many_pixels():
    config = config_of(
        carm={"magnification": 2.0},
        image_chain={"image_intensifier": {"diameter_mm": 230.0}},
    )
    state = LiveControls.from_config(config).snapshot()
    geometry = with_lengths(CarmGeometry(), state)
    assert geometry.pixel_spacing_mm == 0.25
    assert (geometry.detector_width_px, geometry.detector_height_px) == (512, 512)
    chain = with_controls(config.image_chain, state)
    assert chain.image_intensifier.diameter_mm == 115.0


def test_the_console_moves_the_window_and_mask_of_a_subtraction():
    config = config_of(image_chain={"dsa": {"pixel_shift": [1.0, 2.0]}})
    controls = LiveControls.from_config(config)
    assert (controls.snapshot().window_level, controls.snapshot().mask_shift_y_px) == (0.2, 2.0)
    controls.apply({"window_level": 0.5, "mask_shift_x_px": -3.0}, stream_pose=None)
    chain = with_controls(config.image_chain, controls.snapshot())
    assert chain.dsa.window.level == 0.5
    assert chain.dsa.pixel_shift == (-3.0, 2.0)
    assert chain.window == config.image_chain.window

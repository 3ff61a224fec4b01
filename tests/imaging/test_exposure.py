"""Brightness control, pulses and dose: step responses, limits, sums."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fluoro.config import BrightnessConfig, Config, ImageChainConfig
from fluoro.geometry.carm import CarmGeometry, CarmPose
from fluoro.imaging import configured_beam
from fluoro.imaging.chain import ImageChain
from fluoro.imaging.exposure.dose_meter import DoseMeter, Pulse, field_area_cm2
from fluoro.imaging.frame import FrameHeader
from fluoro.imaging.pulses import PulseClock, is_pulse
from fluoro.imaging.reference import ReferenceChain
from fluoro.imaging.stages.brightness import next_dose_ngy, roi_box
from fluoro.physics.dose import MU_WATER_70_KEV_PER_MM, open_kerma_ngy, reference_distance_mm
from fluoro.physics.materials import material
from fluoro.physics.spectrum import tube_spectrum
from fluoro.rendering.devices.cpu.device import CpuDevice

SHAPE = (64, 80)
WATER_20_CM = MU_WATER_70_KEV_PER_MM * 200
GEOMETRY = CarmGeometry(
    source_to_detector_mm=1200.0,
    source_to_isocenter_mm=800.0,
    detector_width_px=100,
    detector_height_px=200,
    pixel_spacing_mm=1.0,
)
CHARGED = {"tube_current_ma": 40.0, "pulse_width_ms": 5.0}


@pytest.fixture(scope="module")
def device():
    return CpuDevice()


def chain_config(**changes):
    return ImageChainConfig.model_validate({"poisson": False, **changes})


def doses(device, thicknesses, brightness, **changes):
    """Dose of each frame behind flat integrals, and what was measured [nGy]."""
    chain, config = ImageChain(device, 1), chain_config(brightness=brightness, **changes)
    pulses = []
    for number, integral in enumerate(thicknesses):
        chain.apply(np.full(SHAPE, integral, np.float32), config, number, 0.5)
        pulses.append(chain.pulse)
    return [pulse.dose_ngy for pulse in pulses], [pulse.measured_ngy for pulse in pulses]


def test_the_detector_receives_its_dose_behind_20_cm_of_water(device):
    given, measured = doses(device, [WATER_20_CM], {"target_ngy": 10.0}, dose_ngy=13.0)
    assert given == [13.0]
    assert measured[0] == pytest.approx(13.0, rel=1e-4)


def test_a_step_of_thickness_is_followed_at_the_slew_until_the_target_is_met(device):
    """e^1 times the dose takes ln(e) / ln(1.25) = 4.5 pulses: four whole steps and a part."""
    settled = [WATER_20_CM] * 2
    given, measured = doses(
        device, [*settled, *[WATER_20_CM + 1] * 8], {"target_ngy": 20.0}, dose_ngy=20.0
    )
    expected = [20.0] * 3 + [20 * 1.25**n for n in range(1, 5)] + [20 * math.e] * 3
    assert given == pytest.approx(expected, rel=1e-3)
    assert measured[-1] == pytest.approx(20.0, rel=1e-3)


def test_a_step_back_falls_at_the_slew_as_well(device):
    given, _ = doses(
        device, [WATER_20_CM + 1, *[WATER_20_CM] * 8], {"target_ngy": 20.0}, dose_ngy=20 * math.e
    )
    expected = [20 * math.e] * 2 + [20 * math.e / 1.25**n for n in range(1, 5)] + [20.0] * 3
    assert given == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize(("more", "limit"), [(3.0, 100.0), (-3.0, 5.0)])
def test_dose_stays_at_its_limits_and_the_image_pays(device, more, limit):
    brightness = {"target_ngy": 20.0, "least_dose_ngy": 5.0, "most_dose_ngy": 100.0, "slew": 3.0}
    given, measured = doses(device, [WATER_20_CM + more] * 6, brightness, dose_ngy=20.0)
    assert given[-1] == limit
    assert measured[-1] == pytest.approx(limit * math.exp(-more), rel=1e-3)


def test_the_image_keeps_its_grey_where_the_dose_can_follow(device):
    brightness = {"target_ngy": 20.0, "slew": 50.0}
    config = chain_config(brightness=brightness, window={"level": 0.0, "width": 4.0})
    chain = ImageChain(device, 1)
    images = [
        chain.apply(np.full(SHAPE, integral, np.float32), config, number, 0.5)
        for number, integral in enumerate([WATER_20_CM, WATER_20_CM + 2, WATER_20_CM + 2])
    ]
    dark, bright = images[1], images[2]
    assert np.allclose(bright, 0.5, atol=1e-4)
    assert np.allclose(dark, 0.0, atol=1e-4)  # bone_dark: -2 of 4 below the middle


def test_small_errors_change_nothing():
    config = BrightnessConfig(target_ngy=20.0, dead_band=0.05)
    assert next_dose_ngy(config, 30.0, 20.0 / 1.04) == 30.0
    assert next_dose_ngy(config, 30.0, 20.0 / 1.06) == pytest.approx(31.8)


def test_nothing_at_the_detector_raises_the_dose_to_its_limit():
    config = BrightnessConfig(target_ngy=20.0, most_dose_ngy=40.0, slew=2.0)
    assert next_dose_ngy(config, 30.0, 0.0) == 40.0


def test_exposure_is_held_from_the_mask_on(device):
    given, _ = doses(
        device,
        [WATER_20_CM, WATER_20_CM, *[WATER_20_CM + 1] * 4],
        {"target_ngy": 20.0},
        dose_ngy=20.0,
        dsa={"first_frame": 1},
    )
    assert given == pytest.approx([20.0] * 6, rel=1e-3)


def test_the_region_is_what_its_shares_say_and_never_empty():
    assert roi_box((0.25, 0.5, 0.75, 1.0), (40, 80)) == (20, 20, 60, 40)
    assert roi_box((1.0, 1.0, 1.0, 1.0), (40, 80)) == (79, 39, 80, 40)


def test_only_the_region_is_measured(device):
    chain = ImageChain(device, 1)
    config = chain_config(brightness={"roi": [0.25, 0.25, 0.5, 0.75]}, dose_ngy=20.0)
    image = np.full(SHAPE, 9.0, np.float32)
    image[16:48, 20:40] = WATER_20_CM
    chain.apply(image, config, 0, 0.5)
    assert chain.pulse.measured_ngy == pytest.approx(20.0, rel=1e-4)


# The tube

STEPS = [
    {"tube_voltage_kv": 60, "tube_current_ma": 20.0, "pulse_width_ms": 5.0},
    {"tube_voltage_kv": 80, "tube_current_ma": 40.0, "pulse_width_ms": 5.0},
    {"tube_voltage_kv": 100, "tube_current_ma": 80.0, "pulse_width_ms": 8.0},
]


def tube_run(device, water_mm, brightness, frames=12, **xray):
    """What each pulse was made with, behind so much water each time."""
    found = [material("water")]
    chain = ImageChain(device, 1, found)
    config = chain_config(brightness=brightness, xray={"energies": 3, **xray})
    pulses = []
    for number in range(frames):
        layer = np.full((1, *SHAPE), water_mm, np.float32)
        chain.apply(layer, config, number, 0.5, GEOMETRY)
        pulses.append(chain.pulse)
    return pulses


def behind_water_ngy(kv, mas):
    """Air kerma at the detector, from the spectrum itself."""
    beam = tube_spectrum(kv, 3.0).filtered("water", 200.0)
    return beam.kerma_ugy * 1000 * mas * (1000 / 1200) ** 2


def test_a_tube_of_its_own_charge_gives_the_dose_of_its_spectrum(device):
    chain = ImageChain(device, 1, [material("water")])
    xray = {"tube_voltage_kv": 70, "tube_current_ma": 50.0, "pulse_width_ms": 6.0, "energies": 3}
    chain.apply(np.zeros((1, *SHAPE), np.float32), chain_config(xray=xray), 0, 0.5, GEOMETRY)
    pulse = chain.pulse
    assert pulse.dose_ngy == pytest.approx(behind_water_ngy(70, 0.3))
    assert (pulse.tube.tube_voltage_kv, pulse.tube.pulse_width_ms) == (70, 6.0)
    assert pulse.tube.tube_current_ma == pytest.approx(50.0)
    open_ngy = tube_spectrum(70, 3.0).kerma_ugy * 1000 * 0.3 * (1000 / 1200) ** 2
    assert pulse.open_ngy == pytest.approx(open_ngy)


def test_the_control_moves_the_current_where_the_voltage_stays(device):
    brightness = {"target_ngy": 20.0, "slew": 10.0, "dead_band": 0.01}
    xray = {"tube_voltage_kv": 80, "tube_current_ma": 5.0, "pulse_width_ms": 5.0}
    last = tube_run(device, 240.0, brightness, **xray)[-1]
    assert last.measured_ngy == pytest.approx(20.0, rel=0.02)
    assert last.tube.tube_voltage_kv == 80
    assert behind_water_ngy(80, last.tube.charge_mas) == pytest.approx(last.dose_ngy)


def test_the_control_takes_a_higher_voltage_once_the_current_is_at_its_limit(device):
    brightness = {"target_ngy": 10.0, "least_dose_ngy": 0.1, "slew": 2.0, "tube_steps": STEPS}
    thin, thick = (tube_run(device, water_mm, brightness)[-1] for water_mm in (80.0, 300.0))
    assert (thin.tube.tube_voltage_kv, thick.tube.tube_voltage_kv) == (60, 100)
    for pulse in (thin, thick):
        assert pulse.measured_ngy == pytest.approx(10.0, rel=0.06)
        step = next(s for s in STEPS if s["tube_voltage_kv"] == pulse.tube.tube_voltage_kv)
        assert pulse.tube.tube_current_ma <= step["tube_current_ma"]


def test_no_frame_waits_for_the_beam_of_a_step(device, monkeypatch):
    """A fit of energies takes longer than a frame: those of all steps are made before."""
    brightness = {"target_ngy": 10.0, "slew": 2.0, "tube_steps": STEPS}
    config = chain_config(brightness=brightness, xray={"energies": 3})
    chain = ImageChain(device, 1, [material("water")])
    layers = [np.full((1, *SHAPE), water_mm, np.float32) for water_mm in (80.0, 300.0)]
    chain.prepare(layers[0], config, 0.5, GEOMETRY)
    monkeypatch.setattr(configured_beam, "make_beam", None)
    voltages = set()
    for number in range(16):
        chain.apply(layers[number // 8], config, number, 0.5, GEOMETRY)
        voltages.add(chain.pulse.tube.tube_voltage_kv)
    assert voltages == {step["tube_voltage_kv"] for step in STEPS}


def test_a_step_is_left_downwards_only_with_current_to_spare(device):
    """No thickness makes the voltage change for ever: it may, while the dose settles."""
    brightness = {"target_ngy": 10.0, "slew": 1.5, "tube_steps": STEPS}
    for water_mm in (150.0, 200.0, 250.0, 270.0, 290.0, 300.0):
        pulses = tube_run(device, water_mm, brightness, frames=24)[12:]
        assert len({pulse.tube.tube_voltage_kv for pulse in pulses}) == 1
        assert pulses[-1].measured_ngy == pytest.approx(10.0, rel=0.06)


def test_the_last_step_is_all_the_tube_has(device):
    brightness = {"target_ngy": 20.0, "most_dose_ngy": 1e6, "slew": 4.0, "tube_steps": STEPS}
    last = tube_run(device, 400.0, brightness)[-1]
    assert last.tube.tube_voltage_kv == 100
    assert last.tube.tube_current_ma == pytest.approx(80.0)
    assert last.measured_ngy < 10.0


@pytest.mark.parametrize(
    "changes",
    [
        {"brightness": {"target_ngy": 60.0, "slew": 3.0, "tube_steps": STEPS}},
        {"brightness": {"target_ngy": 60.0}, "xray": CHARGED},
        {"xray": CHARGED},
    ],
    ids=["steps", "charge with brightness", "charge"],
)
def test_a_run_with_a_tube_agrees_with_the_reference(device, changes):
    """Counts, voltage and dose over a patient who grows thicker: the voltage rises on the way."""
    materials = (material("soft_tissue"), material("cortical_bone"))
    lit = {"poisson": True, "window": {"level": 1.0, "width": 12.0}, "scatter": {}, "xray": {}}
    config = chain_config(**{**lit, **changes})
    chain = ImageChain(device, 7, materials)
    oracle = ReferenceChain(config, 7, 0.5, GEOMETRY, materials)
    rng, voltages = np.random.default_rng(1), []
    for number in range(5):
        bone_mm = rng.random(SHAPE) * 4
        thicknesses = np.stack([150.0 + 40 * number + bone_mm, bone_mm]).astype(np.float32)
        shown = chain.apply(thicknesses, config, number, 0.5, GEOMETRY)
        voltages.append(chain.pulse.tube.tube_voltage_kv)
        assert np.mean(np.abs(shown - oracle.apply(thicknesses, number)) > 5e-6) <= 1e-3, number
    assert (len(set(voltages)) > 1) == ("tube_steps" in changes.get("brightness", {}))


def test_tube_steps_need_a_tube_and_ascend():
    with pytest.raises(ValueError, match="need xray with a tube_voltage_kv"):
        chain_config(brightness={"tube_steps": STEPS})
    with pytest.raises(ValueError, match="must have ascending voltages"):
        chain_config(brightness={"tube_steps": STEPS[::-1]}, xray={})


# Pulses


@pytest.mark.parametrize(("rate_hz", "every"), [(3.75, 8), (7.5, 4), (15.0, 2), (30.0, 1)])
def test_pulses_come_evenly_at_their_rate(rate_hz, every):
    pulses = [number for number in range(240) if is_pulse(number, rate_hz / 30.0)]
    assert pulses == list(range(0, 240, every))


def test_a_rate_that_does_not_divide_the_frames_is_kept_on_average():
    assert sum(is_pulse(number, 10.0 / 24.0) for number in range(240)) == 100


def header(number, lao_deg):
    return FrameHeader(
        number=number,
        pose=CarmPose(lao_deg=lao_deg),
        geometry=GEOMETRY,
        stamps_ns={"pose": number},
        time_s=number / 30,
    )


def test_between_pulses_pose_and_time_are_the_last_pulses():
    clock = PulseClock(30.0)
    frames = [clock.applied(header(number, 10.0 * number), 15.0) for number in range(4)]
    assert [frame.pulse for frame in frames] == [True, False, True, False]
    assert [frame.pose.lao_deg for frame in frames] == [0, 0, 20, 20]
    assert [frame.time_s for frame in frames] == [0, 0, 2 / 30, 2 / 30]
    assert [frame.number for frame in frames] == [0, 1, 2, 3]
    assert frames[3].stamps_ns == {"pose": 3}


def test_the_display_holds_the_last_pulse_and_its_noise(device):
    chain, config = ImageChain(device, 1), chain_config(poisson=True, pulse_rate_hz=15.0, lag={})
    integrals = np.full(SHAPE, 3.0, np.float32)
    first = chain.apply(integrals, config, 0, 0.5)
    held = chain.apply(integrals, config, 1, 0.5, pulse=False)
    second = chain.apply(integrals, config, 2, 0.5)
    assert np.array_equal(first, held)
    assert not np.array_equal(first, second)


def test_a_window_that_is_moved_moves_the_held_image_too(device):
    chain, config = ImageChain(device, 1), chain_config(pulse_rate_hz=15.0)
    integrals = np.full(SHAPE, 3.0, np.float32)
    chain.apply(integrals, config, 0, 0.5)
    other = chain_config(pulse_rate_hz=15.0, window={"level": 4.0, "width": 5.0})
    held = chain.apply(integrals, other, 1, 0.5, pulse=False)
    assert np.allclose(held, 1 - 0.3, atol=1e-5)


def test_pulses_faster_than_the_frames_and_of_a_loop_are_refused():
    document = {
        "volume": {"phantom": "thorax"},
        "pose_source": {"kind": "static"},
        "image_chain": {"pulse_rate_hz": 30.0},
        "run": {"fps": 20.0},
    }
    with pytest.raises(ValueError, match=r"must be at most run.fps \(20\), got 30"):
        Config.model_validate(document)
    document["run"]["fps"] = 30.0
    document["pose_source"] = {"kind": "dds"}
    with pytest.raises(ValueError, match="needs a pose for each frame by its time"):
        Config.model_validate(document)


# Dose


def test_dose_adds_up_over_pulses_and_time_over_frames():
    meter, config = DoseMeter(), chain_config()
    pulse = Pulse(dose_ngy=20.0)
    for number in range(30):
        beam_s = (number + 1) / 30
        meter.add(pulse, config, GEOMETRY, is_pulse=number % 2 == 0, beam_s=beam_s)
    at_detector_mgy = open_kerma_ngy(20.0) * 1e-6
    assert meter.total.pulses == 15
    assert meter.total.beam_s == pytest.approx(1.0)
    assert meter.total.kerma_area_mgycm2 == pytest.approx(15 * at_detector_mgy * 200.0)
    nearer = (1200 / 650) ** 2
    assert meter.total.reference_kerma_mgy == pytest.approx(15 * at_detector_mgy * nearer)
    assert meter.total.skin_dose_mgy == pytest.approx(1.378 * meter.total.reference_kerma_mgy)


def test_kerma_area_does_not_depend_on_the_plane():
    """The open kerma falls as the field grows: the same at the reference point."""
    meter = DoseMeter()
    meter.add(Pulse(dose_ngy=20.0), chain_config(), GEOMETRY, is_pulse=True, beam_s=0.1)
    area_there_cm2 = field_area_cm2(chain_config(), GEOMETRY) * (650 / 1200) ** 2
    assert meter.total.kerma_area_mgycm2 == pytest.approx(
        meter.total.reference_kerma_mgy * area_there_cm2
    )


def test_what_the_tube_gives_is_what_water_takes_and_the_dose():
    beam = tube_spectrum(80, 3.0)
    behind_ugy = beam.filtered("water", 200.0).kerma_ugy
    assert open_kerma_ngy(20.0) == pytest.approx(20.0 * beam.kerma_ugy / behind_ugy)
    assert 150 < open_kerma_ngy(1.0) < 250  # primary alone: scatter adds to the detector


@pytest.mark.parametrize(
    ("collimator", "area_cm2"),
    [
        ({"kind": "rectangle", "width_mm": 80.0, "height_mm": 400.0}, 160.0),
        ({"kind": "iris", "diameter_mm": 90.0}, math.pi * 4.5**2),
        ({"kind": "iris", "diameter_mm": 500.0}, 200.0),
    ],
)
def test_the_field_is_the_collimated_part_of_the_detector(collimator, area_cm2):
    config = chain_config(collimator=collimator)
    assert field_area_cm2(config, GEOMETRY) == pytest.approx(area_cm2)


def test_an_iris_that_overlaps_the_borders_has_the_area_that_counting_gives():
    config = chain_config(collimator={"kind": "iris", "diameter_mm": 150.0})
    y, x = np.mgrid[-99.95:100:0.1, -49.95:50:0.1]
    counted_cm2 = np.sum(x**2 + y**2 <= 75.0**2) * 1e-4
    assert field_area_cm2(config, GEOMETRY) == pytest.approx(counted_cm2, rel=1e-3)


def test_the_reference_point_is_15_cm_before_the_isocentre():
    assert reference_distance_mm(800.0) == 650.0
    assert reference_distance_mm(200.0) == 100.0


def test_a_window_of_subtracted_frames_given_in_part_keeps_its_own_defaults():
    chain = chain_config(dsa={"window": {"width": 0.5}})
    assert (chain.dsa.window.level, chain.dsa.window.width) == (0.2, 0.5)
    assert (chain.window.level, chain.window.width) == (3.0, 5.0)

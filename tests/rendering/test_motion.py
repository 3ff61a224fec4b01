"""The phantom's heart and breath, and contrast in its vessels: kernels, references, anatomy."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from fluoro.config import Config, ContrastConfig, MotionConfig
from fluoro.errors import InputError
from fluoro.geometry.carm import CarmGeometry, CarmPose
from fluoro.physics.materials import material
from fluoro.rendering.contrast_renderer import ContrastFill
from fluoro.rendering.devices.cpu.device import CpuDevice
from fluoro.rendering.moving_reference import moved_integrals
from fluoro.rendering.moving_renderer import MovingRenderer, knot_steps
from fluoro.rendering.patient_renderer import make_patient
from fluoro.rendering.reference import march_reference
from fluoro.rendering.renderer import DrrRenderer
from fluoro.volume.grid import VolumeGrid
from fluoro.volume.hu_to_mu import mu_from_hu
from fluoro.volume.phantom.bolus import Bolus, concentration, make_bolus
from fluoro.volume.phantom.phantom_motion import ThoraxMotion, beat, breath
from fluoro.volume.phantom.thorax import make_thorax
from fluoro.volume.phantom.vessels import TREES, draw_vessels, vessel_tubes
from fluoro.volume.volumes import MuVolume

STEP_MM = 4.0
GEOMETRY = CarmGeometry(
    source_to_detector_mm=1200.0,
    source_to_isocenter_mm=900.0,
    detector_width_px=44,
    detector_height_px=40,
    pixel_spacing_mm=10.0,
)
VIEW = GEOMETRY.view(CarmPose(lao_deg=20.0, cra_deg=5.0), (0.0, 0.0, 0.0))
FULL_BREATH_S = 30.0 / 14.0
END_SYSTOLE_S = 0.35 * 60.0 / 72.0
FLOAT32 = 2e-5
"""Absolute error of line integrals of a few units, in single precision."""


@pytest.fixture(scope="module")
def device():
    return CpuDevice()


@pytest.fixture(scope="module")
def thorax():
    hu = make_thorax(spacing_mm=5.0)
    return MuVolume(mu_zyx=mu_from_hu(hu.hu_zyx, energy_kev=70.0), grid=hu.grid)


@pytest.fixture(scope="module")
def motion():
    return ThoraxMotion(MotionConfig())


def patient_config(**volume):
    return Config.model_validate(
        {
            "volume": {"phantom": "thorax", "spacing_mm": 5.0, **volume},
            "pose_source": {"kind": "static"},
            "renderer": {"step_mm": STEP_MM},
        }
    )


# Motion


def test_moving_rays_agree_with_the_reference(device, thorax, motion):
    field = motion.displacements_mm(1.3)
    moving = MovingRenderer(thorax.mu_zyx, thorax.grid, device, step_mm=STEP_MM)
    image = moving.render(VIEW, field, motion.grid)
    reference_image = moved_integrals(
        thorax, VIEW, STEP_MM, field, motion.grid, knot_steps(STEP_MM)
    )
    assert np.abs(image - reference_image).max() < FLOAT32


def test_looking_the_field_up_at_knots_costs_little_of_what_motion_does(device, thorax, motion):
    field = motion.displacements_mm(FULL_BREATH_S)
    moving = MovingRenderer(thorax.mu_zyx, thorax.grid, device, step_mm=STEP_MM)
    error = moving.render(VIEW, field, motion.grid) - moved_integrals(
        thorax, VIEW, STEP_MM, field, motion.grid
    )
    moved = moving.render(VIEW, field, motion.grid) - moving.render_still(VIEW)
    assert np.sqrt(np.mean(error**2)) < 0.04 * np.sqrt(np.mean(moved**2))


def test_a_patient_at_rest_is_bit_identical_to_the_still_image(device, thorax):
    moving = MovingRenderer(thorax.mu_zyx, thorax.grid, device, step_mm=STEP_MM)
    motion = ThoraxMotion(MotionConfig())
    assert not motion.displacements_mm(0.0).any()
    still = DrrRenderer(thorax, device, step_mm=STEP_MM).render(VIEW)
    assert np.array_equal(moving.render(VIEW, motion.displacements_mm(0.0), motion.grid), still)
    assert np.allclose(still, march_reference(thorax, VIEW, STEP_MM), atol=FLOAT32)


def test_a_moving_image_is_not_written_where_it_does_not_fit(device, thorax, motion):
    moving = MovingRenderer(thorax.mu_zyx, thorax.grid, device, step_mm=STEP_MM)
    small = np.zeros((VIEW.height_px - 1, VIEW.width_px), np.float32)
    with pytest.raises(InputError, match="out must be a C-contiguous float32 array"):
        moving.render(VIEW, motion.displacements_mm(0.0), motion.grid, small)
    with pytest.raises(InputError, match="out must be a C-contiguous float32 array"):
        moving.render_still(VIEW, small)


def test_a_uniform_displacement_shifts_the_patient(device, thorax):
    """By two voxels: the same image as of a volume whose grid lies elsewhere."""
    nodes = VolumeGrid(shape_zyx=(2, 2, 2), spacing_xyz_mm=(50.0,) * 3)
    shift = np.broadcast_to(np.float32([0.0, 0.0, 10.0]), (2, 2, 2, 3))
    moving = MovingRenderer(thorax.mu_zyx, thorax.grid, device, step_mm=STEP_MM)
    image = moving.render(VIEW, shift, nodes)
    rolled = np.concatenate([thorax.mu_zyx[2:], thorax.mu_zyx[-1:], thorax.mu_zyx[-1:]])
    elsewhere = MuVolume(mu_zyx=np.ascontiguousarray(rolled), grid=thorax.grid)
    expected = DrrRenderer(elsewhere, device, step_mm=STEP_MM).render(VIEW)
    assert np.abs(image - expected).max() < 1e-4


def test_moving_patients_with_contrast_agree_between_devices(device, other, thorax):
    config = patient_config(motion={}, contrast={"vessels": "coronary", "spacing_mm": 4.0})
    here = make_patient(config, thorax, device).render(VIEW, 1.7, 1.0)
    there = make_patient(config, thorax, other).render(VIEW, 1.7, 1.0)
    assert np.abs(here - other.to_host(there)).max() < 1e-3


@pytest.mark.parametrize("beam", [{}, {"xray": {}}], ids=["one energy", "many energies"])
def test_images_begun_one_behind_the_other_are_those_made_one_by_one(device, thorax, beam):
    """The voxels with contrast are filled again for each, after the last one is done."""
    given = patient_config(contrast=CONTRAST, motion={}).model_dump(exclude_unset=True)
    document = {**given, "image_chain": beam}
    document["volume"] = {k: v for k, v in given["volume"].items() if v is not None}
    config, moments = Config.model_validate(document), (1.2, 1.8, 2.6, 1.5)
    plain = make_patient(config, thorax, device)
    wanted = [plain.render(VIEW, time_s, 1.0) for time_s in moments]
    queue = device.queue()
    patient = make_patient(config, thorax, queue)
    begun = [patient.start(VIEW, time_s, 1.0) for time_s in moments]
    for image, (found, rendering) in zip(wanted, begun, strict=True):
        rendering.wait()
        assert np.array_equal(found, image)
    queue.close()


def test_motion_never_folds_tissue(motion):
    """The map from where tissue is seen to where it rests keeps orientation everywhere."""
    for time_s in np.linspace(0, FULL_BREATH_S * 2, 9):
        field = motion.displacements_mm(time_s).astype(float)
        steps = np.stack(np.gradient(field, 10.0, axis=(2, 1, 0)), axis=-1)
        assert np.linalg.det(np.eye(3) + steps).min() > 0.1


def test_breathing_in_lowers_the_diaphragm_and_spares_spine_and_skin(motion):
    field = motion.displacements_mm(FULL_BREATH_S)
    grid = motion.grid

    def at(x, y, z):
        i, j, k = np.rint((np.array([x, y, z]) - grid.origin_xyz_mm) / 10.0).astype(int)
        return field[k, j, i]

    assert at(-60, -10, -20)[2] == pytest.approx(16.0, abs=1.0)  # right dome
    assert at(0, 60, -20)[2] == 0.0  # a vertebra
    assert np.abs(at(150, 0, 0)).max() < 0.5  # outside the ribs
    assert at(0, -70, -20)[1] > 1.0  # the front of the chest rises


def test_the_heart_shrinks_by_what_was_requested():
    motion = ThoraxMotion(MotionConfig(breath_mm=0.0, heart_contraction=0.1))
    field, grid = motion.displacements_mm(END_SYSTOLE_S), motion.grid
    point = np.array([45.0, -22.0, 10.0])
    i, j, k = np.rint((point - grid.origin_xyz_mm) / 10.0).astype(int)
    seen = np.array([i, j, k]) * 10.0 + grid.origin_xyz_mm - (27.0, -22.0, 2.0)
    assert np.allclose(seen + field[k, j, i], seen / 0.9, atol=1e-3)


def test_beat_and_breath_are_smooth_and_repeat():
    for wave in (beat, breath):
        values = np.array([wave(phase) for phase in np.linspace(0, 3, 3001)])
        assert values.min() == 0
        assert values.max() == pytest.approx(1, abs=1e-5)
        assert np.abs(np.diff(values)).max() < 0.006
        assert np.allclose(values[:1000], values[1000:2000], atol=1e-9)


def test_motion_is_a_function_of_time_alone(motion):
    later = motion.displacements_mm(0.7)
    motion.displacements_mm(5.0)
    assert np.array_equal(ThoraxMotion(MotionConfig()).displacements_mm(0.7), later)


def test_zero_rates_hold_breath_and_heart_still():
    still = ThoraxMotion(MotionConfig(heart_rate_per_min=0.0, breaths_per_min=0.0))
    assert not still.displacements_mm(3.3).any()


# Contrast


@pytest.mark.parametrize("tree", list(TREES))
def test_vessels_hang_together_and_travel_grows_with_their_length(tree):
    tubes = vessel_tubes(tree)
    assert min(tube.travel_mm[0] for tube in tubes) == 0
    for tube in tubes:
        length = np.linalg.norm(np.diff(tube.ends[:, :3], axis=0))
        assert tube.travel_mm[1] - tube.travel_mm[0] == pytest.approx(length)
    for before, tube in itertools.pairwise(tubes):
        if np.allclose(before.ends[1], tube.ends[0]):
            assert tube.travel_mm[0] >= before.travel_mm[1] - 1e-6


def test_a_straight_vessel_has_the_volume_of_a_cylinder():
    length_mm, radius_mm = 60.0, 6.0
    (tube,) = vessel_tubes("aorta")[:1]
    ends = np.array([[0, 0, 0, radius_mm], [0, 0, length_mm, radius_mm]], float)
    straight = type(tube)(ends=ends, travel_mm=(0.0, length_mm))
    drawn = draw_vessels([straight], 1.0)
    capsule = np.pi * radius_mm**2 * (length_mm + 4 / 3 * radius_mm)
    assert drawn.share.sum() == pytest.approx(capsule, rel=0.01)
    z = (drawn.index // (drawn.grid.shape_xyz[0] * drawn.grid.shape_xyz[1])).astype(float)
    middle = (z > 15) & (z < 55)
    world_z = z[middle] + drawn.grid.origin_xyz_mm[2]
    assert np.allclose(drawn.travel_mm[middle], world_z, atol=1e-3)


CONTRAST = {"vessels": "aorta", "spacing_mm": 3.0, "spread_s": 0.2, "duration_s": 0.5}


@pytest.fixture(scope="module")
def bolus():
    return make_bolus(ContrastConfig.model_validate(CONTRAST))


def test_concentration_rises_stays_and_is_washed_out():
    config = ContrastConfig.model_validate({**CONTRAST, "washout_s": 0.4})
    assert np.allclose(concentration(config, [-1.0, 0.0, 0.1, 0.2, 0.5]), [0, 0, 0.5, 1, 1])
    assert concentration(config, 0.5 + 0.4) == pytest.approx(np.exp(-1))


@pytest.mark.parametrize("since_s", [0.05, 0.4, 1.3, 9.0])
def test_the_kernel_fills_the_box_as_its_reference(device, bolus, since_s):
    box = np.zeros(bolus.vessels.grid.shape_zyx, np.float32)
    ContrastFill(bolus, device).fill(box, since_s)
    assert np.abs(box - bolus.shares(since_s)).max() < 1e-7
    assert box.any() == (since_s < bolus.gone_s)


def test_contrast_arrives_along_the_vessels_at_its_speed(bolus):
    """Half a second at 250 mm/s: filled up to 125 mm, empty beyond."""
    box = bolus.shares(0.5).ravel()[bolus.vessels.index]
    travel = bolus.vessels.travel_mm
    whole = bolus.vessels.share == 1
    assert np.allclose(box[whole & (travel < 70)], bolus.amount.max())
    assert box[travel > 126].max() == 0


def test_iodine_adds_its_line_integral_to_the_patient(device, thorax, bolus):
    plain = make_patient(patient_config(), thorax, device).render(VIEW)
    patient = make_patient(patient_config(contrast=CONTRAST), thorax, device)
    with_iodine = patient.render(VIEW, 2.0, 1.0)
    grid = bolus.vessels.grid
    box = MuVolume(mu_zyx=bolus.shares(1.0) * np.float32(iodine_per_mm()), grid=grid)
    expected = march_reference(box, VIEW, grid.spacing_xyz_mm[0])
    assert np.abs(with_iodine - plain - expected).max() < FLOAT32
    assert expected.max() > 0.5


def iodine_per_mm():
    return float(material("iodine").mu_per_mm(70.0))


def test_without_an_injection_and_after_it_there_is_no_contrast(device, thorax):
    plain = make_patient(patient_config(), thorax, device).render(VIEW)
    patient = make_patient(patient_config(contrast=CONTRAST), thorax, device)
    patient.render(VIEW, 1.5, 1.0)
    for time_s, injected_s in ((0.5, 1.0), (1.0, None), (60.0, 1.0)):
        assert np.array_equal(patient.render(VIEW, time_s, injected_s), plain)


def test_full_concentration_is_as_many_milligrams_a_millilitre(bolus):
    grams_per_cm3 = bolus.amount.max() * material("iodine").density_g_per_cm3
    assert grams_per_cm3 == pytest.approx(0.120, rel=1e-5)


def test_a_beam_of_many_energies_gets_iodine_as_its_last_material(device, thorax):
    document = patient_config(contrast=CONTRAST, motion={}).model_dump(exclude_unset=True)
    document["image_chain"] = {"xray": {}}
    document["volume"] = {k: v for k, v in document["volume"].items() if v is not None}
    patient = make_patient(Config.model_validate(document), thorax, device)
    assert patient.materials[-1].name == "iodine"
    before, during = patient.render(VIEW, 0.9, 1.0), patient.render(VIEW, 2.0, 1.0)
    assert before[-1].max() == 0
    assert during[-1].max() > 0.05
    one_energy = make_patient(patient_config(contrast=CONTRAST, motion={}), thorax, device)
    mu = np.array([float(each.mu_per_mm(70.0)) for each in patient.materials])
    summed = np.tensordot(mu, during.astype(float), axes=1)
    single = one_energy.render(VIEW, 2.0, 1.0)
    assert np.abs(summed - single).max() < 0.06  # steps of the vessels differ: 4 mm and 3 mm
    assert np.abs(summed - single).mean() < 0.003


def test_the_bolus_is_on_a_device_once(bolus):
    assert isinstance(bolus, Bolus)
    assert bolus.vessels.index.dtype == np.int32
    assert len(np.unique(bolus.vessels.index)) == len(bolus.vessels.index)


@pytest.mark.parametrize("key", ["motion", "contrast"])
def test_a_ct_has_neither_motion_nor_vessels(key):
    section = {} if key == "motion" else {"vessels": "aorta"}
    document = {
        "volume": {"path": "ct.nii", key: section},
        "pose_source": {"kind": "static"},
    }
    with pytest.raises(ValueError, match=r"needs phantom: body or thorax, .*; null leaves it out"):
        Config.model_validate(document)


def test_motion_is_rendered_by_march_alone():
    document = {
        "volume": {"phantom": "thorax", "motion": {}},
        "pose_source": {"kind": "static"},
        "renderer": {"projector": "joseph"},
    }
    with pytest.raises(ValueError, match=r"must be march with volume\.motion"):
        Config.model_validate(document)

"""Tracking without a graph: estimates frame after frame, servo, loss, a user's optimiser."""

import logging
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from fluoro.config import (
    Config,
    ImageChainConfig,
    MultiStart,
    RegistrationSettings,
    StartConfig,
    SweepPoses,
    WindowConfig,
)
from fluoro.errors import InputError
from fluoro.geometry.carm import CarmPose
from fluoro.imaging.chain import ImageChain
from fluoro.registration.measures.metrics import cube_corners_xyz_mm, mtre_mm
from fluoro.registration.pose_loss import PoseGradient, PoseLoss
from fluoro.registration.register import Registrar
from fluoro.registration.rigid_motion import motion_about
from fluoro.registration.search.uncertainty import fit_pose
from fluoro.registration.targets.frame_target import SHADING, shown, target_from_frame
from fluoro.registration.tracking import tracker as tracking
from fluoro.registration.tracking.optimiser_loop import OptimiserLoop
from fluoro.registration.tracking.servo_loop import Servo
from fluoro.registration.tracking.track_record import TrackedFrame, TrackRecord
from fluoro.registration.tracking.tracker import LENGTHS_EVERY, PoseTracker
from fluoro.registration.tracking.tracking_plot import write_optimiser_plot, write_tracking_plot
from fluoro.registration.tracking.user_optimiser import checked_step, load_optimiser
from fluoro.rendering.renderer import DrrRenderer
from tests.registration_support import (
    DETECTOR,
    blobs,
    center,
    changed,
    device,
    displacement,
    rendered,
    target,
    thorax,
    view_at,
)

CHAIN = ImageChainConfig(dose_ngy=5.0, window=WindowConfig(level=3.1, width=4.4))
SWEEP = SweepPoses(kind="sweep", period_s=20.0).trajectory()
FPS = 15.0
STRIDE = 4
"""Frames between two estimates: what a tracker sees that is slower than the stream."""


def frame_target(pose, number):
    """What the chain, noise on, makes of a pose."""
    chain = ImageChain(device(), seed=0)
    image = chain.apply(rendered(view_at(pose)), CHAIN, number, DETECTOR.pixel_spacing_mm, DETECTOR)
    return target_from_frame(device().to_host(image), CHAIN, DETECTOR.pixel_spacing_mm)


def registrar(starts=32, **changes):
    wanted = changed(settings(starts), **changes)
    return Registrar(thorax(), device(), wanted, center_xyz_mm=center())


@cache
def settings(starts):
    return RegistrationSettings(
        widths_px=(24, 48, 96), measure="ncc", multi_start=MultiStart(starts=starts), attempts=1
    )


def displaced(pose, seed, distance_mm):
    matrix = displacement(seed, distance_mm) @ pose.world_from_carm(center())
    return CarmPose.from_world_from_carm(matrix, center())


def tracker(start, starts=32):
    return PoseTracker(registrar(starts), start, center())


def track(found, pose, number):
    return found.track(frame_target(pose, number), DETECTOR, number, number / FPS)


def error_mm(estimate, pose):
    truth = pose.world_from_carm(center())
    return mtre_mm(estimate.world_from_carm, truth, cube_corners_xyz_mm(center()))


def nothing(seed=1):
    return target(2 + blobs((96, 96), seed, 4.0).astype(np.float32))


# -- tracking ----------------------------------------------------------------------------------


def test_a_sweep_is_tracked_to_less_than_a_millimetre_from_a_start_that_is_wrong():
    found = tracker(displaced(SWEEP(0), 0, 15.0))
    numbers = range(20, 20 + 8 * STRIDE, STRIDE)
    poses = [SWEEP(n / FPS) for n in numbers]
    estimates = [track(found, pose, n) for n, pose in zip(numbers, poses, strict=True)]
    assert all(estimate.converged for estimate in estimates)
    assert [estimate.number for estimate in estimates] == list(numbers)
    errors = [error_mm(estimate, pose) for estimate, pose in zip(estimates, poses, strict=True)]
    assert np.median(errors) < 1.0
    assert max(errors) < 2.0
    assert all(e.ncc > 0.99 and 0 < e.residual < 0.2 for e in estimates)


def test_pose_and_matrix_of_an_estimate_are_the_same():
    estimate = track(tracker(SWEEP(1)), SWEEP(1), 15)
    matrix = estimate.pose.world_from_carm(center())
    np.testing.assert_allclose(matrix, estimate.world_from_carm, atol=1e-9)


def test_motion_is_continued_at_constant_velocity():
    first, second = CarmPose(lao_deg=5), CarmPose(lao_deg=9, translation_mm=(0, 0, 6))
    found = tracker(first)
    for number, pose in ((0, first), (4, second)):
        assert track(found, pose, number).converged
    expected = CarmPose.from_world_from_carm(found.predicted(6 / FPS), center())
    assert expected.lao_deg == pytest.approx(11.0, abs=0.2)
    assert expected.translation_mm[2] == pytest.approx(9.0, abs=0.5)
    held = PoseTracker(registrar(), first, center(), predict=False)
    for number, pose in ((0, first), (4, second)):
        last = track(held, pose, number)
    np.testing.assert_array_equal(held.predicted(6 / FPS), last.world_from_carm)


def test_an_image_of_something_else_loses_the_pose_and_the_next_frame_finds_it(caplog):
    found = tracker(SWEEP(0), starts=1)
    assert track(found, SWEEP(0), 0).converged
    with caplog.at_level(logging.WARNING):
        for number in (4, 8):
            lost = found.track(nothing(number), DETECTOR, number, number / FPS)
            assert not lost.converged
            assert found.lost
    assert [record.message[:26] for record in caplog.records] == ["frame 4: the pose is lost:"]
    again = track(found, SWEEP(12 / FPS), 12)
    assert again.converged
    assert not found.lost
    assert caplog.records[-1].message == "frame 12: the pose is found again by follow"


def test_a_stream_of_a_c_arm_with_another_distance_is_followed_but_not_believed(caplog):
    other = replace(DETECTOR, source_to_detector_mm=1.06 * DETECTOR.source_to_detector_mm)
    found = tracker(SWEEP(0))
    with caplog.at_level(logging.WARNING):
        estimates = [
            found.track(frame_target(SWEEP(n / FPS), n), other, n, n / FPS) for n in range(3)
        ]
    for estimate in estimates:
        assert not estimate.converged
        assert estimate.reason.startswith("distance or pixel size?")
        assert "carm.source_to_detector_mm" in estimate.next_step
        assert estimate.state == "in doubt"
        assert estimate.confidence < 0.5
        assert estimate.way == "follow"  # other starts do not help
    assert [record.message[:26] for record in caplog.records] == ["frame 0: the pose is in do"]
    assert not found.lost


def test_the_lengths_are_tested_in_the_first_frame_and_now_and_then(monkeypatch):
    tested = []
    monkeypatch.setattr(tracking, "fit_pose", lambda *given: tested.append(1) or fit_pose(*given))
    found, counts = tracker(SWEEP(0)), []
    for number in range(LENGTHS_EVERY + 2):
        estimate = track(found, SWEEP(0), number)
        assert estimate.converged
        assert estimate.confidence > 0.9  # the last test counts in between
        counts.append(len(tested))
    assert counts == [1] * LENGTHS_EVERY + [2, 2]


def test_a_jump_that_following_does_not_bridge_is_searched_for():
    start = CarmPose(lao_deg=20)
    jumped = displaced(start, 4, 120.0)
    without = tracker(start, starts=1)
    assert track(without, start, 0).converged
    assert not track(without, jumped, 4).converged
    found = PoseTracker(registrar(128), start, center())
    assert track(found, start, 0).converged
    estimate = track(found, jumped, 4)
    assert (estimate.way, estimate.converged) == ("search", True)
    assert error_mm(estimate, jumped) < 2.0


def test_a_frame_that_shows_nothing_loses_the_pose_without_an_error():
    found = tracker(SWEEP(0))
    estimate = found.blind("all white", DETECTOR, 3, 3 / FPS)
    assert (estimate.converged, estimate.reason, estimate.number) == (False, "all white", 3)
    assert found.lost
    assert estimate.rendered.shape == (96, 96)


def test_a_target_that_does_not_fit_the_detector_is_refused():
    with pytest.raises(InputError, match=r"detector's shape \(96, 96\), got \(40, 40\)"):
        tracker(SWEEP(0)).track(target(blobs((40, 40), 0, 3.0)), DETECTOR, 0, 0.0)


def test_a_tracker_that_cannot_work_is_refused():
    with pytest.raises(InputError, match=r"widths_px must end with at least 16 .*, got \[8\]"):
        PoseTracker(registrar(widths_px=(8,)), SWEEP(0), center())
    information = RegistrationSettings(measure="mutual_information", optimiser="lbfgs")
    with pytest.raises(InputError, match="mutual_information"):
        PoseTracker(Registrar(thorax(), device(), information), SWEEP(0), center())


# -- frames as targets -------------------------------------------------------------------------


@pytest.mark.parametrize("polarity", ["bone_dark", "bone_bright"])
@pytest.mark.parametrize("log", [True, False])
def test_the_window_is_undone_and_what_it_clipped_is_masked(polarity, log):
    integrals = np.linspace(0.0, 6.0, 64, dtype=np.float32).reshape(8, 8)
    window = WindowConfig(level=3.0, width=4.0) if log else WindowConfig(level=0.2, width=0.3)
    config = ImageChainConfig(poisson=False, window=window, polarity=polarity, log=log)
    image = ImageChain(device(), 0).apply(integrals, config, 0, 1.0, DETECTOR)
    found = target_from_frame(image, config, 1.0)
    assert 0.2 < found.mask.mean() < 0.8
    np.testing.assert_allclose(found.image[found.mask], integrals[found.mask], atol=2e-4)
    np.testing.assert_allclose(shown(integrals, config), image, atol=1e-5)


SHADES = {
    "inverse_square": {"inverse_square": True},
    "heel": {"heel_anode_side": "left"},
    "collimator": {"collimator": {"kind": "rectangle", "width_mm": 250, "height_mm": 200}},
    "wedge": {"wedge": {"side": "top", "thickness_mm": 8, "reach_mm": 150}},
    "bow_tie": {"bow_tie": {"thickness_mm": 10, "half_width_mm": 150}},
    "image_intensifier": {"image_intensifier": {"diameter_mm": 260}},
    "gain": {"gain": 1.4, "bias": 0.02},
}
UNSHADED = {name: getattr(ImageChainConfig(), name) for name in (*SHADING, "bias")}
SHADES["all"] = {key: value for shade in SHADES.values() for key, value in shade.items()}


@pytest.mark.parametrize("log", [True, False])
@pytest.mark.parametrize("shade", SHADES.values(), ids=SHADES)
def test_what_is_known_to_shade_a_frame_is_undone(shade, log):
    """Through the chain's own kernels, the detector off the central ray."""
    detector = replace(DETECTOR, detector_offset_mm=(30.0, -20.0))
    height, width = detector.detector_height_px, detector.detector_width_px
    integrals = np.linspace(0.5, 2, height * width, dtype=np.float32).reshape(height, width)
    window = {"level": 2.0, "width": 6.0} if log else {"level": 0.5, "width": 1.0}
    config = ImageChainConfig.model_validate(
        {"poisson": False, "log": log, "window": window, **shade}
    )
    pitch_mm = detector.pixel_spacing_mm
    image = ImageChain(device(), 0).apply(integrals, config, 0, pitch_mm, detector)
    plain = target_from_frame(image, config.model_copy(update=UNSHADED), pitch_mm)
    found = target_from_frame(image, config, pitch_mm, detector)
    assert found.mask.mean() > 0.2
    np.testing.assert_allclose(found.image[found.mask], integrals[found.mask], atol=1e-3)
    assert np.abs(plain.image - integrals)[found.mask].max() > 0.02


# -- servo -------------------------------------------------------------------------------------


def estimate_at(pose, number=0, *, converged=True):
    """An estimate that says so, whatever the image."""
    base = tracker(pose).blind("", DETECTOR, number, 0.0)
    return base.__class__(**{**vars(base), "converged": converged})


def test_each_move_of_the_servo_is_no_longer_than_a_step_and_leads_to_the_view():
    wanted, stood = CarmPose(lao_deg=20, cra_deg=5), CarmPose(translation_mm=(10, 0, 0))
    servo = Servo(wanted, center(), tolerance_mm=0.5, step_mm=8.0)
    corners = cube_corners_xyz_mm(center())
    for _ in range(20):
        pose = servo.move(estimate_at(stood), stood)
        if pose is None:
            break
        before, after = (p.world_from_carm(center()) for p in (stood, pose))
        assert mtre_mm(after, before, corners) < 8.5
        stood = pose
    assert servo.reached
    assert servo.facts()["mtre_mm"] < 0.5


def test_the_servo_moves_relative_to_where_it_stood_not_to_the_estimate():
    wanted = CarmPose(lao_deg=10)
    servo = Servo(wanted, center(), tolerance_mm=0.1, step_mm=1000.0)
    believed, stood = CarmPose(lao_deg=4), CarmPose(lao_deg=7)
    assert servo.move(estimate_at(believed), stood).lao_deg == pytest.approx(13.0)
    assert not servo.reached


def test_the_servo_stays_where_the_estimate_is_not_believed():
    stood = CarmPose(lao_deg=3)
    servo = Servo(CarmPose(lao_deg=3), center(), tolerance_mm=1.0, step_mm=5.0)
    assert servo.move(estimate_at(stood, converged=False), stood) == stood
    assert servo.facts()["reached"] is False


def test_a_servo_that_only_believes_to_be_there_has_not_reached_the_view():
    wanted = CarmPose(lao_deg=10)
    servo = Servo(wanted, center(), tolerance_mm=1.0, step_mm=5.0)
    assert servo.move(estimate_at(wanted), CarmPose(lao_deg=15)) is None
    assert not servo.reached


def test_a_servo_without_tolerance_is_refused():
    with pytest.raises(InputError, match="must be positive, got 0 and 5"):
        Servo(CarmPose(), center(), tolerance_mm=0, step_mm=5)


# -- loss and optimiser ------------------------------------------------------------------------


def pose_loss(**options):
    renderer = DrrRenderer(thorax(), device(), projector="joseph")
    return PoseLoss(renderer, center(), width_px=48, **options)


@pytest.mark.parametrize("measure", ["ncc", "mse", "mutual_information"])
def test_gradient_of_the_loss_agrees_with_differences(measure):
    loss, seen = pose_loss(measure=measure), target(rendered(view_at()))
    pose = CarmPose(lao_deg=26, cra_deg=5, roll_deg=1, translation_mm=(4, -2, 1))
    evaluation = loss(pose, seen, DETECTOR, iteration=3, jacobian=True)
    assert evaluation.iteration == 3
    assert evaluation.image.shape == (48, 48)
    assert evaluation.jacobian.shape == (6, 48, 48)
    scale = np.array([0.01] * 3 + [1.0] * 3)  # turns [rad] beside shifts [mm]
    steepest = evaluation.gradient * scale
    direction = steepest / np.linalg.norm(steepest) * scale
    ends = []
    for step in (0.1, -0.1):
        moved = motion_about(step * direction, center()) @ pose.world_from_carm(center())
        ends.append(loss(CarmPose.from_world_from_carm(moved, center()), seen, DETECTOR).loss)
    difference = (ends[0] - ends[1]) / 0.2
    assert evaluation.gradient @ direction == pytest.approx(difference, rel=0.01)


def test_the_jacobian_is_handed_out_only_where_it_is_requested():
    seen = target(rendered(view_at()))
    assert pose_loss()(CarmPose(), seen, DETECTOR).jacobian is None
    with pytest.raises(InputError, match=r"detector's shape"):
        pose_loss()(CarmPose(), target(blobs((40, 40), 0, 3.0)), DETECTOR)


def test_the_example_optimiser_finds_the_pose():
    truth = CarmPose(lao_deg=20, cra_deg=8, roll_deg=3, translation_mm=(6.0, -4.0, 9.0))
    optimiser = load_optimiser("examples.my_optimiser:MomentumDescent", {"rate_mm": 2.0})
    descent = OptimiserLoop(optimiser, displaced(truth, 1, 15.0), center())
    loss, seen = pose_loss(), frame_target(truth, 0)
    while not descent.ended(200):
        iteration = len(descent.rows())
        descent.take(loss(descent.pose, seen, DETECTOR, iteration=iteration), truth)
    facts = descent.facts()
    assert facts["stopped"]
    assert facts["mtre_start_mm"] == pytest.approx(15.0)
    assert facts["mtre_mm"] < 1.5
    assert facts["loss"] < facts["loss_start"] / 10


class Clumsy:
    """A user's errors."""

    def __init__(self, answer):
        self._answer = answer

    def step(self, _evaluation):
        if isinstance(self._answer, BaseException):
            raise self._answer
        return self._answer


class WithoutStep:
    """Lacks the one method; fails when it is called."""

    def __init__(self):
        raise AssertionError("called before it was checked")


class Quitter:
    """Ends the program."""

    def __init__(self):
        raise SystemExit(0)

    def step(self, _evaluation):
        """Never called."""


EVALUATION = PoseGradient(
    iteration=7, loss=0.5, gradient=np.zeros(6), image=np.zeros((2, 2), np.float32), jacobian=None
)


@pytest.mark.parametrize(
    "answer", [[1, 2], np.full(6, np.nan), "left", RuntimeError("oops"), SystemExit(0)]
)
def test_a_step_that_is_none_is_one_line(answer):
    with pytest.raises(InputError, match=r"^optimiser: Clumsy.step [^\n]*$"):
        checked_step(Clumsy(answer), EVALUATION)


@pytest.mark.parametrize(
    ("name", "keywords", "message"),
    [
        ("no_such.module:A", {}, "optimiser.class: no_such.module cannot be imported"),
        ("examples.my_optimiser:Nothing", {}, "has no class Nothing"),
        ("examples.my_optimiser:np", {}, "has no class np"),
        ("examples.my_optimiser:MomentumDescent", {"speed": 1}, "optimiser.settings: Momentum"),
        ("tests.registration.test_tracking:WithoutStep", {}, "must have a method step"),
        ("tests.registration.test_tracking:Quitter", {}, "does not take them: SystemExit: 0"),
    ],
)
def test_an_optimiser_that_cannot_be_loaded_is_one_line(name, keywords, message):
    with pytest.raises(InputError, match=message) as caught:
        load_optimiser(name, keywords)
    assert "\n" not in str(caught.value)


# -- record and configuration ------------------------------------------------------------------


def test_the_record_scores_estimates_and_keeps_no_images(tmp_path):
    record = TrackRecord(center())
    assert record.summary()["median_mtre_mm"] is None
    for number, off_mm in enumerate((0.0, 2.0, 4.0)):
        estimate = estimate_at(CarmPose(), number, converged=number != 1)
        record.add(estimate, CarmPose(translation_mm=(off_mm, 0, 0)))
    summary = record.summary()
    assert (summary["estimates"], summary["not_converged"]) == (3, 1)
    assert summary["median_mtre_mm"] == pytest.approx(2.0)
    assert [row["mtre_mm"] for row in record.rows()] == pytest.approx([0.0, 2.0, 4.0])
    assert all(scored.estimate.rendered.size == 0 for scored in record.estimates)
    write_tracking_plot(tmp_path / "tracking.png", record.estimates)
    rows = [{"iteration": 0, "loss": 0.5, "mtre_mm": 3.0}]
    write_optimiser_plot(tmp_path / "descent.png", rows)
    assert (tmp_path / "tracking.png").stat().st_size > 5000


def test_the_image_beside_an_estimate_has_its_size():
    estimate = estimate_at(CarmPose())
    image = np.kron(np.eye(96, dtype=np.float32), np.ones((2, 2), np.float32))
    np.testing.assert_array_equal(TrackedFrame.of(estimate, image).image, np.eye(96))


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"pose_source": {"kind": "servo", "wanted": {}}}, "servo needs registration.enabled"),
        ({"optimiser": {"class": "a:B"}}, "after how many frames a loop gives up"),
        ({"optimiser": {"class": "a:B"}, "registration": {"enabled": True}}, "cannot run beside"),
        ({"optimiser": {"class": "nonsense"}}, "class"),
        (
            {"registration": {"measure": "mutual_information", "optimiser": "lbfgs"}},
            "mutual_information cannot track a stream",
        ),
        ({"registration": {"optimiser": "adam"}}, "adam cannot track a stream"),
        ({"registration": {"width_px": 64}}, r"registration\.width_px\s+Extra inputs"),
        ({"registration": {"search_starts": 0}}, r"registration\.search_starts\s+Extra inputs"),
    ],
)
def test_a_loop_that_lacks_a_part_is_refused(sections, message):
    base = {"volume": {"phantom": "thorax"}, "pose_source": {"kind": "static"}}
    with pytest.raises(ValueError, match=message):
        Config.model_validate({**base, **sections})


def test_a_start_is_given_or_drawn_not_both():
    with pytest.raises(ValueError, match="has no effect beside pose"):
        StartConfig.model_validate({"pose": {"lao_deg": 3}, "seed": 1})

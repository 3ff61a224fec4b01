"""Time of a run: of an image's content, of films, of beam-on time and rates, of bags."""

import logging
import threading
import time

import av
import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from tests.dds_support import own_domain, peer
from tests.session_support import record_of, run_small, small_ct, small_document, use_cache

# isort: split

from fluoro.config import Config
from fluoro.console.controls import LiveControls
from fluoro.errors import InputError
from fluoro.geometry.carm import CarmGeometry, CarmPose
from fluoro.imaging.frame import PoseOrigin
from fluoro.interop.bag.mcap_bag import IMAGE_TYPE, POSE_TYPE, BagImages, read_poses
from fluoro.interop.dds.image_messages import image_message
from fluoro.interop.dds.pose_messages import pose_message
from operators.stream_clock import StreamClock

SECOND_NS = 1_000_000_000
START_NS = 1_790_000_000 * SECOND_NS
ORIGIN = (0.0, 0.0, 0.0)


# -- a frame's times ---------------------------------------------------------------------------


def config_of(pose_source, **run):
    """A configuration with contrast, at 30 frames a second."""
    return Config.model_validate(
        {
            "volume": {"phantom": "thorax", "contrast": {"vessels": "aorta", "start_s": None}},
            "pose_source": pose_source,
            "dds": {"frames": {"protocol": "ros2"}},
            "run": {"fps": 30, **run},
        }
    )


def headers(config, stamps_s, issued_s, pauses=()):
    """Headers of frames by the stamps of their poses and the times at which they are issued."""
    clock, state = StreamClock(config), LiveControls.from_config(config).snapshot()
    made = []
    for number, (stamp_s, at_s) in enumerate(zip(stamps_s, issued_s, strict=True)):
        if number in pauses:
            clock.pause()
        stamp_ns = None if stamp_s is None else round(stamp_s * 1e9)
        made.append(
            clock.header(
                state,
                number=number,
                pose=CarmPose(),
                geometry=CarmGeometry(),
                stamps_ns={"pose": START_NS + round(at_s * 1e9)},
                origin=stamp_ns
                and PoseOrigin(stamp_ns=stamp_ns, sequence=number, time_ns=stamp_ns),
            )
        )
    return made


ISSUED_S = [5.0, 5.1, 5.25, 5.3]
STAMPS_S = [100.0, 100.5, 103.0, 103.1]
OWN = [None] * 4


@pytest.mark.parametrize(
    ("source", "run", "stamps_s", "content_s", "shown_s"),
    [
        ({"kind": "dds"}, {}, STAMPS_S, [0, 0.5, 3, 3.1], [0, 0.1, 0.25, 0.3]),
        (
            {"kind": "dds", "trigger": "lockstep"},
            {},
            STAMPS_S,
            [0, 0.5, 3, 3.1],
            [0, 0.5, 3, 3.1],
        ),
        ({"kind": "sweep"}, {}, OWN, [0, 1 / 30, 2 / 30, 0.1], [0, 0.1, 0.25, 0.3]),
        (
            {"kind": "sweep"},
            {"pacing": "free_running"},
            OWN,
            [0, 1 / 30, 2 / 30, 0.1],
            [0, 1 / 30, 2 / 30, 0.1],
        ),
    ],
    ids=["received", "lockstep", "paced", "free_running"],
)
def test_content_film_and_beam_have_their_own_times(source, run, stamps_s, content_s, shown_s):
    made = headers(config_of(source, **run), stamps_s, ISSUED_S)
    np.testing.assert_allclose([header.time_s for header in made], content_s, atol=1e-6)
    np.testing.assert_allclose([header.shown_s for header in made], shown_s, atol=1e-6)
    beam_s = np.array(shown_s) + 1 / 30
    np.testing.assert_allclose([header.beam_s for header in made], beam_s, atol=1e-6)


def test_time_with_the_beam_off_is_no_beam_on_time():
    made = headers(config_of({"kind": "dds"}), STAMPS_S, [0, 0.1, 7.0, 7.2], pauses=[2])
    assert made[-1].beam_s == pytest.approx(0.1 + 0.2 + 2 / 30)
    assert made[-1].shown_s == pytest.approx(7.2)


# -- whole runs --------------------------------------------------------------------------------


@pytest.fixture
def document(tmp_path, monkeypatch):
    """Makes settings of a small run in a folder of the test's own."""
    use_cache(tmp_path, monkeypatch)
    return lambda **sections: small_document(small_ct(tmp_path), tmp_path / "out", **sections)


def film_times_s(path):
    """When a film starts, and when it shows each image [s]."""
    with av.open(str(path)) as film:
        times_s = [frame.time for frame in film.decode(video=0)]
        return film.start_time / av.time_base, times_s


def posed_s(record):
    """When the poses of a run were issued, from the first [s]."""
    stamps = [frame["stamps_ns"]["pose"] for frame in record["per_frame"]]
    return (np.array(stamps) - stamps[0]) * 1e-9


@pytest.mark.dds
def test_film_and_beam_on_time_of_a_robot_slower_than_the_frame_rate_are_real(document):
    """The robot sends 100 poses a second, run.fps is 1000."""
    source = {"kind": "dds", "watchdog_ms": 60_000}
    settings = document(
        pose_source=source,
        dds={"domain": own_domain()},
        recorder={"formats": ["mp4"]},
        run={"frames": 40, "fps": 1000},
    )
    with peer("poses", "7") as process:
        threading.Thread(target=process.stdout.read, daemon=True).start()
        outcome = run_small(settings)
    record = record_of(outcome.folder)
    expected_s = posed_s(record)
    assert expected_s[-1] > 0.3
    start_s, times_s = film_times_s(outcome.folder / "frames.mp4")
    assert start_s == 0
    np.testing.assert_allclose(times_s, expected_s, atol=1e-4)
    assert record["dose"]["beam_s"] == pytest.approx(expected_s[-1] + 1e-3, abs=2e-3)
    ended_ns = [frame["stamps_ns"]["chain_end"] for frame in record["per_frame"]]
    assert record["fps"] == pytest.approx(39e9 / (ended_ns[-1] - ended_ns[0]), rel=1e-3)


def test_rates_and_film_do_not_follow_a_clock_that_is_set_back(document, monkeypatch):
    now_ns, set_back = time.time_ns, []

    def each(frames):
        if frames >= 5:
            set_back.append(True)

    monkeypatch.setattr(time, "time_ns", lambda: now_ns() - 3600 * SECOND_NS * bool(set_back))
    settings = document(recorder={"formats": ["mp4"]}, run={"frames": 60, "fps": 60})
    outcome = run_small(settings, each)
    assert set_back
    record = record_of(outcome.folder)
    assert 0.1 < record["fps"] < 80
    assert (np.diff(posed_s(record)) > 0).all()
    assert all(ms["p99"] < 60_000 for ms in record["latency_ms"].values())
    _, times_s = film_times_s(outcome.folder / "frames.mp4")
    np.testing.assert_allclose(times_s, posed_s(record), atol=1e-4)


def test_films_of_a_run_start_at_0(document):
    recorder = {"formats": ["mp4"], "scene_movie": True}
    folder = run_small(document(recorder=recorder, run={"frames": 6})).folder
    for name in ("frames.mp4", "carm_sweep.mp4"):
        start_s, times_s = film_times_s(folder / name)
        assert (start_s, times_s[0]) == (0, 0)
        assert len(times_s) == 6


# -- bags --------------------------------------------------------------------------------------


def write_bag(folder, stamps_s, bag_s, *, with_images=False):
    """A bag of poses of LAO 0, 1, 2 ... degrees; with an image of each, a millisecond later."""
    bag = Writer(folder, version=9, storage_plugin=StoragePlugin.MCAP)
    store = get_typestore(Stores.ROS2_JAZZY)
    with bag:
        poses = bag.add_connection("/pose", POSE_TYPE, typestore=store)
        images = bag.add_connection("/image", IMAGE_TYPE, typestore=store)
        for number, (stamp_s, time_s) in enumerate(zip(stamps_s, bag_s, strict=True)):
            stamp_ns, time_ns = round(stamp_s * 1e9), START_NS + round(time_s * 1e9)
            pose = pose_message(CarmPose(lao_deg=float(number)), ORIGIN, stamp_ns)
            bag.write(poses, time_ns, pose.serialize())
            if with_images:
                image = image_message(np.full((3, 4), number / 8, np.float32), "32FC1", stamp_ns)
                bag.write(images, time_ns + 1_000_000, image.serialize())
    return folder


BAG_S = [0.0, 0.1, 0.3, 0.35]
UNUSABLE = {"zero": [0, 0, 0, 0], "constant": [7, 7, 7, 7], "restarting": [50, 51, 3, 4]}


@pytest.mark.parametrize("stamps_s", UNUSABLE.values(), ids=UNUSABLE)
def test_poses_of_a_bag_whose_stamps_do_not_rise_have_the_bags_own_time(tmp_path, caplog, stamps_s):
    times_s, poses = read_poses(write_bag(tmp_path / "bag", stamps_s, BAG_S), "/pose", ORIGIN)
    np.testing.assert_allclose(times_s, BAG_S, atol=1e-6)
    assert [pose.lao_deg for pose in poses] == pytest.approx([0, 1, 2, 3])
    (line,) = caplog.messages
    assert "stamps of /pose are zero or do not rise; the bag's own time is used" in line


@pytest.mark.parametrize("stamps_s", UNUSABLE.values(), ids=UNUSABLE)
def test_images_of_a_bag_whose_stamps_do_not_rise_have_the_poses_of_their_time(tmp_path, stamps_s):
    folder = write_bag(tmp_path / "bag", stamps_s, BAG_S, with_images=True)
    images = BagImages(folder, "/image", "/pose", ORIGIN, (3, 4))
    shown = [images.next() for _ in BAG_S]
    images.close()
    assert [image.image[0, 0] * 8 for image in shown] == [0, 1, 2, 3]
    assert [image.pose.lao_deg for image in shown] == pytest.approx([0, 1, 2, 3])
    times_s = (np.array([image.time_ns for image in shown]) - START_NS) * 1e-9
    np.testing.assert_allclose(times_s, np.array(BAG_S) + 1e-3, atol=1e-6)


def test_stamps_of_a_bag_that_rise_are_its_times(tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    folder = write_bag(tmp_path / "bag", STAMPS_S, BAG_S)
    np.testing.assert_allclose(read_poses(folder, "/pose", ORIGIN)[0], [0, 0.5, 3, 3.1], atol=1e-6)
    assert not caplog.messages


def test_bag_without_any_time_is_refused(tmp_path):
    folder = write_bag(tmp_path / "bag", [7] * 4, [0] * 4)
    with pytest.raises(InputError, match="/pose must have stamps or times that rise, got neither"):
        read_poses(folder, "/pose", ORIGIN)

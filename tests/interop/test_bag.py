"""ROS 2 bags: any ROS 2 reader finds the frames, and a run replayed from its bag is the same."""

import errno

import numpy as np
import pytest
from rosbags.highlevel import AnyReader
from ruamel.yaml import YAML

from tests.dds_support import wait_until
from tests.operators.test_graph import catch_controls
from tests.operators.test_tracking_graph import SMALL
from tests.session_support import (
    ROOT,
    QuietReporter,
    images_of,
    record_of,
    run_session,
    run_small,
    small_ct,
    small_document,
    use_cache,
)

# isort: split

from fluoro.config import Config, load_config
from fluoro.console.server import Console
from fluoro.errors import InputError, OutputError
from fluoro.interop.bag.bag_repair import repair_bag
from fluoro.interop.bag.mcap_bag import BagImages, read_poses

FRAMES = 6
SWEEP = {"kind": "sweep", "period_s": 1.0, "roll_deg": 5.0, "translation_mm": [3.0, -4.0, 5.0]}


def recorded(folder, **sections):
    folder.mkdir()
    sections = {"pose_source": SWEEP, "dds": {"bag": True}, **sections}
    settings = small_document(small_ct(folder), folder, **sections)
    settings["run"]["frames"] = FRAMES
    return run_small(settings)


def test_bag_holds_every_frame_in_ros_2s_own_types(tmp_path):
    outcome = recorded(tmp_path / "a")
    expected = images_of(outcome.folder)
    with AnyReader([outcome.folder / "bag"]) as reader:
        topics = {connection.topic: connection.msgtype for connection in reader.connections}
        images = [
            reader.deserialize(data, connection.msgtype)
            for connection, _, data in reader.messages()
            if connection.topic == "/fluoro/image_raw"
        ]
    assert topics == {
        "/fluoro/image_raw": "sensor_msgs/msg/Image",
        "/fluoro/camera_info": "sensor_msgs/msg/CameraInfo",
        "/fluoro/carm_pose": "geometry_msgs/msg/PoseStamped",
        "/fluoro/camera_pose": "geometry_msgs/msg/PoseStamped",
        "/fluoro/frame_info": "diagnostic_msgs/msg/DiagnosticArray",
    }
    assert len(images) == FRAMES
    for image, wanted in zip(images, expected, strict=True):
        seen = image.data.reshape(image.height, image.width) / 255
        np.testing.assert_allclose(seen, wanted, atol=0.5 / 255 + 1e-6)
    assert outcome.summary["dropped"]["bag"] == 0


def metadata_as_read(folder, *, version_9_qos):
    """The topics' durability, read as rosbag2's metadata_io.cpp and qos.cpp read it, or an error.

    Humble and Iron take `offered_qos_profiles` for a string of YAML with numbers of policies; Jazzy
    does so up to version 8, and takes a list with names from version 9 on.
    """
    text = (folder / "metadata.yaml").read_text()
    info = YAML(typ="safe").load(text)["rosbag2_bagfile_information"]
    for key, kind in (("version", int), ("storage_identifier", str), ("message_count", int)):
        assert type(info[key]) is kind
    for key in ("compression_format", "compression_mode", "ros_distro"):
        assert type(info[key]) is str
    assert type(info["starting_time"]["nanoseconds_since_epoch"]) is int
    found = {}
    for entry in info["topics_with_message_count"]:
        topic = entry["topic_metadata"]
        offered = topic["offered_qos_profiles"]
        assert type(offered) is (list if version_9_qos and info["version"] >= 9 else str)
        (profile,) = YAML(typ="safe").load(offered)
        assert all(type(profile[key]) is int for key in ("history", "reliability", "durability"))
        assert {*profile["deadline"], *profile["lifespan"]} == {"sec", "nsec"}
        found[topic["name"]] = profile["durability"]
    return found


VOLATILE, TRANSIENT_LOCAL = 2, 1


@pytest.mark.parametrize("version_9_qos", [False, True], ids=["Humble and Iron", "Jazzy"])
def test_metadata_is_read_by_each_distribution(tmp_path, version_9_qos):
    dds = {"bag": True, "frames": {"transforms": True, "camera": True}}
    folder = recorded(tmp_path / "a", dds=dds).folder / "bag"
    found = metadata_as_read(folder, version_9_qos=version_9_qos)
    assert found["/tf_static"] == TRANSIENT_LOCAL
    assert set(found.values()) == {VOLATILE, TRANSIENT_LOCAL}
    assert "/fluoro/camera/image_raw" in found
    (folder / "metadata.yaml").unlink()
    assert repair_bag(folder) > 0
    assert metadata_as_read(folder, version_9_qos=version_9_qos) == found


def test_poses_of_a_bag_are_those_of_the_run(tmp_path):
    outcome = recorded(tmp_path / "a")
    isocenter = (0.0, 0.0, 0.0)
    times_s, poses = read_poses(outcome.folder / "bag", "/fluoro/carm_pose", isocenter)
    frames = record_of(outcome.folder)["per_frame"]
    assert times_s[0] == 0.0
    assert (np.diff(times_s) > 0).all()
    for pose, frame in zip(poses, frames, strict=True):
        assert pose.lao_deg == pytest.approx(frame["pose"]["lao_deg"], abs=1e-9)
        assert pose.translation_mm == pytest.approx(frame["pose"]["translation_mm"], abs=1e-9)


def test_bag_is_replayed_as_a_source_of_poses(tmp_path):
    first = recorded(tmp_path / "a")
    source = {"kind": "bag", "path": str(first.folder / "bag")}
    again = recorded(tmp_path / "b", pose_source=source, dds={})
    shown = [frame["pose"] for frame in record_of(first.folder)["per_frame"]]
    replayed = [frame["pose"] for frame in record_of(again.folder)["per_frame"]]
    assert replayed[0]["lao_deg"] == pytest.approx(shown[0]["lao_deg"], abs=1e-9)
    assert replayed[0]["translation_mm"] == pytest.approx([3.0, -4.0, 5.0])
    assert {round(pose["roll_deg"], 6) for pose in replayed} == {5.0}


def test_topic_that_holds_no_poses_is_named(tmp_path):
    outcome = recorded(tmp_path / "a")
    for topic in ("/nope", "/fluoro/image_raw"):
        with pytest.raises(InputError, match=f"must hold {topic} of PoseStamped"):
            read_poses(outcome.folder / "bag", topic, (0, 0, 0))


def test_folder_that_is_no_bag_is_named(tmp_path):
    with pytest.raises(InputError, match="not a ROS 2 bag"):
        read_poses(tmp_path, "/fluoro/carm_pose", (0, 0, 0))


@pytest.mark.parametrize("step", ["add_connection", "write", "close"])
def test_bag_on_a_full_disk_is_one_line_that_names_it(tmp_path, monkeypatch, step):
    def full(*_arguments, **_options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(f"fluoro.interop.bag.mcap_bag.BagFile.{step}", full)
    with pytest.raises(OutputError, match="bag: cannot be written: No space left on device"):
        recorded(tmp_path / "a")


def test_bag_without_the_recorder_is_refused(tmp_path):
    settings = small_document("ct.nii", tmp_path, dds={"bag": True}, recorder={"enabled": False})
    with pytest.raises(ValueError, match=r"needs recorder\.enabled"):
        Config.model_validate(settings)


def test_images_of_a_bag_are_shown_again_with_their_poses(tmp_path):
    first = recorded(tmp_path / "a")
    source = {"kind": "bag", "path": str(first.folder / "bag"), "images": "/fluoro/image_raw"}
    settings = small_document(small_ct(tmp_path), tmp_path / "b", pose_source=source)
    settings["run"]["frames"] = None
    settings["carm"]["magnification"] = 1.5  # as if they had been recorded with it
    again = run_small(settings)
    assert (again.summary["frames"], again.summary["completed"]) == (FRAMES, True)
    shown, replayed = (record_of(outcome.folder)["per_frame"] for outcome in (first, again))
    for one, other in zip(shown, replayed, strict=True):
        assert other["pose"]["lao_deg"] == pytest.approx(one["pose"]["lao_deg"], abs=1e-9)
        assert other["pixel_spacing_mm"] == pytest.approx(one["pixel_spacing_mm"] / 1.5)
    grey_level = 0.5 / 255 + 1e-6  # the bag's mono8
    np.testing.assert_allclose(images_of(again.folder), images_of(first.folder), atol=grey_level)


def test_a_bag_waits_while_the_beam_is_off_and_its_image_follows_the_window(tmp_path, monkeypatch):
    first = recorded(tmp_path / "a")
    images, live, held = images_of(first.folder), [], []
    controls = catch_controls(monkeypatch)
    show = Console.show
    monkeypatch.setattr(Console, "show", lambda me, frame, status: (
        live.append(frame), show(me, frame, status),
    ))  # fmt: skip
    monkeypatch.setattr(Console, "show_again", lambda _, frame: held.append(frame))

    def each(frames):
        state = controls[0].snapshot()
        if frames >= 2 and state.version == 0:
            controls[0].update(beam_on=False)
            wait_until(lambda: len(held) == 1)
            controls[0].update(window_level=1.0, window_width=2.0)
            wait_until(lambda: len(held) == 2)
            controls[0].update(beam_on=True)

    source = {"kind": "bag", "path": str(first.folder / "bag"), "images": "/fluoro/image_raw"}
    sections = {"pose_source": source, "console": {"enabled": True, "port": 0}}
    settings = small_document(small_ct(tmp_path), tmp_path / "b", **sections)
    settings["run"] |= {"frames": None, "fps": 10}
    outcome = run_small(settings, each)
    assert outcome.summary["frames"] == FRAMES
    window = record_of(outcome.folder)["config"]["image_chain"]["window"]

    def narrow(image):
        values = window["level"] + (0.5 - image) * window["width"]
        return np.clip(0.5 - (values - 1.0) / 2.0, 0, 1)

    step = window["width"] / 2.0 / 255  # the bag's mono8 in the narrower window
    (_, again) = held  # one when the beam ended, one when the window changed
    np.testing.assert_allclose(again.image, narrow(images[again.number]), atol=step)
    np.testing.assert_allclose(live[-1].image, narrow(images[FRAMES - 1]), atol=step)
    recorded_again = images_of(outcome.folder)  # as the bag has them
    np.testing.assert_allclose(recorded_again, images, atol=0.5 / 255 + 1e-6)


def test_images_of_another_size_are_named(tmp_path):
    first = recorded(tmp_path / "a")
    source = {"kind": "bag", "path": str(first.folder / "bag"), "images": "/fluoro/image_raw"}
    settings = small_document(small_ct(tmp_path), tmp_path / "b", pose_source=source)
    settings["carm"]["detector_width_px"] = 40
    with pytest.raises(InputError, match="must have carm's detector size, 40 x 24, got 32 x 24"):
        run_small(settings)


def test_a_recorded_run_is_the_target_of_registration(tmp_path, monkeypatch):
    """The pose of each image of the bag is found; the bag's own poses are the score."""
    use_cache(tmp_path, monkeypatch)
    common = [*SMALL, "console.enabled=false", f"run.output_dir={tmp_path / 'out'}", "run.frames=6"]
    track = ROOT / "configs" / "track_sweep.yaml"
    off = ["registration.enabled=false", "dds.bag=true", "run.name=first"]
    first = run_session(load_config(track, [*common, *off]), "first", QuietReporter())
    source = f"{{kind: bag, path: {first.folder / 'bag'}, images: /fluoro/image_raw}}"
    again = [
        f"pose_source={source}",
        "registration.widths_px=[16, 32, 64]",
        "run.fps=1",
        "run.name=again",
    ]
    outcome = run_session(load_config(track, [*common, *again]), "again", QuietReporter())
    tracking = record_of(outcome.folder)["tracking"]
    assert tracking["estimates"] >= 3
    assert tracking["not_converged"] == 0
    assert tracking["median_mtre_mm"] < 1.0


def read_all(bag):
    poses = read_poses(bag, "/fluoro/carm_pose", (0, 0, 0))
    images = BagImages(bag, "/fluoro/image_raw", "/fluoro/carm_pose", (0, 0, 0), (24, 32))
    try:
        while images.next():
            pass
    finally:
        images.close()
    return poses


def test_damaged_bag_is_refused_in_one_line_or_read_as_far_as_it_is_sound(tmp_path):
    bag = recorded(tmp_path / "a").folder / "bag"
    random, refused = np.random.default_rng(1), []
    whole = {path: path.read_bytes() for path in bag.iterdir()}
    for number in range(150):
        for path, content in whole.items():
            damaged = bytearray(content)
            for _ in range(random.integers(0, 6)):
                damaged[random.integers(len(damaged))] = random.integers(256)
            end = random.integers(len(damaged)) if number % 3 == 0 else len(damaged)
            path.write_bytes(damaged[:end])
        try:
            read_all(bag)
        except InputError as error:
            refused.append(str(error))
    assert len(refused) > 30
    assert not any("\n" in line for line in refused)

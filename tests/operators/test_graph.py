"""Whole runs through a real Holoscan graph: order, pace, sinks, errors, signals, seeds."""

import os
import signal
import threading
import time
import weakref
from contextlib import suppress
from pathlib import Path

import av
import numpy as np
import pytest
import yaml
from PIL import Image

from tests.session_support import (
    HEIGHT_PX,
    WIDTH_PX,
    Program,
    images_of,
    record_of,
    run_small,
    small_ct,
    small_document,
    use_cache,
)

# isort: split

from fluoro.config import CarmConfig, Config
from fluoro.console.controls import LiveControls
from fluoro.console.server import Console
from fluoro.errors import DeviceError, OutputError
from fluoro.geometry.carm import CarmPose
from fluoro.geometry.from_config import make_geometry
from fluoro.imaging.chain import ImageChain
from fluoro.imaging.stages.order import HOLD
from fluoro.poses.base import FRAMES_AHEAD
from fluoro.recording.formats.array_files import NpyStream
from fluoro.recording.run_record import RunRecord
from fluoro.rendering.renderer import DrrRenderer
from operators.graph import FluoroApp
from operators.live_chain import held_config, with_controls
from operators.monitor import StreamMonitor
from operators.pose_source import PoseSourceOp
from tests.console_support import make_frame, wait_until


@pytest.fixture
def document(tmp_path, monkeypatch):
    """Makes settings of a small run in a folder of the test's own."""
    use_cache(tmp_path, monkeypatch)
    ct = small_ct(tmp_path)
    return lambda **sections: small_document(ct, tmp_path / "out", **sections)


def calls_before(monkeypatch, owner, name, act):
    """Let `act(count)` happen before each call of a method; count starts at 0."""
    original, lock, count = getattr(owner, name), threading.Lock(), iter(range(10**9))

    def method(self, *args, **kwargs):
        with lock:
            number = next(count)
        act(number)
        return original(self, *args, **kwargs)

    monkeypatch.setattr(owner, name, method)


def catch_controls(monkeypatch):
    """The controls that the next run makes, in a list."""
    made = []
    make = LiveControls.from_config

    def from_config(config):
        made.append(make(config))
        return made[0]

    monkeypatch.setattr(LiveControls, "from_config", from_config)
    return made


# -- the stream --------------------------------------------------------------------------------


@pytest.mark.parametrize("pacing", ["paced", "free_running"])
def test_frames_arrive_in_order_each_with_the_pose_of_its_number(document, pacing):
    settings = document(run={"pacing": pacing})
    outcome = run_small(settings)
    frames = record_of(outcome.folder)["per_frame"]
    assert [frame["number"] for frame in frames] == list(range(20))
    pose_at = Config.model_validate(settings).pose_source.trajectory()
    for frame in frames:
        pose = pose_at(frame["number"] / 200)
        assert frame["pose"]["lao_deg"] == pose.lao_deg
        assert frame["pose"]["cra_deg"] == pose.cra_deg
    assert images_of(outcome.folder).shape == (20, HEIGHT_PX, WIDTH_PX)


@pytest.mark.parametrize("pacing", ["paced", "free_running"])
def test_the_renderer_has_the_next_frame_in_time_and_no_pose_waits_longer(document, pacing):
    frames = record_of(run_small(document(run={"pacing": pacing})).folder)["per_frame"]
    begun, ended, posed = (
        [frame["stamps_ns"][stage] for frame in frames]
        for stage in ("render_start", "render_end", "pose")
    )
    assert all(begun[n + 1] >= ended[n] for n in range(len(frames) - 1))
    assert all(posed[n + FRAMES_AHEAD] >= ended[n] for n in range(len(frames) - FRAMES_AHEAD))


def test_run_json_has_every_figure(document):
    outcome = run_small(document(console={"enabled": True}))
    record = record_of(outcome.folder)
    assert record["frames"] == 20
    assert record["fps"] > 0
    assert record["first_frame_s"] > 0
    assert record["device"] == "CPU, 1 thread"
    assert record["seed"] == 0
    assert (record["completed"], record["stopped_by"]) == (True, "frames")
    assert record["dropped"].keys() == {"recorder", "console"}
    assert record["latency_ms"].keys() == {"queue", "render", "image_chain", "pose_to_frame"}
    assert all(ms.keys() == {"p50", "p95", "p99"} for ms in record["latency_ms"].values())
    for frame in record["per_frame"]:
        stamps = list(frame["stamps_ns"].values())
        assert list(frame["stamps_ns"]) == ["pose", "render_start", "render_end", "chain_end"]
        assert stamps == sorted(stamps)
    assert record["config"]["run"]["fps"] == 200
    assert outcome.summary == {k: v for k, v in record.items() if k != "per_frame"}


def test_every_kind_of_file_is_written(document):
    recorder = {"formats": ["mp4", "png", "npy", "npz"], "contact_sheet": True, "scene_movie": True}
    folder = run_small(document(recorder=recorder, run={"frames": 3})).folder
    names = {path.name for path in folder.iterdir()}
    assert names == {
        "frames", "frames.mp4", "frames.npy", "frames.npz",
        "contact_sheet.png", "carm_sweep.mp4", "run.json",
    }  # fmt: skip
    assert len(list((folder / "frames").iterdir())) == 3


def test_a_recording_tells_the_cameras_of_its_images(document):
    """From run.json alone they are those of frames.npz, where the volume sets the isocentre."""
    carm = {"magnification": 1.5, "detector_tilt_deg": [3, 0], "binning": 2}
    recorder = {"formats": ["npz"]}
    folder = run_small(document(carm=carm, recorder=recorder, run={"frames": 3})).folder
    record = record_of(folder)
    assert record["config"]["carm"]["isocenter_mm"] is None
    geometry = make_geometry(CarmConfig.model_validate(record["config"]["carm"]))
    with np.load(folder / "frames.npz") as archive:
        matrices = archive["pixel_from_world"]
    for frame, matrix in zip(record["per_frame"], matrices, strict=True):
        view = geometry.view(CarmPose(**frame["pose"]), record["isocenter_mm"])
        np.testing.assert_allclose(matrix, view.pixel_from_world, rtol=1e-9, atol=1e-9)


def test_a_second_run_of_the_same_name_gets_a_folder_of_its_own(document):
    first = run_small(document()).folder
    before = images_of(first)
    second = run_small(document(run={"seed": 5})).folder
    assert first != second
    np.testing.assert_array_equal(images_of(first), before)


def test_without_recorder_nothing_is_written(document, tmp_path):
    outcome = run_small(document(recorder={"enabled": False}))
    assert outcome.folder is None
    assert outcome.summary["frames"] == 20
    assert outcome.summary["dropped"] == {}
    assert not (tmp_path / "out").exists()


def test_waypoints_and_random_walk_drive_the_graph(document, tmp_path):
    path = tmp_path / "poses.csv"
    path.write_text("time_s,lao_deg,cra_deg\n0,0,0\n0.095,19,0\n")
    source = {"kind": "waypoints", "path": str(path)}
    frames = record_of(run_small(document(pose_source=source)).folder)["per_frame"]
    found = [frame["pose"]["lao_deg"] for frame in frames]
    np.testing.assert_allclose(found, np.arange(20), atol=1e-6)
    walk = document(pose_source={"kind": "random_walk"}, run={"seed": 3})
    one, same = (record_of(run_small(walk).folder)["per_frame"] for _ in range(2))
    assert [frame["pose"] for frame in one] == [frame["pose"] for frame in same]


# -- seeds -------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_images_and_another_seed_others(document):
    one, same, other = (
        images_of(run_small(document(run={"seed": seed})).folder) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, same)
    assert (one != other).mean() > 0.5


def test_noise_differs_from_frame_to_frame(document):
    images = images_of(run_small(document(pose_source={"kind": "static"})).folder)
    assert (images[0] != images[1]).mean() > 0.5


def test_a_drawn_seed_is_recorded_and_repeats_the_run(document):
    first = run_small(document(run={"seed": None}))
    seed = record_of(first.folder)["seed"]
    second = run_small(document(run={"seed": None}))
    assert record_of(second.folder)["seed"] != seed
    again = run_small(document(run={"seed": seed}))
    np.testing.assert_array_equal(images_of(again.folder), images_of(first.folder))


# -- slow sinks --------------------------------------------------------------------------------


def test_free_running_a_slow_recorder_holds_the_source_back_and_loses_nothing(
    document, monkeypatch
):
    issued, ahead = [], []
    calls_before(monkeypatch, PoseSourceOp, "_header", issued.append)

    def slow(written):
        ahead.append(len(issued) - written)
        time.sleep(0.02)

    calls_before(monkeypatch, NpyStream, "write", slow)
    settings = document(recorder={"queue_frames": 2}, run={"pacing": "free_running", "frames": 40})
    outcome = run_small(settings)
    assert len(images_of(outcome.folder)) == 40
    assert outcome.summary["dropped"]["recorder"] == 0
    in_the_graph = 8  # one in each operator and in each queue between them
    assert max(ahead) <= 2 + in_the_graph


def test_paced_a_slow_recorder_drops_what_overflows_and_counts_it(document, monkeypatch):
    made = []
    calls_before(monkeypatch, StreamMonitor, "add", made.append)
    calls_before(
        monkeypatch, NpyStream, "write", lambda _n: wait_until(lambda: len(made) == 40, "40 frames")
    )
    outcome = run_small(document(recorder={"queue_frames": 2}, run={"frames": 40}))
    assert outcome.summary["frames"] == 40
    assert outcome.summary["dropped"]["recorder"] >= 40 - 4  # one is written, two wait
    assert len(images_of(outcome.folder)) == 40 - outcome.summary["dropped"]["recorder"]


@pytest.mark.parametrize("pacing", ["paced", "free_running"])
def test_a_dead_console_slows_nothing_and_its_drops_are_counted(document, monkeypatch, pacing):
    made, shown = [], []
    calls_before(monkeypatch, StreamMonitor, "add", made.append)

    def dead_for_50_frames(count):
        shown.append(count)
        wait_until(lambda: len(made) >= 50, "the stream went on without the console")

    calls_before(monkeypatch, Console, "show", dead_for_50_frames)
    run = {"frames": 60, "pacing": pacing}
    outcome = run_small(document(console={"enabled": True}, run=run))
    assert len(images_of(outcome.folder)) == 60, "the recorder got every frame"
    assert outcome.summary["dropped"] == {"recorder": 0, "console": 60 - len(shown)}
    assert len(shown) <= 12


def test_monitor_keeps_time_stamps_but_no_images():
    monitor = StreamMonitor(RunRecord(config={}, device="", seed=0), 30.0, "a device")
    frame = make_frame()
    frame.stamps_ns.update(pose=0, render_start=10**6, render_end=3 * 10**6, chain_end=6 * 10**6)
    image = weakref.ref(frame.image)
    monitor.add(frame)
    del frame
    assert image() is None
    assert monitor.status().latency_ms == {"queue": 1.0, "render": 2.0, "image_chain": 3.0}


def test_monitor_tells_the_rate_of_a_stream_slower_than_a_frame_a_second(monkeypatch):
    monitor = StreamMonitor(RunRecord(config={}, device="", seed=0), 30.0, "a device")
    now_s = 100.0
    monkeypatch.setattr("operators.monitor.time.monotonic", lambda: now_s)
    for number in range(3):
        frame = make_frame(number)
        frame.stamps_ns.update(pose=0, render_start=0, render_end=0, chain_end=0)
        monitor.add(frame)
        now_s += 2.0
    assert monitor.status().fps == pytest.approx(0.5)
    now_s += 4.0
    assert monitor.status().fps == 0.0, "no frame for three times as long as they are apart"


def test_monitor_counts_frames_that_a_display_never_showed():
    monitor = StreamMonitor(RunRecord(config={}, device="", seed=0), None, "a device")
    for number in (0, 1, 5):
        monitor.count_shown("console", number)
    assert monitor.status().dropped == {"console": 3}
    for number in range(10):
        monitor.add(make_frame(number))
    assert monitor.dropped() == {"console": 7}


# -- the console's controls --------------------------------------------------------------------


def test_beam_off_stops_the_frames_and_beam_on_goes_on_with_the_next(document, monkeypatch):
    controls, seen, resumed_at = catch_controls(monkeypatch), [], []

    def each(frames):
        state = controls[0].snapshot()
        seen.append(frames)
        if frames > 5 and state.version == 0:
            controls[0].update(beam_on=False)
        elif not state.beam_on and len(set(seen[-5:])) == 1:  # half a second without a frame
            controls[0].update(beam_on=True)
            resumed_at.append(frames)
        return resumed_at and frames > resumed_at[0] + 10

    outcome = run_small(document(run={"frames": None, "fps": 60}), each)
    numbers = [frame["number"] for frame in record_of(outcome.folder)["per_frame"]]
    assert numbers == list(range(len(numbers)))
    assert len(numbers) > resumed_at[0] + 10


def test_a_held_image_follows_the_window_and_the_stream_goes_on_as_if_not_looked_at(
    document, monkeypatch
):
    def run(name, *, looked_at):
        controls, held = catch_controls(monkeypatch), []
        monkeypatch.setattr(Console, "show_again", lambda _, frame: held.append(frame))
        calls_before(monkeypatch, PoseSourceOp, "_header", lambda count: end_beam(count))

        def end_beam(count):
            if count == 6:
                controls[0].update(beam_on=False)

        def each(_frames):
            state = controls[0].snapshot()
            if not state.beam_on and looked_at and state.window_width == 20.0:
                controls[0].update(window_level=1.0, window_width=2.0, polarity="bone_bright")
            elif not state.beam_on and len(held) == looked_at:
                window = {"window_level": 3.0, "window_width": 20.0, "polarity": "bone_dark"}
                controls[0].update(**window, beam_on=True)

        settings = document(
            image_chain={
                "window": {"level": 3.0, "width": 20.0},
                "polarity": "bone_dark",
                "recursive_filter_weight": 0.5,
            },
            console={"enabled": True, "port": 0},
            run={"frames": 40, "fps": 60, "name": name},
        )
        return images_of(run_small(settings, each).folder), held

    images, held = run("looked_at", looked_at=True)
    plain, _ = run("plain", looked_at=False)
    np.testing.assert_array_equal(images, plain)
    before = images[held[0].number]
    expected = np.clip(((0.5 - before) * 20.0 + 3.0 - 1.0) / 2.0 + 0.5, 0, 1)
    np.testing.assert_allclose(held[0].image, expected, atol=1e-5)
    assert held[0].image.std() > 0.1


@pytest.mark.parametrize(
    ("sections", "holds"),
    [
        ({"pose_source": {"kind": "dds"}}, True),
        ({"pose_source": {"kind": "dds"}, "console": {"enabled": False}}, False),
        ({"pose_source": {"kind": "sweep"}}, True),
        (
            {
                "pose_source": {"kind": "static"},
                "optimiser": {"class": "a.b:C"},
                "run": {"frames": 5},
            },
            True,
        ),
    ],
)
def test_images_are_held_before_their_window_where_a_console_shows_them(sections, holds):
    document = {"volume": {"phantom": "thorax"}, "console": {"enabled": True}, **sections}
    config = Config.model_validate(document)
    chain = with_controls(held_config(config), LiveControls.from_config(config).snapshot())
    assert HOLD.is_on(chain) is holds


def noiseless_run(document, monkeypatch, **changes):
    """Images before and after a change of the controls, and the run's record."""
    controls, changed_at = catch_controls(monkeypatch), []

    def each(frames):
        if frames > 5 and not changed_at:
            controls[0].update(**changes)
            changed_at.append(frames)
        return changed_at and frames > changed_at[0] + 10

    settings = document(
        pose_source={"kind": "static"},
        image_chain={"poisson": False, "window": {"level": 3.0, "width": 20.0}},
        run={"frames": None, "fps": 100},
    )
    folder = run_small(settings, each).folder
    images = images_of(folder)
    return images[0], images[-1], record_of(folder)["per_frame"]


def test_polarity_of_the_console_acts_on_the_next_frames(document, monkeypatch):
    before, after, _ = noiseless_run(document, monkeypatch, polarity="bone_bright")
    assert np.ptp(before) > 0.1
    np.testing.assert_allclose(after, 1 - before, atol=1e-6)


def test_window_of_the_console_acts_on_the_next_frames(document, monkeypatch):
    before, after, _ = noiseless_run(document, monkeypatch, window_width=40.0, window_level=5.0)
    values = 3.0 + (0.5 - before) * 20.0  # bone dark: large line integrals are black
    np.testing.assert_allclose(after, 0.5 - (values - 5.0) / 40.0, atol=1e-5)


def test_detector_distance_and_pose_of_the_console_act_on_the_next_frames(document, monkeypatch):
    before, after, frames = noiseless_run(document, monkeypatch, source_to_detector_mm=1300.0)
    assert (frames[0]["source_to_detector_mm"], frames[-1]["source_to_detector_mm"]) == (1020, 1300)
    assert np.abs(after - before).max() > 0.01


def test_a_user_takes_the_c_arm_over_and_gives_it_back(document, monkeypatch):
    controls, steps = catch_controls(monkeypatch), []

    def each(frames):
        if frames > 5 and not steps:
            controls[0].apply({"lao_deg": 77.0}, stream_pose=None)
            steps.append(frames)
        elif len(steps) == 1 and frames > steps[0] + 5:
            controls[0].apply({"manual_pose": False}, stream_pose=None)
            steps.append(frames)
        return len(steps) == 2 and frames > steps[1] + 10

    outcome = run_small(document(run={"frames": None, "fps": 60}), each)
    angles = [frame["pose"]["lao_deg"] for frame in record_of(outcome.folder)["per_frame"]]
    held = [number for number, angle in enumerate(angles) if angle == 77.0]
    assert held
    assert held == list(range(held[0], held[-1] + 1))
    assert held[-1] < len(angles) - 1


def test_dose_of_the_console_acts_on_the_noise_of_the_next_frames(document, monkeypatch):
    controls, changed_at = catch_controls(monkeypatch), []

    def each(frames):
        if frames > 5 and not changed_at:
            controls[0].update(dose_ngy=0.002)
            changed_at.append(frames)
        return changed_at and frames > changed_at[0] + 15

    settings = document(
        pose_source={"kind": "static"},
        image_chain={"dose_ngy": 20.0},
        run={"frames": None, "fps": 100},
    )
    images = images_of(run_small(settings, each).folder)
    assert images[-5:].std(axis=0).mean() > 3 * images[:5].std(axis=0).mean()


# -- errors ------------------------------------------------------------------------------------


def broken_at(number, error):
    def act(count):
        if count == number:
            raise error

    return act


@pytest.mark.parametrize(
    ("owner", "name", "error"),
    [
        (PoseSourceOp, "_header", ValueError("the poses ran out")),
        (DrrRenderer, "render", DeviceError("the device is lost")),
        (ImageChain, "start", RuntimeError("the chain broke")),
        (NpyStream, "write", OutputError("frames.npy: cannot be written: No space left")),
        (Console, "show", KeyError("the console broke")),
        (StreamMonitor, "add", MemoryError("no memory is left")),
    ],
    ids=["pose source", "renderer", "chain", "recorder's thread", "console", "recorder"],
)
def test_an_error_in_any_operator_ends_the_run_with_its_message_and_whole_files(
    document, monkeypatch, tmp_path, owner, name, error
):
    calls_before(monkeypatch, owner, name, broken_at(8, error))
    with pytest.raises(type(error)) as caught:
        run_small(document(console={"enabled": True}, run={"frames": 10_000}))
    assert str(error) in str(caught.value)
    folder = tmp_path / "out" / "run"
    record = record_of(folder)
    assert not record["completed"]
    assert str(error) in record["stopped_by"]
    assert 0 < len(images_of(folder)) <= 10_000
    assert len(record["per_frame"]) == record["frames"] < 10_000


def test_an_error_while_a_free_running_source_is_held_back_ends_the_run(document, monkeypatch):
    def act(count):
        time.sleep(0.02)
        if count == 8:
            raise OutputError("frames.npy: cannot be written: No space left on device")

    calls_before(monkeypatch, NpyStream, "write", act)
    settings = document(recorder={"queue_frames": 1}, run={"pacing": "free_running"})
    with pytest.raises(OutputError, match="No space left"):
        run_small(settings)


def test_a_graph_that_ends_early_is_an_error(document, monkeypatch, tmp_path):
    monkeypatch.setattr(FluoroApp, "run", lambda self: None)
    with pytest.raises(DeviceError, match="the graph ended after 0 of 20 frames"):
        run_small(document())
    assert record_of(tmp_path / "out" / "run")["stopped_by"].startswith("DeviceError")


def leftovers():
    """Threads of the operating system, child processes, shared memory and sockets of this one."""
    tasks = Path("/proc/self/task")
    children = [children_of(task) for task in tasks.iterdir()]
    opened = [str(f.readlink()) for f in Path("/proc/self/fd").iterdir() if f.is_symlink()]
    return (
        len(list(tasks.iterdir())),
        sorted(children),
        sorted(path.name for path in Path("/dev/shm").iterdir()),
        sum(name.startswith("socket:") for name in opened),
    )


def children_of(task):
    """Process numbers; none of a thread that has just ended."""
    with suppress(FileNotFoundError):
        return (task / "children").read_text()
    return ""


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="reads Linux's /proc")
@pytest.mark.parametrize("fails", [False, True], ids=["to its end", "with an error"])
def test_nothing_is_left_behind(document, monkeypatch, fails):
    run_small(document(console={"enabled": True}))  # what libraries keep for good
    before = leftovers()
    if fails:
        calls_before(monkeypatch, ImageChain, "start", broken_at(5, ValueError("broken")))
        with pytest.raises(ValueError, match="broken"):
            run_small(document(console={"enabled": True}))
    else:
        run_small(document(console={"enabled": True}))
    wait_until(lambda: leftovers()[0] <= before[0], "the end of the run's threads")
    # other programs' shared memory, such as Chromium's, comes and goes beside ours
    wait_until(lambda: set(leftovers()[2]) <= set(before[2]), "the end of its shared memory")
    _, children, _, sockets = leftovers()
    assert "".join(children).split() == "".join(before[1]).split()
    assert sockets == before[3]


# -- signals -----------------------------------------------------------------------------------


def test_a_signal_in_the_stream_ends_it_and_hands_the_handlers_back(document):
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]

    sent = []

    def each(frames):
        if frames > 5 and not sent:
            sent.append(os.kill(os.getpid(), signal.SIGTERM))

    outcome = run_small(document(run={"frames": None}), each)
    assert outcome.signal_number == signal.SIGTERM
    record = record_of(outcome.folder)
    assert (record["completed"], record["stopped_by"]) == (False, "SIGTERM")
    assert record["frames"] == len(images_of(outcome.folder))
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == handlers


def test_a_signal_ends_the_stream_while_the_beam_is_off(document, monkeypatch):
    controls, sent = catch_controls(monkeypatch), []

    def each(frames):
        if frames > 5 and controls[0].snapshot().beam_on:
            controls[0].update(beam_on=False)
        elif frames > 5 and not sent:
            sent.append(os.kill(os.getpid(), signal.SIGINT))

    outcome = run_small(document(run={"frames": None, "pacing": "free_running"}), each)
    assert outcome.signal_number == signal.SIGINT


@pytest.fixture
def program_files(document, tmp_path):
    """A YAML file of an endless run with a film and images, and its run's folder."""
    path = tmp_path / "endless.yaml"
    settings = document(
        recorder={"formats": ["mp4", "png"], "contact_sheet": True, "scene_movie": True},
        run={"frames": None, "fps": 60},
    )
    path.write_text(yaml.safe_dump(settings))
    return path, tmp_path / "out" / "run"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_leaves_whole_files_and_its_exit_code(program_files, number, code):
    path, folder = program_files
    program = Program("run", path)
    program.wait_for(lambda: len(list(folder.glob("frames/*.png"))) > 20)
    program.interrupt(number)
    returned, out, err = program.end()
    assert returned == code, err
    assert "Traceback" not in err
    record = record_of(folder)
    assert record["stopped_by"] == number.name
    assert f"{record['frames']} frames" in out
    with av.open(str(folder / "frames.mp4")) as film:
        assert sum(1 for _ in film.decode(video=0)) == record["frames"]
    files = sorted((folder / "frames").iterdir())
    assert len(files) == record["frames"]
    for file in files:
        with Image.open(file) as image:
            image.load()
    assert (folder / "contact_sheet.png").is_file()
    assert not (folder / "carm_sweep.mp4").exists(), "there is no time for the movie"


STUCK = """
import sys, time
sys.path.insert(0, ".")
import app
from fluoro.console.server import Console
Console.show = lambda *_: time.sleep(1000)
app.program()
"""


def test_a_second_ctrl_c_ends_a_program_that_is_stuck(program_files):
    path, folder = program_files
    program = Program("run", path, "--set", "console.enabled=true", code=STUCK)
    program.wait_for(lambda: len(list(folder.glob("frames/*.png"))) > 5)
    program.interrupt()
    time.sleep(1.0)
    assert program.process.poll() is None, "the stuck console is waited for"
    program.interrupt()
    returned, _, err = program.end(timeout_s=20)
    assert returned == 130, err
    assert "Traceback" not in err


def test_two_ctrl_c_at_once_end_a_stream_amid_its_launches(program_files):
    path, folder = program_files
    busy = ["carm.detector_width_px=512", "carm.detector_height_px=512", "run.pacing=free_running"]
    program = Program("run", path, "--set", *busy)
    program.wait_for(lambda: len(list(folder.glob("frames/*.png"))) > 5)
    program.interrupt()
    program.interrupt()
    returned, _, err = program.end(timeout_s=20)
    assert returned == 130, err
    assert "Traceback" not in err


def test_ctrl_c_while_the_movie_is_drawn_ends_that_and_the_run_is_complete(
    document, monkeypatch, caplog
):
    from operators.sinks import recorder

    def drawing(*_args, progress, **_kwargs):
        os.kill(os.getpid(), signal.SIGINT)
        progress(0.5)
        pytest.fail("the movie went on")

    monkeypatch.setattr(recorder, "write_scene_movie", drawing)
    outcome = run_small(document(recorder={"scene_movie": True}))
    assert outcome.signal_number == signal.SIGINT
    record = record_of(outcome.folder)
    assert (record["completed"], record["stopped_by"]) == (True, "frames")
    (line,) = [each for each in caplog.messages if "interrupted" in each]
    assert line == "interrupted: films of the whole run are missing, its frames are there"

"""The recorder: every format complete after close, readable after a crash, honest when it fails."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from fluoro.config import RecorderConfig
from fluoro.errors import OutputError
from fluoro.geometry.carm import CarmGeometry, CarmPose
from fluoro.geometry.projection import project_points
from fluoro.imaging.frame import FluoroFrame, to_uint8
from fluoro.recording import recorder as recorder_module
from fluoro.recording.formats.mp4_writer import Film
from fluoro.recording.frame_sampler import EvenSample, evenly
from fluoro.recording.recorder import Recorder
from fluoro.recording.run_folder import make_run_folder

FRAME_SOURCE = """
import numpy as np
from fluoro.geometry.carm import CarmGeometry, CarmPose
from fluoro.imaging.frame import FluoroFrame

def make_frame(number, height=48, width=64):
    image = np.tile(np.linspace(0, 0.8, width, dtype=np.float32), (height, 1))
    left = 2 + number % (width - 12)
    image[8:18, left : left + 10] = 1
    return FluoroFrame(
        image=image, number=number, pose=CarmPose(lao_deg=float(number)),
        geometry=CarmGeometry(detector_width_px=width, detector_height_px=height),
        stamps_ns={"pose": number, "render_start": number + 1},
    )
"""


def make_frame(number: int, height: int = 48, width: int = 64) -> FluoroFrame:
    image = np.tile(np.linspace(0, 0.8, width, dtype=np.float32), (height, 1))
    left = 2 + number % (width - 12)
    image[8:18, left : left + 10] = 1
    return FluoroFrame(
        image=image,
        number=number,
        pose=CarmPose(lao_deg=float(number)),
        geometry=CarmGeometry(detector_width_px=width, detector_height_px=height),
        stamps_ns={"pose": number, "render_start": number + 1},
    )


def config(*formats: str, queue_frames: int = 120) -> RecorderConfig:
    return RecorderConfig.model_validate({"formats": formats, "queue_frames": queue_frames})


def decode(path: Path) -> list[NDArray[np.uint8]]:
    with av.open(str(path)) as film:
        return [frame.to_ndarray(format="gray") for frame in film.decode(video=0)]


def record(folder: Path, cfg: RecorderConfig, frames: list[FluoroFrame]) -> Recorder:
    with Recorder(folder, cfg, 30, drop_when_full=False) as recorder:
        for frame in frames:
            assert recorder.put(frame)
    return recorder


def test_a_film_without_images_leaves_no_file(tmp_path):
    film = Film(tmp_path / "film.mp4", 30)
    film.close()
    assert list(tmp_path.iterdir()) == []


def test_film_holds_every_frame_at_its_size_and_grey_levels(tmp_path: Path) -> None:
    frames = [make_frame(n) for n in range(40)]
    record(tmp_path, config("mp4"), frames)
    decoded = decode(tmp_path / "frames.mp4")
    assert len(decoded) == 40
    for image, frame in zip(decoded, frames, strict=True):
        assert image.shape == (48, 64)
        difference = image.astype(int) - to_uint8(frame.image)
        assert np.abs(difference).mean() < 2.5, "lossy, but no shift of the grey scale"


def test_film_plays_at_the_given_rate_with_a_gap_where_frames_were_dropped(tmp_path: Path) -> None:
    record(tmp_path, config("mp4"), [make_frame(n) for n in (7, 8, 9, 12)])
    with av.open(str(tmp_path / "frames.mp4")) as film:
        times = [frame.time for frame in film.decode(video=0)]
    np.testing.assert_allclose(times, np.array([0, 1, 2, 5]) / 30, atol=1e-4)


def film_times_s(path: Path) -> list[float]:
    with av.open(str(path)) as film:
        return [frame.time for frame in film.decode(video=0) if frame.time is not None]


@pytest.mark.parametrize("preset", ["ultrafast", "medium"])
def test_film_shows_its_images_at_their_times_from_0(tmp_path: Path, preset: str) -> None:
    film, times_s = Film(tmp_path / "film.mp4", 30, preset=preset), [7.0, 7.1, 7.35, 9.0, 9.01]
    for number, time_s in enumerate(times_s):
        film.write(to_uint8(make_frame(number).image), time_s)
    film.close()
    shown_s = film_times_s(tmp_path / "film.mp4")
    np.testing.assert_allclose(shown_s, np.array(times_s) - 7, atol=2e-5)


def test_film_goes_on_where_time_goes_back_and_cuts_a_pause_to_an_hour(tmp_path: Path) -> None:
    film = Film(tmp_path / "film.mp4", 10)
    for number, time_s in enumerate([50.0, 50.2, 3.0, 3.3, 1e9, 1e9 + 0.5, 1e9 + 0.5]):
        film.write(to_uint8(make_frame(number).image), time_s)
    film.close()
    expected = [0, 0.2, 0.3, 0.6, 3600.6, 3601.1, 3601.2]
    np.testing.assert_allclose(film_times_s(tmp_path / "film.mp4"), expected, atol=1e-4)


def test_film_pads_odd_sizes_to_even_ones(tmp_path: Path) -> None:
    record(tmp_path, config("mp4"), [make_frame(n, 49, 63) for n in range(3)])
    assert [image.shape for image in decode(tmp_path / "frames.mp4")] == [(50, 64)] * 3


def test_images_are_8_bit_grey_and_exact(tmp_path: Path) -> None:
    frames = [make_frame(n) for n in range(3)]
    record(tmp_path, config("png"), frames)
    for frame in frames:
        with Image.open(tmp_path / "frames" / f"frame_{frame.number:04d}.png") as image:
            assert image.mode == "L"
            np.testing.assert_array_equal(np.asarray(image), to_uint8(frame.image))


def test_npy_and_npz_hold_the_exact_floats_and_the_poses(tmp_path: Path) -> None:
    frames = [make_frame(n) for n in range(12)]
    record(tmp_path, config("npy", "npz"), frames)
    expected = np.stack([frame.image for frame in frames])
    streamed = np.load(tmp_path / "frames.npy", mmap_mode="r")
    assert streamed.dtype == np.float32
    np.testing.assert_array_equal(streamed, expected)
    with np.load(tmp_path / "frames.npz") as archive:
        np.testing.assert_array_equal(archive["images"], expected)
        np.testing.assert_array_equal(archive["lao_deg"], np.arange(12.0))
        assert archive["translation_mm"].shape == (12, 3)
        np.testing.assert_array_equal(archive["number"], np.arange(12))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["frames.npy", "frames.npz"]


def test_npz_says_where_world_points_lie_in_each_image(tmp_path: Path) -> None:
    isocenter, frames = (30.0, -20.0, 10.0), [make_frame(n) for n in range(3)]
    cfg = config("npz")
    with Recorder(tmp_path, cfg, 30, drop_when_full=False, isocenter_xyz_mm=isocenter) as recorder:
        for frame in frames:
            recorder.put(frame)
    with np.load(tmp_path / "frames.npz") as archive:
        matrices, shifts = archive["pixel_from_world"], archive["translation_mm"]
    for frame, matrix, shift in zip(frames, matrices, shifts, strict=True):
        landed = project_points(matrix, np.add(isocenter, shift))
        np.testing.assert_allclose(landed, frame.geometry.central_pixel_uv, atol=1e-9)
        beside = np.add(isocenter, (5.0, 6.0, 7.0))
        expected = frame.geometry.view(frame.pose, isocenter).project(beside)
        np.testing.assert_allclose(project_points(matrix, beside), expected, atol=1e-9)


def test_sample_gets_grey_levels_though_the_format_takes_floats_alone(tmp_path: Path) -> None:
    sample, frame = EvenSample(), make_frame(3)
    with Recorder(tmp_path, config("npy"), 30, drop_when_full=False, sample=sample) as recorder:
        recorder.put(frame)
    (kept,) = sample.frames
    np.testing.assert_array_equal(kept.grey, to_uint8(frame.image))


def test_a_recording_without_frames_closes_cleanly(tmp_path: Path) -> None:
    recorder = record(tmp_path, config("mp4", "png", "npy", "npz"), [])
    assert recorder.written == 0
    assert np.load(tmp_path / "frames.npy").shape == (0, 0, 0)


def test_files_of_a_killed_program_are_readable(tmp_path: Path) -> None:
    program = FRAME_SOURCE + textwrap.dedent(f"""
        import os, time
        from pathlib import Path
        from fluoro.config import RecorderConfig
        from fluoro.recording.recorder import Recorder
        cfg = RecorderConfig(formats=("mp4", "png", "npy", "npz"))
        recorder = Recorder(Path({str(tmp_path)!r}), cfg, 30, drop_when_full=False)
        for number in range(100):
            recorder.put(make_frame(number))
        while recorder.written < 100:
            time.sleep(0.01)
        os._exit(9)
    """)
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 9
    images = decode(tmp_path / "frames.mp4")
    assert len(images) >= 60, "a crash costs the film a second at most, here 30 frames"
    assert np.load(tmp_path / "frames.npy").shape == (100, 48, 64)
    assert np.load(tmp_path / "frames-recording.npy").shape == (100, 48, 64)
    assert len(list((tmp_path / "frames").iterdir())) == 100


def put_all(recorder: Recorder, count: int) -> None:
    for number in range(count):
        recorder.put(make_frame(number))


class SlowWriter:
    """Holds the writing thread until it is released."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.let_go = threading.Event()
        self.entered = threading.Event()
        write = recorder_module.PngFrames.write

        def slow_write(images: recorder_module.PngFrames, number: int, grey: object) -> None:
            self.entered.set()
            self.let_go.wait(10)
            write(images, number, grey)  # type: ignore[arg-type]

        monkeypatch.setattr(recorder_module.PngFrames, "write", slow_write)


def test_full_queue_drops_and_counts_when_paced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = SlowWriter(monkeypatch)
    recorder = Recorder(tmp_path, config("png", queue_frames=4), 30, drop_when_full=True)
    assert recorder.put(make_frame(0))
    assert slow.entered.wait(10), "the thread holds frame 0, the queue is empty"
    assert [recorder.put(make_frame(n)) for n in range(1, 8)] == [True] * 4 + [False] * 3
    assert (recorder.dropped, recorder.backlog) == (3, 4)
    slow.let_go.set()
    recorder.close()
    assert (recorder.written, recorder.backlog) == (5, 0)


def test_full_queue_holds_the_source_back_and_loses_nothing_when_free_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = SlowWriter(monkeypatch)
    recorder = Recorder(tmp_path, config("png", queue_frames=2), 30, drop_when_full=False)
    source = threading.Thread(target=lambda: [recorder.put(make_frame(n)) for n in range(30)])
    source.start()
    assert slow.entered.wait(10)
    source.join(0.1)
    assert source.is_alive(), "it waits for room"
    assert recorder.backlog <= 2
    slow.let_go.set()
    source.join(10)
    recorder.close()
    assert (recorder.written, recorder.dropped) == (30, 0)


def test_frames_keep_their_image_when_the_source_reuses_its_buffer(tmp_path: Path) -> None:
    frame = make_frame(0)
    expected = frame.image.copy()
    with Recorder(tmp_path, config("npy"), 30, drop_when_full=False) as recorder:
        recorder.put(frame)
        frame.image[:] = 0
    np.testing.assert_array_equal(np.load(tmp_path / "frames.npy")[0], expected)


@pytest.mark.parametrize("name", ["mp4", "png", "npy", "npz"])
def test_a_file_that_may_not_grow_gives_one_line_that_names_it(tmp_path: Path, name: str) -> None:
    """RLIMIT_FSIZE stands for a full disk: the kernel refuses to make the file any longer."""
    program = FRAME_SOURCE + textwrap.dedent(f"""
        import resource, signal
        from pathlib import Path
        from fluoro.config import RecorderConfig
        from fluoro.errors import OutputError
        from fluoro.recording.recorder import Recorder
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        told = []
        folder = Path({str(tmp_path)!r})
        recorder = Recorder(folder, RecorderConfig(formats=({name!r},)), 30,
                            drop_when_full=False, on_error=told.append)
        limit = 40_000 if {name!r} != "png" else 1_000
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        rng = np.random.default_rng(0)
        try:
            for number in range(200):
                frame = make_frame(number)
                if {name!r} != "png" or number >= 3:
                    frame.image[:] = rng.random(frame.image.shape)
                recorder.put(frame)
            recorder.close()
        except OutputError as error:
            recorder.close()
            print(f"{{len(told)}} {{error}}")
    """)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    lines = done.stdout.splitlines()
    assert len(lines) == 1, done
    assert lines[0].startswith(f"1 {tmp_path}"), lines
    assert "cannot be written: File too large" in lines[0]
    _require_readable(tmp_path, name)


def _require_readable(folder: Path, name: str) -> None:
    if name == "mp4":
        assert len(decode(folder / "frames.mp4")) > 0
    elif name == "png":
        images = sorted((folder / "frames").iterdir())
        assert [np.asarray(Image.open(p)).shape for p in images] == [(48, 64)] * 3
    else:
        file = "frames.npy" if name == "npy" else "frames-recording.npy"
        assert np.load(folder / file).shape == (3, 48, 64)


def test_a_failed_recorder_wakes_a_waiting_source_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OutputError("frames: no space left")

    monkeypatch.setattr(recorder_module.PngFrames, "write", full)
    recorder = Recorder(tmp_path, config("png", queue_frames=1), 30, drop_when_full=False)
    with pytest.raises(OutputError, match="no space left"):
        put_all(recorder, 50)
    recorder.close()


def test_close_says_what_no_put_could(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise OutputError("frames.mp4: broken")

    monkeypatch.setattr(recorder_module.Film, "close", broken)
    recorder = Recorder(tmp_path, config("mp4", "npy"), 30, drop_when_full=True)
    recorder.put(make_frame(0))
    with pytest.raises(OutputError, match="broken"):
        recorder.close()
    assert np.load(tmp_path / "frames.npy").shape[0] == 1, "the other files are closed all the same"


def test_a_put_after_close_is_refused(tmp_path: Path) -> None:
    recorder = record(tmp_path, config("png"), [make_frame(0)])
    with pytest.raises(OutputError, match="closed"):
        recorder.put(make_frame(1))


def test_nothing_that_exists_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "frames.mp4").write_text("earlier")
    with pytest.raises(OutputError, match=r"frames\.mp4"):
        Recorder(tmp_path, config("mp4"), 30, drop_when_full=False)
    assert (tmp_path / "frames.mp4").read_text() == "earlier"


def test_a_frame_of_another_size_ends_the_array_with_a_clear_error(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, config("npy"), 30, drop_when_full=False)
    recorder.put(make_frame(0))
    recorder.put(make_frame(1, 20, 20))
    with pytest.raises(OutputError, match=r"must be \(48, 64\), got \(20, 20\)"):
        recorder.close()


def test_run_folders_never_share_a_name(tmp_path: Path) -> None:
    names = [make_run_folder(tmp_path / "output", "sweep").name for _ in range(3)]
    assert names == ["sweep", "sweep-2", "sweep-3"]


def test_a_run_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "output").write_text("a file")
    with pytest.raises(OutputError, match=r"output/sweep: cannot make the run's folder"):
        make_run_folder(tmp_path / "output", "sweep")


def offered(sample: EvenSample, count: int) -> list[int]:
    for n in range(count):
        frame = make_frame(n)
        sample.offer(to_uint8(frame.image), n, frame.pose, frame.geometry)
    return [frame.number for frame in sample.frames]


@pytest.mark.parametrize("count", [1, 10, 11, 37, 400])
def test_sample_stays_even_and_bounded_at_any_length(count: int) -> None:
    sample = EvenSample(10)
    numbers = offered(sample, count)
    assert len(numbers) == min(count, -(-count // sample.stride)) <= 10
    assert numbers == list(range(0, count, sample.stride))


def test_sample_of_a_known_length_takes_as_many_as_fit() -> None:
    assert offered(EvenSample(120, expected=300), 300) == list(range(0, 300, 3))


def test_sample_keeps_small_copies_of_large_images() -> None:
    sample = EvenSample(4)
    frame = make_frame(0, 500, 1000)
    sample.offer(to_uint8(frame.image), 0, frame.pose, frame.geometry)
    assert sample.frames[0].grey.shape == (240, 480)


def test_evenly_keeps_first_and_last() -> None:
    sample = EvenSample(100)
    offered(sample, 50)
    numbers = [frame.number for frame in evenly(sample.frames, 5)]
    assert numbers == [0, 12, 24, 37, 49]

"""What a kill or a full disk leaves: images with their poses, and all that `repair` makes."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from rosbags.highlevel import AnyReader

import app
from fluoro.xray_files.xray_file import XrayFile
from tests.recording.test_recorder import make_frame
from tests.session_support import (
    Program,
    images_of,
    record_of,
    run_small,
    small_ct,
    small_document,
    use_cache,
)

# isort: split

from fluoro.config import CarmConfig, load_config
from fluoro.errors import InputError
from fluoro.files.atomic_write import remove_unfinished
from fluoro.geometry.carm import CarmPose
from fluoro.geometry.from_config import make_geometry
from fluoro.interop.bag.mcap_bag import read_poses

JOURNAL_NAME, NPZ_NAME = "frames-recording.jsonl", "frames.npz"
IMAGES_NAME = "frames-recording.npy"
LEAST_FRAMES = 30
PROJECT = Path(app.__file__).parent


@pytest.fixture
def small_yaml(tmp_path, monkeypatch):
    """Writes a YAML file of a small run without an end; its folder is out/run."""
    use_cache(tmp_path, monkeypatch)

    def write(**sections):
        path = tmp_path / "small.yaml"
        run = {"frames": None, "fps": 60, **sections.pop("run", {})}
        document = small_document(small_ct(tmp_path), tmp_path / "out", run=run, **sections)
        path.write_text(yaml.safe_dump(document))
        return path

    return write


def repaired(capsys, folder):
    """What `app.py repair` says, without its last line."""
    code = app.main(["repair", str(folder)])
    captured = capsys.readouterr()
    assert code == 0, captured.err
    *lines, last = captured.out.splitlines()
    assert last == f"files in {folder}"
    return lines


def bag_poses(folder):
    return read_poses(folder / "bag", "/fluoro/carm_pose", (0.0, 0.0, 0.0))


def test_a_killed_run_keeps_the_pose_of_each_image_and_is_repaired(small_yaml, tmp_path, capsys):
    path = small_yaml(recorder={"formats": ["png", "npz"]}, dds={"bag": True})
    folder = tmp_path / "out" / "run"
    program = Program("run", path)
    program.wait_for(lambda: len(list(folder.glob("frames/*.png"))) > LEAST_FRAMES)
    messages = folder / "bag" / "bag.mcap"
    program.wait_for(lambda: messages.stat().st_size > 20_000)
    program.interrupt(signal.SIGKILL)
    assert program.end()[0] == -signal.SIGKILL
    lines = (folder / JOURNAL_NAME).read_text().splitlines(keepends=True)
    entries = [json.loads(line)["row"] for line in lines if line.endswith("\n")]
    numbers = {int(image.stem.split("_")[1]) for image in folder.glob("frames/*.png")}
    assert numbers <= {row["number"] for row in entries}, "each image has its pose"

    record_line, npz_line, bag_line = sorted(repaired(capsys, folder), reverse=True)
    record = record_of(folder)
    assert record_line == f"run.json: {len(entries)} frames"
    assert (record["completed"], record["repaired"]) == (False, True)
    assert record["frames"] == len(entries) > LEAST_FRAMES
    assert record["fps"] > 0
    assert record["dose"]["pulses"] == len(entries)
    assert record["latency_ms"].keys() == {"queue", "render", "image_chain", "pose_to_frame"}
    assert record["per_frame"] == entries
    pose_at = load_config(path).pose_source.trajectory()
    for row in record["per_frame"]:
        assert row["pose"]["lao_deg"] == pose_at(row["number"] / 60).lao_deg
    check_npz(folder, record, npz_line)
    times_s, poses = bag_poses(folder)
    assert bag_line.startswith("bag: ")
    assert len(poses) > 5
    assert poses[0].lao_deg == pytest.approx(entries[0]["pose"]["lao_deg"], abs=1e-9)
    assert (np.diff(times_s) > 0).all()
    with AnyReader([folder / "bag"]) as reader:
        assert reader.message_count == int(bag_line.split()[1])
    assert {item.name for item in folder.iterdir()} == {"run.json", "frames", NPZ_NAME, "bag"}
    assert repaired(capsys, folder) == ["nothing is missing"]
    assert not list(folder.rglob(".*")), "nothing half-written stays"


def check_npz(folder, record, line):
    """Images of frames.npz are the images of their numbers, with the matrices of run.json."""
    with np.load(folder / NPZ_NAME) as archive:
        images, numbers = archive["images"], archive["number"]
        matrices = archive["pixel_from_world"]
    assert line == f"{NPZ_NAME}: {len(images)} images"
    assert len(numbers) == len(images) > LEAST_FRAMES - 1
    geometry = make_geometry(CarmConfig.model_validate(record["config"]["carm"]))
    for number, image, matrix in list(zip(numbers, images, matrices, strict=True))[:20]:
        with Image.open(folder / "frames" / f"frame_{number:04d}.png") as file:
            np.testing.assert_allclose(image * 255, np.asarray(file), atol=0.501)
        pose = CarmPose(**record["per_frame"][number]["pose"])
        view = geometry.view(pose, record["isocenter_mm"])
        np.testing.assert_array_equal(matrix, view.pixel_from_world)


def test_a_killed_run_in_dicom_is_repaired(small_yaml, tmp_path, capsys):
    path, folder = small_yaml(recorder={"formats": ["dicom", "png"]}), tmp_path / "out" / "run"
    program = Program("run", path)
    program.wait_for(lambda: len(list(folder.glob("frames/*.png"))) > LEAST_FRAMES)
    program.interrupt(signal.SIGKILL)
    assert program.end()[0] == -signal.SIGKILL
    lines = repaired(capsys, folder)
    file = XrayFile(folder / "frames.dcm")
    assert f"frames.dcm: {file.count} frames" in lines
    assert file.count > LEAST_FRAMES - 1
    assert (folder / "dose.dcm").exists()
    rows = record_of(folder)["per_frame"]
    paths = [folder / "frames" / f"frame_{row['number']:04d}.png" for row in rows[: file.count]]
    whole = [number for number, path in enumerate(paths, start=1) if path.exists()]
    assert len(whole) >= file.count - 1, "all but the one that was being written"
    for number in (1, whole[-1]):
        frame, row = file.frame(number), rows[number - 1]
        assert frame.geometry.pose == CarmPose(**_tuples(row["pose"]))
        with Image.open(paths[number - 1]) as image:
            np.testing.assert_allclose(frame.values / 4095 * 255, np.asarray(image), atol=0.6)
    assert not list(folder.glob("*.raw"))


def _tuples(pose):
    return pose | {"translation_mm": tuple(pose["translation_mm"])}


HALF_AN_IMAGE = """
import os, pathlib, signal, sys
import numpy as np
from PIL import Image
from fluoro.files.image_files import PngFrames

def save_half(image, file, filename, **options):
    file.write(b"half")
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)

frames = PngFrames(pathlib.Path(sys.argv[1]))
grey = np.zeros((8, 8), np.uint8)
frames.write(0, grey)
Image.init()
Image.SAVE["PNG"] = save_half
frames.write(1, grey)
"""


def test_a_program_killed_while_it_writes_an_image_leaves_none_of_it(tmp_path):
    folder = tmp_path / "frames"
    done = subprocess.run(
        [sys.executable, "-c", HALF_AN_IMAGE, str(folder)], check=False, cwd=PROJECT
    )
    assert done.returncode == -signal.SIGKILL
    assert [path.name for path in folder.glob("*.png")] == ["frame_0000.png"]
    assert len(list(folder.iterdir())) == 2, "the half image has a hidden name"
    remove_unfinished(tmp_path)
    assert [path.name for path in folder.iterdir()] == ["frame_0000.png"]


def test_a_run_killed_before_its_first_frame_or_while_it_zips_is_repaired(
    small_yaml, tmp_path, capsys
):
    path, folder = small_yaml(recorder={"formats": ["npz"]}), tmp_path / "out" / "run"
    assert Program("run", path, "--frames", "5").end()[0] == 0
    record = record_of(folder)
    with np.load(folder / NPZ_NAME) as archive:
        expected = dict(archive)
    np.save(folder / IMAGES_NAME, expected["images"])
    (folder / NPZ_NAME).rename(folder / f".{NPZ_NAME}")
    assert repaired(capsys, folder) == [f"{NPZ_NAME}: 5 images"]
    with np.load(folder / NPZ_NAME) as archive:
        for name, values in expected.items():
            np.testing.assert_array_equal(archive[name], values)
    (folder / NPZ_NAME).unlink()
    unfinished = {**record, "stopped_by": "unfinished", "completed": False, "per_frame": []}
    (folder / "run.json").write_text(json.dumps(unfinished))
    (folder / IMAGES_NAME).touch()
    (folder / JOURNAL_NAME).touch()
    assert repaired(capsys, folder) == [f"{NPZ_NAME}: 0 images", "run.json: 0 frames"]
    assert record_of(folder)["fps"] is None


LIMITED = """
import resource, sys
sys.path.insert(0, ".")
import app
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, resource.RLIM_INFINITY))
app.program()
"""
"""A limit of the size of files stands for a full disk."""


def run_short(path):
    """Run for a frame, without a limit, so that kernels and volume are in the cache."""
    run_small(load_config(path, ["run.frames=1", "run.name=short"]))


def test_a_full_disk_keeps_the_record_of_what_was_written(small_yaml, tmp_path):
    path, folder = small_yaml(recorder={"formats": ["npy"]}), tmp_path / "out" / "run"
    run_short(path)
    code, _, err = Program("run", path, code=LIMITED.format(limit=60_000)).end()
    assert (code, "frames.npy: cannot be written: File too large" in err) == (2, True), err
    record, images = record_of(folder), images_of(folder)
    assert len(images) == (60_000 - 128) // images[0].nbytes
    recorded = [row["number"] for row in record["per_frame"] if row.get("recorded", True)]
    assert recorded == [*range(len(images) + 1)], "and of the image that did not fit"
    assert len(record["per_frame"]) == record["frames"]
    assert not (folder / JOURNAL_NAME).exists()


def test_a_disk_too_full_for_run_json_leaves_what_it_is_made_from(small_yaml, tmp_path, capsys):
    path, folder = small_yaml(recorder={"formats": ["png"]}), tmp_path / "out" / "run"
    run_short(path)
    limit = (folder.with_name("short") / "run.json").stat().st_size + 2000
    code, _, err = Program("run", path, code=LIMITED.format(limit=limit)).end()
    assert code == 2, err
    assert f"app.py repair {folder} makes run.json of {JOURNAL_NAME}" in err
    assert record_of(folder)["per_frame"] == []
    (line,) = repaired(capsys, folder)
    count = len(list(folder.glob("frames/*.png")))
    assert 0 < count <= record_of(folder)["frames"] <= count + 1
    assert line == f"run.json: {record_of(folder)['frames']} frames"


def test_a_bag_on_a_full_disk_is_repaired(small_yaml, tmp_path, capsys):
    path = small_yaml(recorder={"formats": []}, dds={"bag": True}, run={"pacing": "free_running"})
    folder = tmp_path / "out" / "run"
    run_short(path)
    # a chunk goes to disk each 0.2 s; the limit has room for several of a fast machine
    code, _, err = Program("run", path, code=LIMITED.format(limit=4_000_000)).end()
    assert code == 2, err
    assert "bag: cannot be written: File too large" in err
    with pytest.raises(InputError, match="not a ROS 2 bag that can be read"):
        bag_poses(folder)
    (line,) = repaired(capsys, folder)
    assert line.startswith("bag: ")
    assert len(bag_poses(folder)[1]) > 50


def test_a_run_that_goes_on_is_not_repaired(small_yaml, tmp_path, capsys):
    path, folder = small_yaml(), tmp_path / "out" / "run"
    program = Program("run", path)
    program.wait_for(lambda: (folder / "frames.npy").exists())
    assert app.main(["repair", str(folder)]) == 2
    assert f"fluoro: {folder}: the run goes on, nothing is repaired" in capsys.readouterr().err
    program.interrupt(signal.SIGTERM)
    assert program.end()[0] == 143
    assert record_of(folder)["stopped_by"] == "SIGTERM"


def test_a_folder_that_is_no_run_is_named(tmp_path, capsys):
    assert app.main(["repair", str(tmp_path)]) == 2
    line = f"fluoro: {tmp_path}: must be the folder of a run: run.json: No such file or directory"
    assert capsys.readouterr().err == f"{line}\n"
    (tmp_path / "run.json").write_text('{"device": "x"}')
    assert app.main(["repair", str(tmp_path)]) == 2
    assert f"{tmp_path}/run.json: must be the record of a run" in capsys.readouterr().err


def test_a_frame_that_is_saved_without_a_recorder_has_its_pose_in_the_record(
    small_yaml, tmp_path, monkeypatch
):
    from operators.sinks import console

    savers = []

    class Console(console.Console):
        def __init__(self, *args, on_save, **kwargs):
            savers.append(on_save)
            super().__init__(*args, on_save=on_save, **kwargs)

    monkeypatch.setattr(console, "Console", Console)
    settings = yaml.safe_load(small_yaml(run={"frames": 20}).read_text())
    settings["recorder"], settings["console"] = {"enabled": False}, {"enabled": True, "port": 0}

    def save_once(frames):
        if frames and savers:
            savers.pop()(make_frame(3))

    outcome = run_small(settings, save_once)
    (image,) = outcome.folder.glob("saved/*.png")
    (row,) = record_of(outcome.folder)["per_frame"]
    assert image.name == "frame_000003.png"
    assert (row["number"], row["pose"]["lao_deg"]) == (3, 3.0)
    assert not (outcome.folder / JOURNAL_NAME).exists()

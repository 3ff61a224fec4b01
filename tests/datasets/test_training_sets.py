"""Training sets: their bytes, what resumes, what is refused, what is counted, what is read back."""

import io
import json
import re
import shutil
import signal
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from tests.session_support import (
    ROOT,
    Program,
    QuietReporter,
    images_of,
    run_session,
    small_ct,
    use_cache,
)

# isort: split

from fluoro.config import load_config
from fluoro.datasets.training.build import build, plan_of
from fluoro.datasets.training.config import load_dataset_file
from fluoro.datasets.training.frame_files import decoded_mask
from fluoro.datasets.training.preview import write_preview
from fluoro.datasets.training.processes import Done, Failed, Step, in_processes
from fluoro.datasets.training.reader import TrainingSet
from fluoro.datasets.training.remake import remake
from fluoro.datasets.training.shard_maker import ShardMaker
from fluoro.datasets.training.shards import file_sha256, frames_in
from fluoro.errors import InputError

DYING = "tests.datasets.dying_worker:Dying"
STRUCTURES = ["heart", "aorta"]


class QuietWork:
    """Keeps its calls."""

    def __init__(self):
        self.calls = []

    def work(self, what, done, total, figures):
        self.calls.append((what, done, total, figures))


def document(**sections):
    """Twelve small frames of the phantom in three files, each a case."""
    found = {
        "dataset": {"frames": 12, "frames_per_case": 4, "frames_per_shard": 4, "seed": 5},
        "volume": {
            "phantom": "thorax",
            "spacing_mm": {"$choice": [8, 10]},
            "labels": {"structures": STRUCTURES},
        },
        "annotations": {"masks": {}, "boxes": {}, "landmarks": {}},
        "carm": {
            "detector_width_px": 32,
            "detector_height_px": 24,
            "pixel_spacing_mm": {"$uniform": [10, 14]},
        },
        "pose_source": {"kind": "static", "lao_deg": {"$uniform": [-40, 40]}},
        "renderer": {"device": "cpu"},
        "image_chain": {"dose_ngy": {"$log_uniform": [2, 50]}},
    }
    for name, keys in sections.items():
        found[name] = {**found.get(name, {}), **keys}
    return found


def written(folder, **sections):
    path = folder / "set.yaml"
    path.write_text(yaml.safe_dump(document(**sections)))
    return path


def made(folder, out="out", workers=1, **sections):
    file = load_dataset_file(written(folder, **sections))
    return build(file, folder / out, QuietWork(), workers=workers)


def sums(folder):
    return {path.name: file_sha256(path) for path in sorted(folder.glob("shard-*"))}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with a finished set, `out`, and the cache that all of these tests use."""
    folder = tmp_path_factory.mktemp("training")
    with pytest.MonkeyPatch.context() as patch:
        use_cache(folder, patch)
        assert made(folder).complete
        yield folder


@pytest.fixture
def own(home, tmp_path):
    """A copy of the finished set in a folder of its own, with its YAML file."""
    shutil.copytree(home / "out", tmp_path / "out")
    shutil.copy(home / "set.yaml", tmp_path)
    begun = json.loads((tmp_path / "out" / "dataset.json").read_text())
    begun["folder"] = str(tmp_path)
    (tmp_path / "out" / "dataset.json").write_text(json.dumps(begun))
    return tmp_path


def test_bytes_do_not_depend_on_the_number_of_workers(home):
    assert made(home, out="two", workers=2).complete
    assert sums(home / "two") == sums(home / "out")
    index = [(home / name / "index.parquet").read_bytes() for name in ("out", "two")]
    assert index[0] == index[1]
    sums_file = (home / "out" / "SHA256SUMS").read_text().splitlines()
    assert dict(reversed(line.split("  ")) for line in sums_file) == sums(home / "out")


def test_bytes_do_not_depend_on_what_was_made_before(home, tmp_path):
    file = load_dataset_file(home / "set.yaml")
    maker = ShardMaker(plan_of(file, tmp_path, 1)[0])
    (tmp_path / "parts").mkdir()
    for number in (2, 0, 1):
        maker.make(number)
    maker.close()
    assert sums(tmp_path) == sums(home / "out")


def test_missing_and_cut_short_files_are_made_again_and_no_other(own):
    out = own / "out"
    before = sums(out)
    kept = (out / "shard-000001.tar").stat().st_mtime_ns
    (out / "shard-000000.tar").write_bytes((out / "shard-000000.tar").read_bytes()[:3000])
    (out / "shard-000002.tar").unlink()
    (out / ".shard-000002.tar.99").write_bytes(b"left by a killed worker")
    outcome = made(own)
    assert outcome.complete
    assert outcome.made == 8
    assert sums(out) == before
    assert (out / "shard-000001.tar").stat().st_mtime_ns == kept
    assert not list(out.glob(".shard-*"))


def test_another_configuration_is_refused_by_its_key(own):
    with pytest.raises(InputError) as error:
        made(own, carm={"detector_width_px": 40})
    assert "carm.detector_width_px was 32, is 40" in str(error.value)


def test_another_version_is_refused(own):
    path = own / "out" / "dataset.json"
    path.write_text(path.read_text().replace('"code": "', '"code": "9'))
    with pytest.raises(InputError, match="was begun with another version of fluoro"):
        made(own)


def test_frame_is_made_again_bit_identical_from_its_own_line(own):
    found = remake(f"{own / 'out' / 'shard-000001.tar'}:00000006")
    assert found.differing == ()
    found.write(own / "again")
    assert np.load(own / "again" / "00000006.image.npy").shape == (24, 32)


def test_frame_that_was_changed_is_found_by_making_it_again(own):
    shard = own / "out" / "shard-000000.tar"
    data = shard.read_bytes()
    with tarfile.open(shard) as tar:
        place = tar.getmember("00000002.image.npy").offset_data + 200
    shard.write_bytes(data[:place] + b"\x55\x55" + data[place + 2 :])
    assert remake(f"{shard}:00000002").differing == ("image.npy",)
    with pytest.raises(InputError, match="has no frame 00000099"):
        remake(f"{shard}:00000099")
    with pytest.raises(InputError, match="must be SHARD:KEY"):
        remake("shard")


def test_frame_is_the_first_of_a_run_of_its_own_configuration(home):
    frame = dict(frames_in(home / "out" / "shard-000002.tar"))["00000009"]
    path = home / "frame.yaml"
    path.write_bytes(frame["config.json"])
    quiet = ["console.enabled=false", "recorder.formats=[npy]", "recorder.scene_movie=false"]
    there = [f"run.output_dir={home / 'runs'}", "recorder.contact_sheet=false"]
    outcome = run_session(load_config(path, [*quiet, *there]), "frame", QuietReporter())
    (image,) = images_of(outcome.folder)
    stored = np.load(io.BytesIO(frame["image.npy"]))
    assert np.array_equal(image.astype(np.float16), stored)
    coco = json.loads((outcome.folder / "annotations.json").read_text())
    facts = json.loads(frame["json"])
    assert [a["category_id"] for a in coco["annotations"]] == [
        a["category_id"] for a in facts["annotations"]
    ]
    assert coco["images"][0]["pixel_from_world"] == facts["pixel_from_world"]


def test_tar_has_webdatasets_layout(home):
    with tarfile.open(home / "out" / "shard-000000.tar") as tar:
        members = tar.getmembers()
    names = [member.name for member in members]
    parts = ["config.json", "image.npy", "json"]
    assert names == [f"{n:08d}.{part}" for n in range(4) for part in parts]
    assert {(m.mtime, m.uid, m.gid, m.uname) for m in members} == {(0, 0, 0, "")}


@pytest.mark.parametrize("kind", ["webdataset", "hdf5"])
@pytest.mark.parametrize(
    ("pixels", "step"),
    [("float32", 0), ("float16", 1e-3), ("uint16", 1e-5), ("png8", 0.002), ("png16", 1e-5)],
)
def test_every_form_of_the_files_gives_back_the_frame(home, tmp_path, kind, pixels, step):
    shape = {"frames": 2, "frames_per_shard": 2, "frames_per_case": 2}
    given = {**shape, "format": kind, "pixels": pixels}
    file = load_dataset_file(written(tmp_path, dataset=given))
    plan = plan_of(file, tmp_path, 1)[0]
    (tmp_path / "parts").mkdir()
    maker = ShardMaker(plan)
    first = maker.make(0)
    frame = maker.frame(1)[1]
    files = dict(frames_in(plan.shard_path(0)))["00000001"]
    from fluoro.datasets.training.reader import TrainingFrame

    read = TrainingFrame("00000001", files)
    assert np.abs(read.image - np.clip(frame.image, 0, 1)).max() <= step
    masks = read.masks(STRUCTURES)
    assert masks.any(axis=(1, 2)).all()
    for label in (1, 2):
        assert np.array_equal(masks[label - 1], frame.truth.masks.mask(label))
    assert read.pixel_from_camera.tolist() == frame.camera()["pixel_from_camera"]
    assert maker.make(0).sha256 == first.sha256
    maker.close()


def test_index_leads_to_every_frame(home):
    frames = TrainingSet(home / "out")
    assert len(frames) == 12
    facts = [frames[n].facts for n in range(12)]
    assert [each["index"] for each in facts] == list(range(12))
    assert frames[3].structures == STRUCTURES
    boxes = frames[3].boxes_px(["aorta", "no such"])
    assert np.isnan(boxes[1]).all()
    assert boxes[0, 0] < boxes[0, 2]
    with pytest.raises(InputError, match="has no finished training set"):
        TrainingSet(home)
    with pytest.raises(IndexError, match=r"out: frame must be 0 to 11, got 12$"):
        frames[12]


def test_box_and_landmarks_lie_where_the_camera_matrices_say(home):
    from fluoro.volume.phantom.thorax import thorax_landmarks

    frame = TrainingSet(home / "out")[7]
    seen = {name: at for name, at in frame.landmarks.items() if at}
    assert seen
    for name, at in seen.items():
        u, v, w = np.array(frame.facts["pixel_from_world"]) @ [*thorax_landmarks()[name], 1]
        assert (u / w, v / w) == pytest.approx(at, abs=1e-6)
    heart = frame.masks(["heart"])[0]
    left, top, right, bottom = frame.boxes_px(["heart"])[0]
    rows, columns = np.nonzero(heart)
    assert left - 1 <= columns.min()
    assert columns.max() <= right + 1
    assert top - 1 <= rows.min()
    assert rows.max() <= bottom + 1


def test_unreadable_ct_among_others_is_counted_and_the_rest_goes_on(home, tmp_path):
    for name in ("a.nii", "b.nii", "c.nii"):
        small_ct(tmp_path, name)
    (tmp_path / "b.nii").write_bytes((tmp_path / "a.nii").read_bytes()[:5000])
    volume = {"phantom": None, "path": {"$files": "*.nii"}, "spacing_mm": None, "labels": None}
    empty = {"masks": None, "boxes": None, "landmarks": None}
    outcome = made(tmp_path, volume=volume, annotations=empty)
    assert (outcome.frames, outcome.failures) == (8, [])
    ((reason, count),) = outcome.left_out.items()
    assert count == 4
    assert "b.nii" in reason
    assert len(TrainingSet(tmp_path / "out")) == 8
    assert outcome.problems()[0].startswith("4 frames left out: ")
    small_ct(tmp_path, "b.nii")
    again = made(tmp_path, volume=volume, annotations=empty)
    assert (again.frames, again.made, again.problems()) == (12, 4, [])


def test_full_disk_within_a_file_leaves_the_finished_ones_and_no_part(home, tmp_path):
    written(tmp_path, dataset={"frames": 12, "frames_per_shard": 4, "frames_per_case": 4})
    arguments = ["dataset", str(tmp_path / "set.yaml"), "--workers", "1", "--output"]
    out = tmp_path / "out"
    code = (
        "import resource, sys; sys.argv = ['app.py', *sys.argv[1:]]; import app; "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (15000, resource.RLIM_INFINITY)); app.program()"
    )
    status, _, err = Program(*arguments, str(out), code=code, PYTHONPATH=str(ROOT)).end()
    assert status == 1, err
    lines = [line for line in err.splitlines() if line.startswith("fluoro: ")]
    assert len(lines) == 2
    assert re.match(
        r"fluoro: shard 0: \S+shard-000000.tar: cannot be written: File too large", lines[0]
    )
    assert not list(out.glob("shard-*"))
    assert not list(out.glob(".shard-*"))


@pytest.mark.slow
def test_killed_set_is_finished_by_the_same_command(home, tmp_path):
    dataset = {"frames": 400, "frames_per_shard": 10, "frames_per_case": 100}
    path, out = written(tmp_path, dataset=dataset), tmp_path / "out"
    arguments = ["dataset", str(path), "--workers", "2", "--output", str(out)]
    program = Program(*arguments)
    program.wait_for(lambda: len(list(out.glob("shard-*"))) >= 2)
    program.interrupt(signal.SIGKILL)
    program.end()
    there = len(list(out.glob("shard-*")))
    assert there < 40
    file = load_dataset_file(path)
    outcome = build(file, out, QuietWork(), workers=1)
    assert outcome.complete
    assert outcome.made <= 400 - 10 * (there - 2)
    assert build(file, tmp_path / "whole", QuietWork(), workers=2).complete
    assert sums(out) == sums(tmp_path / "whole")


def test_second_program_in_the_folder_is_refused(home):
    from fluoro.datasets.training.set_folder import locked

    with locked(home / "out"), pytest.raises(InputError, match="another program"):
        made(home)


def test_progress_has_rate_remaining_time_and_bytes(home, tmp_path):
    reporter = QuietWork()
    build(load_dataset_file(home / "set.yaml"), tmp_path, reporter, workers=1)
    what, done, total, figures = reporter.calls[-1]
    assert (what, done, total) == ("frames", 12, 12)
    rate, left, size = figures.split(", ")
    assert rate.endswith("/s")
    assert left == "0:00:00 left"
    assert size.endswith(" MB")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["set.yaml", "--frame", "a.tar:1"], "--frame makes frames again: CONFIG has no effect"),
        (["--frame", "a.tar:1", "--workers", "2"], "--workers has no effect"),
        (["set.yaml", "--preview", "--ray"], "--preview renders here: --ray has no effect"),
        (["set.yaml", "--ray", "--workers", "2"], "number of tasks: --workers has no effect"),
        ([], "dataset needs a YAML file, or --frame SHARD:KEY"),
    ],
)
def test_option_without_effect_is_refused(arguments, line, capsys):
    import app

    assert app.main(["dataset", *arguments]) == 2
    assert line in capsys.readouterr().err


def test_preview_is_a_page_of_frames_and_no_set(home, tmp_path):
    file = load_dataset_file(home / "set.yaml")
    plan = plan_of(file, tmp_path, 1)[0]
    work = QuietWork()
    assert write_preview(plan, tmp_path / "preview.png", work) == 12
    assert [done for _, done, total, _ in work.calls if total == 12] == [*range(13)]
    with Image.open(tmp_path / "preview.png") as page:
        assert page.width > 1000
        assert len(page.convert("RGB").getcolors(10**6)) > 100
    assert [path.name for path in tmp_path.iterdir()] == ["preview.png"]


def test_worker_begins_with_ctrl_c_held_back_while_it_is_imported(
    monkeypatch,
):
    from multiprocessing.context import SpawnProcess

    masks = []

    def record(_process):
        masks.append(signal.pthread_sigmask(signal.SIG_BLOCK, []))
        raise OSError("no process")

    monkeypatch.setattr(SpawnProcess, "start", record)
    with pytest.raises(OSError, match="no process"):
        list(in_processes(DYING, "", range(1), 1))
    assert signal.SIGINT in masks[0]
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def events(folder, count, kind, processes=2):
    return list(in_processes(DYING, f"{folder}/{count}/{kind}", range(4), processes))


@pytest.mark.parametrize("kind", ["killed", "memory"])
def test_item_of_a_killed_worker_is_done_by_another(tmp_path, kind):
    found = events(tmp_path, 2, kind)
    assert sorted(e.number for e in found if isinstance(e, Done)) == [0, 1, 2, 3]
    assert not [e for e in found if isinstance(e, Failed)]
    assert Step(30) in found


def test_worker_that_is_always_killed_costs_its_item_alone(tmp_path):
    found = events(tmp_path, 99, "killed")
    assert sorted(e.number for e in found if isinstance(e, Done)) == [0, 2, 3]
    (failed,) = (e for e in found if isinstance(e, Failed))
    assert failed.number == 1
    assert "signal SIGKILL; out of memory?" in failed.reason
    assert len(list(tmp_path.iterdir())) == 3


def test_error_of_an_item_is_one_line_and_the_rest_goes_on(tmp_path):
    found = events(tmp_path, 99, "broken", processes=1)
    (failed,) = (e for e in found if isinstance(e, Failed))
    assert failed.reason == "shard 1: a broken kernel"
    assert len([e for e in found if isinstance(e, Done)]) == 3


def test_full_disk_begins_no_other_item(tmp_path):
    found = events(tmp_path, 99, "full", processes=1)
    assert [e.number for e in found if isinstance(e, Done)] == [0]
    (failed,) = (e for e in found if isinstance(e, Failed))
    assert "No space left on device" in failed.reason


def test_missing_package_is_named_before_anything_is_rendered(home, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pyarrow: .* -m pip install pyarrow"):
        build(load_dataset_file(home / "set.yaml"), tmp_path / "out", QuietWork())
    assert not (tmp_path / "out").exists()


def test_mask_of_run_lengths_is_the_mask():
    from fluoro.annotations.coco import mask_rle

    for mask in (np.eye(5, 7) > 0, np.zeros((3, 4), bool), np.ones((3, 4), bool)):
        assert np.array_equal(decoded_mask(mask_rle(mask)), mask)


def test_shipped_file_is_valid_and_its_first_frames_can_be_drawn():
    status, out, err = Program("validate", "dataset").end()
    assert (status, err) == (0, "")
    assert out.strip().endswith("dataset.yaml: valid")
    assert Path(ROOT / "configs" / "dataset.yaml").is_file()


def test_instrument_moves_with_the_frames_time_and_has_its_truth(home, tmp_path):
    tool = {
        "kind": "tool",
        "name": "nail",
        "preset": "k_wire",
        "length_mm": 120,
        "diameter_mm": 6,
        "poses": [
            {"time_s": 0, "position_mm": [0, 60, 0], "axis": [0, 1, 0.5]},
            {"time_s": 4, "position_mm": [0, -60, 0], "axis": [0, 1, 0.5]},
        ],
    }
    path = written(
        tmp_path,
        dataset={"frames": 4, "time_s": {"$uniform": [0, 4]}},
        volume={"materials": {"inclusions": [tool]}},
        annotations={"instruments": {}},
        image_chain={"xray": {}},
        pose_source={"lao_deg": 90},
    )
    maker = ShardMaker(plan_of(load_dataset_file(path), tmp_path, 1)[0])
    frames = [maker.frame(index) for index in range(4)]
    maker.close()
    tips_px = []
    for _, frame in frames:
        (nail,) = (each for each in frame.categories if each["name"] == "nail")
        (found,) = (a for a in frame.truth.annotations() if a["category_id"] == nail["id"])
        tips_px.append(found["bbox"][0])
    times_s = [spec.time_s for spec, _ in frames]
    assert len(set(times_s)) == 4
    order = np.argsort(times_s)
    steps = np.diff(np.array(tips_px)[order])
    assert (steps > 0).all() or (steps < 0).all()

"""Annotations of a run, as files."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

import app
from fluoro.annotations.coco import decoded_counts
from fluoro.recording.formats.coco_writer import finish_coco

YAML = """
volume: {phantom: thorax, spacing_mm: 4, labels: {structures: [heart, aorta, vertebrae_T8]}}
pose_source: {kind: sweep, lao_range_deg: [-40, 40], period_s: 0.2}
annotations: {masks: {files: FILES, thickness: true, visible_share: 0.1}, boxes: {}, landmarks: {}}
carm: {detector_width_px: 48, detector_height_px: 40, pixel_spacing_mm: 6}
renderer: {device: cpu, projector: joseph}
console: {enabled: false}
recorder: {enabled: true, formats: [png], scene_movie: false, contact_sheet: false}
run: {frames: 3, pacing: free_running, name: run}
"""


def decoded(rle):
    counts = decoded_counts(rle["counts"])
    values = np.repeat(np.arange(len(counts)) % 2, counts).astype(bool)
    return values.reshape(rle["size"], order="F")


@pytest.mark.parametrize("files", ["png", "npz"])
def test_a_run_leaves_coco_and_masks_that_agree(tmp_path, monkeypatch, files):
    monkeypatch.setenv("FLUORO_OUTPUT_DIR", str(tmp_path))
    (tmp_path / "run.yaml").write_text(YAML.replace("FILES", files))
    assert app.main(["run", str(tmp_path / "run.yaml")]) == 0
    folder = tmp_path / "run"
    document = json.loads((folder / "annotations.json").read_text())
    assert not (folder / "annotations-recording.jsonl").exists()
    assert [image["id"] for image in document["images"]] == [0, 1, 2]
    names = {each["id"]: each["name"] for each in document["categories"]}
    assert {"heart", "aorta", "vertebrae_T8", "landmarks"} == set(names.values())
    ids = [each["id"] for each in document["annotations"]]
    assert ids == list(range(1, len(ids) + 1))
    for image in document["images"]:
        assert (folder / image["file_name"]).is_file()
        assert np.array(image["pixel_from_world"]).shape == (3, 4)
    for each in document["annotations"]:
        if names[each["category_id"]] == "landmarks":
            assert each["num_keypoints"] > 5
            continue
        mask = decoded(each["segmentation"])
        assert mask.sum() == each["area"]
        assert decoded(each["visible"]).sum() == each["visible_area"] <= each["area"]
        np.testing.assert_array_equal(mask, recorded(folder, each, files))


def recorded(folder, annotation, files):
    """The mask of an annotation in the files beside it."""
    frame, category = annotation["image_id"], annotation["category_id"]
    if files == "png":
        with Image.open(folder / "masks" / f"frame_{frame:04d}_{category:03d}.png") as image:
            return np.asarray(image) > 0
    with np.load(folder / "masks" / f"frame_{frame:04d}.npz") as arrays:
        at = int(np.flatnonzero(arrays["numbers"] == category)[0])
        lengths = arrays["lengths_mm"][at]
        np.testing.assert_array_equal(lengths > 0, arrays["masks"][at])
        return arrays["masks"][at]


def test_the_lines_of_a_killed_run_become_coco_but_for_a_line_that_was_cut(tmp_path):
    lines = [
        {"categories": [{"id": 51, "name": "heart"}]},
        {"image": {"id": 0}, "annotations": [{"category_id": 51, "bbox": [1, 2, 3, 4]}]},
        {"image": {"id": 1}, "annotations": []},
    ]
    text = "\n".join(map(json.dumps, lines)) + '\n{"image": {"id": 2}, "anno'
    (tmp_path / "annotations-recording.jsonl").write_text(text)
    assert finish_coco(tmp_path)
    document = json.loads((tmp_path / "annotations.json").read_text())
    assert [image["id"] for image in document["images"]] == [0, 1]
    (annotation,) = document["annotations"]
    assert annotation == {"id": 1, "image_id": 0, "category_id": 51, "bbox": [1, 2, 3, 4]}
    assert not finish_coco(tmp_path)

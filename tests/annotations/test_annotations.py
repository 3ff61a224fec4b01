"""The truth of a frame: boxes, landmarks, COCO's words, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluoro.annotations.boxes import BoxAnnotator
from fluoro.annotations.coco import compressed_counts, decoded_counts, mask_rle
from fluoro.annotations.landmark_files import read_landmarks
from fluoro.annotations.landmarks import LANDMARKS_CATEGORY, LandmarkAnnotator, LandmarkConfig
from fluoro.annotations.truth import make_truth
from fluoro.config import load_config
from fluoro.errors import InputError
from fluoro.geometry.carm import CarmPose
from fluoro.rendering.devices.cpu.device import CpuDevice
from fluoro.rendering.label_renderer import LabelRenderer, bits_of
from fluoro.volume.load import load_volume
from tests.rendering.test_label_renderer import POSES, blobs, view_at

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.parametrize("pose", POSES.values(), ids=POSES)
def test_boxes_are_those_of_all_voxel_corners_to_a_hundredth_of_a_pixel(pose):
    labels = blobs(12)
    view = view_at(pose, labels)
    boxes = BoxAnnotator(labels).begin(view).boxes_px
    corners = np.array(np.meshgrid(*[(-0.5, 0.5)] * 3)).reshape(3, 8).T
    for label, box in enumerate(boxes, start=1):
        z, y, x = np.nonzero(labels.label_zyx == label)
        index = (np.stack([x, y, z], 1)[:, None] + corners).reshape(-1, 3)
        matrix = labels.grid.world_from_index
        uvw = (index @ matrix[:3, :3].T + matrix[:3, 3]) @ view.pixel_from_world[:, :3].T
        uvw += view.pixel_from_world[:, 3]
        pixels = np.clip(uvw[:, :2] / uvw[:, 2:], 0, [view.width_px, view.height_px])
        expected = [*pixels.min(axis=0), *pixels.max(axis=0)]
        if box is None:
            assert expected[0] >= expected[2] or expected[1] >= expected[3]
        else:
            np.testing.assert_allclose(box, expected, atol=0.01)


def test_a_box_holds_the_mask_and_is_no_wider_than_a_pixel_more():
    labels = blobs(8)
    view = view_at(POSES["oblique"], labels)
    device = CpuDevice(1)
    masks = LabelRenderer(labels, device).masks(view).masks
    for label, box in enumerate(BoxAnnotator(labels).begin(view).boxes_px, start=1):
        rows, columns = np.nonzero(bits_of(masks, label))
        if not rows.size:
            continue
        left, top, right, bottom = box
        centres = [columns.min() + 0.5, rows.min() + 0.5, columns.max() + 0.5, rows.max() + 0.5]
        assert left <= centres[0]
        assert top <= centres[1]
        assert right >= centres[2]
        assert bottom >= centres[3]
        np.testing.assert_allclose(box, centres, atol=1.6)
    device.close()


@given(st.lists(st.integers(0, 300_000), min_size=1, max_size=30))
def test_run_lengths_come_back_from_their_text(counts):
    assert decoded_counts(compressed_counts(counts)) == counts


def test_run_lengths_go_down_the_columns_and_begin_with_zeros():
    mask = np.array([[1, 0, 0], [1, 1, 0]], bool)
    rle = mask_rle(mask)
    assert rle["size"] == [2, 3]
    assert decoded_counts(rle["counts"]) == [0, 2, 1, 1, 2]
    # as pycocotools 2.0 writes it
    assert rle["counts"] == "021O1"


def test_an_empty_and_a_full_mask_have_one_run():
    assert decoded_counts(mask_rle(np.zeros((3, 4), bool))["counts"]) == [12]
    assert decoded_counts(mask_rle(np.ones((3, 4), bool))["counts"]) == [0, 12]


POINTS = {"apex": (10.0, -20.0, 30.0), "carina": (-5.0, 7.5, 2.0)}


def markups(system, points):
    controls = [{"label": name, "position": list(p)} for name, p in points.items()]
    return json.dumps({"markups": [{"coordinateSystem": system, "controlPoints": controls}]})


def fcsv(system, points):
    head = f"# Markups fiducial file version = 4.11\n# CoordinateSystem = {system}\n"
    columns = "# columns = id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID\n"
    rows = [f"f{n},{x},{y},{z},0,0,0,1,1,1,0,{name},,\n" for n, (name, (x, y, z)) in
            enumerate(points.items())]  # fmt: skip
    return head + columns + "".join(rows)


def in_ras(points):
    return {name: (-x, -y, z) for name, (x, y, z) in points.items()}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.mrk.json", markups("LPS", POINTS)),
        ("a.mrk.json", markups("RAS", in_ras(POINTS))),
        ("a.mrk.json", markups(1, POINTS)),
        ("a.fcsv", fcsv("LPS", POINTS)),
        ("a.fcsv", fcsv("0", in_ras(POINTS))),
        ("a.csv", "name,x,y,z\napex,10,-20,30\ncarina,-5,7.5,2\n"),
    ],
)
def test_landmarks_of_every_format_are_in_lps(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    assert read_landmarks(tmp_path / name) == POINTS


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("a.mrk.json", "{}", "is no file of 3D Slicer's markups"),
        ("a.mrk.json", markups("XYZ", POINTS), "must be LPS or RAS, got 'XYZ'"),
        ("a.fcsv", "1,2,3\n", "is no file of 3D Slicer's fiducials"),
        ("a.csv", "x,y\n1,2\n", "must have the columns name, x, y, z, got x, y"),
        ("a.csv", "name,x,y,z\na,1,2,nan\n", "'a' must have finite numbers"),
        ("a.csv", "name,x,y,z\na,1,2,3\na,1,2,4\n", "names must differ and not be empty, got 'a'"),
        ("a.csv", "name,x,y,z\n", "has no landmarks"),
        ("a.txt", "", "must be a .mrk.json, .fcsv or .csv file"),
    ],
)
def test_files_without_landmarks_are_refused_in_one_line(tmp_path, name, text, line):
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError) as caught:
        read_landmarks(tmp_path / name)
    assert line in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_landmarks_are_where_the_projection_matrix_has_them():
    labels = blobs(1)
    view = view_at(POSES["oblique"], labels)
    centre = labels.grid.center_xyz_mm
    points = {"middle": tuple(centre), "aside": tuple(np.add(centre, (500.0, 0.0, 0.0)))}
    part = LandmarkAnnotator(points).begin(view)
    for point, pixel in zip(points.values(), part.pixels_uv, strict=True):
        u, v, w = view.pixel_from_world @ [*point, 1.0]
        np.testing.assert_allclose(pixel, [u / w, v / w], atol=0.01)
    assert part.inside.tolist() == [True, False]
    fields = part.coco()[LANDMARKS_CATEGORY]
    assert fields["keypoints"][2::3] == [2, 0]
    assert fields["num_keypoints"] == 1


def phantom_config(**annotations):
    settings = [
        "volume={phantom: thorax, spacing_mm: 4, labels: {structures: [heart, aorta, bone]}}",
        f"annotations={json.dumps(annotations)}",
        "pose_source={kind: static}",
        "carm.detector_width_px=64",
        "carm.detector_height_px=64",
        "carm.pixel_spacing_mm=4.8",
    ]
    return load_config(ROOT / "configs" / "orbit.yaml", settings)


def test_a_file_in_ras_that_says_lps_is_pointed_at(tmp_path):
    config = phantom_config(landmarks={})
    volume = load_volume(config.volume)
    points = {"apex": (100.0, -60.0, 30.0), "tip": (-150.0, 90.0, 0.0)}
    grid = volume.grid
    low = grid.world_from_index @ [0, 0, 0, 1]
    from dataclasses import replace

    from fluoro.annotations.base import AnnotationSetup

    moved = replace(volume, grid=replace(grid, origin_xyz_mm=(float(low[0]) + 250, *low[1:3])))
    path = tmp_path / "a.csv"
    path.write_text("name,x,y,z\n" + "".join(f"{n},{-x - 60},{-y},{z}\n" for n, (x, y, z) in
                                             {"apex": points["apex"]}.items()))  # fmt: skip
    setup = AnnotationSetup(config=config, volume=moved, labels=None, device=CpuDevice(1))
    with pytest.raises(InputError) as caught:
        LandmarkConfig(path=path).make(setup)
    assert "'apex' lies at (-160.0, 60.0, 30.0) mm (LPS), outside the volume" in str(caught.value)
    assert "in RAS all would lie inside" in str(caught.value)
    LandmarkConfig(path=path, coordinates="RAS").make(setup)


def test_the_truth_of_a_view_of_the_phantom():
    config = phantom_config(masks={"visible_share": 0.05}, boxes={}, landmarks={})
    volume = load_volume(config.volume)
    device = CpuDevice(2)
    maker = make_truth(config, volume, device)
    from fluoro.geometry.from_config import make_geometry

    view = make_geometry(config.carm).view(CarmPose(), volume.grid.center_xyz_mm.tolist())
    truth = maker.begin(view)
    names = [each.name for each in truth.structures]
    heart = names.index("heart") + 1
    assert truth.masks.areas_px[heart - 1] > 200
    visible = truth.masks.visible(heart)
    assert 0 < visible.sum() <= truth.masks.areas_px[heart - 1]
    assert truth.masks.label_image().max() <= len(names)
    found = {each["category_id"]: each for each in truth.annotations()}
    entry = found[truth.structures[heart - 1].number]
    assert {"segmentation", "area", "visible", "bbox", "iscrowd"} <= set(entry)
    assert found[LANDMARKS_CATEGORY]["num_keypoints"] > 10
    assert {each["id"] for each in maker.categories()} >= set(found)
    k = np.array(truth.camera()["pixel_from_camera"])
    extrinsic = np.array(truth.camera()["camera_from_world"])[:3]
    p = np.array(truth.camera()["pixel_from_world"])
    scale = (k @ extrinsic)[2, 1] / p[2, 1]
    np.testing.assert_allclose(k @ extrinsic, scale * p, atol=1e-6)
    device.close()


@pytest.mark.parametrize(
    ("setting", "line"),
    [
        ("annotations={masks: {}}", "annotations.masks: needs volume.labels"),
        ("annotations={boxes: {}}", "annotations.boxes: needs volume.labels"),
        ("annotations={landmarks: {coordinates: RAS}}", "landmarks.coordinates: has no effect"),
        ("annotations={masks: {visible_share: 0}}", "annotations.masks.visible_share"),
    ],
)
def test_errors_in_the_section_are_one_line(setting, line):
    with pytest.raises(InputError) as caught:
        load_config(ROOT / "configs" / "orbit.yaml", [setting])
    assert line in str(caught.value)

"""The truth of a frame: boxes, landmarks, COCO's words, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
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
from fluoro.geometry.from_config import make_geometry
from fluoro.geometry.projection import View
from fluoro.rendering.devices.cpu.device import CpuDevice
from fluoro.rendering.label_renderer import LabelRenderer, bits_of
from fluoro.volume.labels.load import load_labels
from fluoro.volume.load import load_volume
from tests.rendering.test_label_renderer import POSES, blobs, view_at

ROOT = Path(__file__).parent.parent.parent


def projected(labels, label, view, places):
    """Pixels of places in each voxel of a structure, given as index from the voxel's centre."""
    z, y, x = np.nonzero(labels.label_zyx == label)
    index = (np.stack([x, y, z], 1)[:, None] + places).reshape(-1, 3)
    matrix = view.pixel_from_world @ labels.grid.world_from_index
    uvw = index @ matrix[:, :3].T + matrix[:, 3]
    return uvw[:, :2] / uvw[:, 2:]


def in_image(pixels, view, border=0.0):
    size = np.array([view.width_px, view.height_px])
    return ((pixels >= border) & (pixels <= size - border)).all(axis=-1)


def bounds(pixels):
    return [*pixels.min(axis=0), *pixels.max(axis=0)]


@pytest.mark.parametrize("pose", POSES.values(), ids=POSES)
def test_boxes_are_those_of_all_voxel_corners_to_a_hundredth_of_a_pixel(pose):
    labels = blobs(12)
    view = view_at(pose, labels)
    corners = np.array(np.meshgrid(*[(-0.5, 0.5)] * 3)).reshape(3, 8).T
    whole = 0
    for label, box in enumerate(BoxAnnotator(labels).begin(view).boxes_px, start=1):
        pixels = projected(labels, label, view, corners)
        if in_image(pixels, view).all():
            np.testing.assert_allclose(box, bounds(pixels), atol=0.01)
            whole += 1
    assert whole > 2


SHIFTS = [(80, 0, 0), (-80, 0, 0), (0, 0, 60), (0, 0, -60), (60, 20, 50), (-40, -30, -70)]


def expected_cut(labels, label, view):
    """Bounds of points in the image, and whether it has all of the structure; None: no point.

    In the image is what lies between the centres of its outermost pixels, of voxels that have a
    point there in the plane where masks have their samples.
    """
    places = np.array(np.meshgrid(*[np.linspace(-0.5, 0.5, 15)] * 3)).reshape(3, -1).T
    pixels = projected(labels, label, view, places).reshape(-1, len(places), 2)
    voxels = np.argwhere(labels.label_zyx == label)[:, ::-1]
    lead = np.abs(voxels - (labels.grid.index_from_world @ [*view.source_xyz_mm, 1])[:3])
    middle = np.abs(places.T[lead.argmax(axis=1)]) < 1e-9
    seen = in_image(pixels, view, border=0.5)
    seen &= (seen & middle).any(axis=1)[:, None]
    if not seen.any():
        return None, False
    size, found = np.array([view.width_px, view.height_px]), bounds(pixels[seen])
    low = np.where(np.array(found[:2]) < 0.51, 0, found[:2])
    high = np.where(size - found[2:] < 0.51, size, found[2:])
    return [*low, *high], in_image(pixels, view).all()


@pytest.mark.parametrize("shift_mm", SHIFTS, ids=str)
def test_a_box_that_the_image_cuts_is_that_of_the_points_in_the_image(shift_mm):
    labels = blobs(30)
    view = view_at(CarmPose(lao_deg=15.0, translation_mm=shift_mm), labels)
    cut = 0
    for label, box in enumerate(BoxAnnotator(labels).begin(view).boxes_px, start=1):
        expected, whole = expected_cut(labels, label, view)
        if whole:
            continue
        if expected and box:
            cut += 1
            np.testing.assert_allclose(box, expected, atol=0.05)
        else:
            assert expected is box is None
    assert cut > 1


def test_what_lies_behind_the_source_has_no_part_in_the_box():
    labels = blobs(1)
    label_zyx = np.zeros_like(labels.label_zyx)
    label_zyx[10, :, 15] = 1
    labels = replace(labels, label_zyx=label_zyx)
    middle = labels.grid.world_from_index @ [15, 12.5, 10, 1]
    along = labels.grid.world_from_index[:3, 1]
    columns = labels.grid.world_from_index[:3, 0] / 5
    view = View(
        source_xyz_mm=middle[:3] + 0.5 * columns,
        corner_xyz_mm=middle[:3] + 60 * along - 20 * columns - [0, 0, 15.0],
        column_step_xyz_mm=columns,
        row_step_xyz_mm=np.array([0, 0, 1.0]),
        width_px=40,
        height_px=30,
    )
    assert BoxAnnotator(labels).begin(view).boxes_px[0] is not None
    behind = replace(view, corner_xyz_mm=view.corner_xyz_mm - 120 * along)
    label_zyx[10, :13, 15] = 0
    assert BoxAnnotator(labels).begin(behind).boxes_px[0] is None


def shifted_views(volume, carm, count=12):
    """Views of a volume that is shifted out of the image in all directions."""
    rng = np.random.default_rng(3)
    for _ in range(count):
        lao, cra = rng.uniform(-90, 90), rng.uniform(-25, 25)
        pose = CarmPose(lao_deg=lao, cra_deg=cra, translation_mm=tuple(rng.uniform(-90, 90, 3)))
        yield make_geometry(carm).view(pose, volume.grid.center_xyz_mm.tolist())


def mask_bounds(mask):
    rows, columns = np.nonzero(mask)
    return np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1], float)


def overlap(a, b):
    """Intersection over union of two boxes."""
    sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    shared = np.prod(np.maximum(sides, 0))
    return shared / (np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - shared)


def test_boxes_of_ribs_that_the_image_cuts_are_those_of_their_masks():
    config = load_config(
        ROOT / "configs" / "orbit.yaml",
        [
            "volume={phantom: thorax, spacing_mm: 3, labels: {structures: [bone, heart]}}",
            "carm={source_to_detector_mm: 1200, source_to_isocenter_mm: 900, "
            "detector_width_px: 200, detector_height_px: 160, pixel_spacing_mm: 1.4}",
        ],
    )
    volume = load_volume(config.volume)
    labels, device = load_labels(config.volume, volume.grid), CpuDevice(2)
    boxes, renderer = BoxAnnotator(labels), LabelRenderer(labels, device)
    overlaps, off, empty = [], [], 0
    for view in shifted_views(volume, config.carm):
        masks = renderer.masks(view).masks
        for label, box in enumerate(boxes.begin(view).boxes_px, start=1):
            mask = bits_of(masks, label)
            if not mask.any():
                empty += 1
                assert box is None or min(box[2] - box[0], box[3] - box[1]) < 1.5
                continue
            found, wanted = np.array(box), mask_bounds(mask)
            assert ((found - wanted) * [1, 1, -1, -1] < 1.6).all()
            if mask.sum() > 30:
                overlaps.append(overlap(found, wanted))
                off.append(np.abs(found - wanted).max())
    device.close()
    assert empty > 50
    # the rest: what is thinner than a pixel along the border, between the rays of the mask
    assert np.mean(np.array(overlaps) > 0.8) > 0.98
    assert np.mean(np.array(off) < 1.6) > 0.98
    assert np.mean(overlaps) > 0.95


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

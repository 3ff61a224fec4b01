"""Cameras in and out, points there and back, why an image is black, and images in blocks."""

import itertools

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from fluoro.errors import InputError
from fluoro.geometry.carm import CarmGeometry, CarmPose
from fluoro.geometry.projection import View, camera_matrices, project_points
from fluoro.rendering.devices.cpu.device import CpuDevice
from fluoro.rendering.empty_image import beam_meets, explain_miss
from fluoro.rendering.reference import clip_rays
from fluoro.rendering.renderer import DrrRenderer
from fluoro.rendering.tiles import iter_tiles, render_tiled
from fluoro.volume.grid import VolumeGrid
from tests import volumes

ROUNDING_MM = 1e-7
FIELDS = ("source_xyz_mm", "corner_xyz_mm", "column_step_xyz_mm", "row_step_xyz_mm")
GEOMETRY = CarmGeometry(
    detector_width_px=120,
    detector_height_px=90,
    pixel_spacing_mm=2.0,
    detector_offset_mm=(11.0, -7.0),
)
CENTER_XYZ_MM = (12.0, -34.0, 56.0)
POINTS_XYZ_MM = np.random.default_rng(3).normal(size=(20, 3)) * 60 + CENTER_XYZ_MM
CENTERS = ["half", "integer"]
SIGNS_AND_SKEW = [*itertools.product(itertools.product((1, -1), repeat=3), (0, 40.0))]


def random_view(seed):
    rng = np.random.default_rng(seed)
    angles = rng.uniform(-180, 180, 3) * [1, 0.45, 1]
    pose = CarmPose(
        lao_deg=angles[0],
        cra_deg=angles[1],
        roll_deg=angles[2],
        translation_mm=tuple(rng.normal(size=3) * 30),
    )
    return GEOMETRY.view(pose, CENTER_XYZ_MM)


def same_views(view, other):
    for name in FIELDS:
        np.testing.assert_allclose(getattr(view, name), getattr(other, name), atol=ROUNDING_MM)


# -- projection matrices -----------------------------------------------------------------------


@pytest.mark.parametrize("centers", CENTERS)
@pytest.mark.parametrize("seed", range(10))
def test_view_comes_back_from_its_matrix_of_any_scale_and_sign(seed, centers):
    view = random_view(seed)
    matrix = view.projection_matrix(centers) * (-1) ** seed * 10.0 ** (seed - 5)
    lengths = {"source_to_detector_mm": 1020.0} if seed % 2 else {"pixel_spacing_mm": 2.0}
    again = View.from_projection_matrix(
        matrix, 120, 90, in_front_xyz_mm=CENTER_XYZ_MM, pixel_centers=centers, **lengths
    )
    same_views(again, view)


@pytest.mark.parametrize(("signs", "skew"), SIGNS_AND_SKEW)
def test_any_signs_of_focal_lengths_and_handedness_project_as_the_matrix_says(signs, skew):
    fx, fy, handed = signs
    k = np.array([[fx * 2040.0, skew, 300.0], [0, fy * 1900.0, 250.0], [0, 0, 1]])
    extrinsic = np.eye(4)
    turn = Rotation.from_euler("zyx", [20, -30, 40], degrees=True).as_matrix()
    extrinsic[:3, :3] = np.diag([handed, 1, 1]) @ turn
    extrinsic[:3, 3] = [5.0, -8.0, 700.0] - extrinsic[:3, :3] @ CENTER_XYZ_MM
    matrix = k @ extrinsic[:3]
    view = View.from_camera(
        k, extrinsic, 600, 500, in_front_xyz_mm=CENTER_XYZ_MM, source_to_detector_mm=1000.0
    )
    np.testing.assert_allclose(view.project(POINTS_XYZ_MM), project_points(matrix, POINTS_XYZ_MM))
    assert view.seen_from_detector == (fx * fy * handed < 0)
    pixels = view.pixel_centers_xyz_mm()[[0, 0, -1], [0, -1, 0]]
    depth = pixels @ extrinsic[2, :3] + extrinsic[2, 3]
    np.testing.assert_allclose(depth, 1000.0)


def test_skewed_matrix_keeps_its_skew():
    k = np.array([[2000.0, 55.0, 300.0], [0, 2000.0, 250.0], [0, 0, 1]])
    extrinsic = np.eye(4)
    view = View.from_camera(k, extrinsic, 600, 500, source_to_detector_mm=1000.0)
    np.testing.assert_allclose(
        view.pixel_from_world / view.pixel_from_world[2, 2], k @ extrinsic[:3], atol=1e-9
    )
    with pytest.raises(InputError, match="right angles"):
        camera_matrices(view)


@pytest.mark.parametrize("towards", ["detector", "source"])
@pytest.mark.parametrize("centers", CENTERS)
@pytest.mark.parametrize("seed", range(5))
def test_camera_that_is_written_is_read_back(seed, centers, towards):
    view = random_view(seed)
    k, extrinsic = camera_matrices(view, pixel_centers=centers, z_towards=towards)
    assert np.linalg.det(extrinsic[:3, :3]) == pytest.approx(1)
    assert (
        np.sign([k[0, 0], k[1, 1]]).tolist() == {"detector": [-1, 1], "source": [-1, -1]}[towards]
    )
    again = View.from_camera(
        k, extrinsic, 120, 90, pixel_centers=centers, source_to_detector_mm=1020.0
    )
    same_views(again, view)


def test_pixel_conventions_differ_by_half_a_pixel():
    view = random_view(0)
    half, integer = view.project(POINTS_XYZ_MM), view.project(POINTS_XYZ_MM, "integer")
    np.testing.assert_allclose(half - integer, 0.5, atol=1e-9)
    k_half, k_integer = (camera_matrices(view, pixel_centers=name)[0] for name in CENTERS)
    np.testing.assert_allclose((k_half - k_integer)[:2, 2], 0.5, atol=1e-9)


def test_deepfluoros_convention_is_read_as_its_rule_says():
    # u = K (extrinsic inv(cam_to_vol))[:3] X: z from detector to source, integer pixel centres
    k = np.array([[-5257.732, 0, 767.5], [0, -5257.732, 767.5], [0, 0, 1]])
    extrinsic = np.eye(4)
    extrinsic[:3, :3] = Rotation.from_euler("xyz", [1, 2, 3], degrees=True).as_matrix()
    extrinsic[:3, 3] = [3.0, -2.0, 5.0]
    camera_to_volume = np.eye(4)
    camera_to_volume[:3, :3] = Rotation.from_euler("zyx", [100, 20, -75], degrees=True).as_matrix()
    camera_to_volume[:3, 3] = camera_to_volume[:3, :3] @ [0, 0, 650] + CENTER_XYZ_MM
    camera_from_volume = extrinsic @ np.linalg.inv(camera_to_volume)
    assert (camera_from_volume @ [*CENTER_XYZ_MM, 1])[2] < 0, "the patient is at negative depths"
    view = View.from_camera(
        k, camera_from_volume, 1536, 1536, pixel_centers="integer", pixel_spacing_mm=0.194
    )
    homogeneous = np.column_stack([POINTS_XYZ_MM, np.ones(20)]) @ (k @ camera_from_volume[:3]).T
    expected = homogeneous[:, :2] / homogeneous[:, 2:]
    np.testing.assert_allclose(view.project(POINTS_XYZ_MM, "integer"), expected, atol=1e-6)
    assert view.seen_from_detector
    again, _ = camera_matrices(view, pixel_centers="integer", z_towards="source")
    np.testing.assert_allclose(again, k, atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        (
            {"pixel_spacing_mm": 1.0},
            "must have exactly one of source_to_detector_mm, pixel_spacing",
        ),
        ({"source_to_detector_mm": None}, "must have exactly one of"),
        ({"source_to_detector_mm": -3.0}, "source_to_detector_mm must be a positive length"),
        ({"pixel_centers": "corner"}, "pixel_centers must be 'half' or 'integer', got 'corner'"),
        ({"pixel_from_world": np.eye(3)}, r"must be 3x4 finite numbers, got shape \(3, 3\)"),
        ({"pixel_from_world": np.full((3, 4), np.nan)}, "must be 3x4 finite numbers"),
        (
            {"pixel_from_world": np.eye(4)[[0, 1, 3]]},
            "must have a point source, got one at infinity",
        ),
        ({"in_front_xyz_mm": None}, "in_front_xyz_mm must be a point before the source"),
    ],
)
def test_matrix_that_is_no_camera_is_refused(changes, complaint):
    view = random_view(1)
    values = {
        "pixel_from_world": view.pixel_from_world,
        "in_front_xyz_mm": CENTER_XYZ_MM,
        "source_to_detector_mm": 1020.0,
        **changes,
    }
    if values["in_front_xyz_mm"] is None:
        values["in_front_xyz_mm"] = view.source_xyz_mm + view.column_step_xyz_mm
    with pytest.raises(InputError, match=complaint):
        View.from_projection_matrix(width_px=120, height_px=90, **values)


@pytest.mark.parametrize(
    ("k", "extrinsic", "complaint"),
    [
        (np.zeros((3, 3)), np.eye(4), "must be upper triangular with fx, fy"),
        (np.eye(3) + np.eye(3, k=-1), np.eye(4), "must be upper triangular"),
        (np.eye(3), np.eye(4) * 2, "must end with the row 0 0 0 1"),
        (np.eye(3), np.diag([2.0, 1, 1, 1]), r"must turn without stretching.*\[2.0, 1.0, 1.0\]"),
        (np.eye(3), np.eye(2), r"camera_from_world must be 4x4 or 3x4 finite numbers"),
    ],
)
def test_matrices_that_are_no_camera_are_refused(k, extrinsic, complaint):
    with pytest.raises(InputError, match=complaint):
        View.from_camera(k, extrinsic, 10, 10, source_to_detector_mm=100.0)


# -- points ------------------------------------------------------------------------------------


@pytest.mark.parametrize("centers", CENTERS)
def test_back_projected_pixel_lies_on_the_ray_of_its_point(centers):
    view = random_view(2)
    on_detector = view.back_project(view.project(POINTS_XYZ_MM, centers), centers)
    rays, wanted = on_detector - view.source_xyz_mm, POINTS_XYZ_MM - view.source_xyz_mm
    np.testing.assert_allclose(np.cross(rays, wanted), 0, atol=1e-6)
    assert (np.einsum("ij,ij->i", rays, wanted) > 0).all()


def test_points_behind_the_source_have_no_pixel():
    view = random_view(2)
    behind = 2 * view.source_xyz_mm - CENTER_XYZ_MM
    assert np.isnan(view.project(behind)).all()
    assert np.isfinite(view.project(np.stack([CENTER_XYZ_MM, behind]))[0]).all()


def test_mirrored_view_has_the_same_rays_in_the_other_order():
    view = random_view(4)
    np.testing.assert_allclose(
        view.mirrored().pixel_centers_xyz_mm(), view.pixel_centers_xyz_mm()[:, ::-1], atol=1e-9
    )
    assert view.seen_from_detector
    assert not view.mirrored().seen_from_detector


def test_part_of_a_view_is_those_pixels():
    view = random_view(5)
    np.testing.assert_allclose(
        view.part((10, 50), (3, 90)).pixel_centers_xyz_mm(),
        view.pixel_centers_xyz_mm()[3:90, 10:50],
        atol=1e-9,
    )
    with pytest.raises(InputError, match="rows must be a range within 0 to 90"):
        view.part((0, 5), (80, 91))


# -- why is it black ---------------------------------------------------------------------------

AWAY = VolumeGrid(
    shape_zyx=(50, 60, 70), spacing_xyz_mm=(4.0, 4.0, 4.0), origin_xyz_mm=(-400.0, -150.0, 900.0)
)
MIDDLE = AWAY.center_xyz_mm


def camera_view(extrinsic):
    k = np.array([[-2040.0, 0, 256], [0, 2040.0, 256], [0, 0, 1]])
    return View.from_camera(k, extrinsic, 512, 512, source_to_detector_mm=1020.0)


def inverted_camera(view):
    return camera_view(np.linalg.inv(camera_matrices(view)[1]))


def scaled(view, factor):
    moved = {name: getattr(view, name) * factor for name in FIELDS}
    return View(**moved, width_px=view.width_px, height_px=view.height_px)


def reversed_beam(view):
    return View(
        source_xyz_mm=view.source_xyz_mm,
        corner_xyz_mm=2 * view.source_xyz_mm - view.corner_xyz_mm,
        column_step_xyz_mm=-view.column_step_xyz_mm,
        row_step_xyz_mm=-view.row_step_xyz_mm,
        width_px=view.width_px,
        height_px=view.height_px,
    )


RIGHT = CarmGeometry().view(CarmPose(lao_deg=30, cra_deg=10), MIDDLE)


@pytest.mark.parametrize(
    ("view", "advice"),
    [
        (
            CarmGeometry().view(CarmPose(lao_deg=30), MIDDLE * [-1, -1, 1]),
            "RAS and must be made LPS",
        ),
        (CarmGeometry().view(CarmPose(lao_deg=30), (0, 0, 0)), "count from the volume's middle"),
        (CarmGeometry().view(CarmPose(lao_deg=30), MIDDLE[::-1]), "in the order z, y, x"),
        (scaled(RIGHT, 1e-3), "were metres"),
        (scaled(RIGHT, 1e3), "were micrometres"),
        (inverted_camera(RIGHT), "world from camera and must be inverted"),
        (reversed_beam(RIGHT), "negate the projection matrix"),
    ],
)
def test_black_image_names_the_convention_that_would_hit(view, advice):
    miss = explain_miss(view, AWAY)
    assert any(advice in what for what in miss.would_hit), miss
    assert advice in str(miss)
    assert "\n" not in str(miss)


def test_beam_that_hits_needs_no_explanation():
    assert explain_miss(RIGHT, AWAY) is None
    assert (
        explain_miss(CarmGeometry().view(CarmPose(translation_mm=(200.0, 0, 0)), MIDDLE), AWAY)
        is None
    )


def test_miss_is_as_far_as_arithmetic_says():
    # frontal, the detector +-128 mm wide at y = -510 and the source at y = 510: the beam's side
    # runs from (0, 510) to (128, -510). The box reaches from x = 300 on, y from -20 to 20
    box = VolumeGrid(
        shape_zyx=(20, 20, 20), spacing_xyz_mm=(2.0, 2.0, 2.0), origin_xyz_mm=(301.0, -19.0, -19.0)
    )
    miss = explain_miss(CarmGeometry().view(CarmPose(), (0.0, 0.0, 0.0)), box)
    along = np.array([128.0, -1020.0]) / np.hypot(128, 1020)
    corner = np.array([300.0, -20.0]) - [0.0, 510.0]
    expected = corner[0] * -along[1] + corner[1] * along[0]
    assert miss.distance_mm == pytest.approx(abs(expected), abs=1e-3)
    assert miss.where == "right of the image"


def test_miss_without_a_known_error_says_so():
    miss = explain_miss(CarmGeometry().view(CarmPose(), np.add(MIDDLE, (4000, 300, 0))), AWAY)
    assert miss.would_hit == ()
    assert "None of the usual errors" in str(miss)


@pytest.mark.parametrize(
    ("center", "where", "distance_mm"),
    [
        ((0.0, 800.0, 0.0), "behind the source", 800 - 510 - 20),
        ((0.0, -700.0, 0.0), "behind the detector", 700 - 510 - 20),
        ((0.0, 0.0, 400.0), "above the image", None),
        ((0.0, 0.0, -400.0), "below the image", None),
        ((-400.0, 0.0, 0.0), "left of the image", None),
    ],
)
def test_miss_says_where_the_volume_is(center, where, distance_mm):
    box = VolumeGrid(
        shape_zyx=(20, 20, 20),
        spacing_xyz_mm=(2.0, 2.0, 2.0),
        origin_xyz_mm=tuple(np.subtract(center, 19.0).tolist()),
    )
    miss = explain_miss(CarmGeometry().view(CarmPose(), (0.0, 0.0, 0.0)), box)
    assert miss.where == where
    if distance_mm:
        assert miss.distance_mm == pytest.approx(distance_mm, abs=1e-3)


def test_beam_meets_the_box_just_where_rays_do():
    rng = np.random.default_rng(1)
    carm = CarmGeometry(
        detector_width_px=64,
        detector_height_px=64,
        pixel_spacing_mm=4.0,
        detector_tilt_deg=(10, -20),
    )
    answers = []
    for _ in range(150):
        pose = CarmPose(
            lao_deg=rng.uniform(-180, 180),
            cra_deg=rng.uniform(-90, 90),
            translation_mm=tuple(rng.normal(size=3) * 250),
        )
        view = carm.view(pose, MIDDLE)
        answers.append((bool((clip_rays(view, AWAY).length_mm > 0).any()), beam_meets(view, AWAY)))
    assert 30 < sum(rays for rays, _ in answers) < 120
    assert all(meets for rays, meets in answers if rays)
    assert sum(rays != meets for rays, meets in answers) <= 1, "only where it grazes between pixels"


# -- blocks ------------------------------------------------------------------------------------


@pytest.mark.parametrize("projector", ["march", "joseph", "siddon"])
def test_image_in_blocks_is_bit_identical_to_the_whole_one(projector):
    device = CpuDevice(workers=1)
    renderer = DrrRenderer(volumes.noise(), device, projector=projector)
    carm = CarmGeometry(detector_width_px=97, detector_height_px=101, pixel_spacing_mm=3.0)
    views = [volumes.view(pose, detector=carm) for pose in volumes.POSES.values()]
    whole = renderer.render(views)
    np.testing.assert_array_equal(render_tiled(renderer, views, tile_rows=16), whole)
    np.testing.assert_array_equal(render_tiled(renderer, views[1], tile_rows=200), whole[1])
    device.close()


def test_blocks_can_be_written_into_a_file(tmp_path):
    device = CpuDevice(workers=1)
    renderer = DrrRenderer(volumes.constant(), device, projector="joseph")
    view = volumes.view(CarmPose())
    shape = (view.height_px, view.width_px)
    out = np.lib.format.open_memmap(tmp_path / "image.npy", "w+", np.float32, shape)
    render_tiled(renderer, view, tile_rows=7, out=out)
    out.flush()
    np.testing.assert_array_equal(np.load(tmp_path / "image.npy"), renderer.render(view))
    device.close()


def test_blocks_and_rows_that_do_not_fit_are_refused():
    device = CpuDevice(workers=1)
    renderer = DrrRenderer(volumes.constant(), device, projector="joseph")
    view = volumes.view(CarmPose())
    with pytest.raises(InputError, match="tile_rows must be at least 1, got 0"):
        list(iter_tiles(renderer, view, tile_rows=0))
    with pytest.raises(InputError, match=r"rows must be a range within 0 to 30, got \(20, 31\)"):
        renderer.render_rows(view, (20, 31))
    with pytest.raises(InputError, match=r"out must be float32 of shape \(30, 38\)"):
        render_tiled(renderer, view, out=np.empty((30, 38)))
    with pytest.raises(InputError, match="views must be one or more of equal size"):
        render_tiled(renderer, [])
    device.close()

"""The body phantom: anatomy, sizes, labels, landmarks, and how closely it resembles a chest CT."""

import math

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, map_coordinates

from fluoro.config import ContrastConfig, MotionConfig, VolumeConfig
from fluoro.errors import InputError
from fluoro.volume import host_memory
from fluoro.volume.grid import VolumeGrid
from fluoro.volume.hu_to_mu import mu_from_hu
from fluoro.volume.open_ct import open_ct
from fluoro.volume.phantom.body.arteries import ARTERIES, body_tubes
from fluoro.volume.phantom.body.body import body_landmarks, body_parts, make_body
from fluoro.volume.phantom.body.build import REGIONS_MM, Build
from fluoro.volume.phantom.body.cage import paint_ribs, rib_path
from fluoro.volume.phantom.body.girdle import paint_girdle
from fluoro.volume.phantom.body.motion import body_motion
from fluoro.volume.phantom.body.pelvis import paint_pelvis
from fluoro.volume.phantom.body.spine import VERTEBRAE, paint_spine
from fluoro.volume.phantom.canvas import Canvas
from fluoro.volume.phantom.patient import build_of, phantom_bolus
from fluoro.volume.phantom.shapes import noise_at, on_lattice, smooth_noise, triangle
from fluoro.volume.store.fetch import fetched_path

PARTS_MM = 4.0
MOST_IN_FRONT = 128.0
"""Landmarks lie closer than this to the middle plane from front to back [mm]."""


@pytest.fixture(scope="module")
def parts():
    return body_parts("whole", Build(), PARTS_MM)


@pytest.fixture(scope="module")
def pelvis():
    return painted(paint_pelvis, (-100, -90, -430), (150, 70, -300), 1.5)


def painted(paint, low, high, spacing_mm, build=None):
    """A canvas with one region's bones between two corners [mm]."""
    shape = np.ceil(np.subtract(high, low) / spacing_mm).astype(int)
    grid = VolumeGrid(
        shape_zyx=tuple(shape[::-1].tolist()),
        spacing_xyz_mm=(spacing_mm,) * 3,
        origin_xyz_mm=tuple(map(float, low)),
    )
    canvas = Canvas(grid)
    paint(canvas, build or Build())
    return canvas


def at(volume, points_xyz_mm):
    """CT numbers at points (n, 3) [mm], trilinear."""
    points = np.asarray(points_xyz_mm, float)
    index = (points - volume.grid.origin_xyz_mm) / volume.grid.spacing_xyz_mm
    return map_coordinates(volume.hu_zyx, index.T[::-1], np.float32, order=1, mode="nearest")


def between(start, end, count=60):
    return np.asarray(start) + np.linspace(0, 1, count)[:, None] * np.subtract(end, start)


def test_two_bodies_are_equal_voxel_by_voxel():
    first, second = (make_body(10.0, region="shoulder") for _ in range(2))
    np.testing.assert_array_equal(first.hu_zyx, second.hu_zyx)


@pytest.mark.parametrize("region", REGIONS_MM)
def test_a_region_has_its_box_and_tissue(region):
    volume = make_body(10.0, region=region)
    size = np.subtract(*REGIONS_MM[region][::-1])
    assert np.abs(volume.grid.size_xyz_mm - size).max() <= 10.0
    assert volume.hu_zyx.dtype == np.int16
    assert volume.hu_zyx.min() == -1000
    assert np.count_nonzero(volume.hu_zyx > 300) > 20


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"spacing_mm": 0.2}, r"^spacing_mm must lie in .*, got 0.2$"),
        ({"spacing_mm": math.nan}, r"^spacing_mm must lie in .*, got nan$"),
        ({"region": "knee"}, r"^region must be one of thorax, .*, got knee$"),
    ],
)
def test_what_cannot_be_made_is_refused_by_its_name(wrong, message):
    with pytest.raises(InputError, match=message):
        make_body(**{"spacing_mm": 8.0, "region": "thorax", **wrong})


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"stature_mm": 900.0}, r"^stature_mm must lie in .*, got 900.0$"),
        ({"sex": "x"}, r"^sex must be one of male, female, got x$"),
        ({"habitus": "huge"}, r"^habitus must be one of .*, got huge$"),
    ],
)
def test_no_adult_is_refused_by_its_name(wrong, message):
    with pytest.raises(InputError, match=message):
        Build(**wrong)


def test_too_little_memory_is_one_line(monkeypatch):
    monkeypatch.setattr(host_memory, "available_memory_bytes", lambda: 10**6)
    with pytest.raises(InputError, match=r"^body phantom \(whole, 2 mm\): does not fit in memory"):
        make_body(2.0, region="whole")


def test_a_configured_woman_has_her_stature_and_arms():
    config = VolumeConfig(phantom="body", body={"sex": "female", "region": "thorax"})
    assert build_of(config) == Build(stature_mm=1630.0, sex="female", arms="raised")
    with pytest.raises(ValueError, match="needs phantom: body"):
        VolumeConfig(phantom="thorax", body={})


def test_a_smaller_body_has_a_smaller_box():
    large, small = (
        make_body(8.0, region="pelvis", build=Build(stature_mm=s)) for s in (1900, 1500)
    )
    ratio = large.grid.size_xyz_mm / small.grid.size_xyz_mm
    np.testing.assert_allclose(ratio, 1900 / 1500, rtol=0.06)


def test_an_obese_body_has_more_fat_and_the_same_bone():
    def litres(habitus):
        hu = make_body(8.0, region="lumbar", build=Build(habitus=habitus)).hu_zyx
        return np.array([np.mean((hu > -130) & (hu < -70)), np.mean(hu > 300)])

    slim, obese = litres("slim"), litres("obese")
    assert obese[0] > 1.5 * slim[0]
    assert obese[1] == pytest.approx(slim[1], rel=0.05)


def test_a_woman_of_the_same_stature_has_a_wider_outlet_and_thinner_shafts():
    points, shafts = {}, {}
    for sex in ("male", "female"):
        build = Build(sex=sex)
        points[sex] = body_landmarks(build)
        names, part_zyx, _ = body_parts("pelvis", build, 5.0)
        femur = part_zyx == names.index("femur_left") + 1
        shafts[sex] = np.count_nonzero(femur[:12])  # below the trochanters

    def between_tuberosities(sex):
        left, right = (points[sex][f"ischial tuberosity {side}"] for side in ("left", "right"))
        return left[0] - right[0]

    assert between_tuberosities("female") > 1.08 * between_tuberosities("male")
    assert shafts["female"] < 0.88 * shafts["male"]


def test_every_bone_of_the_trunk_has_voxels_of_its_own(parts):
    names, part_zyx, _ = parts
    counts = dict(zip(["", *names], np.bincount(part_zyx.ravel()), strict=False))
    spine = [
        f"vertebrae_{'CTL'[i]}{n}" for i, last in enumerate((7, 12, 5)) for n in range(1, last)
    ]
    sided = ("clavicula", "scapula", "humerus", "hip", "femur", "kidney", "radius", "ulna")
    wanted = [*spine, "skull", "mandible", "sternum", "sacrum", "trachea", "aorta", "liver"]
    wanted += [f"{name}_{side}" for name in sided for side in ("left", "right")]
    wanted += [f"rib_{side}_{n}" for n in range(1, 13) for side in ("left", "right")]
    assert [name for name in wanted if counts.get(name, 0) < 8] == []


def test_landmarks_lie_in_what_they_are_named_after(parts):
    names, part_zyx, grid = parts
    points = body_landmarks(Build())
    for landmark, part in (
        ("T8 body", "vertebrae_T8"),
        ("L3 body", "vertebrae_L3"),
        ("femoral head left", "femur_left"),
        ("humeral head right", "humerus_right"),
        ("aortic arch", "aorta"),
    ):
        x, y, z = np.rint(
            np.subtract(points[landmark], grid.origin_xyz_mm) / grid.spacing_xyz_mm
        ).astype(int)
        assert names[part_zyx[z, y, x] - 1] == part
    assert all(abs(y) < MOST_IN_FRONT for _, y, _ in points.values())


def test_every_part_has_a_landmark_in_it_or_at_its_edge(parts):
    names, part_zyx, grid = parts
    found = set()
    for point in body_landmarks(Build()).values():
        x, y, z = np.rint(np.subtract(point, grid.origin_xyz_mm) / PARTS_MM).astype(int)
        around = part_zyx[z - 1 : z + 2, y - 1 : y + 2, x - 1 : x + 2]
        found |= {names[number - 1] for number in np.unique(around) if number}
    assert [name for name in names if name not in found] == []


def test_left_is_left_and_the_heart_points_there(parts):
    names, part_zyx, grid = parts

    def middle_x(name):
        return (
            grid.origin_xyz_mm[0]
            + PARTS_MM * np.nonzero(part_zyx == names.index(name) + 1)[2].mean()
        )

    assert middle_x("liver") < 0 < middle_x("spleen")
    assert middle_x("rib_right_5") < middle_x("vertebrae_T5") < middle_x("rib_left_5")
    assert middle_x("heart_ventricle_left") > middle_x("heart_atrium_right") + 30


@pytest.mark.parametrize("side", [-1, 1])
def test_ribs_meet_their_vertebrae(side):
    for number in range(1, 13):
        vertebra = next(each for each in VERTEBRAE if each.name == f"T{number}")
        offset = vertebra.frame @ (rib_path(number, side)[0] - vertebra.center_xyz_mm)
        assert vertebra.half_width_mm < side * offset[0] < vertebra.half_width_mm + 4
        assert abs(offset[1]) < vertebra.half_depth_mm
        assert abs(offset[2]) < vertebra.height_mm / 2


def test_pedicles_stand_as_far_apart_as_measured():
    canvas = painted(paint_spine, (-40, 0, 110), (15, 60, 135), 1.0)
    vertebra = next(each for each in VERTEBRAE if each.name == "T2")
    rise = vertebra.height_mm / 2 - vertebra.pedicle_mm[1]
    ends = [vertebra.at(x, vertebra.half_depth_mm + 3, rise) for x in (-25, 25)]
    dense = np.flatnonzero(at(canvas, between(*ends, 501)) > 500) * 0.1 - 25
    inner = dense[dense > 0].min() - dense[dense < 0].max()
    assert inner == pytest.approx(19.5, abs=1.5)  # Panjabi et al., Spine 16 (1991) 861


def test_a_woman_has_smaller_vertebrae_and_thinner_ribs():
    def bone(paint, low, high, sex):
        return np.count_nonzero(painted(paint, low, high, 2.0, Build(sex=sex)).hu_zyx > 100)

    for paint, low, high in (
        (paint_spine, (-35, 45, 5), (10, 80, 20)),
        (paint_ribs, (80, -60, -60), (140, 60, 0)),
    ):
        woman, man = (bone(paint, low, high, sex) for sex in ("female", "male"))
        assert 0.7 < woman / man < 0.92


def test_discs_lie_between_end_plates():
    volume = painted(paint_spine, (-30, -30, -220), (60, 60, -140), 1.0)
    upper, lower = (next(v for v in VERTEBRAE if v.name == name) for name in ("L3", "L4"))
    course = at(volume, between(upper.center_xyz_mm, lower.center_xyz_mm, 120))
    assert np.median(course[52:68]) < 130  # disc
    assert course[20:50].max() > 500  # lower end plate of L3
    assert course[70:100].max() > 500  # upper end plate of L4


def test_the_hip_has_a_joint_space(pelvis):
    head = np.array(body_landmarks(Build())["femoral head left"])
    inward = np.array([-0.68, 0.28, 0.68])
    course = at(pelvis, between(head + 18 * inward, head + 38 * inward))
    gap = course[12:36].min()
    assert course[:12].max() > gap + 250
    assert course[36:].max() > gap + 250


@pytest.mark.parametrize("side", [-1, 1])
def test_the_obturator_foramen_is_open_and_its_frame_closed(pelvis, side):
    depths = np.arange(-90, 60, 1.0)

    def bone_mm(across, height):
        points = [(10 + side * across, y, height) for y in depths]
        return np.count_nonzero(at(pelvis, points) > 350)

    assert bone_mm(40, -385) == 0
    for across, height in ((40, -350), (72, -400), (13, -370), (30, -410)):
        assert bone_mm(across, height) > 0


def test_the_shoulder_has_a_joint_space():
    volume = painted(paint_girdle, (70, 0, 80), (150, 70, 140), 1.0)
    points = body_landmarks(Build())
    socket, head = (np.array(points[name]) for name in ("glenoid left", "humeral head left"))
    course = at(volume, between(socket - (head - socket) * 0.1, head, 120))
    dense = np.flatnonzero(course > 600)
    inner = course[dense[0] : dense[-1]]
    assert inner.min() < 250


def test_contrast_runs_through_arteries_of_the_region():
    whole = body_tubes("aorta")
    assert min(tube.ends[:, 2].min() for tube in whole) < -600
    assert max(tube.ends[:, 2].max() for tube in whole) > 280
    coronary = body_tubes("coronary")
    assert (
        min(t.ends[:, 0].min() for t in coronary)
        < -20
        < 60
        < max(t.ends[:, 0].max() for t in coronary)
    )
    contrast = {"vessels": "aorta", "spacing_mm": 3.0}
    config = VolumeConfig(phantom="body", body={"region": "pelvis"}, contrast=contrast)
    bolus = phantom_bolus(config)
    assert bolus.vessels.travel_mm.min() > 250  # what lies above the region is run through before
    wrong = {"phantom": "body", "body": {"region": "head"}}
    with pytest.raises(InputError, match="coronary has no vessel in the region head"):
        phantom_bolus(VolumeConfig(**wrong, contrast=ContrastConfig(vessels="coronary")))


def test_arteries_thin_out_from_the_heart():
    for name, course in ARTERIES.items():
        radii = [point[3] for point in course]
        assert radii[-1] <= 1.2 * radii[0], name


def test_the_body_breathes_and_the_legs_rest():
    motion = body_motion(MotionConfig(), Build())
    moved = np.abs(motion.displacements_mm(2.1)).max(axis=-1)
    assert 8 < moved.max() < 30
    for face in (moved[0], moved[-1], moved[:, :, 0], moved[:, :, -1]):
        assert face.max() < 1e-3


def test_a_triangle_has_the_distance_to_its_nearest_point():
    rng = np.random.default_rng(3)
    corners = rng.uniform(-5, 5, (3, 3))
    points = rng.uniform(-9, 9, (40, 3))
    u, v = np.meshgrid(np.linspace(0, 1, 300), np.linspace(0, 1, 300))
    u, v = u[u + v <= 1], v[u + v <= 1]
    plane = corners[0] + np.outer(u, corners[1] - corners[0]) + np.outer(v, corners[2] - corners[0])
    nearest = [np.linalg.norm(plane - point, axis=1).min() for point in points]
    found = triangle(tuple(points.T.astype(np.float32)), corners, 1.0)
    np.testing.assert_allclose(found, np.array(nearest) - 1, atol=0.02)


def test_a_plate_between_corners_of_other_thickness_thins_out_between_them():
    corners, halves = np.array([(0, 0, 0), (20, 0, 0), (0, 20, 0.0)]), (4.0, 1.0, 2.0)
    for share in ((0.8, 0.1, 0.1), (0.1, 0.8, 0.1), (0.3, 0.3, 0.4)):
        point = (share @ corners + (0, 0, 5)).astype(np.float32)
        found = triangle(tuple(point[:, None]), corners, halves)
        assert found == pytest.approx(5 - np.dot(share, halves), abs=1e-4)


def test_a_patch_runs_through_its_net_with_its_thickness():
    net = np.array([[(x, y, 0.02 * x * x, 2 + 0.05 * y) for x in (-15, 0, 15)] for y in (-9, 9)])
    canvas = Canvas(VolumeGrid(shape_zyx=(30, 50, 50), spacing_xyz_mm=(1, 1, 1),
                               origin_xyz_mm=(-25, -25, -12)))  # fmt: skip
    plate = canvas.union((-25, -25, -12), (25, 25, 18))
    plate.patch(net, 4.0)
    for x, y, z, half in net[:, 1]:
        i, j, k = round(x + 25), round(y + 25), round(z + 12)
        assert plate.distance[k, j, i] == pytest.approx(-half, abs=0.15)


def test_joined_shapes_have_a_rounded_seam_and_keep_their_far_sides():
    canvas = Canvas(VolumeGrid(shape_zyx=(21, 21, 41), spacing_xyz_mm=(1, 1, 1),
                               origin_xyz_mm=(-20, -10, -10)))  # fmt: skip
    first = canvas.union((-20, -10, -10), (20, 10, 10))
    second = first.empty()
    first.ellipsoid((-6, 0, 0), (7, 7, 7))
    second.ellipsoid((6, 0, 0), (7, 7, 7))
    sharp = np.minimum(first.distance, second.distance)
    first.join(second, 6.0)
    assert first.distance[10, 13, 20] < sharp[10, 13, 20] - 1.0
    assert first.distance[10, 10, 8] == sharp[10, 10, 8]


def test_noise_on_a_lattice_and_at_points_is_that_of_the_grid():
    x, y, z = (np.arange(-20, 21, step, np.float32) for step in (1.0, 1.3, 0.9))
    axes = (x[None, None, :], y[None, :, None], z[:, None, None])
    noise = smooth_noise(axes, 12.0, seed=5)
    lattice = on_lattice(axes, lambda nodes: smooth_noise(nodes, 12.0, seed=5), 2.0)
    assert np.abs(lattice - noise).max() < 0.08 * np.abs(noise).max()
    points = [axis.ravel()[[3, 17, 30]] for axis in axes]
    at_points = noise_at(points, 12.0, seed=5)
    np.testing.assert_allclose(at_points, noise[[3, 17, 30], [3, 17, 30], [3, 17, 30]], atol=1e-4)


def correlation(a, b):
    a, b = a - a.mean(), b - b.mean()
    return float((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum()))


def image(hu_zyx, grid, axis):
    """Parallel line integrals about the chest's middle: 1.25 mm pixels, 300 by 300 mm."""
    mu = mu_from_hu(np.maximum(hu_zyx, -1000), 70.0)
    sums = mu.sum(axis=axis) * grid.spacing_xyz_mm[2 - axis]
    nz, n = sums.shape
    across = grid.spacing_xyz_mm[1 if axis == 2 else 0]
    ticks = np.arange(-140, 140.1, 1.25)
    index = np.meshgrid(
        -ticks / grid.spacing_xyz_mm[2] + (nz - 1) / 2, ticks / across + (n - 1) / 2, indexing="ij"
    )
    return map_coordinates(sums, index, order=1)


@pytest.mark.slow
@pytest.mark.parametrize(("axis", "view"), [(1, "frontal"), (2, "lateral")])
def test_the_thorax_correlates_with_the_chest_ct(axis, view):
    try:
        ct = open_ct(fetched_path("chest-ct"))
    except InputError as error:
        pytest.skip(str(error))
    body = make_body(2.0, region="thorax", build=Build(arms="raised"))
    hu = np.stack([np.array(plane) for plane in ct.slices(0, ct.grid.shape_zyx[0])])
    signs = np.sign(np.diag(ct.grid.direction))
    theirs = image(hu[:: int(signs[2]), :: int(signs[1]), :: int(signs[0])], ct.grid, axis)
    ours = image(body.hu_zyx, body.grid, axis)
    assert correlation(ours, theirs) > 0.9
    sigma = 8.0 / 1.25
    detail = [(each - gaussian_filter(each, sigma))[12:-12, 12:-12] for each in (ours, theirs)]
    assert correlation(*detail) > 0.5

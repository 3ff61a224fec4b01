"""Tubes against constructive geometry: their thickness, what they displace, and where they are."""

from __future__ import annotations

import itertools
import tracemalloc
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from fluoro.errors import InputError
from fluoro.geometry.carm import CarmGeometry, CarmPose
from fluoro.physics.materials import material
from fluoro.physics.tissues import tissue_map
from fluoro.registration.rigid_motion import motion_about, moved_view
from fluoro.rendering.devices.cpu.device import CpuDevice
from fluoro.rendering.material_renderer import MaterialRenderer
from fluoro.rendering.parts.parts_reference import tube_reference
from fluoro.rendering.parts.tube_part import tiles_of
from fluoro.volume.grid import VolumeGrid
from fluoro.volume.material_volume import Inclusion, MaterialVolume
from fluoro.volume.posed_solid import Tubes, TubeSolid
from fluoro.volume.volumes import MuVolume

GRID = VolumeGrid(
    shape_zyx=(24, 26, 28), spacing_xyz_mm=(4.0,) * 3, origin_xyz_mm=(-54.0, -50.0, -46.0)
)
CARM = CarmGeometry(detector_width_px=42, detector_height_px=34, pixel_spacing_mm=1.05)
POSE = CarmPose(lao_deg=23, cra_deg=17, roll_deg=8, translation_mm=(1.0, -2.0, 3.0))
VIEW = CARM.view(POSE, (0.0, 0.0, 0.0))
MATERIALS = tuple(material(name) for name in ("steel", "titanium", "blood"))
TURN = np.linspace(0.0, 2 * np.pi, 25)
LINES = {
    "a bend of 90 degrees": [(-15, 2, 1), (3, 4, 1), (3, 4, 16)],
    "a closed loop": np.stack([9 * np.cos(TURN), 4 * np.sin(2 * TURN), 9 * np.sin(TURN)], axis=1),
    "a crossing": [(-12, -4, -12), (12, 4, 12), (12, 0, -12), (-12, 0, 12)],
    "along a ray": VIEW.source_xyz_mm
    + np.array([0.72, 0.75, 0.77])[:, None]
    * (VIEW.pixel_centers_xyz_mm()[17, 21] - VIEW.source_xyz_mm),
}
EXACT_MM = 1e-3
GRAZING_MM = 0.02
"""Of a ray that leaves a tube at about 1 mrad: its direction in single precision decides where."""


class Fixed(TubeSolid):
    """Tubes that stay where they are."""

    def __init__(self, tubes, materials=MATERIALS, **given):
        self.name, self.materials, self._tubes = "fixed", materials, tubes
        self.displaces, self.priority = given.get("displaces", True), given.get("priority", 0)

    def tubes(self, time_s):
        return self._tubes


def wire(points, radii_mm=(1.2, 0.8, 0.5), first=0):
    points = np.array(points, float)
    count, shells = len(points) - 1, len(radii_mm)
    return Tubes(
        ends_xyz_mm=np.stack([points[:-1], points[1:]], axis=1),
        radii_mm=np.tile(radii_mm, (count, 1)),
        materials=np.tile(np.arange(first, first + shells), (count, 1)),
    )


@cache
def exact(name):
    """Thicknesses and union of a line's wire."""
    return tube_reference(wire(LINES[name]), VIEW, 3)


@pytest.fixture(scope="module")
def device():
    return CpuDevice()


def patient(posed=(), inclusions=()):
    mu = np.full(GRID.shape_zyx, 0.0193, np.float32)
    return MaterialVolume(
        volume=MuVolume(mu_zyx=mu, grid=GRID),
        tissues=tissue_map("tissues", 70.0),
        inclusions=tuple(inclusions),
        posed=tuple(posed),
    )


def rendered(device, *posed, projector="march", inclusions=(), view=VIEW):
    volume = patient(posed, inclusions)
    image = MaterialRenderer(volume, device, projector=projector).render(view)
    tissues = len(volume.tissues.materials)
    return np.split(image, [tissues, tissues + len(inclusions)])


@pytest.mark.parametrize("name", LINES)
def test_the_thickness_is_that_of_the_union(device, name):
    tubes = wire(LINES[name])
    _, _, planes = rendered(device, Fixed(tubes))
    wanted, _ = exact(name)
    assert wanted.sum(axis=(1, 2)).min() > 1
    limit = GRAZING_MM if name == "along a ray" else EXACT_MM
    np.testing.assert_allclose(planes, wanted, rtol=0, atol=limit)


@pytest.mark.parametrize("projector", ["march", "joseph"])
def test_the_tissue_loses_what_the_tubes_fill(device, projector):
    tubes = wire(LINES["a closed loop"])
    bare, _, _ = rendered(device, projector=projector)
    left, _, _ = rendered(device, Fixed(tubes), projector=projector)
    _, union = exact("a closed loop")
    np.testing.assert_allclose(bare.sum(axis=0) - left.sum(axis=0), union, atol=EXACT_MM)
    added, _, _ = rendered(device, Fixed(tubes, displaces=False), projector=projector)
    np.testing.assert_array_equal(added, bare)


def test_a_sampled_solid_loses_it_too(device):
    block = Inclusion(
        material=material("iodine"), share_zyx=np.ones(GRID.shape_zyx, np.float32), grid=GRID
    )
    tubes = wire(LINES["a crossing"])
    _, bare, _ = rendered(device, inclusions=[block])
    _, left, _ = rendered(device, Fixed(tubes), inclusions=[block])
    _, union = exact("a crossing")
    np.testing.assert_allclose((bare - left)[0], union, atol=EXACT_MM)


def test_the_solid_of_higher_priority_takes_the_place(device):
    across = wire([(-12, 0, 0), (12, 0, 0)], (1.0,))
    along = wire([(0, 0, -12), (0, 0, 12)], (1.0,))
    lead = (material("lead"),)
    steel = (material("steel"),)
    one = Fixed(across, steel, priority=1)
    whole, _ = tube_reference(across, VIEW, 1)
    other, _ = tube_reference(along, VIEW, 1)
    both = Tubes(
        ends_xyz_mm=np.concatenate([across.ends_xyz_mm, along.ends_xyz_mm]),
        radii_mm=np.concatenate([across.radii_mm, along.radii_mm]),
        materials=np.zeros((2, 1), int),
    )
    _, union = tube_reference(both, VIEW, 1)
    for posed in ((one, Fixed(along, lead)), (Fixed(along, lead), one)):
        _, _, planes = rendered(device, *posed)
        by_name = dict(zip([each.materials[0].name for each in posed], planes, strict=True))
        np.testing.assert_allclose(by_name["steel"], whole[0], atol=EXACT_MM)
        np.testing.assert_allclose(by_name["lead"], union - whole[0], atol=EXACT_MM)
    assert np.abs(union - whole[0] - other[0]).max() > 1


def test_solids_of_one_material_share_a_plane(device):
    across = Fixed(wire([(-12, 0, 0), (12, 0, 0)], (1.0,)), MATERIALS[:1])
    beside = Fixed(wire([(-12, 0, 5), (12, 0, 5)], (1.0,)), MATERIALS[:1])
    assert len(patient([across, beside]).materials) == len(patient([across]).materials)


@pytest.mark.parametrize("diameter_px", [0.1, 0.7, 1.9])
@pytest.mark.parametrize("tilt_deg", [0, 3, 30, 45])
def test_a_thin_wire_is_not_beaded(device, diameter_px, tilt_deg):
    """Along it each row has the same cross-section, wherever the wire lies between columns."""
    view = CARM.view(CarmPose(), (0.0, 0.0, 0.0))
    columns = view.project(np.array([[0.0, 0, 0], [1.0, 0, 0]]))[:, 0]
    pixel_mm = 1 / abs(columns[1] - columns[0])
    radius, tilt = diameter_px * pixel_mm / 2, np.deg2rad(tilt_deg)
    along = np.array([np.sin(tilt), 0.0, np.cos(tilt)])
    points = [0.2 + k * along for k in np.linspace(-30, 30, 21)]
    _, _, (plane,) = rendered(device, Fixed(wire(points, (radius,)), MATERIALS[:1]), view=view)
    rows = slice(8, 26)
    area = plane[rows].sum(axis=1) * pixel_mm * np.cos(tilt)
    np.testing.assert_allclose(area, np.pi * radius**2, rtol=0.01)


def test_a_thin_wire_is_the_mean_over_the_width_of_a_pixel(device):
    view = CARM.view(POSE, (0.0, 0.0, 0.0)).part((15, 27), (14, 17))
    tubes = wire([(1, -3, -30), (-2, 5, 30)], (0.5, 0.3))
    _, _, planes = rendered(device, Fixed(tubes, MATERIALS[:2]), view=view)
    fine = 40
    finer = replace(
        view, column_step_xyz_mm=view.column_step_xyz_mm / fine, width_px=view.width_px * fine
    )
    exact, _ = tube_reference(tubes, finer, 2)
    means = exact.reshape(2, view.height_px, view.width_px, fine).mean(axis=3)
    assert planes.max() > 0.3
    np.testing.assert_allclose(planes, means, atol=0.01)


def test_a_wire_in_many_pieces_is_that_in_few(device):
    """More of them lie in a row than a thread keeps at a time."""
    corners = np.array(LINES["a bend of 90 degrees"], float)
    share = np.arange(80)[:, None] / 80
    fine = [a + share * (b - a) for a, b in itertools.pairwise(corners)]
    tubes = [wire(points) for points in (corners, np.concatenate([*fine, corners[-1:]]))]
    lists = tiles_of(tubes[1], VIEW)
    assert np.diff(lists.tiles[:, 2:]).max() > 40
    few, many = (rendered(device, Fixed(each)) for each in tubes)
    for of_few, of_many in zip(few, many, strict=True):
        np.testing.assert_allclose(of_many, of_few, atol=2 * EXACT_MM)


def test_nothing_is_left_of_where_a_wire_was(device):
    solid = Fixed(wire(LINES["a crossing"]))
    renderer = MaterialRenderer(patient([solid]), device)
    image = renderer.render(VIEW)
    solid._tubes = wire([(-15, 9, 2), (14, 9, -3)])
    again, fresh = renderer.render(VIEW, image), MaterialRenderer(patient([solid]), device)
    np.testing.assert_array_equal(again, fresh.render(VIEW))


def test_a_batch_has_what_its_views_have_alone(device):
    renderer = MaterialRenderer(patient([Fixed(wire(LINES["a closed loop"]))]), device)
    views = [VIEW, CARM.view(CarmPose(lao_deg=-40), (0.0, 0.0, 0.0))]
    for alone, one in zip(renderer.render(views), views, strict=True):
        np.testing.assert_array_equal(alone, renderer.render(one))


def test_a_scene_without_posed_solids_runs_none_of_their_kernels(device, monkeypatch):
    launched = []
    run = device.run
    monkeypatch.setattr(device, "run", lambda each: (launched.append(str(each.module)), run(each)))
    rendered(device)
    assert launched
    assert not [name for name in launched if name in ("clear", "tubes") or "Displace" in name]


def test_every_pixel_of_a_tube_lies_in_a_tile_that_lists_it():
    tubes = wire([(-15, 2, 1), (14, 4, 9), (3, -30, 16)], (2.0,))
    wanted, _ = tube_reference(tubes, VIEW, 1)
    rows, columns = np.nonzero(wanted[0])
    lists = tiles_of(tubes, VIEW)
    listed = {(int(c), int(r)) for c, r, _, _ in lists.tiles}
    hit = {(int(c) // 16 * 16, int(r) // 8 * 8) for c, r in zip(columns, rows, strict=True)}
    assert hit <= listed


def test_tubes_beside_the_image_and_behind_the_source_are_listed_nowhere():
    away = VIEW.source_xyz_mm + (VIEW.source_xyz_mm - VIEW.pixel_centers_xyz_mm()[17, 21]) * 0.2
    for place in (away, np.array([900.0, 900.0, 900.0])):
        assert not len(tiles_of(wire([place, place + 5]), VIEW).tiles)


def test_pieces_outside_the_image_take_no_memory():
    """Behind the source and beside it, where a tube's box in the image is huge."""
    back = VIEW.source_xyz_mm - VIEW.pixel_centers_xyz_mm()[17, 21]
    along = VIEW.column_step_xyz_mm / np.linalg.norm(VIEW.column_step_xyz_mm)
    for first in (VIEW.source_xyz_mm + 0.2 * back, VIEW.source_xyz_mm - 0.01 * back + 200 * along):
        tubes = wire(first + np.linspace(0, 100, 201)[:, None] * along)
        tracemalloc.start()
        lists = tiles_of(tubes, VIEW)
        most_bytes = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert not len(lists.tiles)
        assert most_bytes < 1e6  # cut into pieces of a tile: 3e8


@pytest.mark.parametrize(
    ("ends", "radii", "line"),
    [
        ([[[0, 0, 0], [np.nan, 0, 0]]], [[1.0]], "ends_xyz_mm must be finite"),
        ([[[0, 0, 0], [1, 0, 0]]], [[1.0, 2.0]], "radii_mm must be at least 0 and fall"),
        ([[[0, 0, 0], [1, 0, 0]]], [[1.0] * 5], "a tube must have 1 to 4 shells, got 5"),
    ],
)
def test_impossible_tubes_are_refused(ends, radii, line):
    with pytest.raises(InputError, match=line):
        Tubes(
            ends_xyz_mm=np.array(ends, float),
            radii_mm=np.array(radii),
            materials=np.zeros_like(radii, int),
        )


def test_derivatives_follow_the_tubes_and_what_they_displace(device):
    """Against differences of the exact reference, where a ray does not graze a surface."""
    tubes = wire([(-12, 0, 3), (2, 1, 1), (10, 3, -8)], (4.0, 2.5))
    view = replace(CARM, detector_width_px=20, detector_height_px=14, pixel_spacing_mm=2.6).view(
        POSE, (0.0, 0.0, 0.0)
    )
    renderer = MaterialRenderer(patient([Fixed(tubes, MATERIALS[:2])]), device)
    bare = MaterialRenderer(patient(), device)
    weights = np.random.default_rng(2).uniform(0.5, 1.5, (len(renderer.materials), 14, 20))
    tissues = weights[: len(bare.materials)]
    at_rest = bare.render(view)
    worth = (tissues * at_rest).sum(axis=0) / at_rest.sum(axis=0)  # of a millimetre of the patient
    center = (0.0, 0.0, 0.0)

    def exact(twist):
        planes, union = tube_reference(tubes, moved_view(view, motion_about(twist, center)), 2)
        return (weights[len(bare.materials) :] * planes).sum(axis=0) - worth * union

    jacobian = (
        renderer.render_jacobian(view, center, weights)[1]
        - bare.render_jacobian(view, center, tissues)[1]
    )
    for k, step in ((1, 2e-5), (5, 1e-2)):
        twist = step * np.eye(6)[k]
        slope = (exact(twist) - exact(-twist)) / (2 * step)
        wider = (exact(5 * twist) - exact(-5 * twist)) / (10 * step)
        smooth = np.abs(wider - slope) < 1e-3 * np.abs(slope).max()
        assert smooth.mean() > 0.9
        limit = 0.02 * np.abs(slope).max()
        np.testing.assert_allclose(jacobian[k][smooth], slope[smooth], rtol=0.02, atol=limit)


def test_other_devices_agree_with_the_cpu(device, other):
    volume = patient([Fixed(wire(LINES["a closed loop"]))])
    found = other.to_host(MaterialRenderer(volume, other).render(VIEW))
    np.testing.assert_allclose(
        found, MaterialRenderer(volume, device).render(VIEW), rtol=2e-5, atol=2e-3
    )

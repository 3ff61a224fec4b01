"""Closed meshes in the beam: path lengths, no leaks, what they displace, on every device."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from fluoro.errors import InputError
from fluoro.geometry.carm import CarmGeometry, CarmPose
from fluoro.geometry.se3 import so3_exp
from fluoro.geometry.triangles import Surface
from fluoro.physics.materials import material
from fluoro.physics.tissues import tissue_map
from fluoro.rendering.devices.cpu.device import CpuDevice
from fluoro.rendering.material_renderer import MaterialRenderer
from fluoro.rendering.mesh_reference import mesh_lengths
from fluoro.rendering.mesh_tracer import MeshTracer
from fluoro.volume.grid import VolumeGrid
from fluoro.volume.material_volume import MaterialVolume
from fluoro.volume.rigid_solids import MeshSolid, SampledSolid
from fluoro.volume.volumes import MuVolume

trimesh = pytest.importorskip("trimesh")
creation = trimesh.creation

GRID = VolumeGrid(
    shape_zyx=(24, 26, 28), spacing_xyz_mm=(4.0,) * 3, origin_xyz_mm=(-54.0, -50.0, -46.0)
)
TISSUE = MuVolume(mu_zyx=np.full(GRID.shape_zyx, 0.0206, np.float32), grid=GRID)
TISSUES = tissue_map("tissues")
CARM = CarmGeometry(detector_width_px=45, detector_height_px=35, pixel_spacing_mm=4.0)
POSE = CarmPose(lao_deg=23, cra_deg=17, roll_deg=8, translation_mm=(1.0, -2.0, 3.0))
VIEW = CARM.view(POSE, (0.0, 0.0, 0.0))

EXACT_MM = 1e-4
"""Single precision, of rays that graze no face."""
GRAZING_MM = 5e-4
"""The same where faces lie along rays: a crossing is uncertain by 1e-6 mm / sine of the angle."""


@pytest.fixture(scope="module")
def cpu():
    device = CpuDevice(2)
    yield device
    device.close()


def pose(turn=(0.0, 0.0, 0.0), shift=(0.0, 0.0, 0.0)):
    """world_from_object."""
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = so3_exp(turn), shift
    return matrix


OBLIQUE = pose((0.9, -0.4, 0.6), (3.0, 2.0, -4.0))


def surface(mesh):
    return Surface(
        vertices_xyz_mm=mesh.vertices.astype(np.float32), faces=mesh.faces.astype(np.int32)
    )


def track(matrix):
    return SimpleNamespace(
        at=lambda time_s: matrix if callable(matrix) is False else matrix(time_s)
    )


def solid(mesh, matrix=OBLIQUE, made_of="titanium", **given):
    return MeshSolid("mesh", surface(mesh), material(made_of), track(matrix), **given)


def rendered(device, *solids, view=VIEW, time_s=0.0):
    """Planes of thickness [mm], those of the solids last."""
    volume = MaterialVolume(volume=TISSUE, tissues=TISSUES, posed=solids)
    return device.to_host(MaterialRenderer(volume, device).render(view, time_s=time_s))


def length(device, mesh, matrix=OBLIQUE, view=VIEW):
    return rendered(device, solid(mesh, matrix), view=view)[-1].astype(float)


def rays(matrix=OBLIQUE, view=VIEW):
    """Source and unit directions in the object's coordinates."""
    back = np.linalg.inv(matrix)
    direction = view.pixel_centers_xyz_mm() - view.source_xyz_mm
    direction /= np.linalg.norm(direction, axis=2, keepdims=True)
    return back[:3, :3] @ view.source_xyz_mm + back[:3, 3], direction @ back[:3, :3].T


def between_planes(source, direction, half_mm):
    """Where rays are within half_mm of 0 along each axis, shapes (..., 3)."""
    a, b = (-half_mm - source) / direction, (half_mm - source) / direction
    return np.minimum(a, b), np.maximum(a, b)


def box_chords(half_mm, matrix=OBLIQUE):
    enter, leave = between_planes(*rays(matrix), np.array(half_mm))
    return np.maximum(leave.min(axis=2) - enter.max(axis=2), 0)


def ball_chords(radius_mm, matrix=OBLIQUE):
    source, direction = rays(matrix)
    along = direction @ source
    return 2 * np.sqrt(np.maximum(along**2 - source @ source + radius_mm**2, 0))


def cylinder_chords(radius_mm, height_mm, matrix=OBLIQUE):
    source, direction = rays(matrix)
    enter, leave = between_planes(source[2], direction[..., 2], height_mm / 2)
    a = (direction[..., :2] ** 2).sum(axis=2)
    b = direction[..., :2] @ source[:2]
    root = b**2 - a * (source[:2] @ source[:2] - radius_mm**2)
    half = np.sqrt(np.maximum(root, 0))
    enter, leave = np.maximum(enter, (-b - half) / a), np.minimum(leave, (-b + half) / a)
    return np.where(root > 0, np.maximum(leave - enter, 0), 0)


def torus_chords(major_mm, minor_mm, matrix=OBLIQUE):
    """From the roots of the quartic, ray by ray."""
    source, direction = rays(matrix)
    found = np.zeros(direction.shape[:2])
    for at in np.ndindex(found.shape):
        d = direction[at]
        near = source - d * (source @ d)
        shift = -(source @ d)
        k = near @ near + major_mm**2 - minor_mm**2
        quadratic = np.array([1.0, 2 * (near @ d), k])
        flat = [d[:2] @ d[:2], 2 * (near[:2] @ d[:2]), near[:2] @ near[:2]]
        roots = np.roots(
            np.polysub(np.polymul(quadratic, quadratic), 4 * major_mm**2 * np.array(flat))
        )
        real = np.sort(roots.real[np.abs(roots.imag) < 1e-6])
        if len(real) % 2 == 0:
            found[at] = (real[1::2] - real[::2]).sum()
        assert shift > 0
    return found


@pytest.mark.parametrize("matrix", [pose(), OBLIQUE, pose((0.1, 2.0, 0.3), (-9, 4, 5))])
def test_a_box_has_the_length_of_its_closed_form(cpu, matrix):
    found = length(cpu, creation.box((20, 30, 40)), matrix)
    expected = box_chords((10, 15, 20), matrix)
    steep = np.abs(rays(matrix)[1]).min(axis=2) > 0.02
    assert expected.max() > 20
    assert steep.mean() > 0.7
    np.testing.assert_allclose(found[steep], expected[steep], atol=EXACT_MM)
    np.testing.assert_allclose(found, expected, atol=GRAZING_MM)


def test_a_ball_lies_between_the_balls_in_and_around_its_facets(cpu):
    mesh = creation.icosphere(4, 25.0)
    inner = np.einsum("ij,ij->i", mesh.triangles[:, 0], mesh.face_normals).min()
    found = length(cpu, mesh)
    assert 25 - inner < 0.06
    assert (found >= ball_chords(inner) - EXACT_MM).all()
    assert (found <= ball_chords(25.0) + EXACT_MM).all()


def test_a_cylinder_lies_between_those_in_and_around_its_facets(cpu):
    sides = 180
    found = length(cpu, creation.cylinder(12.0, 40.0, sections=sides))
    inner = 12 * np.cos(np.pi / sides)
    assert (found >= cylinder_chords(inner, 40.0) - GRAZING_MM).all()
    assert (found <= cylinder_chords(12.0, 40.0) + GRAZING_MM).all()


def test_a_torus_lies_between_two_tori_that_bound_its_facets(cpu):
    mesh = creation.torus(20.0, 6.0, major_sections=96, minor_sections=48)
    middles = mesh.triangles.mean(axis=1)
    off = np.hypot(np.hypot(middles[:, 0], middles[:, 1]) - 20.0, middles[:, 2]) - 6.0
    deficit = 2 * np.abs(off).max()
    found = length(cpu, mesh)
    assert deficit < 0.05
    assert (found >= torus_chords(20.0, 6.0 - deficit) - GRAZING_MM).all()
    assert (found <= torus_chords(20.0, 6.0 + deficit) + GRAZING_MM).all()
    assert found.max() > 11


def test_the_kernel_agrees_with_every_ray_against_every_triangle(cpu):
    mesh = creation.torus(20.0, 6.0, major_sections=24, minor_sections=12)
    mesh.vertices += np.random.default_rng(1).normal(0, 0.4, mesh.vertices.shape)
    corners = mesh.triangles @ OBLIQUE[:3, :3].T + OBLIQUE[:3, 3]
    np.testing.assert_allclose(length(cpu, mesh), mesh_lengths(corners, VIEW), atol=GRAZING_MM)


def test_other_devices_agree_with_the_cpu(cpu, other):
    torus = creation.torus(20.0, 6.0, major_sections=24, minor_sections=12)
    dense = MuVolume(mu_zyx=np.full(GRID.shape_zyx, 0.05, np.float32), grid=GRID)
    ball = surface(creation.icosphere(2, 12.0))
    solids = (
        solid(torus),
        solid(creation.box((8, 8, 50)), made_of="steel"),
        SampledSolid("part", ball, dense, TISSUES, track(OBLIQUE)),
    )
    np.testing.assert_allclose(rendered(other, *solids), rendered(cpu, *solids), atol=2e-3)


def on_rays(mesh, view):
    """The mesh with every corner on the ray of the nearest pixel, as far from the source."""
    pixels = view.back_project(np.floor(view.project(mesh.vertices)) + 0.5)
    way = mesh.vertices - view.source_xyz_mm
    to_pixel = pixels - view.source_xyz_mm
    far = np.linalg.norm(way, axis=1) / np.linalg.norm(to_pixel, axis=1)
    return trimesh.Trimesh(view.source_xyz_mm + to_pixel * far[:, None], mesh.faces, process=False)


@pytest.mark.parametrize("pixels", [(45, 35), (160, 120)], ids=["coarse", "fine"])
def test_no_ray_leaks_through_a_corner(cpu, pixels):
    width, height = pixels
    carm = CarmGeometry(
        detector_width_px=width, detector_height_px=height, pixel_spacing_mm=180 / width
    )
    view = carm.view(POSE, (0.0, 0.0, 0.0))
    mesh = on_rays(creation.icosphere(4, 35.0), view)
    off = np.abs(np.linalg.norm(mesh.vertices, axis=1) - 35.0).max()
    low = np.einsum("ij,ij->i", mesh.triangles[:, 0], mesh.face_normals).min()
    found = length(cpu, mesh, np.eye(4), view)
    source, direction = rays(np.eye(4), view)
    miss = np.sqrt(source @ source - (direction @ source) ** 2)

    def chord(radius):
        return 2 * np.sqrt(np.maximum(radius**2 - miss**2, 0))

    assert found.max() < 72
    assert (found <= chord(35.0 + off) + GRAZING_MM).all()
    assert (found >= chord(low) - GRAZING_MM)[miss < low - 2].all()


def test_no_ray_leaks_along_the_edges_of_a_grid(cpu):
    """A box of many squares whose edges are the rays of pixels, seen straight on."""
    carm = CarmGeometry(detector_width_px=33, detector_height_px=33, pixel_spacing_mm=3.0)
    view = carm.view(CarmPose(), (0.0, 0.0, 0.0))
    mesh = creation.box((40, 40, 40))
    for _ in range(3):
        mesh = mesh.subdivide()
    found = length(cpu, mesh, np.eye(4), view)
    whole = length(cpu, creation.box((40, 40, 40)), np.eye(4), view)
    np.testing.assert_allclose(found, whole, atol=EXACT_MM)
    assert found[16, 16] == pytest.approx(40, abs=EXACT_MM)


def test_a_mirrored_view_shows_the_same_lengths(cpu):
    mesh = creation.torus(20.0, 7.0, 32, 16)
    mirrored = length(cpu, mesh, view=VIEW.mirrored())
    np.testing.assert_allclose(mirrored[:, ::-1], length(cpu, mesh), atol=GRAZING_MM)


def test_a_mesh_counts_from_the_source_to_the_pixel(cpu):
    far = np.linalg.norm(VIEW.pixel_centers_xyz_mm() - VIEW.source_xyz_mm, axis=2)
    huge = creation.box((9000, 9000, 9000))
    np.testing.assert_allclose(length(cpu, huge), far, atol=2e-3)
    behind = pose(shift=2 * VIEW.source_xyz_mm)
    assert not length(cpu, creation.box((100, 100, 100)), behind).any()


def test_a_mesh_takes_the_place_of_tissue_or_adds_to_it(cpu):
    mesh = creation.icosphere(3, 20.0)
    bare = rendered(cpu)
    displacing, adding = (
        rendered(cpu, solid(mesh, displaces=displaces)) for displaces in (True, False)
    )
    np.testing.assert_allclose(bare.sum(axis=0), displacing.sum(axis=0), atol=2e-3)
    np.testing.assert_array_equal(bare, adding[:-1])
    np.testing.assert_allclose(adding[-1], displacing[-1], atol=1e-5)


def test_of_two_meshes_the_one_with_priority_takes_the_place(cpu):
    outer, inner = creation.icosphere(3, 20.0), creation.icosphere(3, 9.0)
    both = rendered(cpu, solid(outer), solid(inner, made_of="steel", priority=1))
    alone = length(cpu, inner)
    np.testing.assert_allclose(both[-1], alone, atol=EXACT_MM)
    np.testing.assert_allclose(both[-2], length(cpu, outer) - alone, atol=GRAZING_MM)
    first = rendered(cpu, solid(outer), solid(inner, made_of="steel"))
    assert first[-1].max() < EXACT_MM


def test_what_lies_twice_inside_one_mesh_counts_once(cpu):
    one, other = creation.box((20, 20, 20)), creation.box((20, 20, 20))
    other.apply_translation((10, 0, 0))
    union = creation.box((30, 20, 20))
    union.apply_translation((5, 0, 0))
    np.testing.assert_allclose(length(cpu, one + other), length(cpu, union), atol=GRAZING_MM)


def test_a_cavity_is_empty(cpu):
    outer, cavity = creation.box((30, 30, 30)), creation.icosphere(3, 10.0)
    expected = length(cpu, outer) - length(cpu, cavity)
    cavity.invert()
    np.testing.assert_allclose(length(cpu, outer + cavity), expected, atol=GRAZING_MM)


def test_a_ray_may_enter_more_often_than_is_kept_apart(cpu):
    plates = []
    for n in range(40):
        plates.append(creation.box((60, 0.5, 60)))
        plates[-1].apply_translation((0, n - 20, 0))
    comb = trimesh.util.concatenate(plates)
    expected = sum(
        mesh_lengths(each.triangles @ OBLIQUE[:3, :3].T + OBLIQUE[:3, 3], VIEW) for each in plates
    )
    found = length(cpu, comb)
    assert (found / 0.5).max() > 32
    np.testing.assert_allclose(found, expected, atol=2e-3)


def test_a_surface_inside_out_or_without_volume_is_refused(cpu):
    turned = creation.box((20, 30, 40))
    turned.invert()
    with pytest.raises(InputError, match="must enclose a volume, and face outwards, got -24000"):
        MeshTracer(surface(turned), cpu)
    nothing = Surface(
        vertices_xyz_mm=np.zeros((0, 3), np.float32), faces=np.zeros((0, 3), np.int32)
    )
    with pytest.raises(InputError, match="must have 1 to 10000000 triangles, got 0"):
        MeshTracer(nothing, cpu)


def test_a_mesh_is_where_its_pose_has_it_at_the_time(cpu):
    box = creation.box((20, 30, 40))
    moving = solid(box, lambda time_s: pose(shift=(0, 0, 10 * time_s)))
    at_two = rendered(cpu, moving, time_s=2.0)[-1]
    np.testing.assert_array_equal(at_two, rendered(cpu, solid(box, pose(shift=(0, 0, 20))))[-1])


def test_a_part_of_the_ct_at_its_own_place_changes_nothing(cpu):
    z, y, x = np.meshgrid(*(np.arange(n) for n in GRID.shape_zyx), indexing="ij")
    mu = 0.03 + 0.012 * np.sin(x / 3) * np.cos(y / 4) * np.sin(z / 5)
    volume = MuVolume(mu_zyx=mu.astype(np.float32), grid=GRID)
    ball = surface(creation.icosphere(3, 20.0))
    part = SampledSolid("part", ball, volume, TISSUES, track(np.eye(4)))
    scene = MaterialVolume(volume=volume, tissues=TISSUES, posed=(part,))
    found = MaterialRenderer(scene, cpu).render(VIEW)
    expected = MaterialRenderer(replace(scene, posed=()), cpu).render(VIEW)
    np.testing.assert_allclose(found, expected, atol=0.1)
    assert np.abs(found - expected).mean() < 0.005


def test_a_part_of_a_ct_moves_with_its_pose_and_takes_the_place_of_tissue(cpu):
    dense = MuVolume(mu_zyx=np.full(GRID.shape_zyx, 0.05, np.float32), grid=GRID)
    mesh = creation.icosphere(3, 15.0)
    part = SampledSolid("part", surface(mesh), dense, TISSUES, track(OBLIQUE))
    found, bare = rendered(cpu, part), rendered(cpu)
    everywhere = MaterialVolume(volume=dense, tissues=TISSUES)
    share = MaterialRenderer(everywhere, cpu).render(VIEW)
    length_mm = length(cpu, mesh)
    way = bare.sum(axis=0)
    expected = bare + length_mm * (share / share.sum(axis=0) * share.sum(axis=0) / way - bare / way)
    np.testing.assert_allclose(found, expected, atol=5e-3)


def test_of_a_part_only_what_is_not_taken_is_drawn(cpu):
    dense = MuVolume(mu_zyx=np.full(GRID.shape_zyx, 0.05, np.float32), grid=GRID)
    ball, rod = creation.icosphere(3, 15.0), creation.box((6, 6, 80))
    part = SampledSolid("part", surface(ball), dense, TISSUES, track(OBLIQUE))
    both = rendered(cpu, part, solid(rod, made_of="steel", priority=3))
    alone, bare = rendered(cpu, part), rendered(cpu)
    np.testing.assert_allclose(both[-1], length(cpu, rod), atol=GRAZING_MM)
    shared = length(cpu, ball) + length(cpu, rod) - length(cpu, ball + rod)
    bone = 4
    gained = (alone - bare)[bone] / np.maximum(length(cpu, ball), 1e-6)
    inside = length(cpu, ball) > 1
    left = bare[bone] * (1 - (length(cpu, ball + rod)) / bare.sum(axis=0))
    expected = left + (alone[bone] - bare[bone] * (1 - length(cpu, ball) / bare.sum(axis=0))) * (
        1 - shared / np.maximum(length(cpu, ball), 1e-6)
    )
    assert (gained[inside] > 0.9).all()
    np.testing.assert_allclose(both[bone][inside], expected[inside], atol=5e-3)

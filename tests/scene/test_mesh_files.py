"""Meshes from files: what is read, what is refused by name, what is reported."""

from __future__ import annotations

import logging
import sys

import numpy as np
import pytest

from fluoro.errors import InputError
from fluoro.scene.mesh_files import load_mesh

trimesh = pytest.importorskip("trimesh")


@pytest.fixture
def cube():
    """A box of 10 x 20 x 30 mm."""
    return trimesh.creation.box((10, 20, 30))


def written(mesh, path):
    mesh.export(path)
    return path


@pytest.mark.parametrize("suffix", ["stl", "obj", "ply"])
def test_each_format_gives_the_same_closed_surface(tmp_path, cube, suffix):
    surface = load_mesh(written(cube, tmp_path / f"cube.{suffix}"))
    assert (len(surface.vertices_xyz_mm), len(surface.faces)) == (8, 12)
    assert np.ptp(surface.vertices_xyz_mm, axis=0).tolist() == [10, 20, 30]


def test_units_and_axes_of_a_file(tmp_path, cube):
    cube.apply_translation((100, 50, 20))
    path = written(cube, tmp_path / "cube.stl")
    surface = load_mesh(path, unit_mm=10, axes="RAS")
    middle = surface.vertices_xyz_mm.mean(axis=0)
    np.testing.assert_allclose(middle, (-1000, -500, 200), rtol=1e-6)
    corners = surface.vertices_xyz_mm[surface.faces].astype(float)
    volume = np.linalg.det(corners - middle).sum() / 6
    assert volume == pytest.approx(6000 * 1000)


def test_a_surface_inside_out_is_turned_and_named(tmp_path, cube, caplog):
    cube.invert()
    with caplog.at_level(logging.WARNING):
        surface = load_mesh(written(cube, tmp_path / "turned.stl"))
    assert "turned.stl: the surface of a part is inside out" in caplog.text
    corners = surface.vertices_xyz_mm[surface.faces].astype(float)
    assert np.linalg.det(corners).sum() / 6 == pytest.approx(6000)


def test_surfaces_that_intersect_are_named(tmp_path, cube, caplog):
    other = cube.copy()
    other.apply_translation((4, 7, 3))
    with caplog.at_level(logging.WARNING):
        load_mesh(written(cube + other, tmp_path / "both.ply"))
    assert "both.ply" in caplog.text
    assert "pairs of triangles intersect" in caplog.text


def with_hole(cube):
    return trimesh.Trimesh(cube.vertices, cube.faces[1:], process=False)


def with_a_turned_triangle(cube):
    faces = cube.faces.copy()
    faces[0] = faces[0][::-1]
    return trimesh.Trimesh(cube.vertices, faces, process=False)


def flat(cube):
    return trimesh.Trimesh(cube.vertices, [[0, 1, 2], [0, 2, 1]], process=False)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (with_hole, "must be closed, 3 edges have a triangle on one side only"),
        (with_a_turned_triangle, "the triangles of 3 edges are turned to different sides"),
        (flat, "must enclose a volume, encloses 0 mm"),
    ],
)
def test_a_surface_without_an_inside_is_refused_by_name(tmp_path, cube, damage, message):
    path = written(damage(cube), tmp_path / "wrong.stl")
    with pytest.raises(InputError, match=message) as caught:
        load_mesh(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


FILES = {
    "noise.stl": b"garbage" * 30,
    "empty.stl": b"",
    "corner.obj": b"v 1 2\nf 1 2 9\n",
    "numbers.obj": b"v 0 0 0\nv 1 0 0\nv 0 nan 0\nf 1 2 3\n",
    "header.ply": b"ply\nformat ascii 1.0\nelement vertex 3\n",
    "assembly.step": b"ISO-10303-21;",
}


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_is_refused_in_one_line(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(FILES[name])
    with pytest.raises(InputError) as caught:
        load_mesh(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_file_that_ends_early_or_is_missing_is_refused(tmp_path, cube, monkeypatch):
    monkeypatch.setitem(sys.modules, "charset_normalizer", None)  # as where it is not installed
    path = written(cube, tmp_path / "short.stl")
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(InputError, match=r"short\.stl: cannot be read as a mesh \(damaged, "):
        load_mesh(path)
    with pytest.raises(InputError, match=r"none\.stl: no such file"):
        load_mesh(tmp_path / "none.stl")


def test_points_without_triangles_are_refused(tmp_path):
    path = tmp_path / "points.ply"
    path.write_bytes(trimesh.PointCloud(np.eye(3)).export(file_type="ply"))
    with pytest.raises(InputError, match="must have triangles"):
        load_mesh(path)

"""Whether triangles enclose a volume, and the tree of boxes over them."""

from __future__ import annotations

import numpy as np
import pytest

from fluoro.geometry.closed_surface import (
    edge_flaw,
    intersecting_triangles,
    merged_corners,
    outward,
    volume_mm3,
    winding_number,
)
from fluoro.geometry.triangle_tree import LEAF, triangle_tree
from fluoro.geometry.triangles import box

trimesh = pytest.importorskip("trimesh")


def corners_of(surface):
    return surface.vertices_xyz_mm[surface.faces].astype(float)


def joined(*meshes):
    """Vertices and faces of several meshes."""
    starts = np.cumsum([0, *(len(each.vertices) for each in meshes)])
    faces = [each.faces + start for each, start in zip(meshes, starts, strict=False)]
    return np.concatenate([each.vertices for each in meshes]), np.concatenate(faces)


@pytest.mark.parametrize("count", [1, 3, 5, 12, 33, 500])
def test_every_triangle_lies_in_one_leaf_and_inside_all_boxes_above_it(count):
    rng = np.random.default_rng(count)
    corners = rng.normal(size=(count, 3, 3)) * 5
    tree = triangle_tree(corners)
    assert sorted(tree.order) == list(range(count))
    assert np.diff(tree.leaves).max() <= LEAF
    found = []

    def walk(node, low, high):
        if node >= len(tree.nodes):
            leaf = node - len(tree.nodes)
            for each in tree.order[tree.leaves[leaf] : tree.leaves[leaf + 1]]:
                assert (corners[each] >= low - 1e-4).all()
                assert (corners[each] <= high + 1e-4).all()
                found.append(each)
            return
        for child in range(8):
            center, half = tree.nodes[node, :3, child], tree.nodes[node, 3:, child]
            if half[0] >= 0:
                walk(tree.children[node] + child, center - half, center + half)

    walk(0, np.full(3, -np.inf), np.full(3, np.inf))
    assert sorted(found) == list(range(count))


def test_corners_at_one_place_are_one_and_triangles_without_area_go():
    vertices = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [1e-7, 0, 0], [1, 1, 0]], float)
    kept, faces = merged_corners(vertices, np.array([[0, 1, 2], [3, 4, 2], [0, 3, 1]]))
    assert len(kept) == 4
    assert len(faces) == 2
    np.testing.assert_allclose(kept[faces[0]], vertices[[0, 1, 2]], atol=1e-6)


def test_edges_say_what_is_open_and_what_is_turned():
    faces = np.array(box((0, 0, 0), np.eye(3)).faces)
    assert edge_flaw(faces) is None
    open_box = edge_flaw(faces[1:])
    assert (open_box.kind, open_box.count) == ("open", 3)
    turned = faces.copy()
    turned[0] = turned[0][::-1]
    assert (edge_flaw(turned).kind, edge_flaw(turned).count) == ("turned", 3)


def test_volume_and_winding_number_of_a_box():
    surface = box((5, 6, 7), [(1, 0, 0), (0, 2, 0), (0, 0, 3)])
    assert volume_mm3(surface.vertices_xyz_mm.astype(float), surface.faces) == pytest.approx(48)
    assert winding_number(corners_of(surface), np.array([5.2, 6.5, 8.0])) == pytest.approx(1)
    assert winding_number(corners_of(surface), np.array([9.0, 6.0, 7.0])) == pytest.approx(0)


def test_what_is_inside_out_is_turned_and_a_cavity_stays():
    ball, cavity, beside = (trimesh.creation.icosphere(2, r) for r in (5.0, 3.0, 2.0))
    beside.apply_translation((20, 0, 0))
    cavity.invert()
    beside.invert()
    vertices, faces = joined(ball, cavity, beside)
    found, turned = outward(vertices, faces)
    assert turned == 1
    expected = ball.volume + cavity.volume - beside.volume
    assert volume_mm3(vertices, found) == pytest.approx(expected)


def test_surfaces_that_intersect_are_found_and_those_that_touch_are_not():
    one = trimesh.creation.icosphere(3, 5.0)
    crossing, apart = one.copy(), one.copy()
    crossing.apply_translation((6.0, 0.3, 0.2))
    apart.apply_translation((10.5, 0.3, 0.2))
    assert len(intersecting_triangles(*joined(one, crossing))) > 10
    assert len(intersecting_triangles(*joined(one, apart))) == 0
    assert len(intersecting_triangles(*joined(one))) == 0


def test_intersections_are_those_of_every_pair():
    rng = np.random.default_rng(3)
    vertices = rng.uniform(-1, 1, (180, 3))
    faces = np.arange(180).reshape(-1, 3)
    found = {tuple(sorted(pair)) for pair in intersecting_triangles(vertices, faces).tolist()}
    expected = {
        (i, j) for i in range(60) for j in range(i) if meet(vertices[faces[i]], vertices[faces[j]])
    }
    assert found == {tuple(sorted(pair)) for pair in expected}
    assert len(found) > 50


def meet(one, other):
    """Whether an edge of one triangle goes through the other: by solving for it."""
    for first, second in ((one, other), (other, one)):
        a, b, c = second
        for k in range(3):
            p, q = first[k], first[(k + 1) % 3]
            t, u, v = np.linalg.solve(np.column_stack([p - q, b - a, c - a]), p - a)
            if 0 < t < 1 and u > 0 and v > 0 and u + v < 1:
                return True
    return False

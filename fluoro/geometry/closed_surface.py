"""Whether triangles enclose a volume: edges, orientation, intersections."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fluoro.geometry.triangle_tree import WIDTH, TriangleTree, triangle_tree

__all__ = [
    "Flaw",
    "edge_flaw",
    "intersecting_triangles",
    "merged_corners",
    "outward",
    "volume_mm3",
    "winding_number",
]

SAME_PLACE_MM = 1e-5
"""Corners that are nearer than this are one: what a text file rounds."""

Corners = NDArray[np.float64]
"""Shape (T, 3, 3): triangle, corner, axis."""


FlawKind = Literal["open", "turned"]


@dataclass(frozen=True)
class Flaw:
    """Why a surface does not enclose a volume.

    Attributes:
        kind: "open": edges without a second triangle; "turned": neighbours face different sides.
        count: Of such edges.
        edge: Corners of the first one.
    """

    kind: FlawKind
    count: int
    edge: tuple[int, int]


def merged_corners(
    vertices_xyz_mm: NDArray[np.float64], faces: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return corners, those at one place as one, and the triangles that are left with three."""
    places, first, number = np.unique(
        np.round(vertices_xyz_mm / SAME_PLACE_MM), axis=0, return_index=True, return_inverse=True
    )
    del places
    renamed = number.reshape(-1)[faces]
    a, b, c = renamed.T
    return vertices_xyz_mm[first], renamed[(a != b) & (b != c) & (c != a)]


def edge_flaw(faces: NDArray[np.int64]) -> Flaw | None:
    """Return what keeps triangles from being a closed surface; None: every edge is balanced.

    Args:
        faces: Three vertex numbers a triangle, shape (T, 3).
    """
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    forward = np.where(edges[:, 0] < edges[:, 1], 1, -1)
    span = int(faces.max()) + 1
    keys, number, uses = np.unique(
        edges.min(axis=1) * span + edges.max(axis=1), return_inverse=True, return_counts=True
    )
    balance = np.bincount(number, weights=forward, minlength=len(keys))
    flaws: list[tuple[FlawKind, NDArray[np.bool_]]]
    flaws = [("open", uses % 2 == 1), ("turned", balance != 0)]
    for kind, wrong in flaws:
        if wrong.any():
            a, b = divmod(int(keys[wrong][0]), span)
            return Flaw(kind, int(wrong.sum()), (a, b))
    return None


def volume_mm3(vertices_xyz_mm: NDArray[np.float64], faces: NDArray[np.int64]) -> float:
    """Return the volume inside a closed surface [mm^3], negative where it is inside out."""
    return float(_signed_volumes(vertices_xyz_mm, faces).sum())


def outward(
    vertices_xyz_mm: NDArray[np.float64], faces: NDArray[np.int64]
) -> tuple[NDArray[np.int64], int]:
    """Return triangles that face outwards, and how many connected parts were turned for that.

    A part that lies inside another one and faces inwards is a cavity, and stays.

    Args:
        vertices_xyz_mm: Corners, shape (N, 3).
        faces: Of a closed surface, shape (T, 3).
    """
    part = _parts_of(len(vertices_xyz_mm), faces)
    volumes = np.bincount(part, weights=_signed_volumes(vertices_xyz_mm, faces))
    turned = [
        number
        for number in np.flatnonzero(volumes < 0)
        if not _is_cavity(vertices_xyz_mm, faces, part, int(number))
    ]
    back = np.isin(part, turned)
    return np.where(back[:, None], faces[:, ::-1], faces), len(turned)


def winding_number(corners: Corners, point_xyz_mm: NDArray[np.float64]) -> float:
    """Return how often a surface goes round a point, a whole number unless it lies on the surface.

    The sum of the triangles' solid angles (van Oosterom and Strackee 1983) in whole spheres.
    """
    a, b, c = np.moveaxis(corners - point_xyz_mm, 1, 0)
    la, lb, lc = (np.linalg.norm(each, axis=1) for each in (a, b, c))
    volume = np.einsum("ij,ij->i", a, np.cross(b, c))
    ab, bc, ca = (np.einsum("ij,ij->i", *pair) for pair in ((a, b), (b, c), (c, a)))
    angle = 2 * np.arctan2(volume, la * lb * lc + ab * lc + bc * la + ca * lb)
    return float(angle.sum() / (4 * np.pi))


def intersecting_triangles(
    vertices_xyz_mm: NDArray[np.float64], faces: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return the pairs of triangles without a common corner that intersect, shape (P, 2)."""
    corners = vertices_xyz_mm[faces]
    one, other = _near_pairs(triangle_tree(corners), corners)
    apart = (faces[one][:, :, None] != faces[other][:, None, :]).all(axis=(1, 2))
    one, other = one[apart], other[apart]
    crosses = _edges_cross(corners[one], corners[other]) | _edges_cross(
        corners[other], corners[one]
    )
    return np.column_stack([one[crosses], other[crosses]])


def _signed_volumes(vertices: NDArray[np.float64], faces: NDArray[np.int64]) -> NDArray[Any]:
    """Of the tetrahedra over the triangles from the middle of the corners."""
    a, b, c = np.moveaxis(vertices[faces] - vertices.mean(axis=0), 1, 0)
    return np.asarray(np.einsum("ij,ij->i", a, np.cross(b, c)) / 6)


def _parts_of(count: int, faces: NDArray[np.int64]) -> NDArray[np.int64]:
    """Number of the connected part of each triangle."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]]])
    graph = coo_array((np.ones(len(edges)), edges.T), shape=(count, count))
    label = connected_components(graph, directed=False)[1]
    return np.asarray(np.unique(label[faces[:, 0]], return_inverse=True)[1])


def _is_cavity(
    vertices: NDArray[np.float64], faces: NDArray[np.int64], part: NDArray[np.int64], number: int
) -> bool:
    others = vertices[faces[part != number]]
    point = vertices[faces[part == number][0]].mean(axis=0)
    return bool(len(others)) and winding_number(others, point) > 0.5


def _near_pairs(
    tree: TriangleTree, corners: Corners
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs of triangles whose boxes overlap, each pair once."""
    one, other = _near_leaves(tree)
    sizes = np.diff(tree.leaves)
    most = int(sizes.max())
    i, j = (each.ravel() for each in np.meshgrid(np.arange(most), np.arange(most)))
    first = tree.leaves[one][:, None] + i
    second = tree.leaves[other][:, None] + j
    there = (i < sizes[one][:, None]) & (j < sizes[other][:, None]) & (first < second)
    a, b = tree.order[first[there]], tree.order[second[there]]
    low, high = corners.min(axis=1), corners.max(axis=1)
    near = (low[a] <= high[b]).all(axis=1) & (low[b] <= high[a]).all(axis=1)
    return a[near], b[near]


def _near_leaves(tree: TriangleTree) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs of leaves whose boxes overlap, also each with itself, level by level from the root."""
    one = other = np.zeros(1, np.int64)
    i, j = (each.ravel() for each in np.meshgrid(np.arange(WIDTH), np.arange(WIDTH)))
    while one[0] < len(tree.nodes):
        boxes, others = tree.nodes[one], tree.nodes[other]
        reach = boxes[:, 3:][:, :, i] + others[:, 3:][:, :, j]
        apart = np.abs(boxes[:, :3][:, :, i] - others[:, :3][:, :, j])
        near = (apart <= reach * (1 + 1e-5) + 1e-6).all(axis=1)
        a = (tree.children[one][:, None] + i)[near]
        b = (tree.children[other][:, None] + j)[near]
        one, other = a[a <= b], b[a <= b]
    return one - len(tree.nodes), other - len(tree.nodes)


def _edges_cross(corners: Corners, others: Corners) -> NDArray[np.bool_]:
    """Whether an edge of each triangle goes through the inside of the other one."""
    crosses = np.zeros(len(corners), bool)
    for k in range(3):
        crosses |= _segment_crosses(corners[:, k], corners[:, (k + 1) % 3], others)
    return crosses


def _segment_crosses(
    start: NDArray[np.float64], stop: NDArray[np.float64], corners: Corners
) -> NDArray[np.bool_]:
    """Whether each segment goes through its triangle; one that touches it does not."""
    a, b, c = np.moveaxis(corners, 1, 0)
    normal = np.cross(b - a, c - a)
    before = np.einsum("ij,ij->i", normal, start - a)
    behind = np.einsum("ij,ij->i", normal, stop - a)
    sides = [
        np.einsum("ij,ij->i", np.cross(q - p, stop - start), start - p)
        for p, q in ((a, b), (b, c), (c, a))
    ]
    within = (np.sign(sides[0]) == np.sign(sides[1])) & (np.sign(sides[1]) == np.sign(sides[2]))
    return np.asarray((before * behind < 0) & within & (sides[0] != 0))

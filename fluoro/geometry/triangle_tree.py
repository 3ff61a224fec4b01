"""A tree of boxes over triangles, as a kernel goes through it (shaders/meshes.slang)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["LEAF", "MOST_TRIANGLES", "WIDTH", "TriangleTree", "triangle_tree"]

WIDTH = 8
"""Children of a node: WIDTH in shaders/meshes.slang."""

LEAF = 4
"""Most triangles of a leaf."""

MOST_TRIANGLES = 10_000_000
"""What the kernel's stack is deep enough for (shaders/meshes.slang)."""

NOWHERE = -1e30
"""Half an edge of a box that no ray meets: of children that are not there."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TriangleTree:
    """Triangles in the order of the leaves, and boxes around them.

    Attributes:
        order: Number of the triangle at each place, shape (T,).
        nodes: Centres x, y, z, then half edges x, y, z of the children, shape (N, 6, WIDTH), in
            the triangles' unit, float32.
        children: Number of each node's first child; numbers from N on are leaves, shape (N,),
            int32.
        leaves: Place of each leaf's first triangle, and T; shape (L + 1,), int32.
    """

    order: NDArray[np.int64]
    nodes: NDArray[np.float32]
    children: NDArray[np.int32]
    leaves: NDArray[np.int32]


def triangle_tree(corners: NDArray[Any]) -> TriangleTree:
    """Return a balanced tree: each box is halved at the median of its longest axis.

    Args:
        corners: Shape (T, 3, 3): triangle, corner, axis; T >= 1.
    """
    low, high = corners.min(axis=1), corners.max(axis=1)
    halvings = max(int(np.ceil(np.log2(len(corners) / LEAF))), 1)
    order, starts = _halved((low + high) / 2, halvings)
    return _tree(order, starts, low[order], high[order], halvings)


def _halved(centers: NDArray[Any], halvings: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Order of the triangles, and where each of the 2^halvings groups starts."""
    order, starts = np.arange(len(centers)), np.array([0, len(centers)])
    for _ in range(halvings):
        sizes = np.diff(starts)
        group = np.repeat(np.arange(len(sizes)), sizes)
        axis = _longest(centers[order], starts[:-1], sizes)
        order = order[np.lexsort((centers[order, axis[group]], group))]
        starts = np.append(np.column_stack([starts[:-1], starts[:-1] + sizes // 2]), starts[-1])
    return order, starts


def _longest(
    centers: NDArray[Any], starts: NDArray[np.int64], sizes: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Longest axis of each group; 0 of an empty one."""
    extent = _reduced(np.maximum, centers, starts, sizes) - _reduced(
        np.minimum, centers, starts, sizes
    )
    return np.asarray(extent.argmax(axis=1))


def _reduced(
    function: np.ufunc, values: NDArray[Any], starts: NDArray[np.int64], sizes: NDArray[np.int64]
) -> NDArray[np.float64]:
    """A function over each group's values, shape (groups, 3); 0 of an empty group."""
    found = np.zeros((len(starts), values.shape[1]))
    some = sizes > 0
    found[some] = function.reduceat(values, starts[some])
    return found


def _tree(
    order: NDArray[np.int64],
    starts: NDArray[np.int64],
    low: NDArray[Any],
    high: NDArray[Any],
    halvings: int,
) -> TriangleTree:
    """Nodes of each level from the leaves up; the root has what is left of the halvings."""
    counts = _children_by_level(halvings)
    parents = np.cumsum([0, *np.cumprod([1, *counts[:-1]])])
    nodes, children = [], []
    sizes = np.diff(starts)
    lows, highs = (
        np.where((sizes > 0)[:, None], _reduced(function, values, starts[:-1], sizes), 0.0)
        for function, values in ((np.minimum, low), (np.maximum, high))
    )
    there = sizes > 0
    for level in reversed(range(len(counts))):
        nodes.append(_boxes(lows, highs, there, counts[level]))
        first = parents[level + 1]
        children.append(first + counts[level] * np.arange(len(nodes[-1])))
        lows, highs, there = _joined(lows, highs, there, counts[level])
    return TriangleTree(
        order=order,
        nodes=np.concatenate(nodes[::-1]).astype(np.float32),
        children=np.concatenate(children[::-1]).astype(np.int32),
        leaves=starts.astype(np.int32),
    )


def _children_by_level(halvings: int) -> list[int]:
    """Children of each node of a level, the root's first: all but the root have `WIDTH`."""
    per_level = WIDTH.bit_length() - 1
    whole, rest = divmod(halvings, per_level)
    return [*([2**rest] if rest else []), *[WIDTH] * whole]


def _boxes(
    lows: NDArray[Any], highs: NDArray[Any], there: NDArray[np.bool_], count: int
) -> NDArray[np.float64]:
    """Nodes over boxes, `count` each, shape (N, 6, WIDTH)."""
    nodes = np.zeros((len(lows) // count, 6, WIDTH))
    nodes[:, 3:] = NOWHERE
    center, half = (lows + highs) / 2, (highs - lows) / 2
    half = np.where(there[:, None], half, NOWHERE)
    for at, values in ((slice(0, 3), center), (slice(3, 6), half)):
        nodes[:, at, :count] = values.reshape(-1, count, 3).transpose(0, 2, 1)
    return nodes


def _joined(
    lows: NDArray[Any], highs: NDArray[Any], there: NDArray[np.bool_], count: int
) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.bool_]]:
    """The box around each `count` boxes."""
    inside = there[:, None]
    low = np.where(inside, lows, np.inf).reshape(-1, count, 3).min(axis=1)
    high = np.where(inside, highs, -np.inf).reshape(-1, count, 3).max(axis=1)
    some = np.asarray(there.reshape(-1, count).any(axis=1))
    return np.where(some[:, None], low, 0), np.where(some[:, None], high, 0), some

